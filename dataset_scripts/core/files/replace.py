"""Files and folders that get their name when they are complete: it names the old one or the new one, even after a kill.

They are written beside their target, as `.<name>.partial`. The next write to the same target removes what a killed
process left there.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.disk import Output, writing
from dataset_scripts.core.files.hold import alone, beside

PATIENCE = 30  # seconds that a file may be in the hands of another process
_UNKNOWN = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}  # raised by systems and disks that cannot do it


def write_file(path: str | os.PathLike, content: bytes | str) -> None:
    r"""Writes a file completely or not at all, text as UTF-8, with bytes that are not UTF-8 given as `\udcff`; see `new_file`."""
    with new_file(path) as file:
        file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


@contextlib.contextmanager
def new_file(path: str | os.PathLike) -> Iterator[Output]:
    """A file to fill, which replaces `path` at the end of the `with`, or is removed if that raises.

    It is on the disk before it gets the name. Owner and permissions of the old file are kept; if `path` is a link, its
    target is replaced, and a device or a pipe is written to.

    Raises:
        DataError: it cannot be written; a DiskError if the disk is full.
    """
    with writing(path):
        old = os.stat(path) if os.path.exists(path) else None
        if old is not None and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if old is not None and not stat.S_ISREG(old.st_mode):
        with writing(path):
            raw = open(path, "wb", buffering=0)
        with raw:
            yield from _filled(raw.fileno(), path)
        return
    path = Path(os.path.realpath(path))
    partial = beside(path, "partial")
    with alone(path, PATIENCE):
        try:
            with writing(path):
                partial.unlink(missing_ok=True)
                raw = open(partial, "xb", buffering=0)
            with raw:
                yield from _filled(raw.fileno(), path)
                with writing(path):
                    _finish(raw.fileno(), old)
            with writing(path):
                os.replace(partial, path)
                sync(path.parent)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()


def _filled(descriptor: int, path: str | os.PathLike) -> Iterator[Output]:
    """Yields the output once; of an error and a failed write that may have led to it, the write is raised."""
    output = Output(descriptor, path)
    try:
        yield output
    except Exception:
        output.check()
        raise
    output.check()


def _finish(descriptor: int, old: os.stat_result | None) -> None:
    """Gives a new file the owner and permissions of the old one, and flushes it to the disk."""
    if old is not None:
        with contextlib.suppress(AttributeError):  # Windows, where a file inherits them from its folder
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
    os.fsync(descriptor)


@contextlib.contextmanager
def new_folder(
    path: str | os.PathLike, check: Callable[[], None] = lambda: None, resume: bool = False
) -> Iterator[Path]:
    """A folder to fill, which replaces `path` at the end of the `with`.

    It is on the disk by then. On Linux and macOS there is no instant without a complete folder of that name: the system
    exchanges the two. If it cannot, the old one is put aside first, and put back by the next call after a kill.

    Args:
        check: raises if an existing `path` must stay; called before the folder is made and before it gets the name.
        resume: continue with what an interrupted process left, and leave it if the `with` raises.

    Raises:
        DataError: another process writes it, a disk is mounted there, or it cannot be written; a DiskError if the disk is
            full.
    """
    path = Path(os.path.realpath(path))
    if os.path.ismount(path):
        raise DataError(f"{path} is the mount point of a disk, which cannot be replaced: name a folder in it")
    partial, old = beside(path, "partial"), beside(path, "replaced")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path):
        with writing(path):
            _put_back(path)
            check()
            if not resume:
                remove(partial)
            partial.mkdir(exist_ok=True)
        try:
            yield partial
            with writing(path):
                check()
                tidy(partial)
                _sync_tree(partial)
                _take_name(partial, path)
        except BaseException:
            if not resume:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        for replaced in (partial, old):
            shutil.rmtree(replaced, ignore_errors=True)


def _take_name(partial: Path, path: Path) -> None:
    """Renames a folder; one that had the name before takes the folder's old name, or is put aside."""
    if path.exists():
        os.chmod(partial, stat.S_IMODE(path.stat().st_mode))
        if not _exchange(partial, path):
            old = beside(path, "replaced")
            os.rename(path, old)
            try:
                os.rename(partial, path)
            except BaseException:
                os.rename(old, path)
                raise
    else:
        os.rename(partial, path)
    sync(path.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two names at once; False if the system or the disk cannot."""
    names = os.fsencode(one), os.fsencode(other)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = library.renamex_np(*names, 2)  # RENAME_SWAP
        else:
            failed = library.renameat2(-100, names[0], -100, names[1], 2)  # AT_FDCWD, RENAME_EXCHANGE
    except (AttributeError, TypeError):  # a C library without it; Windows, whose C library has a name
        return False
    number = ctypes.get_errno()
    if failed and number not in _UNKNOWN:
        raise OSError(number, os.strerror(number), str(other))
    return not failed


def recover(path: str | os.PathLike) -> None:
    """Puts back the folder that `new_folder` was replacing when its process was killed."""
    path = Path(os.path.realpath(path))
    if beside(path, "replaced").exists():
        with alone(path), writing(path):
            _put_back(path)


def _put_back(path: Path) -> None:
    old = beside(path, "replaced")
    if old.exists() and not path.exists():
        os.rename(old, path)
    remove(old)


@contextlib.contextmanager
def scratch(path: str | os.PathLike) -> Iterator[Path]:
    """An empty folder for this process alone, which is removed afterwards, as are the remains of a killed process."""
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path):
        with writing(path):
            remove(path)
            path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def tidy(folder: Path) -> None:
    """Removes what killed processes left half-written in a folder, but not what others are writing there now."""
    for left in {path.with_suffix("") for kind in ("partial", "lock") for path in folder.glob(f".*.{kind}")}:
        with contextlib.suppress(DataError), alone(left, 0, left.with_name(f"{left.name}.lock")):
            remove(left.with_name(f"{left.name}.partial"))


def delete(folder: Path) -> None:
    """Deletes a folder, after renaming it: a kill half-way leaves no incomplete folder of this name."""
    left = beside(folder, "partial")
    with writing(folder):
        remove(left)
        os.rename(folder, left)
        shutil.rmtree(left)


def remove(path: Path) -> None:
    """Deletes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Flushes the names in a folder to the disk."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        if os.access(folder, os.R_OK):  # Windows cannot open folders, and writes the names by itself
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNKNOWN:  # some network disks do it by themselves
            raise
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            # Windows flushes only files that are open for writing.
            with open(path, "r+b" if os.access(path, os.W_OK) else "rb") as file:
                os.fsync(file.fileno())
        sync(Path(parent))
