"""Three ways down from where L-BFGS leaves the steepest networks of the atlas.

    python benchmarks/descent.py

L-BFGS ends far from stationary on ResNet-like networks of width 2 on CIFAR-100. From its ends:
rounds of preconditioned L-BFGS until a minimum is stationary; Newton's method with two Hessians for
the one of each round, which takes at least as long; and more of L-BFGS, for as long. All in
float64, on one core, one after the other. Only ratios within the rows of one start matter. The
table, ``results/benchmark-descent/table.csv``, grows row by row; a quarter of an hour in all, with
the data named by TOSCORE_DATA.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from table import Table

from toscore.experiment import _landscape
from toscore.lbfgs import Memory, minimise
from toscore.minima import _FIRST, _ROUND, _preconditioned, find_minima
from toscore.saddles import find_saddle
from toscore.settings import EXPERIMENTS

NAME, NETWORK = "resnet-cifar100", (2, 2, 0)  # width, depth, seed
ROUNDS = 100  # at most
TOL = 5e-5  # what find_minima asks for in float64, so that float32 keeps 1e-4
FILE = Path(__file__).parents[1] / "results" / "benchmark-descent" / "table.csv"


def rounds(f, point, _):
    return _preconditioned(f, point, ROUNDS, TOL)


def newton(f, point, done):
    steps = 2 * int(done.hessians)
    end = find_saddle(f, point, index=0, grad_tol=TOL, max_iterations=steps, fast=True)
    return end.point, end.iterations


def lbfgs(f, point, done):
    began, x, memory = time.perf_counter(), point[None], Memory.empty(point[None], _ROUND)
    while time.perf_counter() - began < done.seconds:
        x, _ = minimise(f.loss_and_grad, x, _ROUND, memory, _FIRST * (1 + x.norm(dim=1)))
    return x[0], 0


def main():
    torch.set_num_threads(1)
    settings, table = EXPERIMENTS[NAME]["laptop"], Table(FILE, ["start", "way"])
    budget = settings.minima["max_evaluations"]  # that of the whole family, and nothing more
    landscape, _ = _landscape(settings, None, NETWORK)
    found = find_minima(landscape, settings.n_minima, NETWORK[2], max_evaluations=budget)
    f = landscape.double()
    for start, point in zip(found.start.tolist(), found.theta.double(), strict=True):
        for way in (rounds, newton, lbfgs):
            row = {"start": start, "way": way.__name__}
            if row in table:
                continue
            rows = table.frame[(table.frame.start == start) & (table.frame.way == "rounds")]
            began = time.perf_counter()
            end, hessians = way(f, point, rows.iloc[0] if len(rows) else None)
            seconds = time.perf_counter() - began
            loss, gradient = f.loss_and_grad(torch.stack([point, end]))
            curvatures = torch.linalg.eigvalsh(f.hessian(end))
            row |= {"hessians": hessians, "seconds": seconds}
            row |= {"before": float(loss[0]), "after": float(loss[1])}
            row |= {"gradient": float(gradient[1].norm()), "lowest": float(curvatures[0])}
            table.add(row | {"highest": float(curvatures[-1])})
    table.finish(experiment=NAME, network=NETWORK, parameters=f.dim, tol=TOL, budget=budget)


if __name__ == "__main__":
    main()
