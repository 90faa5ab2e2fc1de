"""MATLAB files: SVHN's cropped digits, any array of images with a vector of labels, and the lists of Flowers-102."""

import math
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset_scripts.core.builders.arrays import ArrayBuilder, Part, keep_only
from dataset_scripts.core.builders.named_arrays import CHANNELS, ROLES, Named, NamedArrayConfig, pair
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import Files, Reader, name_of
from dataset_scripts.core.formats.isolated import call, reachable
from dataset_scripts.core.formats.rows_on_disk import Images, check_rows

PRECEDENCE = 2
SUFFIXES = (".mat",)
SVHN = re.compile(r"(train|test|extra)_32x32\.mat")
FLOWER = re.compile(r"image_(\d+)\.jpg")
FLOWER_SPLITS = {"trnid": "train", "valid": "validation", "tstid": "test"}
NATIVE = str(Path(__file__).with_name("native.py"))
# Class -> bytes of a value.
SIZES = dict(logical=1, char=4, int8=1, uint8=1, int16=2, uint16=2, int32=4, uint32=4, single=4)
# Order of the axes -> the axis of images, and that of channels.
ORDERS = {"HWCN": (3, 2), "NHWC": (0, 3), "NCHW": (0, 1), "HWN": (2, None), "NHW": (0, None)}


def matches(files):
    """Flowers-102's lists beside its images, or arrays of images if there are no image files."""
    lists = flower_lists(files)
    if lists:
        return f"{lists['imagelabels']} and {lists['setid']} beside {len(files.images)} images"
    if files.images or not files.having(".mat"):
        return None
    try:
        arrays = [array for path in files.having(".mat") for array in list_arrays(files, path)]
    except DataError as error:
        return f"MATLAB files: {error}" if len(files.having(".mat")) == len(files.paths) else None
    images = [array for array in arrays if len(array.shape) >= 3 and (array.role == "images" or len(files.paths) == 1)]
    return f"{len(files.having('.mat'))} MATLAB files, images in {', '.join(map(str, images[:4]))}" if images else None


def flower_lists(files: Files) -> dict[str, str]:
    """The paths of imagelabels.mat and setid.mat, if both exist and there are images that they number."""
    lists = {
        stem: path
        for stem in ("imagelabels", "setid")
        for path in files.having(f"{stem}.mat")
        if name_of(path) == f"{stem}.mat"
    }
    numbered = any(FLOWER.fullmatch(name_of(path)) for path in files.images)
    return lists if len(lists) == 2 and numbered else {}


def ask(files: Reader, path: str, function: str, *arguments: Any, size: int = 0) -> Any:
    """The answer of a function of `native.py` about a file.

    Args:
        size: bytes that are read.

    Raises:
        DataError: scipy is not installed, or the file is damaged or in the format of MATLAB 7.3.
    """
    with reading(f"{files.root}/{path} cannot be read"):
        with files.open(path) as file:
            if file.read(128)[124:] in (b"\0\2IM", b"\2\0MI"):
                raise DataError(
                    f"{files.root}/{path} has the format of MATLAB 7.3: save it in MATLAB with save(…, '-v7')"
                )
        name, _copy = reachable(files, path)
        try:
            return call(NATIVE, function, name, *arguments, size=size + os.stat(name).st_size)
        except ImportError as error:
            raise DataError("MATLAB files need scipy: pip install 'dataset_scripts[mat]'") from error


@dataclass(frozen=True)
class Variable(Named):
    """An array in a MATLAB file.

    Attributes:
        size: its bytes, according to the header.
    """

    size: int = 0

    def read(self, files: Reader) -> np.ndarray | dict | None:
        """The array; a dict of dtype and shape if it does not hold numbers; None if it does not exist.

        Raises:
            DataError: the file is damaged, or too small for it.
        """
        with reading(f"{files.root}/{self}"):
            check_rows((1, self.size), 1, measure(files, self.path))
        return ask(files, self.path, "value", self.key, size=self.size)


