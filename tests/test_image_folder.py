"""Folders of images against torchvision's reader and against the files themselves."""

import csv
import json
import tarfile

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torchvision

from dataset_scripts import DataError, ToTensor, load_dataset


def labels(rows):
    return [rows.features["label"].int2str(label) for label in rows["label"]]


def test_equal_to_torchvision(tmp_path, save_image):
    for name in ("cat", "train", "Dog", "test"):
        for suffix in ("png", "PNG", "bmp", "Tiff"):
            save_image(tmp_path / "photos" / name / f"{suffix}.{suffix}", size=(5 + len(name), 6))
    ours = load_dataset(str(tmp_path / "photos"), split="train")
    theirs = torchvision.datasets.ImageFolder(tmp_path / "photos", transform=torchvision.transforms.ToTensor())
    assert ours.features["label"].names == theirs.classes  # a class called train or test is a class
    assert len(ours) == len(theirs) == 16
    for ours_row, (image, label) in zip(ours, theirs):
        assert torch.equal(ours_row["image"], image) and ours_row["label"] == label


def test_split_folders_are_splits(tmp_path, save_image):
    for split, names in {"training": ["a", "train"], "val": ["a"], "test": ["b", "train"]}.items():
        for name in names:
            save_image(tmp_path / split / name / "1.png")
    sets = load_dataset(str(tmp_path))
    assert list(sets) == ["train", "validation", "test"]
    assert all(rows.features["label"].names == ["a", "b", "train"] for rows in sets.values())
    assert [labels(rows) for rows in sets.values()] == [["a", "train"], ["a"], ["b", "train"]]
    as_classes = load_dataset("image_folder", data_dir=str(tmp_path), splits=False, class_depth=1, split="train")
    assert labels(as_classes) == ["test", "test", "training", "training", "val"]


def test_nested_classes_keep_their_whole_name(tmp_path, save_image):
    for path in ("bottle/good/1.png", "bottle/bad/1.png", "cable/good/1.png", "cable/2.png"):
        save_image(tmp_path / path)
    rows = load_dataset(str(tmp_path), split="train")
    assert labels(rows) == ["bottle/bad", "bottle/good", "cable", "cable/good"]
    first = load_dataset(str(tmp_path), split="train", class_depth=1)
    assert labels(first) == ["bottle", "bottle", "cable", "cable"]


def test_folders_around_everything_are_no_classes(tmp_path, save_image):
    for path in ("a/cat/1.png", "a/dog/1.png"):
        save_image(tmp_path / "EuroSAT/2750" / path)
    assert labels(load_dataset(str(tmp_path), split="train")) == ["cat", "dog"]
    save_image(tmp_path / "EuroSAT/2750/a-z/1.png")
    assert labels(load_dataset(str(tmp_path), split="train")) == ["a-z", "a/cat", "a/dog"]
    for split in ("train", "val"):
        save_image(tmp_path / "nette" / "imagenette2" / split / "n01" / "1.png")
    sets = load_dataset(str(tmp_path / "nette"))
    assert list(sets) == ["train", "validation"] and labels(sets["train"]) == ["n01"]


