"""Detection: COCO's numbers against pycocotools on files, torchvision's detectors against their own losses."""

import contextlib
import io
import json

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from workers.scenes import Bright

from recipes.core.config.scenes import Detector
from recipes.core.errors import UserError
from recipes.core.models.detectors import build_detector
from recipes.core.models.pyramid import assign
from recipes.core.tasks.coco import Image, coco_numbers

CLASSES = ["cat", "dog", "owl"]
SIZE = 32


def write_coco(folder, count, empty=(), seed=0):
    """A set in COCO's layout: grey images with bright boxes; crowds, areas that are not those of boxes, images without objects."""
    random = np.random.default_rng(seed)
    images, objects = [], []
    for number in range(count):
        width, height = random.integers(24, 90, 2).tolist()
        pixels = random.integers(0, 90, (height, width), np.uint8)
        for _ in range(0 if number in empty else random.integers(1, 5)):
            left, top = random.integers(0, width - 8), random.integers(0, height - 8)
            wide, high = random.integers(4, width - left + 1), random.integers(4, height - top + 1)
            pixels[top : top + high, left : left + wide] = 250
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": number,
                    "category_id": int(random.integers(1, 4)),
                    "bbox": [int(left), int(top), int(wide), int(high)],
                    "area": float(wide * high * random.uniform(0.4, 1)),
                    "iscrowd": int(random.random() < 0.2),
                }
            )
        name = f"{number:03}.png"
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(folder / name)
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    truth = {"images": images, "annotations": objects, "categories": categories}
    (folder / "_annotations.coco.json").write_text(json.dumps(truth))
    return truth


