"""HDF5 files against torchvision's reader of PatchCamelyon and the arrays that were saved."""

import re
import shutil

import datasets
import h5py
import numpy as np
import pytest
import torch
import torchvision

from dataset_scripts import DataError, ToTensor, load_dataset
from dataset_scripts.layouts.hdf5 import hdf5


def make(count=20, shape=(12, 9), classes=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), np.uint8), rng.permutation(np.arange(count) % classes)


def write(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array


def check(rows, images, labels):
    for row, image, label in zip(rows, images, labels.tolist(), strict=True):
        assert torch.equal(row["image"], ToTensor()(image)) and row["label"] == label


def write_pcam(folder, count=20):
    folder.mkdir(parents=True)
    for number, split in enumerate(("train", "valid", "test")):
        images, labels = make(count + number, (96, 96, 3), 2, number)
        stem = f"camelyonpatch_level_2_split_{split}"
        with h5py.File(folder / f"{stem}_x.h5", "w") as file:
            file.create_dataset("x", data=images, chunks=(7, 96, 96, 3), compression="gzip")
        write(folder / f"{stem}_y.h5", y=labels.astype(np.uint8)[:, None, None, None])
    write(folder / "camelyonpatch_level_2_split_train_mask.h5", mask=images[..., :1])


def test_pcam_equal_to_torchvision(tmp_path, caplog):
    write_pcam(tmp_path / "pcam")
    sets = load_dataset(str(tmp_path))
    assert "read as hdf5 (7 datasets in 7 HDF5 files, images in" in caplog.text
    assert "1 arrays are left out, such as pcam/camelyonpatch_level_2_split_train_mask.h5['mask']" in caplog.text
    for split, part in (("train", "train"), ("validation", "val"), ("test", "test")):
        theirs = torchvision.datasets.PCAM(tmp_path, part, transform=torchvision.transforms.ToTensor())
        assert sets[split].features["label"].names == ["0", "1"]
        for row, (image, label) in zip(sets[split], (theirs[n] for n in range(len(theirs))), strict=True):
            assert torch.equal(row["image"], image) and row["label"] == label


@pytest.mark.parametrize(
    "names", [("x_train", "y_train"), ("train__images", "train__labels"), ("images", "labels"), ("X", "y")]
)
def test_names(tmp_path, names):
    images, labels = make()
    write(tmp_path / "a.hdf5", **dict(zip(names, (images, labels))))
    for path in (tmp_path, tmp_path / "a.hdf5"):
        sets = load_dataset(str(path))
        assert list(sets) == ["train"]
        check(sets["train"], images, labels)


def test_splits_in_groups_and_files(tmp_path):
    train, val = make(), make(9, seed=1)
    write(tmp_path / "a/x.h5", train__x=train[0], train__y=train[1], val__x=val[0], val__y=val[1])
    for split, (images, labels) in (("train", train), ("val", val)):
        write(tmp_path / f"b/{split}.h5", images=images, labels=labels)
    for folder in "ab":
        sets = load_dataset(str(tmp_path / folder))
        check(sets["train"], *train)
        check(sets["validation"], *val)


def test_blocks_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "BLOCK", 1000)
    images, labels = make(50)
    for chunks in (None, (1, 12, 9), (7, 4, 9), (64, 12, 9), (50, 12, 9)):
        path = tmp_path / f"{chunks}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=images, chunks=chunks, maxshape=(None, 12, 9) if chunks else None)
            file["labels"] = labels
        rows = load_dataset(str(path), split="train")
        check(rows, images, labels)
        stream = load_dataset(str(path), split="train", streaming=True).shuffle(seed=1, buffer_size=1)
        by_label = sorted((row["label"], row["image"].numpy().tobytes()) for row in stream)
        assert by_label == sorted((row["label"], row["image"].numpy().tobytes()) for row in rows)


def test_kinds_of_labels_and_of_images(tmp_path):
    images, _ = make(4, (3, 8, 9))
    for labels, feature, stored in (
        (["b", "a", "é", "a"], datasets.ClassLabel(names=["a", "b", "é"]), [1, 0, 2, 0]),
        (np.array([b"b", b"a", b"c", b"a"]), datasets.ClassLabel(names=["a", "b", "c"]), [1, 0, 2, 0]),
        (np.array([0.5, 2, 3, 4]), datasets.Value("float64"), [0.5, 2, 3, 4]),
        (np.eye(4, 3), datasets.List(datasets.Value("float64"), length=3), np.eye(4, 3).tolist()),
    ):
        write(tmp_path / "a.h5", images=images, labels=labels)
        rows = load_dataset(str(tmp_path), split="train")
        assert rows.features["label"] == feature and list(rows["label"]) == stored
        for row, image in zip(rows, images):
            assert torch.equal(row["image"], ToTensor()(image.transpose(1, 2, 0)))
    write(tmp_path / "a.h5", faces__photo=images / 255, faces__who=np.arange(4))
    rows = load_dataset(
        str(tmp_path / "a.h5"),
        split="train",
        image_key="faces/photo",
        label_key="faces/who",
        scale=255,
        classes=list("abcd"),
    )
    check(rows, images.transpose(0, 2, 3, 1), np.arange(4))
    assert rows.features["label"].names == list("abcd")


