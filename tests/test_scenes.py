"""Whole images on a canvas: pixels, boxes and masks move together, and scenes of digits are what they say."""

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
import torchvision.transforms.v2.functional as F

from dataset_scripts import DataError, load_dataset
from recipes.core.config.data import MaskData, SceneData
from recipes.core.config.scenes import Detect, Moves, Segment
from recipes.core.data.data import find_data, load_scenes
from recipes.core.data.fingerprint import difference
from recipes.core.data.place import Place
from recipes.core.data.targets import Boxes, Masks
from recipes.core.errors import UserError
from recipes.core.tasks.detection import truth_of

SIDE = 48


def drawn(width, height, box):
    """A black image with a white box."""
    pixels = np.zeros((height, width), np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = 255
    return PIL.Image.fromarray(pixels)


def test_whole_images_are_scaled_as_torchvision_does(rng):
    for width, height in ((96, 40), (31, 77), (48, 48), (5, 3)):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        place = Place.of(width, height, SIDE)
        assert max(place.wide, place.high) == SIDE and (place.left, place.top, place.flip) == (0, 0, False)
        canvas = place.paint(PIL.Image.fromarray(pixels), 7)
        expected = np.asarray(F.resize(PIL.Image.fromarray(pixels), [place.high, place.wide]))
        assert (canvas[: place.high, : place.wide] == expected).all()
        assert (canvas[place.high :] == 7).all() and (canvas[:, place.wide :] == 7).all()


def test_boxes_and_masks_go_where_the_pixels_go(rng):
    """A white box is found again, within the blur of its edge, where its corners were moved to."""
    moves = Moves(flip=0.5, zoom=2.0)
    cut = 0
    for draws in rng.random((300, 9)):
        width, height = rng.integers(30, 120, 2).tolist()
        left, right = sorted(rng.choice(width + 1, 2, replace=False).tolist())
        top, bottom = sorted(rng.choice(height + 1, 2, replace=False).tolist())
        image = drawn(width, height, (left, top, right, bottom))
        place = Place.of(width, height, SIDE, moves, draws)
        [moved], [share] = place.move_boxes(np.array([[left, top, right, bottom]], np.float64))
        mask = place.paint(PIL.Image.fromarray((np.asarray(image) > 0).astype(np.uint8)), 255, smooth=False)
        pixels = place.paint(image, 0)
        for found in (np.argwhere(mask == 1), np.argwhere(pixels >= 128)):
            if (moved[2:] - moved[:2]).min() < 3:  # so small a box may vanish in the blur
                continue
            low, high = found.min(0)[::-1], found.max(0)[::-1] + 1
            assert np.abs(np.concatenate([low, high]) - moved).max() <= 1.0
        area = (right - left) * (bottom - top) * place.wide / width * place.high / height
        assert share == pytest.approx(np.prod(moved[2:] - moved[:2]) / area, abs=1e-9)
        cut += share < 0.99
    assert cut > 50  # many are cut at the border, or these tests say little


def test_boxes_come_back_to_the_image(rng):
    for width, height in ((96, 40), (31, 77)):
        place = Place.of(width, height, SIDE)
        corners = rng.random((20, 2, 2)) * (width, height)
        boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
        assert place.move_back(place.move_boxes(boxes)[0]) == pytest.approx(boxes)


def test_moves_are_a_function_of_seed_epoch_and_row():
    data = SceneData(path="digit_scenes", train_split="train[:8]", test_split="test[:3]")
    config = Detect(data=data, augment=Moves(flip=0.5, zoom=1.5, light=0.2), seed=3)
    scenes = load_scenes(find_data(config.data, Boxes()), config).train
    together = scenes[[9, 2, 5, 17]]
    for slot, index in enumerate((9, 2, 5, 17)):
        alone = scenes[[index]]
        count = int((alone["categories"] >= 0).sum())
        for name in ("pixels", "draws"):
            assert torch.equal(alone[name][0], together[name][slot])
        assert torch.equal(alone["boxes"][0, :count], together["boxes"][slot, :count])
    assert not torch.equal(scenes[[1]]["pixels"], scenes[[9]]["pixels"])  # row 1, in the next epoch


def test_scenes_of_digits(tmp_path):
    sets = load_dataset("digit_scenes", transform=None)
    assert {split: len(rows) for split, rows in sets.items()} == {"train": 2000, "validation": 250, "test": 500}
    again = load_dataset("digit_scenes", split="test", transform=None, cache_dir=str(tmp_path))
    for row, other in zip(sets["test"].select(range(50)), again):
        image, mask, instances = (np.asarray(row[name]) for name in ("image", "mask", "instance_mask"))
        assert (image == np.asarray(other["image"])).all() and image.shape == mask.shape == (64, 64)
        objects = row["objects"]
        assert 1 <= len(objects["category"]) == instances.max() <= 6
        for number, (box, kind, area) in enumerate(zip(objects["bbox"], objects["category"], objects["area"]), 1):
            rows, columns = np.nonzero(instances == number)
            assert box == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1] and area == len(rows)
            assert (mask[instances == number] == kind + 1).all()
        assert (mask[instances == 0] == 0).all()