def measure(files: Reader, path: str) -> int:
    with files.open(path) as file:
        return file.seek(0, os.SEEK_END)


def check_end(files: Reader, path: str) -> None:
    """Raises DataError if a file ends within a variable; scipy reports it only when the values are read.

    The format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf, "Level 5 MAT-File Format".
    """
    size = measure(files, path)
    with files.open(path) as file:
        order = {b"\x00\x01IM": "<II", b"\x01\x00MI": ">II"}.get(file.read(128)[124:])
        end = 128
        while order and end < size:
            file.seek(end)
            tag = file.read(8)
            end += 8 + (struct.unpack(order, tag)[1] if len(tag) == 8 else 0)
            if end > size:
                raise DataError(f"{files.root}/{path} cannot be read: it is cut off, copy it again")


def list_arrays(files: Files, path: str) -> list[Variable]:
    check_end(files, path)
    found = ask(files, path, "variables")
    return [Variable(path, name, tuple(shape), math.prod(shape) * SIZES.get(kind, 8)) for name, shape, kind in found]


def order_of(shape: tuple[int, ...], count: int | None) -> str:
    """The order of the axes, by the number of labels and of channels.

    Raises:
        ValueError: no order fits, or several do.
    """
    fits = [
        order
        for order, (axis, channels) in ORDERS.items()
        if len(order) == len(shape)
        and count in (None, shape[axis])
        and (channels is None or shape[channels] in CHANNELS)
    ]
    if len(fits) != 1:
        labels = "no labels" if count is None else f"{count} labels"
        raise ValueError(
            f"there are images of shape {shape} and {labels}: {' and '.join(fits) or 'no'} order of the axes fits"
        )
    return fits[0]


def partners(path: str) -> tuple[str, ...]:
    """The common part of the paths of images and of their labels: without the words for either."""
    words = re.findall(r"[a-z]+|[0-9]+", path.lower())
    return tuple(word for word in words if word not in ROLES)


