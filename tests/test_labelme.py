"""labelme's files in the form that it writes, against closed forms and PIL's drawing."""

import base64
import io
import json
import shutil

import datasets
import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.load.detect import detect

SIZE = (40, 30)  # width, height
MASK = np.array([[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], np.uint8)


def shape(label, points, kind="polygon", **more):
    return (
        {"label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {}}
        | {"mask": None}
        | more
    )


def written(shapes, name, **more):
    """The text of a file of labelme 5.5."""
    content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None}
    return json.dumps(content | {"imageHeight": SIZE[1], "imageWidth": SIZE[0]} | more, ensure_ascii=False, indent=2)


def png(array):
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


SHAPES = [
    shape("dog", [[30.5, 20.0], [10.0, 5.25]], "rectangle"),
    shape("cat", [[2.0, 3.0], [12.0, 3.0], [2.0, 13.0]], group_id=7),
    shape("wheel", [[20.0, 15.0], [23.0, 19.0]], "circle"),
    shape("wire", [[1.0, 1.0], [9.0, 1.0], [9.0, 9.0]], "linestrip"),
    shape("nose", [[4.0, 6.0]], "point"),
    shape("rope", [[5.0, 5.0], [8.0, 2.0]], "line", description="a knot"),
    shape("blob", [[6.0, 7.0], [9.0, 9.0]], "mask", mask=png(MASK * 255), flags={"blurred": True, "cut": False}),
]
BOXES = [
    [10, 5.25, 20.5, 14.75],
    [2, 3, 10, 10],
    [15, 10, 10, 10],
    [1, 1, 8, 8],
    [4, 6, 0, 0],
    [5, 2, 3, 3],
    [6, 7, 3, 2],
]
AREAS = [20.5 * 14.75, 50, 25 * np.pi, 0, 0, 0, 4]


@pytest.fixture
def folder(tmp_path, save_image):
    """An image with every kind of shape, one with nothing on it, one with a polygon."""
    root = tmp_path / "set"
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        save_image(root / name, SIZE)
    (root / "a.json").write_text(written(SHAPES, "a.jpg"))
    (root / "b.json").write_text(written([], "b.jpg", flags={"blank": True, "dark": False}))
    (root / "c.json").write_text(written([shape("cat", [[1, 1], [5, 1], [5, 5], [1, 5]])], "c.jpg"))
    return root


def stored(rows):
    """The rows as they are stored."""
    return rows.cast_column("image", datasets.Image(decode=False)).with_format(None)


def test_every_kind_of_shape(folder, caplog):
    rows = load_dataset(str(folder), split="train")
    assert "read as labelme (3 of 3 images with an annotation)" in caplog.text
    things = rows.features["objects"]
    assert things["category"].feature.names == ["blob", "cat", "dog", "nose", "rope", "wheel", "wire"]
    first, second, third = stored(rows)
    assert [row["image_id"] for row in (first, second, third)] == ["a", "b", "c"]
    assert [row["flags"] for row in (first, second, third)] == [[], ["blank"], []]
    objects = first["objects"]
    assert np.allclose(objects["bbox"], BOXES, atol=1e-4)
    assert objects["category"] == [2, 1, 5, 6, 3, 4, 0]
    assert np.allclose(objects["area"], AREAS, rtol=2e-3)
    assert objects["group_id"] == [None, 7, *[None] * 5] and objects["description"][5] == "a knot"
    assert objects["flags"] == [*[[]] * 6, ["blurred"]]
    polygons = objects["polygon"]
    assert polygons[0] == [10, 5.25, 30.5, 5.25, 30.5, 20, 10, 20] and polygons[1] == [2, 3, 12, 3, 2, 13]
    away = np.array(polygons[2]).reshape(-1, 2) - [20, 15]
    assert np.allclose(np.hypot(*away.T), 5) and polygons[6] == []
    assert polygons[3:6] == [[1, 1, 9, 1, 9, 9], [4, 6], [5, 5, 8, 2]]
    assert second["objects"]["bbox"] == [] and third["objects"]["bbox"] == [[1, 1, 4, 4]]
    for row, name in zip(rows.with_format(None), "abc"):
        assert np.array_equal(np.array(row["image"]), np.array(PIL.Image.open(folder / f"{name}.jpg")))


def test_masks(folder):
    areas = [SHAPES[place] for place in (0, 1, 2, 6)]
    (folder / "a.json").write_text(written(areas, "a.jpg"))
    row = load_dataset(str(folder), split="train", masks=True)[0]
    masks = row["objects"]["mask"].numpy()
    drawn = [PIL.Image.new("1", SIZE) for _ in areas]
    PIL.ImageDraw.Draw(drawn[0]).rectangle([10, 5, 30, 19], fill=1)
    PIL.ImageDraw.Draw(drawn[1]).polygon([(2, 3), (12, 3), (2, 13)], fill=1)
    PIL.ImageDraw.Draw(drawn[2]).ellipse([15, 10, 25, 20], fill=1)
    for mask, picture, border in zip(masks, drawn, (70, 36, 32, 0)):
        assert (mask != np.array(picture)).sum() <= border / 2 + 3 or not border
    whole = np.zeros(SIZE[::-1], bool)
    whole[7:10, 6:10] = MASK
    assert np.array_equal(masks[3], whole)
    (folder / "a.json").write_text(written(SHAPES, "a.jpg"))
    with pytest.raises(DataError, match=r"a\.json, object 4 \(wire\) is a line: masks=True takes boxes"):
        load_dataset(str(folder), masks=True)


def test_folders_splits_names_and_a_zip(folder, tmp_path, save_image):
    pixels = {}
    for split in ("Train", "Val"):
        for number in range(2):
            path = tmp_path / "parts" / split / "Images" / f"{number}.png"
            pixels[split, number] = save_image(path, SIZE)
            where = path.parent.with_name("Labels") / f"{number}.json"
            where.parent.mkdir(exist_ok=True)
            box = shape("x", [[number, 1], [number + 3, 5]], "rectangle")
            where.write_text(written([box], rf"..\Images\{number}.png"))
    save_image(tmp_path / "parts/Test/Images/0.png", SIZE)
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "parts")
    for way, options in (
        (str(tmp_path / "parts"), {}),
        ("labelme", {"data_dir": str(tmp_path / "parts")}),
        (archive, {"num_proc": 2}),
        ("labelme", {"data_dir": archive}),
    ):
        sets = load_dataset(way, **options)
        assert {split: len(rows) for split, rows in sets.items()} == {"train": 2, "validation": 2, "test": 1}
        assert sets["test"].with_format(None)[0]["objects"] is None
        for name, split in (("Train", "train"), ("Val", "validation")):
            for number, row in enumerate(sets[split].with_format(None)):
                assert np.array_equal(np.array(row["image"]), pixels[name, number])
                assert row["objects"]["bbox"] == [[number, 1, 3, 4]]
                assert row["image_id"].endswith(f"{name}/Images/{number}")
    streamed = load_dataset(str(tmp_path / "parts"), split="validation", streaming=True)
    assert [row["objects"]["bbox"].tolist() for row in streamed] == [[[0, 1, 3, 4]], [[1, 1, 3, 4]]]


