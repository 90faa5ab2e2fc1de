"""The same boxes written as COCO, VOC and YOLO give the same rows, and so do files that another library converted."""

import json
import os
import subprocess
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pytest
import torch

from dataset_scripts import ToTensor, load_dataset

NAMES = ["ant", "bee", "cat"]
XML = "<annotation><filename>{name}</filename><size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}</annotation>"
CONVERT = """
import sys
from datumaro import Dataset

source, kind, target, to = sys.argv[1:]
Dataset.import_from(source, kind).export(target, to, save_media=True)
"""
OBJECT = "<object><name>{}</name><difficult>0</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


@pytest.fixture
def scenes(save_image, tmp_path):
    """Random boxes of whole pixels: name -> size, boxes, categories; some images have none."""
    rng = np.random.default_rng(21)
    scenes = {}
    for number in range(9):
        width, height = (int(side) for side in rng.integers(30, 70, 2))
        count = number % 4
        corners = np.sort(np.stack([rng.integers(0, width, (count, 2)), rng.integers(0, height, (count, 2))], -1), 1)
        boxes = [[int(x), int(y), int(x2 - x + 1), int(y2 - y + 1)] for (x, y), (x2, y2) in corners]
        scenes[f"{number:03}"] = (width, height, boxes, rng.integers(0, 3, count).tolist() if number else [])
    # The whole image, and single pixels.
    scenes["009"] = (40, 30, [[0, 0, 40, 30], [1, 2, 1, 1], [39, 29, 1, 1]], [0, 1, 2])
    for root, folder in (("coco", "images"), ("voc", "JPEGImages"), ("yolo", "images/train")):
        for name, (width, height, _, _) in scenes.items():
            save_image(tmp_path / root / folder / f"{name}.jpg", (width, height))
    return scenes


