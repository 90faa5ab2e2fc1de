"""KITTI: boxes in images and in space, in text files label_2/000000.txt beside image_2/000000.png."""

import datasets
import numpy as np

from dataset_scripts.core.builders.annotated import AnnotatedBuilder
from dataset_scripts.core.builders.contents import kind_of
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import folder_of, name_of, stem_of
from dataset_scripts.core.formats.text_labels import label_lines, numbers, whole
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.shapes import Annotation, Shape

PRECEDENCE = 2
SUFFIXES = (".txt",)
VALUES = 15  # of a line; a 16th one is the score of a detector
CALIBRATION = (b"P0:", b"P1:", b"P2:", b"P3:")


def matches(files):
    """Text files with KITTI's labels, named like the images."""
    return Kitti.matches_by_stem(files)


class Kitti(AnnotatedBuilder):
    SUFFIXES = SUFFIXES
    OBJECT_COLUMNS = {
        "truncated": datasets.Value("float32"),
        "occluded": datasets.Value("int32"),
        "alpha": datasets.Value("float32"),
        "dimensions": List(datasets.Value("float32"), length=3),
        "location": List(datasets.Value("float32"), length=3),
        "rotation_y": datasets.Value("float32"),
    }
    IS_POLYGONAL = False

    @classmethod
    def is_annotation(cls, content):
        return (kind_of(content, ".txt") or ("", ""))[1] == "kitti"

    def annotations(self, files, images):
        """Labels are drawn on the images of camera 2, and label_2 says so: image_3 has the same names."""
        stems = set(map(stem_of, images))
        calibrations = [path for path in files.having(".txt") if "calib" in folder_of(path).lower()]
        files.account(
            path for path in calibrations if stem_of(path) in stems and files.peek(path, 16).startswith(CALIBRATION)
        )
        second = [path for path in images if name_of(folder_of(path)).lower() == "image_2"]
        return super().annotations(files, second or images)

    def parse(self, content, where):
        return Annotation([_shape(words, place) for place, words in label_lines(content, where)])


def _shape(words, where):
    if len(words) == VALUES + 1:
        raise DataError(
            f"{where} has {len(words)} values: the last one is a score, so these are predictions, not labels"
        )
    if len(words) != VALUES:
        raise DataError(f"{where} has {len(words)} values, not {VALUES}")
    truncated, alpha, left, top, right, bottom, *space = numbers([words[1], *words[3:]], where)
    if right < left or bottom < top:
        raise DataError(f"{where}: the box from {left:g}, {top:g} to {right:g}, {bottom:g} has no size")
    more = {
        "truncated": truncated,
        "occluded": whole(words[2], "occluded", where),
        "alpha": alpha,
        "dimensions": space[:3],
        "location": space[3:6],
        "rotation_y": space[6],
    }
    return Shape(words[0], "box", np.array([[left, top], [right, bottom]]), more)
