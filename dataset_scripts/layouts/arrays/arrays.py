"""NumPy files: `.npz`, the format of Keras's MNIST and of MedMNIST, or `.npy`, with arrays of images and of labels."""

import io
import zipfile
from typing import BinaryIO

import numpy as np

from dataset_scripts.core.builders.named_arrays import Named, NamedArrayBuilder, image_axes
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import Files, Reader
from dataset_scripts.core.formats.rows_on_disk import Images, Records

PRECEDENCE = 2
SUFFIXES = (".npz", ".npy")
MAX_HEADER = 1 << 14  # bytes; numpy reads up to 10,000
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def matches(files):
    """NumPy files with an array named like images; in a folder with photos they are something else."""
    if files.images or not files.having(*SUFFIXES):
        return None
    try:
        arrays = [array for path in files.having(*SUFFIXES) for array in list_arrays(files, path)]
    except DataError as error:
        return f"NumPy files: {error}" if len(files.having(*SUFFIXES)) == len(files.paths) else None
    images = [array for array in arrays if len(array.shape) >= 3 and (array.role == "images" or len(files.paths) == 1)]
    return f"{len(arrays)} NumPy arrays, images in {', '.join(map(str, images[:4]))}" if images else None


def list_arrays(files: Files, path: str) -> list[Named]:
    """The arrays in a file, by their headers."""
    with reading(f"{files.root}/{path}"):
        if is_npy(path):
            return [Named(path, "", read_header(files.open(path))[0])]
        with zipfile.ZipFile(files.open(path)) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist() if not name.endswith("/")}
            return [Named(path, key, read_header(archive.open(name))[0]) for key, name in sorted(members.items())]


def is_npy(path: str) -> bool:
    return path.lower().endswith(".npy")


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """The shape of an array, whether it is in Fortran order, its dtype, and the number of bytes before its values.

    The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
    """
    head = io.BytesIO(file.read(MAX_HEADER))
    version = np.lib.format.read_magic(head)
    if version not in HEADERS:
        raise ValueError(f"it has version {version} of the format, not 1.0 or 2.0")
    shape, fortran, dtype = HEADERS[version](head)
    return shape or (0,), fortran, dtype, head.tell()


def open_array(files: Reader, path: str, key: str) -> Records | np.ndarray:
    """Opens an array to be read by rows; one in Fortran order, whose rows are scattered, is read whole.

    Pickled objects are refused.
    """
    file, packed = files.open(path), None
    if not is_npy(path):
        archive = zipfile.ZipFile(file)
        member = archive.getinfo(key + ".npy" if key + ".npy" in archive.NameToInfo else key)
        file, packed = archive.open(member), member.compress_size
    shape, fortran, dtype, offset = read_header(file)
    if dtype.hasobject:
        raise ValueError(f"{key or 'it'} holds Python objects, which are not unpickled: save numbers of one shape")
    records = Records(file, dtype, shape, offset, packed=packed)
    return records.all().reshape(-1).reshape(shape, order="F") if fortran else records


class Arrays(NamedArrayBuilder):
    def paths(self, files):
        return files.having(*SUFFIXES)

    def list_arrays(self, files, path):
        return list_arrays(files, path)

    def read_labels(self, files, array):
        rows = open_array(files, array.path, array.key)
        return rows.all() if isinstance(rows, Records) else rows

    def open_images(self, files, source):
        rows = open_array(files, *source)
        if isinstance(rows, Records) and source[1]:  # a member of an npz
            rows.loaded()
        return Images(rows, image_axes(rows.shape, self.config.channels), self.config.scale)
