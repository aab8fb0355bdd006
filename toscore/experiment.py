"""Named, resumable experiments whose results are stored and can be made again with one command.

An experiment trains minima and refines passes for every width, depth and seed. Its work is cut
into units; each writes one part file when it is done, atomically, so a killed run repeats nothing
that was finished. When all are there the parts become tidy tables and a manifest:

    results/<name>/<profile>/manifest.json   settings, seeds, versions, data, hardware, seconds
                             minima.csv      one row a minimum
                             passes.csv      one row a pair of minima
                             segments.csv    one row a segment of a barcode
                             profiles.npz    the loss along every path
                             parts/          the finished units (kept out of git)

Each part holds the hashes of its settings and images, and the manifest those of the tables.
"""

from __future__ import annotations

import ast
import dataclasses
import errno
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import threading
import zlib
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import product
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import joblib
import numpy as np
import pandas as pd
import torch
from torch.nn.functional import avg_pool2d

from toscore import models
from toscore.barcode import Barcode, barcode_of_minima
from toscore.data import load_data, whole_file
from toscore.landscape import Landscape
from toscore.minima import find_minima, progress_bar
from toscore.paths import connect
from toscore.settings import ATLAS, EXPERIMENTS, KINDS, Settings

__all__ = [
    "ATLAS",
    "EXPERIMENTS",
    "KINDS",
    "MissingResult",
    "Result",
    "Settings",
    "load_or_run",
    "made_by",
    "run",
    "states",
]

CELL = ["width", "depth", "seed"]  # what tells one barcode of an experiment from another


class MissingResult(FileNotFoundError):
    """No complete stored result; the message holds the command that makes it.

    Examples
    --------
    >>> import toscore as ts
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     try:
    ...         ts.load_or_run("fc-mnist", "gpu", results=folder)
    ...     except ts.MissingResult as fault:
    ...         print(str(fault).split(". ")[1])
    Make it with: toscore run fc-mnist --profile gpu
    """


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """A stored experiment: raw losses, from which barcodes and scores are recomputed.

    Attributes
    ----------
    name, profile : str
        Which experiment.
    manifest : dict
        Settings, versions, data, hardware and seconds, as stored.
    minima : DataFrame
        One row a minimum: width, depth, seed, loss and what else :class:`toscore.Minima` tells.
    passes : DataFrame
        One row a pair of minima that was connected.
    segments : DataFrame
        One row a segment of a barcode.
    profile_t : float64 array (T,)
        Parameters along a path.
    profiles : float32 array (P, T)
        The loss along every path, in the order of ``passes``.

    Examples
    --------
    >>> import toscore as ts
    >>> result = ts.load_or_run("fc-mnist", "laptop")
    >>> result.name, len(result.passes) == len(result.profiles)
    ('fc-mnist', True)
    """

    name: str
    profile: str
    manifest: dict
    minima: pd.DataFrame
    passes: pd.DataFrame
    segments: pd.DataFrame
    profile_t: np.ndarray
    profiles: np.ndarray

    def barcodes(self) -> dict[tuple[int, int, int], Barcode]:
        """Barcode of every (width, depth, seed), computed from the losses and passes.

        Examples
        --------
        >>> import toscore as ts
        >>> codes = ts.load_or_run("fc-mnist", "laptop").barcodes()
        >>> min(codes), len(codes)
        ((2, 1, 0), 12)
        """
        return _barcodes(self.minima, self.passes)

    def scores(self, kind: str = "mean") -> pd.DataFrame:
        """TO-score of every barcode, one row each: width, depth, seed, score.

        Parameters
        ----------
        kind : str
            As for :meth:`toscore.Barcode.to_score`.

        Raises
        ------
        ValueError
            As there.

        Examples
        --------
        >>> import toscore as ts
        >>> scores = ts.load_or_run("fc-mnist", "laptop").scores()
        >>> list(scores.columns), bool((scores.score >= 0).all())
        (['width', 'depth', 'seed', 'score'], True)
        """
        rows = [(*cell, code.to_score(kind)) for cell, code in self.barcodes().items()]
        return pd.DataFrame(rows, columns=[*CELL, "score"])

    def provenance(self) -> str:
        """What a figure drawn from this result has to say about where it comes from.

        Examples
        --------
        >>> import toscore as ts
        >>> ts.load_or_run("fc-mnist", "laptop").provenance()[:44]
        'fc-mnist, profile laptop: mnist sample, 200 '
        """
        m, s = self.manifest, self.manifest["settings"]
        return (
            f"{self.name}, profile {self.profile}: {s['dataset']} sample, "
            f"{m['data']['n_train']} training and {m['data']['n_test']} test images, "
            f"seeds {', '.join(map(str, s['seeds']))}; {_machines(m)}; "
            f"{m['seconds'] / 60:.0f} minutes of computing, "
            f"finished {m['finished'][:10]}." + self._staleness()
        )

    def _staleness(self) -> str:
        if not _is_old(self.manifest, _source_digest()):
            return ""
        again = f"toscore run {self.name} --profile {self.profile} --fresh"
        return f" Made by an earlier version of the code; `{again}` makes it anew."


