"""What a row of a table of boxes or masks says."""

import re
from collections.abc import Mapping
from typing import Any

from dataset_scripts.core.builders.attributes import is_missing
from dataset_scripts.core.formats.fields import short
from dataset_scripts.layouts.csv_boxes.columns import Columns

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?", re.ASCII)
RUNS = re.compile(r"\d{1,15}\s+\d{1,15}(\s+\d{1,15}\s+\d{1,15})*+", re.ASCII)


def record_of(columns: Columns, row: list[str], label: str | None, config: Any, classes: Mapping[str, int]) -> list:
    """A row of the right length: its fault or None, label, place, size and other columns.

    The place is a run-length code, the four numbers of two corners, or empty for no object; the size is that of the image,
    or empty.

    Args:
        config: the options of the layout.
        classes: those that there are; empty if any may be.
    """
    place, size, fault = columns.place_of(row), [row[at] for at in columns.size], None
    if place and label is None:
        label = config.classes[0] if config.classes and len(config.classes) == 1 else "object"
    if place and is_missing(label):
        fault = "the object has no class"
    elif place and classes and label not in classes:
        fault = f"{short(label)} is not in the table of classes"
    elif isinstance(place, str):
        fault = None if not place or RUNS.fullmatch(place) else f"no run-length code: {short(place)}"
    elif place:
        place, fault = corners(place, columns.is_sized or (columns.box is not None and config.bbox == "xywh"))
        if fault is None and not config.relative and max(map(abs, place)) <= 1:
            fault = f"the box {short(place)} is like fractions of the image, not pixels: pass relative=True if so"
    if any(not is_missing(side) and not NUMBER.fullmatch(side) for side in size):
        fault = f"the size of the image is {short(' x '.join(size))}"
    size = [] if fault or any(map(is_missing, size)) else list(map(float, size))
    return [fault, label, place, size, columns.attributes(row)]


def corners(values: list[str], is_sized: bool) -> tuple[list, str | None]:
    """The two corners of a box, or what is wrong with it; the last two values are its width and height if it `is_sized`."""
    if len(values) != 4 or not all(map(NUMBER.fullmatch, values)):
        return values, f"no box of four numbers: {short(', '.join(values))}"
    x, y, right, bottom = map(float, values)
    if is_sized:
        right, bottom = x + right, y + bottom
    if right < x or bottom < y:
        return values, f"the box ends before it begins: {short(', '.join(values))}"
    return [x, y, right, bottom], None
