"""One network of a stored result, computed again from its manifest and compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from toscore.barcode import barcode_of_minima
from toscore.experiment import CELL, Settings, _hardware, _pass_unit, _train_unit

__all__ = ["rerun"]


def rerun(result, network=None, data_root=None) -> pd.DataFrame:
    """Compute one network of a stored result again, from its manifest alone.

    Parameters
    ----------
    result : Result
        A stored experiment.
    network : (width, depth, seed), optional
        By default the smallest one, with the first seed.
    data_root : path, optional
        Where the data sets are; see :func:`toscore.load_data`.

    Returns
    -------
    DataFrame
        Rows "losses", "passes" and "TO-score", with columns ``stored`` and ``again`` (means, for
        the first two) and ``difference``: the largest of any, as a share of the lowest loss. On the
        machine and versions that made the result it is at most 1e-6. Elsewhere rounding differs,
        training amplifies that, and single minima may be others: then compare the means.
        ``attrs["same_machine"]`` tells whether the hardware has the same name.

    Raises
    ------
    ValueError
        The result has no such network, or its images are not those found now.

    Examples
    --------
    >>> import toscore as ts
    >>> from tempfile import TemporaryDirectory
    >>> from toscore.reproduce import rerun
    >>> with TemporaryDirectory() as folder:
    ...     result = ts.run("fc-mnist", "smoke", workers=1, results=folder, progress=False)
    >>> bool((rerun(result).difference < 1e-3).all())
    True
    """
    stored = Settings(**result.manifest["settings"])
    cells = result.barcodes()
    network = min(cells) if network is None else tuple(int(x) for x in network)
    if network not in cells:
        raise ValueError(f"{result.name} has no network {network}: choose one of {sorted(cells)}")
    width, depth, seed = network
    settings = replace(stored, widths=(width,), depths=(depth,), seeds=(seed,))
    trained = _train_unit(settings, data_root, network, None)
    connected = _pass_unit(settings, data_root, network, trained["theta"])

    def of_network(table):
        return table[(table[CELL] == list(network)).all(axis=1)]

    minima, passes = of_network(result.minima), of_network(result.passes)
    pairs = np.column_stack([connected["i"], connected["j"]])
    code = barcode_of_minima(trained["loss"], pairs, connected["saddle"])
    rows = {
        "losses": (minima.loss.to_numpy(), trained["loss"]),
        "passes": (passes.saddle.to_numpy(), connected["saddle"]),
        "TO-score": (np.array([cells[network].to_score()]), np.array([code.to_score()])),
    }
    scale = float(minima.loss.min())
    table = pd.DataFrame(
        {
            name: {
                "stored": a.mean(),
                "again": b.mean(),
                "difference": np.abs(a - b).max() / scale if a.shape == b.shape else np.nan,
            }
            for name, (a, b) in rows.items()
        }
    ).T
    table.attrs["same_machine"] = result.manifest["hardware"] == _hardware(stored.device)
    return table
