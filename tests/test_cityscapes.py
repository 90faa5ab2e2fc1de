"""Cityscapes' files as its tools write them, against numpy, Pillow and the published table of train ids."""

import json
import zipfile

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from dataset_scripts import DataError, load_dataset

PUBLISHED = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13}
PUBLISHED |= {27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
SIZE = (64, 32)
POLYGONS = (
    ("road", [[0, 16], [63, 16], [63, 31], [0, 31]]),
    ("cargroup", [[2, 20], [12, 20], [12, 28], [2, 28]]),
    ("car", [[20, 18], [30, 18], [34, 26], [18, 26]]),
    ("license plate", [[24, 24], [26, 24], [26, 25], [24, 25]]),
)


def annotate(folder, name, kind="gtFine", seed=0, extra=()):
    """Writes the files of an image; returns its label ids and instance ids."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 34, SIZE[::-1]).astype(np.uint8)
    instances = np.where(labels >= 24, labels.astype(np.uint16) * 1000 + 3, labels).astype(np.uint16)
    folder.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(labels).save(folder / f"{name}_{kind}_labelIds.png")
    PIL.Image.fromarray(instances).save(folder / f"{name}_{kind}_instanceIds.png")
    PIL.Image.fromarray(np.dstack([labels] * 3 + [np.full_like(labels, 255)])).save(folder / f"{name}_{kind}_color.png")
    objects = [{"label": label, "polygon": points} for label, points in (*POLYGONS, *extra)]
    said = {"imgHeight": SIZE[1], "imgWidth": SIZE[0], "objects": objects}
    (folder / f"{name}_{kind}_polygons.json").write_text(json.dumps(said, indent=4))
    return labels, instances


@pytest.fixture
def city(tmp_path, save_image):
    """A small Cityscapes; returns its folder, and pixels, labels and instances by name."""
    folder, written = tmp_path / "cityscapes", {}
    for seed, (split, place) in enumerate((("train", "aachen"), ("train", "ulm"), ("val", "lindau"), ("test", "bonn"))):
        name = f"{place}_000000_000019"
        pixels = save_image(folder / f"leftImg8bit/{split}/{place}/{name}_leftImg8bit.png", SIZE)
        written[name] = pixels, *annotate(folder / f"gtFine/{split}/{place}", name, seed=seed)
    (folder / "README").write_text("Cityscapes")
    return folder, written


def check(sets, written):
    assert {split: rows["image_id"] for split, rows in sets.items()} == {
        "train": ["aachen_000000_000019", "ulm_000000_000019"],
        "validation": ["lindau_000000_000019"],
        "test": ["bonn_000000_000019"],
    }
    for row in (row for rows in sets.values() for row in rows):
        pixels, labels, instances = written[row["image_id"]]
        assert np.array_equal((row["image"].numpy() * 255).round(), pixels.transpose(2, 0, 1))
        assert np.array_equal(row["mask"].numpy(), labels) and np.array_equal(row["instance_mask"].numpy(), instances)


def test_found_named_and_zipped(city, tmp_path, caplog):
    folder, written = city
    check(load_dataset(str(folder)), written)
    assert "read as cityscapes (4 images called _leftImg8bit, 12 files of annotations)" in caplog.text
    check(load_dataset("cityscapes", data_dir=str(folder), num_proc=2), written)
    (tmp_path / "zips").mkdir()
    for part in ("leftImg8bit", "gtFine"):  # as they are downloaded
        with zipfile.ZipFile(tmp_path / f"zips/{part}_trainvaltest.zip", "w") as archive:
            for path in sorted((folder / part).rglob("*.*")):
                archive.write(path, path.relative_to(folder))
    check(load_dataset(str(tmp_path / "zips")), written)


def test_folders_of_other_names(city):
    folder, written = city
    (folder / "leftImg8bit").rename(folder / "Images")
    (folder / "gtFine").rename(folder / "ann")
    check(load_dataset(str(folder)), written)


def test_train_ids(city, tmp_path):
    folder, written = city
    table = np.array([PUBLISHED.get(number, 255) for number in range(34)])
    rows = load_dataset("cityscapes", data_dir=str(folder), split="train", ids="train")
    for row in rows:
        assert np.array_equal(row["mask"].numpy(), table[written[row["image_id"]][1]])
    assert "Ids: 0 road, 1 sidewalk, 2 building" in rows.info.description and "18 bicycle." in rows.info.description
    for path in folder.rglob("*_labelIds.png"):  # as createTrainIdLabelImgs.py writes them
        PIL.Image.fromarray(table[np.asarray(PIL.Image.open(path))].astype(np.uint8)).save(
            str(path).replace("labelIds", "labelTrainIds")
        )
    check(load_dataset(str(folder)), written)
    for path in folder.rglob("*_labelIds.png"):
        path.unlink()
    with pytest.raises(DataError, match="has masks of train ids alone: pass ids='train'"):
        load_dataset(str(folder))
    again = load_dataset("cityscapes", data_dir=str(folder), split="train", ids="train")
    assert np.array_equal(again[1]["mask"].numpy(), rows[1]["mask"].numpy())


def test_objects(city):
    folder, _ = city
    rows = load_dataset("cityscapes", data_dir=str(folder), split="validation", objects=True, masks=True)
    names = rows.features["objects"]["category"].feature
    objects = rows[0]["objects"]
    assert names.names[26] == "car" and names.num_classes == 35
    assert names.int2str(objects["category"].tolist()) == ["road", "car", "car", "license plate"]
    assert objects["iscrowd"].tolist() == [False, True, False, False]
    assert objects["bbox"].tolist() == [[0, 16, 63, 15], [2, 20, 10, 8], [18, 18, 16, 8], [24, 24, 2, 1]]
    assert objects["area"].tolist() == [945, 80, 104, 2]
    assert objects["polygon"][2] == [20, 18, 30, 18, 34, 26, 18, 26]
    drawn = PIL.Image.new("1", SIZE)
    PIL.ImageDraw.Draw(drawn).polygon([tuple(point) for point in POLYGONS[2][1]], fill=1)
    assert np.count_nonzero(objects["mask"][2].numpy() != np.asarray(drawn)) < 30
    assert "polygon" not in load_dataset("cityscapes", data_dir=str(folder), split="train")[0]


def test_coarse_and_extra(city, save_image, caplog):
    folder, written = city
    name = "erlangen_000001_000019"
    save_image(folder / f"leftImg8bit/train_extra/erlangen/{name}_leftImg8bit.png", SIZE)
    coarse = annotate(folder / "gtCoarse/train_extra/erlangen", name, "gtCoarse", seed=9)
    more = annotate(folder / "gtCoarse/train/ulm", "ulm_000000_000019", "gtCoarse", seed=8)
    annotate(folder / "gtCoarse/train/aachen", "aachen_000000_000019", "gtCoarse", seed=8)
    sets = load_dataset(str(folder))
    assert sets["train_extra"][0]["mask"] is None
    check({split: sets[split] for split in ("train", "validation", "test")}, written)
    assert "annotations='gtCoarse' would read those, not gtFine" in caplog.text
    assert "no image of train_extra has mask, instance_mask: theirs are None" in caplog.text
    sets = load_dataset("cityscapes", data_dir=str(folder), annotations="gtCoarse")
    assert np.array_equal(sets["train_extra"][0]["mask"].numpy(), coarse[0])
    assert np.array_equal(sets["train"][1]["mask"].numpy(), more[0]) and sets["test"][0]["mask"] is None


def test_a_test_split_without_labels_and_known_company(city, save_image):
    folder, _ = city
    for path in (folder / "gtFine/test/bonn").iterdir():
        path.unlink()
    save_image(folder / "rightImg8bit/train/ulm/ulm_000000_000019_rightImg8bit.png", SIZE)
    save_image(folder / "disparity/train/ulm/ulm_000000_000019_disparity.png", SIZE, "L")
    (folder / "ulm_000000_000019_camera.json").write_text("{}")
    assert load_dataset(str(folder))["test"][0]["mask"] is None
    save_image(folder / "leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit_foggy.png", SIZE)
    with pytest.raises(DataError, match="1 images that no row shows in leftImg8bit/train/ulm/"):
        load_dataset(str(folder))


def test_faults(city, save_image):
    folder, _ = city
    data = {"data_dir": str(folder), "split": "train"}
    fine = folder / "gtFine/train/ulm"
    name = "ulm_000000_000019_gtFine"

    def refuse(message, left=("aachen_000000_000019",), **options):
        with pytest.raises(DataError, match=message):
            load_dataset("cityscapes", **data, **options)
        rows = load_dataset("cityscapes", **data, **options, on_error="skip")
        assert tuple(rows["image_id"]) == left

    annotate(fine, "ulm_000000_000019", extra=[("cat", [[1, 1], [2, 2], [3, 1]])])
    refuse("ulm_000000_000019_gtFine_polygons.json, object 5: cat is no class of Cityscapes", objects=True)
    annotate(fine, "ulm_000000_000019", extra=[("car", [[1, 1], [2, 2]])])
    refuse("polygons.json, object 5 is a polygon of 2 points", objects=True)
    annotate(fine, "ulm_000000_000019", extra=[("car", [[60, 1], [70, 1], [70, 9], [60, 9]])])
    refuse(r"object 5 \(car\): \[60, 1, 10, 8\] .* reaches out of the image .*boxes=\"clip\"", objects=True)
    clipped = load_dataset("cityscapes", **data, objects=True, boxes="clip")[1]["objects"]
    assert clipped["bbox"][4].tolist() == [60, 1, 4, 8] and clipped["area"][4] == 32
    (fine / f"{name}_polygons.json").write_text("{")
    refuse("ulm_000000_000019_gtFine_polygons.json: ", objects=True)
    PIL.Image.fromarray(np.full((32, 64), 40, np.uint8)).save(fine / f"{name}_labelIds.png")
    refuse("the pixel x=0, y=0 is 40, which is none of the label ids", ids="train")
    PIL.Image.fromarray(np.zeros((3, 4), np.uint8)).save(fine / f"{name}_labelIds.png")
    refuse("labelIds.png has 4 x 3 pixels, but its image has 64 x 32")
    (fine / f"{name}_labelIds.png").unlink()
    refuse("ulm_000000_000019_leftImg8bit.png has no labelIds, which others of train have")
    save_image(folder / "copy/ulm_000000_000019_leftImg8bit.png", SIZE)
    with pytest.raises(DataError, match="have the same name: remove one"):
        load_dataset("cityscapes", **data)
    for wrong, message in (({"ids": "x"}, "ids='x': it is 'label' or 'train'"), ({"annotations": "gt"}, "'gtFine' or")):
        with pytest.raises(DataError, match=message):
            load_dataset("cityscapes", **data, **wrong)
