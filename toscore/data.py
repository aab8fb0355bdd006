"""The image data sets of the book as tensors: where they come from, and whether they are sound.

Anything wrong with a request, a file or its arrays raises a `DataError` that says what was wrong,
which value, and what to do. Nothing is repaired or left out silently.
"""

import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path

import numpy as np
import torch

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_IDX = [f"raw/{p}-{a}-ubyte" for p in ("train", "t10k") for a in ("images-idx3", "labels-idx1")]
_BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]
# name: classes, image shape as stored, torchvision's class, its folder under root, its files there
_SETS = {
    "digits": (10, (8, 8), None, "", []),
    "mnist": (10, (28, 28), "MNIST", "MNIST", _IDX),
    "fashion_mnist": (10, (28, 28), "FashionMNIST", "FashionMNIST", _IDX),
    "cifar10": (10, (32, 32, 3), "CIFAR10", "cifar-10-batches-py", _BATCHES),
    "cifar100": (100, (32, 32, 3), "CIFAR100", "cifar-100-python", ["train", "test", "meta"]),
    "svhn": (10, (32, 32, 3), "SVHN", "", ["train_32x32.mat", "test_32x32.mat"]),
}
NAMES = tuple(_SETS)


class DataError(Exception):
    """Any fault of a data set or of a request for one.

    Examples
    --------
    >>> import toscore as ts
    >>> try:
    ...     ts.load_data("letters")
    ... except ts.data.DataError as fault:
    ...     print(type(fault).__name__)
    UnknownDataset
    """


class BadRequest(DataError, ValueError):
    """A count, seed or root that is not one."""


class UnknownDataset(DataError, ValueError):
    """A name that is none of `NAMES`."""


class MissingFiles(DataError, FileNotFoundError):
    """No data folder, not all files in it, or a download that failed."""


class DownloadNotAllowed(MissingFiles, PermissionError):
    """Nothing found, and no permission to download it or to write it to the folder."""


class TorchvisionMissing(DataError, ImportError):
    """torchvision is needed, and can't be imported."""


class CorruptArchive(DataError, ValueError):
    """A file that is there but truncated, altered or of another kind."""


class WrongArrays(DataError, ValueError):
    """A readable file whose arrays have the wrong names, dtypes or shapes."""


class LabelsOutOfRange(DataError, ValueError):
    """Labels below 0, or not below the number of classes."""


class NotEnoughSamples(DataError, ValueError):
    """More samples asked than there are, in all or in one class."""


@dataclass(frozen=True, eq=False)
class Data:
    """Training and test images of one data set.

    Attributes
    ----------
    x_train, x_test : float32 tensors (N, C, H, W)
        Standardised: (pixel - mean) / std by channel.
    y_train, y_test : int64 tensors (N,)
        Labels from 0 to ``n_classes - 1``.
    name : str
        The data set.
    n_classes : int
        How many classes it has.
    shape : tuple
        (C, H, W).
    source : str
        Where the images came from, without any path of the machine.
    checksum : str
        sha256 (hex) of the chosen pixels and labels before standardisation, so that it depends
        neither on floating point nor on the kind of file they were read from.
    mean, std : tuple
        C floats each, in pixel units (0 to 255; digits 0 to 16), of the chosen training images;
        std is 1 for a channel that is constant there.

    Examples
    --------
    >>> import toscore as ts
    >>> data = ts.load_data("digits", n_train=50, n_test=20)
    >>> data.shape, data.n_classes, data.x_train.dtype, len(data.x_test)
    ((1, 8, 8), 10, torch.float32, 20)
    """

    x_train: torch.Tensor = field(repr=False)
    y_train: torch.Tensor = field(repr=False)
    x_test: torch.Tensor = field(repr=False)
    y_test: torch.Tensor = field(repr=False)
    name: str
    n_classes: int
    shape: tuple
    source: str
    checksum: str
    mean: tuple
    std: tuple


