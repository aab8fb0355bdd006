import gzip
import hashlib
import os
import pickle
import sys
import types
import zipfile
from collections import Counter

import numpy as np
import pytest
import scipy.io
import torch

from toscore import data as data_module
from toscore.data import (
    NAMES,
    BadRequest,
    CorruptArchive,
    Data,
    DataError,
    DownloadNotAllowed,
    LabelsOutOfRange,
    MissingFiles,
    NotEnoughSamples,
    TorchvisionMissing,
    UnknownDataset,
    WrongArrays,
    check_data,
    export_data,
    load_data,
)

SHAPES = {
    "mnist": (28, 28),
    "fashion_mnist": (28, 28),
    "cifar10": (32, 32, 3),
    "cifar100": (32, 32, 3),
    "svhn": (32, 32, 3),
}
SAMPLES = os.environ.get("TOSCORE_DATA", "")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """The user's own settings must not decide a test."""
    monkeypatch.delenv("TOSCORE_DATA", raising=False)
    monkeypatch.delenv("TOSCORE_DOWNLOAD", raising=False)


@pytest.fixture
def no_network(monkeypatch):
    """torchvision's downloads are counted and fail."""
    calls = []

    def refuse(*args, **kwargs):
        calls.append(args)
        raise OSError("no route to host")

    import torchvision.datasets as tv

    for module in (tv.mnist, tv.cifar):
        monkeypatch.setattr(module, "download_and_extract_archive", refuse)
    monkeypatch.setattr(tv.svhn, "download_url", refuse)
    return calls


def arrays_for(name, n_train=60, n_test=40, seed=0):
    random = np.random.default_rng(seed)
    classes = 100 if name == "cifar100" else 10
    result = {}
    for part, n in (("train", n_train), ("test", n_test)):
        result["x_" + part] = random.integers(0, 256, (n, *SHAPES[name]), dtype=np.uint8)
        result["y_" + part] = (np.arange(n) % classes).astype(np.uint8)
    return result


def write(folder, name="mnist", **changes):
    arrays = {**arrays_for(name), "source": np.array("made up"), **changes}
    np.savez(folder / f"{name}.npz", **{k: v for k, v in arrays.items() if v is not None})
    return arrays


def same(a, b):
    parts = ("x_train", "y_train", "x_test", "y_test")
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in parts)


# What comes back


@pytest.mark.parametrize("name", SHAPES)
def test_archive_becomes_tensors(tmp_path, name):
    arrays = write(tmp_path, name)
    data = load_data(name, tmp_path)
    channels = 3 if len(SHAPES[name]) == 3 else 1
    assert isinstance(data, Data)
    assert data.name == name and data.n_classes == (100 if name == "cifar100" else 10)
    assert data.shape == (channels, *SHAPES[name][:2])
    assert data.source == f"archive {name}.npz: made up"
    for part in ("train", "test"):
        x, y = getattr(data, "x_" + part), getattr(data, "y_" + part)
        assert x.dtype == torch.float32 and y.dtype == torch.int64 and x.is_contiguous()
        assert tuple(x.shape) == (len(y), *data.shape)
        assert y.tolist() == arrays["y_" + part].tolist()
        # undoing the standardisation gives back every pixel, in its place
        pixels = x.double() * torch.tensor(data.std).view(-1, 1, 1)
        pixels = (pixels + torch.tensor(data.mean).view(-1, 1, 1)).permute(0, 2, 3, 1)
        stored = arrays["x_" + part].reshape(len(y), *SHAPES[name][:2], channels)
        assert np.abs(pixels.numpy() - stored).max() < 1e-3
    with pytest.raises(AttributeError):
        data.name = "other"


