"""The xml files of PASCAL VOC (the development kit's documentation, section "Annotation file format")."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import Reader
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.safe_xml import parse_xml
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.objects import fit_boxes

MAX_XML = 16 << 20  # bytes
MARKS = ("difficult", "truncated", "occluded")
_TRUTH = {"0": False, "1": True, "false": False, "true": True, "": False, "unspecified": False}


def survey(files: Reader, path: str) -> tuple[list[str], bool]:
    """The names of the objects in a file, and whether a box starts at 0, so that pixels are not counted from 1."""
    nodes = _read(files, path).findall("object")
    starts = [node.findtext(f"bndbox/{side}", "").strip() for node in nodes for side in ("xmin", "ymin")]
    return [_name(node) for node in nodes], any(re.fullmatch(r"0+(\.0*)?", start) for start in starts)


def read_objects(files: Reader, path: str, frame: Frame, places: Mapping[str, int], first: int) -> dict[str, list]:
    """Reads the objects of an image.

    Args:
        frame: the image.
        places: class -> category.
        first: 1 where pixels count from 1 and the last one belongs to the box, as VOC writes it: x = xmin - 1, width =
            xmax - xmin + 1; 0 if the numbers are edges: x = xmin, width = xmax - xmin.

    Returns:
        The column `objects`: boxes (x, y, width, height) in pixels of the decoded image.

    Raises:
        DataError: naming file and object, if something is missing, not a number, or outside the image.
    """
    root, where = _read(files, path), f"{files.root}/{path}"
    size = root.find("size")
    annotated = tuple(_number(size, side, where) for side in ("width", "height")) if size is not None else (0, 0)
    if not all(annotated):  # some tools write zeros
        annotated = None
    if annotated not in (None, frame.size, frame.stored):
        width, height = frame.size
        raise DataError(
            f"{where}: size is {annotated[0]:g} x {annotated[1]:g}, but the image has {width} x {height} pixels"
        )
    nodes = root.findall("object")
    labels = [f"{where}, object {number} ({short(_name(node))})" for number, node in enumerate(nodes, 1)]
    for node, label in zip(nodes, labels):
        if _name(node) not in places:
            raise DataError(f"{label}: it is none of the classes {short(', '.join(places))}")
    objects: dict[str, Any] = {
        "bbox": _boxes(nodes, labels, first, frame, annotated),
        "category": [places[_name(node)] for node in nodes],
        "pose": [(node.findtext("pose") or "Unspecified").strip() for node in nodes],
        "parts": [],
    }
    for mark in MARKS:
        objects[mark] = [_mark(node, mark, label) for node, label in zip(nodes, labels)]
    for node, label in zip(nodes, labels):
        parts = node.findall("part")
        boxes = _boxes(parts, [f"{label}, part {short(_name(part))}" for part in parts], first, frame, annotated)
        objects["parts"].append([{"name": _name(part), "bbox": box} for part, box in zip(parts, boxes)])
    return objects


def _read(files: Reader, path: str) -> Element:
    content = files.read(path)
    if len(content) > MAX_XML:
        raise DataError(f"{files.root}/{path} cannot be read as xml: it has more than {MAX_XML:,} bytes, for one image")
    with reading(f"{files.root}/{path} cannot be read as xml"):  # entities and odd encodings are such faults, too
        root = parse_xml(content)
    if root.tag != "annotation":
        raise DataError(f"{files.root}/{path} holds <{short(root.tag)}>, not the <annotation> of VOC")
    for number, node in enumerate(root.findall("object"), 1):
        if not _name(node):
            raise DataError(f"{files.root}/{path}, object {number} has no name")
    return root


def _name(node: Element) -> str:
    return (node.findtext("name") or "").strip()


def _boxes(
    nodes: Sequence[Element], labels: Sequence[str], first: int, frame: Frame, annotated: tuple | None
) -> list[np.ndarray]:
    boxes = []
    for node, label in zip(nodes, labels):
        box = node.find("bndbox")
        if box is None:
            raise DataError(f"{label} has no bndbox")
        left, top, right, bottom = (_number(box, side, label) for side in ("xmin", "ymin", "xmax", "ymax"))
        boxes.append([left - first, top - first, right - left + first, bottom - top + first])
    return list(fit_boxes(boxes, frame, annotated, labels))


def _number(node: Element, tag: str, where: str) -> float:
    text = node.findtext(tag)
    try:
        return float(text)
    except (TypeError, ValueError):
        raise DataError(f"{where}: {tag} is {short(text)!r}, not a number") from None


def _mark(node: Element, tag: str, where: str) -> bool:
    text = (node.findtext(tag) or "").strip()
    if text.lower() not in _TRUTH:
        raise DataError(f"{where}: {tag} is {short(text)!r}, not 0 or 1")
    return _TRUTH[text.lower()]
