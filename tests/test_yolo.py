"""YOLO labels against a closed form."""

import re
import shutil

import numpy as np
import PIL.Image
import pytest
import torch

from dataset_scripts import DataError, load_dataset

NAMES = ["person", "bicycle", "car"]


def write_scene(rng, save_image, image, label, count=3):
    """An image and its boxes: [category, x, y, width, height] in pixels."""
    width, height = (int(side) for side in rng.integers(24, 60, 2))
    save_image(image, (width, height))
    label.parent.mkdir(parents=True, exist_ok=True)
    boxes, lines = [], []
    for _ in range(count):
        (x, x2), (y, y2) = np.sort(rng.uniform(0, width, 2)), np.sort(rng.uniform(0, height, 2))
        category = int(rng.integers(0, 3))
        boxes.append([category, x, y, x2 - x, y2 - y])
        lines.append(
            f"{category} {(x + x2) / 2 / width:.7f} {(y + y2) / 2 / height:.7f} {(x2 - x) / width:.7f} {(y2 - y) / height:.7f}"
        )
    if count:
        label.write_text("\n".join(lines) + "\n")
    return boxes


@pytest.fixture
def scenes(tmp_path, save_image):
    """images/<split> and labels/<split>; stem -> boxes. One label file is empty, one image has none."""
    rng = np.random.default_rng(17)
    found = {}
    for split, numbers in (("train", range(8)), ("val", range(8, 12))):
        for number in numbers:
            image = tmp_path / "set/images" / split / f"{number:02}.jpg"
            label = tmp_path / "set/labels" / split / f"{number:02}.txt"
            found[f"{number:02}"] = write_scene(
                rng, save_image, image, label, count=0 if number in (2, 5) else number % 3 + 1
            )
    (tmp_path / "set/labels/train/02.txt").write_text("")
    (tmp_path / "set/data.yaml").write_text(
        f"path: /content/datasets/set\ntrain: images/train\nval: images/val\nnc: 3\nnames: {NAMES}\n"
    )
    return found


def assert_scenes(rows, scenes):
    for row in rows:
        boxes = scenes[row["image_id"].rpartition("/")[2]]
        told = np.array(boxes).reshape(-1, 5)
        assert row["objects"]["category"].tolist() == told[:, 0].tolist()
        assert np.allclose(row["objects"]["bbox"].numpy(), told[:, 1:], atol=1e-4)
        assert np.allclose(row["objects"]["area"].numpy(), told[:, 3] * told[:, 4], atol=1e-2)


def test_the_form_of_ultralytics(scenes, tmp_path, caplog):
    sets = load_dataset(str(tmp_path / "set"))
    assert "read as yolo (12 images, 11 label files, described by data.yaml)" in caplog.text
    assert {split: len(rows) for split, rows in sets.items()} == {"train": 8, "validation": 4}
    assert sets["train"].features["objects"]["category"].feature.names == NAMES
    for rows in sets.values():
        assert_scenes(rows, scenes)


def test_folders_of_roboflow_lists_and_names_with_ids(scenes, tmp_path):
    root = tmp_path / "set"
    for split, folder in (("train", "train"), ("val", "valid")):
        for kind in ("images", "labels"):
            (root / folder).mkdir(exist_ok=True)
            (root / kind / split).rename(root / folder / kind)
    shutil.rmtree(root / "images")
    shutil.rmtree(root / "labels")
    (root / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\nnames:\n  0: person\n  1: bicycle\n  2: car\n"
    )
    sets = load_dataset(str(root))
    assert {split: len(rows) for split, rows in sets.items()} == {"train": 8, "validation": 4}
    for rows in sets.values():
        assert_scenes(rows, scenes)
    (root / "some.txt").write_text("./train/images/03.jpg\n./train/images/01.jpg\n")
    (root / "data.yaml").write_text(f"train: some.txt\nnames: {NAMES}\n")
    assert load_dataset(str(root), split="train")["image_id"][:] == ["train/images/01", "train/images/03"]


