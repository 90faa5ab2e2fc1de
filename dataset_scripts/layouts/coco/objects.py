"""The objects and captions of an image, as COCO's json gives them."""

from typing import Any

import numpy as np

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.objects import encode_segmentation, fit_boxes, is_number
from dataset_scripts.core.image.rle import mask_tools, sound_code


def caption_of(annotation: dict, where: str) -> str:
    caption = annotation.get("caption")
    if not isinstance(caption, str):
        raise DataError(f"{where}, annotation {short(annotation.get('id'))}: its caption is {short(caption)}, not text")
    return caption.strip()


def objects_of(
    annotations: list[dict],
    frame: Frame,
    annotated: tuple | None,
    where: str,
    places: dict[str, int],
    clip: bool = False,
    has_masks: bool = False,
    has_points: bool = False,
    text_ids: bool = False,
) -> dict[str, list]:
    """The column `objects` of an image.

    Args:
        annotated: (width, height) of the image that was annotated, None if unknown.
        where: names the image, for messages.
        places: the class of each category, by its id as text.
        clip: cut boxes at the border of the image.
        has_masks, has_points: add the items `segmentation`, `keypoints`.
        text_ids: the ids of annotations are text.
    """
    labels = [f"{where}, annotation {short(annotation.get('id'))}" for annotation in annotations]
    for annotation, label in zip(annotations, labels):
        complete_box(annotation, label)
        check_annotation(annotation, label)
        if str(annotation["category_id"]) not in places:
            raise DataError(f"{label}: there is no category {short(annotation['category_id'])}")
    boxes = [annotation["bbox"] for annotation in annotations]
    fitted = fit_boxes(boxes, frame, annotated, labels, clip=clip)
    objects = {
        "bbox": list(fitted),
        "category": [places[str(annotation["category_id"])] for annotation in annotations],
        "area": areas(annotations, boxes, fitted, clip),
        "iscrowd": [bool(annotation.get("iscrowd", 0)) for annotation in annotations],
        "id": [id_of(annotation, text_ids) for annotation in annotations],
    }
    if has_masks:
        objects["segmentation"] = [
            encode_segmentation(segmentation_of(annotation), annotated or frame.size, frame, label)
            for annotation, label in zip(annotations, labels)
        ]
    if has_points:
        objects["keypoints"] = [
            keypoints(annotation.get("keypoints"), frame, annotated, label)
            for annotation, label in zip(annotations, labels)
        ]
    return objects


def areas(annotations: list[dict], boxes: list[list], fitted: np.ndarray, clip: bool) -> list[float]:
    """The areas as they are given; that of the box if there is none. Of a box that was cut it is at most its area."""
    whole, left = np.array(boxes, float).reshape(-1, 4)[:, 2:].prod(1), fitted[:, 2:].astype(float).prod(1)
    given = [annotation.get("area") for annotation in annotations]
    cut = ~np.isclose(left, whole, rtol=1e-5, atol=1e-3) & clip  # float32 rounds sides
    return [
        box if area is None else min(area, box) if is_cut else area
        for area, box, is_cut in zip(given, left.tolist(), cut)
    ]


def id_of(annotation: dict, as_text: bool) -> int | str | None:
    number = annotation.get("id")
    return str(number) if as_text and number is not None else number


def complete_box(annotation: dict, where: str) -> None:
    """Gives an object without a box the extent of its polygons, or of its run-length code."""
    shape = annotation.get("segmentation")
    if isinstance(shape, list):
        shape = [shape] if shape and all(map(is_number, shape)) else [polygon for polygon in shape if polygon != []]
        annotation["segmentation"] = shape  # VIA writes the numbers of a polygon without a list around it
    if annotation.get("bbox") not in (None, []) or not shape:
        return
    with reading(f"{where}: no segmentation"):
        if isinstance(shape, dict):
            code = sound_code(shape, tuple(shape["size"]))
            annotation["bbox"] = [float(number) for number in mask_tools().toBbox(code)]
        else:
            points = np.concatenate([np.array(polygon, np.float64).reshape(-1, 2) for polygon in shape])
            low, high = points.min(0), points.max(0)
            annotation["bbox"] = [float(number) for number in (*low, *(high - low))]


def segmentation_of(annotation: dict) -> object:
    """The segmentation; of an object that has only a box, a code without pixels: what is inside the box is not known."""
    shape = annotation.get("segmentation")
    return [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]] if shape in (None, []) and annotation.get("bbox") else shape


def check_annotation(annotation: dict, where: str) -> None:
    """Raises DataError if a value that every object has is not of COCO's type."""
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise DataError(f"{where}: bbox is {short(box)}, not [x, y, width, height]")
    if type(annotation.get("category_id")) not in (int, str):
        raise DataError(f"{where}: there is no category {short(annotation.get('category_id'))}")
    number = annotation.get("id")
    if type(number) not in (str, type(None)) and not (type(number) is int and -(1 << 63) <= number < 1 << 63):
        raise DataError(f"{where}: its id is neither text nor a whole number of 64 bits")
    if annotation.get("area") is not None and not is_number(annotation["area"]):
        raise DataError(f"{where}: area is {short(annotation['area'])}, not a number")
    if annotation.get("iscrowd") not in (None, 0, 1):
        raise DataError(f"{where}: iscrowd is {short(annotation['iscrowd'])}, not 0 or 1")


def keypoints(points: Any, frame: Frame, annotated: tuple | None, where: str) -> list[np.ndarray]:
    """(K, 3) float32 x, y, visible in pixels of the decoded image, from 3 K numbers in those of the annotated one."""
    if not isinstance(points, list) or len(points) % 3 or not all(map(is_number, points)):
        raise DataError(f"{where}: keypoints are not x, y, visible for each point")
    points = np.array(points, np.float32).reshape(-1, 3)
    if not np.isfinite(points).all():
        raise DataError(f"{where}: keypoints are not finite numbers")
    if frame.turns(annotated):
        points[:, :2] = np.where(points[:, 2:] > 0, frame.turn_points(points[:, :2]), points[:, :2])
    return list(points)