class Mat(ArrayBuilder):
    BUILDER_CONFIG_CLASS = NamedArrayConfig

    def index(self, files):
        lists = flower_lists(files)
        if lists:
            return self._flowers(files, lists)
        svhn = {match[1]: path for path in files.having(".mat") if (match := SVHN.fullmatch(name_of(path)))}
        listed = self.readable(files.having(".mat"), lambda path: list_arrays(files, path))
        arrays = self._whole_pairs(files, [array for part in listed for array in part])
        if svhn:  # elsewhere, `extra` is not the name of a split
            pairs = {
                split: [*pair(files, [array for array in arrays if array.path == path], self.config).values()][0]
                for split, path in svhn.items()
                if any(array.path == path for array in arrays)
            }
        else:
            pairs = pair(files, arrays, self.config)
        splits, used = {}, set()
        for split, split_pairs in pairs.items():
            used |= {array.path for images_and_labels in split_pairs for array in images_and_labels if array}
            splits[split] = self.readable(split_pairs, lambda both: self._part(files, *both, bool(svhn)))
        keep_only(files, used)
        if svhn:
            return self.assemble(files, splits, {"label": self.config.classes or [str(digit) for digit in range(10)]})
        labels = [part.labels["label"] for parts in splits.values() for part in parts if part.labels]
        first = int(all(len(values) and values.min() >= 1 for values in labels))  # MATLAB counts from 1
        return self.assemble(files, splits, {"label": self.config.classes}, first)

    def _whole_pairs(self, files: Files, arrays: list[Variable]) -> list[Variable]:
        """Leaves out the partner of a file that cannot be read: train_labels.mat, that of train_images.mat."""
        read, left = {array.path for array in arrays}, []
        lost = {partners(path): path for path in files.having(".mat") if path not in read}
        for array in arrays:
            other = lost.get(partners(array.path))
            if other is None:
                left.append(array)
            else:
                with self.faults:
                    raise DataError(f"{files.root}/{array} belongs to {other}, which cannot be read or is empty")
        return left

    def _part(self, files: Files, images: Variable, labels: Variable | None, svhn: bool) -> Part:
        values = self._labels(files, labels, svhn) if labels else {}
        with reading(f"{files.root}/{images}"):
            order = order_of(images.shape, len(values["label"]) if labels else None)
            count = images.shape[ORDERS[order][0]]
            check_rows((count, images.size // max(1, count)), 1, measure(files, images.path))
        return Part((images.path, images, order), count, values, str(labels))

    def _labels(self, files: Files, array: Variable, svhn: bool) -> dict[str, np.ndarray]:
        values = array.read(files)
        if values is None:
            raise DataError(f"{files.root}/{array.path} has no variable {array.key}")
        if isinstance(values, dict) or values.dtype.kind not in "iufb" or max(values.shape) != values.size:
            about = values if isinstance(values, dict) else {"dtype": values.dtype, "shape": values.shape}
            kind = f"{about['dtype']} of shape {tuple(about['shape'])}"
            raise DataError(f"{files.root}/{array}: labels are a vector of numbers, not {kind}")
        values = values.ravel()
        if values.dtype.kind == "f" and (np.abs(values) < 2**53).all() and (values == np.rint(values)).all():
            values = values.astype(np.int64)  # MATLAB stores counts as doubles
        return {"label": np.where(values == 10, 0, values) if svhn else values}  # SVHN's 0 is class 10

    def open_images(self, files, source):
        _, variable, order = source
        images = variable.read(files)
        if not isinstance(images, np.ndarray) or images.shape != variable.shape:
            raise ValueError("it holds no numbers" if images is not None else f"it has no variable {variable.key}")
        rest = order.replace("N", "")
        rows = np.moveaxis(images, ORDERS[order][0], 0)
        return Images(rows, tuple(rest.index(axis) for axis in "HWC" if axis in rest), self.config.scale)

    def read(self, files, sample):
        number, row = map(int, sample)
        if isinstance(self.sources[number][1], Variable):
            return super().read(files, sample)
        name = self.sources[number][1][row]  # Flowers-102's
        return {"image": {"bytes": files.read(name), "path": name}}

    def _variable(self, files: Files, path: str, name: str) -> Variable:
        found = next((array for array in list_arrays(files, path) if array.key == name), None)
        if found is None:
            raise DataError(f"{files.root}/{path} has no variable {name}")
        return found

    def _flowers(self, files: Files, lists: dict[str, str]):
        labels = self._labels(files, self._variable(files, lists["imagelabels"], "labels"), False)["label"]
        ids = {
            array.key: array.read(files) for array in list_arrays(files, lists["setid"]) if array.key in FLOWER_SPLITS
        }
        paths = {int(match[1]): path for path in files.images if (match := FLOWER.fullmatch(name_of(path)))}
        splits = {}
        for key, split in FLOWER_SPLITS.items():
            numbers = []
            if isinstance(ids.get(key), dict):
                raise DataError(f"{files.root}/{lists['setid']}: {key} holds no numbers")
            for number in np.sort(np.asarray(ids.get(key, ())).ravel()).tolist():
                with self.faults:
                    if number not in paths or not 1 <= number <= len(labels):
                        what = "label" if number in paths else "image"
                        raise DataError(
                            f"{files.root}/{lists['setid']}: {key} names image {number}, which has no {what}"
                        )
                    numbers.append(int(number))
            if numbers:
                values = {"label": labels[np.array(numbers) - 1]}
                images = [paths[number] for number in numbers]
                splits[split] = [Part((lists["setid"], images), len(numbers), values, lists["imagelabels"])]
        used = {path for parts in splits.values() for path in parts[0].source[1]}
        files.account(paths.values())  # the list chooses
        keep_only(files, used.union(lists.values()))
        names = self.config.classes or [str(number) for number in range(1, 103)]
        return self.assemble(files, splits, {"label": names}, first=1)
