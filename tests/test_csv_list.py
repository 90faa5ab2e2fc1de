"""Tables that name images against the csv module, and torchvision's readers of lists."""

import csv
import json
import pickle
import shutil
import subprocess
import sys

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
import torch
import torchvision

from dataset_scripts import DataError, ToTensor, load_dataset
from dataset_scripts.core.builders.tables import read_table
from dataset_scripts.core.files.listing import Files
from dataset_scripts.layouts.csv_list.csv_list import Paths, matches
from dataset_scripts.layouts.csv_list.names import Fit, Places


def write_csv(path, rows, delimiter=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def dogs(tmp_path, save_image):
    """A competition: train/ with labels.csv without suffixes, test/ without labels."""
    pixels = {
        f"{number:03}": save_image(tmp_path / "train" / f"{number:03}.jpg", (8 + number % 3, 6)) for number in range(20)
    }
    for number in range(4):
        save_image(tmp_path / "test" / f"t{number}.jpg")
    rows = [{"id": name, "breed": ["pug", "boxer", "collie"][int(name) % 3]} for name in reversed(pixels)]
    write_csv(tmp_path / "labels.csv", rows)
    write_csv(tmp_path / "sample_submission.csv", [{"id": "t0", "breed": "pug"}])
    return rows


def names_of(rows):
    return [rows.features["label"].int2str(label) for label in rows["label"]]


def test_kaggle(dogs, tmp_path, caplog):
    rows = load_dataset(str(tmp_path), split="train")
    assert "read as csv_list (24 images, named in labels.csv)" in caplog.text
    assert (
        "sample_submission.csv" in caplog.text
        and "no table names the images of test: their columns are None" in caplog.text
    )
    assert rows.features["label"].names == ["boxer", "collie", "pug"]
    assert names_of(rows) == [row["breed"] for row in dogs]
    files = torchvision.datasets.folder.default_loader
    for row, told in zip(rows, dogs):
        image = files(str(tmp_path / "train" / f"{told['id']}.jpg"))
        assert torch.equal(row["image"], torchvision.transforms.functional.to_tensor(image))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "dict", "txt"])