def pack(path, folder, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name in names:
            archive.add(folder / name, name)


def test_parts_of_a_set_are_no_classes(tmp_path, save_image, caplog):
    names = [f"{name}/{number}.png" for name in ("cat", "dog/beagle", "owl") for number in range(4)]
    pixels = {name: save_image(tmp_path / "photos" / name) for name in names}
    expected = {name: name.rpartition("/")[0] for name in names}
    for form in ("shard-{:06}", "part{}", "x-{:05}-of-00003", "a/b.{:02}"):
        root = tmp_path / form[:4].strip("/")
        for part in range(3):
            pack(root / f"{form.format(part)}.tar", tmp_path / "photos", names[part::3])
        rows = load_dataset(str(root), split="train")
        assert rows.features["label"].names == ["cat", "dog/beagle", "owl"] and len(rows) == 12
        files = [
            image["path"]
            for image in rows.cast_column("image", datasets.Image(decode=False)).with_format(None)["image"]
        ]
        found = [name for part in range(3) for name in sorted(names[part::3])]
        assert len(files) == 12 and labels(rows) == [expected[name] for name in found]
        for row, name in zip(rows, found):
            assert torch.equal(row["image"], ToTensor()(pixels[name]))
    assert "read as image_folder (12 images in 3 folders; splits: train)" in caplog.text
    for split in ("train", "val"):
        for part in range(2):
            pack(tmp_path / f"splits/{split}_{part}.tar", tmp_path / "photos", names[part::2])
            pack(tmp_path / f"folders/{split}/{part:03}.tar", tmp_path / "photos", names[part::2])
    for root in ("splits", "folders"):
        sets = load_dataset(str(tmp_path / root))
        assert list(sets) == ["train", "validation"] and len(sets["train"]) == len(sets["validation"]) == 12
        assert sets["train"].features["label"].names == ["cat", "dog/beagle", "owl"]


def test_numbered_archives_that_are_classes(tmp_path, save_image):
    """Archives that hold the images themselves, and archives whose names differ in more than a number."""
    for name in ("1.png", "old/2.png", "new/3.png"):
        save_image(tmp_path / "photos" / name)
    for name in ("n01440764", "n02102040"):
        pack(tmp_path / f"imagenet/{name}.tar", tmp_path / "photos", ["1.png"])
    assert load_dataset(str(tmp_path / "imagenet"), split="train").features["label"].names == ["n01440764", "n02102040"]
    for name in ("cat-1", "dog-2"):
        pack(tmp_path / f"animals/{name}.tar", tmp_path / "photos", ["old/2.png", "new/3.png"])
    rows = load_dataset(str(tmp_path / "animals"), split="train")
    assert rows.features["label"].names == ["cat-1/new", "cat-1/old", "dog-2/new", "dog-2/old"]


def test_one_class_and_no_class(tmp_path, save_image):
    save_image(tmp_path / "one" / "train" / "cat" / "1.png")
    save_image(tmp_path / "one" / "test" / "cat" / "1.png")
    assert labels(load_dataset(str(tmp_path / "one"), split="test")) == ["cat"]
    save_image(tmp_path / "heap" / "1.png")
    assert list(load_dataset(str(tmp_path / "heap"), split="train").features) == ["image"]
    assert list(load_dataset(str(tmp_path / "one"), split="train", drop_labels=True).features) == ["image"]


def test_other_files_are_ignored_and_counted(tmp_path, save_image, caplog):
    save_image(tmp_path / "a" / "1.png")
    for name in ("a/._1.png", "a/notes.txt", "Thumbs.db", ".git/x.png", "__MACOSX/a/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    assert len(load_dataset(str(tmp_path), split="train")) == 1
    assert "read as image_folder (1 image in 1 folder;" in caplog.text
    assert "2 other files are of no matter, such as Thumbs.db" in caplog.text


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_metadata_tables(tmp_path, save_image, kind):
    pixels = {f"{n:03}.png": save_image(tmp_path / "all" / f"{n:03}.png") for n in range(6)}
    rows = [
        {"file_name": f"all/{name}", "label": ["zebra", "ant"][n % 2], "caption": f"no {n},\nsays it", "weight": n / 2}
        for n, name in enumerate(pixels)
    ][::-1]
    path = tmp_path / f"metadata.{kind}"
    if kind == "csv":
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    loaded = load_dataset(str(tmp_path), split="train")
    assert loaded.features["label"] == datasets.ClassLabel(names=["ant", "zebra"])
    for number, (row, array) in enumerate(zip(loaded, pixels.values())):
        assert torch.equal(row["image"], ToTensor()(array))
        assert row["caption"] == f"no {number},\nsays it" and row["weight"] == number / 2
        assert row["label"] == [1, 0][number % 2]


def test_metadata_in_split_folders_and_numbers_as_labels(tmp_path, save_image, caplog):
    for split, label in (("train", 7), ("test", 3)):
        save_image(tmp_path / split / "x.png")
        save_image(tmp_path / split / "unlisted.png")
        (tmp_path / split / "metadata.csv").write_text(f"file_name,label,score\nx.png,{label},0.5\n")
    with pytest.raises(DataError, match="2 of 4 images are in no metadata table, such as train/unlisted.png"):
        load_dataset(str(tmp_path))
    sets = load_dataset(str(tmp_path), ignore=["*/unlisted.png"])
    assert sets["train"].features["label"].names == list("01234567")  # a number keeps its value
    assert labels(sets["train"]) == ["7"] and labels(sets["test"]) == ["3"]
    assert "2 files are left out, as ignore=… says" in caplog.text
    skipped = load_dataset(str(tmp_path), on_error="skip")
    assert labels(skipped["train"]) == ["7"] and "2 skipped, such as" in caplog.text


@pytest.mark.parametrize(
    "table, message",
    [
        ("name,label\na.png,1\n", r"metadata.csv has no column file_name \(it has name, label\)"),
        ("file_name\nb.png\n", "metadata.csv, row 1: there is no image b.png"),
        ("file_name\na.png\na.png\n", "metadata.csv, row 2: a.png is listed twice"),
        ("file_name\n../a.png\n", "metadata.csv, row 1: ../a.png leads outside"),
        ("file_name\n/etc/passwd\n", "metadata.csv, row 1: /etc/passwd leads outside"),
        ("file_name,x\na.png\n", "metadata.csv: cannot be read as a table"),
        ("", "metadata.csv: cannot be read as a table"),
    ],
)
def test_wrong_metadata_is_named(tmp_path, save_image, table, message):
    save_image(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path))


def test_wrong_folders_are_named(tmp_path, save_image):
    save_image(tmp_path / "mixed" / "cat" / "1.png")
    save_image(tmp_path / "mixed" / "2.png")
    with pytest.raises(DataError, match="2.png is in no class folder, while others are"):
        load_dataset(str(tmp_path / "mixed"))
    with pytest.raises(DataError, match="2.png is beside the split folders"):
        load_dataset(str(tmp_path / "mixed"), splits=True)
    save_image(tmp_path / "bytes" / "cat" / "1.png")
    (tmp_path / "bytes" / "cat" / "2.png").touch()
    with pytest.raises(DataError, match="cat/2.png is empty"):
        load_dataset(str(tmp_path / "bytes"))
    with pytest.raises(DataError, match="give|data_dir"):
        load_dataset("image_folder")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images for the split train"):
        load_dataset("image_folder", data_dir=str(tmp_path / "empty"))


def test_links_stay_inside(tmp_path, save_image):
    save_image(tmp_path / "secret" / "1.png")
    save_image(tmp_path / "photos" / "cat" / "1.png")
    (tmp_path / "photos" / "kitten").symlink_to(tmp_path / "photos" / "cat")
    assert labels(load_dataset(str(tmp_path / "photos"), split="train")) == ["cat", "kitten"]
    (tmp_path / "photos" / "dog").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match="dog is a link to .*secret, outside of"):
        load_dataset(str(tmp_path / "photos"))
    (tmp_path / "photos" / "dog").unlink()
    (tmp_path / "photos" / "cat" / "loop").symlink_to(tmp_path / "photos")
    with pytest.raises(DataError, match="loop is a link to a folder that contains it"):
        load_dataset(str(tmp_path / "photos"))