def test_standardised_with_the_chosen_training_part(tmp_path):
    arrays = arrays_for("cifar10")
    arrays["x_train"][:30] //= 4  # so that choosing other images changes the statistics
    arrays["x_test"] //= 2
    write(tmp_path, "cifar10", **arrays)
    data = load_data("cifar10", tmp_path, n_train=30, n_test=20)
    x = data.x_train.double()
    assert x.mean((0, 2, 3)).abs().max() < 1e-5
    assert (x.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    assert data.x_test.mean((0, 2, 3)).abs().min() > 0.05  # not its own mean
    everything = load_data("cifar10", tmp_path)
    assert np.allclose(everything.mean, arrays["x_train"].mean((0, 1, 2)), rtol=1e-12)
    assert np.allclose(everything.std, arrays["x_train"].std((0, 1, 2)), rtol=1e-12)
    assert not np.allclose(everything.mean, data.mean, rtol=1e-3)


def test_constant_channel_gives_zeros_not_nan(tmp_path):
    arrays = arrays_for("svhn")
    arrays["x_train"][..., 1] = 77
    arrays["x_test"][..., 1] = 79
    write(tmp_path, "svhn", **arrays)
    data = load_data("svhn", tmp_path)
    assert data.std[1] == 1 and data.mean[1] == 77
    assert (data.x_train[:, 1] == 0).all() and (data.x_test[:, 1] == 2).all()
    assert data.x_train.isfinite().all() and data.x_train[:, 0].std() > 0.9


def test_digits_need_no_root():
    data = load_data("digits")
    assert data.shape == (1, 8, 8) and data.n_classes == 10
    assert len(data.y_train) == 1437 and data.y_test.bincount().tolist() == [36] * 10
    assert abs(data.x_train.max() * data.std[0] + data.mean[0] - 16) < 1e-4
    # Fixed for good: stored results name this checksum.
    assert data.checksum == "6bae36cc11cf0d0f485ebfccae1db658a1ed354b95a8d5e2f5fc079b6eac4a1d"
    whole = torch.cat([data.x_train, data.x_test]).flatten(1)
    assert len(whole.unique(dim=0)) == 1797  # no image is in both parts
    assert same(load_data("digits", "/no/such/folder"), data)


# Which samples


@pytest.mark.parametrize(("n", "counts"), [(50, {5: 10}), (57, {5: 3, 6: 7}), (3, {1: 3})])
def test_classes_are_balanced(tmp_path, n, counts):
    write(tmp_path)
    data = load_data("mnist", tmp_path, n_train=n, n_test=n // 2)
    assert len(data.y_train) == n and len(data.y_test) == n // 2
    # the classes that appear, and how often
    assert Counter(Counter(data.y_train.tolist()).values()) == counts
    share = data.y_test.bincount(minlength=10)
    assert share.max() - share.min() <= 1


def test_chosen_images_keep_their_labels_and_order(tmp_path):
    arrays = arrays_for("mnist")
    arrays["x_train"][:, 0, 0] = np.arange(60)
    write(tmp_path, **arrays)
    data = load_data("mnist", tmp_path, n_train=30)
    rows = (data.x_train[:, 0, 0, 0] * data.std[0] + data.mean[0]).round().long()
    assert (rows.diff() > 0).all() and rows.tolist() != list(range(30))
    assert (data.y_train == rows % 10).all()


def test_seed_decides_the_pick():
    first = load_data("digits", n_train=200, n_test=100, seed=3)
    np.random.seed(12)  # noqa: NPY002 - the global stream has no say
    again = load_data("digits", n_train=200, n_test=100, seed=3)
    assert same(first, again) and first.checksum == again.checksum
    other = load_data("digits", n_train=200, n_test=100, seed=4)
    assert other.checksum != first.checksum and not same(first, other)


def test_parts_are_picked_independently(tmp_path):
    arrays = arrays_for("mnist", 60, 60)
    arrays["x_test"] = arrays["x_train"]  # so that equal rows would be seen
    write(tmp_path, **arrays)
    a = load_data("mnist", tmp_path, n_train=20, n_test=20, seed=1)
    b = load_data("mnist", tmp_path, n_train=40, n_test=20, seed=1)
    assert rows(a.x_train, a) != rows(a.x_test, a)
    assert rows(a.x_test, a) == rows(b.x_test, b)  # whatever n_train is
    assert rows(a.x_train, a) < rows(b.x_train, b)  # a smaller choice lies in a larger


def rows(x, data):
    pixels = (x.double() * data.std[0] + data.mean[0]).round().to(torch.uint8)
    return {image.numpy().tobytes() for image in pixels}


def test_checksum_is_of_the_chosen_arrays(tmp_path):
    sums = []
    for seed in (0, 0, 1):
        write(tmp_path, **arrays_for("mnist", seed=seed))
        sums.append(load_data("mnist", tmp_path).checksum)
    write(tmp_path, y_test=np.zeros(40, np.int32))
    sums.append(load_data("mnist", tmp_path).checksum)
    assert sums[0] == sums[1] and len(set(sums)) == 3 and all(len(s) == 64 for s in sums)
    write(tmp_path, source=None, y_test=arrays_for("mnist")["y_test"].astype(np.int64))
    data = load_data("mnist", tmp_path)
    assert data.checksum == sums[0]  # neither the note nor the labels' width is data
    assert data.source == "archive mnist.npz: no source note"


# The seven faults, and bad requests


@pytest.mark.parametrize("name", ["MNIST", "imagenet", "", None, 7, ["mnist"], "../mnist"])
def test_unknown_name(tmp_path, name):
    with pytest.raises(UnknownDataset) as caught:
        load_data(name, tmp_path)
    assert repr(name) in str(caught.value) and "fashion_mnist" in str(caught.value)
    with pytest.raises(UnknownDataset):
        export_data(name, tmp_path)


BOTH_CURES = ("mnist.npz", "toscore data export mnist", "download=True", "TOSCORE_DOWNLOAD=1")


def test_missing_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    for root in (None, "", tmp_path / "nowhere", tmp_path / "file"):
        for download in (False, True):  # a mistyped folder is not made by downloading
            with pytest.raises(MissingFiles) as caught:
                load_data("mnist", root, download=download)
            assert not isinstance(caught.value, DownloadNotAllowed)
            assert isinstance(caught.value, FileNotFoundError)
            assert all(cure in str(caught.value) for cure in BOTH_CURES)
    monkeypatch.setenv("TOSCORE_DATA", str(tmp_path / "gone"))
    with pytest.raises(MissingFiles, match="gone"):
        load_data("mnist")


def test_incomplete_torchvision_layout(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(MissingFiles, match="lacks raw/t10k-labels-idx1-ubyte") as caught:
        load_data("mnist", tmp_path)
    assert not isinstance(caught.value, DownloadNotAllowed)


@pytest.mark.parametrize("setting", [None, "", "0"])
@pytest.mark.parametrize("name", SHAPES)
def test_no_permission_to_download(tmp_path, no_network, monkeypatch, name, setting):
    if setting is not None:
        monkeypatch.setenv("TOSCORE_DOWNLOAD", setting)
    with pytest.raises(DownloadNotAllowed, match="not allowed") as caught:
        load_data(name, tmp_path)
    assert all(cure.replace("mnist", name) in str(caught.value) for cure in BOTH_CURES)
    assert isinstance(caught.value, MissingFiles) and isinstance(caught.value, PermissionError)
    assert no_network == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("how", ["argument", "environment"])
def test_allowed_download_that_fails(tmp_path, no_network, monkeypatch, name, how):
    if how == "environment":
        monkeypatch.setenv("TOSCORE_DOWNLOAD", "1")
    with pytest.raises(MissingFiles, match="no route to host"):
        load_data(name, tmp_path, download=how == "argument")
    assert len(no_network) == 1  # it was tried


def test_folder_that_must_not_be_written(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError("read-only")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", refuse)
    with pytest.raises(DownloadNotAllowed, match="no permission to write"):
        load_data("mnist", tmp_path, download=True)


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = b""
    elif how == "altered":  # one bit of one pixel
        content[len(content) // 3] ^= 1
    elif how == "text":
        content = b"this is not an archive"
    elif how == "pickle":
        content = pickle.dumps({"x_train": 1})
    elif how == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
        return
    elif how == "folder":
        path.unlink()
        path.mkdir()
        return
    path.write_bytes(content)


FAULTS = ["truncated", "empty", "altered", "text", "pickle", "npy", "folder"]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("how", FAULTS)
def test_corrupt_archive(tmp_path, how, compress):
    write(tmp_path)
    path = tmp_path / "mnist.npz"
    if compress:
        np.savez_compressed(path, **arrays_for("mnist"))
    load_data("mnist", tmp_path)  # sound before
    damage(path, how)
    with pytest.raises(CorruptArchive) as caught:
        load_data("mnist", tmp_path)
    assert str(path) in str(caught.value) and "replace" in str(caught.value)


def test_other_entries_of_an_archive_are_left_alone(tmp_path):
    write(tmp_path)
    with zipfile.ZipFile(tmp_path / "mnist.npz", "a") as archive:
        archive.writestr("licence.npy", b"not an array")
    assert len(load_data("mnist", tmp_path).y_train) == 60


ARRAYS = arrays_for("mnist")
WRONG = {
    "no x_train": ("lacks x_train", {"x_train": None}),
    "no y_test": ("lacks y_test", {"y_test": None}),
    "float images": ("x_train.*float64", {"x_train": ARRAYS["x_train"] / 255.0}),
    "int images": ("x_test.*int64", {"x_test": ARRAYS["x_test"].astype(int)}),
    "flat images": (r"x_train.*\(60, 784\)", {"x_train": ARRAYS["x_train"].reshape(60, -1)}),
    "channels first": ("x_train", {"x_train": ARRAYS["x_train"][:, None]}),
    "colour": ("x_train", {"x_train": np.stack([ARRAYS["x_train"]] * 3, -1)}),
    "parts differ": (r"x_test.*\(40, 27, 28\)", {"x_test": ARRAYS["x_test"][:, 1:]}),
    "fewer labels": (r"y_train.*\(59,\).*60 images", {"y_train": ARRAYS["y_train"][1:]}),
    "fewer images": (r"y_test.*39 images", {"x_test": ARRAYS["x_test"][1:]}),
    "float labels": ("y_train.*float64", {"y_train": ARRAYS["y_train"] * 1.0}),
    "bool labels": ("y_test.*bool", {"y_test": ARRAYS["y_test"] > 3}),
    "one-hot labels": (r"y_train.*\(60, 10\)", {"y_train": np.eye(10, dtype=int)[[0] * 60]}),
    "0-d": ("x_train", {"x_train": np.uint8(3)}),
    "no samples": (
        "must be some",
        {"x_test": ARRAYS["x_test"][:0], "y_test": ARRAYS["y_test"][:0]},
    ),
    "objects": ("Python objects", {"y_train": ARRAYS["y_train"].astype(object)}),
    "source a list": ("source", {"source": np.array(["a", "b"])}),
    "source a number": ("source", {"source": np.array(3)}),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays(tmp_path, case):
    pattern, changes = WRONG[case]
    write(tmp_path, **changes)
    with pytest.raises(WrongArrays, match=pattern):
        load_data("mnist", tmp_path)


def test_sizes_of_another_data_set(tmp_path):
    write(tmp_path, "cifar10", **arrays_for("mnist"))
    with pytest.raises(WrongArrays, match=r"cifar10: x_train.*\(60, 28, 28\).*\(N, 32, 32, 3\)"):
        load_data("cifar10", tmp_path)


@pytest.mark.parametrize(("name", "label"), [("mnist", 10), ("mnist", -1), ("cifar100", 100)])
@pytest.mark.parametrize("part", ["train", "test"])
def test_labels_out_of_range(tmp_path, name, label, part):
    labels = arrays_for(name)["y_" + part].astype(np.int16)
    labels[7] = label
    write(tmp_path, name, **{"y_" + part: labels})
    with pytest.raises(LabelsOutOfRange, match=rf"y_{part}.*{label}.*must lie in 0 to"):
        load_data(name, tmp_path, n_train=1, n_test=1)  # even where it would not be picked


def test_more_samples_than_there_are(tmp_path):
    write(tmp_path)
    assert len(load_data("mnist", tmp_path, n_train=60, n_test=40).y_train) == 60
    with pytest.raises(NotEnoughSamples, match="train part: 61 .*only 60; ask for at most 60"):
        load_data("mnist", tmp_path, n_train=61)
    with pytest.raises(NotEnoughSamples, match="test part: 41 .*only 40"):
        load_data("mnist", tmp_path, n_test=41)


def test_more_samples_than_one_class_has(tmp_path):
    labels = arrays_for("mnist")["y_train"]
    labels[labels == 8] = 7
    labels[:2] = 8  # class 8 has 2 of 60, 0 and 1 have 5, 7 has 12, the others 6
    write(tmp_path, y_train=labels)
    for seed in range(5):  # whoever gets one more, it is never the class that has none left
        share = load_data("mnist", tmp_path, n_train=29, seed=seed).y_train.bincount()
        assert share.tolist() == [3] * 8 + [2, 3]
    with pytest.raises(NotEnoughSamples, match="30 .*class 8 has only 2.*at most 29.*all 60"):
        load_data("mnist", tmp_path, n_train=30)
    labels[labels == 8] = 7
    write(tmp_path, y_train=labels)
    assert len(load_data("mnist", tmp_path, n_train=9).y_train) == 9
    with pytest.raises(NotEnoughSamples, match="class 8 has only 0"):
        load_data("mnist", tmp_path, n_train=10)


@pytest.mark.parametrize("n", [0, -1, 10.0, float("nan"), float("inf"), True, np.True_, "10", [10]])
@pytest.mark.parametrize("which", ["n_train", "n_test"])
def test_count_that_is_none(which, n):
    with pytest.raises(BadRequest, match=f"{which} must be a whole number"):
        load_data("digits", **{which: n})


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, None, "0"])
def test_seed_that_is_none(seed):
    with pytest.raises(BadRequest, match="seed must be"):
        load_data("digits", n_train=10, seed=seed)


@pytest.mark.parametrize("root", [3, False, b"folder", ["folder"]])
def test_root_that_is_no_path(root):
    with pytest.raises(BadRequest, match="root must be a path"):
        load_data("mnist", root)


def test_whole_numbers_of_numpy_are_counts():
    assert len(load_data("digits", n_train=np.int64(20), seed=np.uint8(1)).y_train) == 20


def test_faults_are_told_apart():
    faults = [UnknownDataset, MissingFiles, CorruptArchive, WrongArrays, LabelsOutOfRange]
    faults += [NotEnoughSamples, BadRequest, TorchvisionMissing]
    for fault in faults:
        assert [other for other in faults if issubclass(fault, other)] == [fault]
        assert issubclass(fault, DataError)


# torchvision's own layout


def write_mnist(root, folder="MNIST"):
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    arrays = arrays_for("mnist")
    for part, stem in (("train", "train"), ("test", "t10k")):
        for key, kind, code in (("x_", "images-idx3", 3), ("y_", "labels-idx1", 1)):
            array = arrays[key + part]
            head = bytes([0, 0, 8, code]) + np.array(array.shape, ">i4").tobytes()
            (raw / f"{stem}-{kind}-ubyte").write_bytes(head + array.tobytes())
    return arrays


def write_fashion_mnist(root, monkeypatch):
    return write_mnist(root, "FashionMNIST")


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(root, monkeypatch, name):
    """torchvision checks the official md5 sums, so it is given those of the small files."""
    arrays = arrays_for(name)
    hundred = name == "cifar100"
    folder = root / ("cifar-100-python" if hundred else "cifar-10-batches-py")
    folder.mkdir()

    def batch(file, part, rows):
        x = arrays["x_" + part][rows].transpose(0, 3, 1, 2).reshape(-1, 3072)
        y = arrays["y_" + part][rows].tolist()
        (folder / file).write_bytes(
            pickle.dumps({"data": x, "fine_labels" if hundred else "labels": y})
        )
        return [file, md5(folder / file)]

    every = slice(None)
    if hundred:
        train, test = [batch("train", "train", every)], [batch("test", "test", every)]
        meta = {"filename": "meta", "key": "fine_label_names"}
    else:
        twelfths = [slice(12 * i, 12 * i + 12) for i in range(5)]
        train = [batch(f"data_batch_{i + 1}", "train", r) for i, r in enumerate(twelfths)]
        test = [batch("test_batch", "test", every)]
        meta = {"filename": "batches.meta", "key": "label_names"}
    (folder / meta["filename"]).write_bytes(pickle.dumps({meta["key"]: ["a", "b"]}))
    meta["md5"] = md5(folder / meta["filename"])
    import torchvision.datasets as tv

    kind = tv.CIFAR100 if hundred else tv.CIFAR10
    for key, value in (("train_list", train), ("test_list", test), ("meta", meta)):
        monkeypatch.setattr(kind, key, value)
    return arrays


def write_svhn(root, monkeypatch):
    arrays, split_list = arrays_for("svhn"), {}
    for part in ("train", "test"):
        y = arrays["y_" + part]
        # as published: rows, columns, channels, images; digit 0 is labelled 10
        content = {"X": arrays["x_" + part].transpose(1, 2, 3, 0), "y": np.where(y, y, 10)[:, None]}
        path = root / f"{part}_32x32.mat"
        scipy.io.savemat(path, content)
        split_list[part] = ["", path.name, md5(path)]
    monkeypatch.setattr("torchvision.datasets.SVHN.split_list", split_list)
    return arrays


LAYOUTS = {
    "mnist": lambda root, patch: write_mnist(root),
    "fashion_mnist": write_fashion_mnist,
    "cifar10": lambda root, patch: write_cifar(root, patch, "cifar10"),
    "cifar100": lambda root, patch: write_cifar(root, patch, "cifar100"),
    "svhn": write_svhn,
}


@pytest.mark.parametrize("name", SHAPES)
def test_torchvision_layout_equals_the_archive(tmp_path, monkeypatch, no_network, name):
    monkeypatch.setenv("TOSCORE_DATA", str(tmp_path))
    arrays = LAYOUTS[name](tmp_path, monkeypatch)
    from_layout = load_data(name)
    assert from_layout.source.startswith("torchvision ") and str(tmp_path) not in from_layout.source
    assert same(load_data(name, download=True), from_layout)
    assert no_network == []  # what is there is not downloaded again
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", name, **arrays)
    from_archive = load_data(name, tmp_path / "other")
    assert same(from_layout, from_archive)
    assert from_layout.checksum == from_archive.checksum


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("how", ["truncated", "empty", "text"])
def test_corrupt_torchvision_layout(tmp_path, monkeypatch, no_network, name, how):
    LAYOUTS[name](tmp_path, monkeypatch)
    load_data(name, tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    files = [path for path in files if "train" in path.name or "data_batch_3" in path.name]
    damage(files[0], how)
    with pytest.raises(CorruptArchive, match="replace"):
        load_data(name, tmp_path, download=True)
    assert no_network == []


def test_wrong_labels_in_torchvision_layout(tmp_path):
    write_mnist(tmp_path)
    path = tmp_path / "MNIST/raw/train-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] = 11
    path.write_bytes(content)
    with pytest.raises(LabelsOutOfRange, match="11"):
        load_data("mnist", tmp_path)


def test_download_then_read(tmp_path, monkeypatch):
    def download(resource, download_root, filename, md5):
        path = os.path.join(download_root, filename)
        with gzip.open(path, "wb") as file:
            file.write((tmp_path / "there/MNIST/raw" / filename.removesuffix(".gz")).read_bytes())
        with gzip.open(path) as packed, open(path.removesuffix(".gz"), "wb") as file:
            file.write(packed.read())

    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    write_mnist(tmp_path / "there")
    import torchvision.datasets.mnist as tv_mnist

    monkeypatch.setattr(tv_mnist, "download_and_extract_archive", download)
    got = load_data("mnist", tmp_path / "here", download=True)
    assert same(got, load_data("mnist", tmp_path / "there"))


def test_order_of_look_up(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    monkeypatch.setenv("TOSCORE_DATA", str(second))
    write_mnist(second)
    assert load_data("mnist").source.startswith("torchvision")
    write(second, source=np.array("second"))
    assert load_data("mnist").source == "archive mnist.npz: second"  # before torchvision's layout
    write(first, source=np.array("first"))
    assert load_data("mnist", first).source == "archive mnist.npz: first"  # before the environment
    with pytest.raises(MissingFiles):  # a root that was named is not silently replaced
        load_data("mnist", tmp_path / "third")
    damage(second / "mnist.npz", "truncated")
    with pytest.raises(CorruptArchive):  # nor is a broken archive
        load_data("mnist")


@pytest.mark.parametrize("error", [ImportError, RuntimeError])
def test_without_torchvision(tmp_path, monkeypatch, error):
    class Broken(types.ModuleType):
        def __getattr__(self, name):
            raise error("operator torchvision::nms does not exist")

    monkeypatch.setitem(sys.modules, "torchvision", Broken("torchvision"))
    write(tmp_path)
    assert len(load_data("mnist", tmp_path).y_train) == 60  # archives don't need it
    assert load_data("digits").n_classes == 10
    (tmp_path / "mnist.npz").unlink()
    write_mnist(tmp_path)
    with pytest.raises(TorchvisionMissing, match="nms.*install"):
        load_data("mnist", tmp_path)
    with pytest.raises(TorchvisionMissing):
        load_data("svhn", tmp_path, download=True)


# toscore data check, toscore data export


def test_check_reports_everything_and_never_raises(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("TOSCORE_DOWNLOAD", "1")
    write(tmp_path)
    write(tmp_path, "cifar10")
    damage(tmp_path / "cifar10.npz", "truncated")
    write_svhn(tmp_path, monkeypatch)
    records = check_data(tmp_path)
    assert [record["name"] for record in records] == list(NAMES)
    found = {record["name"]: record for record in records}
    assert no_network == []  # a check downloads nothing
    digits = load_data("digits")
    assert found["digits"]["checksum"] == digits.checksum and found["digits"]["n_test"] == 360
    mnist = found["mnist"]
    assert mnist["found"] and mnist["where"] == str(tmp_path / "mnist.npz")
    assert (mnist["n_train"], mnist["n_test"], mnist["fault"]) == (60, 40, None)
    assert mnist["checksum"] == load_data("mnist", tmp_path).checksum
    assert mnist["source"] == "archive mnist.npz: made up"
    assert found["svhn"]["where"] == str(tmp_path) and found["svhn"]["n_train"] == 60
    broken = found["cifar10"]
    assert broken["found"] and "CorruptArchive" in broken["fault"] and broken["checksum"] is None
    assert not found["cifar100"]["found"] and "DownloadNotAllowed" in found["cifar100"]["fault"]


@pytest.mark.parametrize("root", [None, "/no/such/folder", 3])
def test_check_without_a_folder(root):
    records = check_data(root)
    assert records[0]["fault"] is None and len(records) == 6
    assert all(not record["found"] and record["fault"] for record in records[1:])


def test_check_survives_what_nobody_foresaw(monkeypatch):
    def fail(arrays):
        raise RuntimeError("out of order")

    monkeypatch.setattr(data_module, "_checksum", fail)
    assert check_data()[0]["fault"] == "RuntimeError: out of order"


@pytest.mark.parametrize("name", SHAPES)
def test_export_round_trip(tmp_path, monkeypatch, name):
    there, here = tmp_path / "there", tmp_path / "new/here"
    there.mkdir()
    LAYOUTS[name](there, monkeypatch)
    path = export_data(name, here, there)
    assert path == here / f"{name}.npz" and [p.name for p in here.iterdir()] == [path.name]
    before, after = load_data(name, there), load_data(name, here)
    assert same(before, after) and before.checksum == after.checksum
    assert before.source in after.source
    # again from the archive, to a file: the note doesn't grow
    twice = export_data(name, tmp_path / "twice" / f"{name}.npz", here)
    assert load_data(name, twice.parent).source == after.source


def test_export_of_digits(tmp_path):
    with np.load(export_data("digits", tmp_path), allow_pickle=False) as archive:
        assert archive["x_train"].shape == (1437, 8, 8) and archive["x_train"].dtype == np.uint8
        assert archive["x_test"].shape == (360, 8, 8) and archive["x_train"].max() == 16
        assert "scikit-learn" in str(archive["source"])


def test_export_of_nothing(tmp_path):
    with pytest.raises(DownloadNotAllowed):
        export_data("mnist", tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("step", ["savez_compressed", "replace"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_interrupted_export_leaves_the_old_archive(tmp_path, monkeypatch, step, error):
    write(tmp_path)
    old = export_data("mnist", tmp_path / "out", tmp_path).read_bytes()
    write(tmp_path, source=np.array("newer"))

    def stop(file, *args, **kwargs):
        if step == "savez_compressed":
            file.write(b"half an arch")
        raise error("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(np if step == "savez_compressed" else data_module.os, step, stop)
        with pytest.raises(error, match="stopped"):
            export_data("mnist", tmp_path / "out", tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mnist.npz"]
    assert (tmp_path / "out/mnist.npz").read_bytes() == old
    export_data("mnist", tmp_path / "out", tmp_path)
    assert "newer" in load_data("mnist", tmp_path / "out").source


def test_export_keeps_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    path = export_data("digits", tmp_path)
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


# Real images


@pytest.fixture(scope="module")
def checked():
    return {record["name"]: record for record in check_data(SAMPLES)}


@pytest.mark.skipif(not SAMPLES, reason="TOSCORE_DATA is not set: real images are NOT tested")
@pytest.mark.parametrize("name", SHAPES)
def test_real_images(name, checked):
    if not checked[name]["found"]:
        pytest.skip(f"{name} is not in TOSCORE_DATA: NOT tested on real images")
    assert checked[name]["fault"] is None
    data = load_data(name, SAMPLES, n_train=5000, n_test=1000, seed=1)
    assert data.y_train.bincount().tolist() == [5000 // data.n_classes] * data.n_classes
    assert data.y_test.bincount().tolist() == [1000 // data.n_classes] * data.n_classes
    x = data.x_train.double()
    assert x.mean((0, 2, 3)).abs().max() < 1e-5
    assert (x.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    # Images and labels belong together: nearest neighbours far outdo chance.
    train, test = (unit(x) for x in (data.x_train, data.x_test))
    right = (data.y_train[(test @ train.T).argmax(1)] == data.y_test).double().mean()
    assert right > LEAST_RIGHT[name]


LEAST_RIGHT = {"mnist": 0.85, "fashion_mnist": 0.7, "cifar10": 0.2, "cifar100": 0.05, "svhn": 0.2}


def unit(x):
    x = x.flatten(1)
    return torch.nn.functional.normalize(x - x.mean(1, keepdim=True))
