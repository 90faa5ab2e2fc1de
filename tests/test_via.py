"""VGG Image Annotator: its project, json and csv."""

import json

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from drawn_rows import objects
from pycocotools import mask as mask_tools

from dataset_scripts import DataError, load_dataset

RECT = {"name": "rect", "x": 3, "y": 4, "width": 20, "height": 10}
CIRCLE = {"name": "circle", "cx": 20, "cy": 15, "r": 5.5}
ELLIPSE = {"name": "ellipse", "cx": 20, "cy": 15, "rx": 8, "ry": 4, "theta": 0.6}
POLYGON = {"name": "polygon", "all_points_x": [2, 12, 12], "all_points_y": [3, 3, 9]}
LINE = {"name": "polyline", "all_points_x": [2, 12, 5], "all_points_y": [3, 3, 9]}
POINT = {"name": "point", "cx": 7, "cy": 8}
SETTINGS = {"ui": {"image": {"region_label": "type"}}, "core": {"filepath": {}}, "project": {"name": "p"}}
HEAD = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"


def region(shape, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes}


def entry(name, *regions):
    return {
        f"{name}{777}": {
            "filename": name,
            "size": 777,
            "regions": list(regions),
            "file_attributes": {"caption": "", "public_domain": "no", "image_url": ""},
        }
    }


@pytest.fixture
def data(save_image, tmp_path):
    for name in ("imgs/1.jpg", "imgs/2.jpg"):
        save_image(tmp_path / "data" / name, (40, 30))
    return tmp_path / "data"


SHAPES = entry("1.jpg", *(region(shape, type="cat") for shape in (RECT, CIRCLE, ELLIPSE, POLYGON)))
SHAPES |= entry("2.jpg")


