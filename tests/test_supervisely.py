"""Supervisely's projects in the form that its SDK writes, against closed forms and drawings."""

import base64
import io
import json
import shutil
import zlib

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.load.detect import detect

SIZE = (60, 40)
CLASSES = [
    ("truck", "rectangle"),
    ("car", "polygon"),
    ("blob", "bitmap"),
    ("wire", "line"),
    ("nose", "point"),
    ("none", "any"),
]
META = {
    "classes": [
        {
            "title": title,
            "description": "",
            "shape": shape,
            "color": "#8A0F59",
            "geometry_config": {},
            "id": 7,
            "hotkey": "",
        }
        for title, shape in CLASSES
    ],
    "tags": [
        {"name": "night", "value_type": "none", "color": "#FFA500", "id": 1, "hotkey": "", "applicable_type": "all"}
    ],
    "projectType": "images",
    "projectSettings": {"multiView": {"enabled": False, "tagName": None, "tagId": None, "isSynced": False}},
}
MASK = np.array([[1, 1, 0, 1], [0, 1, 1, 1]], bool)


def packed(mask, compress=True):
    """A mask as the SDK encodes it: a PNG image of two colours, black transparent, in zlib and base64."""
    image = PIL.Image.fromarray(mask.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=0, optimize=0)
    return base64.b64encode(zlib.compress(buffer.getvalue()) if compress else buffer.getvalue()).decode()


def thing(title, kind, exterior=(), interior=(), **more):
    told = {"id": 497489555, "classId": 1661459, "description": "", "geometryType": kind, "labelerLogin": "alexxx"}
    told |= {"createdAt": "2020-08-07T11:09:51.054Z", "updatedAt": "2020-08-07T11:09:51.054Z", "tags": []}
    told |= {"classTitle": title, "points": {"exterior": list(exterior), "interior": list(interior)}}
    return told | more


def tag(name, value=None):
    when = "2020-08-07T11:09:51.054Z"
    return {
        "id": 1,
        "tagId": 29,
        "name": name,
        "value": value,
        "labelerLogin": "alexxx",
        "createdAt": when,
        "updatedAt": when,
    }


def written(*things, tags=(), size=SIZE):
    stated = {"height": size[1], "width": size[0]}
    return json.dumps({"description": "", "tags": list(tags), "size": stated, "objects": list(things)}, indent=4)


HOLE = [[6, 6], [8, 6], [8, 9], [6, 9]]
THINGS = [
    thing("truck", "rectangle", [[10, 5], [29, 19]]),
    thing("car", "polygon", [[2, 3], [22, 3], [22, 13], [2, 13]], [HOLE], tags=[tag("night"), tag("speed", 5)]),
    thing("blob", "bitmap", bitmap={"data": packed(MASK), "origin": [50, 30]}, points=None),
    thing("wire", "line", [[1, 1], [9, 1], [9, 9]]),
    thing("nose", "point", [[4, 6]]),
]


@pytest.fixture
def folder(tmp_path, save_image):
    """A project of one dataset."""
    root = tmp_path / "project"
    (root / "ds0/ann").mkdir(parents=True)
    for name in ("a.jpeg", "b.jpeg"):
        save_image(root / "ds0/img" / name, SIZE)
    (root / "meta.json").write_text(json.dumps(META))
    (root / "ds0/ann/a.jpeg.json").write_text(written(*THINGS, tags=[tag("night"), tag("place", "Ulm")]))
    (root / "ds0/ann/b.jpeg.json").write_text(written())
    return root


def test_every_kind_of_shape(folder, caplog):
    rows = load_dataset(str(folder), split="train")
    assert "read as supervisely (2 of 2 images with an annotation)" in caplog.text
    assert rows.features["objects"]["category"].feature.names == [title for title, _ in CLASSES]
    first, second = rows.with_format(None)
    assert first["image_id"] == "ds0/img/a" and second["image_id"] == "ds0/img/b" and "dataset" not in first
    for row, name in ((first, "a"), (second, "b")):
        assert np.array_equal(row["image"], PIL.Image.open(folder / f"ds0/img/{name}.jpeg"))
    assert first["tags"] == [{"name": "night", "value": None}, {"name": "place", "value": "Ulm"}]
    assert second["tags"] == [] and second["objects"]["bbox"] == []
    objects = first["objects"]
    assert objects["bbox"] == [[10, 5, 20, 15], [2, 3, 20, 10], [50, 30, 4, 2], [1, 1, 8, 8], [4, 6, 0, 0]]
    assert objects["category"] == [0, 1, 2, 3, 4] and objects["area"] == [300, 200 - 6, 6, 0, 0]
    assert objects["tags"][1] == [{"name": "night", "value": None}, {"name": "speed", "value": "5"}]
    assert objects["polygon"][1:] == [[2, 3, 22, 3, 22, 13, 2, 13], [], [1, 1, 9, 1, 9, 9], [4, 6]]
    boxes = load_dataset("supervisely", data_dir=str(folder), split="train", inclusive=False).with_format(None)[0][
        "objects"
    ]
    assert boxes["bbox"][:2] == [[10, 5, 19, 14], [2, 3, 20, 10]]


