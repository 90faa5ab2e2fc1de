"""labelme: shapes drawn on images, one json file per image."""

import numpy as np

from dataset_scripts.core.builders.annotated import AnnotatedBuilder, Annotation, Shape
from dataset_scripts.core.builders.contents import kind_of
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_text import parse_json

PRECEDENCE = 2
SUFFIXES = (".json",)
KINDS = {  # shape_type -> kind of shape
    "polygon": "polygon",
    "rectangle": "box",
    "circle": "circle",
    "line": "line",
    "linestrip": "line",
    "point": "point",
    "points": "line",
}


def matches(files):
    """Json files with labelme's shapes, named like the images."""
    return Labelme.matches_by_stem(files)


class Labelme(AnnotatedBuilder):
    SUFFIXES = SUFFIXES

    @classmethod
    def is_annotation(cls, content):
        return (kind_of(content, ".json") or ("", ""))[1] == "labelme"

    def parse(self, content, where):
        said = parse_json(content, where)
        shapes = [self._shape(shape, f"{where}, shape {number}") for number, shape in enumerate(said["shapes"], 1)]
        width, height = said.get("imageWidth"), said.get("imageHeight")
        return Annotation(shapes, (width, height) if width and height else None)

    @staticmethod
    def _shape(shape, where):
        kind = KINDS.get(shape.get("shape_type", "polygon"))
        if kind is None:
            raise DataError(f"{where}: shape_type {short(shape['shape_type'])} is none of {', '.join(KINDS)}")
        return Shape(shape["label"], kind, np.array(shape["points"], np.float64))
