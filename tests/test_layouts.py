"""What all layouts have in common: detection, listing once, and batches of their rows."""

import importlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from dataset_scripts import DataError, ToTensor, load_dataset
from dataset_scripts.core.builders.layout import Rows
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.files.splits import split_in, split_name
from dataset_scripts.core.formats.json_stream import elements
from dataset_scripts.core.image.collate import detection_collate, pad_collate
from dataset_scripts.core.image.objects import object_features
from dataset_scripts.core.load.detect import declared, detect
from dataset_scripts.core.load.script import bundled_layouts, bundled_names, find_script

sys.path.append(str(Path(__file__).parent / "fuzz"))
from targets import EXAMPLES  # noqa: E402

LISTED = """
import os, sys
folder, seen = sys.argv[1], []
def hook(event, args):
    if event in ("os.scandir", "os.listdir") and str(args[0]).startswith(folder):
        seen.append(str(args[0]))
from dataset_scripts import load_dataset
sys.addaudithook(hook)
rows = load_dataset(folder, split="train")
print(len(rows), sorted(seen) == sorted(set(seen)), len(seen))
"""


def test_a_folder_is_listed_once(tmp_path, save_image, root):
    for name in "abc":
        save_image(tmp_path / "photos" / name / "1.png")
    result = subprocess.run(
        [sys.executable, "-c", LISTED, str(tmp_path / "photos")], capture_output=True, text=True, cwd=root
    )
    assert result.stdout.split() == ["3", "True", "4"], result.stderr


@pytest.fixture
def sets(tmp_path):
    """Layout -> its small example, for each layout that declares its suffixes."""
    folders = {}
    for example in EXAMPLES.values():
        if example.reader not in bundled_layouts() or example.reader in folders:
            continue
        if "SUFFIXES" not in declared(find_script(example.reader)):
            continue
        folders[example.reader] = tmp_path / example.reader
        for path, content in example.make().items():
            (folders[example.reader] / path).parent.mkdir(parents=True, exist_ok=True)
            (folders[example.reader] / path).write_bytes(content)
    return folders


def test_a_layout_is_asked_wherever_it_would_match(sets):
    """The line SUFFIXES agrees with `matches`, for the sets of all layouts, in upper case too."""
    said = {name: declared(find_script(name)) for name in bundled_names()}
    without = {name for name, each in said.items() if "SUFFIXES" in each} - sets.keys()
    assert not without, f"give {', '.join(without)} an @example in tests/fuzz"
    modules = {name: importlib.import_module(find_script(name).module_name()) for name in said}
    layouts = {name: module for name, module in modules.items() if hasattr(module, "matches")}
    for name, module in layouts.items():
        assert said[name] == {key: getattr(module, key) for key in ("PRECEDENCE", "SUFFIXES") if hasattr(module, key)}
    for upper in (False, True):
        for kind, folder in sets.items():
            for path in list(folder.rglob("*")) if upper else ():
                if path.is_file():
                    path.rename(path.with_suffix(path.suffix.upper()))
            files = Files.of(folder)
            matching = {name: module.PRECEDENCE for name, module in layouts.items() if module.matches(files)}
            found = detect(files)
            assert (found.name if found else None) == max(matching, key=matching.get, default=None)
            assert upper or found.name == kind


def test_only_layouts_that_may_match_are_imported(tmp_path, save_image, root):
    save_image(tmp_path / "photos/a/1.png")
    program = (
        "import sys; from dataset_scripts import load_dataset; load_dataset(sys.argv[1]); names = set(sys.modules);"
        "print('dataset_scripts.layouts.image_folder.image_folder' in names, "
        "*(f'dataset_scripts.{name}.{name}' in names for name in ('hdf5', 'coco', 'digits')), 'scipy' in names)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "photos")], capture_output=True, text=True, cwd=root
    )
    assert result.stdout.split() == ["True", "False", "False", "False", "False"], result.stderr


