"""STL-10 against torchvision's reader."""

import re
import shutil

import numpy as np
import pytest
import torch
import torchvision

from dataset_scripts import DataError, ToTensor, load_dataset

CLASSES = "airplane bird car cat deer dog horse monkey ship truck".split()


def write(root, count=20):
    """Random images, every class, ten folds; split -> (N, 3, 96, 96) as stored, and labels from 1."""
    rng, folder, made = np.random.default_rng(0), root / "stl10_binary", {}
    folder.mkdir(parents=True)
    for split in ("train", "test", "unlabeled"):
        images = rng.integers(0, 256, (count, 3, 96, 96), np.uint8)
        labels = (rng.permutation(count) % 10 + 1).astype(np.uint8)
        images.tofile(folder / f"{split}_X.bin")
        if split != "unlabeled":
            labels.tofile(folder / f"{split}_y.bin")
        made[split] = images, labels
    (folder / "class_names.txt").write_text("\n".join(CLASSES) + "\n")
    folds = [" ".join(map(str, rng.permutation(count)[:7])) for _ in range(10)]
    (folder / "fold_indices.txt").write_text("\n".join(folds) + "\n")
    return made


class Trusting(torchvision.datasets.STL10):
    """torchvision's reader without its md5 of the original files."""

    def _check_integrity(self):
        return True


def test_equal_to_torchvision(tmp_path, caplog):
    write(tmp_path)
    sets = load_dataset(str(tmp_path))
    assert "read as stl (stl10_binary/train_X.bin, stl10_binary/test_X.bin, stl10_binary/unlabeled_X.bin" in caplog.text
    assert list(sets) == ["train", "test", "unlabeled"]
    for split, rows in sets.items():
        theirs = Trusting(tmp_path, split, transform=torchvision.transforms.ToTensor())
        assert rows.features["label"].names == theirs.classes == CLASSES
        for row, (image, label) in zip(rows, theirs, strict=True):
            assert torch.equal(row["image"], image)
            assert row["label"] == (label if label >= 0 else None)


def test_folds(tmp_path):
    write(tmp_path)
    for fold in (0, 9):
        sets = load_dataset(str(tmp_path), fold=fold)
        theirs = Trusting(tmp_path, "train", folds=fold, transform=torchvision.transforms.ToTensor())
        ours = {(row["image"].numpy().tobytes(), row["label"]) for row in sets["train"]}
        assert ours == {(image.numpy().tobytes(), label) for image, label in theirs} and len(ours) == 7
        assert len(sets["test"]) == 20
    with pytest.raises(DataError, match="fold_indices.txt: fold=10 is not one of its folds, 0..9"):
        load_dataset(str(tmp_path), fold=10)
    (tmp_path / "stl10_binary/fold_indices.txt").write_text("0 20\n")
    with pytest.raises(DataError, match="fold_indices.txt: line 1 names images that are not in 0..19"):
        load_dataset(str(tmp_path), fold=0)
    (tmp_path / "stl10_binary/fold_indices.txt").unlink()
    with pytest.raises(DataError, match="has no fold_indices.txt: leave out fold=0"):
        load_dataset(str(tmp_path), fold=0)


def test_processes_streams_and_archives(tmp_path):
    made = write(tmp_path / "data", count=30)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "data")
    shutil.make_archive(str(tmp_path / "data/stl10_binary"), "gztar", tmp_path / "data", "stl10_binary")
    images, labels = made["test"]
    two = load_dataset(str(tmp_path / "data"), split="test", num_proc=2)
    assert len(two.cache_files) == 2
    for rows in (
        two,
        load_dataset(str(tmp_path / "data"), split="test", streaming=True),
        load_dataset(str(tmp_path / "packed.zip"), split="test"),
        load_dataset(str(tmp_path / "data/stl10_binary.tar.gz"), split="test"),
    ):
        for row, image, label in zip(rows, images, labels.tolist(), strict=True):
            assert torch.equal(row["image"], ToTensor()(image.transpose(2, 1, 0))) and row["label"] == label - 1


def test_wrong_files_are_named(tmp_path, caplog):
    made = write(tmp_path)
    folder = tmp_path / "stl10_binary"
    labels = made["train"][1].copy()
    labels[[3, 5]] = 0, 11
    labels.tofile(folder / "train_y.bin")
    with pytest.raises(DataError, match="train_y.bin: label 0 of image 3 is not one of the 10 classes, 1..10"):
        load_dataset(str(tmp_path))
    rows = load_dataset(str(tmp_path), split="train", on_error="skip")
    assert list(rows["label"]) == (np.delete(labels, [3, 5]) - 1).tolist()
    assert torch.equal(rows[4]["image"], ToTensor()(made["train"][0][6].transpose(2, 1, 0)))
    listed = re.search(r"2 skipped, .* listed in (\S+\.skipped\.txt)", caplog.text)[1]
    assert "label 11 of image 5" in open(listed).read()
    labels[:-1].tofile(folder / "train_y.bin")
    with pytest.raises(DataError, match="train_X.bin holds 20 images, but .*train_y.bin has 19 values of label"):
        load_dataset(str(tmp_path))
    (folder / "train_y.bin").unlink()
    with pytest.raises(DataError, match="train_X.bin has no train_y.bin beside it"):
        load_dataset(str(tmp_path))
    (folder / "train_X.bin").write_bytes(b"\0" * 30000)
    with pytest.raises(DataError, match="train_X.bin: 30000 bytes are not a whole number of images of 27648"):
        load_dataset("stl", data_dir=str(tmp_path))


def test_the_card(tmp_path, root, monkeypatch):
    write(tmp_path / "path/to")
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", (root / "dataset_scripts/layouts/stl/README.md").read_text(), re.DOTALL)[1]
    exec(code, scope := {})
    assert len(scope["ds"]["train"]) == 7
