"""Tables about images: csv, tsv, jsonl and Parquet files whose rows name image files."""

import posixpath
from collections.abc import Collection
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from dataset_scripts.core.errors import DataError


def read_table(path: Path, text_columns: Collection[str] = ()) -> pa.Table:
    """Reads `.csv`, `.tsv`, `.jsonl` or `.parquet`; `text_columns` stay text in csv, so that "007" is no number.

    Raises:
        DataError: the file is empty, cut off or no such table.
    """
    try:
        if path.suffix in (".csv", ".tsv"):
            return pa.csv.read_csv(
                path,
                parse_options=pa.csv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ",", newlines_in_values=True),
                convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(text_columns, pa.string())),
            )
        if path.suffix == ".jsonl":
            return pa.json.read_json(path)
        return pa.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as a table: {error}") from error


def read_metadata(root: Path, tables: list[str], images: Collection[str]) -> pa.Table:
    """Reads metadata tables and checks them against the images that exist.

    Args:
        root: the folder that paths are relative to.
        tables: paths of the tables; the column `file_name` of each is relative to the table's own folder.
        images: paths of the images that exist.

    Returns:
        All rows, with the columns of all tables and `file_name` relative to `root`.

    Raises:
        DataError: no `file_name` column, or a row that names a file twice, outside of `root`, or not there; the
            message names table and row (the first row is 1).
    """
    parts, seen = [], set()
    for table_path in tables:
        path = root / table_path
        table = read_table(path, text_columns=["file_name"])
        if "file_name" not in table.column_names:
            raise DataError(f"{path} has no column file_name (it has {', '.join(table.column_names)})")
        names = []
        for row, name in enumerate(table["file_name"].to_pylist(), start=1):
            if not isinstance(name, str) or not name:
                raise DataError(f"{path}, row {row}: file_name is {name!r}, not the name of a file")
            full = posixpath.normpath(posixpath.join(posixpath.dirname(table_path), name.replace("\\", "/")))
            if full.startswith("../") or posixpath.isabs(full):
                raise DataError(f"{path}, row {row}: {name} leads outside of {root}")
            if full not in images:
                raise DataError(f"{path}, row {row}: there is no image {name}")
            if full in seen:
                raise DataError(f"{path}, row {row}: {name} is listed twice")
            seen.add(full)
            names.append(full)
        column = table.column_names.index("file_name")
        parts.append(table.set_column(column, "file_name", pa.array(names, pa.string())))
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"{root}: the columns of {', '.join(tables)} do not agree: {error}") from error


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