def run(
    name: str,
    profile: str | None = None,
    *,
    fresh: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    data_root=None,
    results=None,
    progress: bool = True,
) -> Result:
    """Run an experiment, or what is left of it, and return its stored result.

    Parameters
    ----------
    name : str
        See ``toscore list``.
    profile : str, optional
        "smoke", "laptop" or "gpu". Defaults to $TOSCORE_PROFILE, else "laptop".
    fresh : bool
        Start over; what was stored moves to a folder ``<profile>.old`` beside it.
    workers : int, optional
        Processes; by default one a core (one in all on a GPU). Each computes on one thread, so
        the numbers do not depend on it.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``"tcp://node:8786"``, whose workers compute instead.
        They need this package and the data, but not the results folder: only the process that was
        started here writes. A unit whose worker dies is given to another one.
    data_root : path, optional
        Where the data sets are; see :func:`toscore.load_data`.
    results : path, optional
        The results folder; defaults to $TOSCORE_RESULTS, else ``results/`` of the project.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        Unknown name or profile; parts stored under other settings, which are not mixed; files that
        are damaged; no GPU for a profile that needs one, or more than one process on it; or a
        worker with other images or other code.
    DataError
        The data set is not there.
    OSError
        The disk is full, or the scheduler can't be reached. What was finished is kept.

    Examples
    --------
    >>> import toscore as ts
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     result = ts.run("fc-mnist", "smoke", workers=1, results=folder, progress=False)
    >>> len(result.barcodes()), result.manifest["data"]["n_train"]
    (4, 200)
    """
    settings, folder = _find(name, profile, results)
    profile = folder.name
    stored = None if fresh else _read_manifest(folder)
    _refuse_other_settings(stored, settings, folder)
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if workers and scheduler:
        raise ValueError("give workers or a scheduler, not both: a cluster has its own workers")
    if settings.device == "cuda" and workers and workers > 1:
        raise ValueError(
            f"profile {profile} computes on a GPU, and {workers} workers would put {workers} "
            "processes on one card: leave workers out, or name a cluster by its scheduler, whose "
            "workers have one card each (--resources GPU=1)"
        )
    if stored and stored["finished"]:
        return _load(name, profile, folder)

    if settings.device == "cuda" and not scheduler and not torch.cuda.is_available():
        raise ValueError(
            f"profile {profile} computes on a GPU, and torch finds none here: run it on a machine "
            "that has one, name a cluster with --scheduler, or choose the profile laptop"
        )
    if not scheduler:  # processes that are running keep the environment they began with
        data_root = _root(data_root)
    data = _data(settings.dataset, settings.n_train, settings.n_test, data_root)
    if scheduler:
        _reach(scheduler)  # before anything is set aside
    if fresh and folder.exists():
        _set_aside(folder)
    _refuse_parts(folder, _origin(settings, data), stored)
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    present = {
        "versions": _versions(),
        "source_digest": _source_digest(),
        "hardware": _hardware(settings.device),
    }
    manifest = stored or {
        "name": name,
        "profile": profile,
        "settings": asdict(settings),
        "settings_digest": settings.digest(),
        "started": _now(),
        "finished": None,
        "data": {
            "name": data.name,
            "checksum": data.checksum,
            "n_train": len(data.x_train),
            "n_test": len(data.x_test),
            "source": data.source,
        },
        **present,
    }
    if manifest["data"]["checksum"] != data.checksum:
        raise ValueError(
            f"{folder} was begun on other images ({manifest['data']['source']}) than are found "
            f"now ({data.source}): point TOSCORE_DATA at the former, or start over with --fresh"
        )
    first, *others = made_by(manifest)
    if present not in ({k: first[k] for k in present}, *others):
        manifest["resumed_by"] = [*others, present]  # parts of more than one origin
    _write_manifest(folder, manifest)
    if workers is None:
        workers = 1 if settings.device == "cuda" else joblib.cpu_count()

    cells = list(product(settings.widths, settings.depths, settings.seeds))
    try:
        with progress_bar(progress, total=2 * len(cells), desc=f"{name} {profile}") as bar:
            for kind in _UNITS:
                _work(kind, cells, settings, folder, data, data_root, scheduler or workers, bar)
        _assemble(settings, folder, manifest, cells)
    except OSError as fault:
        if fault.errno != errno.ENOSPC:
            raise
        kept = len(list((folder / "parts").glob("*.npz")))
        raise OSError(
            errno.ENOSPC,
            f"No space left on the device of {folder}: {kept} of {2 * len(cells)} parts are stored "
            "whole; make room and give the same command again to go on",
        ) from fault
    return _load(name, profile, folder)


