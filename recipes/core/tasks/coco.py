"""COCO's numbers of detections, computed by pycocotools from the predictions of all ranks."""

import contextlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recipes.core.errors import UserError

MOST = 100  # boxes of an image that count
NAMES = (
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar1",
    "ar10",
    "ar100",
    "ar_small",
    "ar_medium",
    "ar_large",
)


@dataclass
class Image:
    """What an image holds, or is said to hold; boxes in pixels of the image.

    Attributes:
        row: of the data.
        boxes: float64 (N, 4), left, top, width, height.
        categories: int64 (N,), 0 … K - 1.
        scores: float64 (N,); None for what it holds.
        areas, crowd: float64 and bool (N,), of what it holds.
    """

    row: int
    boxes: np.ndarray
    categories: np.ndarray
    scores: np.ndarray | None = None
    areas: np.ndarray | None = None
    crowd: np.ndarray | None = None


@dataclass
class CocoNumbers:
    """Attributes:
    summary: NAMES and their values, in 0..1; None if there is nothing to measure them on. See https://cocodataset.org/#detection-eval.
    by_class: a row for each class: name, objects, ap, ap50.
    curves: the precision at 101 steps of recall, float64 (K, 101), at IoU 0.5 and for objects of any size; -1 for a class
        without objects.
    """

    summary: dict[str, float | None]
    by_class: list[dict[str, Any]]
    curves: np.ndarray


def coco_numbers(truth: Iterable[Image], found: Iterable[Image], classes: list[str]) -> CocoNumbers:
    """COCO's average precision and recall of boxes.

    Args:
        truth: every image once, also those without objects.
        found: at most one of each image; no image twice.

    Raises:
        UserError: pycocotools is not installed.
        ValueError: an image is there twice, or was found but is not there.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise UserError("COCO's numbers need pycocotools: pip install 'dataset-scripts[detection]'") from error
    truth, found = list(truth), list(found)
    rows = [image.row for image in truth]
    if len(set(rows)) != len(rows) or len({image.row for image in found}) != len(found):
        raise ValueError("an image is counted twice")
    if not {image.row for image in found} <= set(rows):
        raise ValueError("there are predictions of an image that is not tested")
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools says what it does
        sets = []
        for images in (truth, found):
            coco = COCO()
            coco.dataset = {
                "images": [{"id": row} for row in rows],
                "categories": [{"id": number, "name": name} for number, name in enumerate(classes, 1)],
                "annotations": annotations(images),
            }
            coco.createIndex()
            sets.append(coco)
        evaluation = COCOeval(*sets, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"]  # (IoU, recall, class, area, most)
    counts = np.bincount(
        [kind for image in truth for kind, crowd in zip(image.categories, _flags(image)) if not crowd],
        minlength=len(classes),
    )
    return CocoNumbers(
        {name: known(value) for name, value in zip(NAMES, evaluation.stats.tolist())},
        [
            {
                "class": name,
                "objects": int(counts[number]),
                "ap": mean_of(precision[:, :, number, 0, -1]),
                "ap50": mean_of(precision[0, :, number, 0, -1]),
            }
            for number, name in enumerate(classes)
        ],
        precision[0, :, :, 0, -1].T,
    )


def annotations(images: Iterable[Image]) -> list[dict[str, Any]]:
    """Objects as COCO's json lists them, with categories and ids from 1."""
    listed: list[dict[str, Any]] = []
    for image in images:
        areas = image.boxes[:, 2] * image.boxes[:, 3] if image.areas is None else image.areas
        scores = [None] * len(areas) if image.scores is None else image.scores.tolist()
        for box, kind, area, crowd, score in zip(
            image.boxes.tolist(), image.categories.tolist(), areas.tolist(), _flags(image), scores, strict=True
        ):
            one = {"id": len(listed) + 1, "image_id": image.row, "category_id": kind + 1, "bbox": box, "area": area}
            listed.append(one | {"iscrowd": int(crowd)} | ({} if score is None else {"score": score}))
    return listed


def _flags(image: Image) -> list[bool]:
    return [False] * len(image.boxes) if image.crowd is None else image.crowd.tolist()


def known(value: float) -> float | None:
    """A number of pycocotools, which writes -1 for nothing."""
    return None if value < 0 else value


def mean_of(values: np.ndarray) -> float | None:
    return float(values[values > -1].mean()) if (values > -1).any() else None
