"""LMDB environments, opened read only: the keys in them and the values of keys."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files import Files, Reader, name_of

MAGIC = (0xBEEFC0DE).to_bytes(4, "little")  # behind the header of the first page (mdb.c, MDB_meta)
BLOCK = 1 << 16  # keys that are Python objects at a time
_OPEN: dict[str, tuple[int, Any]] = {}  # file -> process, environment; LMDB opens a file once a process


def environments(files: Files) -> list[str]:
    """The paths of the data files; in an archive, where to look inside would unpack them whole, by the name `data.mdb`."""
    found = []
    for path in files.having(".mdb", ".lmdb"):
        if files.locate(path)[0] is None:
            with files.open(path) as file:
                if MAGIC in file.read(32)[8:]:  # lock.mdb starts with it
                    found.append(path)
        elif name_of(path) == "data.mdb":
            found.append(path)
    return found


def package() -> Any:
    """The package `lmdb`.

    Raises:
        DataError: it is not installed; the message names the extra.
    """
    try:
        import lmdb
    except ImportError as error:
        raise DataError("LMDB files need the package lmdb: pip install 'dataset_scripts[lmdb]'") from error
    return lmdb


def open_environment(files: Reader, path: str) -> Any:
    """The environment, without a lock file, as it may be of a read-only disk; open until `close_environments`.

    Raises:
        DataError: it lies in an archive, is cut off, or LMDB refuses it.
    """
    file, lmdb = files.local(path), package()
    process, environment = _OPEN.get(file, (None, None))
    if process == os.getpid():
        return environment
    if environment is not None:
        environment.close()  # what a forked process got from its parent
    try:
        environment = lmdb.open(file, subdir=False, readonly=True, lock=False, create=False, readahead=False)
    except lmdb.Error as error:
        raise DataError(f"{files.root}/{path} cannot be opened: {error}") from error
    size, expected = os.stat(file).st_size, (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if size < expected:  # pages that are free may be missing at the end; to read another one would kill the process
        from lmdb.verify import VerifyError, verify

        try:
            faults = verify(file, subdir=False)
        except VerifyError as error:
            faults = [error]
        if faults:
            environment.close()
            raise DataError(f"{files.root}/{path} is cut off, copy it again: it has {size} bytes of {expected}, {faults[0]}")
    _OPEN[file] = (os.getpid(), environment)
    return environment


def close_environments() -> None:
    """Closes what this process has open."""
    for _, environment in _OPEN.values():
        environment.close()
    _OPEN.clear()


def get(files: Reader, path: str, key: bytes) -> bytes | None:
    """The value of a key, None without it.

    Raises:
        DataError: LMDB finds damage.
    """
    environment = open_environment(files, path)
    try:
        with environment.begin() as transaction:
            return transaction.get(key)
    except package().Error as error:
        raise DataError(f"{files.root}/{path}, key {key!r}: {error}") from error


def items(files: Reader, path: str) -> Iterator[tuple[bytes, memoryview]]:
    """Yields the keys in their order, and their values, which are not read before they are touched.

    Raises:
        DataError: LMDB finds damage.
    """
    environment = open_environment(files, path)
    try:
        with environment.begin(buffers=True) as transaction:
            for key, value in transaction.cursor():
                yield bytes(key), value
    except package().Error as error:
        raise DataError(f"{files.root}/{path}: {error}") from error


def pack(keys: Iterator[bytes], place: int) -> np.ndarray:
    """Keys as samples: an array of `place`, which tells the environment, length and bytes of each.

    A million keys of 40 bytes take 44 MB, without an object for each. NumPy drops zeros at the end: the length
    brings them back.
    """
    parts, block = [], []
    for key in keys:
        block.append(key)
        if len(block) == BLOCK:
            parts.append((np.array(block), np.array([*map(len, block)], np.uint16)))
            block = []
    if block:
        parts.append((np.array(block), np.array([*map(len, block)], np.uint16)))
    names = np.concatenate([names for names, _ in parts] or [np.zeros(0, "S1")])
    samples = np.empty(len(names), [("place", np.uint16), ("length", np.uint16), ("key", names.dtype)])
    samples["place"], samples["key"] = place, names
    samples["length"] = np.concatenate([lengths for _, lengths in parts] or [[]])
    return samples


def unpack(sample: np.void) -> tuple[int, bytes]:
    """The place and the key of a sample."""
    place, length, key = sample.item()
    return place, key.ljust(length, b"\0")
