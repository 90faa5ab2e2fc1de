"""Tables about images: csv, tsv, jsonl and Parquet files whose rows name image files."""

import codecs
import posixpath
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.fields import short, table_of
from dataset_scripts.core.files import Files, Reader
from dataset_scripts.core.json_text import parse_json
from dataset_scripts.core.parquet import IMAGE, read_parquet

BLOCK = 1 << 16  # bytes of a csv that are read at once
MAX_LINE = 16 << 20  # bytes
MAX_COLUMNS = 4096
MANY_CLASSES = 10_000


def read_table(
    files: Reader, path: str, text_columns: Collection[str] = (), faults: AbstractContextManager | None = None
) -> pa.Table:
    """Reads `.csv`, `.tsv`, `.jsonl` or `.parquet`; `text_columns` stay text in csv, so that "007" is no number.

    Columns are of the types that Arrow itself has: what a foreign schema says that they mean is not believed.

    Args:
        faults: what the fault of a single row, such as a value too many, is raised in; None raises it.

    Raises:
        DataError: the file is empty, cut off, not in UTF-8 or no such table; it would take much more memory than its size.
    """
    where, suffix = f"{files.root}/{path}", path.lower().rpartition(".")[2]
    with reading(f"{where}: cannot be read as a table"), files.open(path) as file:
        if suffix == "parquet":
            table = read_parquet(file, where, len(files.paths) if isinstance(files, Files) else None)
        elif suffix == "jsonl":
            table = table_of(_json_lines(file, where, faults), where, faults)
        else:
            check_text(file, where)
            table = _read_csv(file, path, text_columns, where, faults)
        twice = next((column for column, count in Counter(table.column_names).items() if count > 1), None)
        if twice is not None:
            raise DataError(f"{where} has two columns {short(twice)!r}: rename one")
        if not table.num_columns:
            raise DataError(f"{where}: cannot be read as a table: it has no columns")
        datasets.Features.from_arrow_schema(table.schema)  # types of Arrow that datasets do not have
    return table


def check_text(file: BinaryIO, where: str) -> None:
    """Checks that a file is text in UTF-8 of lines that are not endless, and goes back to its start.

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


def _json_lines(file: BinaryIO, where: str, faults: AbstractContextManager | None) -> Iterator[tuple[Any, str, int]]:
    for number, line in text_lines(file, where):
        place = f"{where}, line {number}"
        value = None
        with faults or nullcontext():
            value = (parse_json(line, f"{place}: cannot be read as a table"), place, len(line))
        if value is not None:
            yield value


def _read_csv(
    file: BinaryIO, path: str, text_columns: Collection[str], where: str, faults: AbstractContextManager | None
) -> pa.Table:
    line = file.readline(BLOCK).decode("utf-8", "replace")
    mark = delimiter(path, line)
    if line.count(mark) >= MAX_COLUMNS:
        raise DataError(f"{where}: its first line has more than {MAX_COLUMNS:,} columns")
    odd = []

    def on_odd_row(row: pa.csv.InvalidRow) -> str:
        if getattr(faults, "skip", False):
            odd.append(f"{where}: {row.actual_columns} values, not {row.expected_columns}, in the row {short(row.text)!r}")
            return "skip"
        return "error"

    parsing = pa.csv.ParseOptions(delimiter=mark, newlines_in_values=True, invalid_row_handler=on_odd_row)
    types = pa.csv.ConvertOptions(column_types=dict.fromkeys(text_columns, pa.string()))
    try:  # block by block, which takes half the memory; the first one tells the types
        file.seek(0)
        table = pa.csv.open_csv(file, pa.csv.ReadOptions(block_size=BLOCK), parsing, types).read_all()
    except pa.ArrowException:  # a later one does not have them, or there is a fault: all values are looked at
        file.seek(0)
        odd.clear()
        table = pa.csv.read_csv(file, pa.csv.ReadOptions(block_size=MAX_LINE), parsing, types)
    for message in odd:
        with faults:
            raise DataError(message)
    last = table.slice(len(table) - 1).to_pylist() if len(table) else [{}]
    if any(isinstance(value, str) and "\n" in value for value in last[0].values()):
        file.seek(0)
        if sum(block.count(b'"') for block in iter(lambda: file.read(1 << 20), b"")) % 2:
            raise DataError(f"{where}: a quote in its row {len(table)} has no end")
    return table


def delimiter(path: str, line: str) -> str:
    """What stands between the values of a csv or tsv whose first line is `line`."""
    return "\t" if path.lower().endswith(".tsv") else ";" if ";" in line and "," not in line else ","


def path_array(paths: list[str]) -> pa.Array:
    """Paths as Arrow's text, null for those whose names are not UTF-8, which no table can name."""
    try:
        return pa.array(paths, pa.string())
    except UnicodeEncodeError:
        return pa.array([path if path.isprintable() or _is_text(path) else None for path in paths], pa.string())


def _is_text(path: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in path)


