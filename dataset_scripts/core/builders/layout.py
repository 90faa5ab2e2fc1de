"""The base of the scripts that read a layout: index the annotations once, then read rows in any number of processes."""

import inspect
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.leftovers import check_leftovers, leave_unchosen
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files, Reader, is_hidden
from dataset_scripts.core.files.selection import once, without
from dataset_scripts.core.files.splits import in_order
from dataset_scripts.core.files.walk import follows
from dataset_scripts.core.image.columns import Origin, check_paths, holds_images, stored_images
from dataset_scripts.core.image.decode import decode_image

TABLE = 256 << 20  # bytes of images and texts per table; Arrow counts those of a column in 31 bits
FOLDER_OPTIONS = ("images", "annotations", "labels", "masks", "source", "target")  # by which the user chooses
SINGLE = 1 << 20  # bytes up to which `datasets` may collect tables of one row


@dataclass
class LayoutConfig(datasets.BuilderConfig):
    """Options of every layout.

    Attributes:
        on_error: "raise" stops at the first row that cannot be read; "skip" leaves such rows out, and lists them in
            a file that the log names. It also decodes every image while building, to find the damaged ones.
        links: None reads links that lead nowhere else than into the folder, or into the blobs of the Hub's cache; "follow"
            reads all, and leaves out those that lead to nothing.
        ignore: patterns of paths in the data that are left out, such as "annots/**" or "*.txt"; `*` stands for anything.
    """

    on_error: str = "raise"
    links: str | None = None
    ignore: list[str] | None = None


@dataclass
class Rows:
    """The rows of a split, before they are read.

    Attributes:
        samples: the arguments of `read`, one per row; small and picklable.
        columns: columns that are already known, one value per row.
    """

    samples: Sequence
    columns: dict[str, pa.Array] = field(default_factory=dict)

    def __getstate__(self):
        # A part of an array is pickled with the whole array, unless it is copied: concat_arrays does so for two or more.
        columns = {name: pa.concat_arrays([column, column[:0]]) for name, column in self.columns.items()}
        return {**self.__dict__, "columns": columns}


