"""What Linux, macOS and Windows each do in their own way."""

import os
import sys
from collections.abc import Callable

try:
    import resource
except ImportError:  # Windows
    import psutil

    resource = None  # type: ignore[assignment] # mypy knows no module that may be None


def usable_cores() -> int:
    """The CPU cores that this process may use; those of the machine, if the system sets no limit for a process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory() -> int:
    """The most bytes of main memory that this process has held."""
    if resource is None:
        memory = psutil.Process().memory_info()
        return getattr(memory, "peak_wset", memory.rss)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def relative_path(path: str | os.PathLike, start: str | os.PathLike) -> str | None:
    """A path seen from a folder, with `/`; None if it lies on another drive of Windows."""
    try:
        return os.path.relpath(path, start).replace(os.sep, "/")
    except ValueError:
        return None


def print_every_character() -> None:
    r"""Lets stdout take what its encoding lacks, as `\u6570`: on Windows it is not UTF-8 if it is a file or a pipe."""
    if sys.stdout is not None and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # typeshed only has TextIO


def after_fork_in_child(call: Callable[[], None]) -> None:
    """Has every forked process make a call first. Windows forks none."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)