def test_darknet(scenes, tmp_path):
    root = tmp_path / "darknet"
    shutil.copytree(tmp_path / "set/images/train", root / "obj_train_data")
    shutil.copytree(tmp_path / "set/labels/train", root / "obj_train_data", dirs_exist_ok=True)
    (root / "obj.names").write_text("\n".join(NAMES) + "\n")
    (root / "obj.data").write_text("classes = 3\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    (root / "train.txt").write_text("".join(f"data/obj_train_data/{number:02}.jpg\n" for number in range(8)))
    rows = load_dataset(str(root), split="train")
    assert len(rows) == 8 and rows.features["objects"]["category"].feature.names == NAMES
    assert_scenes(rows, scenes)


def test_without_a_yaml(scenes, tmp_path):
    (tmp_path / "set/data.yaml").unlink()
    sets = load_dataset(str(tmp_path / "set"))
    assert list(sets) == ["train", "validation"] and sets["train"].features["objects"]["category"].feature.names == [
        "0",
        "1",
        "2",
    ]
    (tmp_path / "set/classes.txt").write_text("\n".join(NAMES))
    sets = load_dataset(str(tmp_path / "set"))
    assert sets["train"].features["objects"]["category"].feature.names == NAMES
    assert_scenes(sets["validation"], scenes)


def one(tmp_path, save_image, text, yaml="", size=(40, 20)):
    """A set of one image and the text of its label file."""
    save_image(tmp_path / "images/1.png", size)
    (tmp_path / "labels").mkdir(exist_ok=True)
    (tmp_path / "labels/1.txt").write_text(text)
    (tmp_path / "data.yaml").write_text(f"train: images\nnames: {NAMES}\n{yaml}")
    return str(tmp_path)


def test_polygons_and_masks(tmp_path, save_image):
    corners = [(0.25, 0.2), (0.75, 0.2), (0.75, 0.7), (0.25, 0.7)]
    line = "1 " + " ".join(f"{x} {y}" for x, y in corners)
    row = load_dataset("yolo", data_dir=one(tmp_path, save_image, line), masks=True, split="train")[0]
    assert row["objects"]["bbox"].tolist() == [[10, 4, 20, 10]] and row["objects"]["area"].tolist() == [200]
    expected = torch.zeros(20, 40, dtype=torch.bool)
    expected[4:14, 10:30] = True
    assert torch.equal(row["objects"]["mask"][0], expected)
    with pytest.raises(DataError, match="line 2 is a box: masks=True takes polygons"):
        load_dataset("yolo", data_dir=one(tmp_path, save_image, line + "\n1 .5 .5 .1 .1"), masks=True)


@pytest.mark.parametrize("dims, text, seen", [(3, "0.25 0.5 2 0.5 0.25 1", [2, 1]), (2, "0.25 0.5 -1 -1", [2, 0])])
def test_keypoints(tmp_path, save_image, dims, text, seen):
    folder = one(tmp_path, save_image, f"0 .5 .5 .5 .5 {text}", f"kpt_shape: [2, {dims}]\n")
    row = load_dataset(folder, split="train")[0]
    assert row["objects"]["visible"].tolist() == [seen] and row["objects"]["keypoints"][0][0].tolist() == [10, 10]
    assert row["objects"]["bbox"].tolist() == [[10, 5, 20, 10]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_fractions_are_of_the_image_as_shown(tmp_path, orientation):
    stored = np.zeros((20, 40, 3), np.uint8)
    stored[2:8, 5:25] = 255
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(stored).save(tmp_path / "1.png", exif=exif)
    shown = np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(tmp_path / "1.png")))[..., 0] > 0
    (y, x), (bottom, right) = np.argwhere(shown).min(0), np.argwhere(shown).max(0) + 1
    height, width = shown.shape
    (tmp_path / "1.txt").write_text(
        f"0 {(x + right) / 2 / width} {(y + bottom) / 2 / height} {(right - x) / width} {(bottom - y) / height}\n"
    )
    row = load_dataset("yolo", data_dir=str(tmp_path), split="train")[0]
    assert np.allclose(row["objects"]["bbox"], [[x, y, right - x, bottom - y]], atol=1e-4)


def test_streaming_num_proc_and_zip(scenes, tmp_path):
    whole = load_dataset(str(tmp_path / "set"), split="train", transform=None)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "set")
    for other in (
        load_dataset(str(tmp_path / "set"), split="train", transform=None, streaming=True),
        load_dataset(str(tmp_path / "set"), split="train", transform=None, num_proc=2, cache_dir=str(tmp_path / "two")),
        load_dataset(str(tmp_path / "packed.zip"), split="train", transform=None),
    ):
        for row, same in zip(whole, other, strict=True):
            assert np.array_equal(row.pop("image"), same.pop("image")) and row == same


