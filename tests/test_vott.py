"""VoTT's files in the form that version 2 writes, against closed forms."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest

from dataset_scripts import DataError, load_dataset

SIZE = (60, 40)
TAGS = ["truck", "car", "none"]


def region(*tags, left=1.5, top=2.0, width=20.25, height=10.0, kind="RECTANGLE", points=None):
    corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
    told = {"id": "cxMzDWaLy", "type": kind, "tags": list(tags)}
    told |= {"boundingBox": {"height": height, "width": width, "left": left, "top": top}}
    return told | {"points": [{"x": x, "y": y} for x, y in points or corners]}


def asset(name, *regions, key="0cd0fa", state=2, size=SIZE, kind=1):
    told = {"format": name.rpartition(".")[2], "id": key, "name": name, "path": f"file:/C:/photos/{name}"}
    told |= {"size": {"width": size[0], "height": size[1]}, "state": state, "type": kind}
    return {"asset": told, "regions": list(regions), "version": "2.2.0"}


def export(*assets):
    """The text of a *-export.json."""
    project = {"name": "street", "securityToken": "street Token", "videoSettings": {"frameExtractionRate": 15}}
    project |= {"tags": [{"name": tag, "color": "#5db300"} for tag in TAGS], "id": "SVv3pNkDv"}
    project |= {"activeLearningSettings": {"autoDetect": False, "predictTag": True, "modelPathType": "coco"}}
    project |= {"version": "2.2.0", "lastVisitedAssetId": "0cd0fa"}
    return json.dumps(project | {"assets": {each["asset"]["id"]: each for each in assets}}, indent=4)


TRIANGLE = region("car", kind="POLYGON", left=5, top=5, width=10, height=10, points=[(5, 5), (15, 5), (5, 15)])
LINE = region("car", kind="POLYLINE", left=1, top=1, width=8, height=8, points=[(1, 1), (9, 1), (9, 9)])
POINT = region("truck", kind="POINT", left=4, top=6, width=0, height=0, points=[(4, 6)])
ASSETS = [
    asset("a b.png", region("car"), TRIANGLE, region("truck", "car", left=30), LINE, POINT, key="aa"),
    asset("b.png", state=1, key="bb"),
]
BOXES = [[1.5, 2, 20.25, 10], [5, 5, 10, 10], [30, 2, 20.25, 10], [30, 2, 20.25, 10], [1, 1, 8, 8], [4, 6, 0, 0]]


@pytest.fixture
def folder(tmp_path, save_image):
    """An export."""
    root = tmp_path / "vott-json-export"
    for name in ("a b.png", "b.png"):
        save_image(root / name, SIZE)
    (root / "street-export.json").write_text(export(*ASSETS))
    return root


def assert_rows(rows, root):
    first, second = rows.with_format(None)
    for row, name in ((first, "a b"), (second, "b")):
        assert np.array_equal(row["image"], PIL.Image.open(next(root.rglob(f"{name}.png"))))
        assert row["image_id"].endswith(name)
    objects, names = first["objects"], rows.features["objects"]["category"].feature.names
    assert objects["bbox"] == BOXES and second["objects"]["bbox"] == []
    assert [names[place] for place in objects["category"]] == ["car", "car", "truck", "car", "car", "truck"]
    assert objects["area"] == [202.5, 50, 202.5, 202.5, 0, 0]
    assert objects["polygon"][1] == [5, 5, 15, 5, 5, 15] and objects["polygon"][4:] == [[1, 1, 9, 1, 9, 9], [4, 6]]


def test_an_export(folder, tmp_path, caplog):
    rows = load_dataset(str(folder), split="train")
    assert "read as vott (2 images; 1 files of VoTT, such as street-export.json)" in caplog.text
    assert rows.features["objects"]["category"].feature.names == TAGS
    assert_rows(rows, folder)
    assert_rows(load_dataset("vott", data_dir=str(folder), split="train"), folder)
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", folder)
    assert_rows(load_dataset(archive, split="train", num_proc=2), folder)
    assert len(list(load_dataset(str(folder), split="train", streaming=True))) == 2


def write_assets(root):
    for each in ASSETS:
        name = each["asset"]["name"].replace(" ", "%20")
        told = each | {"asset": each["asset"] | {"name": name}}
        (root / f"{each['asset']['id']}-asset.json").write_text(json.dumps(told, indent=4))


def test_files_of_assets(folder, tmp_path):
    """As they lie in the target folder, beside the project and the export, whose copies they are."""
    root = tmp_path / "target"
    (root / "photos").mkdir(parents=True)
    for path in folder.glob("*.png"):
        shutil.copy(path, root / "photos")
    write_assets(root)
    rows = load_dataset(str(root), split="train")
    assert rows.features["objects"]["category"].feature.names == ["car", "truck"]
    assert_rows(rows, root)
    project = json.loads(export()) | {"assets": {each["asset"]["id"]: each["asset"] for each in ASSETS}}
    (root / "street.vott").write_text(json.dumps(project | {"sourceConnection": {"encrypted": "eyJ"}}, indent=4))
    rows = load_dataset(str(root), split="train")
    assert rows.features["objects"]["category"].feature.names == TAGS
    assert_rows(rows, root)
    shutil.copy(folder / "street-export.json", root)
    assert_rows(load_dataset(str(root), split="train"), root)
    (root / "street-export.json").write_text(export(ASSETS[1], asset("a b.png", key="aa")))
    with pytest.raises(
        DataError, match=r"aa-asset\.json: photos/a b\.png is also annotated in street-export\.json: remove"
    ):
        load_dataset(str(root))
    chosen = {"annotations": "aa-asset.json", "ignore": ["bb-asset.json", "*export.json", "photos/b.png"]}
    assert len(load_dataset("vott", data_dir=str(root), split="train", **chosen)) == 1


def test_splits(tmp_path, save_image):
    for split in ("train", "val", "test"):
        save_image(tmp_path / "set" / split / "1.png", SIZE)
        if split != "test":
            text = export(asset("1.png", region("car", left=len(split))))
            (tmp_path / "set" / split / "x-export.json").write_text(text)
    sets = load_dataset(str(tmp_path / "set"))
    found = {split: rows.with_format(None)[0]["objects"] for split, rows in sets.items()}
    assert found["test"] is None and found["train"]["bbox"][0][0] == 5 and found["validation"]["bbox"][0][0] == 3


FAULTS = {
    "region 1 has no tag": region(),
    "type STAR is none of RECTANGLE, SQUARE": region("car", kind="STAR"),
    "region 1 has no boundingBox": {"id": "1", "type": "RECTANGLE", "tags": ["car"]},
    "left is x, not a number of pixels": region("car")
    | {"boundingBox": {"left": "x", "top": 1, "width": 2, "height": 2}},
    "its boundingBox is -2 wide": region("car") | {"boundingBox": {"left": 1, "top": 1, "width": -2, "height": 2}},
    "reaches out of the image of 60 x 40 pixels": region("car", left=55),
    "object 1 is a polygon of 2 points": region("car", kind="POLYGON", points=[(1, 1), (2, 2)]),
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults(folder, message):
    (folder / "street-export.json").write_text(export(ASSETS[0], asset("b.png", FAULTS[message], key="bb")))
    with pytest.raises(DataError, match=r"street-export\.json, b\.png") as caught:
        load_dataset(str(folder))
    assert message in str(caught.value)
    assert load_dataset(str(folder), on_error="skip", split="train")["image_id"][:] == ["a b"]


def test_faults_of_files(folder):
    path = folder / "street-export.json"
    for assets, message in (
        ([ASSETS[0], asset("c.png", key="c")], r"street-export\.json, asset c: there is no image c\.png"),
        ([ASSETS[0]], r"1 of 2 images have no annotation, such as b\.png"),
        ([ASSETS[0], asset("b.png", state=0, key="b")], r"1 of 2 images have no annotation, such as b\.png"),
        (
            [ASSETS[0], asset("b.png", size=(60, 41), key="b")],
            r"b\.png: the image is 60 x 41 there, and has 60 x 40 pixels",
        ),
        (
            [ASSETS[0], asset("b.png", key="b"), asset("b.png", key="c")],
            r"b\.png is also annotated in street-export\.json",
        ),
    ):
        path.write_text(export(*assets))
        with pytest.raises(DataError, match=message):
            load_dataset(str(folder))
        assert load_dataset(str(folder), on_error="skip", split="train")["image_id"][:] == ["a b"]
    path.write_text(export(*ASSETS)[:-20])
    with pytest.raises(DataError, match=r"street-export\.json: "):
        load_dataset(str(folder))
    path.write_text(export(*ASSETS, asset("film.mp4", key="film", state=1, kind=2)))  # whose frames are not here
    assert len(load_dataset(str(folder), split="train")) == 2


def test_a_box_over_the_border_is_cut_there(folder):
    path = folder / "street-export.json"
    path.write_text(export(asset("a b.png", region("car", left=50)), asset("b.png", key="b")))
    objects = load_dataset(str(folder), split="train", boxes="clip", masks=True)[0]["objects"]
    assert objects["bbox"].tolist() == [[50, 2, 10, 10]] and objects["area"].tolist() == [100]
    wanted = np.zeros(SIZE[::-1], bool)
    wanted[2:12, 50:] = True
    assert np.array_equal(objects["mask"][0], wanted)