def test_parts_of_columns_are_pickled_without_the_rest():
    columns = {
        "label": pa.array(np.arange(100_000)),
        "text": pa.array([f"text {number}" for number in range(100_000)]),
        "boxes": pa.array([[number] * 4 for number in range(100_000)]),
    }
    whole = Rows(list(range(100_000)), columns)
    part = Rows(whole.samples[500:510], {name: column.slice(500, 10) for name, column in columns.items()})
    content = pickle.dumps(part)
    assert len(content) < 3000 and pickle.loads(content) == part
    assert pickle.loads(pickle.dumps(whole)) == whole


@pytest.mark.parametrize("processes", [None, 2])
def test_a_split_of_faulty_rows_alone_is_an_error(tmp_path, save_image, processes):
    for split in ("train", "test"):
        for number in range(4):
            save_image(tmp_path / "set" / split / "a" / f"{number}.png")
    for number in range(4):
        (tmp_path / "set/test/a" / f"{number}.png").write_bytes(b"\x89PNG")
    for _ in range(2):  # the cache has nothing left that the second load would use
        with pytest.raises(
            DataError, match=r"set: no row of the split test can be read: see .*\.skipped\.txt"
        ) as caught:
            load_dataset(str(tmp_path / "set"), on_error="skip", num_proc=processes)
        with open(str(caught.value).rpartition("see ")[2]) as file:
            assert len(file.readlines()) == 4
    save_image(tmp_path / "set/test/a/3.png")
    sets = load_dataset(str(tmp_path / "set"), on_error="skip", num_proc=processes)
    assert {split: len(rows) for split, rows in sets.items()} == {"train": 4, "test": 1}


