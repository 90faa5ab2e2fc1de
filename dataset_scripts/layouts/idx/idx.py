"""IDX files, the format of MNIST, FashionMNIST, KMNIST, EMNIST and QMNIST: arrays of images and of labels, gzip or not."""

import gzip
import lzma
import os
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from dataset_scripts.core.builders.arrays import (
    ArrayBuilder,
    ArrayConfig,
    Part,
    check_count,
    choose,
    keep_only,
    unpacked,
)
from dataset_scripts.core.builders.named_arrays import image_axes
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.listing import Files, Reader, name_of
from dataset_scripts.core.files.splits import SPLITS, in_order, split_in
from dataset_scripts.core.formats.rows_on_disk import Images, Records

logger = printable_logger(__name__)

PRECEDENCE = 2
TAIL = re.compile(r"(image|label)s?[-_.]idx\d([-_.](ubyte|byte|short|int|float|double))?(\.gz)?", re.IGNORECASE)
INFLATE = {".gz": lambda file: gzip.GzipFile(fileobj=file), ".xz": lzma.LZMAFile}
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass
class IdxConfig(ArrayConfig):
    """Options of `load_dataset("idx", data_dir=…)`; if a folder holds several sets, the name of one comes first.

    Attributes:
        transpose: swap height and width; None does so for EMNIST, whose images are stored on their side.
    """

    transpose: bool | None = None


def matches(files):
    """Files named like MNIST's that start like IDX."""
    sets = find_sets(files)
    images = [path for splits in sets.values() for roles in splits.values() if (path := roles.get("image"))]
    if not images or not starts_like_idx(files, images[0]):
        return None
    splits = in_order(dict.fromkeys(split for splits in sets.values() for split in splits))
    return f"{len(images)} IDX files of images, such as {images[0]}; splits: {', '.join(splits)}"


def parse_name(name: str) -> tuple[str, str] | None:
    """The part before the role in the name of an IDX file, and the role: `train-images-idx3-ubyte` -> train, image."""
    start = max(name.lower().rfind(role) for role in ("image", "label"))
    match = TAIL.fullmatch(name, start) if start >= 0 else None
    if match is None:
        return None
    base = name[:start]
    return base[:-1] if base.endswith(("-", "_", ".")) else base, match[1].lower()


def find_sets(files: Files) -> dict[str, dict[str, dict[str, str]]]:
    """Set -> split -> "image" or "label" -> path. A set is named by folder and file name, without the split."""
    sets = {}
    named = [(path, parsed) for path in files.paths if "idx" in path.lower() and (parsed := parse_name(name_of(path)))]
    kept = set(unpacked(files, [path for path, _ in named]))
    # An uncompressed file is preferred to its .gz.
    for path, (base, role) in sorted(named, key=lambda item: item[0].lower().endswith(".gz")):
        if path in kept:
            words = re.split(r"[-_.]", base)
            split = "test" if "t10k" in words else split_in(base)
            folders = path.split("/")[:-1]
            if split is None and folders and folders[-1].lower() in SPLITS:
                split = SPLITS[folders.pop().lower()]
            words = [word for word in words if word != "t10k" and split_in(word) is None]
            name = "-".join(filter(None, folders + words))
            sets.setdefault(name, {}).setdefault(split or "train", {}).setdefault(role, path)
    return sets


def open_file(files: Reader, path: str) -> tuple[BinaryIO, int | None]:
    """A file, decompressed, and its compressed size, None if it is not compressed."""
    file = files.open(path)
    inflate = next((inflate for suffix, inflate in INFLATE.items() if path.lower().endswith(suffix)), None)
    return (inflate(file), measure(file)) if inflate else (file, None)


def measure(file: BinaryIO) -> int:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def starts_like_idx(files: Reader, path: str) -> bool:
    try:
        with reading(path):
            return is_head(open_file(files, path)[0].read(4))
    except DataError:
        return False


def is_head(head: bytes) -> bool:
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in DTYPES and head[3] > 0