def load_or_run(name: str, profile: str | None = None, *, results=None) -> Result:
    """The stored result of an experiment; only the smoke profile is run when it is missing.

    Parameters
    ----------
    name : str
        See ``toscore list``.
    profile : str, optional
        Defaults to $TOSCORE_PROFILE; without that, to "gpu" where such a result is stored, else
        "laptop".
    results : path, optional
        The results folder, as for :func:`run`.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        What is stored was computed under other settings than the code now has.
    MissingResult
        Nothing complete is stored for this profile. A smaller one never takes its place.

    Examples
    --------
    >>> import toscore as ts
    >>> ts.load_or_run("fc-mnist", "laptop").manifest["data"]["name"]
    'mnist'
    """
    if profile is None and not os.environ.get("TOSCORE_PROFILE"):
        stored = _read_manifest(_find(name, "gpu", results)[1])
        profile = "gpu" if stored and stored["finished"] else "laptop"
    settings, folder = _find(name, profile, results)
    profile = folder.name
    manifest = _read_manifest(folder)
    _refuse_other_settings(manifest, settings, folder)
    if manifest and manifest["finished"]:
        return _load(name, profile, folder)
    if profile == "smoke":
        return run(name, profile, results=results, progress=False)
    state = "is only partly computed" if manifest else "has not been computed"
    raise MissingResult(
        f"{name} {state} in profile {profile!r}. Make it with: toscore run {name} --profile "
        f"{profile}"
    )


def _refuse_other_settings(manifest: dict | None, settings: Settings, folder: Path) -> None:
    if manifest and manifest["settings_digest"] != settings.digest():
        raise ValueError(
            f"{folder} holds results under other settings: keep them by checking out the code that "
            f"made them, or start over with: toscore run {folder.parent.name} --profile "
            f"{folder.name} --fresh"
        )