def test_masks(folder):
    old = thing("blob", "bitmap", bitmap={"data": packed(MASK, compress=False), "origin": [3, 20]})
    (folder / "ds0/ann/a.jpeg.json").write_text(written(*THINGS[:3], old))
    masks = load_dataset(str(folder), split="train", masks=True)[0]["objects"]["mask"].numpy()
    wanted = np.zeros((4, *SIZE[::-1]), bool)
    wanted[0, 5:20, 10:30] = True
    wanted[1, 3:13, 2:22] = True
    wanted[1, 6:9, 6:8] = False
    wanted[2, 30:32, 50:54] = MASK
    wanted[3, 20:22, 3:7] = MASK
    assert np.array_equal(masks, wanted)
    (folder / "ds0/ann/a.jpeg.json").write_text(written(THINGS[3]))
    with pytest.raises(DataError, match=r"object 1 \(wire\) is a line: masks=True takes"):
        load_dataset(str(folder), masks=True)


@pytest.mark.parametrize("names", [("train", "val"), ("north", "south"), ("a/datasets/north", "a/datasets/south")])
def test_datasets_and_splits(tmp_path, save_image, names):
    root, pixels = tmp_path / "project", {}
    for place, name in enumerate(names):
        for number in range(2):
            pixels[place, number] = save_image(root / name / f"img/{number}.png", SIZE)
            (root / name / "ann").mkdir(exist_ok=True)
            box = thing("truck", "rectangle", [[place, number], [9, 9]])
            (root / name / f"ann/{number}.png.json").write_text(written(box))
    (root / "meta.json").write_text(json.dumps(META))
    (root / "key_id_map.json").write_text(json.dumps({"tags": {}, "objects": {}, "figures": {}, "videos": {}}))
    (root / "obj_class_to_machine_color.json").write_text(json.dumps({"truck": [1, 1, 1]}))
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "project")
    for way, options in ((str(root), {}), (archive, {}), ("supervisely", {"data_dir": archive, "num_proc": 2})):
        sets = load_dataset(way, **options)
        rows = [row for split in sets.values() for row in split.with_format(None)]
        assert [row["objects"]["bbox"] for row in rows] == [[[p, n, 10 - p, 10 - n]] for p, n in pixels]
        assert all(np.array_equal(row["image"], image) for row, image in zip(rows, pixels.values(), strict=True))
        if names[0] == "train":
            assert list(sets) == ["train", "validation"] and "dataset" not in rows[0]
        else:
            assert list(sets) == ["train"] and [row["dataset"] for row in rows] == 2 * ["north"] + 2 * ["south"]
    streamed = load_dataset(str(root), streaming=True)
    assert sum(len(list(rows)) for rows in streamed.values()) == 4


def test_other_folder_names_and_no_meta(folder):
    (folder / "ds0/img").rename(folder / "ds0/Pictures")
    (folder / "ds0/ann").rename(folder / "ds0/labels")
    (folder / "meta.json").unlink()
    rows = load_dataset(str(folder), split="train")
    assert rows.features["objects"]["category"].feature.names == sorted(title for title, _ in CLASSES[:5])


def test_information_about_images_is_known(folder):
    for name in ("meta", "img_info"):
        (folder / "ds0" / name).mkdir()
        (folder / "ds0" / name / "a.jpeg.json").write_text(json.dumps({"id": 1, "name": "a.jpeg", "meta": {}}))
    assert len(load_dataset(str(folder), split="train")) == 2
    (folder / "ds0/more").mkdir()
    (folder / "ds0/more/a.jpeg.json").write_text(json.dumps({"id": 1}))
    with pytest.raises(DataError, match=r"there would be left 1 .json files named like images in ds0/more/"):
        load_dataset(str(folder))


