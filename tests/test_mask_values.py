"""Masks whose numbers are no ids: black and white, soft ones, several of an image. Against numpy and Pillow."""

import zipfile

import numpy as np
import PIL.Image
import PIL.ImageFilter
import pytest

from dataset_scripts import DataError, load_dataset


def disc(number: int, size=(40, 30)) -> np.ndarray:
    """A filled circle (H, W), bool."""
    y, x = np.mgrid[: size[1], : size[0]]
    return (x - 12 - number) ** 2 + (y - 14) ** 2 < 64


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(array).save(path, **options)


@pytest.fixture
def binary(tmp_path, save_image):
    """Images with masks of 0 and 255; returns the folder."""
    for number in range(3):
        save_image(tmp_path / f"set/images/{number}.png", (40, 30))
        save(tmp_path / f"set/masks/{number}.png", disc(number).astype(np.uint8) * 255)
    return tmp_path / "set"


def ids(rows) -> dict[str, np.ndarray]:
    return {row["image_id"]: row["mask"].numpy() for row in rows}


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1"])
def test_black_and_white_become_0_and_1(binary, caplog, mode):
    for path in (binary / "masks").iterdir():
        PIL.Image.open(path).convert(mode).save(path)
    save(binary / "masks/2.png", np.zeros((30, 40), np.uint8))  # blank
    found = ids(load_dataset(str(binary), split="train"))
    for number in range(2):
        assert np.array_equal(found[str(number)], disc(number))
    assert not found["2"].any()
    assert ("masks hold 0 and 255, which become the ids 0 and 1" in caplog.text) == (mode != "1")
    given = ids(load_dataset("mask_pairs", data_dir=str(binary), split="train", values=[0, 255]))
    assert all(np.array_equal(found[name], given[name]) for name in found)


def test_blank_masks_do_not_decide(tmp_path, save_image):
    for number in range(130):
        save_image(tmp_path / f"images/{number:03}.png", (8, 6))
        save(tmp_path / f"masks/{number:03}.png", np.full((6, 8), 255 * (number == 129), np.uint8))
    found = ids(load_dataset(str(tmp_path), split="train"))
    assert [name for name, mask in found.items() if mask.any()] == ["129"] and (found["129"] == 1).all()


def test_what_the_first_masks_say_is_enforced(tmp_path, save_image):
    for number in range(201):  # every third is looked at
        save_image(tmp_path / f"images/{number:03}.png", (8, 6))
        save(tmp_path / f"masks/{number:03}.png", np.full((6, 8), 255, np.uint8))
    odd = np.full((6, 8), 255, np.uint8)
    odd[2, 5] = 7
    save(tmp_path / "masks/100.png", odd)
    with pytest.raises(DataError, match=r"masks/100.png: the pixel x=5, y=2 is 7, while others, such as masks/000.png"):
        load_dataset(str(tmp_path))
    rows = load_dataset(str(tmp_path), split="train", on_error="skip")
    assert len(rows) == 200 and "100" not in rows["image_id"]
    found = ids(load_dataset("mask_pairs", data_dir=str(tmp_path), split="train", values="stored"))
    assert np.array_equal(found["100"], odd) and (found["000"] == 255).all()


def test_one_odd_mask_among_those_looked_at(binary):
    odd = disc(1).astype(np.uint8) * 255
    odd[0, 0] = 254
    save(binary / "masks/1.png", odd)
    with pytest.raises(
        DataError, match=r"2 of 3 masks hold only 0 and 255, such as masks/0.png, but masks/1.png does not"
    ):
        load_dataset(str(binary))
    found = ids(load_dataset("mask_pairs", data_dir=str(binary), split="train", threshold=255))
    assert np.array_equal(found["1"], disc(1))


def test_ids_with_255_for_what_is_ignored_stay(tmp_path, save_image):
    written = {}
    for number in range(4):
        save_image(tmp_path / f"images/{number}.png")
        written[str(number)] = np.full((7, 9), 255, np.uint8)
        written[str(number)][2:] = 1 if number else 0
        save(tmp_path / f"masks/{number}.png", written[str(number)])
    found = ids(load_dataset(str(tmp_path), split="train"))
    assert all(np.array_equal(found[name], written[name]) for name in written)