def test_two_layouts_in_one_folder(tmp_path, save_image):
    save_image(tmp_path / "images/train/1.png", (40, 30))
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/1.txt").write_text("0 0.5 0.5 0.25 0.2\n")
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [cat]\n")
    content = {
        "images": [{"id": 1, "file_name": "1.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [15, 12, 10, 6]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "instances_train.json").write_text(json.dumps(content))
    with pytest.raises(
        DataError, match=r"several ways, choose one: load_dataset\('coco', .*; load_dataset\('yolo', "
    ) as caught:
        load_dataset(str(tmp_path))
    assert "instances_train.json" in str(caught.value) and "data.yaml" in str(caught.value)
    boxes = [
        load_dataset(name, data_dir=str(tmp_path), split="train")[0]["objects"]["bbox"] for name in ("coco", "yolo")
    ]
    assert torch.equal(*boxes) and boxes[0].tolist() == [[15, 12, 10, 6]]


def test_on_error_is_for_layouts(tmp_path, root):
    with pytest.raises(DataError, match=r"coco is a layout.*data_dir='path/to/data'.*'\./coco'"):
        load_dataset("coco")
    with pytest.raises(DataError, match="digits.py has no option on_error"):
        load_dataset("digits", on_error="skip")
    (tmp_path / "x.txt").write_text("text\n")
    with pytest.raises(DataError, match="on_error='skip' is for the layouts of this package"):
        load_dataset(str(tmp_path), on_error="skip")
    with pytest.raises(DataError, match="on_error='ignore' should be 'raise' .* or 'skip'"):
        load_dataset("image_folder", data_dir=str(root / "tests"), on_error="ignore")


@pytest.mark.parametrize(
    "name, split",
    [
        ("train2017", "train"),
        ("instances_val2014.json", "validation"),
        ("Training", "train"),
        ("dev", "validation"),
        ("test-dev2017", "validation"),
        ("latest", None),
        ("trainval", None),
        ("trainA", "train"),
        ("a_test_b", "test"),
    ],
)
def test_words_for_splits(name, split):
    assert split_in(name) == split


def test_names_of_splits_are_allowed():
    assert [split_name(name) for name in ("VAL", "test-dev 1", "möwe", "--")] == [
        "validation",
        "test_dev_1",
        "möwe",
        "train",
    ]


@pytest.mark.parametrize("block", [1, 2, 7, 1000])
@pytest.mark.parametrize("indent", [None, 1])
def test_json_elements_equal_those_of_json_load(tmp_path, monkeypatch, block, indent):
    monkeypatch.setattr("dataset_scripts.core.formats.json_stream.BLOCK", block)
    whole = {
        "a": [{"x": i / 7, "s": 'é"}]\\ 𝄞', "deep": [[i], {}]} for i in range(50)],
        "n": -12.5,
        "none": [],
        "o": {"]": "["},
        "z": None,
    }
    (tmp_path / "x.json").write_bytes(
        b"\xef\xbb\xbf" + json.dumps(whole, indent=indent, ensure_ascii=bool(indent)).encode()
    )
    read = {key: [] if isinstance(value, list) else None for key, value in whole.items()}
    with open(tmp_path / "x.json", "rb") as file:
        for key, value, text, line in elements(file, "x.json"):
            assert value == json.loads(text) and (indent is None or line > 1)
            if isinstance(whole[key], list):
                read[key].append(value)
            else:
                read[key] = value
    assert read == whole


@pytest.fixture
def detections(save_image):
    """Two images of different size, with two objects and none, and masks."""
    rng = np.random.default_rng(3)
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "mask": datasets.Image(),
            "objects": object_features(["a", "b"], area=datasets.Value("float32"), iscrowd=datasets.Value("bool")),
            "image_id": datasets.Value("int64"),
        }
    )
    rows = [
        {
            "image": rng.integers(0, 256, (height, width, 3), np.uint8),
            "mask": rng.integers(0, 250, (height, width), np.uint8),
            "objects": {"bbox": boxes, "category": [1] * len(boxes), "area": [1.0] * len(boxes), "iscrowd": crowds},
            "image_id": width,
        }
        for width, height, boxes, crowds in (
            (20, 12, [[1, 2, 3, 4], [0, 0, 20, 12], [5, 5, 0, 4]], [False, True, False]),
            (9, 16, [], []),
        )
    ]
    return rows, datasets.Dataset.from_list(rows, features=features).with_transform(ToTensor())


def test_rows_go_into_v2_transforms(detections):
    raw, rows = detections
    for source, row in zip(raw, rows):
        assert isinstance(row["image"], tv_tensors.Image) and isinstance(row["mask"], tv_tensors.Mask)
        assert np.array_equal(row["mask"], source["mask"]) and row["mask"].dtype == torch.int64
        flipped = v2.RandomHorizontalFlip(1.0)(row)
        height, width = source["mask"].shape
        assert np.array_equal(flipped["mask"], source["mask"][:, ::-1])
        assert torch.equal(flipped["image"], row["image"].flip(-1))
        assert [box[0] for box in flipped["objects"]["bbox"].tolist()] == [
            width - b[0] - b[2] for b in source["objects"]["bbox"]
        ]
        assert row["objects"]["bbox"].canvas_size == (height, width)
        assert row["objects"]["iscrowd"].dtype == torch.bool and row["objects"]["category"].dtype == torch.int64


def test_padded_batches(detections):
    raw, rows = detections
    batch = pad_collate([rows[0], rows[1]])
    assert batch["image"].shape == (2, 3, 16, 20) and batch["mask"].shape == (2, 16, 20)
    for number, source in enumerate(raw):
        height, width = source["mask"].shape
        assert batch["image_size"][number].tolist() == [height, width]
        assert torch.equal(batch["image"][number, :, :height, :width], ToTensor()(source["image"]))
        assert batch["image"][number].sum() == batch["image"][number, :, :height, :width].sum()
        assert np.array_equal(batch["mask"][number, :height, :width], source["mask"])
        assert (batch["mask"][number, height:] == 255).all() and (batch["mask"][number, :, width:] == 255).all()
    assert batch["image_id"].tolist() == [20, 9] and len(batch["objects"]) == 2


def test_detection_batches(detections):
    _, rows = detections
    loader = torch.utils.data.DataLoader(rows, batch_size=2, collate_fn=detection_collate, num_workers=1)
    images, targets = next(iter(loader))
    assert [image.shape for image in images] == [(3, 12, 20), (3, 16, 9)]
    assert targets[0]["boxes"].tolist() == [[1, 2, 4, 6]]  # neither the crowd nor the box without area
    assert targets[0]["labels"].tolist() == [2] and targets[1]["boxes"].shape == (0, 4)
    assert type(images[0]) is torch.Tensor and type(targets[0]["boxes"]) is torch.Tensor