@pytest.mark.parametrize(
    "line, message",
    [
        ("1 .5 .5 .1", "labels/1.txt, line 2: there are 4 numbers; a box has 5"),
        ("1 .5 .5 .1 .1 .9", "labels/1.txt, line 2: the sixth number looks like the confidence"),
        ("x .5 .5 .1 .1", "labels/1.txt, line 2: could not convert string to float: 'x'"),
        ("3 .5 .5 .1 .1", "labels/1.txt, line 2: class 3 is not one of 0 to 2"),
        ("1.5 .5 .5 .1 .1", "labels/1.txt, line 2: class 1.5 is not one of 0 to 2"),
        ("1 .9 .5 .5 .1", r"labels/1.txt, line 2: \[26, 9, 20, 2\] .* reaches out of the image of 40 x 20"),
        ("1 .5 .5 -.1 .1", "labels/1.txt, line 2: .* is not a box in"),
        ("1 nan .5 .1 .1", "labels/1.txt, line 2: .* is not a box in"),
    ],
)
def test_faults_of_a_line(tmp_path, save_image, line, message, caplog):
    folder = one(tmp_path, save_image, f"0 .5 .5 .2 .2\n{line}\n")
    save_image(tmp_path / "images/2.png")
    with pytest.raises(DataError, match=message):
        load_dataset(folder)
    rows = load_dataset(folder, split="train", on_error="skip")
    assert (
        rows["image_id"][:] == ["images/2"] and "1 skipped, such as:" in caplog.text and re.search(message, caplog.text)
    )


@pytest.mark.parametrize(
    "yaml, message",
    [
        ("train: images\nnames: {0: a, 2: b}\n", "data.yaml: the ids in names are not 0 to 1"),
        ("train: images\nnc: 4\nnames: [a, b]\n", "data.yaml: there are 4 classes, but 2 names"),
        ("train: images\nnames: [a, a]\n", "data.yaml: two classes have the same name"),
        ("train: gone\nnames: [a]\n", "data.yaml: there are no images in the places that it names"),
        ("train: list.txt\nnames: [a]\n", "list.txt, line 1: there is no image images/7.png"),
        ("train: [images\nnames: [a]\n", "data.yaml, line 2: expected ',' or"),
        ("train: ../../etc\nnames: [a]\n", "data.yaml: there are no images in the places that it names"),
        ("train: images\nnames: [a, no]\n", "data.yaml: name 1 is a bool in yaml: put it in quotes"),
        ("train: images\nnames: [a, 2024-13-45]\n", "data.yaml, line 2: month must be in 1..12"),
        ("train: images\nnames: " + "[" * 10_000, "data.yaml, line 2: it is nested more than 100 levels deep"),
        ("train: images\nnames: [a]\nkpt_shape: [0, 3]\n", r"data.yaml: kpt_shape is not \[how many, 2 or 3\]"),
        (
            "train: images\nnames: !!python/object/apply:os.getcwd []\n",
            "data.yaml, line 2: the tag .* is not read here",
        ),
    ],
)
def test_faults_of_the_description(tmp_path, save_image, yaml, message):
    folder = one(tmp_path, save_image, "0 .5 .5 .2 .2")
    (tmp_path / "data.yaml").write_text(yaml)
    (tmp_path / "list.txt").write_text("images/7.png\n")
    with pytest.raises(DataError, match=message):
        load_dataset("yolo", data_dir=folder)


@pytest.mark.parametrize("key", ["train", "path", "nc", "names", "kpt_shape"])
def test_a_yaml_that_would_grow_without_end(tmp_path, save_image, key):
    folder = one(tmp_path, save_image, "0 .5 .5 .2 .2")
    levels = "".join(f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]\n" for level in range(1, 40))
    said = {"train": "images", "names": "[a]"} | {key: "*l39"}
    text = "l0: &l0 [x]\n" + levels + "".join(f"{name}: {value}\n" for name, value in said.items())
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=r"data.yaml, line \d+: its aliases expand it more than 10 times") as error:
        load_dataset("yolo", data_dir=folder)
    assert len(str(error.value)) < 1000


def test_a_folder_without_images_is_told(tmp_path, save_image, caplog):
    folder = one(tmp_path, save_image, "0 .5 .5 .2 .2")
    (tmp_path / "none").mkdir()
    (tmp_path / "none/notes.md").write_text("x")
    (tmp_path / "data.yaml").write_text("train: [images, none, gone]\ntest: test\nnames: [a]\n")
    assert {split: len(rows) for split, rows in load_dataset(folder).items()} == {"train": 1}
    for key, entry in (("train", "none"), ("train", "gone"), ("test", "test")):
        assert f"data.yaml: {key}: there are no images in {entry}" in caplog.text


def test_two_images_of_one_stem(tmp_path, save_image):
    folder = one(tmp_path, save_image, "0 .5 .5 .2 .2")
    save_image(tmp_path / "images/1.jpg")
    with pytest.raises(DataError, match="another image has this stem, so that both have one label file"):
        load_dataset(folder)


def test_the_example_of_the_card(scenes, tmp_path, root):
    example = re.findall(
        r"```python\n(.*?)```", (root / "dataset_scripts/layouts/yolo/README.md").read_text(), re.DOTALL
    )[1]
    scope = {}
    exec(example.replace("path/to/set", str(tmp_path / "set")), scope)
    assert all(torch.isfinite(loss) for loss in scope["losses"].values())
