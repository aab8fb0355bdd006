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
    return _again(result, network, data_root, n_minima)[0]


def _again(result, network=None, data_root=None, n_minima=None):
    """The table of :func:`rerun`, the network, and the arrays of its minima and of its passes."""
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
    trained, connected = _train_unit(settings, data_root, network, None), {}
    minima, passes = (t[_of(network, t)] for t in (result.minima, result.passes))
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
    return table, network, trained, connected


def _of(network, table) -> np.ndarray:
    """Which rows of a table belong to a network."""
    return (table[CELL] == list(network)).all(axis=1).to_numpy()


def confirm(name, profile=None, network=None, *, data_root=None, results=None) -> pd.DataFrame:
    """Note in a manifest that the present code gives one of its networks with the same digits.

    A result of earlier code is stale, as that code may have given other numbers. If one of its
    networks, made again, has the same digits in every column that is stored, of its minima, passes
    and profiles, a note says which, when and by what, and the result no longer counts as stale.
    That is evidence for one network and not for each; ``toscore run NAME --fresh`` makes all anew.

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
        The two differ, in what the message names; or as for :func:`rerun`.
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
    table, network, trained, connected = _again(result, network, data_root)
    wrong = _differing(result.minima[_of(network, result.minima)], trained)
    wrong += _differing(result.passes[_of(network, result.passes)], connected)
    if not np.array_equal(result.profiles[_of(network, result.passes)], connected["profiles"]):
        wrong.append("profiles")
    if wrong:
        raise ValueError(
            f"{name} is not confirmed: network {network} came out with other numbers in "
            f"{', '.join(wrong)}. Make it anew with: toscore run {name} --profile "
            f"{result.profile} --fresh"
        )
    code = _source_digest()
    before = [m for m in result.manifest.get("confirmed", []) if m["source_digest"] == code]
    note = {
        "source_digest": code,
        "network": list(network),
        "finished": _now(),
        "versions": _versions(),
        "hardware": _hardware(result.manifest["settings"]["device"]),
    }
    _, folder = _find(name, result.profile, results)
    _write_manifest(folder, result.manifest | {"confirmed": [*before, note]})
    return table


def _differing(stored: pd.DataFrame, arrays: dict) -> list[str]:
    """Columns of a stored table that are not the arrays of the same name, to the last digit."""
    names = [name for name in stored if name not in (*CELL, "minimum")]
    return [name for name in names if not _same(stored[name].to_numpy(), arrays[name])]


def _same(stored, again) -> bool:
    if len(stored) != len(again):
        return False
    return bool(np.all((stored == again) | (pd.isna(stored) & pd.isna(again))))


def _compared(stored, again, alike=True):
    """Two means, and the largest difference if it makes sense; NaN for what there is none of."""
    stored, again = np.asarray(stored, np.float64), np.asarray(again, np.float64)
    if not (len(stored) and len(again)):
        return np.nan, np.nan, np.nan
    largest = np.abs(stored - again).max() if alike and len(stored) == len(again) else np.nan
    return stored.mean(), again.mean(), largest
