"""Lists of images with their boxes, as keras-yolo3 reads them: lines of `path x1,y1,x2,y2,class x1,y1,x2,y2,class`."""

import re
from typing import ClassVar

import numpy as np

from dataset_scripts.core.builders.classes import named_classes, numbered_classes
from dataset_scripts.core.builders.many import Entry, ManyBuilder
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import IMAGE_SUFFIXES
from dataset_scripts.core.formats.fields import brief, short
from dataset_scripts.core.formats.text_table import text_lines
from dataset_scripts.core.image.shapes import Annotation, Shape

PRECEDENCE = 2
SUFFIXES = (".txt",)
ENDINGS = "|".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
LINE = re.compile(rf"(?P<name>.+?\.(?i:{ENDINGS}))(?:\s+(?P<boxes>\S.*))?")
NUMBER = r"[-+]?\d{1,15}(?:\.\d{0,15})?"
BOX = re.compile(rf"({NUMBER}),({NUMBER}),({NUMBER}),({NUMBER}),(\d{{1,9}})", re.ASCII)
FIRST = re.compile(rf"{BOX.pattern}(\s|$)", re.ASCII)
NAMES = re.compile(r"(.*/)?([^/]*[_\-.])?classes\.txt|.*\.names", re.IGNORECASE)


def matches(files):
    """Lists whose lines are the path of an image and its boxes."""
    return BoxLists.matches_by_content(files)


class BoxLists(ManyBuilder):
    SUFFIXES: ClassVar[tuple[str, ...]] = SUFFIXES
    IS_POLYGONAL = False

    @classmethod
    def is_annotation(cls, content):
        lines = content.decode("utf-8-sig", "replace").splitlines()
        return any((match := LINE.fullmatch(line.strip())) and FIRST.match(match["boxes"] or "") for line in lines)

    def annotations(self, files, images):
        self.names = self.config.classes or self._names(files)
        self.count = 0
        return super().annotations(files, images)

    def _names(self, files):
        """The classes in the order of their numbers, one per line of a file; none if there is no such file."""
        lists = [path for path in files.paths if NAMES.fullmatch(path)]
        said = {}
        for path in lists:
            with reading(f"{files.root}/{path}"):
                text = files.read(path).decode("utf-8-sig")
            said[path] = [line.strip() for line in text.splitlines() if line.strip()]
        if other := next((path for path in lists if said[path] != said[lists[0]]), None):
            raise DataError(f"{files.root}: {lists[0]} and {other} name different classes: pass classes=[…]")
        files.account(lists)
        return named_classes(said[lists[0]], f"{files.root}/{lists[0]}").names if lists else []

    def entries(self, files, path):
        with files.open(path) as file:
            for number, line in text_lines(file, f"{files.root}/{path}"):
                where = f"{files.root}/{path}, line {number}"
                with self.faults:
                    with reading(where):
                        text = line.decode().strip()
                    match = LINE.fullmatch(text)
                    if match is None:
                        raise DataError(
                            f"{where}: {brief(text)} is not the path of an image and boxes x1,y1,x2,y2,class"
                        )
                    yield Entry(match["name"], (match["boxes"] or "").encode(), where)

    def parse(self, content, where):
        return Annotation([self._shape(word, where) for word in content.decode().split()])

    def _shape(self, word, where):
        match = BOX.fullmatch(word)
        if match is None:
            raise DataError(f"{where}: {short(word)} is not a box x1,y1,x2,y2,class with the number of a class")
        *corners, number = (*map(float, match.groups()[:4]), int(match[5]))
        left, top, right, bottom = corners
        if right < left or bottom < top:
            raise DataError(f"{where}: the box {word} ends before it begins: its numbers are x1,y1,x2,y2,class")
        if max(map(abs, corners)) <= 1:
            raise DataError(f"{where}: the box {word} is like fractions of the image, not pixels")
        if self.names and number >= len(self.names):
            raise DataError(f"{where}: the box {word} has the class {number}, and there are {len(self.names)} names")
        self.count += 1
        return Shape(self.names[number] if self.names else str(number), "box", np.array(corners).reshape(2, 2))

    def categories(self, used):
        return self.names or numbered_classes(max(map(int, used), default=0), self.count, self.config.data_dir)