def test_values(tmp_path, save_image):
    numbers = np.array([[1, 2, 3], [3, 3, 1]], np.uint8)  # trimaps of Oxford's pets
    save_image(tmp_path / "images/a.png", (3, 2))
    save(tmp_path / "masks/a.png", numbers)
    options = {"data_dir": str(tmp_path), "split": "train"}
    assert np.array_equal(ids(load_dataset("mask_pairs", **options, values=[3, 1, 2]))["a"], [[1, 2, 0], [0, 0, 1]])
    with pytest.raises(DataError, match=r"masks/a.png: the pixel x=2, y=0 is 3, which is none of values=\[1, 2\]"):
        load_dataset("mask_pairs", **options, values=[1, 2])
    for wrong, message in (
        ({"values": [0, 0]}, r"values=\[0, 0\] is not a list of different numbers"),
        ({"values": "x"}, "values='x' is not a list"),
        ({"threshold": 0}, "threshold=0 is not a number of 1 to 255"),
        ({"values": [0, 255], "threshold": 128}, "values and threshold exclude each other"),
    ):
        with pytest.raises(DataError, match=message):
            load_dataset("mask_pairs", **options, **wrong)


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_soft_masks_need_a_threshold(tmp_path, save_image, kind, mode):
    stored = {}
    for number in range(3):
        save_image(tmp_path / f"images/{number}.png", (40, 30))
        soft = PIL.Image.fromarray(disc(number).astype(np.uint8) * 255).filter(PIL.ImageFilter.GaussianBlur(2))
        path = tmp_path / f"masks/{number}.{kind}"
        path.parent.mkdir(exist_ok=True)
        soft.convert(mode).save(path, quality=90) if kind == "jpg" else soft.convert(mode).save(path)
        stored[str(number)] = np.asarray(PIL.Image.open(path).convert("L"))
    with pytest.raises(DataError, match="threshold=128"):
        load_dataset(str(tmp_path))
    found = ids(load_dataset("mask_pairs", data_dir=str(tmp_path), split="train", threshold=128))
    assert all(np.array_equal(found[name], stored[name] >= 128) for name in stored)


def test_remains_of_jpeg_are_soft(binary):
    for path in (binary / "masks").iterdir():
        image = PIL.Image.open(path)
        image.save(binary.parent / "x.jpg", quality=95)
        PIL.Image.open(binary.parent / "x.jpg").save(path)
    with pytest.raises(DataError, match=r"masks such as masks/0.png are soft, with \d+ greys up to 255"):
        load_dataset(str(binary))


def test_grey_pictures_are_soft(tmp_path, save_image):
    save_image(tmp_path / "images/a.png", (128, 128))
    save(tmp_path / "masks/a.png", np.tile(np.arange(0, 256, 2, dtype=np.uint8), (128, 1)))
    with pytest.raises(DataError, match="masks/a.png are soft, with 128 greys"):
        load_dataset(str(tmp_path))


def test_many_instances_are_not_soft(tmp_path, save_image):
    save_image(tmp_path / "images/a.png", (128, 128))
    cells = np.arange(128 * 128).reshape(128, 128) // 64  # 256 ids
    save(tmp_path / "masks/a.png", cells.astype(np.uint8))
    assert np.array_equal(ids(load_dataset(str(tmp_path), split="train"))["a"], cells)


def test_greys_of_a_table_of_colors(binary, caplog):
    (binary / "class_dict.csv").write_text("name,r,g,b\nbuilding,255,255,255\nnone,0,0,0\n")
    found = ids(load_dataset("mask_pairs", data_dir=str(binary), split="train"))
    assert np.array_equal(found["1"], 1 - disc(1)) and "the greys of masks are those of" in caplog.text
    (binary / "class_dict.csv").write_text("name,r,g,b\nbuilding,255,0,0\nnone,0,0,0\n")
    with pytest.raises(DataError, match="masks hold 0 and 255, which .*class_dict.csv does not name"):
        load_dataset("mask_pairs", data_dir=str(binary))


