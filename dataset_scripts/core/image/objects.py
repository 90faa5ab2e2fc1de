"""The column `objects`: boxes and what belongs to them, the same for every detection layout."""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.rle import mask_tools, polygon_code, sound_code

MOST = 1e15  # no image has more pixels
TOLERANCE = 1.0  # pixels by which rounding may push a box over the border; it is cut there
RLE = {"size": List(datasets.Value("int32"), length=2), "counts": datasets.Value("string")}


def object_features(names: Sequence[str], **more: Any) -> dict[str, Any]:
    """The features of `objects`: lists of equal length, one item per object.

    Args:
        names: the categories.
        more: features of further items, such as `area=datasets.Value("float32")`.
    """
    features = {
        "bbox": List(List(datasets.Value("float32"), length=4)),
        "category": List(datasets.ClassLabel(names=list(names))),
    }
    return features | {name: List(feature) for name, feature in more.items()}


def is_number(value: Any) -> bool:
    """Whether a json value is a possible number of pixels, or NaN, which `fit_boxes` refuses; a boolean is not."""
    return type(value) in (int, float) and not abs(value) > MOST


def fit_boxes(
    boxes: Any, frame: Frame, annotated: tuple[int, int] | None, where: Sequence[str], clip: bool = False
) -> np.ndarray:
    """Checks boxes and brings them to the decoded image.

    Args:
        boxes: (N, 4) x, y, width, height in pixels of the image that was annotated; x and y of the upper left corner.
        frame: the image.
        annotated: (width, height) of the image that was annotated, None if unknown.
        where: names file and line of each box, for messages.
        clip: cut boxes at the border of the image, however far they reach; one outside of it gets no area.

    Returns:
        (N, 4) float32, the same in pixels of the decoded image.

    Raises:
        DataError: a number that is not finite, a negative size, or a box that extends beyond the image by more than
            a pixel.
    """
    with reading(", ".join(where[:1]) or "boxes"):  # a whole number of 400 digits does not fit a float64
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    if frame.turns(annotated):
        corners = frame.turn_points(np.stack([low, high]))
        low, high = corners.min(0), corners.max(0)
        wrong = (boxes[:, 2:] < 0).any(1)
    else:
        wrong = (high < low).any(1)
    size = np.array(frame.size, np.float64)
    outside = (low < -TOLERANCE).any(1) | (high > size + TOLERANCE).any(1)
    if clip:
        outside[:] = False
    for place in np.flatnonzero(~np.isfinite(boxes).all(1) | wrong | outside).tolist():
        box = ", ".join(f"{number:g}" for number in boxes[place])
        fault = "reaches out of" if outside[place] else "is not a box in"
        way_out = ' (boxes="clip" cuts it there)' if outside[place] else ""
        raise DataError(
            f"{where[place]}: [{box}] (x, y, width, height) {fault} the image of {size[0]:g} x {size[1]:g} pixels{way_out}"
        )
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    return np.concatenate([low, high - low], 1).astype(np.float32)


def encode_segmentation(segmentation: Any, annotated: tuple[int, int], frame: Frame, where: str) -> dict[str, Any]:
    """Makes a run-length code, as pycocotools stores it, from polygons or either form of run lengths.

    Args:
        segmentation: a list of polygons [x0, y0, x1, y1, …] in pixels, or `{"size": [h, w], "counts": …}` with
            counts as a list (uncompressed) or text (compressed).
        annotated: (width, height) of the image that was annotated.
        frame: the image.
        where: names file and annotation, for messages.

    Returns:
        `{"size": [height, width], "counts": text}` of the decoded image.

    Raises:
        DataError: the segmentation is something else, or has a different size than the image.
    """
    with reading(f"{where}: no segmentation"):
        turns = frame.turns(annotated)
        if tuple(annotated) != frame.size and not turns:
            raise ValueError("it was drawn on {} x {} pixels, the image has {} x {}".format(*annotated, *frame.size))
        size = frame.stored[::-1] if turns else frame.size[::-1]
        code = sound_code(segmentation, size) if isinstance(segmentation, dict) else polygon_code(segmentation, size)
        if turns:
            code = mask_tools().encode(np.asfortranarray(frame.turn_mask(mask_tools().decode(code))))
        return _as_text(code)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """The run-length code of a mask (H, W), not zero where the object is, as `encode_segmentation` makes it."""
    return _as_text(mask_tools().encode(np.asfortranarray(mask, np.uint8)))


def _as_text(code: dict[str, Any]) -> dict[str, Any]:
    return {"size": list(map(int, code["size"])), "counts": code["counts"].decode()}
