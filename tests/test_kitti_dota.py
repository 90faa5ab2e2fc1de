"""Labels of KITTI and DOTA in plain text, in the form of their publishers, against closed forms."""

import shutil

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.load.detect import detect

SIZE = (124, 37)
KITTI = (
    "Truck 0.00 0 -1.57 59.41 15.75 62.97 18.93 2.85 2.63 12.34 0.47 1.49 69.44 -1.56\n"
    "Car 0.25 2 1.85 38.76 18.19 42.38 20.31 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"
    "Person_sitting 0.00 3 0.21 67.65 16.8 68.89 19.38 1.86 0.60 2.02 4.59 1.32 45.84 -1.55\n"
    "DontCare -1 -1 -10 50.08 16.97 59.05 19.02 -1 -1 -1 -1000 -1000 -1000 -10\n"
)
CALIBRATION = "".join(f"P{n}: {' '.join(['7.215377000000e+02'] * 12)}\n" for n in range(4)) + "\n"
DOTA = (
    "imagesource:GoogleEarth\n"
    "gsd:0.146343590398\n"
    "30.0 10.0 50.0 10.0 50.0 20.0 30.0 20.0 small-vehicle 0\n"
    "60.0 5.0 70.0 15.0 60.0 25.0 50.0 15.0 ship 1\n"
)


def pixels_of(path):
    return np.array(PIL.Image.open(path))


@pytest.fixture
def kitti(tmp_path, save_image):
    """training/ with labels, testing/ without, calibrations for both."""
    root = tmp_path / "kitti"
    for part in ("training", "testing"):
        for number in range(2):
            save_image(root / part / "image_2" / f"{number:06}.png", SIZE)
            path = root / part / "calib" / f"{number:06}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(CALIBRATION)
    (root / "training/label_2").mkdir()
    (root / "training/label_2/000000.txt").write_text(KITTI)
    (root / "training/label_2/000001.txt").write_text("")
    return root


def test_kitti(kitti, tmp_path, caplog):
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "kitti")
    ways = ((str(kitti), {}), ("kitti", {"data_dir": str(kitti)}), (archive, {"num_proc": 2}))
    for way, options in ways:
        sets = load_dataset(way, **options)
        assert list(sets) == ["train", "test"]
        names = sets["train"].features["objects"]["category"].feature.names
        assert names == ["Car", "DontCare", "Person_sitting", "Truck"]
        first, second = sets["train"].with_format(None)
        for number, row in enumerate((first, second)):
            assert row["image_id"].endswith(f"training/image_2/{number:06}")
            assert np.array_equal(row["image"], pixels_of(kitti / f"training/image_2/{number:06}.png"))
        objects = first["objects"]
        lines = [line.split() for line in KITTI.splitlines()]
        assert [names[place] for place in objects["category"]] == [line[0] for line in lines]
        numbers = np.array([line[1:] for line in lines], float)
        corners = numbers[:, 3:7]
        assert np.allclose(objects["bbox"], np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]), atol=1e-4)
        assert np.allclose(objects["area"], (corners[:, 2:] - corners[:, :2]).prod(1), atol=1e-4)
        for place, name in ((0, "truncated"), (1, "occluded"), (2, "alpha"), (13, "rotation_y")):
            assert np.allclose(objects[name], numbers[:, place])
        assert np.allclose(objects["dimensions"], numbers[:, 7:10]) and np.allclose(
            objects["location"], numbers[:, 10:13]
        )
        assert "polygon" not in objects and second["objects"]["bbox"] == []
        assert all(row["objects"] is None for row in sets["test"].with_format(None))
    assert "read as kitti (2 of 4 images with an annotation)" in caplog.text
    assert "no image of test is annotated: their objects are None" in caplog.text


def test_kitti_without_its_folders(tmp_path, save_image):
    save_image(tmp_path / "set/Images/7.png", SIZE)
    (tmp_path / "set/Labels").mkdir()
    (tmp_path / "set/Labels/7.txt").write_text(KITTI)
    rows = load_dataset(str(tmp_path / "set"), split="train", masks=True)
    mask = rows[0]["objects"]["mask"][3].numpy()
    assert len(rows) == 1 and mask[17:19, 50:59].all() and mask.sum() == 18