def resolve_names(files: Files, table: str, names: pa.ChunkedArray, column: str, folder: str | None = None) -> pa.Array:
    """The paths in the listing that a column of file names means; each row one file, no file twice.

    Args:
        table: path of the table, for messages, and the place that names are relative to.
        names: the column, of strings.
        folder: another folder that names are relative to.

    Raises:
        DataError: a row names nothing, a file outside of the root, one that is not there, or one named before; the
            message names table and row (the first row is 1).
    """
    folder = posixpath.dirname(table) if folder is None else folder
    where = f"{files.root}/{table}"
    with reading(f"{where}: {column}"):
        names = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
        if pa.types.is_dictionary(names.type) or pa.types.is_large_string(names.type) or not len(names):
            names = names.cast(pa.string())
    if not pa.types.is_string(names.type):
        row = next((row for row, name in enumerate(names) if not isinstance(name, pa.StringScalar)), 0)
        raise DataError(f"{where}, row {row + 1}: {column} is {short(names[row].as_py())}, not the name of a file")
    blank = _first(pc.or_(pc.is_null(names), pc.equal(pc.fill_null(names, ""), "")))
    if blank is not None:
        raise DataError(f"{where}, row {blank + 1}: {column} is {names[blank].as_py()!r}, not the name of a file")
    full = pc.binary_join_element_wise(folder, names, "/") if folder else names
    odd = pc.match_substring_regex(full, r"^/|^[A-Za-z]:|(^|/)\.{0,2}/|/\.{0,2}$|\\")
    if pc.any(odd).as_py():  # the few that are not plain relative paths
        plain = full.to_pylist()
        for row in np.flatnonzero(odd.to_numpy(zero_copy_only=False)).tolist():
            name = names[row].as_py().replace("\\", "/")
            path = posixpath.normpath(posixpath.join(folder, name))
            if path.startswith("../") or posixpath.isabs(name) or name[1:2] == ":":
                raise DataError(f"{where}, row {row + 1}: {short(names[row].as_py())} leads outside of {files.root}")
            plain[row] = path
        full = pa.array(plain, pa.string())
    place = pc.index_in(full, path_array(files.paths))
    missing = _first(pc.is_null(place))
    if missing is not None:
        raise DataError(f"{where}, row {missing + 1}: there is no image {short(names[missing].as_py())}")
    order = np.argsort(place.to_numpy(), kind="stable")
    again = order[1:][np.diff(place.to_numpy()[order]) == 0]
    if len(again):
        row = int(again.min())
        raise DataError(f"{where}, row {row + 1}: {names[row].as_py()} is listed twice")
    return full


def _first(mask: pa.Array) -> int | None:
    place = pc.index(mask, True).as_py()
    return None if place < 0 else place


def read_metadata(files: Files, tables: list[str]) -> pa.Table:
    """Reads metadata tables, whose column `file_name` is relative to each table's own folder.

    Returns:
        All rows, with the columns of all tables and `file_name` as a path of the listing; `image` is `image_`, as an image
        is what the file is. Columns of images, which only Parquet has, are `datasets.Image` in the schema.

    Raises:
        DataError: no `file_name` column, columns that don't agree, or a row that `resolve_names` refuses.
    """
    parts = []
    for path in tables:
        table = read_table(files, path, text_columns=["file_name"])
        if "file_name" not in table.column_names:
            raise DataError(f"{files.root}/{path} has no column file_name (it has {short(', '.join(table.column_names))})")
        names = resolve_names(files, path, table["file_name"], "file_name")
        table = table.set_column(table.column_names.index("file_name"), "file_name", names)
        taken = set(table.column_names)
        parts.append(table.rename_columns([free_name(name, taken) if name == "image" else name for name in table.column_names]))
    with reading(f"{files.root}: the columns of {', '.join(tables)} do not agree"):
        whole = pa.concat_tables(parts, promote_options="permissive")
    if pc.count_distinct(whole["file_name"]).as_py() < len(whole):
        raise DataError(f"{files.root}: {', '.join(tables)} list the same images")
    images = datasets.Features({field.name: datasets.Image() for field in whole.schema if field.type == IMAGE})
    return whole.replace_schema_metadata(images.arrow_schema.metadata)


def free_name(name: str, taken: Collection[str]) -> str:
    """The name with as many `_` behind it as make it none of those that are taken."""
    while name in taken:
        name += "_"
    return name


def as_class_label(column: pa.ChunkedArray) -> tuple[datasets.ClassLabel, pa.Array] | None:
    """Makes classes of a column of strings, integers or booleans; None for other types, such as regression targets.

    Returns:
        The ClassLabel, its names in sorted order of the values, and the column as class indices (int64).
    """
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return None
    values = sorted(value for value in column.unique().to_pylist() if value is not None)
    feature = datasets.ClassLabel(names=[str(value) for value in values])
    return feature, pc.index_in(column, pa.array(values, kind)).cast(pa.int64()).combine_chunks()


def most_classes(rows: int) -> int:
    """How many classes there may be that only numbers tell: what is larger is an id or a fault, not a class."""
    return max(MANY_CLASSES, 2 * rows)
