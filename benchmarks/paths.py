"""Which method finds the lowest passes? All of them, on one suite, with equal budgets, in one run.

    python benchmarks/paths.py                # the suite; resumes where it was stopped
    python benchmarks/paths.py --only digits  # one landscape, without any data to download

Two budgets: equal evaluations (of f or its gradient at a point, for each pair of minima), and equal
time by the clock (what so many gradients take one after the other; for toscore that includes its
own dense search for each path's maximum). What is measured afterwards, off the clock and for all in
the same way: the excess, that is the path's maximum over the higher of its ends (on surfaces: over
the exact pass), and the mean finite segment of the barcode.

Results go to ``results/benchmark-paths/``: table.csv, traces.csv and a manifest.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import combinations
from pathlib import Path

import joblib
import numpy as np
import torch
from methods import METHODS
from scipy.sparse.csgraph import minimum_spanning_tree
from table import manifest, write

import toscore as ts
from toscore import models, surfaces
from toscore.curves import bezier
from toscore.data import whole_file

OURS = "toscore.connect"
FOLDER = Path(__file__).parents[1] / "results" / "benchmark-paths"
# data set, images, family, width, depth, evaluations a pair
MLPS = ((8, 1), (16, 1), (8, 2), (8, 3), (16, 2))
NETWORKS = {
    f"{data} MLP {'-'.join([str(w)] * d)}": (data, 1000, "mlp", w, d, 2000)
    for data in ("mnist", "fashion_mnist")
    for w, d in MLPS
} | {
    "cifar10 CNN 6": ("cifar10", 100, "cnn", 6, 2, 1500),
    "cifar10 ResNet 6": ("cifar10", 100, "resnet", 6, 1, 1500),
    "digits MLP 8": ("digits", 400, "mlp", 8, 1, 2000),
}
SURFACES = {
    "Müller–Brown": surfaces.mueller_brown,
    "Himmelblau": surfaces.himmelblau,
    "six-hump camel": surfaces.six_hump_camel,
    "double wells 1-D": lambda: surfaces.double_wells([1.0], [0.3]),
    "double wells 2-D": lambda: surfaces.double_wells([1.0, 2.0], [0.3, -0.4]),
    "double wells 3-D": lambda: surfaces.double_wells([1.0, 2.0, 0.7], [0.3, -0.4, 0.2]),
}
SURFACE_EVALUATIONS = 2000
CHECKPOINTS = 0.03 * 1.5 ** np.arange(9)  # shares of the budget at which a trace is taken down


class Counted:
    """A landscape that counts the points at which it is evaluated, and can stop the clock."""

    def __init__(self, landscape):
        self.landscape, self.count, self.began = landscape, 0, time.perf_counter()

    def __getattr__(self, name):
        return getattr(self.landscape, name)

    def loss(self, points):
        self.count += points.shape[:-1].numel()
        return self.landscape.loss(points)

    def loss_and_grad(self, points):
        self.count += points.shape[:-1].numel()
        return self.landscape.loss_and_grad(points)

    @property
    def seconds(self):
        return time.perf_counter() - self.began


def landscape_of(name, seed):
    """(landscape, minima (N, D), lowest conceivable pass of each pair, evaluations a pair)."""
    if name in SURFACES:
        surface = SURFACES[name]()
        pairs = list(combinations(range(len(surface.minima)), 2))
        return surface, surface.minima, exact_passes(surface, pairs), SURFACE_EVALUATIONS
    data_name, images, family, width, depth, evaluations = NETWORKS[name]
    data = ts.load_data(data_name, n_train=images, n_test=10)
    model = getattr(models, family)(
        data.shape, data.n_classes, width=width, depth=depth, activation="gelu"
    )
    landscape = ts.Landscape(model, data.x_train, data.y_train, weight_decay=1e-3)
    budget = {} if family == "mlp" else {"steps": 200, "max_evaluations": 400}
    minima = ts.find_minima(landscape, 3, seed, progress=False, **budget).theta
    loss = landscape.loss(minima).double().numpy()
    floor = [max(loss[i], loss[j]) for i, j in combinations(range(len(minima)), 2)]
    return landscape, minima, np.array(floor), evaluations


def exact_passes(surface, pairs):
    """The exact pass between each pair of a surface's minima: the maximum on the spanning tree."""
    n = len(surface.minima)
    heights = surface.f(surface.saddles).numpy()
    rank = heights.argsort().argsort() + 1.0
    graph = np.full((n, n), np.inf)
    for (i, j), r in zip(surface.pairs, rank, strict=True):
        graph[i, j] = min(graph[i, j], r)
    tree = minimum_spanning_tree(np.where(np.isfinite(graph), graph, 0)).toarray()
    tree = np.maximum(tree, tree.T)
    reach = np.where(tree > 0, tree, np.inf)
    for k in range(n):  # minimax over intermediate minima
        reach = np.minimum(reach, np.maximum(reach[:, k : k + 1], reach[k : k + 1]))
    return np.array([np.sort(heights)[int(reach[i, j]) - 1] for i, j in pairs])


