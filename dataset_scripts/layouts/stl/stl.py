"""STL-10, the binary version: 96 x 96 colour images, 10 classes, ten folds, and images without labels."""

from dataclasses import dataclass

import numpy as np

from dataset_scripts.core.builders.arrays import ArrayBuilder, ArrayConfig, Part, check_count, keep_only, unpacked
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import Files, Reader, name_of
from dataset_scripts.core.formats.rows_on_disk import Images, Records

PRECEDENCE = 2
SUFFIXES = (".bin",)
SHAPE = (3, 96, 96)  # channels, then columns, then rows
SIZE = 3 * 96 * 96
SPLITS = ("train", "test", "unlabeled")


@dataclass
class StlConfig(ArrayConfig):
    """Options of `load_dataset("stl", data_dir=…)`.

    Attributes:
        fold: 0..9: read only this fold of the training images.
    """

    fold: int | None = None


def matches(files):
    """STL-10's file names, and images of its size."""
    found = {split: path for split in SPLITS if (path := find(files, f"{split}_X.bin"))}
    if (
        not found.get("train")
        and not found.get("test")
        or not find(files, "train_y.bin")
        and not find(files, "test_y.bin")
    ):
        return None
    return f"{', '.join(found.values())} of STL-10"


def find(files: Files, name: str) -> str | None:
    paths = unpacked(files, [path for path in files.paths if name_of(path) == name])
    return paths[0] if paths else None


def labels_of(path: str) -> str:
    return path.removesuffix("X.bin") + "y.bin"


def read_names(files: Reader, path: str) -> list[str]:
    with reading(f"{files.root}/{path}"):
        return files.read(path).decode().split()


def open_stl(files: Reader, path: str) -> Records:
    file = files.open(path)
    size = file.seek(0, 2)
    if size % SIZE or not size:
        raise DataError(
            f"{files.root}/{path}: {size} bytes are not a whole number of images of {SIZE}: the file is cut off"
        )
    return Records(file, np.uint8, (size // SIZE, *SHAPE))


class Stl(ArrayBuilder):
    BUILDER_CONFIG_CLASS = StlConfig

    def index(self, files):
        paths = {split: path for split in SPLITS if (path := find(files, f"{split}_X.bin"))}
        splits = {split: [part] for split, part in self.readable(paths.items(), lambda item: self._part(files, *item))}
        names, folds = find(files, "class_names.txt"), find(files, "fold_indices.txt")
        classes = self.config.classes or (read_names(files, names) if names else [str(n) for n in range(1, 11)])
        if self.config.fold is not None and "train" in splits:
            splits["train"][0].rows = self._fold(files, folds, splits["train"][0].count)
        keep_only(files, {*paths.values(), *map(labels_of, paths.values()), names, folds})
        return self.assemble(files, splits, {"label": classes}, first=1)

    def _part(self, files: Files, split: str, path: str) -> tuple[str, Part]:
        with reading(f"{files.root}/{path}"):
            part, labels = Part((path,), len(open_stl(files, path))), labels_of(path)
        if labels in files.names:
            with reading(f"{files.root}/{labels}"):
                records = Records(file := files.open(labels), np.uint8, (file.seek(0, 2),))
                check_count(files, part, labels, len(records))
                part.labels, part.labels_in = {"label": records.all()}, labels
        elif split != "unlabeled":
            raise DataError(f"{files.root}/{path} has no {split}_y.bin beside it")
        return split, part

    def _fold(self, files: Files, path: str | None, count: int) -> np.ndarray:
        if path is None:
            raise DataError(f"{files.root} has no fold_indices.txt: leave out fold={self.config.fold}")
        with reading(f"{files.root}/{path}"):
            lines = files.read(path).decode().splitlines()
            if self.config.fold not in range(len(lines)):
                raise ValueError(f"fold={self.config.fold} is not one of its folds, 0..{len(lines) - 1}")
            rows = np.array(lines[self.config.fold].split(), np.int64)
            if not len(rows) or rows.min() < 0 or rows.max() >= count:
                raise ValueError(f"line {self.config.fold + 1} names images that are not in 0..{count - 1}")
            return rows

    def open_images(self, files, source):
        return Images(open_stl(files, source[0]), (2, 1, 0))
