"""How long do barcodes of graphs take, against other programs, and how good are they?

    python benchmarks/graph.py                    # what is missing; resumes where it was stopped
    python benchmarks/graph.py --authors FOLDER   # also the code of arXiv:1912.00043
    python benchmarks/graph.py --fresh            # all of it

Three tables and a manifest go to ``results/benchmark-graph/``, row by row:

- table.csv: time against the number of points, of the barcode alone and of the search for
  neighbours, for ``toscore``, the algorithm in plain Python, ripser and GUDHI, on the same graph.
- worst.csv: time and memory on graphs with a million vertices that might be hard.
- convergence.csv: how far from the exact barcode, in 2 to 6 dimensions.

The authors' code (github.com/grag90/BarcodeCalc) is not ours to ship: FOLDER holds a copy of it.
A method that took longer than LIMIT seconds is not asked for more points.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import gudhi
import numpy as np
import ripser
from scipy.sparse import coo_array
from table import Table, manifest

import toscore as ts
from toscore import sampling

FOLDER = Path(__file__).parents[1] / "results" / "benchmark-graph"
DIM = 3
SIZES = [round(10 ** (3 + k / 2)) for k in range(7)]
LIMIT = 60
DIMS = 2, 3, 4, 5, 6
SEEDS = 0, 1, 2
MOST_POINTS = 100000  # for convergence


def wells(dim: int):
    """Double wells of different depths in each coordinate: 2^dim minima."""
    return ts.surfaces.double_wells(np.ones(dim), np.linspace(0.2, 0.4, dim))


# -- the same bars, five times ---------------------------------------------------------------------


def by_toscore(values, edges):
    code = ts.barcode_of_graph(values, edges)
    return np.column_stack([code.birth, code.death])


def by_plain_python(values, edges):
    """The water reaches the points one by one; union-find with path halving."""
    near = [[] for _ in values]
    for i, j in edges.tolist():
        near[i].append(j)
        near[j].append(i)
    values, bars, root = values.tolist(), [], {}

    def find(i):
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for i in sorted(range(len(values)), key=values.__getitem__):
        touched = {find(j) for j in near[i] if j in root}
        elder = min(touched, key=values.__getitem__, default=i)
        root[i] = elder
        for young in touched - {elder}:
            bars.append((values[young], values[i]))
            root[young] = elder
    bars += [(values[i], np.inf) for i in root if root[i] == i]
    return np.array(bars)


def by_ripser(values, edges):
    i, j = edges.T
    height, vertex = np.maximum(values[i], values[j]), np.arange(len(values))
    entries = np.concatenate([values, height, height])
    rows, columns = np.concatenate([vertex, i, j]), np.concatenate([vertex, j, i])
    matrix = coo_array((entries, (rows, columns)))
    return ripser.ripser(matrix, distance_matrix=True, maxdim=0)["dgms"][0]


def by_gudhi(values, edges):
    tree = gudhi.SimplexTree()
    # not arange(n)[None]: GUDHI 3.13 misreads an axis whose stride is 0
    tree.insert_batch(np.arange(len(values), dtype=np.int32).reshape(1, -1), values)
    heights = values[edges].max(axis=1)
    tree.insert_batch(np.ascontiguousarray(edges.T, dtype=np.int32), heights)
    tree.compute_persistence(persistence_dim_max=True)
    return tree.persistence_intervals_in_dimension(0)


METHODS = {
    "toscore": by_toscore,
    "plain Python": by_plain_python,
    "ripser": by_ripser,
    "GUDHI": by_gudhi,
}


def by_authors(folder: str):
    """Their class, on the graph as a table of neighbours: each edge in the row of one end."""
    sys.path.insert(0, folder)
    search = importlib.import_module("Barcode").BarcodeSearch

    def run(values, edges):
        first = np.searchsorted(edges[:, 0], np.arange(len(values)))  # edges are in order
        place = np.arange(len(edges)) - first[edges[:, 0]]
        table = np.full((len(values), place.max() + 1), -1)
        table[edges[:, 0], place] = edges[:, 1]
        barcodes = search(values, table)
        barcodes.Initialize()
        found = barcodes.ComputeBarcode(rad=np.inf)
        return found[["birth", "death"]].to_numpy(dtype=np.float64)

    return run


# -- what is measured ------------------------------------------------------------------------------


def grows(name, keys):
    return Table(FOLDER / name, keys, float_format="%.6g")


def finite(bars):
    """Bars of positive length that end, sorted."""
    bars = bars[np.isfinite(bars[:, 1]) & (bars[:, 1] > bars[:, 0])]
    return bars[np.lexsort(bars.T)]


def timed(f, *args):
    """Result and seconds: the best of three, or of one if it takes long.

    Seconds of the processor, added up over its cores, as other programs slow the clock's; those by
    the clock are beside them.
    """
    best, repeats = {"seconds": np.inf, "clock": np.inf}, 0
    while repeats < 3 and (repeats == 0 or best["clock"] < 5):
        clock, cpu = time.perf_counter(), time.process_time()
        result = f(*args)
        now = {"seconds": time.process_time() - cpu, "clock": time.perf_counter() - clock}
        best, repeats = {k: min(v, best[k]) for k, v in now.items()}, repeats + 1
    return result, best


def cost(table, methods):
    known = table.frame  # also from a run that was stopped
    slow = set() if known.empty else set(known.method[known.clock > LIMIT])
    surface = wells(DIM)
    for n in SIZES:
        if all({"n": n, "method": m} in table for m in ["neighbours", *methods]):
            continue
        points = sampling.sample_barcode(surface, n).points
        k = sampling.default_neighbours(n, DIM)
        edges, seconds = timed(sampling.neighbour_graph, points, k)
        values = surface.loss(points).numpy()
        row = {"n": n, "k": k, "edges": len(edges)}
        if {"n": n, "method": "neighbours"} not in table:
            table.add(row | {"method": "neighbours"} | seconds)
        reference = finite(by_toscore(values, edges))
        for name, method in methods.items():
            if name in slow or {"n": n, "method": name} in table:
                continue
            bars, seconds = timed(method, values, edges)
            found = finite(bars)
            if seconds["clock"] > LIMIT:
                slow.add(name)
            same = len(found) == len(reference)
            error = np.abs(found - reference).max(initial=0.0) if same else np.nan
            found = {"bars": len(bars), "difference": error}
            table.add(row | {"method": name} | seconds | found)


def hard(name: str):
    """Values and edges of a graph with a million vertices."""
    rng, n = np.random.default_rng(0), 10**6
    chain = np.column_stack([np.arange(n - 1), np.arange(1, n)])
    spread = rng.integers(0, n, (10 * n, 2))
    high = rng.permutation(n) + float(n)
    if name == "nearest neighbours":
        points = sampling.sample_barcode(wells(DIM), 1000).points  # for the box alone
        low, top = points.min(axis=0), points.max(axis=0)
        points = rng.uniform(low, top, (n, DIM))
        return wells(DIM).loss(points).numpy(), sampling.neighbour_graph(points, 18)
    cases = {
        "random edges": (rng.normal(size=n), spread),
        "equal values, random edges": (np.zeros(n), spread),
        "falling chain": (np.arange(n)[::-1].astype(float), chain),
        "falling chain, shuffled": (rng.permutation(n), None),
        "random chain": (rng.normal(size=n), chain),
        "zigzag chain": (np.where(np.arange(n) % 2, high, high - n), chain),
        "star": (
            np.append(1e9, rng.normal(size=n - 1)),
            np.column_stack([0 * chain[:, 0], chain[:, 1]]),
        ),
        "no edges": (rng.normal(size=n), chain[:0]),
    }
    values, edges = cases[name]
    if edges is None:  # vertex order[r] has value r
        order = np.argsort(values)
        edges = np.column_stack([order[:-1], order[1:]])
    return values, edges


HARD = (
    "nearest neighbours",
    "random edges",
    "equal values, random edges",
    "falling chain",
    "falling chain, shuffled",
    "random chain",
    "zigzag chain",
    "star",
    "no edges",
)


def measure_hard(file: str, send):
    with np.load(file) as stored:
        values, edges = stored["values"], stored["edges"]
    before = memory("VmRSS")
    clock, cpu = time.perf_counter(), time.process_time()
    code = ts.barcode_of_graph(values, edges)
    row = {"seconds": time.process_time() - cpu, "clock": time.perf_counter() - clock}
    send.send({"bars": len(code)} | row | {"MB": memory("VmHWM") - before})


def memory(key: str) -> float:
    """Memory of this process, or its peak, in MB; Linux only, elsewhere NaN."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(key)), np.nan)


