"""LMDB environments, opened read-only: their keys, and the values of keys.

LMDB trusts its files: a damaged one kills the process. Each is therefore verified first by `lmdb.verify`, which is Python: every
page, node and value must be in the file, and be reached once. For an environment of 1.3 GB with 100,000 values it takes 0.5 s,
a fifth of the time for reading their rows; passing the values on from another process would take longer.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import Files, Reader, name_of

MAGIC = (0xBEEFC0DE).to_bytes(4, "little")  # after the header of the first page (mdb.c, MDB_meta)
BLOCK = 1 << 16  # keys that are Python objects at a time
LEAK = "neither reachable nor in the freeDB"  # pages that nothing uses; some versions of LMDB leave them behind
MOST_OPEN = 64  # environments, each of which has a file open
_OPEN: dict[str, tuple[int, Any]] = {}  # file -> process, environment; LMDB opens a file once per process
_SOUND: dict[str, tuple] = {}  # file -> its state when it was verified


def environments(files: Files) -> list[str]:
    """The paths of the data files; in an archive by the name `data.mdb`, as to look inside would unpack them whole."""
    found = []
    for path in files.having(".mdb", ".lmdb"):
        if files.locate(path)[0] is None:
            with reading(f"{files.root}/{path}"), files.open(path) as file:
                if MAGIC in file.read(32)[8:]:  # lock.mdb starts with it instead
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


def state_of(file: str) -> tuple:
    stat = os.stat(file)
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def verified() -> dict[str, tuple]:
    """What this process has verified, for another one to `trust`."""
    return dict(_SOUND)


def trust(sound: dict[str, tuple]) -> None:
    """Takes over what another process has verified; a file that was changed since is verified again."""
    _SOUND.update(sound)


def open_environment(files: Reader, path: str) -> Any:
    """The environment, opened without a lock file, as the disk may be read-only. It stays open until
    `close_environments`, or until MOST_OPEN others were opened after it.

    Raises:
        DataError: it is in an archive, is truncated or damaged, or LMDB refuses it.
    """
    file, lmdb = files.local(path), package()
    process, environment = _OPEN.get(file, (None, None))
    if process == os.getpid():
        return environment
    if environment is not None:
        _OPEN.pop(file)[1].close()  # one that a forked process inherited from its parent
    with reading(f"{files.root}/{path} cannot be opened"):
        if _SOUND.get(file) != (state := state_of(file)):
            if fault := find_fault(file):
                raise ValueError(f"it is damaged or cut off, copy it again: {fault}")
            _SOUND[file] = state
        while len(_OPEN) >= MOST_OPEN:
            _OPEN.pop(next(iter(_OPEN)))[1].close()
        environment = lmdb.open(
            os.fsencode(file), subdir=False, readonly=True, lock=False, create=False, readahead=False
        )
    _OPEN[file] = (os.getpid(), environment)
    return environment


def find_fault(file: str) -> str | None:
    """What is wrong with an environment; None if it may be read."""
    from lmdb.verify import VerifyError, verify

    try:
        return next((fault for fault in verify(file, subdir=False) if LEAK not in fault), None)
    except VerifyError as error:
        return str(error)


def close_environments() -> None:
    """Closes the environments that this process has open."""
    for _, environment in _OPEN.values():
        environment.close()
    _OPEN.clear()


def get(files: Reader, path: str, key: bytes) -> bytes | None:
    """The value of a key; None if there is no such key.

    Raises:
        DataError: LMDB finds damage.
    """
    environment = open_environment(files, path)
    with reading(f"{files.root}/{path}, key {key!r}"), environment.begin() as transaction:
        return transaction.get(key)


def items(files: Reader, path: str) -> Iterator[tuple[bytes, memoryview]]:
    """Yields the keys in their order, and their values, which are read only when they are used.

    Raises:
        DataError: LMDB finds damage.
    """
    environment = open_environment(files, path)
    with reading(f"{files.root}/{path}"), environment.begin(buffers=True) as transaction:
        for key, value in transaction.cursor():
            yield bytes(key), value


def pack(keys: Iterator[bytes], place: int) -> np.ndarray:
    """Keys as samples: an array with the place of the environment, and the length and bytes of each key.

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
    samples = np.empty(len(names), [("place", np.uint32), ("length", np.uint16), ("key", names.dtype)])
    samples["place"], samples["key"] = place, names
    samples["length"] = np.concatenate([lengths for _, lengths in parts] or [[]])
    return samples


def unpack(sample: np.void) -> tuple[int, bytes]:
    """The place and the key of a sample."""
    place, length, key = sample.item()
    return place, key.ljust(length, b"\0")
