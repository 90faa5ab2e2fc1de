"""Tables about images: csv, tsv, jsonl and Parquet files whose rows name image files."""

import posixpath
from collections.abc import Collection
from typing import BinaryIO

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files import Files, Reader

BLOCK = 1 << 16  # bytes of a csv that are read at once


def read_table(files: Reader, path: str, text_columns: Collection[str] = ()) -> pa.Table:
    """Reads `.csv`, `.tsv`, `.jsonl` or `.parquet`; `text_columns` stay text in csv, so that "007" is no number.

    Raises:
        DataError: the file is empty, cut off, not in UTF-8 or no such table.
    """
    try:
        with files.open(path) as file:
            if path.lower().endswith((".csv", ".tsv")):
                table = _read_csv(file, path, text_columns)
            else:
                return pa.json.read_json(file) if path.lower().endswith(".jsonl") else pa.parquet.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{files.root}/{path}: cannot be read as a table: {error}") from error
    odd = next((name for name, kind in zip(table.column_names, table.schema.types) if pa.types.is_binary(kind)), None)
    if odd is not None:
        raise DataError(f"{files.root}/{path}: the column {odd} is not in UTF-8: save the file in that encoding")
    return table


def _read_csv(file: BinaryIO, path: str, text_columns: Collection[str]) -> pa.Table:
    line = file.readline(BLOCK).decode("utf-8", "replace")
    parsing = pa.csv.ParseOptions(delimiter=delimiter(path, line), newlines_in_values=True)
    types = pa.csv.ConvertOptions(column_types=dict.fromkeys(text_columns, pa.string()))
    try:  # block by block, which takes half the memory; the first one tells the types
        file.seek(0)
        return pa.csv.open_csv(file, pa.csv.ReadOptions(block_size=BLOCK), parsing, types).read_all()
    except pa.ArrowException:  # a later one does not have them, or there is a fault: all values are looked at
        file.seek(0)
        return pa.csv.read_csv(file, parse_options=parsing, convert_options=types)


def delimiter(path: str, line: str) -> str:
    """What stands between the values of a csv or tsv whose first line is `line`."""
    return "\t" if path.lower().endswith(".tsv") else ";" if ";" in line and "," not in line else ","


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
    names = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    if not pa.types.is_string(names.type):
        row = next((row for row, name in enumerate(names.to_pylist()) if not isinstance(name, str)), 0)
        raise DataError(f"{where}, row {row + 1}: {column} is {names[row].as_py()!r}, not the name of a file")
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
                raise DataError(f"{where}, row {row + 1}: {names[row].as_py()} leads outside of {files.root}")
            plain[row] = path
        full = pa.array(plain, pa.string())
    place = pc.index_in(full, pa.array(files.paths, pa.string()))
    missing = _first(pc.is_null(place))
    if missing is not None:
        raise DataError(f"{where}, row {missing + 1}: there is no image {names[missing].as_py()}")
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
        All rows, with the columns of all tables and `file_name` as a path of the listing.

    Raises:
        DataError: no `file_name` column, columns that don't agree, or a row that `resolve_names` refuses.
    """
    parts = []
    for path in tables:
        table = read_table(files, path, text_columns=["file_name"])
        if "file_name" not in table.column_names:
            raise DataError(f"{files.root}/{path} has no column file_name (it has {', '.join(table.column_names)})")
        names = resolve_names(files, path, table["file_name"], "file_name")
        parts.append(table.set_column(table.column_names.index("file_name"), "file_name", names))
    try:
        whole = pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"{files.root}: the columns of {', '.join(tables)} do not agree: {error}") from error
    if pc.count_distinct(whole["file_name"]).as_py() < len(whole):
        raise DataError(f"{files.root}: {', '.join(tables)} list the same images")
    return whole


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
