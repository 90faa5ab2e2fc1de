"""BDD100K's json of frames, in its first form and in Scalabel's."""

import json

import numpy as np
import pytest
from drawn_rows import objects

from dataset_scripts import DataError, load_dataset

CAR = {
    "category": "car",
    "attributes": {"occluded": True, "truncated": False, "trafficLightColor": "none"},
    "manualShape": True,
    "manualAttributes": True,
    "box2d": {"x1": 3.25, "y1": 4.5, "x2": 23.25, "y2": 14.5},
    "id": 17,
}
LIGHT = {
    "category": "traffic light",
    "attributes": {"occluded": False, "truncated": False, "trafficLightColor": "green"},
    "manualShape": True,
    "manualAttributes": True,
    "box2d": {"x1": 0, "y1": 0, "x2": 5, "y2": 10},
    "id": 18,
}
AREA = {
    "category": "drivable area",
    "attributes": {"areaType": "direct"},
    "manualShape": True,
    "manualAttributes": True,
    "poly2d": [
        {"vertices": [[2, 20], [12, 20], [12, 26], [8, 29], [4, 29]], "types": "LLCCC"[:2] + "LLL", "closed": True}
    ],
    "id": 19,
}
LANE = {
    "category": "lane",
    "attributes": {"direction": "parallel", "style": "solid", "type": "road curb"},
    "poly2d": [{"vertices": [[0, 10], [10, 10], [20, 10], [30, 25]], "types": "LCCC", "closed": False}],
    "id": 20,
}


def frame(name, **more):
    about = {"weather": "rainy", "scene": "city street", "timeofday": "night"}
    return {"name": name, "attributes": about, "timestamp": 10000, **more}


@pytest.fixture
def written(save_image, write_data, tmp_path):
    data = tmp_path / "data"
    for path in ("train/a.jpg", "train/b.jpg", "train/c.jpg", "val/d.jpg", "test/e.jpg"):
        save_image(data / "images/100k" / path, (40, 30))
    frames = [frame("a.jpg", labels=[CAR, LIGHT]), frame("b.jpg", labels=None), frame("c.jpg")]
    write_data(
        {
            "labels/bdd100k_labels_images_train.json": json.dumps(frames, indent=4),
            "labels/bdd100k_labels_images_val.json": json.dumps([frame("d.jpg", labels=[CAR])]),
        }
    )
    return data


def test_boxes(written):
    sets = load_dataset(str(written))
    assert list(sets) == ["train", "validation", "test"]
    train = sets["train"]
    assert train.features["objects"]["category"].feature.names == ["car", "traffic light"]
    found = objects(train)
    assert found["images/100k/train/a"] == {
        "bbox": [[3.25, 4.5, 20, 10], [0, 0, 5, 10]],
        "category": ["car", "traffic light"],
        "area": [200, 50],
        "id": ["17", "18"],
        "occluded": [True, False],
        "truncated": [False, False],
        "trafficLightColor": ["none", "green"],
    }
    assert found["images/100k/train/b"]["bbox"] == found["images/100k/train/c"]["bbox"] == []
    assert train[0]["attributes"] == {"weather": "rainy", "scene": "city street", "timeofday": "night"}
    assert list(objects(sets["validation"])) == ["images/100k/val/d"]
    assert (
        sets["test"].with_format(None)[0]["objects"] is None and sets["test"].with_format(None)[0]["attributes"] is None
    )
    assert objects(load_dataset("bdd", data_dir=str(written), split="train")) == found


