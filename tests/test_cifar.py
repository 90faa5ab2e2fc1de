"""CIFAR-10 and CIFAR-100 against torchvision's readers, and pickles that try to run code."""

import os
import pickle
import pickletools
import re
import shutil
import struct

import numpy as np
import pytest
import torch
import torchvision

from dataset_scripts import DataError, ToTensor, load_dataset

CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()


def text(value):
    """A string as Python 2 pickles it."""
    return b"T" + struct.pack("<I", len(value)) + value


def python2(value):
    """A pickle of protocol 2 as Python 2 wrote it: byte strings, and arrays by numpy.core.multiarray."""

    def put(value):
        if isinstance(value, dict):
            return b"}(" + b"".join(put(key) + put(item) for key, item in value.items()) + b"u"
        if isinstance(value, list):
            return b"](" + b"".join(map(put, value)) + b"e"
        if isinstance(value, str):
            return text(value.encode())
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value)
        dtype = (
            b"cnumpy\ndtype\n("
            + text(b"u1")
            + b"K\x00K\x01tR(K\x03"
            + text(b"|")
            + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        )
        start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        shape = b"(" + b"".join(put(size) for size in value.shape) + b"t"
        return start + b"(K\x01" + shape + dtype + b"\x89" + text(value.tobytes()) + b"tb"

    return b"\x80\x02" + put(value) + b"."


def random_batch(rng, count, classes):
    return rng.integers(0, 256, (count, 3072), np.uint8), rng.permutation(np.arange(count) % classes).tolist()


def write_cifar10(root, count=20, dump=python2):
    """Writes the version for Python; returns split -> (data, labels)."""
    rng, folder = np.random.default_rng(0), root / "cifar-10-batches-py"
    folder.mkdir(parents=True, exist_ok=True)
    batches = {}
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        data, labels = batches[name] = random_batch(rng, count, 10)
        files = [f"{name}_{n}.png" for n in range(count)]
        (folder / name).write_bytes(dump({"batch_label": name, "labels": labels, "data": data, "filenames": files}))
    (folder / "batches.meta").write_bytes(dump({"num_cases_per_batch": count, "label_names": CLASSES, "num_vis": 3072}))
    (folder / "readme.html").write_text("<html>")
    return batches


def write_cifar100(root, count=210, dump=python2):
    rng, folder = np.random.default_rng(1), root / "cifar-100-python"
    folder.mkdir(parents=True)
    batches = {}
    for name in ("train", "test"):
        data, fine = random_batch(rng, count, 100)
        batches[name] = data, fine, rng.permutation(np.arange(count) % 20).tolist()
        (folder / name).write_bytes(
            dump(
                {
                    "filenames": [],
                    "batch_label": name,
                    "fine_labels": fine,
                    "coarse_labels": batches[name][2],
                    "data": data,
                }
            )
        )
    names = {
        "fine_label_names": [f"fine {n}" for n in range(100)],
        "coarse_label_names": [f"coarse {n}" for n in range(20)],
    }
    (folder / "meta").write_bytes(dump(names))
    return batches


def image(row):
    return ToTensor()(row.reshape(3, 32, 32).transpose(1, 2, 0))


def trusting(cls):
    """torchvision's reader without its md5 of the original files."""
    return type(cls.__name__, (cls,), {"_check_integrity": lambda self: True, "_load_meta": lambda self: None})


@pytest.mark.parametrize("dump", [python2, lambda value: pickle.dumps(value, 4)])
def test_cifar10_equal_to_torchvision(tmp_path, caplog, dump):
    write_cifar10(tmp_path, dump=dump)
    sets = load_dataset(str(tmp_path))
    assert "read as cifar (the files of cifar-10-batches-py, such as" in caplog.text
    assert "1 other files are ignored, such as cifar-10-batches-py/readme.html" in caplog.text
    assert list(sets) == ["train", "test"] and len(sets["train"]) == 100
    for split, rows in sets.items():
        assert rows.features["label"].names == CLASSES
        theirs = trusting(torchvision.datasets.CIFAR10)(tmp_path, split == "train", torchvision.transforms.ToTensor())
        for row, (pixels, label) in zip(rows, theirs, strict=True):
            assert torch.equal(row["image"], pixels) and row["label"] == label