def test_kitti_beside_other_files(kitti, save_image):
    """The right camera and the scans are not read, which is told."""
    (kitti / "training/velodyne").mkdir()
    (kitti / "training/velodyne/000000.bin").write_bytes(bytes(64))
    with pytest.raises(DataError, match=r"1 other files named like images|1 \.bin files named like images") as caught:
        load_dataset(str(kitti))
    assert "ignore=['training/velodyne/**']" in str(caught.value)
    assert len(load_dataset(str(kitti), split="train", ignore=["training/velodyne/**"])) == 2
    for number in range(2):
        save_image(kitti / f"training/image_3/{number:06}.png", SIZE)
    ignore = ["training/velodyne/**"]
    with pytest.raises(DataError, match=r"2 of 6 images have no annotation, such as training/image_3/000000\.png"):
        load_dataset(str(kitti), ignore=ignore)
    assert len(load_dataset(str(kitti), split="train", ignore=[*ignore, "**/image_3/**"])) == 2


LINE = KITTI.splitlines()[1]
KITTI_FAULTS = {
    "line 2 has 16 values: the last one is a score, so these are predictions": f"{LINE} 0.98",
    "line 2 has 8 values, not 15": "Car 0.00 0 -1.57 59.41 15.75 62.97 18.93",
    "line 2: 'x' is not a number": LINE.replace("0.25", "x"),
    "line 2: 'nan' is not a number": LINE.replace("1.85", "nan"),
    "line 2: occluded is '2.5', not a whole number": LINE.replace(" 2 ", " 2.5 "),
    "the box from 48.76, 18.19 to 42.38, 20.31 has no size": LINE.replace("38.76", "48.76"),
    "reaches out of the image of 124 x 37 pixels": LINE.replace("42.38", "142.38"),
}


@pytest.mark.parametrize("message", KITTI_FAULTS)
def test_faults_of_kitti(kitti, message):
    (kitti / "training/label_2/000001.txt").write_text(f"{LINE}\n{KITTI_FAULTS[message]}\n")
    with pytest.raises(DataError, match=r"training/label_2/000001\.txt") as caught:
        load_dataset(str(kitti))
    assert message in str(caught.value)
    rows = load_dataset(str(kitti), on_error="skip", split="train")
    assert rows["image_id"][:] == ["training/image_2/000000"]
    if "reaches" in message:
        box = load_dataset(str(kitti), boxes="clip", split="train").with_format(None)[1]["objects"]["bbox"][1]
        assert np.allclose(box, [38.76, 18.19, 124 - 38.76, 20.31 - 18.19], atol=1e-4)


def test_predictions_beside_the_images_are_not_labels(kitti):
    for number in range(2):
        (kitti / f"training/label_2/{number:06}.txt").write_text(f"{LINE} 0.98\n")
    with pytest.raises(DataError, match=r"000000\.txt, line 1 has 16 values: the last one is a score"):
        load_dataset(str(kitti))


def test_a_missing_image_or_label(kitti):
    (kitti / "training/label_2/000001.txt").unlink()
    with pytest.raises(DataError, match=r"1 of 4 images have no annotation, such as training/image_2/000001\.png"):
        load_dataset(str(kitti))
    (kitti / "training/label_2/000009.txt").write_text(KITTI)
    with pytest.raises(DataError, match=r"label_2/000009\.txt: there is no image 000009"):
        load_dataset(str(kitti))


@pytest.fixture
def dota(tmp_path, save_image):
    root = tmp_path / "dota"
    for split, number in (("train", 1), ("train", 2), ("val", 3), ("test", 4)):
        save_image(root / split / f"images/P{number:04}.png", SIZE)
        if split != "test":
            (root / split / "labelTxt").mkdir(exist_ok=True)
            text = {1: DOTA, 2: "imagesource:GoogleEarth\ngsd:null\n", 3: DOTA.partition("gsd")[0]}[number]
            (root / split / f"labelTxt/P{number:04}.txt").write_text(text)
    (root / "val/labelTxt/P0003.txt").write_text(DOTA.partition("8\n")[2])
    return root