def states(results=None) -> pd.DataFrame:
    """Every experiment and profile: its state, and the seconds it took.

    "done", "partial", "missing", or "stale": made under other settings, or by other code.

    Parameters
    ----------
    results : path, optional
        The results folder, as for :func:`toscore.run`.

    Examples
    --------
    >>> from toscore.experiment import states
    >>> table = states()
    >>> list(table.columns), sorted(table.profile.unique())
    (['name', 'profile', 'state', 'seconds'], ['gpu', 'laptop', 'smoke'])
    """
    rows, code = [], _source_digest()
    for name, profiles in EXPERIMENTS.items():
        for profile, settings in profiles.items():
            manifest = _read_manifest(_find(name, profile, results)[1])
            if not manifest:
                state = "missing"
            elif manifest["settings_digest"] != settings.digest() or _is_old(manifest, code):
                state = "stale"
            else:
                state = "done" if manifest["finished"] else "partial"
            seconds = manifest.get("seconds") if manifest else None
            rows.append({"name": name, "profile": profile, "state": state, "seconds": seconds})
    return pd.DataFrame(rows)


# -- units of work ---------------------------------------------------------------------------------


def _work(kind, cells, settings, folder, data, data_root, workers, bar) -> None:
    """Run the units of a kind that are not finished yet; ``bar`` counts all.

    ``workers`` is a number of processes, or the address of a Dask scheduler. Only this process
    writes, so that a unit's result is stored once and whole wherever it was computed.
    """
    left = [cell for cell in cells if not _part(folder, kind, cell).exists()]
    _begin_with(bar, len(cells) - len(left))
    if not left:
        return
    jobs = [(kind, settings, data_root, cell, _theta(folder, kind, cell)) for cell in left]
    same = data.checksum, _source_digest()
    compute = _on_cluster if isinstance(workers, str) else _on_processes
    for cell, arrays in compute([(same, *job) for job in jobs], settings, workers):
        _write_npz(_part(folder, kind, cell), **arrays, origin=_origin(settings, data))
        bar.update()


def _begin_with(bar, n: int) -> None:
    """Count n units that were there: they took no time, and must not enter the time left."""
    if bar.disable:
        return
    for count in ("initial", "n", "last_print_n"):
        setattr(bar, count, getattr(bar, count) + n)
    bar.refresh()


def _theta(folder, kind, cell):
    """The minima that a unit of passes starts from, float (N, D)."""
    if kind == "minima":
        return None
    with np.load(_part(folder, "minima", cell)) as part:
        return part["theta"]


def _on_processes(jobs, settings, workers: int):
    pool = joblib.Parallel(n_jobs=min(workers, len(jobs)), return_as="generator_unordered")
    return pool(joblib.delayed(_unit)(*job) for job in jobs)


def _reach(scheduler: str) -> None:
    """Raise OSError for a scheduler out of reach."""
    from dask.distributed import Client

    Client(scheduler).close()