def project(said):
    return {
        "_via_settings": SETTINGS,
        "_via_img_metadata": said,
        "_via_attributes": {"region": {"type": {"type": "text"}}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(said),
    }


@pytest.mark.parametrize("kind", ["export", "project", "via 1", "csv", "csv of via 1"])
def test_shapes(kind, data, write_data):
    if kind.startswith("csv"):
        lines = ["#" * (kind != "csv") + HEAD]
        for said in SHAPES.values():
            rows = said["regions"] or [{"shape_attributes": {}, "region_attributes": {}}]
            for number, each in enumerate(rows):
                cells = [json.dumps(each[key]) for key in ("shape_attributes", "region_attributes")]
                quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
                values = [said["filename"], 777, '"{}"', len(said["regions"]), number, *quoted]
                lines.append(",".join(map(str, values)) + "\n")
        write_data({"via_region_data.csv": "".join(lines)})
    else:
        said = json.loads(json.dumps(SHAPES))
        if kind == "via 1":
            for each in said.values():
                each["regions"] = {str(number): shape for number, shape in enumerate(each["regions"])}
        write_data({"via_region_data.json": json.dumps(project(said) if kind == "project" else said)})
    rows = load_dataset(str(data), split="train")
    assert rows.features["objects"]["category"].feature.names == ["cat"]
    found = objects(rows)
    assert found["imgs/2"]["bbox"] == []
    one = found["imgs/1"]
    assert one["bbox"][0] == [3, 4, 20, 10] and one["polygon"][0] == [3, 4, 23, 4, 23, 14, 3, 14]
    assert np.allclose(one["bbox"][1], [14.5, 9.5, 11, 11], atol=0.02)
    half = np.hypot([8 * np.cos(0.6), 8 * np.sin(0.6)], [4 * np.sin(0.6), 4 * np.cos(0.6)])  # of a turned ellipse
    assert np.allclose(one["bbox"][2], [*([20, 15] - half), *(2 * half)], atol=0.05)
    assert one["bbox"][3] == [2, 3, 10, 6] and one["polygon"][3] == [2, 3, 12, 3, 12, 9]
    assert np.allclose(one["area"], [200, np.pi * 5.5**2, np.pi * 32, 30], rtol=0.003)
    assert objects(load_dataset("via", data_dir=str(data), split="train")) == found


def test_masks(data, write_data):
    write_data({"via.json": json.dumps(SHAPES)})
    said = objects(load_dataset(str(data), split="train", masks=True))["imgs/1"]
    y, x = np.mgrid[:30, :40] + 0.5
    u, v = (x - 20) * np.cos(0.6) + (y - 15) * np.sin(0.6), (y - 15) * np.cos(0.6) - (x - 20) * np.sin(0.6)
    drawn = [
        (x > 3) & (x < 23) & (y > 4) & (y < 14),
        (x - 20) ** 2 + (y - 15) ** 2 < 5.5**2,
        (u / 8) ** 2 + (v / 4) ** 2 < 1,
    ]
    polygon = PIL.Image.new("1", (40, 30))
    PIL.ImageDraw.Draw(polygon).polygon([(2, 3), (12, 3), (12, 9)], fill=1)
    for code, mask in zip(said["segmentation"], [*drawn, np.asarray(polygon)]):
        assert (mask_tools.decode(code) != mask).sum() <= 18  # pixels on the border


def test_lines_and_points(data, write_data):
    write_data({"via.json": json.dumps(entry("1.jpg", region(LINE), region(POINT)) | entry("2.jpg"))})
    said = objects(load_dataset(str(data), split="train"))["imgs/1"]
    assert said == {
        "bbox": [[2, 3, 10, 6], [7, 8, 0, 0]],
        "category": ["object", "object"],
        "area": [0, 0],
        "polygon": [[2, 3, 12, 3, 5, 9], [7, 8]],
    }
    with pytest.raises(DataError, match=r"1.jpg, object 1 \(object\) is a line: masks=True takes"):
        load_dataset(str(data), masks=True)


def test_labels(data, write_data):
    """The only attribute of all regions is the category, and the others are columns."""
    flags = {"torn": True, "wet": False, "old": True}
    one = entry("1.jpg", region(RECT, kind="cat", age="3", look=flags), region(RECT, kind="dog", age=""))
    write_data({"via.json": json.dumps(one | entry("2.jpg", region(RECT, kind="dog")))})
    found = objects(load_dataset(str(data), split="train"))
    assert found["imgs/1"] == {
        "bbox": [[3, 4, 20, 10]] * 2,
        "category": ["cat", "dog"],
        "area": [200, 200],
        "age": ["3", None],
        "look": ["torn, old", None],
    }
    single = objects(load_dataset(str(data), split="train", label_key=""))
    assert single["imgs/1"]["category"] == ["object"] * 2 and single["imgs/1"]["kind"] == ["cat", "dog"]


def test_label_keys(data, write_data):
    both = [region(RECT, kind="cat", color="red"), region(RECT, kind="dog", color="blue")]
    write_data({"via.json": json.dumps(entry("1.jpg", *both) | entry("2.jpg"))})
    with pytest.raises(DataError, match="all regions have color, kind: pass label_key=…, one of kind, color"):
        load_dataset(str(data))
    said = objects(load_dataset(str(data), split="train", label_key="color"))["imgs/1"]
    assert said["category"] == ["red", "blue"] and said["kind"] == ["cat", "dog"]
    with pytest.raises(DataError, match="label_key='size': the regions have kind, color"):
        load_dataset(str(data), label_key="size")
    write_data(
        {"via.json": json.dumps(entry("1.jpg", region(RECT, kind="cat"), region(RECT, color="a")) | entry("2.jpg"))}
    )
    with pytest.raises(DataError, match="no attribute is one of all regions: pass label_key="):
        load_dataset(str(data))
    with pytest.raises(DataError, match="1.jpg, region 2 has no kind: give it one, or pass label_key="):
        load_dataset(str(data), label_key="kind")
    write_data({"via.json": json.dumps(entry("1.jpg", region(RECT, kind={"cat": True})) | entry("2.jpg"))})
    with pytest.raises(DataError, match="its kind is a checkbox of several options, cat, .*label_key="):
        load_dataset(str(data))


FAULTS = {
    ("rect", "square"): "region 1: its shape is square, none of rect",
    ('"x": 3', '"x": null'): "region 1: its x is None, not a number of pixels",
    ('"width": 20', '"width": -1'): "region 1: its width or height is negative",
    ('"width": 20', '"width": 60'): "reaches out of the image.*clip",
    ('"r": 5.5', '"r": -5'): "region 2: its radius is negative",
    ("[2, 12, 12]", "[2, 12]"): "region 4: its all_points_x and all_points_y are not equally many numbers",
    (
        '"all_points_x": [2, 12, 12], "all_points_y": [3, 3, 9]',
        '"all_points_x": [2], "all_points_y": [3]',
    ): "polygon of 1 points",
    ('"filename": "1.jpg"', '"filename": "9.jpg"'): "there is no image 9.jpg",
    ('"filename": "1.jpg"', '"filename": ""'): "it has no filename, the name of an image",
}


@pytest.mark.parametrize("change", FAULTS)
def test_faults(change, data, write_data):
    write_data({"via.json": json.dumps(SHAPES).replace(*change, 1)})
    with pytest.raises(DataError, match=FAULTS[change]):
        load_dataset(str(data))
    assert list(objects(load_dataset(str(data), split="train", on_error="skip"))) == ["imgs/2"]


TABLE_FAULTS = {
    '1.jpg,777,"{}",1,0,"{""name""","{}"': "line 2, region_shape_attributes",
    '1.jpg,777,"{}",2,0,"{""name"":""point"",""cx"":1,""cy"":1}","{}"': "1.jpg has 1 rows, and region_count 2",
    '1.jpg,777,"{}",1,0': "line 2: 5 values, not 7",
}


@pytest.mark.parametrize("line", TABLE_FAULTS)
def test_faults_of_tables(line, data, write_data):
    write_data({"via.csv": f'{HEAD}{line}\n2.jpg,777,"{{}}",0,0,"{{}}","{{}}"\n'})
    with pytest.raises(DataError, match=TABLE_FAULTS[line]):
        load_dataset(str(data))
    assert list(objects(load_dataset(str(data), split="train", on_error="skip"))) == ["imgs/2"]


def test_clip(data, write_data):
    wide = {"name": "rect", "x": 30, "y": 20, "width": 30, "height": 30}
    write_data({"via.json": json.dumps(entry("1.jpg", region(wide)) | entry("2.jpg"))})
    assert objects(load_dataset(str(data), split="train", boxes="clip"))["imgs/1"]["bbox"] == [[30, 20, 10, 10]]
    apart = {"name": "polygon", "all_points_x": [50, 60, 60], "all_points_y": [3, 3, 9]}
    write_data({"via.json": json.dumps(entry("1.jpg", region(apart)) | entry("2.jpg"))})
    said = objects(load_dataset(str(data), split="train", boxes="clip", masks=True))["imgs/1"]
    assert said["area"] == [0] and not mask_tools.decode(said["segmentation"]).any()


# As `_via_import_export.prototype.export_to_via3_csv` of VIA 3.0.12 writes it.
NOTES = """# Notes:
# - spatial_coordinates of [2,10,20,50,80] denotes a rectangle (shape_id=2) of size 50x80 placed at (10,20)
# - temporal coordinate of [1.349,2.741] denotes a temporal segment from time 1.346 sec. to 2.741 sec.
# - temporal coordinate of [4.633] denotes a still video frame at 4.633 sec.
# - metadata of {""1"":""3""} indicates attribute with id "1" set to an attribute option with id "3"
"""
ATTRIBUTE = {
    "1": {"aname": "type", "anchor_id": "FILE1_Z0_XY1", "type": 4, "desc": "", "options": {"0": "cat", "1": "dog"}},
    "2": {"aname": "state", "anchor_id": "FILE1_Z0_XY1", "type": 2, "desc": "", "options": {"0": "old", "1": "torn"}},
    "3": {"aname": "note", "anchor_id": "FILE1_Z0_XY0", "type": 1, "desc": "", "options": {}},
}
EXPORT3 = """# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)
NOTES# SHAPE_ID = {"POINT":1,"RECTANGLE":2,"CIRCLE":3,"ELLIPSE":4,"LINE":5,"POLYLINE":6,"POLYGON":7}
# FLAG_ID = {"RESERVED_FOR_FUTURE":1}
# ATTRIBUTE = {}
# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
"1_hEKqYdGa","[""1.jpg""]",0,"[]","[2,3,4,20,10]","{""1"":""1"",""2"":""0,1""}"
"1_2GbCyyqx","[""1.jpg""]",0,"[]","[7,2,3,12,3,12,9]","{""1"":""0""}"
"1_o6RVxwUz","[""1.jpg""]",0,"[]","[3,20,15,5.5]","{""1"":""0"",""2"":""1""}"
"2_b9dPcm2w","[""2.jpg""]",0,"[]","[]","{""3"":""a whole image""}"
""".replace("NOTES", NOTES).replace("ATTRIBUTE = {}", f"ATTRIBUTE = {json.dumps(ATTRIBUTE, separators=(',', ':'))}")


def test_csv_of_via_3(data, write_data):
    write_data({"via_project_3.csv": EXPORT3})
    rows = load_dataset(str(data), split="train")
    found = objects(rows)
    assert found["imgs/2"]["bbox"] == []
    one = found["imgs/1"]
    assert one["category"] == ["dog", "cat", "cat"] and one["state"] == ["old, torn", None, "torn"]
    assert one["bbox"][:2] == [[3, 4, 20, 10], [2, 3, 10, 6]] and one["polygon"][1] == [2, 3, 12, 3, 12, 9]
    assert np.allclose(one["bbox"][2], [14.5, 9.5, 11, 11], atol=0.02)
    early = "".join(line for line in EXPORT3.splitlines(True) if "Notes" not in line and not line.startswith("# -"))
    early = early.replace(early[early.index("# ATTRIBUTE") : early.index("# CSV")], '# ATTRIBUTES = {"1":"kind"}\n')
    write_data({"via_project_3.csv": early})
    found = objects(load_dataset(str(data), split="train"))
    assert found["imgs/1"]["category"] == ["1", "0", "0"]  # without the words of options


FAULTS_3 = {
    ("[2,3,4,20,10]", "[2,3,4,20]"): r"line 11: 3 numbers of a rect, not 4",
    ("[2,3,4,20,10]", "[9,3,4,20,10,5,5]"): r"line 11: its shape is 9, none of",
    ("[2,3,4,20,10]", "[2,3,4,60,10]"): r"reaches out of the image",
    ("[2,3,4,20,10]", '[2,3,4,20,""10""]'): r"line 11: \[2, 3, 4, 20, '10'\] and .* are not a shape and its attributes",
    ("[7,2,3,12,3,12,9]", "[7,2,3,12,3,12]"): r"not equally many numbers",
    (
        'GbCyyqx","[""1.jpg""]",0,"[]"',
        'GbCyyqx","[""1.jpg""]",0,"[1.5]"',
    ): r"line 12: it is about a time in a video, \[1.5\]",
    ('Ga","[""1.jpg""]"', 'Ga","[""1.jpg"",""2.jpg""]"'): r"line 11: its file_list is .*, not the name of one image",
    ('Ga","[""1.jpg""]"', 'Ga","[""3.jpg""]"'): r"line 11: there is no image 3.jpg",
    (',"{""1"":""0""}"', ',"{""1"":""0""}",5'): r"line 12: 7 values, not 6",
    ("# CSV_HEADER = metadata_id,file_list,flags", "# CSV_HEADER = metadata_id,file_list"): r"line 10: its columns are",
    ('{"1":{"aname"', '{"1":{"name"'): r"line 9: it has no 'aname'",
}


@pytest.mark.parametrize("change", FAULTS_3)
def test_faults_of_via_3(change, data, write_data):
    assert change[0] in EXPORT3
    write_data({"via_project_3.csv": EXPORT3.replace(*change)})
    with pytest.raises(DataError, match=FAULTS_3[change]):
        load_dataset(str(data), unlisted="empty")
