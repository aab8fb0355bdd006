"""How many passes of small smooth networks get a certificate? Default settings, end to end.

    python benchmarks/certificates.py

For each network: minima, paths, and the verdict on each pass of the minimum spanning tree. Results
go to ``results/benchmark-certificates/table.csv``, network by network; a stopped run goes on.
"""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import make_moons
from table import Table

import toscore as ts

FILE = Path(__file__).parents[1] / "results" / "benchmark-certificates" / "table.csv"
MINIMA = 4
# data, samples, width, depth, activation, weight decay
CASES = [
    *(("moons", 200, w, 1, a, 1e-3) for a in ("tanh", "softplus", "gelu") for w in (4, 8)),
    ("moons", 200, 3, 2, "tanh", 1e-3),
    ("moons", 200, 6, 2, "softplus", 1e-3),
    ("digits", 100, 2, 1, "gelu", 1e-2),
    ("digits", 100, 3, 1, "tanh", 1e-3),
    *(("digits", 200, w, 1, a, 1e-3) for a in ("tanh", "softplus") for w in (4, 6)),
    ("digits", 200, 4, 1, "gelu", 1e-3),
]


def main():
    torch.set_num_threads(1)
    all_rows = Table(FILE, ["network"], float_format="%.6g")
    for name, n, width, depth, activation, decay in CASES:
        network = f"{name} {n}, {activation} {'-'.join([str(width)] * depth)}"
        if {"network": network} in all_rows:
            continue
        if name == "moons":
            x, y = make_moons(n, noise=0.15, random_state=0)
            x, y, classes = torch.tensor(x, dtype=torch.float32), torch.tensor(y), 2
        else:
            data = ts.load_data(name, n_train=n)
            x, y, classes = data.x_train, data.y_train, data.n_classes
        shape = tuple(x.shape[1:])
        model = ts.mlp(shape, classes, width=width, depth=depth, activation=activation)
        landscape = ts.Landscape(model, x, y, weight_decay=decay)
        minima = ts.find_minima(landscape, MINIMA, progress=False)
        paths = ts.connect(landscape, minima, progress=False)
        code = paths.barcode(minima.loss)
        table = paths.to_frame().loc[code.saddle[code.saddle >= 0]].round({"t": 4})
        table.insert(0, "network", network)
        table.insert(1, "parameters", landscape.dim)
        table["first path"] = paths.restarts.min(axis=1)[table.index] - paths.floor[table.index]
        table["seconds"] = paths.seconds / max(1, len(table))
        all_rows.add(*table.to_dict("records"))
    all_rows.finish(minima=MINIMA)
    whole = all_rows.frame
    print(f"{whole.certified.sum()} of {len(whole)} certified")
    bad = whole[~whole.certified]
    print(bad[["network", "excess", "first path", "verdict", "grad_norm", "lowest", "second"]])


if __name__ == "__main__":
    main()
