"""CreateML's json, as Roboflow and Apple write it."""

import numpy as np
import pytest
from drawn_rows import objects

from dataset_scripts import DataError, load_dataset

ONE = """[{"image": "1.jpg", "annotations": [
  {"label": "cat", "coordinates": {"x": 13, "y": 9, "width": 20, "height": 10}},
  {"label": "dog", "coordinates": {"x": 12.5, "y": 25, "width": 5, "height": 10}}]},
 {"image": "2.jpg", "annotations": []}]"""
APPLE = """[{"imagefilename": "1.jpg", "annotation": [
  {"coordinates": {"y": 15.0, "x": 20.0, "height": 30.0, "width": 40.0}, "label": "dog"}]},
 {"imagefilename": "2.jpg", "annotation": []}]"""


@pytest.fixture
def written(save_image, write_data, tmp_path):
    saved = {
        f"{split}/{number}": save_image(tmp_path / f"data/{split}/{number}.jpg", (40, 30))
        for split in ("train", "valid")
        for number in (1, 2)
    }
    write_data({"train/_annotations.createml.json": ONE, "valid/_annotations.createml.json": APPLE})
    return tmp_path / "data", saved


def test_rows(written):
    data, saved = written
    sets = load_dataset(str(data))
    assert objects(sets["train"]) == {
        "train/1": {"bbox": [[3, 4, 20, 10], [10, 20, 5, 10]], "category": ["cat", "dog"], "area": [200, 50]},
        "train/2": {"bbox": [], "category": [], "area": []},
    }
    assert objects(sets["validation"]) == {
        "valid/1": {"bbox": [[0, 0, 40, 30]], "category": ["dog"], "area": [1200]},
        "valid/2": {"bbox": [], "category": [], "area": []},
    }
    assert sets["train"].features["objects"]["category"].feature.names == ["cat", "dog"]
    for row in sets["train"].with_format(None):
        assert np.asarray(row["image"]).shape == saved[row["image_id"]].shape
    assert objects(load_dataset("createml", data_dir=str(data))["train"]) == objects(sets["train"])


FAULTS = {
    ('"x": 13', '"x": "13"'): r"1.jpg, object 1: its x is 13, not a number of pixels",
    ('"x": 13, ', ""): r"object 1: its x is None",
    ('"label": "cat", ', ""): r"object 1 has no class",
    ('"width": 20', '"width": -20'): r"object 1: its width or height is negative",
    ('"width": 20', '"width": 60'): r"reaches out of the image",
    ('"x": 13, "y": 9, "width": 20, "height": 10', '"x": 0.3, "y": 0.3, "width": 0.5, "height": 0.3'): "like fractions",
    ('"image": "1.jpg"', '"picture": "1.jpg"'): r"line 1: it has no image or imagefilename",
    ('"image": "1.jpg"', '"image": "3.jpg"'): r"line 1: there is no image 3.jpg",
    ('{"x": 13, "y": 9, "width": 20, "height": 10}', "null"): r"object 1: its x is None",
}


@pytest.mark.parametrize("change", FAULTS)
def test_faults(change, written, write_data):
    data, _ = written
    write_data({"train/_annotations.createml.json": ONE.replace(*change)})
    with pytest.raises(DataError, match=FAULTS[change]):
        load_dataset(str(data))
    rows = load_dataset(str(data), split="train", on_error="skip")
    assert list(objects(rows)) == ["train/2"]


def test_twice_and_broken(written, write_data):
    data, _ = written
    write_data({"train/_annotations.createml.json": ONE.replace("2.jpg", "1.jpg")})
    with pytest.raises(DataError, match="train/1.jpg is also annotated in"):
        load_dataset(str(data))
    write_data({"train/_annotations.createml.json": ONE[:-20]})
    with pytest.raises(DataError, match="_annotations.createml.json, line"):
        load_dataset(str(data))
