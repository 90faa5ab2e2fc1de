"""COCO annotations against pycocotools and torchvision's reader."""

import json
import re

import numpy as np
import PIL.Image
import pycocotools.coco
import pycocotools.mask
import pytest
import torch
import torchvision
from torchvision.transforms import v2

from dataset_scripts import DataError, load_dataset

CATEGORIES = [{"id": 3, "name": "zebra"}, {"id": 17, "name": "ant"}, {"id": 90, "name": "cat"}]


def polygon(rng, width, height):
    """A random triangle or pentagon, its bounding box, and the numbers as COCO writes them."""
    points = np.round(rng.uniform([0, 0], [width, height], (rng.choice([3, 5]), 2)), 2)
    low, high = points.min(0), points.max(0)
    return points.ravel().tolist(), [*low.tolist(), *(high - low).tolist()]


def make_split(rng, save_image, folder, first_id, count=7):
    """Images and annotations of all kinds; every third image has none."""
    images, annotations = [], []
    for number in range(first_id, first_id + 5 * count, 5):
        width, height = (int(side) for side in rng.integers(20, 60, 2))
        save_image(folder / f"{number:012}.jpg", (width, height))
        images.append({"id": number, "file_name": f"{number:012}.jpg", "width": width, "height": height})
        for _ in range(0 if len(images) % 3 == 0 else rng.integers(1, 4)):
            shape, box = polygon(rng, width, height)
            annotation = {
                "id": 1000 * number + len(annotations),
                "image_id": number,
                "bbox": box,
                "iscrowd": 0,
                "category_id": int(rng.choice([3, 17, 90])),
                "segmentation": [shape],
                "area": round(box[2] * box[3] / 2, 3),
            }
            kind = len(annotations) % 3
            if kind:
                mask = np.asfortranarray(rng.integers(0, 2, (height, width), np.uint8))
                code = pycocotools.mask.encode(mask)
                if kind == 1:
                    annotation |= {"segmentation": {"size": [height, width], "counts": code["counts"].decode()}}
                else:
                    counts = [0] * int(mask[0, 0]) + runs_of(mask)  # they begin with zeros
                    annotation |= {"segmentation": {"size": [height, width], "counts": counts}, "iscrowd": 1}
            annotations.append(annotation)
    rng.shuffle(annotations)
    return {
        "info": {"year": 2017},
        "images": images,
        "licenses": [],
        "annotations": list(annotations),
        "categories": CATEGORIES,
    }


def runs_of(mask):
    """Lengths of the runs of equal pixels, column by column."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    return np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()


@pytest.fixture
def coco(tmp_path, save_image):
    """COCO's own tree, with instances and captions."""
    rng = np.random.default_rng(5)
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    for split, first_id in (("train2017", 3), ("val2017", 400)):
        content = make_split(rng, save_image, root / split, first_id)
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
        captions = [
            {"id": n, "image_id": image["id"], "caption": f"no. {n} of «{image['id']}» "}
            for n, image in enumerate(content["images"] * 2)
        ]
        (root / f"annotations/captions_{split}.json").write_text(
            json.dumps({"images": content["images"], "annotations": captions}, ensure_ascii=False), encoding="utf-8"
        )
    return root


def compare(rows, root, json_path, image_folder):
    """Rows against pycocotools and torchvision, object by object."""
    theirs = torchvision.datasets.CocoDetection(root / image_folder, root / json_path)
    assert len(rows) == len(theirs.ids)
    by_id = {row["image_id"]: row for row in rows}
    names = rows.features["objects"]["category"].feature.names
    assert names == [category["name"] for category in CATEGORIES]
    crowds = 0
    for number, (image, annotations) in zip(theirs.ids, theirs):
        row = by_id[number]
        assert torch.equal(row["image"], torchvision.transforms.functional.to_tensor(image))
        assert len(row["objects"]["bbox"]) == len(annotations)
        order = [row["objects"]["id"].tolist().index(annotation["id"]) for annotation in annotations]
        for place, annotation in zip(order, annotations):
            objects = row["objects"]
            assert np.array_equal(objects["bbox"][place].numpy(), np.float32(annotation["bbox"]))
            assert names[objects["category"][place]] == theirs.coco.cats[annotation["category_id"]]["name"]
            assert objects["area"][place] == np.float32(annotation["area"])
            assert objects["iscrowd"][place] == bool(annotation["iscrowd"])
            assert np.array_equal(objects["mask"][place].numpy(), theirs.coco.annToMask(annotation).astype(bool))
            crowds += annotation["iscrowd"]
    assert crowds


def test_equal_to_pycocotools_and_torchvision(coco, caplog):
    sets = load_dataset(str(coco), masks=True)
    assert "read as coco (14 images; annotations in annotations/instances_train2017.json" in caplog.text
    assert list(sets) == ["train", "validation"]
    compare(sets["train"], coco, "annotations/instances_train2017.json", "train2017")
    compare(sets["validation"], coco, "annotations/instances_val2017.json", "val2017")
    assert sum(len(row["objects"]["bbox"]) == 0 for row in sets["train"]) == 2  # images without annotations stay


