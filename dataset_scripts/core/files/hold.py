"""Places that one process writes at a time."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.disk import writing
from dataset_scripts.core.files.system import after_fork_in_child

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None  # type: ignore[assignment] # mypy has no type for a module that may be None

LONGEST = 255  # bytes of a name
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}  # raised by some network disks


def beside(path: Path, kind: str) -> Path:
    """A hidden neighbour of `path` on the same disk.

    Raises:
        DataError: it is the root of a disk or the like, which has no neighbours.
    """
    if not path.name:
        raise DataError(f"{path} cannot be replaced: name a folder in it")
    name = f".{path.name}.{kind}"
    return path.with_name(
        name if len(os.fsencode(name)) <= LONGEST else f".{sha256(os.fsencode(path.name)).hexdigest()}.{kind}"
    )


@contextlib.contextmanager
def alone(path: Path, patience: float = 1, lock: Path | None = None) -> Iterator[None]:
    """Holds `path` for this process; the system releases it if the process is killed.

    Raises:
        DataError: another process holds it for longer than `patience` seconds.
    """
    lock, end = lock or beside(path, "lock"), time.monotonic() + patience
    with writing(path):
        while (descriptor := _try_lock(lock)) is None:
            if time.monotonic() >= end:
                raise DataError(f"{path} is being written by another process")
            time.sleep(0.02)
    _held.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _held:  # not in a child of this process, which holds nothing
            _held.discard(descriptor)
            # Windows deletes no open file: if another process opens it meanwhile, that one deletes it.
            if fcntl is None:
                os.close(descriptor)
            with contextlib.suppress(OSError):
                lock.unlink()
            if fcntl is not None:
                os.close(descriptor)


_held: set[int] = set()  # locks of this process: a worker that outlives it would keep holding them


def _let_go() -> None:
    while _held:
        os.close(_held.pop())


after_fork_in_child(_let_go)


def _try_lock(lock: Path) -> int | None:
    """Makes and locks a file; None if another process holds it, or deleted it meanwhile, as holders do at the end."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _flock(descriptor)
        if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _flock(descriptor: int) -> None:
    """Locks an open file, if the disk can; raises BlockingIOError if another process has."""
    if fcntl is None:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(error.errno, error.strerror) from error
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