def of_files(folder, truth):
    """The numbers that pycocotools reads from files: the truth as it was written, the predictions of each image by itself."""
    results = []
    for image in truth["images"]:
        pixels = PIL.Image.open(folder / image["file_name"])
        scale = SIZE / max(pixels.size)
        wide, high = (max(1, round(length * scale)) for length in pixels.size)
        canvas = np.full((SIZE, SIZE), round(255 * 0.5), np.uint8)
        canvas[:high, :wide] = pixels.resize((wide, high), PIL.Image.Resampling.BILINEAR)
        x = (torch.from_numpy(canvas).float()[None, None] / 255 - 0.5) / 0.25
        [found] = Bright()(x)
        for box, label, score in zip(*(found[name].tolist() for name in ("boxes", "labels", "scores"))):
            left, right = (min(max(side * (pixels.width / wide), 0), pixels.width) for side in box[::2])
            top, bottom = (min(max(side * (pixels.height / high), 0), pixels.height) for side in box[1::2])
            results.append(
                {
                    "image_id": image["id"],
                    "category_id": label + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "score": score,
                }
            )
    (folder / "results.txt").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(folder / "_annotations.coco.json")
        evaluation = COCOeval(coco, coco.loadRes(str(folder / "results.txt")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    (folder / "results.txt").unlink()
    return [None if value < 0 else value for value in evaluation.stats.tolist()]


@pytest.mark.parametrize("count, empty", [(7, (2, 5)), (2, ()), (3, (0, 1, 2))])
def test_numbers_are_those_of_pycocotools_on_any_number_of_processes(root, run_processes, tmp_path, count, empty):
    """A prime number of images, fewer images than ranks, and no object at all."""
    write_coco(tmp_path / "train", 5, seed=1)
    truth = write_coco(tmp_path / "test", count, empty)
    script, options = root / "tests/workers/scenes.py", [f"data.size={SIZE}", "data.test_split=test"]
    said = [
        json.loads(run_processes(processes, script, "boxes", tmp_path, *options).stdout.splitlines()[-1])
        for processes in ((1, 2, 3, 4) if count == 7 else (1, 3))
    ]
    assert all(one == said[0] for one in said) and said[0]["count"] == count
    expected = of_files(tmp_path / "test", truth)
    assert list(said[0]["summary"].values()) == expected  # bit for bit
    counts = [
        sum(one["category_id"] == number and not one["iscrowd"] for one in truth["annotations"]) for number in (1, 2, 3)
    ]
    assert [row["objects"] for row in said[0]["by_class"]] == counts
    ap = [row["ap"] for row in said[0]["by_class"] if row["ap"] is not None]
    assert ap == [] and expected[0] is None if len(empty) == count else sum(ap) / len(ap) == pytest.approx(expected[0])


def test_an_image_counts_once():
    nothing = Image(0, np.zeros((0, 4)), np.zeros(0, np.int64))
    numbers = coco_numbers([nothing], [], CLASSES)
    assert set(numbers.summary.values()) == {None} and numbers.by_class[0]["ap"] is None
    with pytest.raises(ValueError, match="counted twice"):
        coco_numbers([nothing, nothing], [], CLASSES)
    with pytest.raises(ValueError, match="not tested"):
        coco_numbers([nothing], [Image(1, np.zeros((0, 4)), np.zeros(0, np.int64))], CLASSES)


def test_the_place_that_is_responsible_for_an_object():
    """By the rules of FCOS, one place and one object after another."""
    random = torch.Generator().manual_seed(3)
    corners = torch.rand(2, 6, 2, 2, generator=random) * 60
    boxes = torch.cat([corners.amin(2), corners.amax(2)], -1)
    categories = torch.tensor([[0, 1, 2, 1, 0, -1]] * 2)
    crowd = torch.tensor([[False, False, True, False, False, False]] * 2)
    strides = [4, 8, 16]
    places, own = [], []
    for stride in strides:
        for y in range(64 // stride):
            for x in range(64 // stride):
                places.append([(x + 0.5) * stride, (y + 0.5) * stride])
                own.append(float(stride))
    chosen, ignored = assign(
        torch.tensor(places), torch.tensor(own), 16, {"boxes": boxes, "categories": categories, "crowd": crowd}
    )
    assert (chosen >= 0).sum() > 20 and ignored.any()
    for image in range(2):
        for place, ((x, y), stride) in enumerate(zip(places, own)):
            best, apart = None, False
            for number, (left, top, right, bottom) in enumerate(boxes[image].tolist()):
                sides = (x - left, y - top, right - x, bottom - y)
                if categories[image, number] < 0 or min(sides) <= 0:
                    continue
                if crowd[image, number]:
                    apart = True
                    continue
                low = 0 if stride == 4 else 4 * stride
                high = float("inf") if stride == 16 else 8 * stride
                middle = max(abs(x - (left + right) / 2), abs(y - (top + bottom) / 2))
                area = (right - left) * (bottom - top)
                if low < max(sides) <= high and middle < 1.5 * stride and (best is None or area < best[0]):
                    best = (area, number)
            assert chosen[image, place] == (-1 if best is None else best[1])
            assert ignored[image, place] == (apart and best is None)


def targets_of(boxes, labels):
    return {
        "boxes": torch.tensor(boxes),
        "categories": torch.tensor(labels),
        "crowd": torch.zeros(torch.tensor(labels).shape, dtype=torch.bool),
    }


NAMES = [
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "ssdlite320_mobilenet_v3_large",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_torchvision_detectors_lose_what_they_lose_in_torchvision(name):
    """The loss of an image alone, and of each in a batch, with statistics that do not depend on the batch."""
    torch.manual_seed(0)
    model = build_detector(Detector(name=name), 3, 3)
    inner = model.detector.train()
    for module in inner.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    x = torch.rand(2, 3, 128, 128)
    targets = targets_of(
        [[[10.0, 10, 90, 80], [50, 60, 120, 120]], [[20, 30, 110, 120], [0, 0, 0, 0]]], [[0, 2], [1, -1]]
    )
    first = not name.startswith("fcos")
    with torch.no_grad():
        sums, weights = model(x, targets, [1, 2])
        alone = [
            model(x[i : i + 1], {key: value[i : i + 1] for key, value in targets.items()}, [i + 1])[0] for i in (0, 1)
        ]
        expected = []
        for index in (0, 1):
            usable = targets["categories"][index] >= 0
            truth = {"boxes": targets["boxes"][index][usable], "labels": targets["categories"][index][usable] + first}
            torch.manual_seed(index + 1)
            losses = inner([x[index]], [truth])
            losses = losses[0] if isinstance(losses, tuple) else losses
            expected.append(sum(losses.values()))
        found = model.eval()(x)
    assert weights is None
    assert sums.tolist() == pytest.approx(torch.stack(expected).tolist(), rel=1e-4)
    assert torch.cat(alone).tolist() == pytest.approx(sums.tolist(), rel=1e-4)
    assert len(found) == 2 and all(((one["labels"] >= 0) & (one["labels"] < 3)).all() for one in found)
    assert (
        model.state_dict().keys()
        == torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=3 + first)
        .state_dict()
        .keys()
    )


def test_weights_of_a_classifier_are_taken_for_the_backbone(tmp_path):
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    classifier = torchvision.models.mobilenet_v3_large(weights=None)
    torch.save(classifier.state_dict(), tmp_path / "classifier.pth")
    model = build_detector(Detector(name=name, weights=str(tmp_path / "classifier.pth")), 3, 2)
    own = model.state_dict()
    assert torch.equal(own["backbone.body.0.0.weight"], classifier.state_dict()["features.0.0.weight"])
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.detector.backbone.modules())
    torch.save(model.state_dict(), tmp_path / "detector.pth")
    tuned = build_detector(Detector(name=name, weights=str(tmp_path / "detector.pth")), 3, 5)
    assert torch.equal(tuned.state_dict()["rpn.head.conv.0.0.weight"], own["rpn.head.conv.0.0.weight"])
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "other.pth")
    with pytest.raises(UserError, match="neither the weights of this network"):
        build_detector(Detector(name=name, weights=str(tmp_path / "other.pth")), 3, 2)


@pytest.mark.parametrize("name", ["resnet18", "keypointrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn"])
def test_other_networks_are_refused(name):
    with pytest.raises(UserError, match="there is no model.name=.*pyramid, fasterrcnn"):
        build_detector(Detector(name=name), 3, 2)
