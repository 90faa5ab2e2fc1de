"""Values of json that should be of a kind: numbers, points, sizes; else one line that says what is there."""

from typing import Any

import numpy as np

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.image.objects import is_number

_NAMES = {dict: "an object", list: "a list", str: "text"}


def entry(value: Any, key: str, kind: type, where: str) -> Any:
    """A member of an object, checked to be a dict, a list or text.

    Raises:
        DataError: there is none, or it is of another kind.
    """
    if not isinstance(value, dict):
        raise DataError(f"{where}: {short(value)} is not an object with {key}")
    if key not in value:
        raise DataError(f"{where} has no {key}")
    if not isinstance(value[key], kind):
        raise DataError(f"{where}: {key} is {short(value[key])}, not {_NAMES[kind]}")
    return value[key]


def number(value: Any, key: str, where: str) -> float:
    """A member of an object that is a number.

    Raises:
        DataError: there is none, or it is something else.
    """
    if not isinstance(value, dict) or key not in value:
        raise DataError(f"{where} has no {key}")
    if not is_number(value[key]) or not np.isfinite(value[key]):
        raise DataError(f"{where}: {key} is {short(value[key])}, not a number of pixels")
    return value[key]


def points(value: Any, where: str) -> np.ndarray:
    """A list of points [x, y], as float64 (N, 2).

    Raises:
        DataError: it is something else.
    """
    if not isinstance(value, list):
        raise DataError(f"{where}: its points are {short(value)}, not a list")
    for point in value:
        if not (isinstance(point, list) and len(point) == 2 and all(map(is_number, point))):
            raise DataError(f"{where}: {short(point)} is not a point [x, y]")
    return np.array(value, np.float64).reshape(-1, 2)


def size(width: Any, height: Any, where: str) -> tuple[int, int] | None:
    """The size of an image (width, height); None if it is not stated.

    Raises:
        DataError: it is no size.
    """
    if width is None and height is None:
        return None
    if not (is_number(width) and is_number(height) and width > 0 and height > 0):
        raise DataError(f"{where}: the image's size is {short(width)} x {short(height)}")
    return (width, height)
