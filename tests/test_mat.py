"""MATLAB files against torchvision's readers of SVHN and Flowers-102."""

import re
import shutil

import numpy as np
import PIL.Image
import pytest
import scipy.io
import torch
import torchvision

from dataset_scripts import DataError, ToTensor, load_dataset


def make(count=20, shape=(12, 9, 3), classes=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), np.uint8), rng.permutation(np.arange(count) % classes)


def check(rows, images, labels):
    for row, image, label in zip(rows, images, labels.tolist(), strict=True):
        assert torch.equal(row["image"], ToTensor()(image)) and row["label"] == label


def write_svhn(folder, splits=("train", "test", "extra"), count=30):
    folder.mkdir(parents=True, exist_ok=True)
    for number, split in enumerate(splits):
        images, labels = make(count + number, (32, 32, 3), 10, number)
        content = {"X": images.transpose(1, 2, 3, 0), "y": np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)}
        scipy.io.savemat(folder / f"{split}_32x32.mat", content, do_compression=number % 2 == 0)


def write_flowers(root, count=40):
    """Photos of different size, split by ids out of order."""
    rng, folder = np.random.default_rng(0), root / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    for number in range(1, count + 1):
        pixels = rng.integers(0, 256, (10 + number % 3, 8, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"jpg/image_{number:05}.jpg")
    labels = rng.integers(1, 103, (1, count)).astype(np.uint8)
    labels[0, :2] = 1, 102
    ids = (rng.permutation(count) + 1).astype(np.uint16)[None]
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": labels})
    scipy.io.savemat(folder / "setid.mat", {"trnid": ids[:, :10], "valid": ids[:, 10:18], "tstid": ids[:, 18:-2]})
    return labels[0], ids[0]


class SVHN(torchvision.datasets.SVHN):
    """torchvision's reader without its md5 of the original files."""

    def _check_integrity(self):
        return True


class Flowers(torchvision.datasets.Flowers102):
    def _check_integrity(self):
        return True


def test_svhn_equal_to_torchvision(tmp_path, caplog):
    write_svhn(tmp_path)
    sets = load_dataset(str(tmp_path))
    assert "read as mat (3 MATLAB files, images in extra_32x32.mat['X'], test_32x32.mat['X']" in caplog.text
    assert list(sets) == ["train", "test", "extra"]
    for split, rows in sets.items():
        assert rows.features["label"].names == list("0123456789")
        for row, (image, label) in zip(rows, SVHN(tmp_path, split, torchvision.transforms.ToTensor()), strict=True):
            assert torch.equal(row["image"], image) and row["label"] == label
    only = load_dataset(str(tmp_path / "extra_32x32.mat"))
    assert list(only) == ["extra"] and list(only["extra"]["label"]) == list(sets["extra"]["label"])


def test_flowers_equal_to_torchvision(tmp_path, caplog):
    labels, ids = write_flowers(tmp_path)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "flowers-102")
    for path in (tmp_path / "flowers-102", tmp_path / "packed.zip"):
        sets = load_dataset(str(path))
        for split, part in (("train", "train"), ("validation", "val"), ("test", "test")):
            theirs = Flowers(tmp_path, part, transform=torchvision.transforms.ToTensor())
            by_path = {path.name: item for path, item in zip(theirs._image_files, theirs, strict=True)}
            stored = (
                sets[split].with_format(None).cast_column("image", type(sets[split].features["image"])(decode=False))
            )
            for row, file in zip(sets[split], stored["image"], strict=True):
                image, label = by_path.pop(file["path"].rpartition("/")[2])
                assert torch.equal(row["image"], image) and row["label"] == label
            assert not by_path
        assert sets["train"].features["label"].names == [str(number) for number in range(1, 103)]
    assert "read as mat (imagelabels.mat and setid.mat beside 40 images)" in caplog.text
    assert "2 other files are ignored, such as jpg/image_" in caplog.text


def test_wrong_flowers_are_named(tmp_path, caplog):
    labels, ids = write_flowers(tmp_path)
    folder = tmp_path / "flowers-102"
    (folder / f"jpg/image_{ids[3]:05}.jpg").unlink()
    with pytest.raises(DataError, match=f"setid.mat: trnid names image {ids[3]}, which has no image"):
        load_dataset(str(folder))
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": np.where(np.arange(40) == ids[5] - 1, 103, labels)})
    rows = load_dataset(str(folder), split="train", on_error="skip")
    kept = sorted(number for number in ids[:10] if number not in (ids[3], ids[5]))
    assert list(rows["label"]) == [labels[number - 1] - 1 for number in kept]
    listed = re.search(r"2 skipped, .* listed in (\S+\.skipped\.txt)", caplog.text)[1]
    assert "which has no image" in open(listed).read() and "label 103 of image" in open(listed).read()
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": labels[:5]})
    with pytest.raises(DataError, match=r"setid.mat: \w+ names image \d+, which has no (label|image)"):
        load_dataset(str(folder))
    scipy.io.savemat(folder / "imagelabels.mat", {"other": labels})
    with pytest.raises(DataError, match="imagelabels.mat has no variable labels"):
        load_dataset(str(folder))


@pytest.mark.parametrize("order", ["HWCN", "NHWC", "NCHW", "HWN", "NHW"])
@pytest.mark.parametrize("first", [0, 1])
def test_orders_of_the_axes(tmp_path, order, first):
    images, labels = make(20, (12, 9, 3) if "C" in order else (12, 9))
    stored = images.transpose(["NHWC".replace("" if "C" in order else "C", "").index(axis) for axis in order])
    scipy.io.savemat(tmp_path / "faces.mat", {"images": stored, "labels": labels + float(first)})
    rows = load_dataset(str(tmp_path), split="train")
    assert rows.features["label"].names == [str(number + first) for number in range(5)]
    check(rows, images, labels)


