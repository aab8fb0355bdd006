"""How far above the pass is a path at rest? Some of the atlas's are led on towards a saddle.

    python benchmarks/rest.py --jobs 2

A path rests when doubling the work hardly lowered it: a statement about its own past.
Here one pass of each convolutional and ResNet-like network of width 4, depth 1 and seed 0 is found
again, the one of median excess among those at rest, and ``certify`` may work on it for some
minutes; ``seconds`` are those of the path before. Results go to ``results/benchmark-rest/``, row by
row; one whose path is not the median one any more is made anew.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import torch
from table import Table, stored_minima

import toscore as ts
from toscore.experiment import EXPERIMENTS, _hardware
from toscore.reproduce import _of
from toscore.trends import median_pass

FOLDER = Path(__file__).parents[1] / "results" / "benchmark-rest"
NETWORK = 4, 1, 0
SECONDS = 240  # for each
DATASETS = "mnist", "cifar10", "svhn", "fashion_mnist", "cifar100"
NAMES = [f"{family}-{dataset}" for dataset in DATASETS for family in ("cnn", "resnet")]


def one(name: str) -> dict:
    """A pass of one experiment: its excess when at rest, and after more work of another kind."""
    torch.set_num_threads(1)
    stored, settings = ts.load_or_run(name, "laptop"), EXPERIMENTS[name]["laptop"]
    minima, pick = stored.minima[_of(NETWORK, stored.minima)], median_pass(stored, NETWORK)
    landscape, theta = stored_minima(name, NETWORK)
    pair = [[int(pick.i), int(pick.j)]]
    path = ts.connect(landscape, theta, pair, seed=NETWORK[2], progress=False, **settings.paths)
    spend = {"budget": 10**9, "seconds": SECONDS, "seed": NETWORK[2], "progress": False}
    after = ts.certify(landscape, path, **spend)
    return {
        "experiment": name,
        "parameters": landscape.dim,
        "stored": pick.excess,
        "excess": path.excess[0],
        "after": after.excess[0],
        "verdict": after.certificates.verdict[0],
        "stationary": bool(minima.stationary.all()),
        "seconds": after.seconds,
        "hardware": _hardware("cpu"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES, help="experiments (default: all ten)")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    table = Table(FOLDER / "table.csv", ["experiment", "stored"], float_format="%.6g")
    known = dict(zip(table.frame.experiment, table.frame.stored, strict=True))
    excess = {n: median_pass(ts.load_or_run(n, "laptop"), NETWORK).excess for n in args.names}
    same = partial(np.isclose, rtol=1e-5, atol=0)  # digits of the table
    todo = [n for n in args.names if not same(known.get(n, np.nan), excess[n])]
    pool = joblib.Parallel(n_jobs=args.jobs, return_as="generator_unordered")
    for row in pool(joblib.delayed(one)(name) for name in todo):
        table.frame = table.frame[table.frame.experiment != row["experiment"]]
        table.add(row)
    hardware = " and ".join(table.frame.hardware.unique())
    table.finish(network=list(NETWORK), limit=SECONDS, jobs=args.jobs, hardware=hardware)


if __name__ == "__main__":
    main()
