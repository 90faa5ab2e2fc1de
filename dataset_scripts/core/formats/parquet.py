"""Parquet files from strangers: nothing in their schema is trusted, and reading takes no more memory than its size allows."""

import os

import datasets
import pyarrow as pa

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import Reader
from dataset_scripts.core.formats import isolated, parquet_native

IMAGE = datasets.Image().pa_type  # struct of bytes and path


def read_parquet(files: Reader, path: str, most_rows: int | None = None) -> pa.Table:
    """Reads a table in types that Arrow itself has, without metadata, extensions and dictionaries.

    `datasets` would believe metadata that call a column an Image, and open the files that its paths name. A column of
    encoded images, structs of `bytes` and `path`, has the type IMAGE; every image has bytes, and a path without folders.

    Raises:
        DataError: it is not Parquet, or damaged; it has more rows than `most_rows`, values that take far more bytes than
            the file, or an image that is only a path; or the parser crashes.
    """
    where = f"{files.root}/{path}"
    place, kept = isolated.reachable(files, path)
    try:
        stream = isolated.call(parquet_native.__file__, "read", place, most_rows, size=os.stat(place).st_size)
    except (isolated.Crash, ValueError) as error:
        raise DataError(f"{where}: cannot be read as a table: {error}") from error
    finally:
        del kept  # the copy in memory, if it is in an archive
    return pa.ipc.open_stream(pa.py_buffer(stream)).read_all()


def check_table(path: str, kind: str) -> None:
    """Checks a file, Parquet or Arrow's own format, that `datasets` reads as it is, and without a limit.

    Raises:
        DataError: it is neither, or damaged; values of much more bytes than the file. Also if the parser crashes.
    """
    try:
        function = {"parquet": "check", "arrow": "check_arrow"}[kind]
        isolated.call(parquet_native.__file__, function, os.path.abspath(path), size=os.stat(path).st_size)
    except (isolated.Crash, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a table: {error}") from error
