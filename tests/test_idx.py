"""IDX files against torchvision's readers of MNIST, EMNIST and QMNIST."""

import gzip
import re
import shutil
import struct

import numpy as np
import pytest
import torch
import torchvision

from dataset_scripts import DataError, ToTensor, load_dataset

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13}


def write(path, array, compress=False):
    content = struct.pack(f">HBB{array.ndim}I", 0, CODES[array.dtype.name], array.ndim, *array.shape)
    content += array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if compress else content)


def write_set(
    folder, splits=("train", "t10k"), prefix="", form="{}-{}-idx{}-ubyte", compress=False, classes=10, count=70, seed=0
):
    """Random images of 28 x 20 pixels (H, W), every class; split -> (images, labels)."""
    rng, made = np.random.default_rng(seed), {}
    for place, split in enumerate(splits):
        n = count // (place + 1)
        images, labels = (
            rng.integers(0, 256, (n, 28, 20), np.uint8),
            rng.permutation(np.arange(n) % classes).astype(np.uint8),
        )
        suffix = ".gz" if compress else ""
        write(folder / (form.format(prefix + split, "images", 3) + suffix), images, compress)
        write(folder / (form.format(prefix + split, "labels", 1) + suffix), labels, compress)
        made[split] = images, labels
    return made


def check(rows, images, labels):
    assert len(rows) == len(images) and list(rows["label"]) == labels.tolist()
    for row, image in zip(rows, images):
        assert torch.equal(row["image"], ToTensor()(image))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("form", ["{}-{}-idx{}-ubyte", "{}-{}.idx{}-ubyte", "{}_{}.idx{}"])
def test_names_and_gzip(tmp_path, caplog, form, compress):
    made = write_set(tmp_path, form=form, compress=compress)
    sets = load_dataset(str(tmp_path))
    assert list(sets) == ["train", "test"] and sets["test"].features["label"].names == list("0123456789")
    check(sets["train"], *made["train"])
    check(sets["test"], *made["t10k"])
    assert "read as idx (2 IDX files of images, such as t10k" in caplog.text and "splits: train, test" in caplog.text


def test_equal_to_torchvision(tmp_path):
    write_set(tmp_path / "MNIST/raw")
    write_set(tmp_path / "MNIST/raw", compress=True)  # as torchvision leaves its downloads
    sets = load_dataset(str(tmp_path), classes=torchvision.datasets.MNIST.classes)
    for split in ("train", "test"):
        theirs = torchvision.datasets.MNIST(
            tmp_path, train=split == "train", transform=torchvision.transforms.ToTensor()
        )
        assert sets[split].features["label"].names == theirs.classes
        for row, (image, label) in zip(sets[split], theirs, strict=True):
            assert torch.equal(row["image"], image) and row["label"] == label


def test_emnist_lies_on_its_side_and_has_a_mapping(tmp_path):
    folder = tmp_path / "EMNIST" / "raw"
    letters = write_set(folder, ("train", "test"), "emnist-letters-", classes=26)
    for split, (_, labels) in letters.items():
        write(folder / f"emnist-letters-{split}-labels-idx1-ubyte", labels + 1)
    write_set(folder, ("train", "test"), "emnist-digits-", seed=1)
    (folder / "emnist-letters-mapping.txt").write_text("".join(f"{n} {64 + n} {96 + n}\n" for n in range(1, 27)))
    with pytest.raises(
        DataError, match=r"2 data sets, emnist-digits, emnist-letters: choose one, load_dataset\('idx', 'emnist-digits'"
    ):
        load_dataset(str(folder))
    for name in ("letters", "digits"):
        sets = load_dataset(str(folder), f"emnist-{name}")
        for split in ("train", "test"):
            theirs = torchvision.datasets.EMNIST(tmp_path, name, train=split == "train")
            stored = load_dataset(str(folder), f"emnist-{name}", transpose=False, split=split)
            names = sets[split].features["label"].names
            assert names == [name.upper() if name != "N/A" else name for name in theirs.classes]
            for row, side, image, label in zip(sets[split], stored, theirs.data, theirs.targets.tolist(), strict=True):
                assert torch.equal(row["image"][0] * 255, image.T.float()) and row["label"] == label
                assert torch.equal(side["image"], row["image"].mT)


def test_qmnist_labels(tmp_path, caplog):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 28, 28), np.uint8), rng.integers(0, 10, (30, 8)).astype(np.int32)
    write(tmp_path / "QMNIST/raw/qmnist-train-images-idx3-ubyte", images)
    write(tmp_path / "QMNIST/raw/qmnist-train-labels-idx2-int", labels)
    (tmp_path / "QMNIST/raw/qmnist-train-labels-idx2-int.gz").write_bytes(b"")  # torchvision looks for this file
    rows = load_dataset(str(tmp_path), split="train")
    check(rows, images, labels[:, 0])
    assert "of 8 numbers per image, the first is the label" in caplog.text


def test_other_numbers_and_no_labels(tmp_path):
    rng = np.random.default_rng(0)
    floats = rng.normal(size=(5, 4, 6)).astype(np.float32)
    write(tmp_path / "a/train-images-idx3-float", floats)
    rows = load_dataset(str(tmp_path / "a"), split="train")
    assert list(rows.features) == ["image"] and np.array_equal(np.stack(rows["image"])[:, 0], floats)
    colours = rng.integers(0, 256, (5, 6, 4, 3)).astype(np.int16)
    write(tmp_path / "b/train/images-idx4-short", colours)
    write(tmp_path / "b/train/labels-idx1-ubyte", np.arange(5, dtype=np.uint8))
    check(load_dataset(str(tmp_path / "b"), split="train"), colours.astype(np.uint8), np.arange(5))