def height(landscape, kind, nodes, samples=513):
    """Largest value on each curve, float64 (P,): at many places, then closer and closer to it."""
    width = 1 / (samples - 1)
    t = torch.linspace(0, 1, samples, dtype=nodes.dtype).expand(len(nodes), -1)
    highest = np.full(len(nodes), -np.inf)
    for _ in range(6):
        values = landscape.loss(places(kind, nodes, t)).double().cpu()
        highest = np.maximum(highest, values.amax(dim=1).numpy())
        top = t.gather(1, values.argmax(dim=1, keepdim=True))
        t = (top + width * torch.linspace(-1, 1, 9, dtype=t.dtype)).clamp(0, 1)
        width /= 4
    return highest


def places(kind, nodes, t):
    """Points at t (P, m) on polygons or Bézier curves (P, K, D)."""
    if kind == "bezier":
        return bezier(nodes, t)
    last = nodes.shape[1] - 1
    k = (t * last).long().clamp(max=last - 1)
    share = (t * last - k)[..., None]
    index = k[..., None].expand(-1, -1, nodes.shape[2])
    return (1 - share) * nodes.gather(1, index) + share * nodes.gather(1, index + 1)


def follow(method, landscape, ends, evaluations, seconds, seed):
    """Run a rival until its budget is up: its curves, (evaluations, seconds, curves) on the way."""
    counted, trace, off = Counted(landscape), [], 0.0

    def clock():
        if seconds is not None:
            return (counted.seconds - off) / seconds
        return counted.count / len(ends) / evaluations

    for kind, nodes in method(counted, ends, clock, seed):
        spent = clock()
        if len(trace) < len(CHECKPOINTS) and spent >= CHECKPOINTS[len(trace)]:
            pause, count = time.perf_counter(), counted.count
            at = (count / len(ends), counted.seconds - off)
            trace.append((*at, height(landscape, kind, nodes, 65)))
            off += time.perf_counter() - pause
        if spent >= 1:
            break
    return kind, nodes, counted.count / len(ends), counted.seconds - off, trace


