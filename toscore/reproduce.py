"""One network of a stored result, computed again from its manifest and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from toscore.barcode import barcode_of_minima
from toscore.data import load_data
from toscore.experiment import (
    CELL,
    Settings,
    _find,
    _hardware,
    _is_old,
    _now,
    _pass_unit,
    _source_digest,
    _train_unit,
    _versions,
    _write_manifest,
    load_or_run,
    made_by,
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
        ``attrs["same_machine"]`` tells whether all of the hardware has this one's name.

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
    settings, network = _settings(result, network, data_root, n_minima)
    trained, connected = _train_unit(settings, data_root, network, None), {}
    minima, passes = (t[_of(network, t)] for t in (result.minima, result.passes))
    minima = minima[minima.start < settings.n_minima]
    if n_minima is None:
        connected = _pass_unit(settings, data_root, network, trained["theta"])
    return _table(result, minima, passes, trained, connected), network, trained, connected


def _settings(result, network, data_root, n_minima):
    """Settings of one network of a result, and the network, after a look at what is to be had."""
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
    return settings if n_minima is None else replace(settings, n_minima=n_minima), network


def _table(result, minima, passes, trained, connected) -> pd.DataFrame:
    """The table of :func:`rerun`: minima and passes, as tables or arrays, and those made again.

    Without the latter's passes (an empty dict) it has the row of the losses alone.
    """
    rows = {"losses": _compared(minima["loss"], trained["loss"])}
    if connected:
        rows |= _compared_passes(minima, passes, trained, connected)
    table = pd.DataFrame(rows, index=["stored", "again", "difference"], dtype=np.float64).T
    table["difference"] /= float(np.min(minima["loss"]))
    device = result.manifest["settings"]["device"]
    machines = {m["hardware"] for m in made_by(result.manifest)}  # which part, nobody noted
    table.attrs["same_machine"] = machines == {_hardware(device)}
    return table


def _compared_passes(minima, passes, trained, connected) -> dict:
    """Rows "passes" and "TO-score" of the table."""
    # an empty table read from a file has columns of no type
    pairs = [np.column_stack([t["i"], t["j"]]).astype(np.int64) for t in (passes, connected)]
    heights = [np.asarray(t["saddle"], np.float64) for t in (passes, connected)]
    losses = minima["loss"], trained["loss"]
    codes = [barcode_of_minima(*x) for x in zip(losses, pairs, heights, strict=True)]
    same = np.array_equal(*pairs)  # other minima may need other pairs
    return {
        "passes": _compared(*heights, same),
        "TO-score": _compared(*([code.to_score()] for code in codes)),
    }


def _of(network, table) -> np.ndarray:
    """Which rows of a table belong to a network."""
    return (table[CELL] == list(network)).all(axis=1).to_numpy()


def confirm(
    name, profile=None, network=None, n_minima=None, *, data_root=None, results=None, code=None
) -> pd.DataFrame:
    """Note in a manifest that the present code gives one of its networks with the same digits.

    A result of earlier code is stale, as that code may have given other numbers. If one of its
    networks, made again, has the same digits in every column that is stored, of its minima, passes
    and profiles, a note says which, when and by what, and the result no longer counts as stale.
    That is evidence for one network and not for each; ``toscore run NAME --fresh`` makes all anew.

    Another kind of processor rounds otherwise, and no digits agree with those stored. There the
    two codes can still be compared with each other: ``code`` is a checkout of the earlier one,
    which makes the same network in a process of its own, and what both give here must agree.

    Parameters
    ----------
    name, profile, results
        As for :func:`toscore.load_or_run`.
    network, data_root
        As for :func:`rerun`.
    n_minima : int, optional
        With ``code``: make the network with this many minima only, which takes less time.
    code : path, optional
        A checkout of the project at a commit whose code made the result, or was confirmed for it,
        such as ``git worktree add PATH COMMIT`` makes.

    Returns
    -------
    DataFrame
        That of :func:`rerun`; with ``code``, ``stored`` is what that code gives here.

    Raises
    ------
    ValueError
        The two differ, in what the message names; ``code`` is no checkout, fails, or is not what
        made the result; ``n_minima`` without it; or as for :func:`rerun`.
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
    if code is None:
        if n_minima is not None:
            raise ValueError("a stored result is compared with all its minima: leave n_minima out")
        table, network, trained, connected = _again(result, network, data_root)
        minima, passes = (t[_of(network, t)] for t in (result.minima, result.passes))
        profiles = result.profiles[_of(network, result.passes)]
        against = {}
    else:
        settings, network = _settings(result, network, data_root, n_minima)
        minima, passes, digest = _by_other_code(Path(code), result, settings, network, data_root)
        trained = _train_unit(settings, data_root, network, None)
        connected = _pass_unit(settings, data_root, network, trained["theta"])
        profiles = passes["profiles"]
        table = _table(result, minima, passes, trained, connected)
        against = {"against": digest, "n_minima": settings.n_minima}
    wrong = _differing(minima, trained) + _differing(passes, connected)
    if not np.array_equal(profiles, connected["profiles"]):
        wrong.append("profiles")
    if wrong:
        raise ValueError(
            f"{name} is not confirmed: network {network} came out with other numbers in "
            f"{', '.join(wrong)}. Make it anew with: toscore run {name} --profile "
            f"{result.profile} --fresh"
        )
    present = _source_digest()
    before = [m for m in result.manifest.get("confirmed", []) if m["source_digest"] == present]
    note = {
        "source_digest": present,
        "network": list(network),
        "finished": _now(),
        "versions": _versions(),
        "hardware": _hardware(result.manifest["settings"]["device"]),
    }
    _, folder = _find(name, result.profile, results)
    _write_manifest(folder, result.manifest | {"confirmed": [*before, note | against]})
    return table


