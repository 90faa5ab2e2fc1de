"""Shapes drawn on an image, as the tools of annotation give them, and the column `objects` that they become."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.objects import MOST, encode_mask, encode_segmentation, fit_boxes
from dataset_scripts.core.image.polygons import area_of, circle, clip_polygon
from dataset_scripts.core.image.rle import mask_tools
from dataset_scripts.core.image.runs import by_columns, check_runs, look_like_rows, runs_counts, runs_outline

OPEN = ("line", "point")  # kinds of shapes without area


@dataclass
class Shape:
    """What is drawn on an image.

    Attributes:
        label: the name of its category.
        kind: "box" (two opposite corners), "polygon" (three points or more), "circle" (its centre and a point on it),
            "line" (two points or more), "point" (one or more), "mask" (the upper left corner of `mask`), or "runs" (no points).
        points: float64 (N, 2), x and y in pixels of the image that was annotated, or fractions of it.
        more: values of the columns that the layout adds to `objects`.
        mask: bool (H, W), of kind "mask".
        runs: int64 (R, 2), of kind "runs": first pixel, from 0, and number of pixels of each run. Such objects always get a
            `segmentation`.
        order: how the pixels of runs are counted: down the "columns" or along the "rows"; None for columns, unless that
            makes no sense.
        holes: polygons as `points`, what is cut out of a polygon.
    """

    label: str
    kind: str
    points: np.ndarray
    more: Mapping[str, Any] = field(default_factory=dict)
    mask: np.ndarray | None = None
    holes: Sequence[np.ndarray] = ()
    runs: np.ndarray | None = None
    order: str | None = None


@dataclass
class Annotation:
    """What a format says of an image.

    Attributes:
        shapes: the objects, in the order of the file.
        size: (width, height) of the image that was annotated; None if the format does not say.
        is_relative: the points are fractions of the image.
        columns: values of the columns that the layout adds to the row.
        name: the image's file name, if the format states it beside pairing by stem; it must not be that of another image.
        split: the image's split in the words of the format; "" leaves it to the folders.
    """

    shapes: list[Shape]
    size: tuple[int, int] | None = None
    is_relative: bool = False
    columns: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    split: str = ""


@dataclass(frozen=True)
class Target:
    """What the column `objects` of a set has.

    Attributes:
        places: class -> category.
        columns: further columns, from `Shape.more`.
        clip: shapes are cut at the border of the image, instead of being refused.
        has_polygons, has_masks: it has `polygon`, `segmentation`.
    """

    places: Mapping[str, int]
    columns: Collection[str] = ()
    clip: bool = False
    has_polygons: bool = False
    has_masks: bool = False


def check_shapes(annotation: Annotation, where: str) -> None:
    """Makes all points float64 (N, 2), and checks them as far as it can be done without the image.

    Raises:
        DataError: an object without a class, with too few points, or with points that are not numbers of pixels.
    """
    least = {"box": 2, "polygon": 3, "circle": 2, "line": 2, "point": 1, "mask": 1, "runs": 0}
    for number, shape in enumerate(annotation.shapes, 1):
        if not isinstance(shape.label, str) or not shape.label.strip():
            raise DataError(f"{where}, object {number} has no class")
        shape.points, *shape.holes = (
            np.asarray(points, np.float64).reshape(-1, 2) for points in (shape.points, *shape.holes)
        )
        if len(shape.points) < least[shape.kind]:
            raise DataError(f"{where}, object {number} is a {shape.kind} of {len(shape.points)} points")
        if any(len(hole) < least["polygon"] for hole in shape.holes):
            raise DataError(f"{where}, object {number} has a hole of fewer than three points")
        for points in (shape.points, *shape.holes):
            if not np.isfinite(points).all() or np.abs(points).max(initial=0) > MOST:
                raise DataError(f"{where}, object {number} has a point that is not a number of pixels")


def to_objects(annotation: Annotation, frame: Frame, where: str, target: Target) -> dict[str, list]:
    """The column `objects` of an image, in pixels of the decoded image.

    Args:
        annotation: checked by `check_shapes`.
        frame: the image.
        where: names the annotation, for messages.

    Raises:
        DataError: the image has another size than the annotation says, or a shape reaches out of it.
    """
    size = annotation.size if annotation.size and all(annotation.size) else None
    if size is not None and tuple(size) not in (frame.size, frame.stored):
        raise DataError(
            f"{where}: the image is {size[0]:g} x {size[1]:g} there, and has {frame.size[0]} x {frame.size[1]} pixels"
        )
    clip, shapes = target.clip, annotation.shapes
    labels = [f"{where}, object {number} ({short(shape.label)})" for number, shape in enumerate(shapes, 1)]
    drawn = frame.stored if frame.turns(size) else frame.size
    scale = np.array(drawn if annotation.is_relative else (1, 1), np.float64)
    if clip:
        shapes = [shape if shape.mask is None else cropped(shape, drawn) for shape in shapes]
    shapes = in_columns(shapes, drawn, labels)
    outlines = [
        runs_outline(shape.runs, drawn[1]) if shape.runs is not None else outline(shape, shape.points * scale)
        for shape in shapes
    ]
    corners = [points.min(0) for points in outlines]
    boxes = [[*low, *(points.max(0) - low)] for low, points in zip(corners, outlines)]
    fitted = fit_boxes(boxes, frame, size, labels, clip=clip)

    def fit(points: np.ndarray, is_closed: bool) -> np.ndarray:
        points = frame.turn_points(points) if frame.turns(size) else points
        return clip_polygon(points, frame.size) if is_closed else np.clip(points, 0, frame.size)

    outlines = [fit(points, shape.kind not in OPEN) for shape, points in zip(shapes, outlines)]
    if clip:
        for box, shape, points in zip(fitted, shapes, outlines):
            if shape.kind in ("polygon", "circle") and len(points):
                box[:] = [*points.min(0), *(points.max(0) - points.min(0))]
    holes = [[fit(hole * scale, True) for hole in shape.holes] for shape in shapes]
    objects: dict[str, list] = {
        "bbox": list(fitted),
        "category": [target.places[shape.label] for shape in shapes],
        "area": [_area(*parts) for parts in zip(shapes, fitted, outlines, holes)],
    }
    for name in target.columns:
        objects[name] = [shape.more.get(name) for shape in shapes]
    if target.has_polygons:
        objects["polygon"] = [
            [] if shape.kind in ("mask", "runs") else points.ravel().tolist() for shape, points in zip(shapes, outlines)
        ]
    if target.has_masks:
        objects["segmentation"] = [
            _segmentation(shape, points, cut, frame, size, label)
            for shape, points, cut, label in zip(shapes, outlines, holes, labels)
        ]
    return objects


def in_columns(shapes: Sequence[Shape], size: tuple[int, int], labels: Sequence[str]) -> list[Shape]:
    """The shapes, with runs that are counted down the columns of an image of (width, height) `size`.

    Raises:
        DataError: runs overlap, reach out of the image, or look as if they were counted in the other order.
    """
    for shape, label in zip(shapes, labels):
        if shape.runs is not None:
            check_runs(shape.runs, size, label)
    unsure = [shape.runs for shape in shapes if shape.runs is not None and shape.order is None]
    if look_like_rows(unsure, size):
        where = next(label for shape, label in zip(shapes, labels) if shape.runs is not None)
        raise DataError(
            f"{where}: its run-length code looks as if pixels were counted along the rows: pass order='rows', or "
            "order='columns' if they are not"
        )
    return [
        replace(shape, runs=by_columns(shape.runs, size)) if shape.runs is not None and shape.order == "rows" else shape
        for shape in shapes
    ]


def _segmentation(
    shape: Shape, points: np.ndarray, holes: list[np.ndarray], frame: Frame, size: tuple | None, where: str
) -> dict[str, Any]:
    if shape.kind in OPEN:
        raise DataError(f"{where} is a {shape.kind}: masks=True takes boxes, polygons, circles and masks")
    if shape.runs is not None:
        drawn = frame.stored if frame.turns(size) else frame.size
        runs = {"size": [drawn[1], drawn[0]], "counts": runs_counts(shape.runs, drawn[0] * drawn[1])}
        return encode_segmentation(runs, drawn, frame, where)
    if shape.mask is None and len(points) > 2:
        code = encode_segmentation([points.ravel().tolist()], frame.size, frame, where)
        holes = [hole for hole in holes if len(hole) > 2]
        if not holes:
            return code
        cut = encode_segmentation([hole.ravel().tolist() for hole in holes], frame.size, frame, where)
        return encode_mask(mask_tools().decode(code) & ~mask_tools().decode(cut).astype(bool))
    whole = np.zeros((frame.stored if frame.turns(size) else frame.size)[::-1], np.uint8)
    if shape.mask is None:  # all of it lies outside
        return encode_mask(whole)
    left, top = np.round(shape.points[0]).astype(int)
    height, width = shape.mask.shape
    if left < 0 or top < 0 or top + height > whole.shape[0] or left + width > whole.shape[1]:
        raise DataError(f"{where}: its mask reaches out of the image")
    whole[top : top + height, left : left + width] = shape.mask
    return encode_mask(frame.turn_mask(whole) if frame.turns(size) else whole)


def _area(shape: Shape, box: np.ndarray, points: np.ndarray, holes: list[np.ndarray]) -> float:
    if shape.kind == "box":
        return float(box[2] * box[3])
    if shape.mask is not None:
        return float(shape.mask.sum())
    if shape.runs is not None:
        return float(shape.runs[:, 1].sum())
    return 0.0 if shape.kind in OPEN else max(0.0, area_of(points) - sum(map(area_of, holes)))


def outline(shape: Shape, points: np.ndarray) -> np.ndarray:
    """The points around a shape (N, 2): four of a box or a mask, 64 of a circle, else its own."""
    if shape.kind == "circle":
        return circle(points[0], points[1])
    if shape.kind == "mask" and shape.mask is not None:
        rows, columns = np.flatnonzero(shape.mask.any(1)), np.flatnonzero(shape.mask.any(0))
        if not len(rows):
            return np.repeat(points[:1], 4, 0)
        low = points[0] + [columns[0], rows[0]]
        points = np.stack([low, points[0] + [columns[-1] + 1, rows[-1] + 1]])
    elif shape.kind != "box":
        return points
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def cropped(shape: Shape, size: tuple[int, int]) -> Shape:
    """The part of a mask that is in an image of (width, height) `size`."""
    assert shape.mask is not None
    place = np.round(shape.points[0]).astype(int)
    (left, top), (right, bottom) = np.maximum(0, -place), np.maximum(0, np.array(size) - place)
    start = np.clip(place, 0, size).astype(np.float64)
    return replace(shape, points=start[None], mask=shape.mask[top:bottom, left:right])
