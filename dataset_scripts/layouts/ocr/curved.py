"""Lines of text along a curve, as CTW1500 has them: polygons of any number of points, in xml or in text.

The format: https://github.com/Yuliang-Liu/Curve-Text-Detector.
"""

import re

import numpy as np

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.formats.fields import brief, short
from dataset_scripts.core.formats.safe_xml import parse_xml
from dataset_scripts.core.image.shapes import Annotation, Shape

IGNORED = "###"  # do not care: it cannot be read
NUMBER = r"\s*[-+]?\d{1,15}(?:\.\d{0,15})?\s*"
LINE = re.compile(rf"((?:{NUMBER},){{6,}}+)####(.*)", re.DOTALL)  # x1,y1,…,xn,yn,####text
MANY = re.compile(rf"(?:{NUMBER},){{9,}}+####.*|(?:{NUMBER},){{13,}}+.*", re.DOTALL)
XML = re.compile(rb"<Annotations>\s*<image\s")


def is_curved(lines: list[str]) -> bool:
    """Whether all lines of a text are polygons with `####` before what is written there."""
    return bool(lines) and all(map(LINE.fullmatch, lines))


def parse_curved(line: str, where: str) -> Shape:
    """A polygon and its text, of a line that `LINE` matches.

    Raises:
        DataError: its numbers are not x and y of each point.
    """
    match = LINE.fullmatch(line)
    assert match is not None
    numbers = match[1].rstrip(",").split(",")
    if len(numbers) % 2:
        raise DataError(f"{where}: {brief(line)} has {len(numbers)} numbers before ####, not x and y of each point")
    return word(np.array(numbers, np.float64).reshape(-1, 2), match[2].strip())


def word(points: np.ndarray, text: str) -> Shape:
    return Shape("text", "polygon", points, {"text": text or None, "ignore": text == IGNORED, "script": None})


def parse_curved_xml(content: bytes, where: str) -> Annotation:
    """The lines of text in an xml file.

    Raises:
        DataError: it is damaged, about several images, or a polygon is not pairs of numbers.
    """
    with reading(where):
        images = parse_xml(content).findall("image")
    if len(images) != 1:
        raise DataError(f"{where} is about {len(images)} images, not one")
    shapes = []
    for number, box in enumerate(images[0].findall("box"), 1):
        said = box.findtext("segs") or ""
        parts = said.strip().strip(",").split(",")
        if len(parts) < 6 or len(parts) % 2 or not all(re.fullmatch(NUMBER, part) for part in parts):
            raise DataError(f"{where}, box {number}: its segs are {short(said)}, not x and y of each point")
        shapes.append(word(np.array(parts, np.float64).reshape(-1, 2), (box.findtext("label") or "").strip()))
    return Annotation(shapes, name=images[0].get("file", ""))
