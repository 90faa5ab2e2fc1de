"""Colour masks: tables with the colours of classes, and the ids of pixels."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, name_of
from dataset_scripts.core.formats.fields import brief, short
from dataset_scripts.core.formats.json_text import parse_json

logger = printable_logger(__name__)

# Possessive, and the name as long as may be: each run of digits or of blanks is scanned a few times, however long it is.
_NUMBER, _GAP = r"(\d{1,9}+)", r"[\s,]++"
LINE = re.compile(
    rf"{_NUMBER}{_GAP}{_NUMBER}{_GAP}{_NUMBER}{_GAP}(\S.*)|"
    rf"([^:,\t]*[^:,\s])[\s,:]++{_NUMBER}{_GAP}{_NUMBER}{_GAP}{_NUMBER}[\s,:]*+"
)


COLOR_TABLES = re.compile(
    r"(label_?colou?rs|labelmap|class_dict|classes|colou?rs|palette)\.(txt|csv|json)", re.IGNORECASE
)


class Colors:
    """Looks up the classes of colours.

    Args:
        colors: class name -> (red, green, blue); the ids are 0, 1, … in this order.
        where: names the table, for messages.

    Raises:
        DataError: something that is not a colour, or two classes with the same colour.
    """

    def __init__(self, colors: Mapping[str, Any], where: str):
        self.names, self.colors, self.where = list(colors), list(colors.values()), where
        codes = np.array(
            [color_code(color, f"{where}: the colour of {short(name)}") for name, color in colors.items()], np.uint32
        )
        order = np.argsort(codes)
        self.codes, self.ids = codes[order], order.astype(np.uint8 if len(order) <= 256 else np.uint16)
        twice = np.flatnonzero(np.diff(self.codes) == 0)
        if len(twice):
            first, second = sorted(self.names[number] for number in order[twice[0] : twice[0] + 2])
            raise DataError(f"{where}: {first} and {second} have the same colour")

    def __str__(self) -> str:
        return ", ".join(f"{number} {name}" for number, name in enumerate(self.names))

    def ids_of(self, pixels: np.ndarray, where: str) -> np.ndarray:
        """The ids (H, W), uint8 or uint16, of pixels (H, W, 3) uint8.

        Raises:
            DataError: a colour that belongs to no class; the message names the pixel.
        """
        codes = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
        places = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        unknown = np.argwhere(self.codes[places] != codes)
        if len(unknown):
            y, x = unknown[0].tolist()
            raise DataError(
                f"{where}: the pixel x={x}, y={y} has the colour {tuple(pixels[y, x].tolist())}, which belongs to no class"
            )
        return self.ids[places]


def color_code(color: Any, where: str) -> int:
    parts = color if isinstance(color, (list, tuple)) else ()
    if len(parts) != 3 or not all(type(part) is int and 0 <= part < 256 for part in parts):
        raise DataError(f"{where} is {brief(color)}, not three whole numbers of 0 to 255, red, green and blue")
    return color[0] << 16 | color[1] << 8 | color[2]


def read_colors(files: Files, path: str) -> dict[str, tuple[int, int, int]]:
    """Reads a table of colours: lines of `name,r,g,b`, `r g b name` or `name:r,g,b::`, or json of `{name: [r, g, b]}`.

    Returns:
        Name -> colour in the order of the table; empty if it contains no colours.

    Raises:
        DataError: some of its lines have another form.
    """
    where, content = f"{files.root}/{path}", files.read(path)
    if path.lower().endswith(".json"):
        table = parse_json(content, f"{where}: invalid json")
        if isinstance(table, list) and all(
            isinstance(item, dict) and {"name", "color"} <= item.keys() for item in table
        ):
            table = {str(item["name"]): item["color"] for item in table}
        return table if isinstance(table, dict) and all(isinstance(color, list) for color in table.values()) else {}
    text = content.decode("utf-8-sig", "replace")
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line, LINE.fullmatch(line)) for number, line in lines if line and line[0] != "#"]
    if not any(match for _, _, match in lines):
        return {}
    colors = {}
    for place, (number, line, match) in enumerate(lines):
        if match is None and place:  # the first one may name the columns
            raise DataError(f"{where}, line {number}: {brief(line)} is not a name and a colour")
        if match:
            name, *color = match.group(5, 6, 7, 8) if match[5] else match.group(4, 1, 2, 3)
            if name.strip() in colors:
                raise DataError(f"{where}, line {number}: {short(name.strip())} occurs twice")
            colors[name.strip()] = tuple(map(int, color))
            color_code(colors[name.strip()], f"{where}, line {number}: the colour")
    return colors


def find_colors(files: Files, asked: Mapping[str, Any] | str | None) -> Colors | None:
    """The colours that the caller gave, or those of the only table in the data.

    Args:
        asked: class name -> colour, or the path of a table in the data.

    Raises:
        DataError: there is no such file, it holds no colours, or what `Colors` refuses.
    """
    colors, where = asked, "colors"
    if isinstance(colors, str):
        if colors not in files.names:
            raise DataError(f"colors={colors!r}: {files.root} has no such file")
        files.account([colors])
        colors, where = read_colors(files, colors), f"{files.root}/{colors}"
        if not colors:
            raise DataError(f"{where} holds no colours: its lines are name,r,g,b or r g b name")
    elif colors is None:
        paths = [path for path in files.paths if COLOR_TABLES.fullmatch(name_of(path))]
        tables = {path: table for path in paths if (table := read_colors(files, path))}
        if len(tables) > 1:
            both = " and ".join(tables)
            logger.warning("%s: %s hold colours, and none is used: choose one with colors='…'", files.root, both)
        if len(tables) == 1:
            [(path, colors)] = tables.items()
            where = f"{files.root}/{path}"
        files.account(tables)
    return Colors(colors, where) if colors else None
