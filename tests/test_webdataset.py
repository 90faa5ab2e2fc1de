"""WebDataset shards against the reader of datasets."""

import io
import json
import tarfile

import datasets
import numpy as np
import PIL.Image
import pytest
import torch

from dataset_scripts import DataError, ToTensor, load_dataset


def png(rng, size=(7, 5)):
    buffer = io.BytesIO()
    PIL.Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix[1:]
    with tarfile.open(path, f"w:{kind}" if kind in ("gz", "xz", "bz2") else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def sample(rng, number, key=None):
    key = key or f"{number:04}"
    return {
        f"{key}.png": png(rng, (5 + number % 4, 6)), f"{key}.cls": str(number * 3 % 7).encode(), f"{key}.txt": f"« {number} »\n".encode(),
        f"{key}.json": json.dumps({"width": number, "tags": ["a", "b"][: number % 3], "ok": number % 2 == 0}).encode(),
    }  # fmt: skip


@pytest.fixture
def shards(tmp_path):
    rng = np.random.default_rng(8)
    root = tmp_path / "shards"
    number = 0
    for name, count in (("train-000.tar", 6), ("train-001.tar", 5), ("val-000.tar", 4)):
        members = {}
        for _ in range(count):
            members |= sample(rng, number)
            number += 1
        write_shard(root / name, members)
    return root


def test_equal_to_the_reader_of_datasets(shards, caplog):
    sets = load_dataset(str(shards))
    assert "read as webdataset (3 tar shards of 15 samples, with 15 .cls, 15 .json, 15 .txt)" in caplog.text
    assert list(sets) == ["train", "validation"] and len(sets["train"]) == 11
    for split, pattern in (("train", "train-*.tar"), ("validation", "val-*.tar")):
        theirs = datasets.load_dataset("webdataset", data_files=str(shards / pattern), split="train", streaming=True)
        for row, other in zip(sets[split], theirs, strict=True):
            assert torch.equal(row["image"], ToTensor()(other["png"]))
            assert row["image_id"] == other["__key__"] and row["label"] == other["cls"]
            assert row["caption"] == other["txt"].strip()
            assert {name: row[name] for name in ("width", "tags", "ok")} == other["json"]
    assert sets["train"].features["label"].names == list("0123456")


def test_with_data_files_the_name_stays_that_of_datasets(shards):
    rows = load_dataset("webdataset", data_files=str(shards / "val-000.tar"), split="train")
    assert rows[0]["png"].shape == (3, 6, 8) and "__key__" in rows.features


def test_streaming_num_proc_and_compressed(shards, tmp_path):
    whole = load_dataset("webdataset", data_dir=str(shards), split="train")
    for path in sorted(shards.iterdir()):
        with tarfile.open(path) as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive}
        write_shard(tmp_path / "gz" / f"{path.name}.gz", members)
    for other in (
        load_dataset(str(shards), split="train", streaming=True),
        load_dataset(str(shards), split="train", num_proc=2, cache_dir=str(tmp_path / "two")),
        load_dataset(str(tmp_path / "gz"), split="train"),
        load_dataset(str(tmp_path / "gz"), split="train", streaming=True),
    ):
        for row, same in zip(whole, other, strict=True):
            assert torch.equal(row.pop("image"), same.pop("image")) and row == same
    single = load_dataset(str(shards / "val-000.tar"), split="train")
    assert len(single) == 4 and single[0]["image_id"] == "0011"


def test_several_images_and_names_of_classes(tmp_path):
    rng = np.random.default_rng(2)
    contents = {}
    members = {}
    for number in range(3):
        for side in ("input", "target"):
            contents[number, side] = members[f"x/{number}.{side}.PNG"] = png(rng)
        members[f"x/{number}.cls"] = str(number).encode()
    write_shard(tmp_path / "a.tar", members)
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\n")
    rows = load_dataset(str(tmp_path), split="train")
    assert rows.features["label"].names == ["ant", "bee", "cat"]
    for number, row in enumerate(rows):
        for side in ("input", "target"):
            assert torch.equal(row[side], ToTensor()(PIL.Image.open(io.BytesIO(contents[number, side]))))
        assert row["image_id"] == f"x/{number}" and row["label"] == number


def test_class_folders_in_a_tar_are_class_folders(tmp_path, caplog):
    rng = np.random.default_rng(3)
    write_shard(tmp_path / "photos.tar", {f"{name}/{number}.png": png(rng) for name in ("cat", "dog") for number in range(2)})
    rows = load_dataset(str(tmp_path / "photos.tar"), split="train")
    assert rows.features["label"].names == ["cat", "dog"] and "read as image_folder" in caplog.text


@pytest.mark.parametrize(
    "change, message, kept",
    [
        ({"0001.cls": b"two"}, "0001.cls: b'two' is no number of a class", 2),
        ({"0001.cls": b"-1"}, "0001.cls: there is no class -1", 2),
        ({"0001.json": b'{"width": '}, "sample a/0001: broken text or json", 2),
        ({"0001.json": b"[1]"}, "sample a/0001: broken text or json: list, not an object", 2),
        ({"0001.txt": b"\xff\xfe"}, "sample a/0001: broken text or json: 'utf-8'", 2),
        ({"0001.png": None}, "sample a/0001 has no image for the column image", 2),
        ({"0001.jpg": b"x"}, "sample a/0001 has two images, a/0001.jpg and a/0001.png", 2),
    ],
)
def test_faults(tmp_path, change, message, kept, caplog):
    rng = np.random.default_rng(4)
    members = sample(rng, 0) | sample(rng, 1) | sample(rng, 2) | change
    write_shard(tmp_path / "a.tar", {name: content for name, content in members.items() if content is not None})
    with pytest.raises(DataError, match=message.replace("[", r"\[")):
        load_dataset(str(tmp_path))
    rows = load_dataset(str(tmp_path), split="train", on_error="skip")
    assert message in caplog.text and "1 skipped, such as:" in caplog.text
    assert len(rows) == kept


def test_fields_of_different_types(tmp_path):
    rng = np.random.default_rng(4)
    write_shard(tmp_path / "a.tar", sample(rng, 0) | sample(rng, 1) | {"0001.json": b'{"width": "wide"}'})
    with pytest.raises(DataError, match="the values of width are of different types over the samples"):
        load_dataset(str(tmp_path))