def load_data(name, root=None, n_train=None, n_test=None, seed=0, *, download=False):
    """Load a data set as standardised tensors.

    Looks for ``NAME.npz`` under ``root``, then for torchvision's own layout there, and downloads
    that only if allowed. ``digits`` always comes from scikit-learn and needs no ``root``: 36 images
    of each class (360) are its fixed test part, the other 1437 its training part.

    Parameters
    ----------
    name : {"digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "svhn"}
        Which data set.
    root : path, optional
        Folder of the files; by default ``$TOSCORE_DATA``.
    n_train, n_test : int >= 1, optional
        Samples to choose, each class floor(n / n_classes) times or once more, kept in stored
        order. None takes all, balanced or not. With one seed a smaller choice lies in a larger.
    seed : int from 0 to 2**32 - 1
        Picks the samples; the two parts are picked independently of each other.
    download : bool
        Allow torchvision to download into ``root``; so does ``TOSCORE_DOWNLOAD=1``.

    Returns
    -------
    Data

    Raises
    ------
    DataError
        Always one of its subclasses in this module; each is a fault of its own.

    Examples
    --------
    >>> import toscore as ts
    >>> data = ts.load_data("digits")
    >>> len(data.x_train), len(data.x_test)
    (1437, 360)
    >>> ts.load_data("digits", n_train=100).y_train.bincount().tolist()
    [10, 10, 10, 10, 10, 10, 10, 10, 10, 10]
    """
    n_classes = _entry(name)[0]
    counts = {"train": n_train, "test": n_test}
    for what, n in counts.items():
        if not (n is None or (_is_whole(n) and n >= 1)):
            raise BadRequest(f"n_{what} must be a whole number above 0, or None, not {n!r}")
    if not (_is_whole(seed) and 0 <= seed < 2**32):
        raise BadRequest(f"seed must be a whole number from 0 to 2**32 - 1, not {seed!r}")
    arrays, source = _read(name, _find(name, root, download))
    for i, (part, n) in enumerate(counts.items()):
        if n is not None:
            rows = _pick(f"{name}, {part} part", arrays["y_" + part], n, n_classes, [seed, i])
            for key in ("x_" + part, "y_" + part):
                arrays[key] = arrays[key][rows]
    checksum = _checksum(arrays)
    channels = (3,) if arrays["x_train"].ndim == 4 else (1,)
    mean, std = _statistics(arrays["x_train"].reshape(-1, *channels))
    for part in counts:
        x = arrays["x_" + part]
        x = x.reshape(x.shape[:3] + channels).astype(np.float32)
        x -= np.float32(mean)
        x /= np.float32(std)
        arrays["x_" + part] = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
        arrays["y_" + part] = torch.from_numpy(arrays["y_" + part])
    shape = tuple(arrays["x_train"].shape[1:])
    return Data(**arrays, name=name, n_classes=n_classes, shape=shape,
                source=source, checksum=checksum, mean=mean, std=std)  # fmt: skip


def check_data(root=None):
    """Say of every data set what is found where; never raises and never downloads.

    Parameters
    ----------
    root : path, optional
        Folder of the files; by default ``$TOSCORE_DATA``.

    Returns
    -------
    list of dict
        One for each of ``NAMES``: ``name``; ``found`` (all files are there); ``where`` (a path,
        "scikit-learn" or ""); ``n_train``, ``n_test``, ``source`` and ``checksum`` (of all
        samples) where sound, else None; ``fault`` (the error's message) or None.

    Examples
    --------
    >>> import toscore as ts
    >>> digits = ts.data.check_data()[0]
    >>> digits["name"], digits["found"], digits["where"], digits["n_train"]
    ('digits', True, 'scikit-learn', 1437)
    """
    records = []
    for name in NAMES:
        record = dict.fromkeys(("n_train", "n_test", "source", "checksum", "fault"))
        record = {"name": name, "found": False, "where": ""} | record
        try:
            where = _find(name, root, download=None)
            record |= {"found": True, "where": str(where)}
            arrays, source = _read(name, where)
            record |= {"n_train": len(arrays["y_train"]), "n_test": len(arrays["y_test"])}
            record |= {"source": source, "checksum": _checksum(arrays)}
        except Exception as error:  # the report goes on to the next data set whatever happens
            record["fault"] = f"{type(error).__name__}: {error}"
        records.append(record)
    return records


def export_data(name, out, root=None, download=False):
    """Write a whole data set as the offline archive ``NAME.npz``, atomically.

    :func:`toscore.load_data` reads it from any folder, without torchvision and without a network
    (``digits`` it still takes from scikit-learn: there the archive, with pixels 0 to 16, serves
    other programs).

    Parameters
    ----------
    name, root, download
        As for :func:`toscore.load_data`.
    out : path
        Folder, made if need be, or a file name that ends in ``.npz``.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    DataError
        As :func:`toscore.load_data`.
    OSError
        If ``out`` can't be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import toscore as ts
    >>> with TemporaryDirectory() as folder:
    ...     ts.data.export_data("digits", folder).name
    'digits.npz'
    """
    arrays, source = _read(name, _find(name, root, download))
    out = Path(out).expanduser()
    out = out if out.suffix == ".npz" else out / f"{name}.npz"
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as file:
        np.savez_compressed(file, **arrays, source=np.array(source))
    return out


