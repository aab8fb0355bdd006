"""How many gradients a second? A loop over models, one wide network, and toscore's Landscape.

    python benchmarks/throughput.py           # this machine's CPU, one thread
    python benchmarks/throughput.py --device cuda

A point-gradient is f and its gradient at one point, over the whole training set. The rivals: a
plain loop (load the parameters into the module, forward, backward), and the wide network of the
paper's authors, which puts M models side by side as groups of channels. All compute the same
numbers, which is checked. And where does the time of ``connect`` go? Results go to
``results/benchmark-throughput/``, row by row; those of another device than the CPU into a folder
of their own, ``results/benchmark-throughput-cuda/``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd
import torch
from table import manifest, write
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import vector_to_parameters

import toscore as ts
from toscore import models

FOLDER = Path(__file__).parents[1] / "results" / "benchmark-throughput"
CASES = {
    "MLP 16": ("mnist", 1000, "mlp", 16, 1),
    "MLP 16-16": ("mnist", 1000, "mlp", 16, 2),
    "CNN 8": ("cifar10", 200, "cnn", 8, 2),
    "ResNet 8": ("cifar10", 200, "resnet", 8, 1),
}
POINTS = 32
REPEATS = 5


def loop(landscape, model, points):
    """Gradients of one model after the other, by backward passes."""
    gradients = []
    for point in points:
        vector_to_parameters(point, model.parameters())
        model.zero_grad()
        F.cross_entropy(model(landscape.inputs), landscape.targets).backward()
        gradients.append(torch.cat([p.grad.reshape(-1) for p in model.parameters()]))
    return torch.stack(gradients) + landscape.weight_decay * points


def wide_network(landscape, model, points):
    """Gradients of all models as one network, whose layers have a group of channels for each."""
    count = len(points)
    points = points.clone().requires_grad_()
    sizes = [p.shape for p in model.parameters()]
    parts = points.split([s.numel() for s in sizes], dim=1)
    given = iter(p.reshape(count, *s) for p, s in zip(parts, sizes, strict=True))
    out = _wide(model, landscape.inputs, given, count)  # (n, count * classes, 1, 1)
    scores = out.reshape(len(out), count, -1).transpose(1, 2)
    targets = landscape.targets[:, None].expand(-1, count)
    loss = F.cross_entropy(scores, targets) * count
    return torch.autograd.grad(loss, points)[0] + landscape.weight_decay * points.detach()


def _wide(module, x, given, count):
    """A module applied to x (n, count * channels, H, W), or to data all models share."""
    if isinstance(module, nn.Sequential):
        for layer in module:
            x = _wide(layer, x, given, count)
        return x
    if isinstance(module, models._Residual):
        return _wide(module.after, x + _wide(module.branch, x, given, count), given, count)
    if isinstance(module, nn.Flatten):
        return x.reshape(len(x), -1, 1, 1)
    if isinstance(module, nn.Linear | nn.Conv2d):
        weight, bias = next(given), next(given)
        weight = weight.reshape(-1, *weight.shape[2:], *[1] * (5 - weight.ndim))
        # the first layer sees the same data for all: one group
        groups = 1 if x.shape[1] == weight.shape[1] else count
        shape = {k: getattr(module, k) for k in ("stride", "padding") if hasattr(module, k)}
        return F.conv2d(x, weight, bias.reshape(-1), groups=groups, **shape)
    if isinstance(module, nn.GroupNorm):
        weight, bias = next(given), next(given)
        return F.group_norm(x, count, weight.reshape(-1), bias.reshape(-1), module.eps)
    x = module(x)
    return x if x.ndim == 4 else x[:, :, None, None]  # the mean over places leaves none


class Timed:
    """A landscape that adds up the time spent in it."""

    def __init__(self, landscape):
        self.landscape, self.seconds = landscape, 0.0

    def __getattr__(self, name):
        found = getattr(self.landscape, name)
        if name not in ("loss", "loss_and_grad"):
            return found

        def timed(*args):
            began = time.perf_counter()
            answer = found(*args)
            _wait(self.landscape.device.type)
            self.seconds += time.perf_counter() - began
            return answer

        return timed


def shares(landscape):
    """Shares of the time of three paths that are spent in f and its gradient, and elsewhere."""
    timed, began = Timed(landscape), time.perf_counter()
    ends = landscape.sample(3, 0)
    ts.connect(timed, ends, "all", budget=1000, certified=False, progress=False)
    whole = time.perf_counter() - began
    return {
        "f and gradient": timed.seconds / whole,
        "L-BFGS and the rest": 1 - timed.seconds / whole,
    }


def _wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    folder = FOLDER if device == "cpu" else FOLDER.with_name(f"{FOLDER.name}-{device}")
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # for the rivals too: Landscape's are never rounded so
    rows, parts = [], []
    for name, (data_name, images, family, width, depth) in CASES.items():
        data = ts.load_data(data_name, n_train=images, n_test=10)
        build = getattr(models, family)
        model = build(data.shape, 10, width=width, depth=depth, activation="gelu").to(device)
        settings = {"weight_decay": 1e-3, "device": device}
        landscape, side_by_side, apart = (
            ts.Landscape(model, data.x_train, data.y_train, batched=b, **settings)
            for b in (None, True, False)
        )
        points = landscape.sample(POINTS, 0)
        methods = {
            "loop over models": lambda p, m=model, w=landscape: loop(w, m, p),
            "wide network": lambda p, m=model, w=landscape: wide_network(w, m, p),
            "vmap": lambda p, w=side_by_side: w.loss_and_grad(p)[1],
            "functional, one by one": lambda p, w=apart: w.loss_and_grad(p)[1],
            "Landscape": lambda p, w=landscape: w.loss_and_grad(p)[1],
        }
        expected = loop(landscape, model, points)
        times = {label: [] for label in methods}
        for _ in range(REPEATS + 1):  # in turns, so that a busy machine slows all alike
            for label, method in methods.items():
                _wait(device)
                began = time.perf_counter()
                found = method(points)
                _wait(device)
                times[label].append(time.perf_counter() - began)
                torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
        for label, seconds in times.items():
            best = min(seconds[1:])
            rows.append({"network": name, "method": label, "gradients a second": POINTS / best})
        table = pd.DataFrame(rows)
        loops = table[table.method == "loop over models"].set_index("network")
        slow = table.network.map(loops["gradients a second"])
        table["over the loop"] = table["gradients a second"] / slow
        write(folder / f"{device}.csv", table, "%.4g")
        parts.append({"network": name, "parameters": landscape.dim} | shares(landscape))
        write(folder / f"{device}-shares.csv", parts, "%.2f")
    manifest(folder, device=device, points=POINTS, repeats=REPEATS)
    print(pd.DataFrame(parts).round(2).to_string(index=False))
    wide = table.pivot(index="method", columns="network").reindex(list(methods))
    print(wide.round(2).to_string())


if __name__ == "__main__":
    main()