def test_processes_streams_and_zips(tmp_path):
    made = write_set(tmp_path / "mnist", compress=True, count=700)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "mnist")
    shutil.make_archive(str(tmp_path / "packed"), "gztar", tmp_path, "mnist")
    two = load_dataset("idx", data_dir=str(tmp_path / "mnist"), split="train", num_proc=2)
    assert len(two.cache_files) == 2
    stream = load_dataset(str(tmp_path / "mnist"), split="train", streaming=True)
    assert stream.num_shards >= 64
    batches = list(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2))
    assert sorted(row["label"] for row in batches) == sorted(two["label"])
    for rows in (
        two,
        list(stream),
        load_dataset(str(tmp_path / "packed.zip"), split="train"),
        load_dataset(str(tmp_path / "packed.tar.gz"), split="train"),
    ):
        for row, image, label in zip(rows, *made["train"], strict=True):
            assert torch.equal(row["image"], ToTensor()(image)) and row["label"] == label


@pytest.mark.parametrize("compress, in_memory", [(False, 0), (True, 0), (True, 1 << 20)])
def test_shuffled_streams_read_in_threads(tmp_path, monkeypatch, compress, in_memory):
    monkeypatch.setattr("dataset_scripts.core.formats.rows_on_disk.IN_MEMORY", in_memory)
    images, labels = write_set(tmp_path, ("train",), compress=compress, count=2000)["train"]
    stream = load_dataset(str(tmp_path), split="train", streaming=True, transform=None).shuffle(seed=1, buffer_size=100)
    seen = sorted((np.asarray(row["image"]).tobytes(), row["label"]) for row in stream)
    assert seen == sorted((image.tobytes(), label) for image, label in zip(images, labels.tolist()))
    assert len(load_dataset(str(tmp_path), split="train")) == 2000


def test_photos_are_not_idx(tmp_path, save_image):
    save_image(tmp_path / "train-images-idx3" / "1.png")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"no idx")
    assert load_dataset(str(tmp_path), split="train")[0]["image"].shape == (3, 7, 9)


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("images-idx3", lambda c: b"\x01" + c[1:], "images-idx3-ubyte does not start like IDX"),
        ("labels-idx1", lambda c: b"\0\0\x07" + c[3:], "labels-idx1-ubyte does not start like IDX"),
        (
            "images-idx3",
            lambda c: c[:-1],
            r"images-idx3-ubyte: the header gives 39216 bytes, \(70, 28, 20\) of uint8, but the file has 39215",
        ),
        ("images-idx3", lambda c: c + b"\0", "but the file has 39217"),
        ("images-idx3", lambda c: c[:9], "images-idx3-ubyte is cut off in its header"),
        ("images-idx3", lambda c: c[:3] + b"\x02" + c[4:], "the images have the shape|the header gives"),
        (
            "labels-idx1",
            lambda c: struct.pack(">HBBI", 0, 8, 1, 60) + c[8:68],
            "train-images-idx3-ubyte holds 70 images, but train-labels-idx1-ubyte has 60 values of label",
        ),
    ],
)
def test_wrong_files_are_named(tmp_path, name, change, message):
    write_set(tmp_path)
    path = tmp_path / f"train-{name}-ubyte"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        load_dataset("idx", data_dir=str(tmp_path))


def test_cut_off_gzip_and_missing_images(tmp_path):
    write_set(tmp_path, compress=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="train-images-idx3-ubyte.gz: Compressed file ended"):
        load_dataset(str(tmp_path))
    path.unlink()
    with pytest.raises(DataError, match="train-labels-idx1-ubyte.gz has no file of images beside it"):
        load_dataset("idx", data_dir=str(tmp_path))


def test_skipping_labels_that_are_no_class(tmp_path, caplog):
    made = write_set(tmp_path)
    with pytest.raises(DataError, match="labels-idx1-ubyte: label 9 of image .* is not one of the 9 classes, 0..8"):
        load_dataset(str(tmp_path), classes=list("abcdefghi"))
    rows = load_dataset(str(tmp_path), classes=list("abcdefghi"), split="train", on_error="skip")
    keep = made["train"][1] < 9
    check(rows, made["train"][0][keep], made["train"][1][keep])
    assert "10 skipped, such as" in caplog.text
    path = re.search(r"listed in (\S+\.skipped\.txt)", caplog.text)[1]
    assert open(path).read().count("is not one of the 9 classes") == 10


def test_the_card(tmp_path, root, monkeypatch):
    write_set(tmp_path / "path/to/mnist")
    write_set(tmp_path / "path/to/emnist", ("train", "test"), "emnist-letters-")
    write_set(tmp_path / "path/to/emnist", ("train", "test"), "emnist-digits-")
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", (root / "dataset_scripts/layouts/idx/README.md").read_text(), re.DOTALL)[1]
    exec(code, scope := {})
    assert scope["ds"]["train"][0]["image"].shape == (1, 20, 28)
