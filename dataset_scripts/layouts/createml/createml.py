"""CreateML: boxes of many images in one json file, with the centre of each box, as Apple's Create ML reads it."""

import numpy as np

from dataset_scripts.core.builders.many import ManyBuilder, numbers
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.shapes import Annotation, Shape

PRECEDENCE = 2
SUFFIXES = (".json",)


def matches(files):
    """Json files with CreateML's lists."""
    return Createml.matches_by_content(files)


class Createml(ManyBuilder):
    SUFFIXES = SUFFIXES
    IS_POLYGONAL = False

    def entries(self, files, path):
        return self.json_entries(files, path, "image", "imagefilename")  # both are in Apple's documentation

    def parse(self, content, where):
        said = parse_json(content, where)
        objects = said.get("annotations", said.get("annotation"))
        if not isinstance(objects, list):
            raise DataError(f"{where}: its annotations are {short(objects)}, not a list")
        return Annotation([self._shape(each, f"{where}, object {number}") for number, each in enumerate(objects, 1)])

    @staticmethod
    def _shape(said, where):
        if not isinstance(said, dict):
            raise DataError(f"{where} is {short(said)}, not a label and coordinates")
        x, y, width, height = numbers(said.get("coordinates"), ("x", "y", "width", "height"), where)
        if max(x, y, width, height) <= 1:
            raise DataError(f"{where}: x, y, width and height are at most 1, like fractions: CreateML counts pixels")
        if min(width, height) < 0:
            raise DataError(f"{where}: its width or height is negative")
        half = np.array([width, height]) / 2
        return Shape(said.get("label"), "box", np.array([[x, y] - half, [x, y] + half]))