def test_other_trees(coco, tmp_path, caplog):
    (coco / "images").mkdir()
    for split in ("train2017", "val2017"):
        (coco / split).rename(coco / "images" / split)
    compare(
        load_dataset("coco", data_dir=str(coco), split="validation", masks=True),
        coco,
        "annotations/instances_val2017.json",
        "images/val2017",
    )
    robo = tmp_path / "robo"
    robo.mkdir()
    (coco / "images/train2017").rename(robo / "train")
    (coco / "images/val2017").rename(robo / "valid")
    for old, new in (("train2017", "train"), ("val2017", "valid")):
        (coco / f"annotations/instances_{old}.json").rename(robo / new / "_annotations.coco.json")
    sets = load_dataset(str(robo), masks=True)
    assert list(sets) == ["train", "validation"]
    compare(sets["validation"], robo, "valid/_annotations.coco.json", "valid")


def test_captions(coco):
    rows = load_dataset(str(coco), task="captions", split="train")
    theirs = torchvision.datasets.CocoCaptions(coco / "train2017", coco / "annotations/captions_train2017.json")
    by_id = dict(zip(theirs.ids, theirs))
    for row in rows:
        assert row["captions"] == [caption.strip() for caption in by_id[row["image_id"]][1]]
        assert len(row["captions"]) == 2 and "«" in row["captions"][0]


def test_keypoints(tmp_path, save_image):
    save_image(tmp_path / "images" / "1.png", (40, 30))
    points = [5, 6, 2, 0, 0, 0, 39.5, 29, 1]
    content = {
        "images": [{"id": 1, "file_name": "1.png"}],
        "annotations": [
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "keypoints": points, "num_keypoints": 2}
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose", "left_eye", "right_eye"]}],
    }
    (tmp_path / "person_keypoints_train.json").write_text(json.dumps(content))
    row = load_dataset(str(tmp_path), split="train")[0]
    assert row["objects"]["keypoints"].tolist() == [[[5, 6], [0, 0], [39.5, 29]]]
    assert row["objects"]["visible"].tolist() == [[2, 0, 1]]
    flipped = v2.RandomHorizontalFlip(1.0)(row)
    assert flipped["objects"]["keypoints"][0, 0].tolist()[1] == 6 and flipped["objects"]["keypoints"][0, 0, 0] > 30
    assert flipped["objects"]["bbox"].tolist() == [[36, 2, 3, 4]]


def test_streaming_num_proc_and_zip_give_the_same(coco, tmp_path):
    import shutil

    whole = load_dataset(str(coco), split="train", masks=True, transform=None)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "coco")
    for other in (
        load_dataset(str(coco), split="train", masks=True, transform=None, num_proc=2, cache_dir=str(tmp_path / "two")),
        load_dataset(str(coco), split="train", masks=True, transform=None, streaming=True),
        load_dataset(str(tmp_path / "packed.zip"), split="train", masks=True, transform=None),
    ):
        assert other.features == whole.features
        for ours, theirs in zip(whole, other, strict=True):
            assert np.array_equal(ours.pop("image"), theirs.pop("image")) and ours == theirs
    tensors = next(iter(load_dataset(str(coco), split="train", streaming=True)))
    assert type(tensors["objects"]["bbox"]).__name__ == "BoundingBoxes"


