"""Networks small enough to sample: graphs against paths, copies under symmetry, width and depth.

    python benchmarks/tiny.py [graph] [copies] [widths]

Chapter 8 shows the results, ``results/tiny-networks/*.csv``. Each part writes its tables when it is
done and takes some minutes on one core; without arguments those run whose tables are missing.

graph    The pass between the lowest minimum and its copy with the sign of one hidden unit flipped:
         by a certified path, and by the graph algorithm on points drawn in three ways.
copies   All minima of a network with seven parameters, with all their copies, and the passes
         that make their barcode.
widths   TO-scores of networks of several widths and depths, over several data sets.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise, permutations, product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import qmc
from sklearn.datasets import make_moons
from table import manifest, write
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

import toscore as ts
from toscore.sampling import default_neighbours, neighbour_graph

FOLDER = Path(__file__).parents[1] / "results" / "tiny-networks"
XOR = [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], [0.0, 1.0, 1.0, 0.0]


# -- networks and data -----------------------------------------------------------------------------


def regression(seed: int = 0, n: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    """A noisy sine on [-2, 2]: inputs and targets, float64 (n, 1) each."""
    x = torch.linspace(-2, 2, n, dtype=torch.float64)[:, None]
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    return x, torch.sin(3 * x + 0.4) + 0.1 * noise


def moons(seed: int = 0, n: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    """Two moons, standardised: inputs float64 (n, 2), targets 0 or 1, float64 (n, 1)."""
    x, y = make_moons(n, noise=0.2, random_state=seed)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    return torch.as_tensor(x), torch.as_tensor(y, dtype=torch.float64)[:, None]


def xor() -> tuple[torch.Tensor, torch.Tensor]:
    """The four corners, float64 (4, 2), and 1 where their signs differ, float64 (4, 1)."""
    x, y = (torch.tensor(t, dtype=torch.float64) for t in XOR)
    return x, y[:, None]


def half_mse(outputs, targets):
    return 0.5 * mse_loss(outputs, targets)


def landscape(data, hidden, weight_decay, loss_fn, bias=(True, True)) -> ts.Landscape:
    """A tanh network with hidden layers of these widths; none is a constant output."""
    x, y = data
    sizes = [x.shape[1], *hidden]
    layers = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b, bias=bias[0]), nn.Tanh()]
    network = nn.Sequential(*layers, nn.Linear(sizes[-1], 1, bias=bias[1])).double()
    return ts.Landscape(network, x, y, loss_fn=loss_fn, weight_decay=weight_decay)


# -- symmetry of one hidden layer ------------------------------------------------------------------


def unit_parts(dim: int, inputs: int, units: int, bias: bool = True) -> list[np.ndarray]:
    """Numbers of the coordinates that belong to each hidden unit; its output weight is the last.

    Parameters are in torch's order: input weights, biases (if any), output weights, output bias.
    """
    weights = inputs * units
    parts = []
    for k in range(units):
        own = list(range(k * inputs, (k + 1) * inputs))
        own += [weights + k] if bias else []
        parts.append(np.array([*own, weights + units * bias + k]))
    if parts and parts[-1].max() >= dim:
        raise ValueError(f"{units} units on {inputs} inputs need more than {dim} parameters")
    return parts


def copies(theta: np.ndarray, parts: list[np.ndarray], same: float = 1e-3) -> np.ndarray:
    """All different images of theta (D,) under permutations and sign flips of units, (C, D)."""
    found: list[np.ndarray] = []
    for order in permutations(range(len(parts))):
        for signs in product((1.0, -1.0), repeat=len(parts)):
            image = theta.copy()
            for k, (source, sign) in enumerate(zip(order, signs, strict=True)):
                image[parts[k]] = sign * theta[parts[source]]
            if all(np.linalg.norm(image - other) > same for other in found):
                found.append(image)
    return np.array(found)


# -- the graph algorithm ---------------------------------------------------------------------------


def height_between(values: np.ndarray, edges: np.ndarray) -> float:
    """The level at which vertices 0 and 1 of a graph meet, where no vertex is lower."""
    code = ts.barcode_of_graph(values, edges)
    row = np.flatnonzero(code.minimum == 1)
    return float(code.death[row[0]]) if len(row) else float(values[1])  # joined where they are


def on_graph(f: ts.Landscape, points: np.ndarray, edges: np.ndarray, parts: int):
    """Height between points 0 and 1 by vertices alone, and with each edge cut into parts."""
    values = f.loss(torch.as_tensor(points)).numpy()
    values[:2] = values.min()  # the lowest minimum and its copy: equal but for rounding
    vertices = height_between(values, edges)
    # weigh an edge with the highest of its inner points: one more vertex that stands for them
    t = (np.arange(1, parts) / parts)[:, None, None]
    a, b = points[edges[:, 0]], points[edges[:, 1]]
    inner = np.max([f.loss(torch.as_tensor(a + s * (b - a))).numpy() for s in t], axis=0)
    inner = np.maximum(inner, values[edges].max(axis=1))
    middle = len(points) + np.arange(len(edges))
    halves = [np.column_stack([edges[:, k], middle]) for k in (0, 1)]
    return vertices, height_between(np.concatenate([values, inner]), np.concatenate(halves))


def uniform(f, ends, path, n, seed):
    """Scrambled Sobol points in a box around the origin that holds both ends with room to spare."""
    half = 1.25 * np.abs(ends).max(axis=0) + 0.25
    return qmc.scale(qmc.Sobol(f.dim, seed=seed).random(n), -half, half)


def walk(f, ends, path, n, seed, walkers=32, spare=4):
    """Metropolis walks from both ends, hot enough to come as high as the pass and higher.

    A proposal is normal, with a scale drawn anew each time from 0.02 to 0.6. In a quadratic well
    the mean height above the minimum is D / 2 times the temperature; that is 2 to 10 times the
    climb to the pass here. Of all places that were visited, n are drawn.
    """
    rng = torch.Generator().manual_seed(seed)
    at = torch.as_tensor(ends).repeat(walkers // 2, 1)
    value = f.loss(at)
    climb = path.saddle[0] - float(value.min())
    hot = 2 / f.dim * climb * torch.logspace(0.3, 1, walkers // 2, dtype=at.dtype)
    hot = hot.repeat_interleave(2)
    seen = []
    for _ in range(spare * n // walkers):
        scale = 0.6 * 30 ** -torch.rand(walkers, 1, generator=rng, dtype=at.dtype)
        new = at + scale * torch.randn(at.shape, generator=rng, dtype=at.dtype)
        height = f.loss(new)
        yes = torch.rand(walkers, generator=rng, dtype=at.dtype) < torch.exp((value - height) / hot)
        at, value = torch.where(yes[:, None], new, at), torch.where(yes, height, value)
        seen.append(at.clone())
    points = np.unique(torch.cat(seen).numpy(), axis=0)
    return np.random.default_rng(seed).permutation(points)[:n]


def tube(f, ends, path, n, seed, radius=0.1):
    """n / 4 points of the path and, around each, three more, off by ``radius`` in the mean."""
    middle = path.at(0, torch.linspace(0, 1, n // 4, dtype=torch.float64)).numpy()
    noise = np.random.default_rng(seed).normal(size=(3, *middle.shape))
    cloud = middle + radius / np.sqrt(f.dim) * noise
    return np.concatenate([middle, cloud.reshape(-1, f.dim)])


SAMPLERS = {"uniform": uniform, "walk": walk, "tube": tube}
PARTS = 4  # pieces an edge is cut into
BCE = binary_cross_entropy_with_logits


def cases():
    """name, data, inputs, units, biases, settings of the landscapes of the graph part."""
    line, corners, clouds = regression(), xor(), moons()
    sine, logistic = (3e-3, half_mse), (1e-2, BCE)
    few = [(1, (False, False)), (1, (True, False))]
    for units, bias in [*few, *((m, (True, True)) for m in (1, 2, 3, 4))]:
        yield "sine", line, 1, units, bias, sine
    yield "xor", corners, 2, 2, (True, True), logistic
    yield "moons", clouds, 2, 4, (True, True), logistic


def lowest(f, starts=24):
    """The lowest of the minima that so many starts end in."""
    minima = ts.find_minima(f, starts, steps=200, progress=False)
    k = int(np.argmin(minima.loss))
    return minima.theta[k], float(minima.loss[k])


def graph(seeds=3, sizes=(512, 2048, 8192)):
    rows, exact = [], []
    for name, data, inputs, units, bias, settings in cases():
        f = landscape(data, (units,), *settings, bias)
        p, birth = lowest(f)
        if units > 1:
            _, floor = lowest(landscape(data, (units - 1,), *settings, bias))
        else:
            floor = constant(data, settings, bias[1])
        found = []
        for part in unit_parts(f.dim, inputs, units, bias[0]):
            q = p.clone()
            q[part] *= -1
            ends = torch.stack([p, q])
            found.append((ends, ts.connect(f, ends, [[0, 1]], progress=False)))
        ends, path = min(found, key=lambda e: e[1].saddle[0])
        exact.append({"case": name, "dim": f.dim, "units": units, "birth": birth, "floor": floor})
        exact[-1] |= {"saddle": path.saddle[0], "maximum": path.maximum[0]}
        exact[-1] |= {"verdict": path.certificates.verdict[0]}
        print(exact[-1], flush=True)
        ends = ends.numpy()
        for sampler, n, seed in product(SAMPLERS, sizes, range(seeds)):
            began = time.perf_counter()
            points = np.concatenate([ends, SAMPLERS[sampler](f, ends, path, n, seed)])
            edges = neighbour_graph(points, default_neighbours(*points.shape))
            vertices, cut = on_graph(f, points, edges, PARTS)
            rows.append({"case": name, "dim": f.dim, "sampler": sampler, "n": n, "seed": seed})
            rows[-1] |= {"points": len(points), "vertices": vertices, "cut": cut}
            rows[-1] |= {"seconds": time.perf_counter() - began}
    save("graph", rows)
    save("exact", exact)


def constant(data, settings, bias):
    """The least loss of a constant output (of zero, without a bias), to rounding."""
    weight_decay, loss_fn = settings
    y = data[1]
    if not bias:
        return float(loss_fn(torch.zeros_like(y), y))
    if loss_fn is not half_mse:
        raise ValueError("only the squared loss has its best constant in closed form")
    c = y.mean() / (1 + weight_decay)
    return float(loss_fn(c.expand_as(y), y) + 0.5 * weight_decay * c**2)


# -- copies ----------------------------------------------------------------------------------------


def orbits(f, parts, starts=60, same=1e-2):
    """Each minimum that the starts end in, with all its copies, (C, D), from the lowest up."""
    found = ts.find_minima(f, starts, steps=200, progress=False)
    kept: list[np.ndarray] = []
    for k in np.argsort(found.loss, kind="stable"):
        point = found.theta[k].numpy()
        if all(np.linalg.norm(known - point, axis=1).min() > same for known in kept):
            kept.append(copies(point, parts))
    return kept


def all_copies():
    """The sine with all copies of all its minima; XOR with all of its lowest, and one of each
    higher value, the origin among them."""
    minima, passes = [], []
    for name, data, inputs, settings in [
        ("sine", regression(), 1, (3e-3, half_mse)),
        ("xor", xor(), 2, (1e-2, BCE)),
    ]:
        f = landscape(data, (2,), *settings)
        found = orbits(f, unit_parts(f.dim, inputs, 2))
        if name == "xor":
            found.append(np.zeros((1, f.dim)))
            value = f.loss(torch.as_tensor(np.stack([o[0] for o in found]))).numpy()
            low, new = value - value[0] < 1e-6, np.diff(value, prepend=-1) > 1e-6
            found = [o if low[k] else o[:1] for k, o in enumerate(found) if low[k] or new[k]]
        orbit = np.repeat(np.arange(len(found)), [len(o) for o in found])
        theta = torch.as_tensor(np.concatenate(found))
        losses = f.loss(theta).numpy()
        paths = ts.connect(f, theta, progress=False)
        for k, (o, point) in enumerate(zip(orbit, theta.numpy(), strict=True)):
            row = {"network": name, "number": k, "orbit": o, "loss": losses[k]}
            minima.append(row | coordinates(point))
        for k in np.flatnonzero(paths.certificates.verdict != "not tried"):
            row = {"network": name, "i": paths.pairs[k, 0], "j": paths.pairs[k, 1]}
            row |= {"saddle": paths.saddle[k], "maximum": paths.maximum[k]}
            row |= {"verdict": paths.certificates.verdict[k]}
            passes.append(row | coordinates(paths.points[k].numpy()))
        print(name, len(theta), "minima,", len(paths), "paths,", paths.skipped, "skipped")
        print(paths.barcode(losses).to_frame().assign(orbit=orbit).to_string(), flush=True)
    save("minima", minima, "%.17g")
    save("passes", passes, "%.17g")


def coordinates(point):
    return {f"theta{k}": x for k, x in enumerate(point)}


# -- width and depth -------------------------------------------------------------------------------


def widths(seeds=4, starts=5):
    """Row by row, so that a run that was stopped goes on where it was; seconds spent in all."""
    file = FOLDER / "widths.csv"
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {(r["data"], r["width"], r["depth"], r["seed"]) for r in rows}
    shapes = [(m,) for m in (1, 2, 3, 4, 5)] + [(m, m) for m in (1, 2, 3)]
    tasks = {"sine": (regression, (3e-3, half_mse)), "moons": (moons, (1e-2, BCE))}
    for seed, (name, (make, settings)), shape in product(range(seeds), tasks.items(), shapes):
        if (name, shape[0], len(shape), seed) in done:
            continue
        f = landscape(make(seed), shape, *settings)
        minima = ts.find_minima(f, starts, seed, steps=200, progress=False)
        paths = ts.connect(f, minima, budget=1000, seed=seed, progress=False)
        code = paths.barcode(minima.loss)
        row = {"data": name, "width": shape[0], "depth": len(shape), "seed": seed, "dim": f.dim}
        row |= {"minima": len(minima), "lowest": minima.loss.min()}
        row |= {"stationary": minima.stationary.mean(), "score": code.to_score()}
        row |= {"largest": code.to_score("max")}
        tree = code.saddle[code.saddle >= 0]
        sure = paths.certified[tree].mean() if len(tree) else np.nan
        rows.append(row | {"certified": sure, "seconds": minima.seconds + paths.seconds})
        save("widths", rows)
        print(rows[-1], flush=True)
    return sum(r["seconds"] for r in rows)


# -- stored ----------------------------------------------------------------------------------------


def save(table, rows, digits="%.10g"):
    write(FOLDER / f"{table}.csv", rows, digits)


PIECES = {"graph": graph, "copies": all_copies, "widths": widths}
TABLES = {"graph": "graph", "copies": "passes", "widths": "widths"}


def main():
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or [k for k, t in TABLES.items() if not (FOLDER / f"{t}.csv").exists()]
    for part in wanted:
        if part not in PIECES:
            raise SystemExit(f"no part {part!r}: choose from {', '.join(PIECES)}")
        began = time.perf_counter()
        spent = PIECES[part]() or time.perf_counter() - began
        file = FOLDER / "manifest.json"
        parts = json.loads(file.read_text())["parts"] if file.exists() else {}
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        parts[part] = {"finished": finished, "seconds": round(spent)}
        manifest(FOLDER, parts=parts)


if __name__ == "__main__":
    main()