_OTHER = """
import json, sys
import numpy as np
from toscore import experiment
given = json.loads(sys.argv[1])
print(experiment._source_digest(), flush=True)
if experiment._source_digest() not in given["known"]:
    sys.exit(3)
settings, network = experiment.Settings(**given["settings"]), tuple(given["network"])
trained = experiment._train_unit(settings, given["data"], network, None)
connected = experiment._pass_unit(settings, given["data"], network, trained["theta"])
np.savez("minima.npz", **trained)
np.savez("passes.npz", **connected)
"""


def _by_other_code(code: Path, result, settings, network, data_root):
    """Arrays of minima and passes by the code of a checkout, and that code's hash."""
    if not (code / "toscore" / "experiment.py").exists():
        raise ValueError(f"{code} is no checkout of the project: it has no toscore/experiment.py")
    root = None if data_root is None else str(Path(data_root).resolve())
    manifest = result.manifest
    digests = {m["source_digest"] for m in (manifest, *manifest.get("confirmed", []))}
    known = [digest for digest in digests if not _is_old(manifest, digest)]
    given = {"settings": asdict(settings), "network": network, "data": root, "known": known}
    environment = os.environ | {"PYTHONPATH": str(code.resolve())}
    if os.environ.get("TOSCORE_DATA"):
        environment["TOSCORE_DATA"] = str(Path(os.environ["TOSCORE_DATA"]).resolve())
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _OTHER, json.dumps(given)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode == 3:
            raise ValueError(
                f"{result.name} was not made by the code in {code} (hash {done.stdout[:16]}), nor "
                "confirmed for it: check out the commit that stored the result"
            )
        if done.returncode:
            raise ValueError(f"the code in {code} fails: {done.stderr.strip().splitlines()[-1]}")
        tables = []
        for file in ("minima.npz", "passes.npz"):
            with np.load(Path(folder) / file) as stored:
                tables.append({k: stored[k] for k in stored.files})
        return *tables, done.stdout.strip()


def _differing(stored, arrays: dict) -> list[str]:
    """Columns of a table, or other arrays, that are not those of the same name, digit for digit."""
    names = [name for name in stored if name not in (*CELL, "minimum", "seconds", "profiles")]
    return [k for k in names if k not in arrays or not _same(np.asarray(stored[k]), arrays[k])]


def _same(stored, again) -> bool:
    if stored.shape != again.shape:
        return False
    return bool(np.all((stored == again) | (pd.isna(stored) & pd.isna(again))))


def _compared(stored, again, alike=True):
    """Two means, and the largest difference if it makes sense; NaN for what there is none of."""
    stored, again = np.asarray(stored, np.float64), np.asarray(again, np.float64)
    if not (len(stored) and len(again)):
        return np.nan, np.nan, np.nan
    largest = np.abs(stored - again).max() if alike and len(stored) == len(again) else np.nan
    return stored.mean(), again.mean(), largest