def worst(table):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    for name in HARD:
        if {"graph": name} in table:
            continue
        values, edges = hard(name)
        # a process of its own, whose peak of memory is that of this graph
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "graph.npz")
            np.savez(file, values=values, edges=edges)
            process = context.Process(target=measure_hard, args=(file, theirs))
            process.start()
            table.add({"graph": name, "n": len(values), "edges": len(edges)} | ours.recv())
            process.join()


def convergence(table):
    for dim in DIMS:
        surface = wells(dim)
        exact = surface.barcode
        for n in [s for s in SIZES if s <= MOST_POINTS]:
            for kind in ("Sobol", "random"):
                for seed in SEEDS:
                    key = {"D": dim, "n": n, "points": kind, "seed": seed}
                    if key in table:
                        continue
                    sample = sampling.sample_barcode(surface, n, seed=seed, sobol=kind == "Sobol")
                    code = sample.barcode
                    both = [np.column_stack([c.birth, c.death]) for c in (code, exact)]
                    row = key | {"bars": len(code), "bottleneck": gudhi.bottleneck_distance(*both)}
                    table.add(row | errors(sample, surface))


def errors(sample, surface) -> dict:
    """Signed errors of the births and deaths of the exact minima: each is met by the lowest of
    the sampled minima to which it is the nearest exact one."""
    code, exact = sample.barcode, surface.barcode
    far = sample.points[code.minimum][:, None] - surface.minima.numpy()
    nearest = (far**2).sum(axis=2).argmin(axis=1)
    birth, death = [], []
    for p in range(len(exact)):
        rows = np.flatnonzero(nearest == p)
        if len(rows):
            row = rows[code.birth[rows].argmin()]
            birth.append(code.birth[row] - exact.birth[p])
            if np.isfinite(code.death[row]) and np.isfinite(exact.death[p]):
                death.append(code.death[row] - exact.death[p])
    return {
        "missing": len(exact) - len(birth),
        "birth low": min(birth),
        "birth mean": np.mean(birth),
        "birth high": max(birth),
        "death low": min(death, default=np.nan),
        "death mean": np.mean(np.abs(death)) if death else np.nan,
        "death high": max(death, default=np.nan),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--authors", help="folder with a copy of their code")
    parser.add_argument("--fresh", action="store_true", help="measure all of it again")
    parser.add_argument("--only", choices=["cost", "worst", "convergence"])
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if args.fresh:
        for file in FOLDER.glob("*.csv"):
            file.unlink()
    methods = dict(METHODS)
    if args.authors:
        methods["authors' code"] = by_authors(args.authors)
    if args.only in (None, "cost"):
        cost(grows("table.csv", ["n", "method"]), methods)
    if args.only in (None, "worst"):
        worst(grows("worst.csv", ["graph"]))
    if args.only in (None, "convergence"):
        convergence(grows("convergence.csv", ["D", "n", "points", "seed"]))
    manifest(FOLDER, ("numpy", "scipy", "ripser", "gudhi"), dimensions=DIM, limit=LIMIT)


if __name__ == "__main__":
    main()