def measure(name, seed):
    """Rows of the table and of the traces for one landscape."""
    torch.set_num_threads(1)
    landscape, minima, floor, evaluations = landscape_of(name, seed)
    pairs = np.array(list(combinations(range(len(minima)), 2)))
    ends = minima[torch.as_tensor(pairs)]
    probe = ends.mean(dim=1, keepdim=True).expand(-1, 8, -1).contiguous()
    landscape.loss_and_grad(probe)
    began = time.perf_counter()
    landscape.loss_and_grad(probe)
    rate = (time.perf_counter() - began) / probe.shape[:2].numel()
    clock = evaluations * len(pairs) * rate
    loss = landscape.loss(minima).double().numpy()
    rows, traces = [], []
    for budget in ("evaluations", "time"):
        seconds = None if budget == "evaluations" else clock
        for label in (*METHODS, OURS):
            if label == OURS:
                limit = {"budget": evaluations} if seconds is None else {"seconds": seconds}
                found = ts.connect(
                    landscape,
                    minima,
                    "all",
                    certified=False,
                    seed=seed,
                    progress=False,
                    **({"budget": 10**9} | limit),
                )
                # its own denser search counts where it finds more
                top = np.maximum(
                    height(landscape, "bezier", torch.stack(found.controls)), found.maximum
                )
                spent, took = found.evaluations / len(pairs), found.seconds
                steps = found.history.groupby(["i", "j"], sort=False).cumcount()
                for _, step in found.history.groupby(steps):
                    if len(step) == len(pairs):
                        at = (step.evaluations.mean(), step.seconds.sum())
                        traces.append((name, budget, label, *at, step.excess.mean()))
            else:
                kind, nodes, spent, took, trace = follow(
                    METHODS[label], landscape, ends, evaluations, seconds, seed
                )
                top = height(landscape, kind, nodes)
                for count, second, heights in trace:
                    at = (count, second, (heights - floor).mean())
                    traces.append((name, budget, label, *at))
            excess = top - floor
            code = ts.barcode_of_minima(loss, pairs, np.maximum(top, loss[pairs].max(axis=1)))
            rows.append(
                (
                    name,
                    seed,
                    budget,
                    label,
                    excess.mean(),
                    excess.max(),
                    code.to_score(),
                    spent,
                    took,
                    len(pairs),
                    evaluations,
                    clock,
                )
            )
    return rows, traces


COLUMNS = [
    "landscape",
    "seed",
    "budget",
    "method",
    "mean_excess",
    "worst_excess",
    "mean_segment",
    "evaluations",
    "seconds",
    "pairs",
    "evaluations_allowed",
    "seconds_allowed",
]
TRACES = ["landscape", "budget", "method", "evaluations", "seconds", "mean_excess"]


def part_file(name, seed):
    return FOLDER / "parts" / f"{name.replace(' ', '_')}-{seed}.json"


def part(name, seed):
    file = part_file(name, seed)
    if not file.exists():
        rows, traces = measure(name, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as out:
            out.write(json.dumps({"rows": rows, "traces": traces}).encode())
    return json.loads(file.read_text())


def stored(options):
    """Write tables and manifest of all landscapes measured with this seed so far."""
    names = [n for n in (*NETWORKS, *SURFACES) if part_file(n, options.seed).exists()]
    parts = [part(n, options.seed) for n in names]
    rows, steps = ([r for p in parts for r in p[k]] for k in ("rows", "traces"))
    table = write(FOLDER / "table.csv", rows, "%.6g", COLUMNS)
    write(FOLDER / "traces.csv", steps, "%.6g", TRACES)
    landscapes = f"{len(names)} of {len(NETWORKS) + len(SURFACES)}"
    manifest(FOLDER, landscapes=landscapes, seed=options.seed, jobs=options.jobs)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="landscapes whose name contains this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    names = [n for n in (*NETWORKS, *SURFACES) if options.only in n]
    jobs = (joblib.delayed(part)(n, options.seed) for n in names)
    done = joblib.Parallel(n_jobs=options.jobs, return_as="generator_unordered", verbose=5)(jobs)
    for _ in done:
        table = stored(options)
    table = table[table.landscape.isin(names)]
    print(summary(table).to_string(float_format=lambda x: f"{x:.4g}"))


def summary(table):
    """Mean excess of every method, and how many times larger than ours it is, by landscape."""
    wide = table.pivot_table(
        index=["budget", "landscape"], columns="method", values="mean_excess", sort=False
    )
    ratio = wide.div(wide[OURS], axis=0).drop(columns=OURS).add_suffix(" / ours")
    return wide.join(ratio).T


if __name__ == "__main__":
    main()