@pytest.fixture
def boxes(tmp_path):
    """A set of images with boxes in the table of csv_boxes."""

    def write(lines, sizes):
        (tmp_path / "set").mkdir()
        for name, size in sizes.items():
            PIL.Image.fromarray(np.full(size[::-1], 90, np.uint8)).save(tmp_path / "set" / name)
        text = "filename,width,height,class,xmin,ymin,xmax,ymax\n" + "".join(f"{line}\n" for line in lines)
        (tmp_path / "set/labels.csv").write_text(text)
        return str(tmp_path / "set")

    return write


def test_what_is_found_in_the_data(save_image, tmp_path):
    """Of a set in the layout of YOLO, whose file of an image without objects is empty."""
    labels = {"a": "0 0.3 0.3 0.4 0.4\n1 0.5 0.5 1 1\n", "b": "0 0.75 0.75 0.5 0.5\n", "c": ""}
    for (name, text), size in zip(labels.items(), ((80, 40), (60, 60), (33, 33))):
        save_image(tmp_path / f"images/{name}.png", size, "L")
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / f"labels/{name}.txt").write_text(text)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    config = Detect(data=SceneData(path=str(tmp_path), size=40, holdout=0.34))
    parts = find_data(config.data, Boxes())
    assert parts.classes == ["cat", "dog"] and parts.data.target == "objects" and parts.data.channels == 1
    splits = load_scenes(parts, config)
    found = {}
    for part in (splits.train, splits.test):
        batch = part[list(range(len(part)))]
        for slot, number in enumerate(part.numbers.tolist()):
            here = batch["categories"][slot] >= 0
            found[number] = (batch["boxes"][slot][here].tolist(), batch["categories"][slot][here].tolist())
    assert sorted(found) == [0, 1, 2] and found[2] == ([], [])  # an image without objects is one too
    assert found[0][1] == [0, 1] and np.allclose(found[0][0], [[4, 2, 20, 10], [0, 0, 40, 20]], atol=1e-4)
    assert found[1][1] == [0] and np.allclose(found[1][0], [[20, 20, 40, 40]], atol=1e-4)


def test_what_does_not_fit_says_so(tmp_path, save_image):
    for name in "ab":
        for number in range(3):
            save_image(tmp_path / f"classes/{name}/{number}.png")
    with pytest.raises(UserError, match=r"no objects column .*set data.target, or use recipes/train.py"):
        find_data(SceneData(path=str(tmp_path / "classes")), Boxes())
    with pytest.raises(UserError, match="no mask column"):
        find_data(MaskData(path=str(tmp_path / "classes")), Masks())
    with pytest.raises(UserError, match="no boxes in column image: set data.target"):
        find_data(SceneData(path="digit_scenes", target="image"), Boxes())
    with pytest.raises(UserError, match="data.target=boxes: there is no such column, only image, mask"):
        find_data(SceneData(path="digit_scenes", target="boxes"), Boxes())


@pytest.fixture
def masks(tmp_path):
    """A set of images with masks of these ids, a row of them for each image."""

    def write(ids, name="masks"):
        for number, row in enumerate(ids):
            for folder, pixels in (("images", np.full((4, len(row)), 9 * number)), ("masks", np.tile(row, (4, 1)))):
                path = tmp_path / name / folder / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                PIL.Image.fromarray(pixels.astype(np.uint8)).save(path)
        return str(tmp_path / name)

    return write


def test_ids_of_masks(masks):
    path = masks([[0, 1, 2, 255], [2, 2, 1, 0], [0, 0, 255, 255], [1, 1, 1, 1]])
    config = Segment(data=MaskData(path=path, holdout=0.25, size=16))
    parts = find_data(config.data, Masks())
    assert parts.classes == ["0", "1", "2"] and parts.data.classes == 3
    splits = load_scenes(parts, config)
    for part in (splits.train, splits.test):
        for row, number in enumerate(part.numbers.tolist()):
            expected = np.tile([[0, 1, 2, 255], [2, 2, 1, 0], [0, 0, 255, 255], [1, 1, 1, 1]][number], (4, 1))
            assert (part.read(row)[1] == expected).all()
            assert (part[[row]]["masks"][0].numpy() == expected.repeat(4, 0).repeat(4, 1)).all()
    with pytest.raises(UserError, match=r"row \d: the mask has the id 2, but there are 2 classes: set data.classes"):
        config = Segment(data=MaskData(path=path, holdout=0.25, size=16, classes=2))
        load_scenes(find_data(config.data, Masks()), config)
    with pytest.raises(UserError, match="ids up to 255"):
        find_data(MaskData(path=path, ignore=None), Masks())


