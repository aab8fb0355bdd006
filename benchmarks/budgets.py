"""What a quarter of the work would say: the networks of the atlas with smaller budgets.

    python benchmarks/budgets.py

Training and paths of the stored results have four times the budgets that they had at first. Here
they are made again with a quarter, so that chapter 12 can show what the work changes. The table,
``results/benchmark-budgets/table.csv``, grows row by row, so that a run that was stopped goes on
where it was. A quarter to half an hour a cell on one core, with the data named by TOSCORE_DATA.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from table import Table

import toscore as ts
from toscore.experiment import _pass_unit, _train_unit
from toscore.settings import DATASETS, FAMILIES, _profiles
from toscore.trends import below_ceiling

LESS = 4
# those of the atlas, without what some cells were given beyond the others to finish what they left
SETTINGS = {
    f"{short}-{dataset}": _profiles(dataset, family)["laptop"]
    for short, family in FAMILIES.items()
    for dataset in DATASETS
}
FILE = Path(__file__).parents[1] / "results" / "benchmark-budgets" / "table.csv"


def measure(settings, width: int, depth: int, seed: int) -> dict:
    """One network of the atlas, its minima and its paths given a part of their budgets."""
    few = replace(
        settings,
        minima=settings.minima | {"max_evaluations": settings.minima["max_evaluations"] // LESS},
        paths=settings.paths | {"budget": settings.paths["budget"] // LESS},
    )
    minima = _train_unit(few, None, (width, depth, seed), None)
    paths = _pass_unit(few, None, (width, depth, seed), minima["theta"])
    pairs = np.column_stack([paths["i"], paths["j"]])
    pairs, saddle, cut = below_ceiling(settings.dataset, minima["loss"], pairs, paths["saddle"])
    rested = paths["rested"] & ~cut[: len(paths["rested"])]
    return {
        "loss": minima["loss"].mean(),
        "stationary": minima["stationary"].mean(),
        "rested": rested.sum() / len(pairs),
        "score": ts.barcode_of_minima(minima["loss"], pairs, saddle).to_score(),
        "seconds": minima["seconds"] + paths["seconds"],
    }


def main():
    torch.set_num_threads(1)
    table = Table(FILE, ["experiment", "width", "depth", "seed"])
    for name, settings in SETTINGS.items():
        for depth, width, seed in product(settings.depths, settings.widths, settings.seeds):
            row = {"experiment": name, "width": width, "depth": depth, "seed": seed}
            if row not in table:
                table.add(row | measure(settings, width, depth, seed))
    table.finish(less=LESS)


if __name__ == "__main__":
    main()
