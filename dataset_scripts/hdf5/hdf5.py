"""HDF5 files, as PatchCamelyon comes: datasets of images and of labels, read in blocks of rows."""

from typing import Any

import numpy as np

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files import Files, Reader
from dataset_scripts.core.named_arrays import Named, NamedArrayBuilder, image_axes
from dataset_scripts.core.records import Images

PRECEDENCE = 2
SUFFIXES = (".h5", ".hdf5", ".he5")
MAGIC = b"\x89HDF\r\n\x1a\n"
BLOCK = 8 << 20  # bytes that are read at once


def matches(files):
    """HDF5 files, one dataset named like images; beside photos they are something else."""
    if files.images:
        return None
    paths = [path for path in files.having(*SUFFIXES) if files.open(path).read(8) == MAGIC]
    try:
        import h5py  # noqa: F401
    except ImportError:
        return f"{len(paths)} HDF5 files" if paths else None  # reading them says what to install
    try:
        arrays = list_arrays(files, paths)
    except DataError:
        return None
    images = [array for array in arrays if len(array.shape) >= 3 and (array.role == "images" or len(files.paths) == 1)]
    listed = ", ".join(map(str, images[:4]))
    return f"{len(arrays)} datasets in {len(paths)} HDF5 files, images in {listed}" if images else None


def open_hdf5(files: Reader, path: str) -> Any:
    """The file, opened with h5py.

    Raises:
        DataError: h5py is not installed, or it is no HDF5 file.
    """
    try:
        import h5py
    except ImportError as error:
        raise DataError("HDF5 files need h5py: pip install 'dataset_scripts[hdf5]'") from error
    with reading(f"{files.root}/{path} cannot be read"):
        return h5py.File(files.open(path) if files.locate(path)[0] else files.local(path), "r")


def list_arrays(files: Files, paths: list[str]) -> list[Named]:
    """The datasets in all files. Links are not followed: they may lead to any file of the machine."""
    arrays = []
    for path in paths:
        with open_hdf5(files, path) as file:
            found = []
            file.visititems(lambda key, item: found.append((key, getattr(item, "shape", None))))
            arrays += [Named(path, key, shape) for key, shape in found if shape]
    return arrays


def open_array(files: Reader, path: str, key: str) -> Any:
    """A dataset that stores its numbers itself."""
    array = open_hdf5(files, path)[key]
    if array.external or array.is_virtual:
        raise DataError(f"{files.root}/{path}: {key} keeps its numbers in another file, which is not read: copy them in")
    return array


class Blocks:
    """The rows of a dataset, of which as many as fit into BLOCK are read at once: a chunk is decompressed once."""

    def __init__(self, array: Any):
        self.array = array
        row = array.dtype.itemsize * max(1, int(np.prod(array.shape[1:])))
        chunk = array.chunks[0] if array.chunks else 1
        self.length = min(max(1, BLOCK // row // chunk) * chunk, max(1, array.shape[0]))
        self.start, self.block = -1, None

    def __getitem__(self, row: int) -> np.ndarray:
        start = row // self.length * self.length
        if start != self.start:
            self.start, self.block = start, self.array[start : start + self.length]
        return self.block[row - start]


class Hdf5(NamedArrayBuilder):
    def list_arrays(self, files):
        return list_arrays(files, files.having(*SUFFIXES))

    def read_labels(self, files, array):
        values = open_array(files, array.path, array.key)
        return (values.asstr() if values.dtype.kind == "O" else values)[()]

    def open_images(self, files, source):
        array = open_array(files, *source)
        return Images(Blocks(array), image_axes(array.shape, self.config.channels), self.config.scale)