def test_the_source_may_go_after_loading(tmp_path, save_image):
    pixels = save_image(tmp_path / "photos" / "cat" / "1.png")
    rows = load_dataset(str(tmp_path / "photos"), split="train")
    (tmp_path / "photos" / "cat" / "1.png").unlink()
    assert torch.equal(rows[0]["image"], ToTensor()(pixels))


def test_num_proc_streaming_and_data_files(tmp_path, save_image):
    for name in "ab":
        for number in range(70):
            save_image(tmp_path / name / f"{number:02}.png", size=(4, 4))
    one = load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / ".one"))
    two = load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / ".two"), num_proc=2)
    assert len(two.cache_files) == 2
    stream = load_dataset(str(tmp_path), split="train", streaming=True)
    assert stream.num_shards >= 64 and stream.features == one.features
    for a, b, c in zip(one, two, stream, strict=True):
        assert torch.equal(a["image"], b["image"]) and torch.equal(a["image"], c["image"])
        assert a["label"] == b["label"] == c["label"]
    files = {"train": str(tmp_path / "a" / "*"), "test": [str(tmp_path / "b" / "0*"), str(tmp_path / "a" / "00.png")]}
    sets = load_dataset("image_folder", data_files=files)
    assert labels(sets["train"]) == ["a"] * 70 and sorted(labels(sets["test"])) == ["a"] + ["b"] * 10


def test_digits_are_those_of_the_file(root):
    import gzip

    with gzip.open(root / "dataset_scripts/digits/digits.csv.gz", "rt") as file:
        lines = [list(map(int, line.split(","))) for line in file]
    sets = load_dataset("digits")
    assert {split: len(rows) for split, rows in sets.items()} == {"train": 1438, "test": 359}
    seen = {split: np.stack([np.round(row["image"].numpy()[0] * 16) for row in rows]) for split, rows in sets.items()}
    found = {tuple(image.ravel().astype(int)) for images in seen.values() for image in images}
    assert found == {tuple(line[:64]) for line in lines} and len(found) == 1797
    by_pixels = {tuple(line[:64]): line[64] for line in lines}
    for split, rows in sets.items():
        assert [by_pixels[tuple(image.ravel().astype(int))] for image in seen[split]] == list(rows["label"])
    counts = np.bincount(sets["test"]["label"])
    assert counts.min() >= 34 and counts.max() <= 37  # a fifth of each class
