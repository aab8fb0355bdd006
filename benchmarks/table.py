"""What benchmarks write: tables, some of which grow row by row, and the manifest beside them."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import toscore as ts
from toscore.data import whole_file
from toscore.experiment import _find, _hardware, _landscape, _part, _theta, _train_unit
from toscore.reproduce import _of


def stored_minima(name: str, network: tuple):
    """Landscape and minima (N, D) of a stored network: those of the run, or made again."""
    settings, folder = _find(name, "laptop", None)
    landscape, _ = _landscape(settings, None, network)
    if _part(folder, "minima", network).exists():
        theta = _theta(folder, "passes", network)
    else:
        theta = _train_unit(settings, None, network, None)["theta"]
    theta, table = torch.from_numpy(theta), ts.load_or_run(name, "laptop").minima
    losses = table.loss[_of(network, table)]
    if len(theta) != len(losses) or not np.allclose(landscape.loss(theta), losses, rtol=1e-3):
        raise SystemExit(f"{name} has other minima here than on the machine of the stored result")
    return landscape, theta


def write(file: Path, rows, float_format=None, columns=None) -> pd.DataFrame:
    """Rows as a CSV file, whole or not at all."""
    frame = pd.DataFrame(rows, columns=columns)
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as out:
        out.write(frame.to_csv(index=False, float_format=float_format).encode())
    return frame


def manifest(folder: Path, packages=("torch", "numpy", "scipy"), device="cpu", **settings) -> None:
    """What was set in a folder's tables, and with what, where and when they were made."""
    text = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "hardware": _hardware(device),
        **settings,
    }
    with whole_file(folder / "manifest.json") as out:
        out.write((json.dumps(text, indent=1) + "\n").encode())


class Table:
    """A CSV file that is written anew after each row, so that a stopped run can go on."""

    def __init__(self, file: Path, keys, *, dtype=None, float_format=None):
        self.file, self.float_format, self.grown = file, float_format, False
        known = file.exists()
        self.frame = pd.read_csv(file, dtype=dtype) if known else pd.DataFrame(columns=keys)

    def __contains__(self, row):
        same = [self.frame[k] == v for k, v in row.items()]
        return bool(np.logical_and.reduce(same).any())

    def add(self, *rows):
        for row in rows:
            print(row, flush=True)
        self.grown |= bool(rows)
        self.frame = write(self.file, [*self.frame.to_dict("records"), *rows], self.float_format)

    def finish(self, **settings):
        """Write the manifest, with the seconds of all rows, unless no row is new."""
        if not self.grown and (self.file.parent / "manifest.json").exists():
            return
        manifest(self.file.parent, seconds=round(self.frame.seconds.sum()), **settings)