def test_splits_keys_and_numbers(tmp_path):
    train, test = make(20), make(10, seed=1)
    for split, (images, labels) in (("train", train), ("test", test)):
        scipy.io.savemat(tmp_path / f"{split}.mat", {"faces": images / 255, "who": labels, "note": "text"})
    sets = load_dataset(
        "mat", data_dir=str(tmp_path), image_key="faces", label_key="who", scale=255, classes=list("abcde")
    )
    check(sets["train"], *train)
    check(sets["test"], *test)
    assert sets["test"].features["label"].names == list("abcde")


def test_processes_and_streams(tmp_path):
    write_svhn(tmp_path / "data", ("train",), 100)
    theirs = SVHN(tmp_path / "data", "train")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "data")
    two = load_dataset("mat", data_dir=str(tmp_path / "data"), split="train", num_proc=2)
    assert len(two.cache_files) == 2
    for rows in (
        two,
        load_dataset(str(tmp_path / "data"), split="train", streaming=True),
        load_dataset(str(tmp_path / "packed.zip"), split="train"),
    ):
        check(rows, theirs.data.transpose(0, 2, 3, 1), theirs.labels)


def test_mat_beside_photos_is_something_else(tmp_path, save_image):
    save_image(tmp_path / "cat/1.png")
    scipy.io.savemat(tmp_path / "cat/1.mat", {"images": make()[0], "labels": make()[1]})
    with pytest.raises(DataError, match=r"read as image_folder, .* 1 .mat files in cat/ \(cat/1.mat\)"):
        load_dataset(str(tmp_path))
    assert load_dataset(str(tmp_path), split="train", ignore=["*.mat"])[0]["image"].shape == (3, 7, 9)


@pytest.mark.parametrize(
    "content, message",
    [
        ({"X": np.zeros((20, 12, 3, 20)), "y": np.arange(20)}, None),
        (
            {"X": np.zeros((3, 9, 3, 3)), "y": np.arange(3)},
            r"x.mat\['X'\]: there are images of shape \(3, 9, 3, 3\) and 3 labels: HWCN and NHWC order",
        ),
        (
            {"X": np.zeros((20, 12, 9, 3)), "y": np.arange(19)},
            r"\(20, 12, 9, 3\) and 19 labels: no order of the axes fits",
        ),
        ({"X": np.zeros((20, 12, 9))}, r"\(20, 12, 9\) and no labels: HWN and NHW order"),
        ({"X": np.zeros((20, 12)), "y": np.arange(20)}, r"\(20, 12\) and 20 labels: no order of the axes fits"),
        (
            {"X": np.zeros((20, 12, 9)), "y": np.ones((20, 2))},
            r"x.mat\['y'\]: labels are a vector of numbers, not float64 of shape \(20, 2\)",
        ),
        (
            {"X": np.zeros((20, 12, 9)), "y": np.array([{"a": 1}] * 20)},
            r"x.mat\['y'\]: labels are a vector of numbers, not object",
        ),
        (
            {"foo": np.arange(3)},
            r"no array has a usual name for images, choose one with image_key=…: x.mat\['foo'\] \(1, 3\)",
        ),
    ],
)
def test_wrong_arrays_are_named(tmp_path, content, message):
    scipy.io.savemat(tmp_path / "x.mat", content)
    if message is None:
        with pytest.raises(DataError, match="x.mat, image 0: no image format keeps float64 with channels: pass scale"):
            load_dataset("mat", data_dir=str(tmp_path))
        return
    with pytest.raises(DataError, match=message):
        load_dataset("mat", data_dir=str(tmp_path))


def test_damaged_files(tmp_path):
    write_svhn(tmp_path, ("train",))
    path = tmp_path / "train_32x32.mat"
    whole = path.read_bytes()
    for content in (whole[:5000], whole[:100], b"", b"no MATLAB file" * 20):
        path.write_bytes(content)
        with pytest.raises(
            DataError, match="train_32x32.mat(\\['y'\\])? (cannot be read: |has no variable)|no array has"
        ):
            load_dataset("mat", data_dir=str(tmp_path))
    path.write_bytes(
        b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124)
        + b"\x00\x02IM"
        + b"\0" * 384
        + b"\x89HDF\r\n\x1a\n"
        + b"\0" * 99
    )
    with pytest.raises(
        DataError, match=r"train_32x32.mat has the format of MATLAB 7.3: save it in MATLAB with save\(…, '-v7'\)"
    ):
        load_dataset("mat", data_dir=str(tmp_path))


def test_a_label_out_of_range(tmp_path, caplog):
    images, labels = make(10, (32, 32, 3), 10)
    wrong = np.where(labels == 3, 11, labels)
    scipy.io.savemat(tmp_path / "test_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": wrong[:, None]})
    with pytest.raises(
        DataError, match=r"test_32x32.mat\['y'\]: label 11 of image \d is not one of the 10 classes, 0..9"
    ):
        load_dataset(str(tmp_path))
    rows = load_dataset(str(tmp_path), split="test", on_error="skip")
    check(rows, images[labels != 3], labels[labels != 3])
    assert "1 skipped, such as" in caplog.text


def test_the_card(tmp_path, root, monkeypatch):
    write_svhn(tmp_path / "path/to/svhn")
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", (root / "dataset_scripts/layouts/mat/README.md").read_text(), re.DOTALL)[1]
    exec(code, scope := {})
    assert list(scope["ds"]) == ["test"]
