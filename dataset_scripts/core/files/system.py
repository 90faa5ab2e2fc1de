"""Functions that differ between Linux, macOS and Windows."""

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

try:
    import resource
except ImportError:  # Windows
    import psutil

    resource = None  # type: ignore[assignment] # mypy has no type for a module that may be None

CUT_OFF = 141  # the status of a program that SIGPIPE ends


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


@contextmanager
def until_nobody_reads() -> Iterator[None]:
    """Ends the process quietly if the reader of its output leaves before the end, as in `… | head -1`."""
    try:
        try:
            yield
        except SystemExit:  # after --help
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except BrokenPipeError:
        if _has_reader():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter tries again at its end
        raise SystemExit(CUT_OFF) from None


def _has_reader() -> bool:
    """Whether somebody still reads the output, if it is a pipe; on Windows, nobody knows."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return not any(events & select.POLLERR for _, events in poll.poll(0))


def after_fork_in_child(call: Callable[[], None]) -> None:
    """Makes every forked process run a call first. Windows does not fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)