FAULTS = {
    "object 1: van is none of the classes in meta.json: truck, car": thing("van", "point", [[1, 1]]),
    "object 1 has no classTitle": {"geometryType": "point"},
    "geometryType cuboid is none of rectangle, polygon": thing("none", "cuboid", [[1, 1]]),
    "a rectangle has two corners, not 3": thing("truck", "rectangle", [[1, 1], [2, 2], [3, 3]]),
    "object 1 is a polygon of 2 points": thing("car", "polygon", [[1, 1], [2, 2]]),
    "object 1 has a hole of fewer than three points": thing("car", "polygon", [[1, 1], [9, 2], [5, 9]], [[[4, 4]]]),
    "a rectangle has no holes": thing("truck", "rectangle", [[1, 1], [9, 9]], [HOLE]),
    "['x', 1] is not a point [x, y]": thing("nose", "point", [["x", 1]]),
    "reaches out of the image of 60 x 40 pixels": thing("truck", "rectangle", [[1, 1], [90, 9]]),
    "bitmap: ": thing("blob", "bitmap", bitmap={"data": "eJw=", "origin": [1, 1]}),
    "(blob): None is not a point": thing("blob", "bitmap", bitmap={"data": packed(MASK)}),
    "the value of a tag is ['x']": thing("nose", "point", [[1, 1]], tags=[tag("a", ["x"])]),
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults(folder, message):
    (folder / "ds0/ann/b.jpeg.json").write_text(written(FAULTS[message]))
    with pytest.raises(DataError, match=r"ds0/ann/b\.jpeg\.json") as caught:
        load_dataset(str(folder))
    assert message in str(caught.value)
    assert load_dataset(str(folder), on_error="skip", split="train")["image_id"][:] == ["ds0/img/a"]


def test_faults_of_files(folder):
    path = folder / "ds0/ann/b.jpeg.json"
    path.write_text(written(size=(60, 41)))
    with pytest.raises(DataError, match=r"b\.jpeg\.json: the image is 60 x 41 there, and has 60 x 40 pixels"):
        load_dataset(str(folder))
    path.write_text(written()[:-5])
    with pytest.raises(DataError, match=r"b\.jpeg\.json: "):
        load_dataset(str(folder))
    path.rename(path.with_name("c.jpeg.json"))
    with pytest.raises(DataError, match=r"c\.jpeg\.json: "):
        load_dataset(str(folder))
    path.with_name("c.jpeg.json").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images have no annotation, such as ds0/img/b\.jpeg"):
        load_dataset(str(folder))
    (folder / "meta.json").write_text(json.dumps({"classes": [{"shape": "any"}], "tags": []}))
    with pytest.raises(DataError, match=r"meta\.json, class 1 has no title"):
        load_dataset(str(folder), on_error="skip")


def test_a_bitmap_is_no_more_than_it_may_be(folder):
    """Of a few kilobytes that would be a gigabyte, and of a mask of 300 million pixels."""
    buffer = io.BytesIO()
    PIL.Image.new("1", (20_000, 15_000)).save(buffer, "PNG")
    for content, message in (
        (zlib.compress(bytes(65 << 20)), "bitmap: it has more than 67,108,864 bytes"),
        (buffer.getvalue(), "bitmap: Image size"),
        (zlib.compress(b"\x89PNG")[:-3], "bitmap: it is cut off"),
    ):
        bitmap = {"data": base64.b64encode(content).decode(), "origin": [1, 1]}
        (folder / "ds0/ann/b.jpeg.json").write_text(written(thing("blob", "bitmap", bitmap=bitmap)))
        with pytest.raises(DataError, match=rf"b\.jpeg\.json.*{message}"):
            load_dataset(str(folder))


def test_a_shape_over_the_border_is_cut_there(folder):
    wide = thing("car", "polygon", [[50, 0], [70, 0], [70, 10], [50, 10]], [[[55, 2], [65, 2], [65, 4], [55, 4]]])
    blob = thing("blob", "bitmap", bitmap={"data": packed(MASK), "origin": [58, 39]})
    (folder / "ds0/ann/a.jpeg.json").write_text(written(thing("truck", "rectangle", [[-5, 30], [9, 60]]), wide, blob))
    objects = load_dataset(str(folder), split="train", boxes="clip", masks=True)[0]["objects"]
    assert objects["bbox"].tolist() == [[0, 30, 10, 10], [50, 0, 10, 10], [58, 39, 2, 1]]
    assert objects["area"].tolist() == [100, 100 - 10, 2]
    assert objects["mask"].sum((1, 2)).tolist() == [100, 90, 2]


def test_cityscapes_and_others_are_not_its_own(tmp_path, save_image):
    save_image(tmp_path / "set/a.png", SIZE)
    shapes = [{"label": "car", "polygon": [[1, 1], [2, 2], [3, 1]]}]
    (tmp_path / "set/a.json").write_text(json.dumps({"imgHeight": 40, "imgWidth": 60, "objects": shapes}))
    found = None
    try:
        found = detect(Files.of(tmp_path / "set"))
    except DataError:
        pass
    assert found is None or found.name != "supervisely"
