"""Tiny ImageNet: 120,000 colour photos of 64 x 64 pixels in 200 classes of ImageNet."""

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.layout import LayoutBuilder, Rows
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.builders.tables import resolve_names
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.formats.fields import brief, short
from dataset_scripts.imagenet_1k.imagenet_1k import class_names

published = Source.at("http://cs231n.stanford.edu/")
CLASS_LIST = "wnids.txt"
VALIDATION = "val/val_annotations.txt"


class TinyImagenet(PublishedSet, LayoutBuilder):
    """Classes are in the order of their WordNet ids and have the names of `words.txt`. Test photos have no label."""

    HOMEPAGE = "https://www.kaggle.com/c/tiny-imagenet"
    LICENSE = "unknown"
    CITATION = """\
@misc{le2015tiny,
    title  = {Tiny ImageNet Visual Recognition Challenge},
    author = {Le, Ya and Yang, Xuan},
    note   = {Stanford CS 231N},
    year   = {2015}
}"""
    SOURCES = (published("tiny-imagenet-200.zip", 248100043, "90528d7ca1a48142e341f4ef8d21d0de"),)
    PARTS = {
        "train": ("train/*.JPEG",),
        "validation": (VALIDATION, "val/images/*.JPEG"),
        "test": ("test/images/*.JPEG",),
    }
    ROWS = {"train": 100_000, "validation": 10_000, "test": 10_000}

    def index(self, files):
        top = files.above(CLASS_LIST)
        words = {wnid: name for _, (wnid, name) in lines_of(files, f"{top}words.txt", 2, self.faults)}
        wnids = sorted({wnid for _, (wnid,) in lines_of(files, top + CLASS_LIST, 1, self.faults)})
        numbers = {wnid: number for number, wnid in enumerate(wnids)}
        train, labels = [], []
        for path in files.images:
            if path.startswith(f"{top}train/"):
                with self.faults:
                    labels.append(self._number(numbers, path[len(top) :].split("/")[1], f"{files.root}/{path}"))
                    train.append(path)
        test = [path for path in files.images if path.startswith(f"{top}test/")]
        lines, names, said = [], [], []
        listed = lines_of(files, top + VALIDATION, 2, self.faults) if "validation" in self.present else []
        for number, (name, wnid) in listed:
            with self.faults:
                said.append(self._number(numbers, wnid, f"{files.root}/{top}{VALIDATION}, line {number}"))
                names.append(name)
                lines.append(number)
        validation = resolve_names(
            files, top + VALIDATION, pa.array(names, pa.string()), "image", f"{top}val/images", self.faults, lines
        )
        labels = {
            "train": pa.array(labels, pa.int64()),
            "validation": pa.array(said, pa.int64()).filter(validation.is_valid()),
            "test": pa.nulls(len(test), pa.int64()),
        }
        validation = validation.drop_null()
        images = {"train": train, "validation": validation.to_pylist(), "test": test}
        label = datasets.ClassLabel(names=class_names({wnid: words.get(wnid, wnid) for wnid in wnids}))
        rows = {split: Rows(images[split], {"label": labels[split]}) for split in self.present}
        return datasets.Features(image=datasets.Image(), label=label), rows

    @staticmethod
    def _number(numbers: dict[str, int], wnid: str, where: str) -> int:
        if wnid not in numbers:
            raise DataError(f"{where}: the class {short(wnid)} is not in wnids.txt")
        return numbers[wnid]

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}


def lines_of(files: Files, path: str, count: int, faults: Faults) -> list[tuple[int, list[str]]]:
    """The number of each line and its first `count` parts, between tabs; a line with less is raised in `faults`."""
    lines = []
    for number, line in enumerate(files.read(path).decode("utf-8", "replace").splitlines(), 1):
        parts = line.split("\t")[:count]
        with faults:
            if line.strip() and len(parts) < count:
                raise DataError(f"{files.root}/{path}, line {number}: {brief(line)} has no tab")
            if line.strip():
                lines.append((number, parts))
    return lines
