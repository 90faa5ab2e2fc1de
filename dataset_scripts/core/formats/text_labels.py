"""Labels in plain text, a line an object: the words of each line, and numbers among them."""

import math
from collections.abc import Iterator

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.fields import short

MAX_LINES = 1_000_000


def label_lines(content: bytes, where: str) -> Iterator[tuple[str, list[str]]]:
    """The words of every line that is not blank, each with what names it in messages.

    Raises:
        DataError: it is no text in UTF-8, or has too many lines.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: it is not text in UTF-8: save the file in that encoding") from error
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise DataError(f"{where} has more than {MAX_LINES:,} lines, for one image")
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield f"{where}, line {number}", line.split()


def numbers(words: list[str], where: str) -> list[float]:
    """Words that are finite numbers.

    Raises:
        DataError: one is not.
    """
    found = []
    for word in words:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f"{where}: {short(word)!r} is not a number")
        found.append(value)
    return found


def whole(word: str, name: str, where: str) -> int:
    """A word that is a whole number of at most nine digits.

    Raises:
        DataError: it is not.
    """
    if not (word.isascii() and word.removeprefix("-").isdigit() and len(word) < 10):
        raise DataError(f"{where}: {name} is {short(word)!r}, not a whole number")
    return int(word)
