"""CIFAR-10 and CIFAR-100, in the Python version (pickles, read without running code) and the binary version."""

import re
from typing import ClassVar

import numpy as np

from dataset_scripts.core.builders.arrays import ArrayBuilder, Part, choose, keep_only, unpacked
from dataset_scripts.core.errors import reading
from dataset_scripts.core.files.listing import Files, Reader, folder_of, name_of
from dataset_scripts.core.formats.rows_on_disk import Images, Records
from dataset_scripts.layouts.cifar.batch import load

PRECEDENCE = 2
SUFFIXES = ("", ".bin")
SHAPE = (3, 32, 32)
SIZE = 3 * 32 * 32
BATCH = re.compile(r"data_batch_\d+(\.bin)?")


def matches(files):
    """The file names of CIFAR; those without a suffix start like a pickle."""
    sets = find_sets(files)
    for paths in sets.values():
        first = next(iter(paths.values()))
        with reading(f"{files.root}/{first}"):
            if not first.endswith(".bin") and files.open(first).read(1) != b"\x80":
                return None
    return f"the files of {', '.join(sorted(sets))}, such as {first}" if sets else None


def find_sets(files: Files, whole: bool = True) -> dict[str, dict[str, str]]:
    """Folder -> file name -> path, for each folder that holds a CIFAR: both of its splits, unless `whole` is False."""
    folders = {}
    for path in files.paths:
        folders.setdefault(folder_of(path), {})[name_of(path)] = path
    found, enough = {}, all if whole else any
    for folder, paths in folders.items():
        tens = enough([any(map(BATCH.fullmatch, paths)), {"test_batch", "test_batch.bin"} & set(paths)])
        hundreds = any(
            names in paths and enough(f"{split}{suffix}" in paths for split in ("train", "test"))
            for suffix, names in (("", "meta"), (".bin", "fine_label_names.txt"))
        )
        if tens or hundreds:
            others = {"test_batch", "test_batch.bin"} if tens else {"train", "test", "train.bin", "test.bin"}
            names = [name for name in paths if (tens and BATCH.fullmatch(name)) or name in others]
            names = [name for name in names if not name.endswith(".bin")] or names  # both versions in one folder
            found[folder] = {name: paths[name] for name in sorted(names, key=lambda name: (len(name), name))}
    kept = set(unpacked(files, [path for paths in found.values() for path in paths.values()]))
    return {
        folder.replace("/", "-") or "cifar": paths for folder, paths in found.items() if kept.issuperset(paths.values())
    }


def unpickle(files: Reader, path: str) -> dict:
    """The dict of a batch: `data` (N, 3072) uint8, rows of red, then green, then blue; lists of labels and names."""
    with reading(f"{files.root}/{path} cannot be read"):
        return {key.decode() if isinstance(key, bytes) else key: value for key, value in load(files.read(path)).items()}


def pixels(batch: dict) -> np.ndarray:
    data = batch["data"]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != SIZE:
        kind = getattr(data, "dtype", type(data).__name__)
        raise ValueError(f"data is {kind} of shape {getattr(data, 'shape', ())}, not uint8 (N, {SIZE})")
    return data.reshape(-1, *SHAPE)


def whole_numbers(values: list | np.ndarray) -> np.ndarray:
    """Labels; a list is checked first, as a nested list could grow to any size."""
    if isinstance(values, list) and all(type(value) is int for value in values):
        values = np.array(values)
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError("its labels are not whole numbers")
    return values


def texts(values: list[str | bytes]) -> list[str]:
    """Names of classes, each once: a pickle may refer to one name any number of times."""
    if not isinstance(values, list) or not all(isinstance(value, str | bytes) for value in values):
        raise ValueError("its class names are not text")
    if len(set(values)) < len(values):
        raise ValueError("two of its classes have the same name")
    return [value.decode() if isinstance(value, bytes) else value for value in values]


class Cifar(ArrayBuilder):
    """
    Attributes:
        WHOLE: both splits have to be there, by which a folder is known to be a CIFAR.
    """

    CHOOSES_BY_NAME = True
    WHOLE: ClassVar[bool] = True

    def index(self, files):
        paths = choose(files, find_sets(files, self.WHOLE), self.config.name, "cifar")
        folder = folder_of(next(iter(paths.values())))
        hundred = not any(name.startswith(("data_batch_", "test_batch")) for name in paths)
        columns = {"label": "fine_labels", "coarse_label": "coarse_labels"} if hundred else {"label": "labels"}
        splits = {}
        for part in self.readable(paths.values(), lambda path: self._part(files, path, columns)):
            name = name_of(part.source[0])
            splits.setdefault("test" if name.startswith("test") else "train", []).append(part)
        names, described = self._names(files, folder, columns, binary=next(iter(paths)).endswith(".bin"))
        if self.config.classes:
            names["label"] = self.config.classes
        keep_only(files, {*paths.values(), *described})
        return self.assemble(files, splits, names)

    def _part(self, files: Files, path: str, columns: dict[str, str]) -> Part:
        with reading(f"{files.root}/{path}"):
            if path.endswith(".bin"):  # a record is the labels, the coarse one first, and the pixels
                content, length = np.frombuffer(files.read(path), np.uint8), len(columns) + SIZE
                if len(content) % length:
                    raise ValueError(
                        f"{len(content)} bytes are not a whole number of records of {length}: the file is cut off"
                    )
                records = content.reshape(-1, length)
                values = {column: records[:, len(columns) - 1 - place].copy() for place, column in enumerate(columns)}
                return Part((path, len(columns)), len(records), values, path)
            batch = unpickle(files, path)
            values = {column: whole_numbers(batch[key]) for column, key in columns.items()}
            return Part((path, 0), len(pixels(batch)), values, path)

    def _names(self, files: Files, folder: str, columns: dict[str, str], binary: bool) -> tuple[dict, list[str]]:
        """The classes of each column, None if no file names them; and the files that do."""
        names, described = {}, []
        for column, key in columns.items():
            key = key.removesuffix("s") + "_names"
            file = (
                ("batches.meta.txt" if key == "label_names" else key + ".txt")
                if binary
                else ("batches.meta" if key == "label_names" else "meta")
            )
            path = f"{folder}/{file}" if folder else file
            names[column] = None
            if path in files.names:
                described.append(path)
                with reading(f"{files.root}/{path}"):
                    names[column] = files.read(path).decode().split() if binary else texts(unpickle(files, path)[key])
        return names, described

    def open_images(self, files, source):
        path, lead = source
        if lead:
            count = len(files.read(path)) // (lead + SIZE)
            rows = Records(files.open(path), np.uint8, (count, *SHAPE), offset=lead, stride=lead + SIZE)
        else:
            rows = pixels(unpickle(files, path))
        return Images(rows, (1, 2, 0))
