"""Images that are rows of arrays in binary files, read one at a time."""

import io
import math
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from dataset_scripts.core.files.archives import MAX_RATIO, MAX_SMALL

IN_MEMORY = 256 << 20  # bytes up to which the content of a compressed file is held in memory
MAX_ROWS = 1 << 20  # rows that any compressed file may hold; beyond that, one for each of its bytes


def check_rows(shape: tuple[int, ...], itemsize: int, packed: int | None = None) -> int:
    """The bytes of an array by its header, checked before any memory is asked for.

    Args:
        shape: the number of rows, and the shape of one.
        itemsize: bytes of a value.
        packed: the size of the file, if it is compressed or leaves out parts that were never written: its growth is
            limited as in archives, to MAX_RATIO times its size or MAX_SMALL.

    Raises:
        ValueError: an axis is negative, rows hold no bytes, or the file is too small for that many.
    """
    count, size = shape[0], itemsize * math.prod(shape[1:])
    if min(shape) < 0 or (count and not size):
        raise ValueError(
            f"the header gives {count} rows of shape {shape[1:]}, {itemsize} bytes per value, which hold nothing"
        )
    if packed is not None and (count * size > max(MAX_SMALL, MAX_RATIO * packed) or count > max(MAX_ROWS, packed)):
        raise ValueError(
            f"the header gives {count} rows, so that {packed} bytes would grow to {count * size}, which no images do"
        )
    return count * size


class Records:
    """Arrays of one shape, one after the other in a file; one is read without the others.

    Args:
        file: opened for reading.
        dtype: of the values.
        shape: the number of arrays, and the shape of one.
        offset: bytes before the first.
        stride: bytes from one to the next; None if nothing lies between them.
        packed: the size of the file, if it is compressed.
    """

    def __init__(
        self,
        file: BinaryIO,
        dtype: Any,
        shape: tuple[int, ...],
        offset: int = 0,
        stride: int | None = None,
        packed: int | None = None,
    ):
        self.file, self.dtype, self.shape, self.offset = file, np.dtype(dtype), tuple(map(int, shape)), offset
        self.size = self.dtype.itemsize * math.prod(self.shape[1:])
        self.stride, self.packed = stride or self.size, packed

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: int) -> np.ndarray:
        self.file.seek(self.offset + row * self.stride)
        content = self.file.read(self.size)
        if len(content) < self.size:
            raise EOFError("the file is cut off")
        return np.frombuffer(content, self.dtype).reshape(self.shape[1:])

    def all(self) -> np.ndarray:
        """All arrays, if nothing lies between them; they are checked before they are read."""
        self.check().file.seek(self.offset)
        return np.frombuffer(self.file.read(len(self) * self.size), self.dtype).reshape(self.shape)

    @property
    def end(self) -> int:
        """The number of bytes from the start of the file to the end of the last one."""
        return self.offset + (len(self) - 1) * self.stride + self.size if len(self) else self.offset

    def check(self) -> "Records":
        """Checks the file, and returns itself.

        Raises:
            ValueError: the file is shorter or longer than its arrays, or `check_rows` refuses them.
        """
        check_rows(self.shape, self.dtype.itemsize, self.packed)
        stored = self.file.seek(*((0, os.SEEK_END) if self.packed is None else (self.end,)))
        more = self.packed is not None and len(self.file.read(1))  # a compressed file is not read beyond its arrays
        if stored != self.end or more:
            raise ValueError(
                f"the header gives {self.end} bytes, {self.shape} of {self.dtype}, but the file has "
                f"{'more' if more else stored}"
            )
        return self

    def loaded(self) -> "Records":
        """Itself, in memory if it fits: in a compressed file, going back means to start again at the front."""
        check_rows(self.shape, self.dtype.itemsize, self.packed)
        if self.end <= IN_MEMORY:
            self.file.seek(0)
            self.file, self.packed = io.BytesIO(self.file.read(self.end + 1)), None  # one more, for `check`
            self.check()
        return self


@dataclass
class Images:
    """Rows of an array as images.

    Attributes:
        rows: gives an array by its number.
        axes: how it is transposed.
        scale: see `core/builders/named_arrays.py`.
    """

    rows: Any
    axes: tuple[int, ...]
    scale: float | None = None

    def __getitem__(self, row: int) -> np.ndarray:
        """The image (H, W) or (H, W, C), of a dtype that `encode_image` takes.

        Raises:
            ValueError: the image has values that it cannot keep.
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
    if not (array.min() >= 0 and array.max() <= 255):  # also refuses NaN
        raise ValueError(f"{what} range from {array.min():g} to {array.max():g}, not 0..255")
    return array.astype(np.uint8)
