"""The shapes that the VGG Image Annotator draws."""

import numpy as np

from dataset_scripts.core.builders.many import numbers
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.image.objects import is_number
from dataset_scripts.core.image.polygons import ellipse


def drawn(said, where):
    """The kind of a shape and its points."""
    name = said.get("name") if isinstance(said, dict) else None
    if name == "rect":
        x, y, width, height = numbers(said, ("x", "y", "width", "height"), where)
        if width < 0 or height < 0:
            raise DataError(f"{where}: its width or height is negative")
        return "box", np.array([[x, y], [x + width, y + height]], np.float64)
    if name == "circle":
        x, y, radius = numbers(said, ("cx", "cy", "r"), where)
        if radius < 0:
            raise DataError(f"{where}: its radius is negative")
        return "circle", np.array([[x, y], [x + radius, y]], np.float64)
    if name == "ellipse":
        x, y, *radii = numbers(said, ("cx", "cy", "rx", "ry"), where)
        (angle,) = numbers({"theta": 0} | said, ("theta",), where)  # radians; of VIA 2
        return "polygon", ellipse(np.array([x, y]), np.array(radii), angle)
    if name == "point":
        return "point", np.array([numbers(said, ("cx", "cy"), where)], np.float64)
    if name in ("polygon", "polyline"):
        sides = [said.get(key) for key in ("all_points_x", "all_points_y")]
        if (
            not all(isinstance(side, list) and all(map(is_number, side)) for side in sides)
            or len({*map(len, sides)}) > 1
        ):
            raise DataError(f"{where}: its all_points_x and all_points_y are not equally many numbers")
        return "polygon" if name == "polygon" else "line", np.array(sides, np.float64).T
    raise DataError(f"{where}: its shape is {short(name)}, none of rect, circle, ellipse, polygon, polyline and point")
