"""A full disk, found among the causes of an error, in one line that names the disk."""

import errno
import io
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_scripts.core.errors import DataError, is_disk_fault

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ERRNO = re.compile(r"\[errno (\d+)\]|\(os error (\d+)\)", re.IGNORECASE)  # as Python and Rust write it in messages


class DiskError(DataError):
    """The disk is full, read-only, or over its quota."""


def disk_fault(error: BaseException, path: str | os.PathLike) -> DiskError | None:
    """The line for an error that comes from a full disk; None for any other.

    Exceptions of libraries have the OSError among their causes; errors from worker processes and native code only mention
    its number.

    Args:
        path: what was written, unless the OSError names a file.
    """
    for cause in _causes(error):
        if isinstance(cause, DiskError):
            return cause  # created when the disk was full
        known = cause if isinstance(cause, OSError) and cause.errno is not None else _mentioned(str(cause))
        if known is not None and known.errno is not None and is_disk_fault(known):
            place = known.filename if isinstance(known.filename, (str, bytes)) else path
            return DiskError(f"{os.fspath(path)} cannot be written: {_state(os.fsdecode(place), known.errno)}")
    return None


@contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Wraps code that writes `path`: an OSError becomes a DataError that names it, or names the disk if it is full."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        fault: DataError | None = disk_fault(error, path)
        if fault is None and isinstance(error, OSError):
            fault = _plain_fault(error, path)
        if fault is None:
            raise
        raise fault from error


def flush_output() -> None:
    """Flushes the printed output while a full disk can still be reported, as a DataError."""
    try:
        with writing("/dev/stdout"):
            with suppress(BrokenPipeError):  # of no interest to anybody
                sys.stdout.flush()
    except DataError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter tries again at its end
        raise


class Output(io.RawIOBase):
    """A file for libraries that abort, or lose the reason, if a write fails: its writes never fail.

    The first fault is kept, later output is dropped, and `check` raises the fault.
    """

    def __init__(self, descriptor: int, path: str | os.PathLike):
        self._descriptor, self._path, self._place = descriptor, path, 0
        self._fault: DataError | None = None

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def write(self, content: "ReadableBuffer") -> int:
        rest = memoryview(content).cast("B")
        size = len(rest)
        self._place += size
        try:
            while self._fault is None and rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._fault = disk_fault(error, self._path) or _plain_fault(error, self._path)
            self._fault.__cause__ = error
        return size

    def check(self) -> None:
        """Raises a DataError if a write has failed."""
        if self._fault is not None:
            raise self._fault


def _plain_fault(error: OSError, path: str | os.PathLike) -> DataError:
    where = f" ({error.filename})" if error.filename and os.fspath(error.filename) != os.fspath(path) else ""
    return DataError(f"{os.fspath(path)} cannot be written: {error.strerror or error}{where}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from, nearest first."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [cause.__cause__, None if cause.__suppress_context__ else cause.__context__]
        waiting += cause.exceptions if isinstance(cause, BaseExceptionGroup) else []


def _mentioned(text: str) -> OSError | None:
    number = ERRNO.search(text)
    return OSError(int(number[1] or number[2]), "") if number else None


def _state(place: str, number: int) -> str:
    """What is wrong with the disk that a path is on, or would be."""
    mount = os.path.realpath(place)
    while not os.path.ismount(mount):
        mount = os.path.dirname(mount)
    device = _device(mount)
    disk = f"the disk of {mount} ({device})" if device else f"the disk of {mount}"
    if number == errno.EROFS:
        return f"{disk} is read-only"
    if number == errno.EDQUOT:
        return f"the quota on {disk} is used up"
    free = shutil.disk_usage(mount).free
    room = os.statvfs(mount) if hasattr(os, "statvfs") else None  # Windows does not count files
    if room and room.f_files and not room.f_favail:
        return f"{disk} has no room for another file, with {free:,} bytes free"
    return f"{disk} is full: {free:,} bytes are free{', which is not enough' if free else ''}"


def _device(mount: str) -> str | None:
    """What is mounted there; None on systems other than Linux."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return None
    for line in reversed(lines):  # of several mounts at one place, the last is visible
        before, _, after = line.partition(b" - ")
        if _unescaped(before.split()[4]) == mount:
            return _unescaped(after.split()[1])
    return None


def _unescaped(field: bytes) -> str:
    r"""A field of mountinfo, in which a space is `\040`."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field))
