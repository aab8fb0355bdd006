"""What benchmarks write: a table that grows row by row, and the manifest beside it."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from toscore.data import whole_file


class Table:
    """A CSV file that is written anew after each row, so that a stopped run can go on."""

    def __init__(self, file: Path, keys, *, dtype=None, float_format=None):
        self.file, self.float_format = file, float_format
        file.parent.mkdir(parents=True, exist_ok=True)
        known = file.exists()
        self.frame = pd.read_csv(file, dtype=dtype) if known else pd.DataFrame(columns=keys)

    def __contains__(self, row):
        same = [self.frame[k] == v for k, v in row.items()]
        return bool(np.logical_and.reduce(same).any())

    def add(self, row):
        print(row, flush=True)
        self.frame = pd.DataFrame([*self.frame.to_dict("records"), row])
        with whole_file(self.file) as out:
            out.write(self.frame.to_csv(index=False, float_format=self.float_format).encode())

    def finish(self, **settings):
        """Write the manifest: what was set, and with what, where and how long it ran."""
        manifest = {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            **settings,
            "versions": {"torch": torch.__version__, "numpy": np.__version__},
            "hardware": f"one thread of {platform.machine()}",
            "seconds": round(self.frame.seconds.sum()),
        }
        with whole_file(self.file.with_name("manifest.json")) as out:
            out.write((json.dumps(manifest, indent=1) + "\n").encode())
