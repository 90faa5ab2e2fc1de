"""The errors that the user can act on: one line that names the file, row or option and says what to do."""

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 1_000  # characters of a parser's own message, which may quote the file
LONGEST_LINE = 20_000  # characters of an error; the path of a file alone may have 4,096 bytes
_IN_WORKER = re.compile(r"Caught \w+ in DataLoader worker process \d+")
# Characters that would move the cursor, colour the terminal or reverse the text: controls, and marks of direction.
_CONTROLS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_ADDRESS = re.compile(r" <_io\.BytesIO object at \w+>")  # which Pillow names, and nobody can look up
_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
}


class DataError(ValueError):
    """Data or arguments that cannot be read as asked; the message is one printable line."""

    def __init__(self, message: object = ""):
        super().__init__(_line(message))


class TrustError(PermissionError):
    """Code that is not run: a script that the caller did not name, or a copy that others could have changed."""

    def __init__(self, message: object = ""):
        super().__init__(_line(message))


def printable(text: object) -> str:
    r"""Text in one line that a terminal shows as it is: names in foreign data may contain anything.

    Line breaks become spaces; other control characters, direction marks and bytes that are not UTF-8 are written as
    `\x1b`, `\u202e`, `\udcff`.
    """
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), " ".join(str(text).split()))


def _line(message: object) -> str:
    """A message as one line: the two ends of a long one; of a DataLoader's report on a worker, only the worker's error."""
    text, half = str(message), LONGEST_LINE // 2
    if _IN_WORKER.match(text):
        text = text.strip().splitlines()[-1].partition("Error: ")[2] or text
    text = printable(text)
    return text if len(text) <= LONGEST_LINE else f"{text[: half - 3]} … {text[-half:]}"


def printable_logger(name: str) -> logging.Logger:
    """The logger of a module, its lines as `printable` makes them: they hold the names of files.

    Handlers and levels are the host program's: if it has set none, Python prints warnings on stderr.
    """
    logger = logging.getLogger(name)
    logger.addFilter(_make_printable)
    return logger


def _make_printable(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable(record.getMessage()), ()
    return True


def reason(error: BaseException) -> str:
    """What went wrong, in words, even if the exception itself has no helpful message."""
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
    text = _ADDRESS.sub("", printable(error))
    return text[:LONGEST] or type(error).__name__


def is_disk_fault(error: BaseException | None) -> bool:
    """Whether the disk that is written to is full, read-only or over its quota."""
    return isinstance(error, OSError) and error.errno in _DISK


@contextmanager
def reading(where: object) -> Iterator[None]:
    """The one place where exceptions of parsers on damaged or hostile bytes become a DataError.

    Parsers and native libraries raise anything, from struct.error to RecursionError. The message always begins
    with `where`, the file and the place in it, and the exception is its cause.
    """
    try:
        yield
    except (DataError, TrustError):
        raise
    except Exception as error:
        raise DataError(f"{where}: {reason(error)}") from error
