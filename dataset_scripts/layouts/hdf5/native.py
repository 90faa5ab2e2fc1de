"""Uses h5py in a separate process (`core/formats/isolated.py`), as a damaged file makes HDF5 hang or crash.

Up to OPEN files stay open; one that has changed is opened again.
"""

import math
import mmap
import os
from typing import Any

import h5py
import numpy as np

OPEN = 8
_files: dict[str, tuple[tuple, h5py.File]] = {}
_memory: tuple = (None, None)


def opened(path: str) -> h5py.File:
    stat = os.stat(path)
    state = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if path in _files and _files[path][0] != state:
        _files.pop(path)[1].close()
    if path not in _files:
        if len(_files) == OPEN:
            _files.pop(next(iter(_files)))[1].close()
        memory = path.startswith("/proc/")  # has no name that HDF5 could open
        _files[path] = (state, h5py.File(open(path, "rb"), "r") if memory else h5py.File(path, "r", locking=False))
    return _files[path][1]


def shapes(path: str) -> list[tuple[str, list[int]]]:
    """The datasets in a file that have axes. Links are not followed: they may lead to any file on the machine."""
    found = []

    def visit(key: str, item: Any) -> None:
        shape = getattr(item, "shape", None)
        if shape:
            found.append((key, list(shape)))

    opened(path).visititems(visit)
    return found


def describe(path: str, key: str) -> dict[str, Any]:
    """The facts that are needed to read a dataset.

    Returns:
        shape; itemsize; dtype, None if it does not hold numbers; chunk: its number of rows, 1 without chunks; offset:
        that of the values if the file holds them as numpy does, else None; elsewhere: whether they are in another file.
    """
    array = opened(path)[key]
    dtype = array.dtype
    plain = dtype.kind in "iuf" and array.id.get_type().equal(h5py.h5t.py_create(dtype))
    elsewhere = bool(array.external or array.is_virtual)
    return {
        "shape": list(array.shape),
        "itemsize": dtype.itemsize,
        "dtype": dtype.str if dtype.kind in "biuf" else None,
        "chunk": array.chunks[0] if array.chunks else 1,
        "offset": array.id.get_offset() if plain and not elsewhere and array.chunks is None else None,
        "elsewhere": elsewhere,
    }


def block(path: str, key: str, start: int, stop: int, target: str) -> None:
    """Reads rows of a dataset into a file that both processes share as memory."""
    array = opened(path)[key]
    shape = (stop - start, *array.shape[1:])
    rows = np.frombuffer(memory_of(target), array.dtype, math.prod(shape)).reshape(shape)
    array.read_direct(rows, np.s_[start:stop])


def memory_of(target: str) -> mmap.mmap:
    """The mapped file, kept until another is asked for: to map it for each block would take as long as to copy it."""
    global _memory
    with open(target, "r+b") as file:
        number = os.fstat(file.fileno()).st_ino
        if _memory[0] != (target, number):
            _memory = (target, number), mmap.mmap(file.fileno(), 0)
    return _memory[1]


def values(path: str, key: str) -> Any:
    """The whole of a dataset; texts of any length as a list."""
    array = opened(path)[key]
    return array.asstr()[()].tolist() if array.dtype.kind == "O" else array[()]