def test_an_image_within_the_file(folder):
    content = (folder / "c.jpg").read_bytes()
    pixels = np.array(PIL.Image.open(folder / "c.jpg"))
    (folder / "c.jpg").unlink()
    text = written([SHAPES[1]], "c.jpg", imageData=base64.b64encode(content).decode())
    (folder / "c.json").write_text(text)
    rows = load_dataset(str(folder), split="train")
    assert rows["image_id"][:] == ["a", "b", "c"] and np.array_equal(rows.with_format(None)[2]["image"], pixels)
    assert stored(rows)[2]["image"] == {"bytes": content, "path": "c.jpg"}
    for path in folder.glob("[ab].*"):
        path.unlink()
    row = load_dataset(str(folder), split="train").with_format(None)[0]
    assert np.array_equal(row["image"], pixels) and row["objects"]["bbox"] == [BOXES[1]]
    (folder / "c.json").write_text(text.replace('"imageData": "', '"imageData": "*'))
    with pytest.raises(DataError, match=r"c\.json: imageData: "):
        load_dataset(str(folder))


def test_an_image_of_another_name(folder):
    """The stem decides; imagePath counts only if no image has it, and must not name another image of the folder."""
    (folder / "c.json").rename(folder / "z.json")
    assert load_dataset(str(folder), split="train")["image_id"][:] == ["a", "b", "c"]
    (folder / "z.json").rename(folder / "c.json")
    (folder / "c.json").write_text(written([], "IMG_0815.jpg"))  # renamed, with its file
    assert len(load_dataset(str(folder), split="train")) == 3
    (folder / "c.json").write_text(written([], "a.jpg"))
    with pytest.raises(DataError, match=r"c\.json is about c\.jpg by its own name, and about a\.jpg by what it says"):
        load_dataset(str(folder))


