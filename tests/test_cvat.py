"""CVAT's xml in the form that it writes, against closed forms and drawings."""

import shutil

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.load.detect import detect

SIZE = (60, 40)
HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>3</id>
      <name>street</name>
      <size>2</size>
      <mode>annotation</mode>
      <overlap>0</overlap>
      <bugtracker></bugtracker>
      <created>2024-05-01 10:00:00.000000+00:00</created>
      <updated>2024-05-01 11:00:00.000000+00:00</updated>
      <subset>default</subset>
      <start_frame>0</start_frame>
      <stop_frame>1</stop_frame>
      <frame_filter></frame_filter>
      <segments>
        <segment>
          <id>3</id>
          <start>0</start>
          <stop>1</stop>
          <url>http://localhost:8080/api/jobs/3</url>
        </segment>
      </segments>
      <owner>
        <username>admin</username>
        <email>admin@localhost.com</email>
      </owner>
      <assignee></assignee>
      <labels>
        <label>
          <name>truck</name>
          <color>#ff6037</color>
          <type>any</type>
          <attributes>
            <attribute>
              <name>color</name>
              <mutable>False</mutable>
              <input_type>select</input_type>
              <default_value>red</default_value>
              <values>red
blue</values>
            </attribute>
          </attributes>
        </label>
        <label>
          <name>car</name>
          <color>#b83df5</color>
          <type>any</type>
          <attributes>
          </attributes>
        </label>
        <label>
          <name>rain</name>
          <color>#b83df6</color>
          <type>tag</type>
          <attributes>
          </attributes>
        </label>
      </labels>
      {more}
    </task>
    <dumped>2024-05-01 12:00:00.000000+00:00</dumped>
  </meta>
"""
SHAPES = """
    <box label="car" source="manual" occluded="1" xtl="10.00" ytl="5.50" xbr="30.25" ybr="20.00" z_order="2">
    </box>
    <box label="truck" source="manual" occluded="0" xtl="20.00" ytl="16.00" xbr="40.00" ybr="26.00" rotation="30.00" z_order="0" group_id="4">
      <attribute name="color">blue</attribute>
      <attribute name="plate">A &amp; B</attribute>
    </box>
    <polygon label="car" source="auto" occluded="0" points="2.00,3.00;12.00,3.00;2.00,13.00" z_order="0">
    </polygon>
    <polyline label="car" source="manual" occluded="0" points="1.00,1.00;9.00,1.00;9.00,9.00" z_order="0">
    </polyline>
    <points label="car" source="manual" occluded="0" points="4.00,6.00;8.00,7.00" z_order="0">
    </points>
    <ellipse label="car" source="manual" occluded="0" cx="30.00" cy="20.00" rx="10.00" ry="5.00" z_order="0">
    </ellipse>
    <mask label="truck" source="manual" occluded="0" rle="1, 2, 1, 2, 2" left="50" top="30" width="4" height="2" z_order="0">
    </mask>
    <tag label="rain" source="manual">
      <attribute name="much">yes</attribute>
    </tag>
