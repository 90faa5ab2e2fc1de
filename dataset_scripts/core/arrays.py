"""Images that are rows of arrays: read one at a time from binary files, and encoded without loss."""

import logging
import os
import posixpath
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import datasets
import numpy as np
import pyarrow as pa

from dataset_scripts.core.archives import DAMAGED
from dataset_scripts.core.decode import encode_image
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files import Files, Reader
from dataset_scripts.core.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.splits import SPLITS, split_in
from dataset_scripts.core.tables import as_class_label

logger = logging.getLogger(__name__)

CHANNELS = (1, 3, 4)
MAX_CLASSES = 100_000  # larger numbers are ids or measures, not classes
ROLES = dict.fromkeys("x image images img imgs data pixels".split(), "images") | dict.fromkeys(
    "y label labels target targets class classes".split(), "labels"
)


@dataclass
class ArrayConfig(LayoutConfig):
    """Options of the layouts that hold arrays.

    Attributes:
        classes: the names of the classes, in the order of their numbers.
    """

    classes: list[str] | None = None


@dataclass
class NamedArrayConfig(ArrayConfig):
    """Options of the layouts whose arrays have names.

    Attributes:
        image_key: the name of the array of images, where it is none of the usual ones.
        label_key: the name of the array of labels.
        channels: which axis of an image holds the channels, "first" (C, H, W) or "last" (H, W, C); None decides by
            their number, 1, 3 or 4.
        scale: what pixels are multiplied with before they are rounded to 0..255 (255 for values in 0..1); None keeps
            the values, which only images without channels can do for numbers of more than 8 bits.
    """

    image_key: str | None = None
    label_key: str | None = None
    channels: str | None = None
    scale: float | None = None


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turns the errors of damaged files into a DataError that says where."""
    try:
        yield
    except DataError:
        raise
    except (*DAMAGED, ValueError, KeyError, TypeError, zlib.error) as error:
        raise DataError(f"{where}: {error or type(error).__name__}") from error


class Records:
    """Arrays of one shape, one after the other in a file; one is read without the others.

    In a compressed file they are best read in order: going back starts again at the front.

    Args:
        file: opened for reading.
        dtype: of the values.
        shape: the number of arrays, and the shape of one.
        offset: bytes before the first.
        stride: bytes from one to the next; None where nothing lies between them.
    """

    def __init__(self, file: BinaryIO, dtype: Any, shape: tuple[int, ...], offset: int = 0, stride: int | None = None):
        self.file, self.dtype, self.shape, self.offset = file, np.dtype(dtype), tuple(map(int, shape)), offset
        self.size = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=object))
        self.stride = stride or self.size

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: int) -> np.ndarray:
        self.file.seek(self.offset + row * self.stride)
        content = self.file.read(self.size)
        if len(content) < self.size:
            raise EOFError("the file is cut off")
        return np.frombuffer(content, self.dtype).reshape(self.shape[1:])

    def check(self) -> "Records":
        """Raises ValueError where the file is shorter or longer than its arrays."""
        stored = self.file.seek(0, os.SEEK_END)
        stated = self.offset + len(self) * self.stride - (self.stride - self.size if self.offset else 0)
        if stored != stated:
            raise ValueError(f"the header tells of {stated} bytes, {self.shape} of {self.dtype}, but there are {stored}")
        return self


def image_axes(shape: tuple[int, ...], channels: str | None = None) -> tuple[int, ...]:
    """How to transpose an image of an array (N, H, W), (N, H, W, C) or (N, C, H, W) to (H, W) or (H, W, C).

    Raises:
        ValueError: another shape, or one that both orders fit; `channels` then decides.
    """
    if channels not in (None, "first", "last"):
        raise ValueError(f"channels={channels!r} is neither 'first' nor 'last'")
    if len(shape) == 3:
        return (0, 1)
    fits = [name for name, axis in (("first", 1), ("last", 3)) if len(shape) == 4 and shape[axis] in CHANNELS]
    wanted = [channels] if channels and len(shape) == 4 else fits
    if len(wanted) != 1:
        why = "both orders of the axes fit: pass channels='first' or 'last'" if fits else "images are (N, H, W), (N, H, W, C) or (N, C, H, W)"
        raise ValueError(f"the images have the shape {tuple(shape)}; {why}")
    return (0, 1, 2) if wanted == ["last"] else (1, 2, 0)


@dataclass
class Images:
    """Rows of an array as images.

    Attributes:
        rows: gives an array by its number.
        axes: how it is transposed.
        scale: see `NamedArrayConfig`.
    """

    rows: Any
    axes: tuple[int, ...]
    scale: float | None = None

    def __getitem__(self, row: int) -> np.ndarray:
        """The image (H, W) or (H, W, C), of a dtype that `encode_image` takes.

        Raises:
            ValueError: values that it cannot keep.
        """
        array = np.asarray(self.rows[row]).transpose(self.axes)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if self.scale is not None:
            return _bytes(np.rint(array.astype(np.float64) * self.scale), f"after scale={self.scale:g} the values")
        if array.dtype.kind in "iu" and array.dtype not in (np.uint8, np.uint16):
            return _bytes(array, f"the values, {array.dtype},")
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[:, :, 0]
        if array.ndim == 3 and (array.dtype.kind == "f" or array.dtype == np.uint16):
            raise ValueError(f"no image format keeps {array.dtype} with channels: pass scale=…, 255 for values in 0..1")
        return array.astype(np.float32) if array.dtype.kind == "f" else array


def _bytes(array: np.ndarray, what: str) -> np.ndarray:
    if not (array.min() >= 0 and array.max() <= 255):  # not a number, too
        raise ValueError(f"{what} reach from {array.min():g} to {array.max():g}, not 0..255")
    return array.astype(np.uint8)


@dataclass
class Part:
    """Images of a split that lie in one array.

    Attributes:
        source: what `open_images` takes; small, its first item is the path.
        count: the number of images.
        labels: column -> a value an image.
        labels_in: path of the labels, for messages.
        rows: the numbers of the images that are taken, None for all.
    """

    source: tuple
    count: int
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    labels_in: str = ""
    rows: np.ndarray | None = None


class ArrayBuilder(LayoutBuilder):
    """The base of the layouts that hold arrays: a sample is the number of a part, and of the image in it."""

    BUILDER_CONFIG_CLASS = ArrayConfig
    _opened: tuple = (None, None)

    def open_images(self, files: Reader, source: tuple) -> Images:
        """Opens the images of a part; kept open while its rows are read."""
        raise NotImplementedError

    def __getstate__(self):
        return {**self.__dict__, "_opened": (None, None)}  # a worker opens files by itself

    def assemble(
        self, files: Files, splits: dict[str, list[Part]], names: dict[str, list[str] | None], first: int = 0
    ) -> tuple[datasets.Features, dict[str, Rows]]:
        """What `index` returns, of the parts of each split.

        Args:
            names: classes of a column of labels; without them they are the numbers.
            first: the number of the first class.

        Raises:
            DataError: as many labels as images are not there; a label is none of the classes.
        """
        parts = [part for split in splits.values() for part in split]
        self.sources = [part.source for part in parts]
        for part in parts:
            for column, values in part.labels.items():
                if len(values) != part.count:
                    raise DataError(f"{files.root}: {part.source[0]} holds {part.count} images, but {part.labels_in} "
                                    f"{len(values)} values of {column}")  # fmt: skip
        features, columns = {"image": datasets.Image()}, {}
        for column in dict.fromkeys(column for part in parts for column in part.labels):
            where = f"{files.root}/{next(part.labels_in for part in parts if column in part.labels)}"
            values = [part.labels.get(column) for part in parts]
            features[column], whole = label_column(values, names.get(column), first, where)
            ends = np.cumsum([0 if value is None else len(value) for value in values]).tolist()
            columns[column] = [
                whole.slice(end - part.count, part.count) if column in part.labels else pa.nulls(part.count, whole.type)
                for part, end in zip(parts, ends)
            ]
        rows, number = {}, 0
        for split, split_parts in splits.items():
            samples, taken = [], {column: [] for column in columns}
            for part in split_parts:
                kept = np.isin(np.arange(part.count), part.rows) if part.rows is not None else np.ones(part.count, bool)
                self._check_classes(files, part, names, first, kept)
                samples.append(np.stack([np.full(kept.sum(), number), np.flatnonzero(kept)], 1))
                for column, values in taken.items():
                    values.append(columns[column][number].filter(pa.array(kept)))
                number += 1
            rows[split] = Rows(np.concatenate(samples), {column: pa.concat_arrays(values) for column, values in taken.items()})
        return datasets.Features(features), rows

    def _check_classes(self, files: Files, part: Part, names: dict, first: int, kept: np.ndarray) -> None:
        for column, values in part.labels.items():
            if names.get(column) is None:
                continue
            last = first + len(names[column]) - 1
            for row in np.flatnonzero(kept & ((values < first) | (values > last))).tolist():
                kept[row] = False
                with self.faults:
                    raise DataError(f"{files.root}/{part.labels_in}: {column} {values[row]} of image {row} is none of the "
                                    f"{len(names[column])} classes, {first}..{last}")  # fmt: skip

    def read(self, files, sample):
        number, row = map(int, sample)
        source = self.sources[number]
        where = f"{files.root}/{source[0]}, image {row}"
        with reading(where):
            key = (os.getpid(), number)  # an open file is not shared with a forked process
            if self._opened[0] != key:
                self._opened = (key, self.open_images(files, source))
            array = self._opened[1][row]
        try:
            return {"image": {"bytes": encode_image(array), "path": None}}
        except DataError as error:
            raise DataError(f"{where}: {error}") from error


def label_column(
    values: list[np.ndarray | None], names: list[str] | None, first: int, where: str
) -> tuple[Any, pa.Array]:
    """The feature of labels, and all of them one after the other.

    Integers and text are a ClassLabel, other numbers a Value, (N, K) a List of K values; (N, 1) is (N,).
    """
    arrays = [value.reshape(len(value), *(size for size in value.shape[1:] if size > 1)) for value in values if value is not None]
    if len({array.shape[1:] for array in arrays}) > 1 or arrays[0].ndim > 2:
        raise DataError(f"{where}: labels are (N,) or (N, K), the same K in all splits, not "
                        f"{' and '.join(str(array.shape) for array in arrays)}")  # fmt: skip
    whole = np.concatenate(arrays)
    if whole.dtype.kind == "S":
        whole = np.char.decode(whole, "utf-8")
    if whole.dtype.kind in "UO":
        texts = pa.array(whole.tolist(), pa.string())
        if names is None:
            return as_class_label(pa.chunked_array([texts]))
    elif whole.dtype.kind in "iub" and whole.ndim == 1:
        low, high = (int(whole.min()), int(whole.max())) if len(whole) else (first, first)
        if names is None and first <= low and high - first < MAX_CLASSES:
            names = [str(number) for number in range(first, high + 1)]
        if names is None:
            return datasets.Value("int64"), pa.array(whole.astype(np.int64))
        return datasets.ClassLabel(names=list(names)), pa.array(whole.astype(np.int64) - first)
    if names is not None:
        raise DataError(f"{where}: classes={names!r} name whole numbers, but the labels are {whole.dtype} of shape {whole.shape}")
    flat = pa.array(whole.astype(whole.dtype.newbyteorder("=")).ravel())
    value = datasets.Value(str(flat.type) if flat.type not in (pa.float64(), pa.float16()) else "float32")
    flat = flat.cast(value.pa_type)
    if whole.ndim == 1:
        return value, flat
    return datasets.List(value, length=whole.shape[1]), pa.FixedSizeListArray.from_arrays(flat, whole.shape[1])


@dataclass(frozen=True)
class Named:
    """An array in a file.

    Attributes:
        path: the file.
        key: its name there; "" where it has none.
        shape: of the array.
    """

    path: str
    key: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.path}[{self.key!r}]" if self.key else self.path

    @property
    def stem(self) -> str:
        return posixpath.splitext(posixpath.basename(self.path))[0]

    @property
    def split(self) -> str:
        """The split that the array's name speaks of, or the file's, or the folder's; else train."""
        folders = [SPLITS[folder.lower()] for folder in self.path.split("/")[:-1] if folder.lower() in SPLITS]
        return split_in(self.key) or split_in(self.stem) or (folders or ["train"])[-1]

    @property
    def role(self) -> str | None:
        """"images" or "labels", where the name says so: its last word that is no split and no number."""
        if self.key == "arr_1":
            return "labels"
        named = [_role(name) for name in (self.key, self.stem) if name and name != "arr_0"]
        return named[0] if named[0] or self.key != "arr_0" else "images"