def test_cifar100_equal_to_torchvision(tmp_path):
    batches = write_cifar100(tmp_path)
    sets = load_dataset(str(tmp_path))
    for split, rows in sets.items():
        assert list(rows.features) == ["image", "label", "coarse_label"]
        assert rows.features["label"].names[99] == "fine 99" and rows.features["coarse_label"].names[19] == "coarse 19"
        assert list(rows["coarse_label"]) == batches[split][2]
        theirs = trusting(torchvision.datasets.CIFAR100)(tmp_path, split == "train", torchvision.transforms.ToTensor())
        for row, (pixels, label) in zip(rows, theirs, strict=True):
            assert torch.equal(row["image"], pixels) and row["label"] == label


def test_binary_versions(tmp_path):
    ten, hundred = tmp_path / "10/cifar-10-batches-bin", tmp_path / "100/cifar-100-binary"
    batches = write_cifar10(tmp_path / "py")
    fine = write_cifar100(tmp_path / "py")
    ten.mkdir(parents=True), hundred.mkdir(parents=True)
    for name, (data, labels) in batches.items():
        np.concatenate([np.array(labels, np.uint8)[:, None], data], 1).tofile(ten / f"{name}.bin")
    (ten / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")
    for name, (data, labels, coarse) in fine.items():
        np.concatenate([np.array([coarse, labels], np.uint8).T, data], 1).tofile(hundred / f"{name}.bin")
    for kind, count in (("fine", 100), ("coarse", 20)):
        (hundred / f"{kind}_label_names.txt").write_text("".join(f"{kind}_{n}\n" for n in range(count)))
    sets = load_dataset(str(tmp_path / "10"))
    assert sets["train"].features["label"].names == CLASSES
    for row, same in zip(
        sets["train"], load_dataset(str(tmp_path / "py"), "cifar-10-batches-py", split="train"), strict=True
    ):
        assert torch.equal(row["image"], same["image"]) and row["label"] == same["label"]
    sets = load_dataset(str(tmp_path / "100"))
    assert sets["test"].features["coarse_label"].names[7] == "coarse_7"
    for row, data, label, coarse in zip(sets["test"], *fine["test"], strict=True):
        assert torch.equal(row["image"], image(data)) and (row["label"], row["coarse_label"]) == (label, coarse)
    shutil.copytree(ten, tmp_path / "both")
    shutil.copytree(tmp_path / "py/cifar-10-batches-py", tmp_path / "both", dirs_exist_ok=True)
    assert len(load_dataset(str(tmp_path / "both"), split="train")) == 100
    with pytest.raises(DataError, match="2 data sets, cifar-10-batches-py, cifar-100-python: choose one"):
        load_dataset(str(tmp_path / "py"))
    whole = (ten / "test_batch.bin").read_bytes()
    (ten / "test_batch.bin").write_bytes(whole[:-5])
    with pytest.raises(DataError, match="test_batch.bin: 61455 bytes are not a whole number of records of 3073"):
        load_dataset(str(tmp_path / "10"))


def test_processes_streams_and_archives(tmp_path):
    batches = write_cifar10(tmp_path / "data", count=40)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "data")
    shutil.make_archive(str(tmp_path / "data/cifar-10-python"), "gztar", tmp_path / "data", "cifar-10-batches-py")
    # The download is next to the files, where torchvision leaves it.
    two = load_dataset(str(tmp_path / "data"), split="train", num_proc=2)
    assert len(two.cache_files) == 2
    stream = load_dataset(str(tmp_path / "data"), split="train", streaming=True)
    expected = [(image(row), label) for n in range(1, 6) for row, label in zip(*batches[f"data_batch_{n}"])]
    tarred = load_dataset("cifar", data_dir=str(tmp_path / "data/cifar-10-python.tar.gz"), split="train")
    for rows in (two, stream, load_dataset(str(tmp_path / "packed.zip"), split="train"), tarred):
        for row, (pixels, label) in zip(rows, expected, strict=True):
            assert torch.equal(row["image"], pixels) and row["label"] == label


