"""The same boxes written as COCO, VOC and YOLO give the same rows, and so do files that another library converted."""

import json

import numpy as np
import pytest
import torch

from dataset_scripts import load_dataset

NAMES = ["ant", "bee", "cat"]
XML = "<annotation><filename>{name}</filename><size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}</annotation>"
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
    scenes["009"] = (40, 30, [[0, 0, 40, 30], [1, 2, 1, 1], [39, 29, 1, 1]], [0, 1, 2])  # the whole image, and single pixels
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
            annotations.append({"id": len(annotations), "image_id": number, "category_id": 10 * category + 1, "bbox": [x, y, w, h]})
            objects += OBJECT.format(NAMES[category], x + 1, y + 1, x + w, y + h)
            lines += f"{category} {(x + w / 2) / width:.8f} {(y + h / 2) / height:.8f} {w / width:.8f} {h / height:.8f}\n"
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
            assert torch.allclose(row["objects"]["bbox"].as_subclass(torch.Tensor), torch.tensor(boxes).reshape(-1, 4).float(), atol=1e-4)
            assert row["objects"]["category"].tolist() == categories
