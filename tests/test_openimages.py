"""Open Images: large tables of boxes in fractions, with ids of images and classes."""

import numpy as np
import pytest
from drawn_rows import objects

from dataset_scripts import DataError, load_dataset
from dataset_scripts.layouts.openimages import openimages

HEAD = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
CLASSES = "/m/011k07,Tortoise\n/m/0199g,Bicycle\n/m/09j2d,Clothing\n"
TRAIN = """000002b66c9c498e,xclick,/m/0199g,1,0.012500,0.195312,0.148438,0.587500,0,1,0,0,0
000002b66c9c498e,activemil,/m/011k07,1,0.500000,1.000000,0.000000,0.250000,1,0,1,0,-1
000002b97e5471a0,xclick,/m/09j2d,1,0.25,0.75,0.5,1,0,0,0,1,1
"""


@pytest.fixture
def written(save_image, write_data, tmp_path):
    data = tmp_path / "data"
    saved = {
        path: save_image(data / path, (64, 48))
        for path in ("train/000002b66c9c498e.jpg", "train/000002b97e5471a0.jpg", "validation/0001eeaf4aed83f9.png")
    }
    write_data(
        {
            "train-annotations-bbox.csv": HEAD + TRAIN,
            "validation-annotations-bbox.csv": HEAD + "0001eeaf4aed83f9,xclick,/m/0199g,1,0,0.5,0,0.5,0,0,0,0,0\n",
            "class-descriptions-boxable.csv": CLASSES,
            "train-images-boxable-with-rotation.csv": "ImageID,Subset,OriginalURL,Rotation\n000002b66c9c498e,train,http://x,\n",
            "train-annotations-human-imagelabels-boxable.csv": "ImageID,Source,LabelName,Confidence\n000002b66c9c498e,verification,/m/0199g,1\n",
            "bbox_labels_600_hierarchy.json": '{"LabelName": "/m/0bl9f", "Subcategory": [{"LabelName": "/m/0199g"}]}',
        }
    )
    return data, saved


def test_rows(written):
    data, saved = written
    sets = load_dataset(str(data))
    assert list(sets) == ["train", "validation"]
    assert sets["train"].features["objects"]["category"].feature.names == ["Bicycle", "Clothing", "Tortoise"]
    found = objects(sets["train"])
    first = found["train/000002b66c9c498e"]
    assert np.allclose(first["bbox"], [[0.8, 7.125024, 11.699968, 21.074976], [32, 0, 32, 12]], atol=1e-5)
    assert np.allclose(first["area"], [11.699968 * 21.074976, 384], rtol=1e-5)
    assert first["category"] == ["Bicycle", "Tortoise"] and first["confidence"] == [1, 1]
    flags = {name: first[name] for name in openimages.FLAGS.values()}
    assert flags == {
        "is_occluded": [False, True],
        "is_truncated": [True, False],
        "is_group_of": [False, True],
        "is_depiction": [False, False],
        "is_inside": [False, None],
    }
    assert found["train/000002b97e5471a0"]["bbox"] == [[16, 24, 32, 24]]
    assert objects(sets["validation"])["validation/0001eeaf4aed83f9"]["bbox"] == [[0, 0, 32, 24]]
    pixels = np.asarray(sets["validation"].with_format(None)[0]["image"])
    assert (pixels == saved["validation/0001eeaf4aed83f9.png"]).all()
    assert objects(load_dataset("openimages", data_dir=str(data), split="train")) == found
    assert objects(load_dataset(str(data), split="train", num_proc=2)) == found


def test_splits_of_tables(save_image, write_data, tmp_path):
    """Images in one folder: the names of the tables tell the splits."""
    for name in ("a1", "b1"):
        save_image(tmp_path / "data/Images" / f"{name}.jpg", (64, 48))
    row = "{},xclick,/m/0199g,1,0,0.5,0,0.5,0,0,0,0,0\n"
    write_data({f"{s}-annotations-bbox.csv": HEAD + row.format(n) for s, n in (("oidv6-train", "a1"), ("test", "b1"))})
    sets = load_dataset(str(tmp_path / "data"))
    assert {split: list(objects(rows)) for split, rows in sets.items()} == {
        "train": ["Images/a1"],
        "test": ["Images/b1"],
    }
    assert sets["train"].features["objects"]["category"].feature.names == ["/m/0199g"]  # no table names the classes


def test_rows_in_any_order_and_of_other_images(written, write_data, caplog):
    data, _ = written
    lines = TRAIN.splitlines(keepends=True)
    other = "ffffffffffffffff,xclick,/m/0199g,1,0,1,0,1,0,0,0,0,0\n"
    before = objects(load_dataset(str(data), split="train"))
    write_data({"train-annotations-bbox.csv": HEAD + "".join([lines[0], other, lines[2], other, lines[1]])})
    assert objects(load_dataset(str(data), split="train")) == before
    assert "2 boxes are on images that are not in" in caplog.text


FAULTS = {
    "000002b97e5471a0,xclick,/m/09j2d,1,0.75,0.25,0.5,1,0,0,0,1,1": "line 5: XMin, YMin, XMax, YMax are",
    "000002b97e5471a0,xclick,/m/09j2d,1,0.25,x,0.5,1,0,0,0,1,1": "line 5: XMin, YMin, XMax, YMax are .*nan",
    "000002b97e5471a0,xclick,/m/09j2d,1,16,48,24,48,0,0,0,1,1": "line 5: .*not the corners of a box in fractions",
    "000002b97e5471a0,xclick,/m/xx,1,0,1,0,1,0,0,0,1,1": "line 5: /m/xx is not in the table of classes",
    "000002b97e5471a0,xclick,/m/09j2d,1,0,1,0,1,2,0,0,1,1": "line 5: .* is not 1, 0 or -1",
    "000002b97e5471a0,xclick,/m/09j2d,1,0,1,0": "7 values, not 13, in the row 000002b97e5471a0",
}


@pytest.mark.parametrize("line", FAULTS)
def test_faults(line, written, write_data):
    data, _ = written
    write_data({"train-annotations-bbox.csv": HEAD + TRAIN + line + "\n"})
    with pytest.raises(DataError, match=FAULTS[line]):
        load_dataset(str(data))
    rows = load_dataset(str(data), split="train", on_error="skip")
    assert list(objects(rows)) == ["train/000002b66c9c498e"]


def test_blocks(written, write_data, monkeypatch):
    """A table is read block by block; an image's rows may lie in several."""
    data, _ = written
    before = objects(load_dataset(str(data), split="train"))
    monkeypatch.setattr(openimages, "BLOCK", 200)
    lines = TRAIN.splitlines(keepends=True)
    write_data({"train-annotations-bbox.csv": HEAD + "".join(lines[:1] + lines[2:] + lines[1:2])})
    assert objects(load_dataset(str(data), split="train")) == before


def test_same_name_twice(written, write_data):
    data, _ = written
    write_data({"class-descriptions-boxable.csv": "LabelName,DisplayName\n" + CLASSES.replace("Tortoise", "Bicycle")})
    names = load_dataset(str(data), split="train").features["objects"]["category"].feature.names
    assert names == ["Bicycle (/m/011k07)", "Bicycle (/m/0199g)", "Clothing"]