def test_every_kind_of_table(tmp_path, save_image, kind):
    rows = []
    for number in range(9):
        name = f"images/{number % 2}/{number}.png"
        rows.append({"path": name, "class": number % 4, "pixels": save_image(tmp_path / name)})
    told = [{key: row[key] for key in ("path", "class")} for row in rows]
    if kind in ("csv", "tsv"):
        write_csv(tmp_path / f"val_labels.{kind}", told, "\t" if kind == "tsv" else ",")
    elif kind == "jsonl":
        (tmp_path / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    elif kind == "json":
        (tmp_path / "val.json").write_text(json.dumps(told))
    elif kind == "dict":
        (tmp_path / "val.json").write_text(json.dumps({row["path"]: row["class"] for row in told}))
    else:
        (tmp_path / "val.txt").write_text("".join(f"{row['path']} {row['class']}\n" for row in told))
    loaded = load_dataset(str(tmp_path))
    assert list(loaded) == ["validation"] and loaded["validation"].features["label"].names == list("0123")
    for row, same in zip(loaded["validation"], rows, strict=True):
        assert torch.equal(row["image"], ToTensor()(same["pixels"])) and row["label"] == same["class"]


def test_names_of_classes_and_numbers_with_gaps(tmp_path, save_image):
    for number in range(6):
        save_image(tmp_path / f"{number}.png")
    (tmp_path / "train.txt").write_text("".join(f"{number}.png {number % 2 * 2}\n" for number in range(6)))
    assert names_of(load_dataset(str(tmp_path), split="train")) == ["0", "2"] * 3
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\n")
    rows = load_dataset(str(tmp_path), split="train")
    assert rows.features["label"].names == ["ant", "bee", "cat"] and names_of(rows) == ["ant", "cat"] * 3


def test_equal_to_torchvision_on_lists(tmp_path, save_image):
    """DTD: labels/train1.txt names class/image; Food-101: meta/train.txt without suffixes."""
    base = tmp_path / "dtd/dtd"
    for name in ("banded", "dotted", "woven"):
        for number in range(6):
            save_image(base / "images" / name / f"{name}_{number:04}.jpg", (10, 8 + number))
    for place, split in enumerate(("train", "val", "test")):
        lines = [
            f"{name}/{name}_{number:04}.jpg\n"
            for name in ("banded", "dotted", "woven")
            for number in (2 * place, 2 * place + 1)
        ]
        (base / "labels").mkdir(exist_ok=True)
        (base / f"labels/{split}1.txt").write_text("".join(lines))
    sets = load_dataset("csv_list", data_dir=str(base))
    for ours, theirs in (("train", "train"), ("validation", "val"), ("test", "test")):
        expected = torchvision.datasets.DTD(tmp_path, split=theirs)
        assert sets[ours].features["label"].names == expected.classes
        for row, (image, label) in zip(sets[ours], expected, strict=True):
            assert (
                torch.equal(row["image"], torchvision.transforms.functional.to_tensor(image)) and row["label"] == label
            )
    food = tmp_path / "food-101"
    for name in ("apple_pie", "waffles"):
        for number in range(4):
            save_image(food / "images" / name / f"{number}{number}.jpg")
    (food / "meta").mkdir()
    for split, numbers in (("train", (0, 1, 2)), ("test", (3,))):
        told = {name: [f"{name}/{number}{number}" for number in numbers] for name in ("apple_pie", "waffles")}
        (food / f"meta/{split}.json").write_text(json.dumps(told))
        (food / f"meta/{split}.txt").write_text("".join(f"{path}\n" for paths in told.values() for path in paths))
    sets = load_dataset("csv_list", data_dir=str(food))
    for split in ("train", "test"):
        expected = unchecked_food(tmp_path, split)
        for row, (image, label) in zip(sets[split], expected, strict=True):
            assert (
                torch.equal(row["image"], torchvision.transforms.functional.to_tensor(image)) and row["label"] == label
            )


def unchecked_food(root, split):
    return torchvision.datasets.Food101(root, split=split)


def test_other_columns_splits_and_options(tmp_path, save_image):
    rows = []
    for number in range(8):
        save_image(tmp_path / "all" / f"{number:02}.png")
        rows.append(
            {
                "file": f"{number:02}.png",
                "age": number / 2,
                "male": number % 2,
                "smiling": 1 - number % 2,
                "split": ["train", "train", "val", "TEST"][number % 4],
                "note": f"no. {number}",
            }
        )
    write_csv(tmp_path / "list.csv", rows)
    sets = load_dataset(str(tmp_path))
    assert {split: len(part) for split, part in sets.items()} == {"train": 4, "validation": 2, "test": 2}
    assert list(sets["train"].features) == ["image", "age", "male", "smiling", "note"]
    assert sets["train"]["male"][:] == [0, 1, 0, 1] and sets["test"]["note"][:] == ["no. 3", "no. 7"]
    named = load_dataset("csv_list", data_dir=str(tmp_path), image_column="file", label_column="male", split="train")
    assert named.features["label"].names == ["0", "1"] and named["label"][:] == [0, 1, 0, 1]
    chosen = load_dataset("csv_list", data_dir=str(tmp_path), data_files={"test": "list.csv"})
    assert list(chosen) == ["test"] and len(chosen["test"]) == 8


def test_streaming_num_proc_and_zip(dogs, tmp_path):
    whole = load_dataset(str(tmp_path), split="train")
    for name in ("train", "labels.csv"):
        (shutil.copytree if name == "train" else shutil.copy)(
            tmp_path / name, (tmp_path / "z" / name) if name == "train" else tmp_path / "z"
        )
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "z")
    shutil.rmtree(tmp_path / "z")
    for other in (
        load_dataset(str(tmp_path / "packed.zip"), split="train"),
        load_dataset("csv_list", data_dir=str(tmp_path), split="train", streaming=True),
        load_dataset("csv_list", data_dir=str(tmp_path), split="train", num_proc=2),
    ):
        for row, same in zip(whole, other, strict=True):
            assert torch.equal(row["image"], same["image"]) and row["label"] == same["label"]


