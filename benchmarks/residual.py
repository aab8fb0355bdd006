"""How far from rest the atlas's ResNet-like networks are: one again with four times the work.

    python benchmarks/residual.py

Chapter 11 shows the table, ``results/benchmark-residual/table.csv``, beside the stored
``resnet-svhn``. It grows row by row, so that a run that was stopped goes on where it was. About an
hour on one core, with the data named by TOSCORE_DATA.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from table import Table

import toscore as ts

NAME, SEED, WORK = "resnet-svhn", 0, 4
FILE = Path(__file__).parents[1] / "results" / "benchmark-residual" / "table.csv"


def measure(width: int, depth: int) -> dict:
    """One network of the atlas, its minima and its paths given WORK times their budgets."""
    settings = ts.load_or_run(NAME, "laptop").manifest["settings"]
    data = ts.load_data(settings["dataset"], n_train=settings["n_train"], n_test=100)
    sizes = {"width": width, "depth": depth, "stride": settings["stride"]}
    network = ts.resnet(data.shape, data.n_classes, activation=settings["activation"], **sizes)
    decay = settings["weight_decay"]
    f = ts.Landscape(network, data.x_train, data.y_train, weight_decay=decay)
    training, relaxing = dict(settings["minima"]), dict(settings["paths"])
    training["max_evaluations"] *= WORK
    relaxing["budget"] *= WORK
    minima = ts.find_minima(f, settings["n_minima"], SEED, progress=False, **training)
    paths = ts.connect(f, minima, seed=SEED, progress=False, **relaxing)
    code = paths.barcode(minima.loss)
    return {
        "loss": minima.loss.mean(),
        "gradient": np.median(minima.grad_norm),
        "stationary": minima.stationary.mean(),
        "rested": paths.rested.mean(),
        "score": code.to_score(),
        "seconds": minima.seconds + paths.seconds,
    }


def main():
    torch.set_num_threads(1)
    table = Table(FILE, ["width", "depth"])
    for depth, width in ((2, 2), (1, 2), (2, 4), (1, 4), (2, 8), (1, 8)):
        size = {"width": width, "depth": depth}
        if size not in table:
            table.add(size | measure(width, depth))
    table.finish(experiment=NAME, seed=SEED, work=WORK)


if __name__ == "__main__":
    main()