@contextmanager
def whole_file(path: Path):
    """A file to write bytes to that replaces `path` when it is complete, and else leaves no trace.

    A reader, or a run after a power cut, sees the old file or the new one.
    """
    # Not tempfile: its files are closed to other users, and a class room shares the archive.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _entry(name):
    if not isinstance(name, str) or name not in _SETS:
        raise UnknownDataset(f"unknown data set {name!r}; choose one of {', '.join(NAMES)}")
    return _SETS[name]


def _is_whole(value):
    return isinstance(value, Integral) and not isinstance(value, bool)


def _find(name, root, download):
    """Path of NAME.npz, or the folder that holds torchvision's layout with all its files.

    `download` None never downloads, whatever the environment says.
    """
    _, _, kind, folder, files = _entry(name)
    if name == "digits":
        return "scikit-learn"
    cures = (
        f"Either put {name}.npz there (`toscore data export {name}` makes it on a machine that "
        "has the data), or allow the download with download=True or TOSCORE_DOWNLOAD=1"
    )
    root = os.environ.get("TOSCORE_DATA", "") if root is None else root
    if not isinstance(root, (str, os.PathLike)):
        raise BadRequest(f"root must be a path, not {root!r}")
    if not str(root):
        raise MissingFiles(f"{name}: no data folder: pass root= or set TOSCORE_DATA. {cures}")
    root = Path(root).expanduser()
    if not root.is_dir():
        raise MissingFiles(f"{name}: there is no data folder {root}: make it. {cures}")
    if (root / f"{name}.npz").exists():
        return root / f"{name}.npz"
    missing = [file for file in files if not (root / folder / file).is_file()]
    if not missing:
        return root
    if not (download or (download is not None and os.environ.get("TOSCORE_DOWNLOAD") == "1")):
        if len(missing) < len(files):
            raise MissingFiles(f"{name}: {root / folder} lacks {', '.join(missing)}. {cures}")
        raise DownloadNotAllowed(
            f"{name}: {root} has neither {name}.npz nor torchvision's {kind}, and downloading is "
            f"not allowed. {cures}"
        )
    try:
        _torchvision(kind, root, download=True)
    except DataError:
        raise
    except PermissionError as error:
        raise DownloadNotAllowed(f"{name}: no permission to write to {root}: {error}") from error
    except Exception as error:
        raise MissingFiles(f"{name}: the download failed: {error}. {cures}") from error
    return root


def _torchvision(kind, root, download=False):
    """Training and test part of a data set as torchvision's own objects."""
    try:
        from torchvision import datasets
    except Exception as error:  # a build that doesn't fit torch raises other than ImportError
        raise TorchvisionMissing(
            f"{kind} is read through torchvision, which can't be imported ({error}); install the "
            "torchvision that fits this torch, or use an offline archive (.npz)"
        ) from error
    parts = [{"train": True}, {"train": False}]
    if kind == "SVHN":
        parts = [{"split": "train"}, {"split": "test"}]
    return [getattr(datasets, kind)(root, **part, download=download) for part in parts]


def _read(name, where):
    """All arrays of a data set, checked, and their source.

    A dict of `ARRAYS`: images uint8 (N, H, W[, 3]), labels int64 (N,).
    """
    n_classes, shape, kind, _, _ = _entry(name)
    try:
        if name == "digits":
            arrays, source = _read_digits()
        elif where.name == f"{name}.npz":
            arrays, source = _read_archive(where)
        else:
            arrays, source = _read_layout(kind, where)
    except DataError:
        raise
    except Exception as error:  # whatever fails while reading a file that is there is its fault
        raise CorruptArchive(
            f"{name}: {where} can't be read ({type(error).__name__}: {error}); it is truncated, "
            "altered or not what its name says: replace it"
        ) from error
    for part in ("train", "test"):
        x, y = arrays["x_" + part], arrays["y_" + part]
        if x.dtype != np.uint8 or x.shape[1:] != shape:
            raise WrongArrays(
                f"{name}: x_{part} in {where} is {x.dtype} {x.shape}, but should be uint8 "
                f"(N, {', '.join(map(str, shape))}): write it anew"
            )
        if y.dtype.kind not in "iu" or y.shape != x.shape[:1] or not len(y):
            raise WrongArrays(
                f"{name}: y_{part} in {where} is {y.dtype} {y.shape}, but should be integers, one "
                f"for each of the {len(x)} images, of which there must be some: write it anew"
            )
        if y.min() < 0 or y.max() >= n_classes:
            raise LabelsOutOfRange(
                f"{name}: y_{part} in {where} has labels from {y.min()} to {y.max()}, but they "
                f"must lie in 0 to {n_classes - 1}: relabel or replace it"
            )
        arrays["y_" + part] = y.astype(np.int64)
    return arrays, source