def test_a_palette_among_black_and_white(binary):
    image = PIL.Image.fromarray(disc(1).astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(binary / "masks/1.png")
    with pytest.raises(DataError, match="2 of 3 masks hold only 0 and 255"):
        load_dataset(str(binary))
    with pytest.raises(DataError, match="masks/1.png has a palette"):
        load_dataset("mask_pairs", data_dir=str(binary), threshold=128)


def test_busi(tmp_path, save_image, caplog):
    """Dataset_BUSI_with_GT: names with blanks and brackets, further masks, and blank ones of normal scans."""
    folder = tmp_path / "Dataset_BUSI_with_GT"
    drawn = {}
    for name, count in (("benign", 3), ("malignant", 2), ("normal", 2)):
        for number in range(1, count + 1):
            save_image(folder / f"{name}/{name} ({number}).png", (40, 30))
            mask = disc(number) & (name != "normal")
            save(folder / f"{name}/{name} ({number})_mask.png", mask)
            drawn[f"{name}/{name} ({number})"] = mask
    for place, number in (("_1", 20), ("_2", 0)):
        save(folder / f"benign/benign (2)_mask{place}.png", disc(number))
        drawn["benign/benign (2)"] = drawn["benign/benign (2)"] | disc(number)
    rows = load_dataset(str(tmp_path), split="train")
    assert rows.features["label"].names == ["benign", "malignant", "normal"]
    found = {row["image_id"].removeprefix("Dataset_BUSI_with_GT/"): row for row in rows}
    assert found.keys() == drawn.keys()
    for name, mask in drawn.items():
        assert np.array_equal(found[name]["mask"].numpy(), mask)
        assert rows.features["label"].int2str(found[name]["label"]) == name.partition("/")[0]
    save(folder / "benign/benign (9)_mask_1.png", disc(1))
    with pytest.raises(DataError, match=r"benign \(9\)_mask_1.png has no mask"):
        load_dataset(str(tmp_path))


@pytest.fixture
def bowl(tmp_path, save_image):
    """The tree of the Data Science Bowl 2018; returns the folder and the ids of each image."""
    folder, expected = tmp_path / "bowl", {}
    for name, count in (("00ae65", 3), ("0a7d30", 300)):
        pixels = save_image(folder / f"stage1_train/{name}/images/{name}.png", (40, 30), "RGBA")
        ids = np.zeros((30, 40), np.uint16)
        for number in range(count):
            mask = np.zeros((30, 40), np.uint8)
            mask[number // 40 * 3 : number // 40 * 3 + 2, number % 40] = 255
            save(folder / f"stage1_train/{name}/masks/{number:04}f1.png", mask)
            ids[mask > 0] = number + 1
        expected[name] = pixels, ids
    save_image(folder / "stage1_test/0bda51/images/0bda51.png", (40, 30), "RGBA")
    (folder / "stage1_train_labels.csv").write_text("ImageId,EncodedPixels\n00ae65,1 2 41 2\n")
    (folder / "stage1_sample_submission.csv").write_text("ImageId,EncodedPixels\n0bda51,1 1\n")
    return folder, expected


@pytest.mark.parametrize("form", ["found", "named", "zip", "processes"])
def test_data_science_bowl(bowl, tmp_path, caplog, form):
    folder, expected = bowl
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "bowl.zip", "w") as archive:
            for path in sorted(folder.rglob("*.*")):
                archive.write(path, path.relative_to(tmp_path))
        sets = load_dataset(str(tmp_path / "bowl.zip"))
    elif form == "named":
        sets = load_dataset("instance_masks", data_dir=str(folder))
    else:
        sets = load_dataset(str(folder), num_proc=2 if form == "processes" else None)
        assert "read as instance_masks (3 images in folders of their name, with 303 masks of objects)" in caplog.text
    assert list(sets) == ["train", "test"] and len(sets["train"]) == 2 and len(sets["test"]) == 1
    for row in sets["train"]:
        pixels, ids = expected[row["image_id"]]
        assert np.array_equal(row["instance_mask"].numpy(), ids)
        assert np.array_equal((row["image"].numpy() * 255).round().astype(np.uint8), pixels.transpose(2, 0, 1))
    assert sets["test"][0]["instance_mask"] is None
    assert "stage1_train_labels.csv is left out" in caplog.text and "no image of test has masks" in caplog.text


def test_faults_of_instance_masks(bowl, tmp_path, caplog):
    folder, expected = bowl
    masks = folder / "stage1_train/00ae65/masks"
    save(masks / "9.png", np.full((30, 40), 255, np.uint8))
    row = load_dataset(str(folder), split="train")[0]
    assert (
        row["instance_mask"] == 4
    ).all() and "masks overlap in 6 pixels, which are of the later object" in caplog.text
    for array, message in (
        (np.full((30, 40), 7, np.uint8), "masks/9.png holds 7: the mask of an object is black and white"),
        (np.zeros((3, 4), np.uint8), "masks/9.png has 4 x 3 pixels, but its image has 40 x 30"),
    ):
        save(masks / "9.png", array)
        with pytest.raises(DataError, match=message):
            load_dataset(str(folder))
        assert load_dataset(str(folder), split="train", on_error="skip")["image_id"] == ["0a7d30"]
    for path in masks.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="1 of 3 images have no masks, such as stage1_train/00ae65/images/00ae65.png"):
        load_dataset(str(folder))
    assert load_dataset(str(folder), split="train", on_error="skip")["image_id"] == ["0a7d30"]


def test_instance_masks_in_folders_of_other_names(bowl):
    folder, expected = bowl
    for name in expected:
        for old, new in (("images", "Photo"), ("masks", "cells")):
            (folder / f"stage1_train/{name}/{old}").rename(folder / f"stage1_train/{name}/{new}")
    options = {"images": "photo", "masks": "cells", "ignore": ["stage1_test/**"]}
    rows = load_dataset("instance_masks", data_dir=str(folder), split="train", **options)
    assert np.array_equal(rows[1]["instance_mask"].numpy(), expected["0a7d30"][1])
    with pytest.raises(DataError, match="no folders with one image in images/"):
        load_dataset("instance_masks", data_dir=str(folder))
