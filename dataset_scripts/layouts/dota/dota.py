"""DOTA: oriented boxes in aerial images, in text files labelTxt/P0001.txt beside images/P0001.png."""

import datasets
import numpy as np

from dataset_scripts.core.builders.annotated import AnnotatedBuilder
from dataset_scripts.core.builders.contents import kind_of
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.text_labels import label_lines, numbers, whole
from dataset_scripts.core.image.shapes import Annotation, Shape

PRECEDENCE = 2
SUFFIXES = (".txt",)
HEAD = ("imagesource:", "gsd:")
UNKNOWN = ("", "none", "null", "nan")  # of gsd


def matches(files):
    """Text files with DOTA's labels, named like the images."""
    return Dota.matches_by_stem(files)


class Dota(AnnotatedBuilder):
    SUFFIXES = SUFFIXES
    OBJECT_COLUMNS = {"difficult": datasets.Value("int32")}
    ROW_COLUMNS = {"imagesource": datasets.Value("string"), "gsd": datasets.Value("float32")}
    SPARSE = ("imagesource", "gsd")

    @classmethod
    def is_annotation(cls, content):
        return (kind_of(content, ".txt") or ("", ""))[1] == "dota"

    def parse(self, content, where):
        shapes, head = [], {}
        for place, words in label_lines(content, where):
            if not shapes and words[0].startswith(HEAD):
                name, _, value = " ".join(words).partition(":")
                head[name] = value.strip()
            else:
                shapes.append(_shape(words, place))
        gsd = head.get("gsd", "").lower()
        known = None if gsd in UNKNOWN else numbers([gsd], f"{where}, gsd")[0]
        return Annotation(shapes, columns={"imagesource": head.get("imagesource") or None, "gsd": known})


def _shape(words, where):
    if len(words) not in (9, 10):
        raise DataError(f"{where} has {len(words)} values, not the corners x1 y1 … x4 y4, a category and difficult")
    difficult = whole(words[9], "difficult", where) if len(words) == 10 else 0
    corners = np.array(numbers(words[:8], where)).reshape(4, 2)
    return Shape(words[8], "polygon", corners, {"difficult": difficult})