def test_a_change_of_boxes_is_a_change_of_the_data(boxes, tmp_path):
    sizes = {"a.png": (80, 40), "b.png": (60, 60), "c.png": (50, 50)}
    lines = ["a.png,80,40,cat,8,4,40,20", "b.png,60,60,cat,30,30,60,60", "c.png,50,50,cat,1,1,9,9"]
    path = boxes(lines, sizes)
    before = find_data(SceneData(path=path), Boxes()).fingerprint
    assert difference(before, find_data(SceneData(path=path), Boxes()).fingerprint) is None
    (tmp_path / "set/labels.csv").write_text(
        (tmp_path / "set/labels.csv").read_text().replace("8,4,40,20", "8,4,40,21")
    )
    assert difference(before, find_data(SceneData(path=path), Boxes()).fingerprint) is not None


def test_a_mask_of_another_size_is_refused(tmp_path, masks):
    """Not by the layout alone: rows may come from anywhere."""
    rows = datasets.Dataset.from_dict(
        {
            "image": [PIL.Image.new("L", (6, 4), number) for number in range(4)],
            "mask": [PIL.Image.new("L", (4, 6), 1) for _ in range(4)],
        },
        features=datasets.Features({"image": datasets.Image(), "mask": datasets.Image()}),
    )
    (tmp_path / "table").mkdir()
    rows.to_parquet(tmp_path / "table/train.parquet")
    config = Segment(data=MaskData(path=str(tmp_path / "table"), size=16))
    with pytest.raises(DataError, match=r"row \d: the mask is \(6, 4\), and its image \(4, 6\)"):
        load_scenes(find_data(config.data, Masks()), config)


def parquet(folder, columns, features):
    """Rows that no layout of this package has checked."""
    rng = np.random.default_rng(0)
    images = [PIL.Image.fromarray(rng.integers(0, 256, (20, 30), np.uint8)) for _ in range(8)]
    rows = {"image": images} | {name: values * 8 for name, values in columns.items()}
    data = datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image()} | features))
    folder.mkdir()
    data.to_parquet(folder / "train.parquet")
    return str(folder)


OBJECTS = {
    "bbox": datasets.List(datasets.List(datasets.Value("float32"))),
    "category": datasets.List(datasets.ClassLabel(names=["cat"])),
    "area": datasets.List(datasets.Value("float32")),
}


@pytest.mark.parametrize(
    "objects, message",
    [
        (
            {"bbox": [[20, 10, 30, 20]], "category": [0], "area": [1]},
            r"row \d: a box reaches out of the image of 30 x 20",
        ),
        ({"bbox": [[1, 1, float("nan"), 2]], "category": [0], "area": [1]}, r"row \d: a box is not finite"),
        ({"bbox": [[1, 1, 2, 2]], "category": [None], "area": [1]}, "lacks its box or its category"),
        ({"bbox": [[1, 1, 2, 2]], "category": [], "area": []}, r"1 boxes, but 0 categories|boxes of split|no image"),
    ],
)
def test_boxes_that_no_layout_has_checked(tmp_path, objects, message):
    path = parquet(tmp_path / "p", {"objects": [objects]}, {"objects": OBJECTS})
    config = Detect(data=SceneData(path=path))
    with pytest.raises((DataError, UserError), match=message):
        load_scenes(find_data(config.data, Boxes()), config)


def test_areas_that_are_missing_are_those_of_the_boxes(tmp_path):
    path = parquet(
        tmp_path / "p", {"objects": [{"bbox": [[1, 1, 4, 2]], "category": [0], "area": []}]}, {"objects": OBJECTS}
    )
    config = Detect(data=SceneData(path=path))
    truth = truth_of(load_scenes(find_data(config.data, Boxes()), config).test)
    assert truth and all(image.areas.tolist() == [8.0] for image in truth)


def test_masks_of_one_id_are_refused(tmp_path):
    mask = PIL.Image.fromarray(np.tile(np.uint8([0, 255]), (20, 15)))
    path = parquet(tmp_path / "p", {"mask": [mask]}, {"mask": datasets.Image()})
    with pytest.raises(UserError, match="hold no id but 0 and 255, which data.ignore leaves out"):
        find_data(MaskData(path=path), Masks())