def test_processes_streams_and_zips(tmp_path):
    images, labels = make(300)
    write(tmp_path / "data/a.h5", images=images, labels=labels)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "data")
    two = load_dataset("hdf5", data_dir=str(tmp_path / "data"), split="train", num_proc=2)
    assert len(two.cache_files) == 2
    stream = load_dataset(str(tmp_path / "data"), split="train", streaming=True)
    for rows in (two, stream, load_dataset(str(tmp_path / "packed.zip"), split="train")):
        check(rows, images, labels)
    # The workers start after this process has opened the file.
    batches = list(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2))
    assert sorted(row["label"] for row in batches) == sorted(labels.tolist())


def test_other_files_are_something_else(tmp_path, save_image):
    save_image(tmp_path / "cat/1.png")
    write(tmp_path / "weights.h5", images=make()[0])
    with pytest.raises(DataError, match=r"read as image_folder, .* 1 .h5 files \(weights.h5\)"):
        load_dataset(str(tmp_path))
    assert len(load_dataset(str(tmp_path), split="train", ignore=["weights.h5"])) == 1
    write(tmp_path / "model/weights.h5", layer__kernel=np.zeros((3, 3, 3, 8)), layer__bias=np.zeros(8))
    with pytest.raises(DataError, match=r"no array has a usual name for images, .*: .*\['layer/bias'\] \(8,\)"):
        load_dataset("hdf5", data_dir=str(tmp_path / "model"), image_key="x")


def test_nothing_is_read_from_other_files(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(200)) * 10)
    images, labels = make()
    write(tmp_path / "secret.h5", images=images)
    folder = tmp_path / "data"
    write(folder / "a.h5", y=labels)
    with h5py.File(folder / "a.h5", "a") as file:
        file.create_dataset("images", (20, 10, 10), "u1", external=[(str(secret), 0, 2000)])
    with pytest.raises(DataError, match=r"a.h5: images keeps its numbers in another file, which is never opened"):
        load_dataset(str(folder))
    write(folder / "a.h5", y=labels)
    with h5py.File(folder / "a.h5", "a") as file:
        virtual = h5py.VirtualLayout((20, 12, 9), "u1")
        virtual[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "images", (20, 12, 9))
        file.create_virtual_dataset("images", virtual)
    with pytest.raises(DataError, match=r"a.h5: images keeps its numbers in another file"):
        load_dataset(str(folder))
    write(folder / "a.h5", y=labels)
    with h5py.File(folder / "a.h5", "a") as file:
        file["images"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "images")
    with pytest.raises(DataError, match=r"no array has a usual name for images"):
        load_dataset("hdf5", data_dir=str(folder))


def test_wrong_files_are_named(tmp_path, caplog):
    images, labels = make(200)
    path = tmp_path / "a.h5"
    write(path, images=images, labels=labels[:-1])
    with pytest.raises(DataError, match=r"a.h5 holds 200 images, but a.h5\['labels'\] has 199 values of label"):
        load_dataset(str(tmp_path))
    write(path, images=images[:, :, 0], labels=labels)
    with pytest.raises(DataError, match=r"a.h5\['images'\]: the images have the shape \(200, 12\)"):
        load_dataset("hdf5", data_dir=str(tmp_path))
    for content in (path.read_bytes()[:900], b"no HDF5 file"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="a.h5 cannot be read: "):
            load_dataset("hdf5", data_dir=str(tmp_path))
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, chunks=(10, 12, 9), compression="gzip")
        file["labels"] = labels
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(15)
    content[chunk.byte_offset + 20 : chunk.byte_offset + 60] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.h5, image \d+: "):
        load_dataset(str(tmp_path))
    write(tmp_path / "b.h5", images=images, labels=labels)
    rows = load_dataset(str(tmp_path / "b.h5"), split="train", classes=list("abcd"), on_error="skip")
    check(rows, images[labels < 4], labels[labels < 4])
    listed = re.search(r"40 skipped, .* listed in (\S+\.skipped\.txt)", caplog.text)[1]
    assert "b.h5['labels']: label 4 of image" in open(listed).read()


def test_the_card(tmp_path, root, monkeypatch):
    write_pcam(tmp_path / "path/to/pcam")
    write(tmp_path / "path/to/data.h5", group__faces=make()[0], group__who=make()[1])
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", (root / "dataset_scripts/layouts/hdf5/README.md").read_text(), re.DOTALL)[
        1
    ]
    exec(code, scope := {})
    check(scope["ds"]["train"], *make())
