"""The errors that a person can act on: one line that names the file, row or option and says what to do."""

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 1_000  # characters of a parser's own message, which may quote the file
LONGEST_LINE = 4_000  # characters of an error
# What would move the cursor, colour the terminal or turn the order of the text: controls, and marks of direction.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_DISK = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EROFS: "the disk is read-only"}


class DataError(ValueError):
    """Data or arguments that cannot be read as asked; the message is one printable line."""

    def __init__(self, message: object = ""):
        super().__init__(_line(message))


class TrustError(PermissionError):
    """Code that is not run: a script that was found, not named, or a copy that others could have changed."""

    def __init__(self, message: object = ""):
        super().__init__(_line(message))


def _line(message: object) -> str:
    """A message as one line, without its middle if it is too long: the end says what went wrong with the long name before it."""
    line = printable(message)
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE // 2]} … {line[3 - LONGEST_LINE // 2 :]}"


def printable(text: object) -> str:
    r"""A text in one line that a terminal shows as it is: names in foreign data may hold anything.

    Line breaks become spaces; other control characters, marks of direction and bytes that are not UTF-8 are written as
    `\x1b`, `\u202e`, `\udcff`.
    """
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), " ".join(str(text).split()))


class Printable(logging.Formatter):
    """Log lines as `printable` makes them: they hold the names of files."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def reason(error: BaseException) -> str:
    """What went wrong, in words, where the exception itself has none that help."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not {error.encoding.upper()} at byte {error.start:,}"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, KeyError) and error.args:
        return f"it has no {error.args[0]!r}"[:LONGEST]
    if isinstance(error, OSError) and error.errno is not None:
        where = f" ({error.filename})" if error.filename else ""
        return f"{_DISK.get(error.errno, error.strerror)}{where}"[:LONGEST]
    return printable(error)[:LONGEST] or type(error).__name__


def is_disk_fault(error: BaseException | None) -> bool:
    """Whether the disk that is written to is full, read-only or over its quota."""
    return isinstance(error, OSError) and error.errno in _DISK


@contextmanager
def reading(where: object) -> Iterator[None]:
    """The one place where what a parser raises on damaged or hostile bytes becomes a DataError.

    Parsers and native libraries raise anything, from struct.error to RecursionError: whatever it is, the message begins
    with `where`, the file and the place in it, and the exception is its cause.
    """
    try:
        yield
    except (DataError, TrustError):
        raise
    except Exception as error:
        raise DataError(f"{where}: {reason(error)}") from error
