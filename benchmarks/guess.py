"""How much lower than the ceiling of chapter 9 is a path that begins as the ceiling is proven?

    python benchmarks/guess.py

From one minimum the last layer sinks to zero, the layers before it turn into those of the other
minimum, and its last layer rises: nowhere on that path is the loss above that of guessing over the
higher end. Where the atlas's own paths, which begin straight, came to rest above it (ResNet-like
networks of width 2 on CIFAR-100), this one relaxes instead, until its blocks hardly lower it.
The table, ``results/benchmark-guess/table.csv``, grows row by row. A quarter of an hour where the
run of the experiment left its parts; else the minima are made again, half an hour more, with
the data named by TOSCORE_DATA.
"""

from __future__ import annotations

import time
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from table import Table, stored_minima

import toscore as ts
from toscore import curves, trends
from toscore.experiment import CELL
from toscore.minima import progress_bar

NAME = "resnet-cifar100"
BUDGET = 100_000  # gradients for one path
FILE = Path(__file__).parents[1] / "results" / "benchmark-guess" / "table.csv"


def through_guessing(landscape, a, b):
    """A chain of three curves, all straight, by way of the two ends with no last layer."""
    last = [m for m in landscape.module(a).modules() if isinstance(m, torch.nn.Linear)][-1]
    corners = torch.stack([a, a, b, b])
    corners[1:3, -sum(p.numel() for p in last.parameters()) :] = 0
    degree = curves.level(curves.FINE)[0]
    return curves.join([curves.elevate(corners[None, k : k + 2], degree)[0] for k in range(3)])


def main():
    torch.set_num_threads(1)
    table = Table(FILE, [*CELL, "i", "j"], float_format="%.6g")
    passes = trends.bounded(ts.load_or_run(NAME, "laptop")).passes
    searched = passes[passes.cut & passes.maximum.notna()]
    trained = cache(partial(stored_minima, NAME))
    for found in searched.itertuples():
        row = {key: getattr(found, key) for key in [*CELL, "i", "j"]}
        if row in table:
            continue
        *network, i, j = row.values()
        landscape, theta = trained(tuple(network))
        began = time.perf_counter()
        path = curves.Curve(
            i, j, 0, through_guessing(landscape, *theta[[i, j]]), 3, block=curves.FINE
        )
        before = curves.highest(landscape, path.controls[None], 3)[2][0]
        with progress_bar(False) as bar:
            curves.relax(landscape, [path], BUDGET, None, np.inf, network[2], bar)
        after = curves.highest(landscape, path.controls[None], 3)[2][0]
        floor = float(landscape.loss(theta[[i, j]]).max())
        row |= {"floor": floor, "straight": found.maximum, "ceiling": found.saddle}
        row |= {"begin": before, "end": after, "rests": path.rests()}
        cost = {"evaluations": path.evaluations, "seconds": time.perf_counter() - began}
        table.add(row | cost)
    table.finish(experiment=NAME, budget=BUDGET)


if __name__ == "__main__":
    main()