class LayoutBuilder(datasets.ArrowBasedBuilder):
    """Reads a layout in two steps; a script implements `index` and `read`, and `matches(files)` beside the class.

    Attributes:
        READS_ALL: every file of the folder has to be accounted for, see `check_leftovers`.
        CHOOSES_BY_NAME: the name of the configuration chooses one of several sets in the data.
        DATA_DIR: the default folder of the data, relative to the script; for your own scripts.
        files: the listing of `data_dir`, if the caller has already made it.
        is_detected: nobody has named the layout; `files` is then without copies and ignored files already.
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = LayoutConfig
    CHUNK: ClassVar[int] = 256  # the most rows per table, and the unit that num_proc and DataLoader workers share out
    READS_ALL: ClassVar[bool] = True
    TAKES_DATA_FILES: ClassVar[bool] = False
    CHOOSES_BY_NAME: ClassVar[bool] = False
    DATA_DIR: ClassVar[str | None] = None
    files: Files | None = None
    is_detected: bool = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # `datasets` would go through the script's names to replace functions for files with ones for URLs, which no
        # layout reads, and import scipy and others to do so: a third of the time to load a cached dataset again.
        for part in cls.__mro__[: cls.__mro__.index(LayoutBuilder) + 1]:
            sys.modules[part.__module__]._patched_for_streaming = True

    def index(self, files: Files) -> tuple[datasets.Features, dict[str, Rows]]:
        """Finds splits, rows and features in the listing and the annotations, without opening an image."""
        raise NotImplementedError

    def _index(self, files: Files) -> tuple[datasets.Features, dict[str, Rows]]:
        """What `index` returns; a base of scripts overrides it to check the listing before, and what was found after."""
        return self.index(files)

    def read(self, files: Reader, sample: Any) -> dict[str, Any]:
        """Reads a row: its columns as Arrow stores them, an image as `{"bytes": …, "path": …}`."""
        raise NotImplementedError

    @property
    def skipped_path(self) -> Path:
        """The list of rows left out by `on_error="skip"`, beside the cached dataset."""
        return Path(f"{self.cache_dir}.skipped.txt")

    def named_files(self) -> dict[str, list[str]]:
        """The `data_files` that the caller named: split -> paths of the listing, sorted."""
        return {
            str(split): sorted(
                Path(path).relative_to(self._root).as_posix() for path in paths if not is_hidden(Path(path).name)
            )
            for split, paths in (self.config.data_files or {}).items()
        }

    def _list(self) -> Files:
        """The listing: of `data_dir`, or of only the `data_files` if that is not given."""
        paths = [str(path) for paths in (self.config.data_files or {}).values() for path in paths]
        if paths and not self.TAKES_DATA_FILES:
            raise DataError(f"{self.dataset_name} finds its files itself: pass data_dir=…, not data_files")
        remote = next((path for path in paths if "://" in path), None)
        if remote is not None:
            raise DataError(f"{self.dataset_name} reads local files, not {remote}")
        if self.config.data_dir is not None:
            self._root = Path(self.config.data_dir)
            outside = next((path for path in paths if not Path(path).is_relative_to(self._root)), None)
            if outside is not None:
                raise DataError(f"data_files: {outside} lies outside of data_dir={self.config.data_dir!r}")
            return self.files or Files.of(
                self._root, skip=self.config.on_error == "skip", follow=follows(self.config.links)
            )
        if not paths:
            name = self.dataset_name
            way = f"load_dataset({name!r}, data_dir='path/to/data'), or load_dataset('./{name}') for a folder of that name"
            raise DataError(f"{name} is a layout, which reads a folder: use {way}")
        self._root = Path(os.path.commonpath([os.path.dirname(path) for path in paths]))
        return Files(self._root, paths=sorted(path for named in self.named_files().values() for path in named))

    def _info(self):
        return datasets.DatasetInfo(description=inspect.getdoc(inspect.getmodule(type(self))) or "")

    def survey(self, faults: Faults) -> tuple[Files, datasets.Features, dict[str, Rows]]:
        """The listing, in which all that is read is accounted for, the features, and the rows of each split.

        No image is read. `dataset-scripts info` shows what this finds.
        """
        self.faults = faults
        listed = self._list()
        files = listed if self.is_detected else without(once(listed), self.config.ignore or [])
        self.files = None  # workers need no listing
        files.opened.clear()  # by the detection
        for message in files.left_out:
            faults.note(message)
        with reading(files.root):
            features, splits = self._index(files)
            for rows in splits.values():
                check_paths(rows.columns, {name: features[name] for name in rows.columns}, Origin())
            if not files.accounted:  # the layout leaves it to us
                files.account(files.opened)
                files.account(_strings(rows.samples for rows in splits.values()))
            if said := "\n".join(faults.said):  # a file with a fault that was skipped is accounted for
                files.account([path for path in files.paths if path not in files.accounted and path in said])
            chosen = [getattr(self.config, name, None) for name in FOLDER_OPTIONS]
            leave_unchosen(files, [folder for folder in chosen if isinstance(folder, str)])
        return files, features, splits

    def _split_generators(self, dl_manager):
        faults = Faults(self.config.on_error, None if dl_manager.is_streaming else self.skipped_path)
        files, self.info.features, splits = self.survey(faults)
        if self.READS_ALL and not self.config.data_files:
            precedence = max(getattr(sys.modules[part.__module__], "PRECEDENCE", 0) for part in type(self).__mro__)
            with reading(files.root):
                check_leftovers(files, self.dataset_name, is_chosen=not self.is_detected and precedence > 0)
        empty = [split for split, rows in splits.items() if not len(rows.samples)]
        if empty or not splits:
            raise DataError(f"{files.root}: there are no images for the split {(empty or ['train'])[0]}")
        sequential = any(archive.sequential for archive in files.mounts.values())
        return [
            datasets.SplitGenerator(split, {"chunks": self._chunks(rows, sequential), "reader": files.reader()})
            for split, rows in in_order(splits).items()
        ]

    def _prepare_split(self, split_generator, **kwargs):
        super()._prepare_split(split_generator, **kwargs)
        if not split_generator.split_info.num_examples:  # `datasets` can't load it again, or leaves it out
            raise DataError(
                f"{self.config.data_dir}: no row of the split {split_generator.name} can be read: see {self.skipped_path}"
            )

    def _chunks(self, rows: Rows, sequential: bool) -> list[list[Rows]]:
        """Cuts a split into parts of equal size: at least 64 if it has that many rows, each of at most CHUNK rows.

        Rows that can only be read from front to end are one part, so no two workers read them.
        """
        count = len(rows.samples)
        size = min(self.CHUNK, max(1, count // 64))
        parts = [
            Rows(
                rows.samples[start : start + size],
                {name: column.slice(start, size) for name, column in rows.columns.items()},
            )
            for start in range(0, count, size)
        ]
        return [parts] if sequential else [[part] for part in parts]

    def __getstate__(self):
        return {**self.__dict__, "_locks": {}}

    def _generate_tables(self, chunks, reader):
        """Reads table by table: a shuffled stream does so in several threads, which share open files."""
        tables = self._tables(chunks, reader)
        # One for each process: a fork must not inherit a lock.
        lock = self.__dict__.setdefault("_locks", {}).setdefault(os.getpid(), threading.Lock())
        while True:
            with lock:
                table = next(tables, None)
            if table is None:
                return
            yield table

    def _tables(self, chunks, reader):
        schema = self.info.features.arrow_schema.remove_metadata()
        others = [name for name, feature in self.info.features.items() if holds_images(feature)]
        number = 0
        for rows in (rows for chunk in chunks for rows in chunk):
            kept, read, size = [], [], 0
            for place, sample in enumerate(rows.samples):
                with self.faults, reading(_Where(reader, sample)):
                    row = self.read(reader, sample)
                    if self.faults.skip:
                        known = {name: rows.columns[name][place].as_py() for name in rows.columns if name in others}
                        for image in stored_images(self.info.features, known | row):
                            decode_image(image, image["path"] or f"{reader.root}, row {place}").load()
                    kept.append(place)
                    read.append(row)
                    size += _size(row)
                if read and (size >= TABLE or place == len(rows.samples) - 1):
                    for table in self._convert(reader, rows, kept, read, schema):
                        yield number, table
                        if len(table) == 1 and table.nbytes > SINGLE:
                            # At an empty table, `datasets` writes what it has collected.
                            yield number, table.slice(1)
                        number += 1
                    kept, read, size = [], [], 0

    def _convert(
        self, reader: Reader, rows: Rows, kept: list[int], read: list[dict], schema: pa.Schema
    ) -> Iterator[pa.Table]:
        """The rows at the positions `kept` as a table or, if Arrow cannot take them, one by one, to name the fault."""
        try:
            tables = [_table(rows, kept, read, schema)]
        except Exception:  # a value of another type or size; Arrow does not say in which row
            tables = []
            for place, row in zip(kept, read):
                with self.faults, reading(_Where(reader, rows.samples[place])):
                    tables.append(_table(rows, [place], [row], schema))
        yield from tables


def _table(rows: Rows, kept: list[int], read: list[dict], schema: pa.Schema) -> pa.Table:
    whole = len(kept) == len(rows.samples)
    columns = {
        name: pa.array([row[name] for row in read], schema.field(name).type)
        if name not in rows.columns
        else rows.columns[name]
        if whole
        else rows.columns[name].take(pa.array(kept))
        for name in schema.names
    }
    return pa.table(columns, schema=schema)


def _size(value: Any) -> int:
    """The bytes of images and the characters of texts in a row."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) and value and isinstance(value[0], (str, dict)) else 0


def _strings(value: Any) -> Iterator[str]:
    """All texts in nested sequences; those of samples are paths."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Iterable):
        for item in value:
            yield from _strings(item)


class _Where:
    """The name of a row for messages, which is made only if it is needed."""

    def __init__(self, reader: Reader, sample: Any):
        self.reader, self.sample = reader, sample

    def __str__(self) -> str:
        parts = self.sample if isinstance(self.sample, (tuple, list)) else [self.sample]
        name = next((part for part in parts if isinstance(part, str) and part), str(self.sample)[:80])
        return f"{self.reader.root}/{name}"