def open_idx(files: Reader, path: str) -> Records:
    """Opens an IDX file: two zero bytes, the code of the dtype, the number of axes, their sizes (uint32), the values.

    Everything is big-endian: http://yann.lecun.com/exdb/mnist/.

    Raises:
        DataError: it is not one, or its header is truncated.
    """
    where = f"{files.root}/{path}"
    with reading(where):
        file, packed = open_file(files, path)
        head = file.read(4)
        if not is_head(head):
            raise DataError(f"{where} does not start like IDX, with 0, 0, the code of its dtype and the number of axes")
        code, axes = head[2:]
        sizes = file.read(4 * axes)
        if len(sizes) < 4 * axes:
            raise DataError(f"{where} is cut off in its header")
        return Records(file, DTYPES[code], struct.unpack(f">{axes}I", sizes), offset=4 + 4 * axes, packed=packed)


def open_images_and_labels(files: Files, images: str, labels: str | None, transpose: bool | None) -> Part:
    """The images of a file, checked, as a part, and the labels of another, (N,) or (N, K).

    Raises:
        DataError: a file is damaged, or there is not one label per image.
    """
    with reading(f"{files.root}/{images}"):
        records = open_idx(files, images)
        image_axes(records.shape)
        part = Part((images, transpose), len(records.check()))
    if labels:
        with reading(f"{files.root}/{labels}"):
            records = open_idx(files, labels)
            check_count(files, part, labels, len(records))
            part.labels, part.labels_in = {"label": records.all()}, labels
    return part


class Idx(ArrayBuilder):
    BUILDER_CONFIG_CLASS = IdxConfig
    CHOOSES_BY_NAME = True

    def index(self, files):
        sets = find_sets(files)
        found = choose(files, {name or "idx": splits for name, splits in sets.items()}, self.config.name, "idx")
        name = next(name for name, splits in sets.items() if splits is found)
        transpose = "emnist" in name.lower() if self.config.transpose is None else self.config.transpose
        splits, used = {}, {path for paths in found.values() for path in paths.values()}
        for split, part in self.readable(found.items(), lambda item: self._part(files, transpose, *item)):
            splits[split] = [part]
        mapping = next(
            (
                path
                for path in files.having("-mapping.txt")
                if "emnist" in path and "-".join(path.removesuffix("-mapping.txt").split("/")) == name
            ),
            None,
        )
        keep_only(files, used | {mapping})
        names = self.config.classes or (mapping and mapped_names(files, mapping))
        return self.assemble(files, splits, {"label": names})

    def _part(self, files: Files, transpose: bool, split: str, paths: dict[str, str]) -> tuple[str, Part]:
        if "image" not in paths:
            raise DataError(f"{files.root}/{paths['label']} has no file of images beside it")
        part = open_images_and_labels(files, paths["image"], paths.get("label"), transpose)
        labels = part.labels.get("label")
        # QMNIST has the class, then the source of the digit.
        if labels is not None and labels.ndim == 2 and labels.shape[1] > 1:
            logger.warning(
                "%s/%s: of %d numbers per image, the first is the label, and the others are left out",
                files.root,
                paths["label"],
                labels.shape[1],
            )
            part.labels["label"] = labels[:, 0]
        return split, part

    def open_images(self, files, source):
        path, transpose = source
        images = open_idx(files, path)
        if path.lower().endswith(tuple(INFLATE)):
            images.loaded()
        axes = image_axes(images.shape)
        return Images(images, (axes[1], axes[0], *axes[2:]) if transpose else axes)


def mapped_names(files: Files, path: str) -> list[str]:
    """Classes from EMNIST's mapping: a line is a label and the codes of its characters; letters start at 1."""
    with reading(f"{files.root}/{path}"):
        lines = [line.split() for line in files.read(path).decode().splitlines() if line.strip()]
        numbers = np.array([[int(label), int(code)] for label, code, *_ in lines])
        first = int(numbers[0, 0])
        if first not in (0, 1) or (numbers[:, 0] != np.arange(first, first + len(numbers))).any():
            raise ValueError("the labels of a mapping go from 0 or 1 upwards")
        return ["N/A"] * first + [chr(code) for code in numbers[:, 1]]