def _role(name: str) -> str | None:
    words = [word for word in re.findall(r"[a-z]+", name.lower()) if word not in SPLITS]
    return ROLES.get(words[-1]) if words else None


def pair(files: Files, arrays: list[Named], config: NamedArrayConfig) -> dict[str, list[tuple[Named, Named | None]]]:
    """Finds the images and their labels among arrays: split -> pairs.

    Raises:
        DataError: no images, labels that do not go with them, or arrays of several data sets.
    """
    found = {"images": {}, "labels": {}}
    other = []
    for array in sorted(arrays, key=lambda array: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(array))]):
        role = "images" if array.key == config.image_key else "labels" if array.key == config.label_key else array.role
        if (role == "images" and config.image_key not in (None, array.key)) or (
            role == "labels" and config.label_key not in (None, array.key)
        ):
            role = None
        (found[role].setdefault(array.split, []) if role else other).append(array)
    large = [array for array in other if len(array.shape) >= 3]
    if not found["images"] and len(large) == 1 and config.image_key is None:
        found["images"][large[0].split] = large
        other.remove(large[0])
    listed = ", ".join(f"{array} {array.shape}" for array in arrays[:8])
    if not found["images"]:
        raise DataError(f"{files.root}: none of the arrays is called like images, choose one by image_key=…: {listed or 'there are none'}")
    pairs = {}
    for split, images in found["images"].items():
        labels = found["labels"].pop(split, [])
        odd = next((array for array in images if re.sub(r"\d+", "", str(array)) != re.sub(r"\d+", "", str(images[0]))), None)
        if odd:
            raise DataError(f"{files.root}: {images[0]} and {odd} both hold images of the split {split}: give the path of one file")
        if labels and len(labels) != len(images):
            raise DataError(f"{files.root}: {len(images)} arrays of images but {len(labels)} of labels for the split {split}: {listed}")
        pairs[split] = list(zip(images, labels or [None] * len(images)))
    if found["labels"]:
        split, labels = next(iter(found["labels"].items()))
        raise DataError(f"{files.root}: {labels[0]} has labels of the split {split}, which has no images: {listed}")
    if other:
        logger.warning("%s: %d arrays are left out, such as %s", files.root, len(other), other[0])
    return pairs


def choose(files: Files, sets: dict[str, Any], name: str, script: str) -> Any:
    """The one of several data sets in a folder that the caller named.

    Raises:
        DataError: there are none, or several and `name` is none of them.
    """
    if name in sets or (name == "default" and len(sets) == 1):
        return sets.get(name) or next(iter(sets.values()))
    if not sets:
        raise DataError(f"{files.root} holds no data of the layout {script}")
    raise DataError(f"{files.root} holds {len(sets)} data sets, {', '.join(sorted(sets))}: choose one, "
                    f"load_dataset({script!r}, {min(sets)!r}, data_dir=…)")  # fmt: skip


def unpacked(files: Files, paths: list[str]) -> list[str]:
    """The paths that lie on disk, or all where none does: a download often lies beside what was unpacked of it."""
    return [path for path in paths if files.locate(path)[0] is None] or paths


def report_others(files: Files, used: set[str]) -> None:
    """Says how many files of the listing were not used."""
    others = [path for path in files.paths if path not in used]
    if others:
        logger.warning("%s: %d other files are ignored, such as %s", files.root, len(others), others[0])