def test_dota(dota, tmp_path, caplog):
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "dota")
    for way, options in ((str(dota), {}), ("dota", {"data_dir": str(dota)}), (archive, {"num_proc": 2})):
        sets = load_dataset(way, **options)
        assert {split: len(rows) for split, rows in sets.items()} == {"train": 2, "validation": 1, "test": 1}
        assert sets["train"].features["objects"]["category"].feature.names == ["ship", "small-vehicle"]
        first, second, third, fourth = (row for rows in sets.values() for row in rows.with_format(None))
        for row, path in zip((first, second, third, fourth), sorted(dota.rglob("*.png"), key=lambda path: path.name)):
            assert np.array_equal(row["image"], pixels_of(path)) and row["image_id"].endswith(path.stem)
        assert first["imagesource"] == "GoogleEarth" and np.isclose(first["gsd"], 0.146343590398)
        assert second["imagesource"] == "GoogleEarth" and second["gsd"] is None and third["gsd"] is None
        for row in (first, third):
            objects = row["objects"]
            assert objects["polygon"] == [[30, 10, 50, 10, 50, 20, 30, 20], [60, 5, 70, 15, 60, 25, 50, 15]]
            assert objects["bbox"] == [[30, 10, 20, 10], [50, 5, 20, 20]] and objects["area"] == [200, 200]
            assert objects["category"] == [1, 0] and objects["difficult"] == [0, 1]
        assert second["objects"]["bbox"] == [] and fourth["objects"] is None
    assert "read as dota (3 of 4 images with an annotation)" in caplog.text
    streamed = load_dataset(str(dota), split="validation", streaming=True)
    assert [len(row["objects"]["bbox"]) for row in streamed] == [2]


def test_masks_of_dota(dota):
    masks = load_dataset(str(dota), split="validation", masks=True)[0]["objects"]["mask"].numpy()
    picture = PIL.Image.new("1", SIZE)
    PIL.ImageDraw.Draw(picture).polygon([(60, 5), (70, 15), (60, 25), (50, 15)], fill=1)
    assert masks[0].sum() == 200 and masks[0][10:20, 30:50].all()
    assert (masks[1] != np.array(picture)).sum() <= 45  # the border


def test_old_labels_without_difficult_beside_the_images(tmp_path, save_image):
    save_image(tmp_path / "set/1.png", SIZE)
    (tmp_path / "set/1.txt").write_text("1 1 9 1 9 9 1 9 ship\n")
    objects = load_dataset(str(tmp_path / "set"), split="train").with_format(None)[0]["objects"]
    assert objects["bbox"] == [[1, 1, 8, 8]] and objects["difficult"] == [0]


DOTA_FAULTS = {
    "line 2 has 8 values, not the corners": "1 1 9 1 9 9 1 ship",
    "line 2: 'x' is not a number": "1 1 x 1 9 9 1 9 ship 0",
    "line 2: difficult is 'no', not a whole number": "1 1 9 1 9 9 1 9 ship no",
    "reaches out of the image of 124 x 37 pixels": "100 10 140 10 140 20 100 20 ship 0",
    "line 2 has 1 values": "gsd:1.5",
}


@pytest.mark.parametrize("message", DOTA_FAULTS)
def test_faults_of_dota(dota, message):
    (dota / "train/labelTxt/P0002.txt").write_text(f"1 1 9 1 9 9 1 9 ship 0\n{DOTA_FAULTS[message]}\n")
    with pytest.raises(DataError, match=r"train/labelTxt/P0002\.txt") as caught:
        load_dataset(str(dota))
    assert message in str(caught.value)
    assert load_dataset(str(dota), on_error="skip", split="train")["image_id"][:] == ["train/images/P0001"]
    if "reaches" in message:
        objects = load_dataset(str(dota), boxes="clip", split="train").with_format(None)[1]["objects"]
        assert objects["bbox"][1] == [100, 10, 24, 10] and objects["area"][1] == 240


def test_faults_of_a_head(dota):
    (dota / "train/labelTxt/P0002.txt").write_text("gsd:far\n")
    with pytest.raises(DataError, match=r"P0002\.txt, gsd: 'far' is not a number"):
        load_dataset(str(dota))
    (dota / "train/labelTxt/P0002.txt").write_bytes(b"\xff\xfe1 2")
    with pytest.raises(DataError, match=r"P0002\.txt: it is not text in UTF-8"):
        load_dataset(str(dota))


def test_labels_of_others(tmp_path, save_image):
    """Texts of one form are only read by its layout."""
    texts = {"yolo": "0 0.5 0.5 0.2 0.2\n", "kitti": KITTI, "dota": DOTA, "captions": "a car on a road\n"}
    for name, text in texts.items():
        for number in range(3):
            save_image(tmp_path / name / f"{number}.png", SIZE)
            (tmp_path / name / f"{number}.txt").write_text(text)
        assert detect(Files.of(tmp_path / name)).name == name
