"""The text of a dataset card: its header, the text after it with its tables, and checks of that text."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.card_rules import Fault
from dataset_scripts.core.formats.safe_yaml import LineError

LARGEST = 10_000_000  # bytes of a card
CODE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"\|(.*)\|[ \t]*")
PACKAGE_MARKER = re.compile(r" {0,3}<!-- (/?)package -->\s*")
# Folders of one machine. The character before distinguishes them from parts of an address or of a relative path.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/~$}-])/(?:home|Users|root|tmp|mnt|media|work|scratch|Volumes)/[\w.-]+|\b[A-Z]:\\\w+|file:///\S*"
)


class Card(NamedTuple):
    """The parts of a card; joined they are its text."""

    opening: str  # the line ---
    header: str  # lines of YAML
    closing: str  # the line ---
    body: str


def split_card(text: str) -> Card | None:
    """The parts of a card with their line ends as they are; None if the text does not begin with a complete header."""
    start = text.find("\n") + 1
    if (
        not start
        or text[:start].removeprefix("\ufeff").rstrip() != "---"
        or text[:start].removeprefix("\ufeff")[0] != "-"
    ):
        return None
    close = start - 1
    while (close := text.find("\n---", close)) >= 0:
        end = text.find("\n", close + 1) + 1 or len(text)
        if not text[close + 4 : end].strip():
            return Card(text[:start], text[start : close + 1], text[close + 1 : end], text[end:])
        close = end - 1
    return None


def read_card(path: Path, errors: str = "strict") -> str:
    """The text of a card, its line ends as they are.

    Args:
        errors: how bytes that are not UTF-8 are handled, as for `bytes.decode`.

    Raises:
        LineError: a DataError: the file is not UTF-8.
        DataError: it is larger than `LARGEST`, or not text.
    """
    with open(path, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DataError(f"{path} has more than {LARGEST:,} bytes, too many for a card: shorten or rename it")
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise LineError(path, line, "is not text: save the card as UTF-8, or rename it")
    try:
        return content.decode(errors=errors)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise LineError(path, line, "is not UTF-8: save the card as UTF-8") from error


def plain_lines(text: str) -> str:
    """The text with the line ends of Unix."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def marked(body: str, part: str) -> slice | None:
    """The slice between the lines `<!-- part -->` and `<!-- /part -->`; None if one of the two is missing."""
    start = f"\n{body}".find(f"\n<!-- {part} -->\n") + len(f"<!-- {part} -->\n")
    end = body.find(f"\n<!-- /{part} -->", start - 1) + 1 if start >= len(f"<!-- {part} -->\n") else 0
    return slice(start, end) if end else None


def without_code(body: str) -> str:
    """The text with the lines of its code blocks left empty, so that all others keep their numbers."""
    return CODE.sub(lambda code: "\n" * code[0].count("\n"), body)


def package_parts(body: str) -> tuple[list[slice], list[int]]:
    """The parts of a text that are only for users of this package.

    Returns:
        The lines of each part, from its `<!-- package -->` to its `<!-- /package -->`, both included; and the lines of
        markers without a partner. These begin and end nothing: no text is lost because a line is missing.
    """
    parts: list[slice] = []
    alone: list[int] = []
    begun = None
    for number, line in enumerate(without_code(body).split("\n")):
        if not (marker := PACKAGE_MARKER.fullmatch(line)):
            continue
        if not marker[1]:
            alone += [] if begun is None else [begun]
            begun = number
        elif begun is None:
            alone.append(number)
        else:
            parts.append(slice(begun, number + 1))
            begun = None
    return parts, alone if begun is None else [*alone, begun]


def check_text(text: str, body: str, start: int) -> Iterator[Fault]:
    if not body.strip():
        yield ("line", start), "there is no text: say what the images show, and how to load them"
    elif not re.search(r"^# +\S", CODE.sub("", body), re.MULTILINE):
        yield ("line", start), "there is no title: begin the text with a line such as '# Digits'"
    line, counted = 1, 0
    for found in MACHINE_PATH.finditer(text):
        line, counted = line + text.count("\n", counted, found.start()), found.start()
        yield ("line", line), f"{found[0]} is a path of one machine: write a path such as path/to/data"
    lines = body.splitlines()
    for part in ("columns", "splits"):
        begun, ended = lines.count(f"<!-- {part} -->"), lines.count(f"<!-- /{part} -->")
        if begun != ended or begun > 1:
            yield ("line", start), f"<!-- {part} --> needs its <!-- /{part} -->, each once"
    lines = body.split("\n")
    for number in package_parts(body)[1]:
        what = "has no partner: parts begin with <!-- package -->, end with <!-- /package --> and are not nested"
        yield ("line", start + number), f"{lines[number].strip()} {what}"


def first_table(body: str, column: str) -> tuple[int, list[str], dict[str, list[str]]]:
    """The first table whose first column is called `column`: its line, its head, and its rows by their first cells."""
    line = 0
    head: list[str] = []
    rows: dict[str, list[str]] = {}
    for place, text in enumerate(without_code(body).splitlines()):
        match = ROW.fullmatch(text)
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", match[1])] if match else []
        if not head:
            line, head = (place, cells) if cells and cells[0].lower() == column else (0, [])
        elif not cells:
            break
        elif not set(cells[0]) <= set(":-"):
            rows[cells[0].strip("`")] = cells + [""] * (len(head) - len(cells))
    return line, head, rows
