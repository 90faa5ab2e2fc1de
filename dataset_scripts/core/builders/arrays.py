"""The base of the layouts that hold arrays: images encoded one at a time, labels as columns."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from dataset_scripts.core.builders.classes import most_classes, named_classes, numbered_classes
from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.builders.tables import as_class_label
from dataset_scripts.core.errors import DataError, printable_logger, reading, reason
from dataset_scripts.core.files.faults import readable
from dataset_scripts.core.files.listing import Files, Reader, name_of
from dataset_scripts.core.formats.rows_on_disk import Images
from dataset_scripts.core.image.decode import encode_image
from dataset_scripts.core.image.features import List

logger = printable_logger(__name__)


@dataclass
class ArrayConfig(LayoutConfig):
    """Options of the layouts that hold arrays.

    Attributes:
        classes: the names of the classes, in the order of their numbers.
    """

    classes: list[str] | None = None


@dataclass
class Part:
    """Images of a split that lie in one array.

    Attributes:
        source: what `open_images` takes; small, its first item is the path.
        count: the number of images.
        labels: column -> one value per image.
        labels_in: path of the labels, for messages.
        rows: the numbers of the images to use, None for all.
    """

    source: tuple
    count: int
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    labels_in: str = ""
    rows: np.ndarray | None = None


class ArrayBuilder(LayoutBuilder):
    """The base of the layouts that hold arrays: a sample is the number of a part, and the number of an image in it."""

    BUILDER_CONFIG_CLASS = ArrayConfig
    _opened: tuple = (None, None)

    def open_images(self, files: Reader, source: tuple) -> Images:
        """Opens the images of a part; kept open while its rows are read."""
        raise NotImplementedError

    def __getstate__(self):
        return {**super().__getstate__(), "_opened": (None, None)}  # a worker opens files by itself

    def readable(self, items: Iterable[Any], read: Callable[[Any], Any]) -> list[Any]:
        return readable(self.faults, items, read)

    def assemble(
        self, files: Files, splits: dict[str, list[Part]], names: dict[str, list[str] | None], first: int = 0
    ) -> tuple[datasets.Features, dict[str, Rows]]:
        """Return what `index` returns, made from the parts of each split.

        Args:
            names: the class names of a column of labels; without them the classes are the numbers.
            first: the number of the first class.

        Raises:
            DataError: there are not as many labels as images, or a label is not one of the classes.
        """
        said = [(split, part) for split, split_parts in splits.items() for part in split_parts]
        said = self.readable(said, lambda both: self._counted(files, *both))
        splits = {
            split: [part for other, part in said if other == split]
            for split in dict.fromkeys(split for split, _ in said)
        }
        parts = [part for _, part in said]
        for part in parts:
            self._read_texts(files, part)
        self.sources = [part.source for part in parts]
        features, columns = {"image": datasets.Image()}, {}
        for column in dict.fromkeys(column for part in parts for column in part.labels):
            where = f"{files.root}/{next(part.labels_in for part in parts if column in part.labels)}"
            values = [part.labels.get(column) for part in parts]
            with reading(where):
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
            merged = {column: pa.concat_arrays(values) for column, values in taken.items()}
            rows[split] = Rows(np.concatenate(samples), merged)
        return datasets.Features(features), rows

    @staticmethod
    def _counted(files: Files, split: str, part: Part) -> tuple[str, Part]:
        for column, values in part.labels.items():
            check_count(files, part, part.labels_in, len(values), column)
        return split, part

    def _read_texts(self, files: Files, part: Part) -> None:
        """Turns labels that are bytes into text; leaves out rows whose label is not text."""
        for column, values in part.labels.items():
            if values.dtype.kind not in "SU":
                continue
            texts = np.full(len(values), None, object)
            for row, value in enumerate(values.reshape(len(values), -1) if values.size == len(values) else ()):
                with self.faults, reading(f"{files.root}/{part.labels_in}: {column} of image {row}"):
                    text = value[0].decode() if values.dtype.kind == "S" else str(value[0])
                    text.encode()  # fails on half a character
                    texts[row] = text
            sound = [row for row, text in enumerate(texts) if text is not None]
            if values.size == len(values):
                part.labels[column] = texts
                part.rows = np.intersect1d(sound, part.rows) if part.rows is not None else np.array(sound, np.int64)

    def _check_classes(self, files: Files, part: Part, names: dict, first: int, kept: np.ndarray) -> None:
        for column, values in part.labels.items():
            if names.get(column) is None:
                continue
            last = first + len(names[column]) - 1
            for row in np.flatnonzero(kept & ((values < first) | (values > last))).tolist():
                kept[row] = False
                with self.faults:
                    raise DataError(
                        f"{files.root}/{part.labels_in}: {column} {values[row]} of image {row} is not one of the "
                        f"{len(names[column])} classes, {first}..{last}"
                    )

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
        except Exception as error:
            raise DataError(f"{where}: {reason(error)}") from error


def check_count(files: Files, part: Part, labels_in: str, count: int, column: str = "label") -> None:
    """Raises a DataError unless there is a label for each image; called before labels are read."""
    if count != part.count:
        raise DataError(
            f"{files.root}: {part.source[0]} holds {part.count} images, but {labels_in} has {count} values of {column}"
        )


def label_column(
    values: list[np.ndarray | None], names: list[str] | None, first: int, where: str
) -> tuple[Any, pa.Array]:
    """Return the feature of the labels, and all labels in one array.

    Whole numbers from `first` on and text become a ClassLabel, other numbers a Value, (N, K) a List of K; (N, 1) is (N,).

    Raises:
        DataError: labels of another kind or of more axes, or names for what is not a class.
    """
    known = [value for value in values if value is not None]
    arrays = [value.reshape(len(value), *(size for size in value.shape[1:] if size > 1)) for value in known]
    if len({array.shape[1:] for array in arrays}) > 1 or arrays[0].ndim > 2:
        raise DataError(
            f"{where}: labels have the shape (N,) or (N, K), with the same K in all splits, not "
            f"{' and '.join(str(array.shape) for array in arrays)}"
        )
    whole = np.concatenate(arrays)
    if whole.ndim == 1 and whole.dtype.kind in "iub":
        low, high = (int(whole.min()), int(whole.max())) if len(whole) else (first, first)
        if names is None and first <= low and high - first < most_classes(len(whole)):
            names = numbered_classes(high, len(whole), where, first)
        if names is not None:
            return named_classes(names, where), pa.array(whole.astype(np.int64) - first)
    if names is not None:
        raise DataError(
            f"{where}: classes={names!r} name whole numbers, but the labels are {whole.dtype} of shape {whole.shape}"
        )
    if whole.ndim == 1 and whole.dtype.kind in "UO":
        return as_class_label(pa.chunked_array([pa.array(whole.tolist(), pa.string())]))
    if whole.dtype.kind not in "iubf":
        raise DataError(f"{where}: labels are numbers or a list of text, not {whole.dtype} of shape {whole.shape}")
    value, flat = datasets.Value(whole.dtype.name), pa.array(whole.astype(whole.dtype.newbyteorder("=")).ravel())
    if whole.ndim == 1:
        return value, flat
    return List(value, length=whole.shape[1]), pa.FixedSizeListArray.from_arrays(flat, whole.shape[1])


def choose(files: Files, sets: dict[str, Any], name: str, script: str) -> Any:
    """Return the one of several data sets in a folder that the caller named.

    Raises:
        DataError: there are none, or several and `name` is not one of them.
    """
    if name in sets or (name == "default" and len(sets) == 1):
        return sets.get(name) or next(iter(sets.values()))
    if not sets:
        raise DataError(f"{files.root} holds no data of the layout {script}")
    raise DataError(
        f"{files.root} holds {len(sets)} data sets, {', '.join(sorted(sets))}: choose one, "
        f"load_dataset({script!r}, {min(sets)!r}, data_dir=…)"
    )


def unpacked(files: Files, paths: list[str]) -> list[str]:
    """Return the paths on disk, or all if there are none: a download often lies beside the files unpacked from it."""
    return [path for path in paths if files.locate(path)[0] is None] or paths


def find_file(files: Files, name: str, *suffixes: str) -> str:
    """Return the path of a file of that name, with or without a compression suffix.

    If both exist, it is the uncompressed one.

    Raises:
        DataError: there is none.
    """
    names = {name + suffix for suffix in ("", *suffixes)}
    paths = unpacked(files, [path for path in files.paths if name_of(path) in names])
    if not paths:
        raise DataError(f"{files.root} holds no {name}{' or '.join(suffixes)}, neither as a file nor in an archive")
    return min(paths, key=len)


def keep_only(files: Files, used: set[str]) -> None:
    """Reports how many files of the listing are not used, and releases archives that hold no used file."""
    others = [path for path in files.paths if path not in used]
    if others:
        logger.warning("%s: %d other files are ignored, such as %s", files.root, len(others), others[0])
    files.keep(filter(None, used))
