"""Data that `datasets` reads itself: errors in one line that names the file, and streams that name only files of their set."""

import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from dataset_scripts.core.errors import DataError, TrustError, reason
from dataset_scripts.core.files.disk import disk_fault
from dataset_scripts.core.formats.dataset_info import class_labels
from dataset_scripts.core.formats.parquet import check_table
from dataset_scripts.core.image.columns import Origin, check_paths, parts_of, stored_images


@contextmanager
def read_by_datasets(where: str, cache_dir: str | None = None) -> Iterator[None]:
    """Wraps what `datasets` does with the caller's data or arguments: any exception becomes a DataError.

    Args:
        cache_dir: what it writes, if not to its usual cache.

    Raises:
        DataError: it begins with the file that was read, if known, else with `where`; a full disk is named instead.
    """
    try:
        yield
    except (DataError, TrustError):
        raise
    except Exception as error:
        if fault := disk_fault(error, os.path.expanduser(cache_dir or datasets.config.HF_DATASETS_CACHE)):
            raise fault from error
        cause = error
        while isinstance(cause, datasets.exceptions.DatasetGenerationError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, (DataError, TrustError)):
            raise cause from None
        none = (datasets.exceptions.DataFilesNotFoundError, datasets.data_files.EmptyDatasetError)
        if isinstance(cause, none) and os.path.exists(where):
            raise DataError(
                f"{where} fits no layout of this package (`dataset-scripts list` shows them), and holds no files that datasets "
                "reads itself, such as Parquet"
            ) from error
        raise DataError(f"{_file_at(cause) or where}: {reason(cause)}") from error


def _file_at(error: BaseException) -> str | None:
    """The file that a reader of `datasets` had open: messages seldom name it, but all readers call it `file`."""
    frames = [
        frame for frame, _ in traceback.walk_tb(error.__traceback__) if "packaged_modules" in frame.f_code.co_filename
    ]
    files = [frame.f_locals["file"] for frame in frames if isinstance(frame.f_locals.get("file"), str)]
    return files[-1] if files else None


class Source:
    """The source of a stream's rows, which are checked before any feature that the caller casts them to opens a file."""

    def __init__(self, make: Callable[..., Iterator], where: str, features: datasets.Features, origin: Origin):
        self.make, self.where, self.features, self.origin = make, where, features, origin

    def __call__(self, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
        with read_by_datasets(self.where):
            for key, rows in self.make(**kwargs):
                if isinstance(rows, pa.Table):
                    present = [name for name in self.features if name in rows.column_names]
                    check_paths(
                        {name: rows[name] for name in present},
                        {name: self.features[name] for name in present},
                        self.origin,
                    )
                else:
                    for image in stored_images(self.features, rows):
                        path, content = (
                            (image, None) if isinstance(image, str) else (image.get("path"), image.get("bytes"))
                        )
                        if path is not None and content is None:
                            self.origin.check(path)
                yield key, rows


def check_labels(dataset: Any, where: str) -> None:
    """Raises a DataError if the name of a class is a list or a mapping, as may occur in a table's schema."""
    for part in parts_of(dataset):
        for name, feature in (part.features or {}).items():
            for label in class_labels(feature):
                if wrong := [text for text in label.names if isinstance(text, (list, dict))]:
                    raise DataError(
                        f"{where}, column {name}: the class name {wrong[0]!r} is not text: write the data again"
                    )


def check_classes(data_files: Mapping[str, Iterable[str]]) -> None:
    """Compares the names of classes in local tables: `datasets` applies the names of the first to the numbers of all.

    Args:
        data_files: the paths of each split.

    Raises:
        DataError: a file has other names, or the same in another order.
    """
    first: dict[tuple[str, int], tuple[str, list[str]]] = {}
    for path in (path for paths in data_files.values() for path in paths):
        if "://" in path or not path.endswith((".parquet", ".arrow")):
            continue
        with read_by_datasets(path):
            features = datasets.Features.from_arrow_schema(_schema(path))
        for column, feature in features.items():
            for number, label in enumerate(class_labels(feature)):
                known, names = first.setdefault((column, number), (path, label.names))
                if names != label.names:
                    raise DataError(
                        f"{path}: the classes of column {column} are {few(label.names)}, and those of {known} are {few(names)}: rows would "
                        "get the labels of other classes; load each file by itself with data_files, or rewrite one"
                    )


def check_tables(builder: datasets.DatasetBuilder, streaming: bool) -> None:
    """Checks how much memory the local tables would take that a builder of `datasets` reads; what it has built, it only opens.

    Raises:
        DataError: a table takes much more than its file, or is damaged.
    """
    kind = type(builder).__module__.rpartition(".")[2]
    if kind not in ("parquet", "arrow") or (os.path.isdir(builder.cache_dir) and not streaming):
        return
    for path in (path for paths in (builder.config.data_files or {}).values() for path in paths):
        if "://" not in path:
            check_table(path, kind)


def _schema(path: str) -> pa.Schema:
    if path.endswith(".parquet"):
        return pq.read_schema(path)
    with pa.memory_map(path) as file:
        try:
            return pa.ipc.open_stream(file).schema  # as `save_to_disk` writes it
        except pa.ArrowInvalid:
            return pa.ipc.open_file(file).schema


def few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f", … ({len(names):,})" if len(names) > 5 else "")


def check_sources(dataset: Any, where: str, origin: Origin) -> Any:
    """Makes an IterableDataset, or a dict or list of them, check its rows as they are read; others stay as they are."""
    for part in parts_of(dataset):
        for name in (
            ("generate_tables_fn", "generate_examples_fn") if isinstance(part, datasets.IterableDataset) else ()
        ):
            if make := getattr(part._ex_iterable, name, None):
                setattr(part._ex_iterable, name, Source(make, where, part.features or datasets.Features(), origin))
    return dataset
