"""Rows of csv and tsv as text, one by one, with their line numbers: for tables in which several rows are about one image."""

import codecs
import csv
from collections.abc import Iterator
from contextlib import nullcontext, suppress

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Reader
from dataset_scripts.core.formats.text_table import MAX_COLUMNS, MAX_LINE, check_text, raw_rows

MARKS = ",;\t|"
WHOLE = 1 << 14  # bytes; if there are less, they are a whole file


def delimiter_of(line: str) -> str:
    """What stands between the values of a line: what occurs most outside of quotes, a comma if in doubt."""
    plain = "".join(line.split('"')[::2])
    return max(MARKS, key=plain.count)


def split_row(row: str, mark: str) -> list[str]:
    """The values of a row, without the blanks around them."""
    if '"' not in row:
        return [value.strip() for value in row.split(mark)]
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    return [value.strip() for value in next(csv.reader([row], delimiter=mark, skipinitialspace=True))]


def head_rows(content: bytes) -> Iterator[list[str]]:
    """The rows in the first bytes of a file, read as well as they can be."""
    lines = content.removeprefix(codecs.BOM_UTF8).replace(b"\0", b"").decode("utf-8", "replace").splitlines()
    lines = lines[:-1] if len(lines) > 1 and len(content) >= WHOLE else lines  # the last one may be cut off
    lines = [line for line in lines if line.strip()]
    for line in lines:
        with suppress(csv.Error, StopIteration):
            yield split_row(line, delimiter_of(lines[0]))


def csv_rows(files: Reader, path: str, faults: Faults | None = None) -> Iterator[tuple[int, list[str]]]:
    """The rows of a file that are not blank: the number of their first line, and their values.

    Raises:
        DataError: it is not text in UTF-8, or a row is too long or has a quote without an end; such a row alone is raised
            in `faults`, and comes all the same, read as well as it can be: the image that it is about is at fault.
    """
    where = f"{files.root}/{path}"
    with files.open(path) as file:
        if not (faults and faults.skip):
            check_text(file, where)
        mark = None
        for line, row in raw_rows(file, True):
            content = row.removeprefix(codecs.BOM_UTF8) if line == 1 else row
            if not content.strip():
                continue
            text, fault = content.decode("utf-8", "replace").rstrip("\r\n"), _fault(content)
            if fault:
                with faults or nullcontext():
                    raise DataError(f"{where}, line {line}: {fault}")
                text = text.replace('"', "").replace("\0", "")
            mark = mark or delimiter_of(text)
            values = split_row(text, mark)
            if len(values) > MAX_COLUMNS:
                raise DataError(f"{where}, line {line}: it has more than {MAX_COLUMNS:,} columns")
            yield line, [*values, *["\0"] * bool(fault)]  # a value too many, which no table has


def _fault(row: bytes) -> str | None:
    """What is wrong with a row, if anything."""
    if len(row) > MAX_LINE:
        return f"it is longer than {MAX_LINE:,} bytes"
    if b"\0" in row:
        return "it holds a zero byte, which no text does"
    if row.count(b'"') % 2:
        return "a quote in it has no end"
    try:
        row.decode()
    except UnicodeDecodeError:
        return "it is not in UTF-8: save the file in that encoding"
    return None