FAULTS = {
    "shape_type 'ball' is none": [shape("x", [[1, 1]], "ball")],
    "shape 1 has no label": [{"points": [[1, 1]], "shape_type": "point"}],
    "object 1 has no class": [shape(" ", [[1, 1]], "point")],
    "object 1 is a polygon of 2 points": [shape("x", [[1, 1], [2, 2]])],
    r"\[1\] is not a point \[x, y\]": [shape("x", [[1], [2, 2], [3, 3]])],
    "reaches out of the image of 40 x 30 pixels": [shape("x", [[1, 1], [50, 2], [3, 3]])],
    "group_id is 1.5, not a whole number": [shape("x", [[1, 1]], "point", group_id=1.5)],
    "mask has 4 x 3 pixels, its corners 3 x 3": [shape("x", [[6, 7], [8, 9]], "mask", mask=png(MASK))],
    "mask is None, not text": [shape("x", [[6, 7], [8, 9]], "mask")],
    "flags are": [shape("x", [[1, 1]], "point", flags=["a"])],
    "shape 1: 5 is not an object": [5],
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults(folder, message):
    (folder / "b.json").write_text(written(FAULTS[message], "b.jpg"))
    with pytest.raises(DataError, match=rf"set/b\.json.*{message.replace(chr(39), '')}"):
        load_dataset(str(folder))
    rows = load_dataset(str(folder), on_error="skip", split="train")
    assert rows["image_id"][:] == ["a", "c"]


def test_faults_of_files(folder, save_image):
    (folder / "b.json").write_text(written([], "b.jpg", imageWidth=41))
    with pytest.raises(DataError, match=r"b\.json: the image is 41 x 30 there, and has 40 x 30 pixels"):
        load_dataset(str(folder))
    (folder / "b.json").write_text(written([], "b.jpg", imageWidth="x"))
    with pytest.raises(DataError, match=r"b\.json: the image's size is x x 30"):
        load_dataset(str(folder))
    (folder / "b.json").write_text(written([], "b.jpg")[:-9])
    with pytest.raises(DataError, match=r"b\.json: "):
        load_dataset(str(folder))
    (folder / "b.json").unlink()
    with pytest.raises(DataError, match=r"1 of 3 images have no annotation, such as b\.jpg: on_error='skip' leaves"):
        load_dataset(str(folder))
    (folder / "b.json").write_text(written([], "b.jpg"))
    (folder / "d.json").write_text(written([], "d.jpg"))
    with pytest.raises(DataError, match=r"d\.json: there is no image d"):
        load_dataset(str(folder))
    assert len(load_dataset(str(folder), split="train", on_error="skip")) == 3
    (folder / "d.json").unlink()
    (folder / "other").mkdir()
    shutil.copy(folder / "c.json", folder / "other/c.json")
    with pytest.raises(DataError, match=r"c\.jpg is also annotated in c\.json: remove one, or choose by annotations="):
        load_dataset(str(folder))
    assert load_dataset(str(folder), split="train", on_error="skip")["image_id"][:] == ["a", "b"]


def test_a_box_over_the_border_is_cut_there(folder):
    mask = shape("m", [[38, 28], [41, 30]], "mask", mask=png(np.ones((3, 4), np.uint8)))
    (folder / "a.json").write_text(
        written(
            [shape("x", [[-5, 10], [20, 50]], "rectangle"), shape("x", [[30, 0], [50, 0], [50, 20]]), mask], "a.jpg"
        )
    )
    row = load_dataset(str(folder), split="train", boxes="clip", masks=True)[0]
    assert row["objects"]["bbox"].tolist() == [[0, 10, 20, 20], [30, 0, 10, 10], [38, 28, 2, 2]]
    assert row["objects"]["area"].tolist() == [400, 50, 4]
    assert row["objects"]["polygon"][1] == [40, 10, 30, 0, 40, 0]
    assert row["objects"]["mask"][2].sum() == 4 and row["objects"]["mask"][2, 28:, 38:].all()
    with pytest.raises(DataError, match="boxes='cut': it is 'raise' or 'clip'"):
        load_dataset(str(folder), boxes="cut")


def test_a_photo_that_exif_turns(folder):
    """labelme draws on the turned image; other writers on the stored one, whose size they state."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.open(folder / "c.jpg").save(folder / "c.jpg", exif=exif)
    box = shape("x", [[1, 2], [5, 9]], "rectangle")
    for size, expected in ((SIZE[::-1], [1, 2, 4, 7]), (SIZE, [30 - 9, 1, 7, 4])):
        (folder / "c.json").write_text(written([box], "c.jpg", imageWidth=size[0], imageHeight=size[1]))
        row = load_dataset(str(folder), split="train")[2]
        assert row["image"].shape == (3, 40, 30) and row["objects"]["bbox"].tolist() == [expected]


def test_a_file_of_many_points_is_known(folder):
    """A polygon of a thousand points stands before imagePath."""
    points = [[20 + 9 * np.cos(angle), 15 + 9 * np.sin(angle)] for angle in np.linspace(0, 2 * np.pi, 1000, False)]
    (folder / "a.json").write_text(written([shape("round", points)], "a.jpg"))
    assert detect(Files.of(folder)).name == "labelme"
    row = load_dataset(str(folder), split="train")[0]
    assert np.isclose(row["objects"]["area"][0], 81 * np.pi, rtol=1e-3) and len(row["objects"]["polygon"][0]) == 2000


def test_classes_images_and_annotations(folder, save_image):
    rows = load_dataset(str(folder), split="train", classes=["wire", "cat", "dog", "wheel", "nose", "rope", "blob"])
    assert rows[0]["objects"]["category"].tolist() == [2, 1, 3, 0, 4, 5, 6]
    with pytest.raises(DataError, match="blob is none of classes="):
        load_dataset(str(folder), classes=["cat"])
    with pytest.raises(DataError, match=r"no images in images='photos'"):
        load_dataset("labelme", data_dir=str(folder), images="photos")
    for name in "abc":
        (folder / "old").mkdir(exist_ok=True)
        (folder / "old" / f"{name}.json").write_text(written([SHAPES[1]], f"{name}.jpg"))
    options = {"data_dir": str(folder), "annotations": "old", "ignore": ["?.json"]}
    assert [len(row["objects"]["bbox"]) for row in load_dataset("labelme", split="train", **options)] == [1, 1, 1]
