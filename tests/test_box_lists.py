"""Lists of images with boxes behind their paths, read as keras-yolo3's own `get_random_data` reads them."""

import numpy as np
import pytest
from drawn_rows import objects

from dataset_scripts import DataError, load_dataset

TRAIN = """imgs/1.jpg 3,4,23,14,1 10,20,15,30,0
/home/me/data/imgs/2.jpg
C:\\data\\imgs\\3.jpg 0,0,40,30,2
"""
CLASSES = "person\nwild dog\ncat\n"


def reference(lines):
    """Path -> boxes and classes: `line.split()`, then `np.array(list(map(int, box.split(","))))`."""
    found = {}
    for line in lines.strip().splitlines():
        name, *boxes = line.split()
        rows = np.array([list(map(int, box.split(","))) for box in boxes]).reshape(-1, 5)
        found[name.replace("\\", "/").rpartition("/")[2].partition(".")[0]] = rows
    return found


@pytest.fixture
def data(save_image, write_data, tmp_path):
    for number in (1, 2, 3, 4):
        save_image(tmp_path / f"data/imgs/{number}.jpg", (40, 30))
    write_data({"train.txt": TRAIN, "2012_val.txt": "imgs/4.jpg 1,2,3,4,0\n", "model_data/my_classes.txt": CLASSES})
    write_data({"model_data/yolo_anchors.txt": "10,13,  16,30,  33,23\n"})
    return tmp_path / "data"


def test_rows(data, caplog):
    sets = load_dataset(str(data))
    assert "read as box_lists" in caplog.text and list(sets) == ["train", "validation"]
    assert sets["train"].features["objects"]["category"].feature.names == CLASSES.strip().split("\n")
    rows = {row["image_id"][5:]: row["objects"] for row in sets["train"].with_format(None)}
    expected = reference(TRAIN)
    assert rows.keys() == expected.keys()
    for name, found in rows.items():
        corners = expected[name][:, :4]
        assert found["category"] == expected[name][:, 4].tolist()
        assert found["bbox"] == np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]).tolist()
    assert objects(sets["validation"]) == {"imgs/4": {"bbox": [[1, 2, 2, 2]], "category": ["person"], "area": [4]}}


def test_classes(data, write_data):
    named = load_dataset("box_lists", data_dir=str(data), classes=["a", "b", "c"], split="train")
    assert objects(named)["imgs/1"]["category"] == ["b", "a"]
    write_data({"voc_classes.txt": "aeroplane\n"})
    with pytest.raises(DataError, match=r"my_classes.txt and voc_classes.txt name different classes: pass classes="):
        load_dataset(str(data))
    (data / "voc_classes.txt").unlink()
    (data / "model_data/my_classes.txt").unlink()
    assert objects(load_dataset(str(data), split="train"))["imgs/1"]["category"] == ["1", "0"]


def test_names_with_blanks(data, write_data):
    (data / "imgs/4.jpg").rename(data / "imgs/my cat.jpg")
    write_data({"2012_val.txt": "imgs/my cat.jpg 1.5,2,3,4,2"})
    assert objects(load_dataset(str(data), split="validation")) == {
        "imgs/my cat": {"bbox": [[1.5, 2, 1.5, 2]], "category": ["cat"], "area": [3]}
    }


FAULTS = {
    "imgs/1.jpg 3,4,23,14": "'?3,4,23,14'? is not a box x1,y1,x2,y2,class",
    "imgs/1.jpg 3,4,23,14,dog": "'?3,4,23,14,dog'? is not a box",
    "imgs/1.jpg 23,4,3,14,1": "the box 23,4,3,14,1 ends before it begins",
    "imgs/1.jpg 3,4,23,14,3": "has the class 3, and there are 3 names",
    "imgs/1.jpg 3,4,63,14,1": "reaches out of the image",
    "imgs/1.jpg 0.1,0.2,0.5,0.9,1": "like fractions of the image",
    "imgs/9.jpg 3,4,23,14,1": "line 1: there is no image imgs/9.jpg",
    "imgs/1 3,4,23,14,1": "line 1: 'imgs/1 3,4,23,14,1' is not the path of an image",
    "imgs/2.jpg 3,4,23,14,1": "imgs/2.jpg is also annotated in train.txt",
}


@pytest.mark.parametrize("line", FAULTS)
def test_faults(line, data, write_data):
    write_data({"train.txt": TRAIN.replace("imgs/1.jpg 3,4,23,14,1 10,20,15,30,0", line)})
    with pytest.raises(DataError, match=FAULTS[line]):
        load_dataset("box_lists", data_dir=str(data))
    rows = load_dataset("box_lists", data_dir=str(data), on_error="skip", split="train")
    assert "imgs/3" in objects(rows) and "imgs/1" not in objects(rows)


def test_the_list_beside_voc(data, write_data):
    """Two formats in one folder: nobody chooses between them but the caller."""
    box = "<bndbox><xmin>4</xmin><ymin>5</ymin><xmax>23</xmax><ymax>14</ymax></bndbox>"
    size = "<size><width>40</width><height>30</height><depth>3</depth></size>"
    head = "<annotation><filename>{}.jpg</filename>{}<object><name>dog</name>{}</object></annotation>"
    write_data({f"Annotations/{number}.xml": head.format(number, size, box) for number in (1, 2, 3, 4)})
    with pytest.raises(DataError, match=r"can be read in several ways, choose one: load_dataset\('box_lists'"):
        load_dataset(str(data))
    assert len(load_dataset("voc", data_dir=str(data), split="train")) == 4
    assert len(load_dataset("box_lists", data_dir=str(data), split="train")) == 3
