"""COCO's panoptic files against the arrays that the test drew."""

import json
import re
import shutil

import numpy as np
import PIL.Image
import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.layouts.coco.coco import matches
from dataset_scripts.layouts.coco.sources import annotation_files

CATEGORIES = [
    {"id": 200, "name": "sky-other-merged", "supercategory": "sky-other-merged", "isthing": 0},
    {"id": 1, "name": "person", "supercategory": "person", "isthing": 1},
    {"id": 3, "name": "car", "supercategory": "vehicle", "isthing": 1},
]
ORDER = [1, 3, 200]  # of the classes: that of the ids
SPLITS = ("train2017", "val2017")


def draw(rng, height, width, count=5):
    """Segments: their numbers (H, W), 0 where there is none, and their ids, more than a byte of a colour holds."""
    numbers = rng.integers(0, count + 1, (height, width))
    numbers.flat[: count + 1] = np.arange(count + 1)
    ids = rng.choice((1 << 24) - 1, count, replace=False) + 1
    return numbers, ids


def colours(numbers, ids):
    found = np.concatenate([[0], ids])[numbers]
    return np.dstack([found % 256, found // 256 % 256, found // 65536]).astype(np.uint8)


def describe(numbers, ids, categories):
    segments = []
    for number, (segment, category) in enumerate(zip(ids.tolist(), categories), 1):
        rows, columns = np.nonzero(numbers == number)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        segments.append(
            {
                "id": segment,
                "category_id": int(category),
                "area": len(rows),
                "bbox": [int(side) for side in box],
                "iscrowd": int(number == 2),
            }
        )
    return segments


@pytest.fixture
def coco(tmp_path, save_image):
    """COCO's tree; returns its folder, and the numbers and segments of each image by its id."""
    rng, root, drawn = np.random.default_rng(3), tmp_path / "coco", {}
    for first, split in zip((10, 20), SPLITS):
        images, annotations = [], []
        for number in range(first, first + 4):
            width, height = (int(side) for side in rng.integers(12, 30, 2))
            save_image(root / split / f"{number:012}.jpg", (width, height))
            numbers, ids = draw(rng, height, width)
            segments = describe(numbers, ids, rng.choice([1, 3, 200], len(ids)))
            drawn[number] = numbers, segments
            path = root / f"annotations/panoptic_{split}/{number:012}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(colours(numbers, ids)).save(path)
            images.append({"id": number, "file_name": f"{number:012}.jpg", "width": width, "height": height})
            annotations.append({"image_id": number, "file_name": f"{number:012}.png", "segments_info": segments})
        rng.shuffle(annotations)
        content = {"info": {}, "images": images, "annotations": list(annotations), "categories": CATEGORIES}
        (root / f"annotations/panoptic_{split}.json").write_text(json.dumps(content))
    return root, drawn


def change(root, edit, split="train2017"):
    """Changes a json file."""
    path = root / f"annotations/panoptic_{split}.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def check(rows, drawn):
    for row in rows:
        numbers, segments = drawn[row["image_id"]]
        objects = row["objects"]
        assert np.array_equal(row["instance_mask"].numpy(), numbers)
        classes = np.array([255, *(ORDER.index(segment["category_id"]) for segment in segments)])
        assert np.array_equal(row["mask"].numpy(), classes[numbers])
        assert objects["bbox"].tolist() == [segment["bbox"] for segment in segments]
        assert objects["category"].tolist() == classes[1:].tolist()
        assert objects["isthing"].tolist() == [segment["category_id"] != 200 for segment in segments]
        for name in ("area", "iscrowd", "id"):
            assert objects[name].tolist() == [segment[name] for segment in segments]


def test_found_by_content_named_streamed_and_zipped(coco, tmp_path, caplog):
    root, drawn = coco
    sets = load_dataset(str(root))
    assert "read as coco (16 images; annotations in annotations/panoptic_train2017.json" in caplog.text
    assert {split: rows["image_id"] for split, rows in sets.items()} == {
        "train": [10, 11, 12, 13],
        "validation": [20, 21, 22, 23],
    }
    assert sets["train"].features["objects"]["category"].feature.names == ["person", "car", "sky-other-merged"]
    for rows in sets.values():
        check(rows, drawn)
    stored = sets["train"].with_format(None)[0]
    assert stored["mask"].mode == "L" and stored["instance_mask"].mode == "I;16"
    check(load_dataset("coco", data_dir=str(root), task="panoptic", split="validation", num_proc=2), drawn)
    streamed = list(load_dataset(str(root), split="train", streaming=True))
    assert len(streamed) == 4
    check(streamed, drawn)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "coco")
    check(load_dataset(str(tmp_path / "packed.zip"), split="train"), drawn)
    (tmp_path / "zips").mkdir()
    for part in ("train2017", "val2017", "annotations"):  # the pngs are in another archive than the images
        shutil.make_archive(str(tmp_path / f"zips/{part}"), "zip", root, part)
    (root / "test2017").mkdir()
    PIL.Image.new("RGB", (5, 4)).save(root / "test2017/99.jpg")
    shutil.make_archive(str(tmp_path / "zips/test2017"), "zip", root, "test2017")
    sets = load_dataset(str(tmp_path / "zips"), transform=None)
    assert {split: len(rows) for split, rows in sets.items()} == {"train": 4, "validation": 4, "test": 1}
    row = sets["test"][0]
    assert row["mask"] is None and row["instance_mask"] is None and row["objects"] is None
    numbers, _ = drawn[int(sets["train"][0]["image_id"])]
    assert np.array_equal(np.asarray(sets["train"][0]["instance_mask"]), numbers)


def test_code_of_panopticapi(coco):
    """The ids as its `rgb2id` reads them, of the file itself."""
    root, drawn = coco
    for row in load_dataset(str(root), split="train"):
        pixels = np.array(PIL.Image.open(root / f"annotations/panoptic_train2017/{row['image_id']:012}.png"), np.int32)
        ids = pixels[:, :, 0] + 256 * pixels[:, :, 1] + 256 * 256 * pixels[:, :, 2]
        for number, segment in enumerate(row["objects"]["id"].tolist(), 1):
            assert np.array_equal(ids == segment, row["instance_mask"].numpy() == number)
        assert np.array_equal(ids == 0, row["mask"].numpy() == 255)


def test_masks_of_segments(coco):
    root, drawn = coco
    row = load_dataset(str(root), split="train", masks=True)[0]
    numbers, segments = drawn[10]
    expected = np.stack([numbers == number for number in range(1, len(segments) + 1)])
    assert np.array_equal(row["objects"]["mask"].numpy(), expected)


@pytest.mark.parametrize("folder", ["annotations/panoptic_train2017", "pngs"])
def test_instances_stay_detection(coco, folder, caplog):
    root, drawn = coco
    shutil.rmtree(root / "val2017")
    shutil.rmtree(root / "annotations/panoptic_val2017")
    (root / "annotations/panoptic_val2017.json").unlink()
    if folder == "pngs":  # found by the file names that the json gives
        (root / "annotations/panoptic_train2017").rename(root / "pngs")
    content = json.loads((root / "annotations/panoptic_train2017.json").read_text())
    boxes = [{"id": n, "image_id": 10 + n, "category_id": 3, "bbox": [n, 1, 4, 5]} for n in range(3)]
    content = {"images": content["images"], "annotations": boxes, "categories": CATEGORIES}
    (root / "annotations/instances_train2017.json").write_text(json.dumps(content))
    rows = load_dataset(str(root), split="train", transform=None)
    assert "annotations/panoptic_train2017.json: task='panoptic' reads them" in caplog.text
    assert list(rows.features) == ["image", "image_id", "objects"] and rows["image_id"] == [10, 11, 12, 13]
    assert [objects["bbox"] for objects in rows["objects"]] == [[[0, 1, 4, 5]], [[1, 1, 4, 5]], [[2, 1, 4, 5]], []]
    check(load_dataset(str(root), split="train", task="panoptic"), drawn)
    named = {"train": "annotations/panoptic_train2017.json"}
    check(load_dataset("coco", data_dir=str(root), data_files=named, split="train"), drawn)


def test_other_names_and_pngs_beside_images_of_the_same_names(tmp_path, save_image):
    """train.json; images/1.png beside panoptic/1.png, or masks/1.png with images="images"."""
    rng = np.random.default_rng(8)
    numbers, ids = draw(rng, 7, 9)
    segments = describe(numbers, ids, [1, 3, 200, 1, 3])
    save_image(tmp_path / "images/1.png")
    (tmp_path / "panoptic").mkdir()
    PIL.Image.fromarray(colours(numbers, ids)).save(tmp_path / "panoptic/1.png")
    annotation = {"segments_info": segments, "file_name": "1.png", "image_id": "a"}
    content = {"categories": CATEGORIES, "annotations": [annotation], "images": [{"id": "a", "file_name": "1.png"}]}
    (tmp_path / "everything.json").write_text(json.dumps(content))
    check(load_dataset(str(tmp_path), split="train"), {"a": (numbers, segments)})
    (tmp_path / "panoptic").rename(tmp_path / "masks")
    with pytest.raises(DataError, match="pngs of everything.json may lie in images, masks: .* by images=…"):
        load_dataset(str(tmp_path))
    check(load_dataset(str(tmp_path), images="images", split="train"), {"a": (numbers, segments)})


def test_long_lists_of_categories_and_many_classes(tmp_path, save_image):
    """The ends of the json show no segment; 16 bits hold the classes."""
    rng = np.random.default_rng(9)
    numbers, ids = draw(rng, 7, 9)
    segments = describe(numbers, ids, [5, 255, 256, 299, 0])
    save_image(tmp_path / "images/1.jpg")
    (tmp_path / "pngs").mkdir()
    PIL.Image.fromarray(colours(numbers, ids)).save(tmp_path / "pngs/1.png")
    images = [{"id": 1, "file_name": "1.jpg", "license": 1, "url": "x" * 20000}]
    categories = [{"id": n, "name": f"class {n}", "isthing": n % 2, "color": [0, 0, n % 256]} for n in range(300)]
    annotations = [{"segments_info": segments, "file_name": "1.png", "image_id": 1}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "a.json").write_text(json.dumps(content))
    row = load_dataset(str(tmp_path), split="train")[0]
    assert np.array_equal(row["mask"].numpy(), np.array([65535, 5, 255, 256, 299, 0])[numbers])
    assert row["objects"]["isthing"].tolist() == [True, True, False, True, False]


def test_what_a_json_leaves_out_is_measured(coco):
    """Predictions have neither boxes nor areas; some categories do not say what they are."""
    root, drawn = coco

    def edit(content):
        for annotation in content["annotations"]:
            annotation["segments_info"] = [
                {"id": segment["id"], "category_id": segment["category_id"]} for segment in annotation["segments_info"]
            ]
        for category in content["categories"]:
            del category["isthing"]

    change(root, edit)
    for row in load_dataset(str(root), split="train", transform=None):
        numbers, segments = drawn[row["image_id"]]
        assert row["objects"]["bbox"] == [segment["bbox"] for segment in segments]
        assert row["objects"]["area"] == [segment["area"] for segment in segments]


def test_palettes_and_unlabelled_images(coco):
    root, drawn = coco
    path = root / "annotations/panoptic_train2017/000000000010.png"
    PIL.Image.open(path).quantize(16).save(path)  # as tools that shrink pngs write it
    check(load_dataset(str(root), split="train"), drawn)
    numbers, _ = drawn[11]
    PIL.Image.new("RGB", numbers.shape[::-1]).save(root / "annotations/panoptic_train2017/000000000011.png")
    change(root, lambda content: [a.update(segments_info=[]) for a in content["annotations"] if a["image_id"] == 11])
    row = load_dataset(str(root), split="train")[1]
    assert (row["mask"] == 255).all() and not row["instance_mask"].any() and not len(row["objects"]["bbox"])


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("drawn_on", ["stored", "shown"])
def test_segments_turn_with_the_image(tmp_path, orientation, drawn_on):
    rng = np.random.default_rng(orientation)
    numbers, ids = draw(rng, 6, 10)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(rng.integers(0, 256, (6, 10, 3)).astype(np.uint8)).save(tmp_path / "1.jpg", exif=exif)
    blank = PIL.Image.fromarray(numbers.astype(np.uint8))
    blank.getexif()[0x0112] = orientation
    shown = np.asarray(PIL.ImageOps.exif_transpose(blank)).astype(int)
    seen = numbers if drawn_on == "stored" else shown
    (tmp_path / "panoptic_a").mkdir()
    PIL.Image.fromarray(colours(seen, ids)).save(tmp_path / "panoptic_a/1.png")
    segments = describe(seen, ids, [1, 3, 200, 1, 3])
    image = {"id": 1, "file_name": "1.jpg", "width": seen.shape[1], "height": seen.shape[0]}
    annotation = {"image_id": 1, "file_name": "1.png", "segments_info": segments}
    content = {"images": [image], "annotations": [annotation], "categories": CATEGORIES}
    (tmp_path / "panoptic_a.json").write_text(json.dumps(content))
    row = load_dataset(str(tmp_path), split="train")[0]
    assert row["image"].shape[1:] == shown.shape
    check([row], {1: (shown, describe(shown, ids, [1, 3, 200, 1, 3]))})


def spoil(root, what):
    """Puts a fault into what is said of image 11."""
    png = root / "annotations/panoptic_train2017/000000000011.png"

    def edit(content):
        annotation = next(each for each in content["annotations"] if each["image_id"] == 11)
        segments = annotation["segments_info"]
        match what:
            case "segment":
                segments.pop()
            case "pixel":
                segments.append(segments[0] | {"id": 77})
            case "twice":
                segments.append(segments[0])
            case "zero":
                segments[0]["id"] = 0
            case "category":
                segments[0]["category_id"] = 9
            case "box":
                segments[0]["bbox"] = [0, 0, 99, 4]
            case "no annotation":
                content["annotations"].remove(annotation)
            case "two annotations":
                content["annotations"].append(annotation)
            case "same png":
                annotation["file_name"] = "000000000012.png"
            case "no name":
                del annotation["file_name"]
            case "no list":
                annotation["segments_info"] = None

    change(root, edit)
    if what == "missing":
        png.unlink()
    elif what == "size":
        PIL.Image.open(png).resize((8, 8), 0).save(png)
    elif what == "grey":
        PIL.Image.open(png).convert("L").save(png)
    elif what == "cut":
        png.write_bytes(png.read_bytes()[:-40])


FAULTS = {
    "missing": r"panoptic_train2017.json: annotation of image 11: there is no image 000000000011.png",
    "size": r"0011.png has 8 x 8 pixels, but its image has \d+ x \d+",
    "segment": r"0011.png: the pixel x=\d+, y=\d+ is of segment \d+, which is not in segments_info",
    "pixel": r"image 11, segment 77 has no pixel in annotations/panoptic_train2017/000000000011.png",
    "twice": r"image 11: segment id \d+ occurs twice",
    "zero": r"image 11: the id of a segment is 0, not a whole number of 1 to 16,777,215",
    "category": r"image 11, segment \d+: there is no category 9",
    "box": r"image 11, segment \d+: \[0, 0, 99, 4\] .* reaches out of the image",
    "no annotation": r"image 11 has no annotation, which others have",
    "two annotations": r"image 11 has 2 annotations, not one",
    "same png": r"images 1[12] and 1[12] have the same png",
    "no name": r"the annotation of image 11 has no file_name, but None",
    "no list": r"image 11: segments_info is None, not a list of segments",
    "grey": r"0011.png has the mode L: the ids of segments are colours",
    "cut": r"unreadable image .*0011.png",
}


@pytest.mark.parametrize("what", FAULTS)
def test_faults_are_named_or_skipped(coco, what, caplog):
    root, drawn = coco
    spoil(root, what)
    with pytest.raises(DataError, match=FAULTS[what]):
        load_dataset(str(root), split="train")
    rows = load_dataset(str(root), split="train", on_error="skip")
    assert re.search(rf"skipped, such as: .*{FAULTS[what]}.*all are listed in .*skipped.txt", caplog.text)
    left = rows["image_id"]
    assert len(left) == 3 and {10, 13} < set(left) and (what == "same png" or 11 not in left)
    if what != "same png":
        check(rows, drawn)


def test_faults_are_skipped_in_a_stream(coco):
    root, drawn = coco
    spoil(root, "segment")
    rows = list(load_dataset(str(root), split="train", streaming=True, on_error="skip"))
    assert [row["image_id"] for row in rows] == [10, 12, 13]
    check(rows, drawn)


def test_panoptic_files_of_cityscapes_are_no_coco(coco):
    """They lie beside masks of its own, which another layout reads."""
    root, drawn = coco
    for split in SPLITS:
        (root / f"annotations/panoptic_{split}.json").rename(root / f"annotations/cityscapes_panoptic_{split}.json")
    files = Files.of(root)
    assert matches(files) is None and annotation_files(files)[0]["panoptic"]


def test_pngs_that_nothing_names(coco):
    root, drawn = coco
    (root / "more").mkdir()
    PIL.Image.new("RGB", (5, 5)).save(root / "more/000000000010.png")
    with pytest.raises(DataError, match="1 of 9 images are in no annotation file, such as more/000000000010.png"):
        load_dataset(str(root))
    rows = load_dataset(str(root), split="train", ignore=["more/**"])
    check(rows, drawn)
