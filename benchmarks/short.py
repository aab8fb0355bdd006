"""How long L-BFGS should go on before methods that know the Hessian end the descent.

    python benchmarks/short.py

Three ways to the minima of two networks of the atlas, from the same starts: the L-BFGS of their
family and then Newton's method; the same and then rounds of preconditioned L-BFGS; a sixth of
the L-BFGS and then such rounds. On one core, one after the other; only ratios within the rows of
one network matter. The table, ``results/benchmark-short/table.csv``, grows row by row; half an hour
in all, with the data named by TOSCORE_DATA.
"""

from __future__ import annotations

from pathlib import Path

import torch
from table import Table

import toscore as ts
from toscore.experiment import _landscape
from toscore.settings import EXPERIMENTS

NAME, NETWORKS = "resnet-svhn", ((4, 1, 0), (8, 1, 0))  # width, depth, seed
SETTINGS = EXPERIMENTS[NAME]["laptop"]
FULL = SETTINGS.minima["max_evaluations"]  # those of the whole family
WAYS = {
    "L-BFGS, Newton": {"max_evaluations": FULL, "newton_steps": 300},
    "L-BFGS, rounds": {"max_evaluations": FULL, "preconditioned": 300},
    "short L-BFGS, rounds": {"max_evaluations": FULL // 6, "preconditioned": 300},
}
FILE = Path(__file__).parents[1] / "results" / "benchmark-short" / "table.csv"


def main():
    torch.set_num_threads(1)
    table = Table(FILE, ["width", "depth", "seed", "way"])
    for width, depth, seed in NETWORKS:
        landscape, _ = _landscape(SETTINGS, None, (width, depth, seed))
        for way, training in WAYS.items():
            row = {"width": width, "depth": depth, "seed": seed, "way": way}
            if row in table:
                continue
            found = ts.find_minima(landscape, SETTINGS.n_minima, seed, progress=False, **training)
            made = {
                "parameters": landscape.dim,
                "seconds": found.seconds,
                "evaluations": int(found.evaluations.sum()),
                "stationary": int(found.stationary.sum()),
                "minima": len(found),
                "loss": float(found.loss.mean()),
                "lowest": float(found.loss.min()),
            }
            table.add(row | made)
    table.finish(experiment=NAME, networks=NETWORKS, ways=WAYS)


if __name__ == "__main__":
    main()
