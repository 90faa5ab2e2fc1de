"""HDF5 files, the format of PatchCamelyon: datasets of images and of labels, read in blocks of rows.

HDF5's library runs in another process (`core/formats/isolated.py`). Values that are stored without chunks and encoding
are read in place, by this process; blocks of the others come through shared memory.
"""

from pathlib import Path
from typing import Any

import numpy as np

from dataset_scripts.core.builders.named_arrays import Named, NamedArrayBuilder, image_axes
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import Files, Reader
from dataset_scripts.core.formats.isolated import Shared, call, reachable
from dataset_scripts.core.formats.rows_on_disk import Images, Records, check_rows

PRECEDENCE = 2
SUFFIXES = (".h5", ".hdf5", ".he5")
MAGIC = b"\x89HDF\r\n\x1a\n"
BLOCK = 8 << 20  # bytes that are read at once
NATIVE = str(Path(__file__).with_name("native.py"))


def matches(files):
    """HDF5 files with a dataset named like images; in a folder with photos they are something else."""
    if files.images:
        return None
    paths = [path for path in files.having(*SUFFIXES) if starts_like_hdf5(files, path)]
    try:
        import h5py  # noqa: F401

        arrays = [array for path in paths for array in list_arrays(files, path)]
    except ImportError:
        return f"{len(paths)} HDF5 files" if paths else None  # the reader reports what to install
    except DataError as error:  # the reader of `datasets`, which would come next, crashes on damaged files
        return f"{len(paths)} HDF5 files: {error}" if len(paths) == len(files.paths) else None
    images = [array for array in arrays if len(array.shape) >= 3 and (array.role == "images" or len(files.paths) == 1)]
    listed = ", ".join(map(str, images[:4]))
    return f"{len(arrays)} datasets in {len(paths)} HDF5 files, images in {listed}" if images else None


def starts_like_hdf5(files: Reader, path: str) -> bool:
    with reading(f"{files.root}/{path}"), files.open(path) as file:
        return file.read(8) == MAGIC


class File:
    """A file that h5py has open in the other process."""

    def __init__(self, files: Reader, path: str):
        self.path, self.copy = reachable(files, path)
        self.size = Path(self.path).stat().st_size

    def ask(self, function: str, *arguments: Any, size: int = 0) -> Any:
        """The answer of a function of `native.py`.

        Raises:
            DataError: h5py is not installed.
            ValueError, Crash: the file is damaged.
        """
        try:
            return call(NATIVE, function, self.path, *arguments, size=self.size // 8 + size)
        except ImportError as error:
            raise DataError("HDF5 files need h5py: pip install 'dataset_scripts[hdf5]'") from error


def list_arrays(files: Files, path: str) -> list[Named]:
    """The datasets in a file. Links are not followed: they may lead to any file on the machine."""
    with reading(f"{files.root}/{path} cannot be read"):
        return [Named(path, key, tuple(shape)) for key, shape in File(files, path).ask("shapes")]


class Blocks:
    """The rows of a dataset, read in blocks of up to BLOCK bytes, so that a chunk is decompressed once."""

    def __init__(self, files: Reader, path: str, key: str):
        self.file, self.key = File(files, path), key
        about = self.file.ask("describe", key)
        if about["elsewhere"]:
            raise DataError(
                f"{files.root}/{path}: {key} keeps its numbers in another file, which is never opened: copy them into this one"
            )
        self.shape, self.dtype = tuple(about["shape"]), about["dtype"]
        self.bytes = check_rows(self.shape, about["itemsize"], self.file.size)
        row, chunk = self.bytes // max(1, self.shape[0]), about["chunk"]
        self.length = min(max(1, BLOCK // max(1, row) // chunk) * chunk, max(1, self.shape[0]))
        self.size = self.length * row
        self.start, self.block, self.shared = -1, None, None
        self.plain = about["offset"] is not None and Records(
            open(self.file.path, "rb"), self.dtype, self.shape, about["offset"]
        )

    def __getitem__(self, row: int) -> np.ndarray:
        """A row; valid until a row of another block is read."""
        if self.plain:
            return self.plain[row]
        start = row // self.length * self.length
        if start != self.start:
            self.start = -1  # the last block is gone, whether or not this one can be read
            self.shared = self.shared or self._share()
            stop = min(start + self.length, self.shape[0])
            self.file.ask("block", self.key, start, stop, self.shared.path, size=self.size)
            self.start = start
        return self.block[row - start]

    def _share(self) -> Shared:
        if self.dtype is None:
            raise ValueError("it holds no numbers")
        shared = Shared(self.size)
        self.block = np.frombuffer(shared.map, self.dtype).reshape(self.length, *self.shape[1:])
        return shared

    def all(self) -> np.ndarray:
        """All rows; texts of any length as objects."""
        values = self.file.ask("values", self.key, size=self.bytes)
        return np.array(values, object) if isinstance(values, list) else values


class Hdf5(NamedArrayBuilder):
    def paths(self, files):
        return files.having(*SUFFIXES)

    def list_arrays(self, files, path):
        return list_arrays(files, path)

    def read_labels(self, files, array):
        return Blocks(files, array.path, array.key).all()

    def open_images(self, files, source):
        blocks = Blocks(files, *source)
        return Images(blocks, image_axes(blocks.shape, self.config.channels), self.config.scale)
