"""Lines of ICDAR's files of text in scenes: the corners of a word, and its transcription.

The formats: https://rrc.cvc.uab.es/?ch=2&com=tasks and https://rrc.cvc.uab.es/?ch=4&com=tasks.
"""

import re

import numpy as np

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.fields import brief
from dataset_scripts.core.image.shapes import Shape
from dataset_scripts.layouts.ocr.curved import IGNORED, LINE, MANY, is_curved, parse_curved

NUMBER = re.compile(r"\s*[-+]?\d{1,15}(\.\d{0,15})?\s*")
SPACED = re.compile(r"((?:[-+]?\d{1,15}(?:\.\d{0,15})?[ \t]+){4})(\".*\")")  # 158 128 411 181 "Footpath"
SCRIPTS = frozenset("Arabic Latin Chinese Japanese Korean Bangla Hindi Symbols Mixed None".split())  # of MLT


def parse_boxes(content: bytes, where: str) -> list[Shape]:
    """The words of a file: a quadrilateral, a rectangle or CTW1500's polygon, and the text behind it, which may hold commas.

    Raises:
        DataError: a line is none of these; the message names it.
        UnicodeDecodeError: the file is not UTF-8.
    """
    shapes, lines = [], text_lines(content)
    curved = is_curved([line for _, line in lines])
    for number, line in lines:
        if MANY.fullmatch(line) or curved:
            if not LINE.fullmatch(line):
                raise DataError(
                    f"{where}, line {number}: {brief(line)} has more numbers than the 8 of a quadrilateral: behind those of a "
                    "polygon, the text begins with ####"
                )
            shapes.append(parse_curved(line, f"{where}, line {number}"))
            continue
        count, points, text, script = parse_line(line)
        if count not in (4, 8):
            raise DataError(
                f"{where}, line {number}: {brief(line)} has {count} numbers before the text, not the 8 of a quadrilateral or "
                "the 4 of a rectangle"
            )
        more = {"text": text, "ignore": text == IGNORED, "script": script}
        shapes.append(Shape("text", "polygon" if count == 8 else "box", points, more))
    return shapes


def text_lines(content: bytes) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers; only a line feed ends one, as texts may hold anything else."""
    lines = content.decode("utf-8-sig").split("\n")
    return [(number, line.strip("\r\ufeff ")) for number, line in enumerate(lines, 1) if line.strip()]


def parse_line(line: str) -> tuple[int, np.ndarray, str | None, str | None]:
    """How many numbers a line begins with, up to 8, the points (N, 2), the text and, in MLT's files, its script."""
    if match := SPACED.fullmatch(line):
        return 4, np.array(match[1].split(), np.float64).reshape(-1, 2), unquote(match[2]), None
    parts = line.split(",")
    count = next((place for place, part in enumerate(parts[:8]) if not NUMBER.fullmatch(part)), min(8, len(parts)))
    if count == len(parts) == 5:
        count = 4  # a rectangle whose text is a number
    points = np.array(parts[: count // 2 * 2], np.float64).reshape(-1, 2)
    rest, script = parts[count:], None
    if count == 8 and len(rest) > 1 and rest[0].strip() in SCRIPTS:
        script = rest.pop(0).strip()
    text = ",".join(rest).strip() if rest else None
    return count, points, unquote(text) if text and count == 4 else text, script


def unquote(text: str) -> str:
    """A text without the quotes around it; in these, a backslash stands before quotes and backslashes."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    return re.sub(r'\\(["\\])', r"\1", text[1:-1])


def look_like_boxes(content: bytes, is_cut: bool) -> bool:
    """Whether most lines at the beginning of a file are words with their corners, some of them with letters.

    Rectangles count only with quotes around the text: others are the boxes of objects with their class.
    """
    found = [line.strip("\r ") for line in content.decode("utf-8-sig", "replace").split("\n") if line.strip()]
    found = found[:-1] if is_cut else found
    texts = []
    for line in found:
        if match := LINE.fullmatch(line):
            texts.append(match[2])
            continue
        count, _, text, _ = parse_line(line)
        if text and (count == 8 or (count == 4 and line.endswith('"'))):
            texts.append(text)
    return 2 * len(texts) > len(found) and any(text == IGNORED or re.search(r"[^\W\d]", text) for text in texts)