@pytest.mark.parametrize(  # orientations 2 to 4 drawn on the stored image are left out: equal sizes cannot show them
    "orientation, drawn_on", [(n, "shown") for n in range(1, 9)] + [(n, "stored") for n in (1, 5, 6, 7, 8)]
)
def test_boxes_and_masks_turn_with_the_image(tmp_path, orientation, drawn_on):
    rng = np.random.default_rng(orientation)
    stored = np.zeros((24, 40, 3), np.uint8)
    top, left = (int(rng.integers(1, 8)) for _ in range(2))
    stored[top : top + 9, left : left + 13] = 255
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(stored).save(tmp_path / "1.png", exif=exif)
    shown = np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(tmp_path / "1.png")))
    seen = stored if drawn_on == "stored" else shown
    rows, columns = (np.flatnonzero(seen[..., 0].any(axis)) for axis in (1, 0))
    box = [int(columns[0]), int(rows[0]), len(columns), len(rows)]
    counts = runs_of((seen[..., 0] > 0).astype(np.uint8))
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": seen.shape[1], "height": seen.shape[0]}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": box,
                "segmentation": {"size": list(seen.shape[:2]), "counts": counts},
            }
        ],
        "categories": [{"id": 1, "name": "box"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    row = load_dataset(str(tmp_path), split="train", masks=True)[0]
    x, y, width, height = row["objects"]["bbox"][0].int().tolist()
    assert row["image"].shape[1:] == shown.shape[:2]
    expected = torch.zeros(shown.shape[:2], dtype=torch.bool)
    expected[y : y + height, x : x + width] = True
    assert torch.equal(row["image"][0] == 1, expected) and torch.equal(row["objects"]["mask"][0], expected)


def change(content, what):
    """Puts one fault into a valid json."""
    annotation, image = content["annotations"][0], content["images"][0]
    match what:
        case "category":
            annotation["category_id"] = 5
        case "box":
            annotation["bbox"] = [1, 2, 3]
        case "outside":
            annotation["bbox"] = [5, 5, 1000, 3]
        case "nan":
            annotation["bbox"] = [float("nan"), 5, 1, 3]
        case "image id":
            annotation["image_id"] = 77777
        case "missing":
            image["file_name"] = "gone.jpg"
        case "root":
            image["file_name"] = "../../../etc/passwd"
        case "absolute":
            image["file_name"] = "/etc/passwd"
        case "twice":
            content["images"].append(dict(image))
        case "same file":
            content["images"].append(image | {"id": 99999})
        case "size":
            image["width"] += 9
        case "segmentation":
            annotation["segmentation"] = [[1, 2, 3, 4]]
    return content


FAULTS = {
    "category": r"instances_train2017.json, image \d+, annotation \d+: there is no category 5",
    "box": r"annotation \d+: bbox is \[1, 2, 3\], not",
    "outside": r"annotation \d+: \[5, 5, 1000, 3\] .* reaches out of the image of",
    "nan": r"annotation \d+: \[nan, 5, 1, 3\] .* is not a box in",
    "image id": "annotations of image 77777, which is not among its images",
    "missing": r"instances_train2017.json: image \d+: there is no image gone.jpg in ",
    "root": r"image \d+: there is no image ../../../etc/passwd in ",
    "absolute": r"image \d+: there is no image /etc/passwd in ",
    "twice": r"image id \d+ occurs twice",
    "same file": r"images \d+ and 99999 are the same file",
    "size": r"image \d+ is \d+ x \d+ there, but \d+ x \d+ in train2017",
    "segmentation": r"annotation \d+: invalid segmentation: a polygon needs at least three points",
}


@pytest.mark.parametrize("what", FAULTS)
def test_faults_are_named_or_skipped_and_listed(coco, what, caplog):
    path = coco / "annotations/instances_train2017.json"
    whole = len(load_dataset(str(coco), split="train"))
    path.write_text(json.dumps(change(json.loads(path.read_text()), what)))
    with pytest.raises(DataError, match=FAULTS[what]):
        load_dataset(str(coco), masks=True)
    for _ in range(2):  # a cached set repeats the message; an image without a record is listed beside its record
        caplog.clear()
        rows = load_dataset(str(coco), split="train", masks=True, on_error="skip")
        assert re.search(rf"[12] skipped, such as: .*{FAULTS[what]}.*all are listed in .*skipped.txt", caplog.text)
    assert len(rows) == whole - (what not in ("image id", "twice", "same file"))


def test_damaged_images_are_skipped_in_all_processes(coco, caplog):
    whole = load_dataset(str(coco), split="train")
    for path in sorted((coco / "train2017").iterdir())[::3]:
        path.write_bytes(path.read_bytes()[:-60])
    rows = load_dataset(str(coco), split="train", on_error="skip", num_proc=2)
    assert len(rows) == len(whole) - 3 and "3 skipped, such as: unreadable image" in caplog.text
    assert [row["image"].shape for row in rows] == [row["image"].shape for n, row in enumerate(whole) if n % 3]


def test_broken_json_names_the_line(coco):
    path = coco / "annotations/instances_train2017.json"
    text = json.dumps(json.loads(path.read_text()), indent=1)
    for broken, line in (
        (text[: len(text) // 2], text[: len(text) // 2].count("\n") + 1),
        (text.replace('"bbox": [', '"bbox" [', 1), text[: text.index('"bbox"')].count("\n") + 1),
    ):
        path.write_text(broken)
        with pytest.raises(DataError, match=rf"instances_train2017.json, line {line}: it is broken or cut off"):
            load_dataset("coco", data_dir=str(coco))


def test_two_files_for_one_split(coco):
    (coco / "annotations/instances_train2017_b.json").write_bytes(
        (coco / "annotations/instances_train2017.json").read_bytes()
    )
    with pytest.raises(DataError, match="are both for the split train: choose one with data_files="):
        load_dataset(str(coco))
    chosen = load_dataset("coco", data_dir=str(coco), data_files={"train": "annotations/instances_train2017_b.json"})
    assert list(chosen) == ["train"] and len(chosen["train"]) == 7


def test_the_example_of_the_card_trains(coco, root, monkeypatch):
    monkeypatch.chdir(coco.parent)
    example = re.findall(
        r"```python\n(.*?)```", (root / "dataset_scripts/layouts/coco/README.md").read_text(), re.DOTALL
    )[1]
    scope = {}
    exec(example.replace("path/to/coco", str(coco)), scope)
    assert all(torch.isfinite(loss) for loss in scope["losses"].values()) and len(scope["targets"]) == 2
    assert any(parameter.grad is not None for parameter in scope["model"].parameters())
