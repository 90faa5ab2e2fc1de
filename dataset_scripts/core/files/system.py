"""Functions that differ between Linux, macOS and Windows."""

import os
import sys
from collections.abc import Callable

try:
    import resource
except ImportError:  # Windows
    import psutil

    resource = None  # type: ignore[assignment] # mypy has no type for a module that may be None


def usable_cores() -> int:
    """The CPU cores that this process may use; those of the machine, if the system sets no limit for a process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory() -> int:
    """The peak main memory of this process, in bytes."""
    if resource is None:
        memory = psutil.Process().memory_info()
        return getattr(memory, "peak_wset", memory.rss)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def relative_path(path: str | os.PathLike, start: str | os.PathLike) -> str | None:
    """A path relative to a folder, with `/`; None if it is on another drive of Windows."""
    try:
        return os.path.relpath(path, start).replace(os.sep, "/")
    except ValueError:
        return None


def print_every_character() -> None:
    r"""Lets stdout print characters that its encoding lacks as `\u6570`: on Windows a file or a pipe is not UTF-8."""
    if sys.stdout is not None and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # typeshed only has TextIO


def after_fork_in_child(call: Callable[[], None]) -> None:
    """Makes every forked process run a call first. Windows does not fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)
