"""NumPy files: `.npz`, as keras's MNIST and MedMNIST come, or `.npy`, arrays of images and of labels."""

import zipfile

import numpy as np

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files import Files, Reader
from dataset_scripts.core.named_arrays import Named, NamedArrayBuilder, image_axes
from dataset_scripts.core.records import Images, Records

PRECEDENCE = 2
SUFFIXES = (".npz", ".npy")
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def matches(files):
    """NumPy files, one array named like images; beside photos they are something else."""
    if files.images or not files.having(*SUFFIXES):
        return None
    try:
        arrays = list_arrays(files)
    except DataError:
        return None
    images = [array for array in arrays if len(array.shape) >= 3 and (array.role == "images" or len(files.paths) == 1)]
    return f"{len(arrays)} NumPy arrays, images in {', '.join(map(str, images[:4]))}" if images else None


def list_arrays(files: Files) -> list[Named]:
    """The arrays in all files, by their headers."""
    arrays = []
    for path in files.having(*SUFFIXES):
        for key in member_names(files, path):
            with reading(f"{files.root}/{path}"):
                arrays.append(Named(path, key, open_array(files, path, key, header=True).shape))
    return arrays


def member_names(files: Reader, path: str) -> list[str]:
    if path.lower().endswith(".npy"):
        return [""]
    with reading(f"{files.root}/{path}"), zipfile.ZipFile(files.open(path)) as archive:
        return sorted(name.removesuffix(".npy") for name in archive.namelist())


def open_array(files: Reader, path: str, key: str, header: bool = False) -> Records | np.ndarray:
    """Opens an array to be read by rows; one in Fortran order, whose rows lie scattered, is read whole.

    The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Pickled objects are refused.
    """
    file = files.open(path)
    if key:
        archive = zipfile.ZipFile(file)
        file = archive.open(key + ".npy" if key + ".npy" in archive.namelist() else key)
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"it is of version {version} of the format, not 1.0 or 2.0")
    shape, fortran, dtype = HEADERS[version](file)
    if dtype.hasobject and not header:
        raise ValueError(f"{key or 'it'} holds Python objects, which are not unpickled: save numbers of one shape")
    records = Records(file, dtype, shape if shape else (0,), file.tell())
    if header or not fortran:
        return records
    return np.frombuffer(file.read(), dtype).reshape(shape, order="F")


class Arrays(NamedArrayBuilder):
    def list_arrays(self, files):
        return list_arrays(files)

    def read_labels(self, files, array):
        rows = open_array(files, array.path, array.key)
        return rows.check().all() if isinstance(rows, Records) else rows

    def open_images(self, files, source):
        rows = open_array(files, *source)
        if isinstance(rows, Records) and source[1]:  # a member of an npz
            rows.loaded()
        return Images(rows, image_axes(rows.shape, self.config.channels), self.config.scale)