@pytest.mark.parametrize(
    "row, message",
    [
        ({"id": "999", "breed": "pug"}, "labels.csv, row 21: there is no image 999"),
        ({"id": "../secret", "breed": "pug"}, "labels.csv, row 21: ../secret leads outside of"),
        ({"id": "/etc/passwd", "breed": "pug"}, "labels.csv, row 21: /etc/passwd leads outside of"),
        ({"id": "005", "breed": "pug"}, "labels.csv, row 21: 005 is listed twice"),
        ({"id": "", "breed": "pug"}, "labels.csv, row 21: the name of the image is missing"),
        (
            {"id": "005.JPG", "breed": "pug"},
            "labels.csv, row 21: there is no image 005.JPG, but there is train/005.jpg",
        ),
    ],
)
def test_faults(dogs, tmp_path, row, message, caplog):
    write_csv(tmp_path / "labels.csv", [*dogs, row])
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path))
    rows = load_dataset(str(tmp_path), split="train", on_error="skip")
    assert (
        names_of(rows) == [row["breed"] for row in dogs]
        and "1 skipped, such as:" in caplog.text
        and message in caplog.text
    )


def test_names_that_may_mean_two_files(tmp_path, save_image):
    for folder in ("a", "b"):
        for name in ("1.png", f"only_{folder}.png"):
            save_image(tmp_path / folder / name)
    write_csv(tmp_path / "list.csv", [{"name": name, "label": "x"} for name in ("only_a.png", "only_b.png", "1.png")])
    with pytest.raises(DataError, match="list.csv, row 3: 1.png may be a/1.png or b/1.png: write the whole path"):
        load_dataset(str(tmp_path))
    save_image(tmp_path / "c/2.png")
    save_image(tmp_path / "c/2.bmp")
    write_csv(tmp_path / "list.csv", [{"name": "2", "label": "x"}])
    with pytest.raises(DataError, match="list.csv, row 1: 2 may be c/2.bmp or c/2.png"):
        load_dataset("csv_list", data_dir=str(tmp_path))


def test_names_in_the_folder_of_the_split(tmp_path, save_image):
    pixels = {
        split: [save_image(tmp_path / split / f"{number}.png") for number in range(3)] for split in ("train", "test")
    }
    for split in pixels:
        write_csv(tmp_path / f"{split}.csv", [{"image": f"{number}.png", "label": number} for number in range(3)])
    sets = load_dataset(str(tmp_path))
    for split, arrays in pixels.items():
        assert all(torch.equal(row["image"], ToTensor()(array)) for row, array in zip(sets[split], arrays, strict=True))


def test_a_column_of_splits_and_equal_names_in_their_folders(tmp_path, save_image):
    pixels = {
        split: [save_image(tmp_path / split / f"{number}.png") for number in range(3)] for split in ("train", "val")
    }
    rows = [
        {"image": f"{place}.png", "split": split, "label": f"{split} {place}"} for place in range(3) for split in pixels
    ]
    write_csv(tmp_path / "list.csv", rows)
    sets = load_dataset(str(tmp_path))
    assert list(sets) == ["train", "validation"]
    for ours, split in (("train", "train"), ("validation", "val")):
        assert names_of(sets[ours]) == [f"{split} {number}" for number in range(3)]
        assert all(
            torch.equal(row["image"], ToTensor()(array)) for row, array in zip(sets[ours], pixels[split], strict=True)
        )
    write_csv(tmp_path / "list.csv", [*rows, {"image": "2.png", "split": "val", "label": "again"}])
    with pytest.raises(DataError, match="list.csv, row 7: 2.png is listed twice"):
        load_dataset(str(tmp_path))