"""
IMAGE = '  <image id="{}" name="{}" {}width="60" height="40">{}</image>\n'


def written(*images, head=None):
    """The text of annotations.xml, of images (name, shapes, more)."""
    parts = [IMAGE.format(place, name, more, shapes) for place, (name, shapes, more) in enumerate(images)]
    return (head or HEAD.replace("{more}", "")) + "".join(parts) + "</annotations>\n"


@pytest.fixture
def folder(tmp_path, save_image):
    """As CVAT exports a task with its images."""
    root = tmp_path / "set"
    for name in ("a.png", "b.png"):
        save_image(root / "images" / name, SIZE)
    (root / "annotations.xml").write_text(written(("a.png", SHAPES, ""), ("b.png", "", "")))
    return root


def drawn_ellipse(cx, cy, rx, ry, degrees=0.0):
    """The pixels of an ellipse, by their centres."""
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5 - cx, np.arange(SIZE[1]) + 0.5 - cy)
    angle = np.deg2rad(degrees)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (u / rx) ** 2 + (v / ry) ** 2 <= 1


def test_every_kind_of_shape(folder, caplog):
    rows = load_dataset(str(folder), split="train")
    assert "read as cvat (2 images; annotations in annotations.xml)" in caplog.text
    assert rows.features["objects"]["category"].feature.names == ["truck", "car"]
    first, second = rows.with_format(None)
    assert first["image_id"] == "images/a" and second["image_id"] == "images/b"
    for row, name in ((first, "a"), (second, "b")):
        assert np.array_equal(row["image"], PIL.Image.open(folder / f"images/{name}.png"))
    assert first["tags"] == ["rain"] and second["tags"] == []
    assert first["tag_attributes"] == [{"tag": "rain", "name": "much", "value": "yes"}]
    objects = first["objects"]
    assert objects["category"] == [1, 0, 1, 1, 1, 1, 0]
    # a box of 20 x 10 around (30, 21), turned by 30 degrees, clockwise
    cosine, sine = np.sqrt(3) / 2, 0.5
    corners = [
        (30 + x * cosine - y * sine, 21 + x * sine + y * cosine) for x, y in ((-10, -5), (10, -5), (10, 5), (-10, 5))
    ]
    wide, high = 20 * cosine + 10 * sine, 20 * sine + 10 * cosine
    boxes = [
        [10, 5.5, 20.25, 14.5],
        [30 - wide / 2, 21 - high / 2, wide, high],
        [2, 3, 10, 10],
        [1, 1, 8, 8],
        [4, 6, 4, 1],
        [20, 15, 20, 10],
        [50, 30, 3, 2],
    ]
    assert np.allclose(objects["bbox"], boxes, atol=1e-4)
    assert np.allclose(objects["area"], [20.25 * 14.5, 200, 50, 0, 0, 50 * np.pi, 4], rtol=2e-3)
    assert objects["polygon"][0] == [10, 5.5, 30.25, 5.5, 30.25, 20, 10, 20]
    assert np.allclose(objects["polygon"][1], np.ravel(corners), atol=1e-4)
    assert objects["polygon"][2:5] == [[2, 3, 12, 3, 2, 13], [1, 1, 9, 1, 9, 9], [4, 6, 8, 7]]
    assert objects["polygon"][6] == []
    assert objects["occluded"] == [True] + 6 * [False] and objects["z_order"] == [2] + 6 * [0]
    assert objects["rotation"] == [None, 30] + 5 * [None] and objects["group_id"] == [None, 4] + 5 * [None]
    assert objects["source"] == ["manual", "manual", "auto"] + 4 * ["manual"]
    named = [{"name": "color", "value": "blue"}, {"name": "plate", "value": "A & B"}]
    assert objects["attributes"] == [[], named, *5 * [[]]]
    assert second["objects"]["bbox"] == [] and "track_id" not in objects


def test_masks(folder):
    shapes = [
        line for line in SHAPES.replace("\n    </", "</").splitlines() if "<poly" not in line and "<points" not in line
    ]
    text = "\n".join(shapes) + '<ellipse label="car" occluded="0" cx="30" cy="20" rx="12" ry="5" rotation="-40" />'
    (folder / "annotations.xml").write_text(written(("a.png", text, ""), ("b.png", "", "")))
    masks = load_dataset(str(folder), split="train", masks=True)[0]["objects"]["mask"].numpy()
    box, mask = np.zeros(SIZE[::-1], bool), np.zeros(SIZE[::-1], bool)
    box[6:20, 10:30] = True
    mask[30:32, 50:54] = [[0, 1, 1, 0], [1, 1, 0, 0]]
    x, y = np.meshgrid(np.arange(60) + 0.5 - 30, np.arange(40) + 0.5 - 21)
    angle = np.deg2rad(30)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    expected = [
        box,
        (abs(u) <= 10) & (abs(v) <= 5),
        drawn_ellipse(30, 20, 10, 5),
        mask,
        drawn_ellipse(30, 20, 12, 5, -40),
    ]
    for found, wanted, most in zip(masks, expected, (30, 30, 24, 0, 28), strict=True):
        assert (found != wanted).sum() <= most


def test_splits_folders_and_a_zip(tmp_path, save_image):
    """A project: images in folders of its subsets, tasks with folders of their own."""
    head = HEAD.replace("{more}", "").replace("<task>", "<project>").replace("</task>", "</project>")
    root, images, pixels = tmp_path / "project", [], {}
    box = '<box label="car" occluded="0" xtl="{0}" ytl="1" xbr="{0}9" ybr="9" z_order="0"></box>'
    for number, (subset, name) in enumerate(
        (("Train", "x/a.png"), ("Train", "y/a.png"), ("Validation", "x/a.png"), ("Test", "a.png"))
    ):
        pixels[subset, name] = save_image(root / "images" / subset / name, SIZE)
        images.append((name, box.format(number + 1), f'subset="{subset}" task_id="{number}" '))
    (root / "annotations.xml").write_text(written(*images, head=head))
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", root)
    for way, options in ((str(root), {}), ("cvat", {"data_dir": archive}), (archive, {"num_proc": 2})):
        sets = load_dataset(way, **options)
        assert {split: len(rows) for split, rows in sets.items()} == {"train": 2, "validation": 1, "test": 1}
        rows = [row for split in sets.values() for row in split.with_format(None)]
        for number, (row, key) in enumerate(zip(rows, pixels)):
            assert row["image_id"] == f"images/{key[0]}/{key[1][:-4]}"
            assert np.array_equal(row["image"], pixels[key])
            assert row["objects"]["bbox"] == [[number + 1, 1, 10 * (number + 1) + 9 - number - 1, 8]]
    streamed = load_dataset(str(root), split="test", streaming=True)
    assert [row["objects"]["bbox"].tolist() for row in streamed] == [[[4, 1, 45, 8]]]
    # without the folders of the subsets, the words in the file make the splits
    flat = tmp_path / "flat"
    for number in range(2):
        save_image(flat / f"{number}.png", SIZE)
    subsets = [(f"{number}.png", "", f'subset="{name}" ') for number, name in enumerate(("default", "Test"))]
    (flat / "annotations.xml").write_text(written(*subsets, head=head))
    sets = load_dataset(str(flat))
    assert {split: rows["image_id"][:] for split, rows in sets.items()} == {"test": ["1"], "default": ["0"]}
    (flat / "annotations.xml").write_text(written(*((name, "", 'subset="default" ') for name, *_ in subsets)))
    assert list(load_dataset(str(flat))) == ["train"]


def test_several_files_with_folders_that_are_splits(tmp_path, save_image):
    for split in ("train", "val"):
        save_image(tmp_path / "set" / split / "Photos/1.png", SIZE)
        box = f'<box label="car" occluded="0" xtl="{len(split)}" ytl="1" xbr="9" ybr="9"></box>'
        (tmp_path / "set" / split / "export.xml").write_text(written(("1.png", box, "")))
    sets = load_dataset(str(tmp_path / "set"))
    assert {split: rows.with_format(None)[0]["objects"]["bbox"] for split, rows in sets.items()} == {
        "train": [[5, 1, 4, 8]],
        "validation": [[3, 1, 6, 8]],
    }


TRACK = """  <track id="{}" label="{}" source="manual">
{}  </track>
"""
STEP = """    <box frame="{}" keyframe="{}" outside="{}" occluded="0" xtl="{}.00" ytl="2.00" xbr="20.00" ybr="12.00" z_order="0">
      <attribute name="color">red</attribute>
    </box>
