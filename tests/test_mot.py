"""MOTChallenge's sequences of frames."""

import shutil

import numpy as np
import pytest

from dataset_scripts import DataError, load_dataset

GT = "1,1,4,5,20,10,1,1,0.86014\n1,2,1,1,40,30,0,8,1\n3,1,5,6,20.5,10,1,14,0\n"
INI = """[Sequence]
name={}
imDir=img1
frameRate=30
seqLength=3
imWidth=40
imHeight=30
imExt=.jpg
"""


def objects(rows):
    names = rows.features["objects"]["category"].feature
    return {
        row["image_id"]: row["objects"] and row["objects"] | {"category": names.int2str(row["objects"]["category"])}
        for row in rows.remove_columns("image").with_format(None)
    }


@pytest.fixture
def written(save_image, write_data, tmp_path):
    data, saved = tmp_path / "data", {}
    for split, name in (("train", "MOT17-02-DPM"), ("test", "MOT17-01-DPM")):
        for number in (1, 2, 3):
            path = f"{split}/{name}/img1/{number:06}.png"
            saved[f"{name}/{number:06}"] = save_image(data / path, (40, 30))
        write_data(
            {
                f"{split}/{name}/seqinfo.ini": INI.format(name),
                f"{split}/{name}/det/det.txt": "1,-1,1359.1,413.27,120.26,362.77,2.3092\n",
            }
        )
    write_data({"train/MOT17-02-DPM/gt/gt.txt": GT})
    return data, saved


def test_rows(written, tmp_path):
    data, saved = written
    sets = load_dataset(str(data))
    assert list(sets) == ["train", "test"]
    assert sets["train"].features["objects"]["category"].feature.names == ["pedestrian", "distractor", "14"]
    empty = {"bbox": [], "category": [], "area": [], "track_id": [], "visibility": [], "considered": []}
    found = objects(sets["train"])
    assert found == {
        "MOT17-02-DPM/000001": {
            "bbox": [[3, 4, 20, 10], [0, 0, 40, 30]],
            "category": ["pedestrian", "distractor"],
            "area": [200, 1200],
            "track_id": [1, 2],
            "visibility": [np.float32(0.86014), 1],
            "considered": [True, False],
        },
        "MOT17-02-DPM/000002": empty,
        "MOT17-02-DPM/000003": {
            "bbox": [[4, 5, 20.5, 10]],
            "category": ["14"],
            "area": [205],
            "track_id": [1],
            "visibility": [0],
            "considered": [True],
        },
    }
    assert objects(sets["test"]) == {f"MOT17-01-DPM/00000{number}": None for number in (1, 2, 3)}
    for row in (row for rows in sets.values() for row in rows.with_format(None)):
        assert (np.asarray(row["image"]) == saved[row["image_id"]]).all()
    assert objects(load_dataset("mot", data_dir=str(data), split="train")) == found
    shutil.make_archive(str(tmp_path / "MOT17"), "zip", data)
    assert objects(load_dataset(str(tmp_path / "MOT17.zip"), split="train")) == found


def test_mot15(written, write_data):
    """Ten values: the place in the world follows, and there are no classes."""
    data, _ = written
    write_data({"train/MOT17-02-DPM/gt/gt.txt": "1,1,4,5,20,10,1,-1,-1,-1\n2,1,4,5,20,10,1,-8.3,2.5,0\n"})
    said = objects(load_dataset(str(data), split="train"))["MOT17-02-DPM/000002"]
    assert (said["bbox"], said["category"], said["visibility"]) == ([[3, 4, 20, 10]], ["pedestrian"], [None])


def test_cvat(save_image, write_data, tmp_path):
    """CVAT writes one sequence, and the names of its classes."""
    for number in (0, 1):
        save_image(tmp_path / f"data/img1/{number:06}.png", (40, 30))
    write_data({"gt/gt.txt": "1,1,4,5,20,10,1,2,1.0\n0,1,4,5,20,10,1,1,1.0\n", "gt/labels.txt": "zebra\ncat\nemu\n"})
    rows = load_dataset(str(tmp_path / "data"), split="train")
    assert rows.features["objects"]["category"].feature.names == ["zebra", "cat", "emu"]
    assert {name: said["category"] for name, said in objects(rows).items()} == {"000000": ["zebra"], "000001": ["cat"]}


FAULTS = {
    "1,1,4,5,20,10,1,1": "line 4: .* is not frame,id,left,top,width,height,considered,class,visibility",
    "1,1,4,x,20,10,1,1,1": "line 4: 1,1,4,x",
    "1,1,4,5,20,10,0.9,1,1": "line 4: the flag for considered is 0.9",
    "1,1,4,5,20,10,1,-1,1": "line 4: there is no class -1",
    "1,1,4,5,-20,10,1,1,1": "line 4: its width or height is negative",
    "1,1,30,5,20,10,1,1,1": r"object 3 \(pedestrian\): \[29, 4, 20, 10\].*reaches out of the image.*clip",
    "9,1,4,5,20,10,1,1,1": "line 4: there is no image of its frame in train/MOT17-02-DPM/img1/: 9,1,4,5",
}


@pytest.mark.parametrize("line", FAULTS)
def test_faults(line, written, write_data):
    data, _ = written
    write_data({"train/MOT17-02-DPM/gt/gt.txt": GT + line})
    with pytest.raises(DataError, match=FAULTS[line]):
        load_dataset(str(data))
    rows = load_dataset(str(data), split="train", on_error="skip")
    lost = "000001" if line.startswith("1,") else "000009"
    assert list(objects(rows)) == [name for name in map("MOT17-02-DPM/00000{}".format, "123") if lost not in name]


def test_clip_and_sizes(written, write_data):
    data, _ = written
    write_data({"train/MOT17-02-DPM/gt/gt.txt": "1,1,-4,5,20,10,1,1,1\n"})
    said = objects(load_dataset(str(data), split="train", boxes="clip"))["MOT17-02-DPM/000001"]
    assert said["bbox"] == [[0, 4, 15, 10]] and said["area"] == [150]
    write_data({"train/MOT17-02-DPM/seqinfo.ini": INI.format("x").replace("=40", "=1920")})
    with pytest.raises(DataError, match="the image is 1920 x 30 there, and has 40 x 30 pixels"):
        load_dataset(str(data), boxes="clip")
    write_data({"train/MOT17-02-DPM/seqinfo.ini": INI.format("x").replace("=img1", "=frames")})
    with pytest.raises(DataError, match="gt.txt: there are no images in train/MOT17-02-DPM/frames/"):
        load_dataset(str(data), boxes="clip")
    write_data({"train/MOT17-02-DPM/seqinfo.ini": "name=x"})
    with pytest.raises(DataError, match="seqinfo.ini: "):
        load_dataset(str(data))


def test_a_line_of_no_frame(written, write_data):
    """It may be about any frame of the sequence, so none of them is read."""
    data, _ = written
    write_data({"train/MOT17-02-DPM/gt/gt.txt": GT + "x,1,4,5,20,10,1,1,1\n"})
    with pytest.raises(DataError, match="line 4: x,1,4,5,20,10,1,1,1 is not frame,id"):
        load_dataset(str(data))
    with pytest.raises(DataError, match="no image with an annotation"):
        load_dataset(str(data), on_error="skip")