def _on_cluster(jobs, settings, address: str):
    from dask.distributed import Client, as_completed

    # one unit at a time on a GPU, wherever workers were started with --resources GPU=1
    needs = {"resources": {"GPU": 1}} if settings.device == "cuda" else {}
    with Client(address) as client:
        futures = [client.submit(_unit, *job, pure=False, retries=2, **needs) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
            future.release()  # so that the cluster keeps no copy


_ONE_AT_A_TIME = threading.Lock()


def _unit(same, kind, settings, data_root, cell, theta):
    """(cell, arrays) of one unit, on the ``same`` images and code as where the run was begun.

    A Dask worker may have several threads: they would share torch's random numbers.
    """
    with _ONE_AT_A_TIME:
        images = (settings.dataset, settings.n_train, settings.n_test, data_root, settings.pooling)
        for what, here, there in (
            (f"images of {settings.dataset}", _data(*images).checksum, same[0]),
            ("code of toscore", _source_digest(), same[1]),
        ):
            if here != there:
                raise ValueError(
                    f"a worker has other {what} (sha256 {here[:16]}) than the process that began "
                    f"the run ({there[:16]}): give it the same, and start the workers again"
                )
        return cell, _UNITS[kind](settings, data_root, cell, theta)


def _part(folder: Path, kind: str, cell) -> Path:
    """Where the result of a unit goes: the "minima" or the "passes" of a cell."""
    label = "-".join(f"{k[0]}{v}" for k, v in zip(CELL, cell, strict=True))
    return folder / "parts" / f"{kind}-{label}.npz"


def _data(dataset, n_train, n_test, data_root, pooling=1):
    return _cached_data(dataset, n_train, n_test, _root(data_root), pooling)


def _root(data_root):
    """The folder of the data, now: the environment may change while a process runs."""
    return os.environ.get("TOSCORE_DATA") if data_root is None else data_root


@lru_cache(maxsize=2)
def _cached_data(dataset, n_train, n_test, data_root, pooling):
    data = load_data(dataset, data_root, n_train, n_test)
    if pooling == 1:
        return data
    x_train, x_test = (avg_pool2d(x, pooling) for x in (data.x_train, data.x_test))
    return replace(data, x_train=x_train, x_test=x_test, shape=tuple(x_train.shape[1:]))


def _landscape(settings, data_root, cell):
    width, depth, _ = cell
    data = _data(settings.dataset, settings.n_train, settings.n_test, data_root, settings.pooling)
    family = getattr(models, settings.family)
    further = {"stride": settings.stride} if settings.stride else {}
    further |= {"width": width, "depth": depth, "activation": settings.activation}
    model = family(data.shape, data.n_classes, **further)
    landscape = Landscape(
        model,
        data.x_train,
        data.y_train,
        weight_decay=settings.weight_decay,
        device=settings.device,
    )
    return landscape, data


@contextmanager
def _one_thread():
    """One thread for torch, so that results do not depend on the number of workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@_one_thread()
def _train_unit(settings, data_root, cell, _) -> dict:
    landscape, data = _landscape(settings, data_root, cell)
    theta, tables, seconds = [], [], 0.0
    for kind, training in (settings.kinds or {None: {}}).items():
        found = find_minima(
            landscape,
            settings.n_minima,
            cell[2],
            held_out=(data.x_test, data.y_test),
            progress=False,
            **settings.minima | training,
        )
        theta.append(found.theta.cpu().numpy())
        tables.append(found.to_frame().assign(**{"kind": kind} if kind else {}))
        seconds += found.seconds
    arrays = {"theta": np.concatenate(theta), "seconds": seconds}
    return arrays | _columns(pd.concat(tables, ignore_index=True))


@_one_thread()
def _pass_unit(settings, data_root, cell, theta) -> dict:
    landscape, _ = _landscape(settings, data_root, cell)
    theta = torch.from_numpy(theta)
    passes = connect(landscape, theta, seed=cell[2], progress=False, **settings.paths)
    arrays = {"profile_t": passes.profile_t, "seconds": passes.seconds}
    arrays |= {"profiles": passes.profiles.astype(np.float32)}
    return arrays | _columns(passes.to_frame())


_UNITS = {"minima": _train_unit, "passes": _pass_unit}


def _columns(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """The columns as arrays that need no pickle."""
    arrays = {k: v.to_numpy() for k, v in table.items()}
    return {k: v.astype(str) if v.dtype == object else v for k, v in arrays.items()}


def _assemble(settings, folder, manifest, cells) -> None:
    """Tables and manifest from the finished parts."""
    minima, passes, profiles, units = [], [], [], {}
    for cell in cells:
        keys = dict(zip(CELL, cell, strict=True))
        with np.load(_part(folder, "minima", cell)) as part:
            skip = ("theta", "seconds", "origin")
            table = {k: part[k] for k in part.files if k not in skip}
            minima.append(pd.DataFrame(keys | {"minimum": np.arange(len(part["theta"]))} | table))
            units[_part(folder, "minima", cell).stem] = round(float(part["seconds"]), 2)
        with np.load(_part(folder, "passes", cell)) as part:
            skip = ("profile_t", "profiles", "seconds", "origin")
            # a cell whose starts all ended in one minimum has no pass, but still columns
            passes.append(pd.DataFrame(keys | {k: part[k] for k in part.files if k not in skip}))
            profile_t = part["profile_t"]
            profiles.append(part["profiles"])
            units[_part(folder, "passes", cell).stem] = round(float(part["seconds"]), 2)
    minima = pd.concat(minima, ignore_index=True)
    # columns without rows have no type, and would take it from the others
    passes = pd.concat([p for p in passes if len(p)] or passes[:1], ignore_index=True)
    profiles = np.concatenate(profiles)
    _write_csv(folder / "minima.csv", minima)
    _write_csv(folder / "passes.csv", passes)
    _write_csv(folder / "segments.csv", _segments(_barcodes(minima, passes)))
    _write_npz(folder / "profiles.npz", profile_t=profile_t, profiles=profiles)
    manifest |= {"finished": _now(), "seconds": round(sum(units.values()), 1), "parts": units}
    _write_manifest(
        folder, manifest | {"tables": {name: _sha256(folder / name) for name in _FILES}}
    )


def _segments(barcodes: dict) -> pd.DataFrame:
    """One row a segment, of all barcodes."""
    tables = [
        pd.DataFrame(dict(zip(CELL, cell, strict=True)) | dict(code.to_frame().items()))
        for cell, code in barcodes.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _barcodes(minima: pd.DataFrame, passes: pd.DataFrame) -> dict:
    groups = dict(list(passes.groupby(CELL)))
    barcodes = {}
    for cell, rows in minima.groupby(CELL):
        joined = groups.get(cell, passes.iloc[:0])
        rows = rows.sort_values("minimum")
        # an empty table read from a file has columns of no type
        pairs, heights = joined[["i", "j"]].to_numpy(np.int64), joined.saddle.to_numpy(np.float64)
        barcodes[cell] = barcode_of_minima(rows.loss, pairs, heights)
    return barcodes


# -- the store -------------------------------------------------------------------------------------


def _find(name, profile, results) -> tuple[Settings, Path]:
    profile = profile or os.environ.get("TOSCORE_PROFILE") or "laptop"
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}: choose one of {', '.join(EXPERIMENTS)}")
    if profile not in EXPERIMENTS[name]:
        raise ValueError(
            f"unknown profile {profile!r}: choose one of {', '.join(EXPERIMENTS[name])}"
        )
    root = results or os.environ.get("TOSCORE_RESULTS")
    if root is None:
        project = Path(__file__).resolve().parent.parent
        root = project / "results" if (project / "pyproject.toml").exists() else "results"
    return EXPERIMENTS[name][profile], Path(root).expanduser().resolve() / name / profile


_FILES = ("minima.csv", "passes.csv", "segments.csv", "profiles.npz")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load(name, profile, folder) -> Result:
    manifest = _read_manifest(folder)
    for file, made in manifest.get("tables", {}).items():
        if not (folder / file).exists() or _sha256(folder / file) != made:
            raise ValueError(
                f"{folder / file} is missing or not what the run wrote: put back a copy of it, or "
                f"make the result anew with: toscore run {name} --profile {profile} --fresh"
            )
    tables = {k: pd.read_csv(folder / f"{k}.csv") for k in ("minima", "passes", "segments")}
    with np.load(folder / "profiles.npz") as stored:
        curves = {k: stored[k] for k in ("profile_t", "profiles")}
    return Result(name, profile, manifest, **tables, **curves)


def _set_aside(folder: Path) -> None:
    old = folder.with_name(folder.name + ".old")
    k = 1
    while old.exists():
        k += 1
        old = folder.with_name(f"{folder.name}.old{k}")
    folder.rename(old)


def _read_manifest(folder: Path) -> dict | None:
    """What a result says of itself; None where nothing was begun."""
    path = folder / "manifest.json"
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text())
        missing = {"settings_digest", "finished"} - set(manifest)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except (ValueError, TypeError) as fault:
        raise ValueError(
            f"{path} is damaged ({fault}): put back a copy of it, or make the result anew with: "
            f"toscore run {folder.parent.name} --profile {folder.name} --fresh"
        ) from fault
    return manifest


def _origin(settings: Settings, data) -> str:
    """What tells parts of one run from those of another: the hashes of settings and images."""
    return f"{settings.digest()} {data.checksum}"


def _refuse_parts(folder: Path, origin: str, manifest: dict | None) -> None:
    """Raise for a finished unit that is damaged, or is not of this run."""
    for part in sorted((folder / "parts").glob("*.npz")):
        try:
            with ZipFile(part) as archive:
                whole = archive.testzip() is None
            with np.load(part) as arrays:
                told = str(arrays["origin"]) if "origin" in arrays else None
        except (BadZipFile, EOFError, NotImplementedError, ValueError, zlib.error):
            whole, told = False, None
        if not whole:
            raise ValueError(
                f"{part} is damaged: delete it and give the same command again, which computes "
                "this part once more"
            )
        # those of earlier versions say nothing; then the manifest does, which is checked
        if told != origin and not (told is None and manifest):
            raise ValueError(
                f"{part} was made under other settings or from other images, or nothing says from "
                "which: put back the manifest.json that was beside it, or start over with --fresh"
            )


def _write_manifest(folder: Path, manifest: dict) -> None:
    _write(folder / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False).encode())


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    _write(path, table.to_csv(index=False).encode())


def _write_npz(path: Path, **arrays) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    _write(path, buffer.getvalue())


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    import toscore  # here, not above: the package imports this module

    versions = {k: importlib.metadata.version(k) for k in ("torch", "numpy", "scipy", "pandas")}
    return {"python": platform.python_version(), "toscore": toscore.__version__} | versions


_DECISIVE = (
    *("barcode", "curves", "data", "experiment", "landscape", "lbfgs", "minima", "models"),
    *("passes", "paths", "saddles"),
)


@lru_cache(maxsize=1)
def _source_digest() -> str:
    """Hash of the modules that decide numbers; figures and the command line do not.

    Of what they do, that is: comments, docstrings and layout do not count.
    """
    digest = hashlib.sha256()
    for module in _DECISIVE:
        tree = ast.parse(Path(__file__).with_name(f"{module}.py").read_text())
        digest.update(json.dumps(_meaning(tree)).encode())
    return digest.hexdigest()


def _meaning(node):
    """A syntax tree as nested lists, without docstrings; the same in every version of Python."""
    if isinstance(node, list):
        return [_meaning(x) for x in node if not _is_text(x)]
    if isinstance(node, ast.AST):
        parts = ((k, _meaning(v)) for k, v in ast.iter_fields(node) if k != "kind")
        return [type(node).__name__, *([k, v] for k, v in parts if v not in (None, []))]
    return repr(node)


def _is_text(node) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def made_by(manifest: dict) -> list[dict]:
    """All that the parts of a result were made by: the manifest, then whatever resumed the run.

    Parameters
    ----------
    manifest : dict
        That of a :class:`Result`.

    Returns
    -------
    list of dict
        Each has ``hardware``, ``versions`` and ``source_digest``. Which made which part is not
        noted.

    Examples
    --------
    >>> from toscore.experiment import made_by
    >>> manifest = {"hardware": "a laptop", "resumed_by": [{"hardware": "a server"}]}
    >>> [m["hardware"] for m in made_by(manifest)]
    ['a laptop', 'a server']
    """
    return [manifest, *manifest.get("resumed_by", [])]


def _is_old(manifest: dict, code: str) -> bool:
    """Whether some of a result was made by other code than this, and this was not confirmed."""
    if any(m["source_digest"] == code for m in manifest.get("confirmed", [])):
        return False
    return any(m["source_digest"] != code for m in made_by(manifest))


def _machines(manifest: dict) -> str:
    """Hardware and torch of all that a result was made by."""
    names = [f"{m['hardware']}, torch {m['versions']['torch']}" for m in made_by(manifest)]
    return " and ".join(dict.fromkeys(names))


def _hardware(device: str) -> str:
    """The processor's name and core count, or the GPU's name."""
    if device == "cuda":
        here = torch.cuda.is_available()  # else a cluster's workers have it
        return torch.cuda.get_device_name() if here else "a cluster's GPUs"
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            x.split(":")[1].strip() for x in info.read_text().splitlines() if "model name" in x
        ]
        cpu = names[0] if names else cpu
    return f"{cpu}, {joblib.cpu_count()} cores"
