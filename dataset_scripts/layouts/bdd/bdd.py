"""BDD100K: boxes and polygons on frames of videos, in one json file per split, also in Scalabel's form."""

import datasets
import numpy as np

from dataset_scripts.core.builders.attributes import TAKEN, Attributes
from dataset_scripts.core.builders.many import ManyBuilder, numbers
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.objects import is_number
from dataset_scripts.core.image.polygons import bezier
from dataset_scripts.core.image.shapes import Annotation, Shape

PRECEDENCE = 2
SUFFIXES = (".json",)
OF_IMAGE = ("weather", "scene", "timeofday")
CORNERS = ("x1", "y1", "x2", "y2")


def matches(files):
    """Json files with BDD's lists of frames."""
    return Bdd.matches_by_content(files)


class Bdd(ManyBuilder):
    SUFFIXES = SUFFIXES
    ROW_COLUMNS = {"attributes": {name: datasets.Value("string") for name in OF_IMAGE}}

    def annotations(self, files, images):
        self.attributes = Attributes(taken=(*TAKEN, "id"))
        found = list(super().annotations(files, images))
        self.OBJECT_COLUMNS = {"id": datasets.Value("string"), **self.attributes.features()}
        yield from found

    def entries(self, files, path):
        return self.json_entries(files, path, "name")

    def see(self, said):
        for _, label in labels_of(said, short(said.get("name"))):
            self.attributes.see(label.get("attributes") or {})

    def is_entry(self, key):
        return key == "frames"

    def parse(self, content, where):
        said = parse_json(content, where)
        shapes = [shape for place, label in labels_of(said, where) for shape in self._shapes(label, place)]
        about, size = said.get("attributes"), said.get("size")
        about = about if isinstance(about, dict) else {}
        columns = {name: None if about.get(name) is None else str(about[name]) for name in OF_IMAGE}
        size = tuple(numbers(size, ("width", "height"), where)) if size else None
        return Annotation(shapes, size, columns={"attributes": columns})

    def _shapes(self, label, where):
        """The shapes of a label: one, but for an outline of several parts."""
        number = label.get("id")
        more = {"id": None if number is None else str(number), **self.attributes.values(label.get("attributes") or {})}
        parts = label.get("poly2d")
        if parts:
            for part in [{"vertices": parts}] if not isinstance(parts[0], dict) else parts:
                points, is_closed = outline(part, where)
                yield Shape(label.get("category"), "polygon" if is_closed else "line", points, more)
        elif label.get("box2d"):
            x1, y1, x2, y2 = numbers(label["box2d"], CORNERS, where)
            if x2 < x1 or y2 < y1:
                raise DataError(f"{where}: x2 or y2 of its box2d is less than x1 or y1")
            yield Shape(label.get("category"), "box", np.array([[x1, y1], [x2, y2]]), more)
        else:
            raise DataError(f"{where} has neither box2d nor poly2d, but {short(', '.join(label))}")


def labels_of(frame, where):
    """The labels of a frame, each with its place; null or missing means that there are none."""
    labels = frame.get("labels")
    if labels is not None and not isinstance(labels, list):
        raise DataError(f"{where}: its labels are {short(labels)}, not a list")
    for number, label in enumerate(labels or (), 1):
        place = f"{where}, object {number}"
        if not isinstance(label, dict) or not isinstance(label.get("attributes") or {}, dict):
            raise DataError(f"{place} is {short(label)}, not a label")
        yield place, label


def outline(part, where):
    """The points (N, 2) of a part of poly2d, and whether they are closed.

    Its `types` has a letter for each vertex: L for a corner, CCC for the two control points and the end of a curve. In an
    earlier form each vertex is [x, y, letter], and closed unless it says otherwise.
    """
    vertices, types = part.get("vertices"), part.get("types")
    if not isinstance(vertices, list) or not all(isinstance(each, list) and len(each) >= 2 for each in vertices):
        raise DataError(f"{where}: the vertices of its poly2d are {short(vertices)}")
    if types is None:
        types = "".join(str(each[2]) if len(each) > 2 else "L" for each in vertices)
    if not all(is_number(number) for each in vertices for number in each[:2]):
        raise DataError(f"{where}: its poly2d has a vertex that is not two numbers")
    if not isinstance(types, str) or len(types) != len(vertices) or set(types) - set("LC"):
        raise DataError(f"{where}: its poly2d has {len(vertices)} vertices of the types {short(types)}")
    is_closed = bool(part.get("closed", True))
    points, found, place = np.array([each[:2] for each in vertices], np.float64), [], 0
    around = np.concatenate([points, points[:1]]) if is_closed else points
    while place < len(points):
        if types[place] == "L":
            found.append(points[place : place + 1])
            place += 1
        else:
            curve = around[place - 1 : place + 3] if place else ()
            if len(curve) < 4 or set(types[place : place + 3]) != {"C"}:
                raise DataError(f"{where}: its poly2d has a curve that is not a point, two control points and its end")
            found.append(bezier(curve)[1:])
            place += 3
    return np.concatenate(found) if found else np.empty((0, 2)), is_closed
