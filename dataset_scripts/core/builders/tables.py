"""Tables about images: csv, tsv, jsonl and Parquet files whose rows name image files."""

import functools
import posixpath
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.builders.classes import most_classes, numbered_classes
from dataset_scripts.core.builders.layout import Rows
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.faults import Faults, readable
from dataset_scripts.core.files.listing import Files, Reader
from dataset_scripts.core.formats.fields import short, table_of
from dataset_scripts.core.formats.parquet import IMAGE, read_parquet
from dataset_scripts.core.formats.text_table import json_lines, read_csv

MOST_BYTES = (1 << 31) - 1  # of a column's texts: Arrow counts them in 31 bits
ODD = r"^/|^[A-Za-z]:|(^|/)\.{0,2}/|/\.{0,2}$|\\"  # names that are not plain relative paths


def read_table(files: Reader, path: str, text_columns: Collection[str] = (), faults: Faults | None = None) -> pa.Table:
    """Reads `.csv`, `.tsv`, `.jsonl` or `.parquet`; `text_columns` stay text in csv, so "007" is not a number.

    Columns have Arrow's own types: a foreign schema's claims about their meaning are not trusted.

    Args:
        faults: the context in which the fault of a single row, such as a value too many, is raised; None raises it.

    Raises:
        DataError: the file is empty, truncated, not in UTF-8 or not such a table, or would take much more memory than its
            size.
    """
    where, suffix = f"{files.root}/{path}", path.lower().rpartition(".")[2]
    with reading(f"{where}: cannot be read as a table"):
        if suffix in ("csv", "tsv"):
            table = read_csv(files, path, text_columns, faults)
        elif suffix == "parquet":
            table = read_parquet(files, path, len(files.paths) if isinstance(files, Files) else None)
        else:
            with files.open(path) as file:
                table = table_of(json_lines(file, where, faults), where, faults)
        twice = next((column for column, count in Counter(table.column_names).items() if count > 1), None)
        if twice is not None:
            raise DataError(f"{where} has two columns {short(twice)!r}: rename one")
        if not table.num_columns:
            raise DataError(f"{where}: cannot be read as a table: it has no columns")
        datasets.Features.from_arrow_schema(table.schema)  # raises on types of Arrow that datasets does not have
    return table