def test_folds_are_a_column(tmp_path, save_image):
    """Folds of cross-validation are neither splits nor, even if nothing else could be, the label."""
    for number in range(9):
        save_image(tmp_path / f"{number}.png")
    rows = [{"id": number, "fold": number % 3, "grade": "abc"[number // 3]} for number in range(9)]
    write_csv(tmp_path / "train.csv", [{name: row[name] for name in ("id", "fold")} for row in rows])
    sets = load_dataset(str(tmp_path))
    assert list(sets) == ["train"] and sets["train"].features == {
        "image": datasets.Image(),
        "fold": datasets.Value("int64"),
    }
    assert sets["train"]["fold"][:] == [0, 1, 2] * 3
    write_csv(tmp_path / "train.csv", rows)
    loaded = load_dataset(str(tmp_path), split="train")
    assert names_of(loaded) == list("aaabbbccc") and loaded["fold"][:] == [0, 1, 2] * 3


def test_semicolons_as_in_gtsrb(tmp_path, save_image):
    """A csv in each class folder, with names that occur in other folders too."""
    told = {}
    for number in range(3):
        folder = tmp_path / "GTSRB/Final_Training/Images" / f"{number:05}"
        rows = []
        for place in range(4):
            told[number, place] = save_image(folder / f"00000_{place:05}.ppm", (15 + number, 15 + place))
            rows.append(
                {
                    "Filename": f"00000_{place:05}.ppm",
                    "Width": 15 + number,
                    "Height": 15 + place,
                    "Roi.X1": 5,
                    "Roi.Y1": 5,
                    "Roi.X2": 12,
                    "Roi.Y2": 13,
                    "ClassId": number,
                }
            )
        write_csv(folder / f"GT-{number:05}.csv", rows, ";")
    loaded = load_dataset(str(tmp_path / "GTSRB"), split="train")
    assert list(loaded.features) == ["image", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "label"]
    assert names_of(loaded) == [str(number) for number, _ in told]
    for row, pixels in zip(loaded, told.values(), strict=True):
        assert torch.equal(row["image"], ToTensor()(pixels)) and (row["Height"], row["Width"]) == pixels.shape[:2]


def test_a_type_holds_for_the_whole_column(tmp_path, save_image):
    """The first rows hold whole numbers or nothing, but one much later does not."""
    count = 20_000
    save_image(tmp_path / "0.png")
    told = {"number": "1.5", "text": "a", "late": "x", "whole": "7"}
    lines = ["file,number,text,late,whole", *(f"{number}.png,{number},{number},,{number}" for number in range(count))]
    (tmp_path / "list.csv").write_text("\n".join([*lines, ",".join(["last.png", *told.values()]), ""]))
    table = read_table(Files.of(tmp_path), "list.csv")
    assert [str(kind) for kind in table.schema.types] == ["string", "double", "string", "string", "int64"]
    assert table["text"].to_pylist() == [*map(str, range(count)), "a"] and table["number"].to_pylist() == [
        *range(count),
        1.5,
    ]
    assert table["late"].to_pylist() == [""] * count + ["x"] and table["whole"].to_pylist() == [*range(count), 7]
    (tmp_path / "list.csv").write_bytes("file,label\n0.png,café\n".encode("latin-1"))
    with pytest.raises(DataError, match="list.csv, line 2: it is not in UTF-8: save the file in that encoding"):
        load_dataset(str(tmp_path))


def test_a_split_of_faulty_names_alone(tmp_path, save_image):
    save_image(tmp_path / "0.png")
    save_image(tmp_path / "1.png")
    told = {"0.png": "train", "2.png": "test", "3.png": "test", "1.png": "train"}
    write_csv(tmp_path / "list.csv", [{"image": name, "split": split} for name, split in told.items()])
    with pytest.raises(
        DataError, match="list.csv: no row of the split test can be read, such as there is no image 3.png"
    ):
        load_dataset("csv_list", data_dir=str(tmp_path), image_column="image", on_error="skip")


def test_what_is_not_a_table_of_images(tmp_path, save_image):
    save_image(tmp_path / "x" / "1.png")
    (tmp_path / "numbers.csv").write_text("a,b\n1.5,2\n")
    assert list(load_dataset(str(tmp_path), split="train").features) == ["image", "label"]  # class folders
    with pytest.raises(DataError, match="no table with a column that names its images"):
        load_dataset("csv_list", data_dir=str(tmp_path))
    with pytest.raises(DataError, match="there is no column size"):
        write_csv(tmp_path / "numbers.csv", [{"a": "1.png", "b": 2}])
        load_dataset("csv_list", data_dir=str(tmp_path), label_column="size")


def test_a_large_table_takes_little_memory(tmp_path):
    """Not one Python object per row: finding all of 200,000 names takes a few times the table, in Arrow's memory."""
    paths = [f"train/{number:08}.jpg" for number in range(200_000)]
    places = Places(Files(tmp_path, paths=paths))
    names = pa.array([f"{number:08}" for number in np.random.default_rng(0).permutation(200_000).tolist()])
    before = pa.total_allocated_bytes()
    found, faults = places.find(names, "labels.csv", "train", Fit())
    assert not list(faults)
    assert [paths[number] for number in found.to_pylist()] == [f"train/{name}.jpg" for name in names.to_pylist()]
    assert pa.total_allocated_bytes() - before < 3 * names.nbytes


INDEXED = """
import os, sys
import datasets, pyarrow
from dataset_scripts.layouts.csv_list.csv_list import CsvList, Files, matches
folder = sys.argv[1]
builder = CsvList(data_dir=folder)
builder.files = files = Files(folder, paths=["labels.csv"] + [f"train/{number:08}.jpg" for number in range(600_000)])
assert matches(files)
[train] = builder._split_generators(datasets.DownloadManager())
last = train.gen_kwargs["chunks"][-1][-1]
print(last.samples[len(last.samples) - 1], last.columns["label"][-1], last.columns["age"][-1])
print(pyarrow.default_memory_pool().max_memory() / os.path.getsize(folder + "/labels.csv"))
"""


def test_reading_a_large_table_takes_little_memory(tmp_path, root):
    """All of it, up to the parts for workers, takes less of Arrow's memory than pyarrow.csv.read_csv alone."""
    order = np.random.default_rng(1).permutation(600_000).tolist()
    lines = [f"{number:08},breed_{number % 120:03}_of_dogs,{number / 4}\n" for number in order]
    (tmp_path / "labels.csv").write_text("id,label,age\n" + "".join(lines))
    result = subprocess.run(
        [sys.executable, "-c", INDEXED, str(tmp_path)], capture_output=True, text=True, cwd=root, check=True
    )
    row, ratio = result.stdout.splitlines()
    assert row == f"train/{order[-1]:08}.jpg {order[-1] % 120} {order[-1] / 4}"
    assert float(ratio) < 2.5, ratio


def test_tables_that_name_the_same_images(tmp_path, save_image):
    """Folds, of which DTD has ten: together they would repeat each image, and train on the test images."""
    for number in range(6):
        save_image(tmp_path / "jpg" / f"{number}.png")
    for fold in (1, 2):
        for split, place in (("train", 0), ("test", 1)):
            (tmp_path / f"{split}{fold}.txt").write_text(
                "".join(f"{(n + fold) % 6}.png {n % 2}\n" for n in range(6) if n % 2 == place)
            )
    (tmp_path / "train3.txt").write_text("2.png 0\n")
    with pytest.raises(
        DataError, match=r"train\d.txt and train3.txt both name jpg/2.png for train: choose tables with data_files"
    ):
        load_dataset(str(tmp_path))
    files = {"train": "train1.txt", "test": "test1.txt"}
    sets = load_dataset("csv_list", data_dir=str(tmp_path), data_files=files)
    assert {split: len(rows) for split, rows in sets.items()} == {"train": 3, "test": 3}


def test_the_table_itself_is_wrong(tmp_path, save_image):
    for number in range(4):
        save_image(tmp_path / f"{number}.png")
    table = tmp_path / "list.csv"
    for content, message in (
        ("0.png,a\n1.png,b\n2.png,a\n", "list.csv: its first line names the image 0.png: put a line of column names"),
        ("file,x,x\n0.png,1,2\n", "list.csv has two columns 'x': rename one"),
        ("file,x\n0.png,1\n1.png\n", "list.csv: cannot be read as a table"),
    ):
        table.write_text(content)
        with pytest.raises(DataError, match=message):
            load_dataset(str(tmp_path))
    table.write_text("a,b\n1.5,x\n")
    with pytest.raises(DataError, match=r"list.csv has no column that names images \(it has a, b\)"):
        load_dataset("csv_list", data_dir=str(tmp_path), data_files={"train": "list.csv"})
    with pytest.raises(DataError, match="has no images: pass the folder"):
        load_dataset("csv_list", data_files={"train": str(table)})
    table.unlink()
    for name, content, message in (
        ("train.txt", "0.png 1\n1.png\n", "train.txt, row 2: there is a path without a label, which the others have"),
        ("train.txt", "0.png 1\n1.png 0\n;;\n", "train.txt, row 3: ;; is not a path and a label"),
        ("train.json", '{"0.png": "a", "0.png": "b"}', "train.json, row 2: 0.png is listed twice"),
        ("train.json", '{"0.png": "a", "1.png": ["b"]}', "train.json: cannot be read as a table"),
        ("train.txt", "0.png 1\n1.png 1\n0.PNG 1\n", "train.txt, row 3: there is no image 0.PNG, but there is 0.png"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=message):
            load_dataset(str(tmp_path))
        (tmp_path / name).unlink()


def test_tables_that_do_not_agree(tmp_path, save_image):
    for split, label in (("train", "7"), ("test", "cat")):
        save_image(tmp_path / split / "1.png")
        write_csv(tmp_path / f"{split}.csv", [{"file": "1.png", "label": label}])
    with pytest.raises(DataError, match="the columns of test.csv, train.csv do not agree"):
        load_dataset(str(tmp_path))


def test_names_across_many_folders_and_from_the_tables_folder(tmp_path, save_image):
    for number in range(260):
        save_image(tmp_path / "wide" / f"c{number}" / f"n{number}.png", (3, 2))
    write_csv(tmp_path / "wide/labels.csv", [{"id": f"n{number}", "label": number % 3} for number in range(260)])
    rows = load_dataset(str(tmp_path / "wide"), split="train").with_transform(None)
    assert rows.with_format("arrow")[:]["image"].combine_chunks().field("path").to_pylist() == [
        f"c{n}/n{n}.png" for n in range(260)
    ]
    pixels = {name: save_image(tmp_path / "two" / name / "1.png") for name in "ab"}
    for name in "ab":
        write_csv(tmp_path / "two" / name / "labels.csv", [{"id": "1.png", "label": name}])
    for row, name in zip(load_dataset(str(tmp_path / "two"), split="train"), "ab", strict=True):
        assert torch.equal(row["image"], ToTensor()(pixels[name]))
    up = save_image(tmp_path / "up/images/my cat.png")
    save_image(tmp_path / "up/images/sample_2.png")
    (tmp_path / "up/meta").mkdir()
    (tmp_path / "up/meta/train.txt").write_text("../images/my cat.png, pug\n.\\images\\sample_2.png, boxer\n")
    rows = load_dataset(str(tmp_path / "up"), split="train")
    assert torch.equal(rows[0]["image"], ToTensor()(up)) and names_of(rows) == ["pug", "boxer"]


def test_folders_of_lists_are_classes_of_all_splits(tmp_path, save_image):
    for path in ("train/cat/1.png", "train/cat/2.png", "val/cat/3.png", "val/dog/4.png"):
        save_image(tmp_path / path)
    (tmp_path / "train.txt").write_text("train/cat/1.png\ntrain/cat/2.png\n")
    (tmp_path / "val.txt").write_text("val/cat/3.png\nval/dog/4.png\n")
    sets = load_dataset(str(tmp_path))
    assert [names_of(rows) for rows in sets.values()] == [["cat", "cat"], ["cat", "dog"]]
    (tmp_path / "val.txt").write_text("val/cat/3.png\n")
    assert list(load_dataset(str(tmp_path), split="train").features) == ["image"]  # a single folder is not a class


@pytest.mark.parametrize("kind", ["coco", "yolo", "voc", "captions", "texts", "metadata"])
def test_other_layouts_are_not_matched(tmp_path, save_image, kind):
    for number in range(4):
        save_image(tmp_path / "images" / f"{number}.png")
    lines = "".join(f"images/{number}.png\n" for number in range(4))
    told = {
        "coco": {
            "annotations/instances_train.json": json.dumps(
                {
                    "images": [{"id": 1, "file_name": "0.png", "width": 9, "height": 7}],
                    "annotations": [{"id": 1, "image_id": 1, "bbox": [1, 1, 2, 2]}],
                    "categories": [{"id": 1, "name": "cat"}],
                }
            )
        },
        "yolo": {"train.txt": lines} | {f"labels/{number}.txt": "0 0.5 0.5 0.2 0.2\n" for number in range(4)},
        "voc": {"ImageSets/Main/train.txt": "0\n1\n2\n3\n"},
        "captions": {
            f"images/{number}.json": json.dumps({"file": f"{number}.png", "caption": "a cat"}) for number in range(4)
        },
        "texts": {f"texts/{number}.txt": f"{number}.png\n" for number in range(4)},
        "metadata": {"metadata.csv": "file_name,label\n" + lines.replace("\n", ",1\n")},
    }[kind]
    for name, content in told.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert matches(Files.of(tmp_path)) is None
    for name in told:
        (tmp_path / name).unlink()
    (tmp_path / "train.txt").write_text(lines)  # the same images in a list alone
    assert matches(Files.of(tmp_path)) == "4 images, named in train.txt"


def test_the_example_of_the_card(dogs, tmp_path, root, monkeypatch):
    (tmp_path / "path/to").mkdir(parents=True)
    rows = [{**row, "diagnosis": int(row["id"]) % 2} for row in dogs]
    shutil.copytree(tmp_path / "train", tmp_path / "path/to/data/train")
    write_csv(tmp_path / "path/to/data/fold_1.csv", rows)
    monkeypatch.chdir(tmp_path)
    space = {}
    exec(
        (root / "dataset_scripts/layouts/csv_list/README.md").read_text().split("```python\n")[1].split("```")[0], space
    )
    assert list(space["ds"]) == ["train"] and space["ds"]["train"].features["label"].num_classes == 3


def test_parts_for_workers_are_small(tmp_path):
    rows = Paths([f"train/{number}.jpg" for number in range(10_000)], pa.array(range(9_999, -1, -1), pa.int32()))
    part = pickle.dumps(rows[100:103])
    assert pickle.loads(part) == ["train/9899.jpg", "train/9898.jpg", "train/9897.jpg"] and len(part) < 200


def test_several_labels_in_a_column_stay_text(tmp_path, save_image):
    told = {"a": ["haze water", "haze", "water", "clear water", "clear", "haze clear"], "b": ["cat|dog", "cat"] * 3}
    told["c"] = ["golden retriever", "flat coated retriever"] * 3
    for folder, labels in told.items():
        for number in range(6):
            save_image(tmp_path / folder / f"{number}.png")
        write_csv(
            tmp_path / folder / "train.csv", [{"image": number, "label": label} for number, label in enumerate(labels)]
        )
    for folder in "ab":
        assert load_dataset(str(tmp_path / folder), split="train")["label"][:] == told[folder]
    assert names_of(load_dataset(str(tmp_path / "c"), split="train")) == told["c"]


def test_an_index_beside_the_names(tmp_path, save_image, caplog):
    """As pandas writes tables: a column without a name, whose numbers could also be stems."""
    for number in range(6):
        save_image(tmp_path / f"{number}.png")
    lines = [f"{number},{5 - number}.png,{'ab'[number % 2]}\n" for number in range(6)]
    (tmp_path / "train.csv").write_text(",filename,class\n" + "".join(lines))
    rows = load_dataset(str(tmp_path), split="train")
    assert "read as csv_list" in caplog.text and names_of(rows) == list("ababab") and rows[""][:] == list(range(6))
    stored = load_dataset(str(tmp_path), split="train", transform=None).cast_column(
        "image", datasets.Image(decode=False)
    )
    assert [row["path"] for row in stored["image"]] == [f"{5 - number}.png" for number in range(6)]


def test_a_json_list_with_objects_in_its_rows(tmp_path):
    for number in range(3):
        PIL.Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
    rows = [{"name": f"{number}.png", "camera": {"iso": 100, "at": {"x": number}}} for number in range(3)]
    (tmp_path / "list.json").write_text(json.dumps(rows))
    loaded = load_dataset(
        "csv_list", data_dir=str(tmp_path), split="train", transform=None, cache_dir=str(tmp_path / "cache")
    )
    assert [row["camera"]["at"]["x"] for row in loaded] == [0, 1, 2]


NAMES = {  # how a table may name SET/images/1.jpg: the form, the separator, the encoding, and what the log says of it
    "of another machine": ("/home/me/set/images/{0}.jpg", ",", "utf-8", "without 4 folders in front"),
    "of Windows": ("C:\\me\\images\\{0}.jpg", ",", "utf-8", "without 2 folders in front"),
    "the own folder": ("SET/images/{0}.jpg", ",", "utf-8", "without 1 folder in front"),
    "another suffix": ("{0}.png", ",", "utf-8", "with another suffix"),
    "another case": ("{0}.JPG", ",", "utf-8", "with another suffix"),
    "tabs": ("{0}.jpg", "\t", "utf-8", ""),
    "pipes": ("{0}.jpg", "|", "utf-8", ""),
    "blanks": ("{0}.jpg", ", ", "utf-8", ""),
    "UTF-16": ("{0}.jpg", ",", "utf-16", ""),
}


@pytest.mark.parametrize("form", NAMES)
def test_a_table_is_not_dropped_for_its_form(tmp_path, save_image, caplog, form):
    name, mark, encoding, said = NAMES[form]
    lines = [mark.join(("path", "label"))]
    for number in range(1, 5):
        save_image(tmp_path / f"SET/images/{number}.jpg")
        lines.append(mark.join((name.format(number), ("cat", "dog")[number % 2])))
    (tmp_path / "SET/labels.csv").write_bytes(("\n".join(lines) + "\n").encode(encoding))
    rows = load_dataset(str(tmp_path / "SET"), split="train")
    assert names_of(rows) == ["dog", "cat", "dog", "cat"] and rows.features["label"].names == ["cat", "dog"]
    assert ("its names of images are read" in caplog.text) == bool(said) and said in caplog.text


def test_a_table_that_names_more_than_is_there(tmp_path, save_image):
    for number in (1, 2):
        save_image(tmp_path / f"{number}.jpg")
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{n}.jpg,{'ab'[n % 2]}\n" for n in range(1, 9)))
    with pytest.raises(DataError, match="labels.csv, row 3: there is no image '?3.jpg"):
        load_dataset(str(tmp_path))
    assert names_of(load_dataset(str(tmp_path), split="train", on_error="skip")) == ["b", "a"]


def test_whole_numbers_keep_their_values(tmp_path, save_image):
    for number in range(3):
        save_image(tmp_path / f"{number}.png")
    (tmp_path / "labels.csv").write_text("file,label\n0.png,0.0\n1.png,2.0\n2.png,4.0\n")
    rows = load_dataset(str(tmp_path), split="train")
    assert rows["label"][:] == [0, 2, 4] and rows.features["label"].names == list("01234")


def test_several_captions_of_an_image(tmp_path, save_image):
    """The tables of Flickr30k and Flickr8k."""
    for folder, table, text in (
        ("30k", "results.csv", "image_name| comment_number| comment\n1.jpg| 0| a b\n1.jpg| 1| c\n2.jpg| 0| d\n"),
        ("8k", "captions.txt", "image,caption\n1.jpg,a b\n1.jpg,c\n2.jpg,d\n"),
    ):
        for number in (1, 2):
            save_image(tmp_path / folder / f"Images/{number}.jpg")
        (tmp_path / folder / table).write_text(text)
        rows = load_dataset(str(tmp_path / folder), split="train")
        assert rows["captions"][:] == [["a b", "c"], ["d"]] and set(rows.features) == {"image", "captions"}


def test_lists_of_celeba(tmp_path, save_image):
    """A count above the names of the columns, and a partition beside it, which is the split."""
    for number in (1, 2, 3):
        save_image(tmp_path / f"images/00000{number}.jpg")
    (tmp_path / "list_attr.txt").write_text("3\nBald Male\n000001.jpg -1  1\n000002.jpg  1  1\n000003.jpg  1 -1\n")
    (tmp_path / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n")
    sets = load_dataset(str(tmp_path))
    assert {split: (rows["Bald"][:], rows["Male"][:]) for split, rows in sets.items()} == {
        "train": ([-1], [1]),
        "validation": ([1], [1]),
        "test": ([1], [-1]),
    }
    (tmp_path / "list_attr.txt").write_text("4\nBald Male\n000001.jpg -1  1\n000002.jpg  1  1\n000003.jpg  1 -1\n")
    with pytest.raises(DataError, match="its first line counts 4 rows, and there are 3"):
        load_dataset(str(tmp_path))


def test_text_is_no_class_and_boxes_are_no_text(tmp_path, save_image):
    for number in (1, 2):
        save_image(tmp_path / f"{number}.jpg")
    (tmp_path / "list.lst.txt").write_text("1.jpg 1,2,3,4,0\n2.jpg 1,2,3,4,0 2,3,4,5,1\n")
    with pytest.raises(DataError, match="has boxes behind its paths"):
        load_dataset("csv_list", data_dir=str(tmp_path))