def test_one_folder(save_image, write_data, tmp_path):
    """Names of the files tell the splits; Scalabel's form, with sizes."""
    for name in ("a", "b"):
        save_image(tmp_path / f"data/imgs/{name}.jpg", (40, 30))
    size = {"width": 40, "height": 30}
    scalabel = {
        "frames": [frame("a.jpg", labels=[CAR | {"id": "7"}], size=size, videoName=None)],
        "config": {"imageSize": size, "categories": [{"name": "car"}]},
        "groups": [],
    }
    write_data(
        {"ann/det_train.json": json.dumps(scalabel), "ann/det_val.json": json.dumps([frame("b.jpg", labels=[LIGHT])])}
    )
    sets = load_dataset(str(tmp_path / "data"))
    assert {split: list(objects(rows)) for split, rows in sets.items()} == {
        "train": ["imgs/a"],
        "validation": ["imgs/b"],
    }
    assert objects(sets["train"])["imgs/a"]["id"] == ["7"]
    scalabel["frames"][0]["size"]["width"] = 1280
    write_data({"ann/det_train.json": json.dumps(scalabel)})
    with pytest.raises(DataError, match="the image is 1280 x 30 there, and has 40 x 30 pixels"):
        load_dataset(str(tmp_path / "data"))


def test_polygons(written, write_data):
    write_data({"labels/bdd100k_labels_images_val.json": json.dumps([frame("d.jpg", labels=[CAR, AREA, LANE])])})
    said = objects(load_dataset(str(written), split="validation"))["images/100k/val/d"]
    assert said["bbox"] == [[3.25, 4.5, 20, 10], [2, 20, 10, 9], [0, 10, 30, 15]]
    assert said["polygon"][1] == [2, 20, 12, 20, 12, 26, 8, 29, 4, 29]
    x, y = np.array([[2, 12, 12, 8, 4], [20, 20, 26, 29, 29]])
    assert said["area"] == [200, sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2, 0]
    points = np.array(said["polygon"][2]).reshape(-1, 2)
    t = np.linspace(0, 1, 10_001)[:, None]
    p = np.array([[0, 10], [10, 10], [20, 10], [30, 25]])
    curve = (1 - t) ** 3 * p[0] + 3 * t * (1 - t) ** 2 * p[1] + 3 * t**2 * (1 - t) * p[2] + t**3 * p[3]
    assert np.linalg.norm(points[:, None] - curve, axis=2).min(1).max() < 0.01
    assert (points[0] == [0, 10]).all() and (points[-1] == [30, 25]).all()
    assert said["areaType"] == [None, "direct", None] and said["style"] == [None, None, "solid"]


FAULTS = {
    ('"x2": 23.25', '"x2": 1'): "a.jpg, object 1: x2 or y2 of its box2d is less than x1 or y1",
    ('"x2": 23.25', '"x2": "23"'): "object 1: its x2 is 23, not a number of pixels",
    ('"x2": 23.25', '"x2": 99'): "reaches out of the image",
    ('"box2d"', '"box3d"'): "object 1 has neither box2d nor poly2d, but category, attributes",
    ('"category": "car",', ""): "object 1 has no class",
    ('"name": "a.jpg"', '"name": "q.jpg"'): "line 2: there is no image q.jpg",
    ('"labels": [', '"labels": ['[:-1] + "[[1], "): r"object 1 is \[1\], not a label",
}


@pytest.mark.parametrize("change", FAULTS)
def test_faults(change, written, write_data):
    path = written / "labels/bdd100k_labels_images_train.json"
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(DataError, match=FAULTS[change]):
        load_dataset(str(written))
    rows = load_dataset(str(written), split="train", on_error="skip")
    assert list(objects(rows)) == ["images/100k/train/b", "images/100k/train/c"]


@pytest.mark.parametrize(
    "part, message",
    [
        ({"vertices": [[0, 1], [2, 3]], "types": "LC", "closed": False}, "a curve that is not"),
        ({"vertices": [[0, 1], [2, 3]], "types": "LQ", "closed": False}, "2 vertices of the types LQ"),
        ({"vertices": [[0, 1], [2, "x"]], "types": "LL", "closed": False}, "a vertex that is not two numbers"),
        ({"vertices": "none", "types": "LL"}, "the vertices of its poly2d are none"),
        ({"vertices": [[0, 1], [2, 3]], "types": "LL", "closed": True}, "is a polygon of 2 points"),
    ],
)
def test_faults_of_polygons(part, message, written, write_data):
    write_data(
        {"labels/bdd100k_labels_images_val.json": json.dumps([frame("d.jpg", labels=[LANE | {"poly2d": [part]}])])}
    )
    with pytest.raises(DataError, match=message):
        load_dataset(str(written))