def in_one(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """A column whose chunks can be put together: text that does not fit 31 bits of places becomes large text.

    Raises:
        DataError: such text is in lists or objects.
    """
    if column.nbytes <= MOST_BYTES:
        return column
    if pa.types.is_string(column.type):
        return column.cast(pa.large_string())
    if pa.types.is_nested(column.type):
        raise DataError(
            f"{where} has {column.nbytes:,} bytes in lists or objects, and a column holds {MOST_BYTES:,}: load the files in "
            "parts, from a folder for each"
        )
    return column


def path_array(paths: list[str]) -> pa.Array:
    """Paths as Arrow's text, null for those whose names are not UTF-8, which no table can name."""
    try:
        return pa.array(paths, pa.string())
    except UnicodeEncodeError:
        return pa.array([path if path.isprintable() or _is_text(path) else None for path in paths], pa.string())


def _is_text(path: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in path)


def resolve_names(
    files: Files,
    table: str,
    names: pa.ChunkedArray | pa.Array,
    column: str,
    folder: str | None = None,
    faults: AbstractContextManager | None = None,
    lines: Sequence[int] | None = None,
) -> pa.Array:
    """Return the paths in the listing for a column of file names; one file per row, no file twice.

    Args:
        table: path of the table, for messages, and the place that names are relative to.
        names: the column, of strings.
        folder: another folder that names are relative to.
        faults: the context in which the fault of a row is raised, whose path is then null; None raises it.
        lines: the numbers of the rows in the file; None if they are 1, 2, 3, ….

    Raises:
        DataError: a row names nothing, a file outside the root, one that does not exist, or one named before; the
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
    blank = pc.or_(pc.is_null(names), pc.equal(pc.fill_null(names, ""), "")).to_numpy(zero_copy_only=False)
    full = pc.binary_join_element_wise(folder, names, "/") if folder else names
    odd = pc.fill_null(pc.match_substring_regex(full, ODD), False).to_numpy(zero_copy_only=False)
    outside = np.zeros(len(names), bool)
    if odd.any():  # the few that are not plain relative paths
        plain = full.to_pylist()
        for row in np.flatnonzero(odd).tolist():
            if plain[row] in files.names:  # such as \xe9.png, as listings show a name that is not UTF-8
                continue
            name = names[row].as_py().replace("\\", "/")
            plain[row] = path = posixpath.normpath(posixpath.join(folder, name))
            outside[row] = path.startswith("../") or posixpath.isabs(name) or name[1:2] == ":"
        full = pa.array(plain, pa.string())
    place = pc.fill_null(pc.index_in(full, path_array(files.paths)), -1).to_numpy(zero_copy_only=False)
    good = ~blank & ~outside & (place >= 0)
    rows = np.flatnonzero(good)
    order = rows[np.argsort(place[rows], kind="stable")]
    again = np.zeros(len(names), bool)
    again[order[1:][np.diff(place[order]) == 0]] = True
    bad = ~good | again
    for row in np.flatnonzero(bad).tolist():
        name, place_of = short(names[row].as_py()), f"{where}, row {lines[row] if lines else row + 1}"
        with faults or nullcontext():
            if blank[row]:
                raise DataError(f"{place_of}: {column} is {names[row].as_py()!r}, not the name of a file")
            if outside[row]:
                raise DataError(f"{place_of}: {name} leads outside of {files.root}")
            said = f"{name} is listed twice" if again[row] else f"there is no image {name}"
            raise DataError(f"{place_of}: {said}")
    return pc.if_else(pa.array(~bad), full, None) if bad.any() else full


def rows_of(images: pa.Array, columns: dict[str, pa.Array]) -> Rows:
    """The rows whose image `resolve_names` has found, and which have all columns."""
    kept = functools.reduce(pc.and_, [images.is_valid(), *(column.is_valid() for column in columns.values())])
    return Rows(images.filter(kept).to_pylist(), {name: column.filter(kept) for name, column in columns.items()})


def read_metadata(files: Files, tables: list[str], faults: Faults | None = None) -> pa.Table:
    """Reads metadata tables, whose column `file_name` is relative to each table's own folder.

    Returns:
        All rows, with the columns of all tables and `file_name` as a path of the listing; a column `image` becomes `image_`,
        as `image` is the file. Columns of images, which only Parquet has, are `datasets.Image` in the schema. The fault of
        a single row is raised in `faults`, and the row left out.

    Raises:
        DataError: no `file_name` column, columns that don't agree, or a row that `resolve_names` refuses.
    """

    def read(path: str) -> pa.Table:
        table = read_table(files, path, ["file_name"], faults)
        if "file_name" not in table.column_names:
            raise DataError(
                f"{files.root}/{path} has no column file_name (it has {short(', '.join(table.column_names))})"
            )
        names = resolve_names(files, path, table["file_name"], "file_name", faults=faults)
        table = table.set_column(table.column_names.index("file_name"), "file_name", names).filter(names.is_valid())
        taken = set(table.column_names)
        return table.rename_columns(
            [free_name(name, taken) if name == "image" else name for name in table.column_names]
        )

    parts = readable(faults, tables, read) if faults else [read(path) for path in tables]
    with reading(f"{files.root}: the columns of {', '.join(tables)} do not agree"):
        whole = pa.concat_tables(parts, promote_options="permissive")
    if pc.count_distinct(whole["file_name"]).as_py() < len(whole):
        raise DataError(f"{files.root}: {', '.join(tables)} list the same images")
    images = datasets.Features({field.name: datasets.Image() for field in whole.schema if field.type == IMAGE})
    return whole.replace_schema_metadata(images.arrow_schema.metadata)


def free_name(name: str, taken: Collection[str]) -> str:
    """Return the name with as many `_` appended as needed to differ from those taken."""
    while name in taken:
        name += "_"
    return name


def as_class_label(column: pa.ChunkedArray) -> tuple[datasets.ClassLabel, pa.Array] | None:
    """Makes classes of a column of strings, integers or booleans; None for other types, such as regression targets.

    Whole numbers keep their values, as in all layouts: see `numbered_classes`. Decimals that are whole count as such.

    Returns:
        The ClassLabel, its names in sorted order of the values, and the column as class indices (int64).
    """
    kind = column.type
    if pa.types.is_floating(kind) and column.null_count < len(column):
        known = column.drop_null()
        if pc.all(pc.and_(pc.is_finite(known), pc.equal(pc.floor(known), known))).as_py():
            column = column.cast(pa.int64())
            kind = column.type
    if pa.types.is_integer(kind) and column.null_count < len(column):
        low, high = pc.min(column).as_py(), pc.max(column).as_py()
        if 0 <= low and high < most_classes(len(column)):
            feature = datasets.ClassLabel(names=numbered_classes(high, len(column), "labels"))
            return feature, column.cast(pa.int64()).combine_chunks()
    if not (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
    ):
        return None
    values = sorted(value for value in column.unique().to_pylist() if value is not None)
    feature = datasets.ClassLabel(names=[str(value) for value in values])
    return feature, pc.index_in(column, pa.array(values, kind)).cast(pa.int64()).combine_chunks()
