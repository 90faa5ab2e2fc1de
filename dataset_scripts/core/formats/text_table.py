"""Tables of text: the rows of csv and tsv, and the lines of jsonl, all of limited length."""

import codecs
import io
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Reader
from dataset_scripts.core.formats.fields import MAX_COLUMNS, brief
from dataset_scripts.core.formats.json_text import check_depth, decode, parse_json

BLOCK = 1 << 16  # bytes of a csv that are read at once
MAX_LINE = 16 << 20  # bytes


def check_text(file: BinaryIO, where: str) -> None:
    """Checks that a file is UTF-8 text with lines of limited length, and goes back to its start.

    Raises:
        DataError: naming the line.
    """
    decoder, line, length = codecs.getincrementaldecoder("utf-8")(), 1, 0
    file.seek(0)
    while True:
        block = file.read(1 << 20)
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line += error.object.count(b"\n", 0, error.start)
            raise DataError(f"{where}, line {line}: it is not in UTF-8: save the file in that encoding") from error
        if not block:
            break
        if b"\0" in block:
            line += block.count(b"\n", 0, block.index(b"\0"))
            raise DataError(f"{where}, line {line}: it holds a zero byte, which no text does")
        ends, last = block.count(b"\n"), block.rfind(b"\n")
        line += ends
        length = len(block) - 1 - last if ends else length + len(block)
        if length > MAX_LINE:
            raise DataError(f"{where}, line {line}: it is longer than {MAX_LINE:,} bytes")
    file.seek(0)


def sound_text(file: BinaryIO, where: str, faults: Faults | None, quotes: bool = True) -> BinaryIO:
    """The file, at its start, if `check_text` accepts it; if `faults` skips, a file of its sound lines instead.

    Args:
        quotes: whether a row may continue on the next line, within quotes; it is left out as a whole. If a quote has no
            end, only the line where it begins is left out.
    """
    if not (faults and faults.skip):
        check_text(file, where)
        return file
    sound = io.BytesIO()
    for line, row in raw_rows(file, quotes):
        fault = None
        if len(row) > MAX_LINE:
            fault = f"it is longer than {MAX_LINE:,} bytes"
        elif b"\0" in row:
            fault = "it holds a zero byte, which no text does"
        elif quotes and row.count(b'"') % 2:
            fault = "a quote in it has no end"
        else:
            try:
                row.decode()
            except UnicodeDecodeError:
                fault = "it is not in UTF-8: save the file in that encoding"
        if fault is None:
            sound.write(row)
            continue
        with faults:
            raise DataError(f"{where}, line {line}: {fault}")
    sound.seek(0)
    return sound


def raw_rows(file: BinaryIO, quotes: bool) -> Iterator[tuple[int, bytes]]:
    """The rows of a file, each with the number of its first line."""
    number = 1
    while row := file.readline(MAX_LINE + 1):
        more, after = bytearray(row), file.tell()
        is_open = quotes and row.count(b'"') % 2
        while is_open and len(more) <= MAX_LINE and (line := file.readline(MAX_LINE + 1)):
            more += line
            is_open ^= line.count(b'"') % 2
        if is_open:
            file.seek(after)  # the quote has no end: the lines after it are separate rows
        else:
            row = bytes(more)
        yield number, row
        number += row.count(b"\n")


def text_lines(file: BinaryIO, where: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, with their numbers from 1 and without a byte order mark.

    Raises:
        DataError: a line of more than MAX_LINE bytes.
    """
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise DataError(f"{where}, line {number}: it is longer than {MAX_LINE:,} bytes")
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if line.strip():
            yield number, line


def json_lines(file: BinaryIO, where: str, faults: Faults | None) -> Iterator[tuple[Any, str, int]]:
    """The values of json lines, each with its place for messages and its size in bytes; a line's fault is raised in `faults`."""
    for number, line in text_lines(file, where):
        place = f"{where}, line {number}"
        try:  # without a context for each line, as most have no fault
            check_depth(line)
            value = decode(line.decode("utf-8-sig"))
        except Exception:
            with faults or nullcontext():
                parse_json(line, f"{place}: cannot be read as a table")  # raises the fault with its place
        else:
            yield value, place, len(line)


def read_csv(files: Reader, path: str, text_columns: Collection[str], faults: Faults | None = None) -> pa.Table:
    """Reads a csv or tsv; `text_columns` stay text, and a row's fault is raised in `faults`.

    Raises:
        DataError: what `check_text` refuses, too many columns, or a quote without an end.
        pyarrow.ArrowException: it is not such a table.
    """
    where, odd = f"{files.root}/{path}", []
    with files.open(path) as opened:
        file = as_utf8(opened)
        sound = sound_text(file, where, faults)
        # What is not the file as it lies there: the lines without faults, or another encoding.
        left = sound if isinstance(sound, io.BytesIO) and sound is not opened else None
        mark = delimiter(path, line := sound.readline(BLOCK).decode("utf-8", "replace"))
    if line.count(mark) >= MAX_COLUMNS:
        raise DataError(f"{where}: its first line has more than {MAX_COLUMNS:,} columns")

    def on_odd_row(row: pa.csv.InvalidRow) -> str:
        odd.append(
            f"{where}: there are {row.actual_columns} values, not {row.expected_columns}, in the row {brief(row.text)}"
        )
        return "skip" if faults and faults.skip else "error"

    def read(reader: Callable, block: int) -> pa.Table:
        odd.clear()
        parsing = pa.csv.ParseOptions(delimiter=mark, newlines_in_values=True, invalid_row_handler=on_odd_row)
        types = pa.csv.ConvertOptions(column_types=dict.fromkeys(text_columns, pa.string()))
        # Not a file that another reader had: after an exception, its threads go on reading.
        with files.open(path) if left is None else io.BytesIO(left.getbuffer()) as opened:
            found = reader(opened, pa.csv.ReadOptions(block_size=block, use_threads=False), parsing, types)
            return found if isinstance(found, pa.Table) else found.read_all()

    try:  # block by block, which takes half the memory; the first one determines the types
        table = read(pa.csv.open_csv, BLOCK)
    except pa.ArrowException:  # a later one does not fit them, or there is a fault: look at all values
        table = read(pa.csv.read_csv, MAX_LINE)
    for message in odd:
        with faults or nullcontext():
            raise DataError(message)
    table = _trimmed(table)
    last = table.slice(len(table) - 1).to_pylist() if len(table) else [{}]
    if left is None and any(isinstance(value, str) and "\n" in value for value in last[0].values()):
        with files.open(path) as file:
            quotes = sum(block.count(b'"') for block in iter(lambda: file.read(1 << 20), b""))
        if quotes % 2:
            raise DataError(f"{where}: a quote in its row {len(table)} has no end")
    return table


def _trimmed(table: pa.Table) -> pa.Table:
    """The table without the blanks that some put behind each comma."""
    if not any(name != name.strip() for name in table.column_names):
        return table
    columns = [
        pc.utf8_trim_whitespace(column) if pa.types.is_string(column.type) else column for column in table.columns
    ]
    return pa.table(columns, names=[name.strip() for name in table.column_names])


def delimiter(path: str, line: str) -> str:
    """What stands between the values of a csv or tsv whose first line is `line`: the first of these that is in it."""
    return "\t" if path.lower().endswith(".tsv") else next((mark for mark in ",;\t|" if mark in line), ",")


def as_utf8(file: BinaryIO) -> BinaryIO:
    """The file at its start; one in UTF-16 with a byte order mark as UTF-8 in memory."""
    start = file.read(2)
    file.seek(0)
    if start not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return file
    return io.BytesIO(file.read().decode("utf-16").encode())
