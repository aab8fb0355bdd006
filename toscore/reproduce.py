"""One network of a stored result, computed again from its manifest and compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from toscore.barcode import barcode_of_minima
from toscore.data import load_data
from toscore.experiment import (
    CELL,
    Settings,
    _find,
    _hardware,
    _now,
    _pass_unit,
    _source_digest,
    _train_unit,
    _versions,
    _write_manifest,
    load_or_run,
)

__all__ = ["confirm", "rerun"]


def rerun(result, network=None, data_root=None, n_minima=None) -> pd.DataFrame:
    """Compute one network of a stored result again, from its manifest alone.

    Parameters
    ----------
    result : Result
        A stored experiment.
    network : (width, depth, seed), optional
        By default the smallest one, with the first seed.
    data_root : path, optional
        Where the data sets are; see :func:`toscore.load_data`.
    n_minima : int, optional
        Train from the first so many starts only, and compare their losses alone. This takes less
        time, but sums over another number of networks may be rounded differently.

    Returns
    -------
    DataFrame
        Rows "losses", "passes" and "TO-score", with columns ``stored`` and ``again`` (means, for
        the first two) and ``difference``: the largest of any, as a share of the lowest loss; NaN
        where there is nothing to compare, such as passes between other pairs. On the machine and
        versions that made the result it is at most 1e-6. Elsewhere rounding differs,
        training amplifies that, and single minima may be others: then compare the means.
        ``attrs["same_machine"]`` tells whether the hardware has the same name.

    Raises
    ------
    ValueError
        The result has no such network, not so many minima, or its images are not those found now.

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
    images = load_data(stored.dataset, data_root, stored.n_train, stored.n_test)
    made_from = result.manifest["data"]["checksum"]
    if images.checksum != made_from:
        raise ValueError(
            f"{result.name} was made from other images of {stored.dataset} (sha256 {made_from[:16]}"
            f", found {images.checksum[:16]}): compare the source in its manifest with that of "
            "`toscore data check`"
        )
    if n_minima is not None and not 1 <= n_minima <= stored.n_minima:
        raise ValueError(f"n_minima is {n_minima}: {result.name} has 1 to {stored.n_minima}")
    width, depth, seed = network
    settings = replace(stored, widths=(width,), depths=(depth,), seeds=(seed,))
    if n_minima is not None:
        settings = replace(settings, n_minima=n_minima)
    trained = _train_unit(settings, data_root, network, None)

    def of_network(table):
        return table[(table[CELL] == list(network)).all(axis=1)]

    minima, passes = of_network(result.minima), of_network(result.passes)
    minima = minima[minima.start < settings.n_minima]
    rows = {"losses": _compared(minima.loss, trained["loss"])}
    if n_minima is None:
        connected = _pass_unit(settings, data_root, network, trained["theta"])
        pairs = np.column_stack([connected["i"], connected["j"]])
        code = barcode_of_minima(trained["loss"], pairs, connected["saddle"])
        same = np.array_equal(pairs, passes[["i", "j"]])  # other minima may need other pairs
        rows["passes"] = _compared(passes.saddle, connected["saddle"], same)
        rows["TO-score"] = _compared([cells[network].to_score()], [code.to_score()])
    table = pd.DataFrame(rows, index=["stored", "again", "difference"], dtype=np.float64).T
    table["difference"] /= float(minima.loss.min())
    table.attrs["same_machine"] = result.manifest["hardware"] == _hardware(stored.device)
    return table


def confirm(name, profile=None, network=None, *, data_root=None, results=None) -> pd.DataFrame:
    """Note in a manifest that the present code gives one of its networks with the same digits.

    A result of earlier code is stale, as that code may have given other numbers. Where
    :func:`rerun` finds no difference at all, on the same processor, the note says which network was
    made again, when and by what, and the result no longer counts as stale. That is evidence for
    one network of it and not for each; `toscore run NAME --fresh` makes all of them anew.

    Parameters
    ----------
    name, profile, results
        As for :func:`toscore.load_or_run`.
    network, data_root
        As for :func:`rerun`.

    Returns
    -------
    DataFrame
        That of :func:`rerun`.

    Raises
    ------
    ValueError
        The two differ, or as for :func:`rerun`.
    MissingResult
        Nothing complete is stored.

    Examples
    --------
    >>> import toscore as ts
    >>> from tempfile import TemporaryDirectory
    >>> from toscore.reproduce import confirm
    >>> with TemporaryDirectory() as folder:
    ...     result = ts.run("fc-mnist", "smoke", workers=1, results=folder, progress=False)
    ...     table = confirm("fc-mnist", "smoke", results=folder)
    >>> table.difference.tolist()
    [0.0, 0.0, 0.0]
    """
    result = load_or_run(name, profile, results=results)
    table = rerun(result, network, data_root)
    same = (table.difference == 0) | table[["stored", "again"]].isna().all(axis=1)
    if not same.all():
        raise ValueError(
            f"{name} is not confirmed: its {', '.join(same.index[~same])} came out otherwise, by "
            f"{table.difference.max():.2g} of the loss at most. Make it anew with: toscore run "
            f"{name} --profile {result.profile} --fresh"
        )
    note = {
        "source_digest": _source_digest(),
        "network": list(min(result.barcodes()) if network is None else network),
        "finished": _now(),
        "versions": _versions(),
        "hardware": _hardware(result.manifest["settings"]["device"]),
    }
    _, folder = _find(name, result.profile, results)
    _write_manifest(folder, result.manifest | {"confirmed": [note]})
    return table


def _compared(stored, again, alike=True):
    """Two means, and the largest difference if it makes sense; NaN for what there is none of."""
    stored, again = np.asarray(stored, np.float64), np.asarray(again, np.float64)
    if not (len(stored) and len(again)):
        return np.nan, np.nan, np.nan
    largest = np.abs(stored - again).max() if alike and len(stored) == len(again) else np.nan
    return stored.mean(), again.mean(), largest