"""


def test_tracks(tmp_path, save_image):
    size = "<original_size><width>60</width><height>40</height></original_size>"
    steps = "".join(STEP.format(frame, int(frame != 1), int(frame == 2), frame + 1) for frame in range(3))
    text = HEAD.replace("{more}", size) + TRACK.format(0, "car", steps)
    text += TRACK.format(1, "truck", STEP.format(1, 1, 0, 5)) + "</annotations>\n"
    root = tmp_path / "video"
    save_image(root / "images/else.png", SIZE)
    (root / "annotations.xml").write_text(text)
    with pytest.raises(
        DataError, match="holds the tracks of a video, and its frame 0 is no image here: export as 'CVAT for"
    ):
        load_dataset(str(root))
    (root / "images/else.png").unlink()
    for frame in range(3):
        save_image(root / f"images/frame_{frame:06}.PNG", SIZE)
    rows = load_dataset(str(root), split="train").with_format(None)
    assert rows["image_id"][:] == [f"images/frame_{frame:06}" for frame in range(3)]
    objects = rows["objects"][:]
    assert [each["bbox"] for each in objects] == [[[1, 2, 19, 10]], [[2, 2, 18, 10], [5, 2, 15, 10]], []]
    assert [each["track_id"] for each in objects] == [[0], [0, 1], []]
    assert [each["category"] for each in objects] == [[1], [1, 0], []]
    (root / "annotations.xml").write_text(text.replace("<width>60", "<width>61"))
    with pytest.raises(DataError, match="the image is 61 x 40 there, and has 60 x 40 pixels"):
        load_dataset(str(root))


BOX = '<box label="car" occluded="0" xtl="1" ytl="2" xbr="9" ybr="9"></box>'
FAULTS = {
    "box 1: 'van' is none of the labels in meta: truck, car, rain": BOX.replace("car", "van"),
    "box 1 has no label": BOX.replace('label="car" ', ""),
    "box 2 has no xtl": BOX + BOX.replace('xtl="1" ', ""),
    "box 1: xtl is 'l', not a number": BOX.replace('"1"', '"l"'),
    "box 1: xbr is inf": BOX.replace('"9" ybr', '"inf" ybr'),
    "the box from 9, 2 to 1, 9 has no size": BOX.replace('xtl="1"', 'xtl="9"').replace('xbr="9"', 'xbr="1"'),
    "box 1: occluded is 'no', not 0 or 1": BOX.replace('occluded="0"', 'occluded="no"'),
    "reaches out of the image of 60 x 40 pixels": BOX.replace('xbr="9"', 'xbr="99"'),
    "cuboid 1 is a box in space, which is not read": '<cuboid label="car" occluded="0" xtl1="1"></cuboid>',
    "skeleton 1 is a skeleton of points": '<skeleton label="car" z_order="0"><points label="1"></points></skeleton>',
    "star 1: there is no shape of this name": '<star label="car"></star>',
    "its runs make 7 pixels, not 4 x 2": '<mask label="car" rle="1, 6" left="1" top="1" width="4" height="2"></mask>',
    "mask 1 has no width": '<mask label="car" rle="1, 6" left="1" top="1" height="2"></mask>',
    "polygon 1: points '1,2;3'": '<polygon label="car" points="1,2;3"></polygon>',
    "object 1 is a polygon of 2 points": '<polygon label="car" points="1,2;3,4"></polygon>',
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults(folder, message):
    (folder / "annotations.xml").write_text(written(("a.png", BOX, ""), ("b.png", FAULTS[message], "")))
    with pytest.raises(DataError, match=r"annotations\.xml, images/b\.png") as caught:
        load_dataset(str(folder))
    assert message.replace("'van'", "van") in str(caught.value)
    rows = load_dataset(str(folder), on_error="skip", split="train")
    assert rows["image_id"][:] == ["images/a"]


def test_faults_of_files(folder, save_image):
    text = written(("a.png", BOX, ""), ("c.png", "", ""))
    (folder / "annotations.xml").write_text(text)
    with pytest.raises(DataError, match=r"annotations\.xml: there is no image c\.png"):
        load_dataset(str(folder))
    (folder / "annotations.xml").write_text(text[:-40])
    with pytest.raises(DataError, match=r"annotations\.xml: .*line \d+"):
        load_dataset(str(folder))
    (folder / "annotations.xml").write_text(text.replace(' name="c.png"', ""))
    with pytest.raises(DataError, match=r"annotations\.xml: image 1 has no name"):
        load_dataset(str(folder))
    (folder / "annotations.xml").write_text(written(("a.png", BOX, "")))
    with pytest.raises(DataError, match=r"1 of 2 images have no annotation, such as images/b\.png"):
        load_dataset(str(folder))
    (folder / "annotations.xml").write_text(
        '<!DOCTYPE a [<!ENTITY b "c">]>' + written(("a.png", "&b;", "")).partition("?>")[2]
    )
    with pytest.raises(DataError, match=r"annotations\.xml: .*Entit"):
        load_dataset(str(folder))
    (folder / "annotations.xml").write_text(written(("a.png", BOX, ""), ("b.png", BOX, "")))
    shutil.copy(folder / "annotations.xml", folder / "more.xml")
    with pytest.raises(
        DataError, match=r"more\.xml: images/a\.png is also annotated in annotations\.xml: remove one, or"
    ):
        load_dataset(str(folder))
    options = {"annotations": "more.xml", "ignore": ["annotations.xml"]}
    assert len(load_dataset("cvat", data_dir=str(folder), split="train", **options)) == 2


def test_a_box_over_the_border_is_cut_there(folder):
    shapes = BOX.replace('xbr="9"', 'xbr="99"') + BOX.replace('xtl="1"', 'xtl="-9" rotation="90"').replace(
        'ybr="9"', 'ybr="8"'
    )
    (folder / "annotations.xml").write_text(written(("a.png", shapes, ""), ("b.png", "", "")))
    objects = load_dataset(str(folder), split="train", boxes="clip").with_format(None)[0]["objects"]
    # the second one is 18 x 6 around (0, 5), upright after the turn
    assert np.allclose(objects["bbox"], [[1, 2, 59, 7], [0, 0, 3, 14]], atol=1e-4)
    assert np.allclose(objects["area"], [59 * 7, 3 * 14], atol=1e-3)


def test_only_its_own_files(tmp_path, save_image):
    """VOC has one <annotation> a file."""
    save_image(tmp_path / "voc/1.jpg", SIZE)
    text = "<annotation><size><width>60</width></size><object><name>car</name></object></annotation>"
    (tmp_path / "voc/1.xml").write_text(text)
    assert detect(Files.of(tmp_path / "voc")).name == "voc"


def test_many_images(tmp_path, save_image):
    """The file is read image by image."""
    root = tmp_path / "many"
    for number in range(40):
        save_image(root / f"{number:02}.png", SIZE)
    shapes = BOX * 1000
    (root / "annotations.xml").write_text(written(*((f"{number:02}.png", shapes, "") for number in range(40))))
    rows = load_dataset(str(root), split="train").with_format(None)
    assert len(rows) == 40 and all(len(row["objects"]["bbox"]) == 1000 for row in rows.select_columns("objects"))
