"""Why one layer more lengthens the segments of the narrowest fully connected networks.

    python benchmarks/depth.py

Chapter 9 shows the table, ``results/benchmark-depth/table.csv``. It grows row by row, so that a run
that was stopped goes on where it was. About half an hour on one core. Each question changes one
thing:

shape   hidden layers of 2 or 8 units, one or two of them: which layer has to be narrow?
decay   a tenth, and ten times, of the weight decay
work    four times the evaluations for minima and for paths
"""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import torch
from table import Table
from torch import nn
from torch.nn.functional import avg_pool2d

import toscore as ts

FILE = Path(__file__).parents[1] / "results" / "benchmark-depth" / "table.csv"
IMAGES, STARTS, EVALUATIONS, BUDGET, DECAY = 200, 5, 1500, 4000, 1e-3
SHAPES = (2,), (2, 2), (2, 8), (8, 2), (8,), (8, 8)


def cases():
    """Question, data set, shape, weight decay, factor of work, seed; the main ones first."""
    for seed, shape in product(range(3), SHAPES):
        yield "shape", "digits", shape, DECAY, 1, seed
    for seed, shape in product(range(2), SHAPES[:2]):
        yield "decay", "digits", shape, DECAY / 10, 1, seed
        yield "decay", "digits", shape, DECAY * 10, 1, seed
        yield "work", "digits", shape, DECAY, 4, seed
    for seed, shape in product(range(2), SHAPES[:4]):
        yield "shape", "mnist", shape, DECAY, 1, seed


def network(shape: tuple[int, ...], inputs: int, classes: int) -> nn.Module:
    sizes = [inputs, *shape]
    layers = [x for a, b in pairwise(sizes) for x in (nn.Linear(a, b), nn.GELU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(sizes[-1], classes))


def measure(data, shape, decay, work, seed) -> dict:
    """One barcode: its scores, births, deaths, and how far training and paths came."""
    images = ts.load_data(data, n_train=IMAGES, n_test=100)
    x = images.x_train if data == "digits" else avg_pool2d(images.x_train, 2)
    model = network(shape, x[0].numel(), images.n_classes)
    f = ts.Landscape(model, x, images.y_train, weight_decay=decay)
    minima = ts.find_minima(f, STARTS, seed, max_evaluations=work * EVALUATIONS, progress=False)
    relaxing = {"budget": work * BUDGET, "settled": 0.2, "tol": 0.3, "certified": False}
    paths = ts.connect(f, minima, seed=seed, progress=False, **relaxing)
    code = paths.barcode(minima.loss)
    finite = np.isfinite(code.death)
    return {
        "dim": f.dim,
        "minima": len(minima),
        "score": code.to_score(),
        "birth": code.birth[finite].mean(),
        "death": code.death[finite].mean(),
        "lowest": code.birth.min(),
        "stationary": minima.stationary.mean(),
        "rested": paths.rested.mean(),
        "seconds": minima.seconds + paths.seconds,
    }


def main():
    torch.set_num_threads(1)
    keys = ["question", "data", "shape", "decay", "work", "seed"]
    table = Table(FILE, keys, dtype={"shape": str})
    for question, data, shape, decay, work, seed in cases():
        key = question, data, "-".join(map(str, shape)), decay, work, seed
        case = dict(zip(keys, key, strict=True))
        if case not in table:
            table.add(case | measure(data, shape, decay, work, seed))
    table.finish()


if __name__ == "__main__":
    main()