class Runs:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("call", [(os.system, "touch RAN"), (eval, "open('RAN', 'w')"), (getattr, [], "append")])
@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_a_pickle_that_runs_code_is_refused(tmp_path, monkeypatch, call, name):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path / "data")
    content = pickle.dumps({"data": Runs(*call), "labels": [0], "label_names": Runs(*call)}, 2)
    assert any(code.name in ("REDUCE",) for code, _, _ in pickletools.genops(content))
    (tmp_path / "data/cifar-10-batches-py" / name).write_bytes(content)
    with pytest.raises(
        DataError, match=rf"{name} cannot be read: it asks to run (posix.system|\S+.eval|\S+.getattr), which no CIFAR"
    ):
        load_dataset(str(tmp_path / "data"))
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize(
    "content, message",
    [
        (
            lambda b: python2({"data": b[0], "labels": b[1][:-1]}),
            "data_batch_2 holds 20 images, but .*data_batch_2 has 19 values of label",
        ),
        (
            lambda b: python2({"data": b[0][:, 1:], "labels": b[1]}),
            r"data_batch_2: data is uint8 of shape \(20, 3071\), not uint8",
        ),
        (lambda b: python2({"data": "x", "labels": b[1]}), "data_batch_2: data is str of shape"),
        (lambda b: python2({"data": b[0]}), "data_batch_2: it has no 'labels'"),
        (lambda b: python2({"data": b[0], "labels": ["a"] * 20}), "data_batch_2: its labels are not whole numbers"),
        (lambda b: python2({"data": b[0], "labels": b[1]})[:5000], "data_batch_2 cannot be read: "),
        (lambda b: b"\x80\x02].", "data_batch_2 cannot be read: 'list' object has no attribute 'items'"),
        (lambda b: b"", "data_batch_2"),
    ],
)
def test_wrong_batches_are_named(tmp_path, content, message):
    batches = write_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py/data_batch_2").write_bytes(content(batches["data_batch_2"]))
    with pytest.raises(DataError, match=message):
        load_dataset("cifar", data_dir=str(tmp_path))


def test_a_label_out_of_range(tmp_path, caplog):
    batches = write_cifar10(tmp_path)
    data, labels = batches["test_batch"]
    wrong = [-1, *labels[1:7], 10, *labels[8:]]
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(python2({"data": data, "labels": wrong}))
    with pytest.raises(DataError, match="test_batch: label -1 of image 0 is not one of the 10 classes, 0..9"):
        load_dataset(str(tmp_path))
    rows = load_dataset(str(tmp_path), split="test", on_error="skip")
    kept = [n for n in range(20) if n not in (0, 7)]
    assert list(rows["label"]) == [labels[n] for n in kept]
    assert all(torch.equal(row["image"], image(data[n])) for row, n in zip(rows, kept, strict=True))
    listed = re.search(r"2 skipped, .* listed in (\S+\.skipped\.txt)", caplog.text)[1]
    assert "label 10 of image 7" in open(listed).read()


def test_other_folders_are_not_cifar(tmp_path, save_image):
    for name in ("train", "test", "meta"):
        (tmp_path / name).write_text("lists of files\n")
    save_image(tmp_path / "images/1.png")
    assert list(load_dataset(str(tmp_path), split="train").features) == ["image"]
    with pytest.raises(DataError, match="holds no data of the layout cifar"):
        load_dataset("cifar", data_dir=str(tmp_path / "images"))


def test_the_card(tmp_path, root, monkeypatch):
    write_cifar10(tmp_path / "path/to")
    write_cifar100(tmp_path / "path/to")
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", (root / "dataset_scripts/layouts/cifar/README.md").read_text(), re.DOTALL)[
        1
    ]
    exec(code, scope := {})
    assert scope["ds"]["train"].features["coarse_label"].num_classes == 20
