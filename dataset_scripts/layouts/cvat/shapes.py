"""The shapes in an <image> of CVAT (docs.cvat.ai, "CVAT for images", version 1.1)."""

import re

import numpy as np

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.image.polygons import ellipse, turned
from dataset_scripts.core.image.shapes import Shape

LINES = {"polygon": "polygon", "polyline": "line", "points": "point"}
OTHERS = {"cuboid": "a box in space", "skeleton": "a skeleton of points"}


def read_shape(part, label, bitmaps, where):
    """The shape that an element is.

    Raises:
        DataError: it has a fault, or is of a kind that is not read.
    """
    more = {
        "occluded": _flag(part, "occluded", where),
        "z_order": _whole(part, "z_order", where) or 0,
        "rotation": _number(part, "rotation", where) if "rotation" in part.attrib else None,
        "group_id": _whole(part, "group_id", where) or None,
        "track_id": _whole(part, "track_id", where),
        "source": part.get("source"),
        "attributes": named_values(part),
    }
    turn = more["rotation"] or 0.0
    if part.tag in LINES:
        return Shape(label, LINES[part.tag], _points(part, where), more)
    if part.tag == "box":
        left, top, right, bottom = (_number(part, side, where) for side in ("xtl", "ytl", "xbr", "ybr"))
        if not turn:
            return Shape(label, "box", _corners(left, top, right, bottom, where)[::2], more)
        corners = _corners(left, top, right, bottom, where)
        return Shape(label, "polygon", turned(corners, corners.mean(0), turn), more)
    if part.tag == "ellipse":
        centre, radii = (np.array([_number(part, key, where) for key in keys]) for keys in (("cx", "cy"), ("rx", "ry")))
        if (radii < 0).any():
            raise DataError(f"{where}: a radius is less than 0")
        return Shape(label, "polygon", turned(ellipse(centre, radii), centre, turn), more)
    if part.tag == "mask":
        left, top, width, height = (_needed(part, key, where) for key in ("left", "top", "width", "height"))
        with reading(f"{where}: rle"):
            mask = bitmaps.runs([int(count) for count in part.get("rle", "").split(",")], width, height)
        return Shape(label, "mask", np.array([[left, top]], np.float64), more, mask)
    if part.tag in OTHERS:
        raise DataError(f"{where} is {OTHERS[part.tag]}, which is not read: leave it out of the export")
    raise DataError(f"{where}: there is no shape of this name: box, polygon, polyline, points, ellipse or mask")


def named_values(part):
    """The attributes of a shape or a tag, as [{name, value}]."""
    return [{"name": value.get("name", ""), "value": value.text or ""} for value in part.iterfind("attribute")]


def size_of(image, where):
    """(width, height) of the image that was annotated; None if it is not stated."""
    size = (_whole(image, "width", where), _whole(image, "height", where))
    if None not in size and min(size) < 1:
        raise DataError(f"{where}: the image's size is {size[0]} x {size[1]}")
    return None if None in size else size


def _corners(left, top, right, bottom, where):
    if right < left or bottom < top:
        raise DataError(f"{where}: the box from {left:g}, {top:g} to {right:g}, {bottom:g} has no size")
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _points(part, where):
    text = part.get("points", "")
    with reading(f"{where}: points {short(text)!r}"):
        return np.array([[float(x) for x in pair.split(",")] for pair in text.split(";")]).reshape(-1, 2)


def _number(part, key, where):
    text = part.get(key)
    try:
        number = float(text)
    except (TypeError, ValueError):
        raise DataError(
            f"{where}: {key} is {short(text)!r}, not a number" if text else f"{where} has no {key}"
        ) from None
    if not np.isfinite(number):
        raise DataError(f"{where}: {key} is {short(text)}")
    return number


def _whole(part, key, where):
    text = part.get(key)
    if text is None:
        return None
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise DataError(f"{where}: {key} is {short(text)!r}, not a whole number")
    return int(text)


def _needed(part, key, where):
    number = _whole(part, key, where)
    if number is None:
        raise DataError(f"{where} has no {key}")
    return number


def _flag(part, key, where):
    text = part.get(key, "0")
    if text not in ("0", "1"):
        raise DataError(f"{where}: {key} is {short(text)!r}, not 0 or 1")
    return text == "1"
