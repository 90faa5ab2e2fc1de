"""What every archive has in common: names that stay inside it, and limits that keep it from filling memory and time."""

import copy
import posixpath
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.names import is_hidden, shown
from dataset_scripts.core.files.pool import POOL

MAX_RATIO = 200  # a member of MAX_SMALL bytes or more that grows by this factor is a bomb, not a picture
MAX_SMALL = 64 << 20
MAX_TOTAL_RATIO = 600  # so are members that grow by this factor and to MAX_TOTAL bytes in all; flat masks grow by 500
MAX_TOTAL = 1 << 30
MAX_NAME = 4096  # characters, the most that Linux allows in a path
MAX_DEPTH = 64  # folders in folders


class ArchiveReader:
    """An archive whose members are read by name.

    Attributes:
        path: the archive.
        names: the files in it that are not hidden; sorted, except in a sequential archive.
        sequential: whether members can only be read in their order.
    """

    sequential = False

    def __init__(self, path: Path):
        self.path = path
        self.prefix = ""
        self.names: list[str] = []
        self.stored = path.stat().st_size

    def below(self, folder: str) -> "ArchiveReader":
        """The same archive, its names relative to the folder in it ("photos/") that holds everything; else itself."""
        if not all(name.startswith(folder) for name in self.names):
            return self
        lower = copy.copy(self)
        lower.prefix = self.prefix + folder
        lower.names = [name.removeprefix(folder) for name in self.names]
        return lower

    def __getstate__(self):
        return {**self.__dict__, "names": []}  # a worker needs no listing

    def read(self, name: str) -> bytes:
        """The bytes of a member; they take its size in memory, and little more.

        Raises:
            DataError: there is no such member, or the archive is damaged there.
        """
        with reading(f"{self.path}, member {self.prefix + name}"):
            return self._read(self.prefix + name)

    def _read(self, name: str) -> bytes:
        raise NotImplementedError

    def _opened(self, open_file: Callable[[], Any]) -> AbstractContextManager:
        """Lends the file behind this archive, opened if it is not open."""
        return POOL.lend(self, open_file)

    def _accept(self, name: str | bytes) -> str | None:
        """The name of a member as a path; None for a hidden one."""
        raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
        path = shown(raw.replace(b"\\", b"/"))
        if len(path) > MAX_NAME or path.count("/") > MAX_DEPTH:
            raise DataError(
                f"{self.path}: member {path[:80]}… has too long a name: {len(path):,} characters, {path.count('/')} folders"
            )
        path = posixpath.normpath(path)
        if path.startswith("../") or path == ".." or posixpath.isabs(path) or path[1:2] == ":":
            raise DataError(f"{self.path}: member {shown(raw)} leads outside of the archive")
        return None if any(map(is_hidden, path.split("/"))) else path

    def _check_size(self, name: str, size: int, stored: int) -> None:
        if size > MAX_SMALL and size > MAX_RATIO * stored:
            raise DataError(f"{self.path}: {name} would grow from {stored} to {size} bytes, which no image does")

    def _check_total(self, total: int) -> None:
        if total > self._limit():
            raise DataError(f"{self.path} would grow from {self.stored} to {total} bytes or more, which no images do")

    def _limit(self) -> int:
        """Bytes to which the whole archive may grow."""
        return max(MAX_TOTAL, MAX_TOTAL_RATIO * self.stored)
