"""Tiny ImageNet: 120,000 colour photos of 64 x 64 pixels in 200 classes of ImageNet."""

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.layout import LayoutBuilder, Rows
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.builders.tables import resolve_names
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import Files
from dataset_scripts.imagenet_1k.imagenet_1k import class_names

published = Source.at("http://cs231n.stanford.edu/")
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
    ROWS = {"train": 100_000, "validation": 10_000, "test": 10_000}

    def index(self, files):
        top = files.above(VALIDATION)
        words = dict(lines_of(files, f"{top}words.txt", 2))
        wnids = sorted(wnid for (wnid,) in lines_of(files, f"{top}wnids.txt", 1))
        train = [path for path in files.images if path.startswith(f"{top}train/")]
        test = [path for path in files.images if path.startswith(f"{top}test/")]
        listed = lines_of(files, top + VALIDATION, 2)
        names = pa.array([name for name, _ in listed], pa.string())
        validation = resolve_names(files, top + VALIDATION, names, "image", f"{top}val/images", self.faults)
        said = {"train": [path[len(top) :].split("/")[1] for path in train], "validation": [wnid for _, wnid in listed]}
        numbers, labels = {wnid: number for number, wnid in enumerate(wnids)}, {"test": pa.nulls(len(test), pa.int64())}
        for split, classes in said.items():
            stray = next((wnid for wnid in classes if wnid not in numbers), None)
            if stray is not None:
                raise DataError(f"{files.root}: the class {stray} of {split} images is not in {top}wnids.txt")
            labels[split] = pa.array([numbers[wnid] for wnid in classes], pa.int64())
        labels["validation"], validation = (
            column.filter(validation.is_valid()) for column in (labels["validation"], validation)
        )
        images = {"train": train, "validation": validation.to_pylist(), "test": test}
        label = datasets.ClassLabel(names=class_names({wnid: words.get(wnid, wnid) for wnid in wnids}))
        rows = {split: Rows(paths, {"label": labels[split]}) for split, paths in images.items()}
        return datasets.Features(image=datasets.Image(), label=label), rows

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}


def lines_of(files: Files, path: str, count: int) -> list[list[str]]:
    """The first `count` parts of each line, between tabs.

    Raises:
        DataError: a line has fewer.
    """
    lines = [
        line.split("\t")[:count] for line in files.read(path).decode("utf-8", "replace").splitlines() if line.strip()
    ]
    short = next((line for line in lines if len(line) < count), None)
    if short is not None:
        raise DataError(f"{files.root}/{path}: the line {short[0][:60]!r} has no tab")
    return lines