def _read_digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    test = np.zeros(len(digits.target), dtype=bool)
    test[_pick("digits", digits.target, 360, 10, [0])] = True
    images = digits.images.astype(np.uint8)  # whole numbers, 0 to 16
    arrays = (images[~test], digits.target[~test], images[test], digits.target[test])
    source = "scikit-learn load_digits (Optical Digits, UCI); test part: 36 images of each class"
    return dict(zip(ARRAYS, arrays, strict=True)), source


def _read_archive(path):
    # opened here, since np.load leaves a file it can't read open; a bare .npy array has no `with`
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        missing = [key for key in ARRAYS if key not in archive.files]
        if missing:
            raise WrongArrays(
                f"{path} lacks {', '.join(missing)} (it has {', '.join(archive.files)}); an "
                f"archive holds {', '.join(ARRAYS)} and, if it likes, source"
            )
        try:
            arrays = {key: archive[key] for key in ARRAYS}
            note = archive["source"] if "source" in archive.files else np.array("no source note")
        except ValueError as error:
            if "Object arrays" in str(error):
                raise WrongArrays(f"{path} holds Python objects: save plain arrays") from error
            raise
    if note.shape != () or note.dtype.kind != "U":
        raise WrongArrays(f"{path}: source is {note.dtype} {note.shape}, but should be one string")
    prefix = f"archive {path.name}: "
    return arrays, prefix + str(note).removeprefix(prefix)


def _read_layout(kind, root):
    arrays = {}
    for part, data in zip(("train", "test"), _torchvision(kind, root), strict=True):
        if kind == "SVHN":
            images, labels = np.moveaxis(data.data, 1, -1), data.labels
        else:
            images, labels = data.data, data.targets
        arrays |= {"x_" + part: np.asarray(images), "y_" + part: np.asarray(labels)}
    return arrays, f"torchvision {kind}, its own files"


def _pick(what, labels, n, n_classes, seed):
    """Row numbers (ascending) of n samples, every class floor(n / n_classes) times or once more."""
    counts = np.bincount(labels, minlength=n_classes)
    fewest = counts.min()
    most = n_classes * fewest + np.sum(counts > fewest)
    if n > most:
        why = f"class {counts.argmin()} has only {fewest} of them"
        why = f"there are only {len(labels)}" if n > len(labels) else why
        raise NotEnoughSamples(
            f"{what}: {n} samples asked, but {why}; ask for at most {most}, which the {n_classes} "
            f"classes can share evenly, or None for all {len(labels)}"
        )
    # RandomState's stream is frozen for good: a seed means the same images in every NumPy.
    random = np.random.RandomState(seed)
    share = np.full(n_classes, n // n_classes)
    order = random.permutation(n_classes)
    share[order[counts[order] > n // n_classes][: n % n_classes]] += 1
    rows = [random.permutation(np.flatnonzero(labels == c))[: share[c]] for c in range(n_classes)]
    return np.sort(np.concatenate(rows))


def _statistics(pixels):
    """Mean and std of the columns of uint8 pixels (N, C), from exact sums of whole numbers."""
    mean, std = [], []
    for channel in pixels.T:
        n, total = len(channel), int(channel.sum(dtype=np.int64))
        squares = int(np.square(channel, dtype=np.uint16).sum(dtype=np.int64))
        mean.append(total / n)
        std.append((n * squares - total**2) ** 0.5 / n or 1.0)
    return tuple(mean), tuple(std)


def _checksum(arrays):
    digest = hashlib.sha256()
    for key in ARRAYS:
        array = arrays[key].astype("u1" if key.startswith("x") else "<i8")
        digest.update(f"{key} {array.shape} ".encode() + array.tobytes())
    return digest.hexdigest()