@pytest.fixture
def written(scenes, tmp_path):
    """The scenes in the three forms; the folders."""
    images, annotations = [], []
    (tmp_path / "voc/Annotations").mkdir()
    (tmp_path / "voc/ImageSets/Main").mkdir(parents=True)
    (tmp_path / "voc/ImageSets/Main/train.txt").write_text("".join(f"{name}\n" for name in scenes))
    (tmp_path / "yolo/labels/train").mkdir(parents=True)
    (tmp_path / "yolo/data.yaml").write_text(f"path: .\ntrain: images/train\nnames: {NAMES}\n")
    for number, (name, (width, height, boxes, categories)) in enumerate(scenes.items()):
        images.append({"id": number, "file_name": f"{name}.jpg", "width": width, "height": height})
        objects, lines = "", ""
        for (x, y, w, h), category in zip(boxes, categories):
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": 10 * category + 1, "bbox": [x, y, w, h]}
            )
            objects += OBJECT.format(NAMES[category], x + 1, y + 1, x + w, y + h)
            lines += (
                f"{category} {(x + w / 2) / width:.8f} {(y + h / 2) / height:.8f} {w / width:.8f} {h / height:.8f}\n"
            )
        xml = XML.format(name=f"{name}.jpg", width=width, height=height, objects=objects)
        (tmp_path / f"voc/Annotations/{name}.xml").write_text(xml)
        if boxes or number % 2:
            (tmp_path / f"yolo/labels/train/{name}.txt").write_text(lines)
    categories = [{"id": 10 * number + 1, "name": name} for number, name in enumerate(NAMES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "coco/annotations.json").write_text(json.dumps(content))
    return {name: tmp_path / name for name in ("coco", "voc", "yolo")}


def test_three_forms_give_the_same_rows(scenes, written):
    for kind, folder in written.items():
        rows = load_dataset(str(folder), split="train")
        assert rows.features["objects"]["category"].feature.names == NAMES and len(rows) == len(scenes), kind
        for row, (width, height, boxes, categories) in zip(rows, scenes.values()):
            assert row["image"].shape == (3, height, width)
            assert torch.allclose(
                row["objects"]["bbox"].as_subclass(torch.Tensor), torch.tensor(boxes).reshape(-1, 4).float(), atol=1e-4
            )
            assert row["objects"]["category"].tolist() == categories


def test_boxes_that_start_at_0_are_told(written, caplog):
    """VOC counts from 1. Other tools write edges from 0, which would silently move every box by a pixel."""
    path = sorted((written["voc"] / "Annotations").iterdir())[1]
    for start, told in (("7", False), ("0", True), ("0.0", True)):
        path.write_text(XML.format(name="001.jpg", width=0, height=0, objects=OBJECT.format("ant", start, 2, 20, 20)))
        caplog.clear()
        load_dataset(str(written["voc"]), split="train")
        assert (
            "boxes of 1 xml files, such as Annotations/001.xml, start at 0, while VOC starts at 1" in caplog.text
        ) == told
    caplog.clear()
    rows = load_dataset(str(written["voc"]), split="train", one_based=False)
    assert "start at 0" not in caplog.text and rows[1]["objects"]["bbox"].tolist() == [[0, 2, 20, 18]]


def test_the_annotations_of_coco_lie_beside_others(written, caplog):
    """COCO's own folder has stuff_*.json and image_info_*.json, and datumaro writes such files for every set."""
    content = json.loads((written["coco"] / "annotations.json").read_text())
    (written["coco"] / "annotations.json").rename(written["coco"] / "instances_train.json")
    (written["coco"] / "stuff_train.json").write_text(json.dumps(content | {"annotations": content["annotations"][:1]}))
    (written["coco"] / "image_info_train.json").write_text(json.dumps(content | {"annotations": [], "categories": []}))
    rows = load_dataset(str(written["coco"]), split="train")
    assert sum(len(row["objects"]["bbox"]) for row in rows) == len(content["annotations"])
    assert "of instances_train.json, stuff_train.json, only the first is read for train" in caplog.text


@pytest.fixture
def datumaro(tmp_path):
    """Converts a folder from one format to another with datumaro, a library by other authors.

    python -m venv /tmp/datumaro && /tmp/datumaro/bin/pip install datumaro==1.13.12
    DATUMARO=/tmp/datumaro/bin/python python -m pytest tests/test_detection_formats.py
    """
    if not os.environ.get("DATUMARO"):
        pytest.skip(
            "DATUMARO=path/to/python is not given, of an environment of its own with `pip install datumaro==1.13.12`"
        )

    def convert(source, kind, target, to):
        command = [os.environ["DATUMARO"], "-c", CONVERT, source, kind, target, to]
        result = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 0, result.stderr[-3000:]
        return target

    return convert


@pytest.fixture
def two_splits(scenes, save_image, tmp_path):
    """The scenes as COCO, in the folders that datumaro knows."""
    root, categories = tmp_path / "two", [{"id": 10 * number + 1, "name": name} for number, name in enumerate(NAMES)]
    (root / "annotations").mkdir(parents=True)
    for split, names in (("train", sorted(scenes)[:6]), ("val", sorted(scenes)[6:])):
        images, annotations = [], []
        for number, name in enumerate(names, 1):
            width, height, boxes, kinds = scenes[name]
            save_image(root / f"images/{split}/{name}.jpg", (width, height))
            images.append({"id": number, "file_name": f"{name}.jpg", "width": width, "height": height})
            for box, kind in zip(boxes, kinds):
                annotation = {"image_id": number, "category_id": 10 * kind + 1, "bbox": box, "area": box[2] * box[3]}
                annotations.append(annotation | {"id": len(annotations) + 1, "iscrowd": 0, "segmentation": []})
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    return root


def told(rows, originals):
    """Image -> classes and boxes of its objects in a fixed order, as datumaro's differs."""
    names, found = rows.features["objects"]["category"].feature.names, {}
    for row, stored in zip(
        rows, rows.cast_column("image", datasets.Image(decode=False)).with_format(None), strict=True
    ):
        name, boxes = Path(stored["image"]["path"]).stem, row["objects"]["bbox"].numpy()
        assert torch.equal(row["image"], ToTensor()(PIL.Image.open(next(originals.rglob(f"{name}.jpg")))))
        assert np.allclose(boxes, np.rint(boxes), rtol=0, atol=1e-3)
        found[name] = sorted(
            zip([names[place] for place in row["objects"]["category"].tolist()], np.rint(boxes).tolist())
        )
    return found


@pytest.mark.parametrize("kind", ["voc", "yolo", "yolo_ultralytics"])
def test_converted_by_datumaro_and_back(datumaro, two_splits, scenes, tmp_path, kind):
    """Its VOC has edges counted from 0, and no xml file for an image without objects."""
    there = datumaro(two_splits, "coco", tmp_path / kind, kind)
    back = datumaro(there, kind.removesuffix("_ultralytics"), tmp_path / "back", "coco")
    options = {"one_based": False, "on_error": "skip"} if kind == "voc" else {}
    for folder, more in ((two_splits, {}), (there, options), (back, {})):
        sets = load_dataset(str(folder), **more)
        assert list(sets) == ["train", "validation"]
        for split, names in (("train", sorted(scenes)[:6]), ("validation", sorted(scenes)[6:])):
            expected = {
                name: sorted(zip([NAMES[place] for place in scenes[name][3]], scenes[name][2])) for name in names
            }
            if more:
                expected = {name: objects for name, objects in expected.items() if objects}
            assert told(sets[split], two_splits) == expected
        classes = sets["train"].features["objects"]["category"].feature.names
        assert classes == ["background"] * (kind == "voc" and folder == back) + NAMES
