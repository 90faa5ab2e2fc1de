"""Tables and lists that name images, as on Kaggle: train.csv, labels.tsv, annotations.json, train.txt beside the images."""

import contextlib
import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.builders.leftovers import leave_out
from dataset_scripts.core.builders.tables import as_class_label, free_name
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files, folder_of, is_image, name_of, stem_of
from dataset_scripts.core.files.splits import SPLITS, SplitFolders, split_in
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_stream import records
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.formats.text_table import as_utf8, delimiter, sound_text
from dataset_scripts.layouts.csv_list.names import Fit, Places
from dataset_scripts.layouts.csv_list.rows import (
    FOLDER,
    LINE,
    check_overlap,
    class_names,
    gather_captions,
    is_class,
    is_counted,
    is_multi_label,
    is_splits,
    is_table,
    join_partitions,
    read_rows,
)

logger = printable_logger(__name__)

PRECEDENCE = 1
PEEK = 1 << 14  # bytes of a table that show what it is
HEAD_ROWS = 200  # rows that show it
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".txt")
OTHERS = re.compile(
    r"(label_?colou?rs?|class_dict|colou?rs|palette)\.(csv|json|txt)|metadata\.(csv|jsonl)|sample_?submission.*|(read.?me|licen[cs]e|requirements).*|dataset_infos?\.json"
)
NAME_LISTS = re.compile(r"(class(es)?(_?names)?|labels?|categories|names|synsets|words)\.txt")
LABELS = (
    "label",
    "class",
    "target",
    "category",
    "labels",
    "class_name",
    "class_id",
    "classid",
    "breed",
    "species",
    "diagnosis",
)
SPLIT_COLUMNS = ("split", "subset", "partition")
FOLDS = ("fold", "kfold")  # of cross-validation: a part of the training images, not a class


@dataclass
class CsvListConfig(LayoutConfig):
    """Options of `load_dataset("csv_list", data_dir=…)`; `data_files={"train": "train.csv"}` chooses the tables.

    Attributes:
        image_column: the column that names images; None finds the one whose values do.
        label_column: the column that becomes `label`; "" for none. None takes the one with a usual name, else the only
            other one, if it holds words or whole numbers, some of them twice.
    """

    image_column: str | None = None
    label_column: str | None = None


def matches(files):
    """Tables and lists with a column that names images."""
    if not files.images:
        return None
    found = list(image_columns(Places(files), {path: head(files, path) for path in candidates(files)})[0])
    return f"{len(files.images)} images, named in {', '.join(found[:6])}{' …' * (len(found) > 6)}" if found else None


def candidates(files: Files) -> list[str]:
    """Files that may be tables of images: at most 50 in a folder, and none that describes a single image."""
    paths = [path for path in files.having(*SUFFIXES) if not OTHERS.fullmatch(name_of(path).lower())]
    paths = [path for path in paths if not (NAME_LISTS.fullmatch(name_of(path).lower()) and not _is_list(files, path))]
    wanted, crowd = set(map(stem_of, paths)), Counter(map(folder_of, paths))
    stems = {stem for path in files.images if (stem := stem_of(path)) in wanted} if wanted else set()
    # If images have their own text files (YOLO's boxes, captions), a list beside them only selects those in use.
    texts = any(path.lower().endswith(".txt") and stem_of(path) in stems for path in paths)
    return [
        path
        for path in paths
        if stem_of(path) not in stems
        and crowd[folder_of(path)] <= 50
        and "ImageSets" not in path.split("/")
        and not (texts and path.lower().endswith(".txt"))
    ]


def _is_list(files: Files, path: str) -> bool:
    """Whether the lines of a text begin with the names of images."""
    with files.open(path) as file:
        lines = as_utf8(file).read(PEEK).decode("utf-8-sig", "replace").splitlines()[:20]
    firsts = [words[0] for line in lines if (words := re.split(r"[\s,;|]", line.strip(), maxsplit=1)) and words[0]]
    return bool(firsts) and all(map(is_image, firsts))


def head(files: Files, path: str) -> dict[str, list[str]]:
    """The first values of each column, as text."""
    with files.open(path) as file:
        content = as_utf8(file).read(PEEK)
    text = content.decode("utf-8-sig", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    lines = lines[:-1] if len(content) == PEEK else lines  # the last one is cut off
    rows = []
    try:
        with reading(path):
            rows.extend(itertools.islice(_head_rows(files, path, text, lines), HEAD_ROWS))
    except DataError:  # reported when the table is read, unless it is not one of ours
        pass
    rows = [row for row in rows if isinstance(row, dict)]
    columns = dict.fromkeys(name for row in rows for name in row if name is not None)
    return {name: [str(row[name]) for row in rows if row.get(name) is not None] for name in columns}


def _head_rows(files: Files, path: str, text: str, lines: list[str]) -> Iterator[Any]:
    """The first rows of a table whose first lines are given: dicts, or something else if it is not a table."""
    suffix = path.lower().rpartition(".")[2]
    if suffix in ("csv", "tsv") or (suffix == "txt" and is_table(lines)):
        sound = sound_text(
            io.BytesIO("\n".join(lines).encode()), path, Faults.gathered()
        )  # a quote without an end hides the rest
        mark = delimiter(path, lines[0] if lines else "")
        for row in csv.DictReader(sound.read().decode().splitlines(), delimiter=mark):
            yield {name and name.strip(): value for name, value in row.items()}
    elif suffix == "jsonl":
        yield from map(_json_or_none, lines)
    elif suffix == "txt":
        lines = lines[2:] if is_counted(lines) else lines
        yield from ({"file_name": found["file_name"]} for line in lines if (found := re.match(LINE, line.strip())))
    elif text.lstrip().startswith("["):
        with files.open(path) as file:  # its first item may be longer than the text
            for element in records(file, path, contextlib.suppress(DataError)):
                yield element.value
    else:
        yield from ({"file_name": match[1]} for match in re.finditer(r'"([^"]+)"\s*:\s*["\d]', text))


def _json_or_none(text: str) -> Any:
    try:
        return parse_json(text.encode(), "")
    except DataError:  # reported when the table is read
        return None


def image_columns(places: Places, heads: dict[str, dict[str, list[str]]]) -> tuple[dict[str, str], dict[str, Fit]]:
    """Finds the column of each table most of whose first values name images, or that names most of the images.

    Of several it is the one with suffixes, or the most varied.

    Returns:
        Table -> column, and table -> how its names are read.
    """
    fits = places.fits({(path, name): values for path, first in heads.items() for name, values in first.items()})
    found = {}
    for path, columns in heads.items():
        names = [name for name in columns if fits[path, name][1] > 0.5]
        names = [name for name in names if not fits[path, name][0].any_suffix or any(map(is_image, columns[name]))]
        if names:
            # An index (0, 1, …, as pandas writes it without a name) may name 0.png, 1.png, …, too, and so may classes.
            found[path] = max(names, key=lambda name: (sum(map(is_image, columns[name])), len(set(columns[name]))))
    return found, {path: fits[path, name][0] for path, name in found.items()}


class CsvList(LayoutBuilder):
    BUILDER_CONFIG_CLASS = CsvListConfig
    TAKES_DATA_FILES = True

    def index(self, files):
        if not files.images:
            raise DataError(f"{files.root} has no images: pass the folder that holds tables and images as data_dir=…")
        places = Places(files)
        named = {path: split for split, paths in self.named_files().items() for path in paths}
        heads = {path: head(files, path) for path in named or candidates(files)}
        if self.config.image_column is None:
            columns, self.fits = image_columns(places, heads)
        else:
            name = self.config.image_column
            columns = {path: name for path, first in heads.items() if name in first}
            self.fits = {
                path: fit for path, (fit, _) in places.fits({path: heads[path][name] for path in columns}).items()
            }
        for path, fit in self.fits.items():
            if said := str(fit):
                logger.warning("%s/%s: its names of images are read %s", files.root, path, said)
        path = next((path for path in named if path not in columns), None)
        if path is not None:
            raise DataError(
                f"{files.root}/{path} has no column that names images (it has {short(', '.join(heads[path]))})"
            )
        if not columns:
            raise DataError(f"{files.root} has no table with a column that names its images: pass image_column=…")
        for path, (fit, share) in places.fits({path: [name] for path, name in columns.items()}).items():
            if share and is_image(columns[path]) and not fit.drop:
                raise DataError(
                    f"{files.root}/{path}: its first line names the image {short(columns[path])}: put a line of column names before it"
                )
        tables = {path: self._read(files, places, path, name, named.get(path)) for path, name in columns.items()}
        files.account([*tables, *(path for path in candidates(files) if not any(heads.get(path, {}).values()))])
        tables = join_partitions(tables)
        check_overlap(files, tables)
        with reading(f"{files.root}: the columns of {', '.join(tables)} do not agree"):
            whole = pa.concat_tables(tables.values(), promote_options="permissive")
        pa.default_memory_pool().release_unused()
        features, columns, names = self._columns(files, whole)
        files.account(filter(None, [names]))
        numbers, said = whole["image"].combine_chunks(), whole["split"].combine_chunks()
        del tables, whole  # large
        pa.default_memory_pool().release_unused()
        used = np.zeros(len(files.images), bool)
        used[numbers] = True
        files.keep(path for path, named in zip(files.images, used) if named)
        bare = {} if used.all() or named else self._unnamed(files, used, said.unique().to_pylist())
        splits = {}
        for split in said.unique().to_pylist():
            rows = pc.equal(said, split)
            part = {name: column.filter(rows) for name, column in columns.items()}
            splits[split] = Rows(Paths(files.images, numbers.filter(rows)), part)
        for split, paths in bare.items():
            splits[split] = Rows(paths, {name: pa.nulls(len(paths), column.type) for name, column in columns.items()})
        return datasets.Features({"image": datasets.Image()} | features), splits

    def _unnamed(self, files: Files, used: np.ndarray, named: list[str]) -> dict[str, list[str]]:
        """The images that no table names: those of a split without a table are rows without values, others are faults."""
        of, bare, lost = SplitFolders(files.images).of, {}, []
        for path, is_used in zip(files.images, used):
            if not is_used:
                split = of(path)
                (bare.setdefault(split, []) if split and split not in named else lost).append(path)
        for split, paths in bare.items():
            logger.warning("%s: no table names the images of %s: their columns are None", files.root, split)
            files.account(paths)
        if all(path.lower().endswith(".txt") for path in self.fits):  # a list chooses
            files.account(lost)
            if lost:
                logger.warning("%s: %d images are in no list, such as %s", files.root, len(lost), lost[0])
        else:
            leave_out(files, self.faults, lost, len(files.images), "are named in no table")
        return bare

    def _read(self, files: Files, places: Places, path: str, name: str, split: str | None) -> pa.Table:
        """A table with the columns `image`, a place in `files.images`, and `split`, and those of the file."""
        table, where = read_rows(files, path, name, self.faults), f"{files.root}/{path}"
        if name not in table.column_names:
            raise DataError(f"{where} has no column {short(name)} (it has {short(', '.join(table.column_names))})")
        names, table = table[name], table.drop_columns(name)
        with reading(f"{where}: the column {short(name)} holds {names.type}, not names of images"):
            names = names.cast(pa.string()).combine_chunks()
        pa.default_memory_pool().release_unused()  # reading took as much memory again as the table
        by_row = next(
            (each for each in table.column_names if each.lower() in SPLIT_COLUMNS and is_splits(table[each])), None
        )
        said = split or split_in(name_of(path)) or split_in(folder_of(path))
        if by_row and split is None:
            words = table[by_row].combine_chunks().dictionary_encode()
            said = pa.array([SPLITS[word.lower()] for word in words.dictionary.to_pylist()]).take(words.indices)
        names, table, said = gather_captions(names, table, said, where)
        images, faults = places.find(names, path, said, self.fits[path])
        for row, message in faults:
            with self.faults:
                raise DataError(f"{where}, row {row + 1}: {message}")
        splits = said if isinstance(said, pa.Array) else pa.repeat(said or "train", len(names))
        columns = {"image": images, "split": splits}
        # The columns that get a new name come last: else `image` would take `image_`.
        for column in sorted(table.column_names, key=lambda column: column in columns):
            if column != by_row:
                columns[free_name(column, columns)] = table[column]
        table = pa.table(columns)
        if images.null_count:
            table = table.filter(pc.is_valid(images))
            lost = set(splits.unique().to_pylist()) - set(table["split"].unique().to_pylist())
            if lost:
                raise DataError(f"{where}: no row of the split {min(lost)} can be read, such as {message}")
        return table

    def _columns(self, files: Files, table: pa.Table) -> tuple[dict, dict[str, pa.Array], str | None]:
        """The features and columns other than the image, and the list of class names that is used."""
        if FOLDER in table.column_names and (
            "label" in table.column_names or pc.count_distinct(table[FOLDER]).as_py() < 2
        ):
            table = table.drop_columns(FOLDER)
        table = table.rename_columns(["label" if name == FOLDER else name for name in table.column_names])
        rest = [name for name in table.column_names if name not in ("image", "split")]
        others = [name for name in rest if name.lower() not in FOLDS]
        label = self.config.label_column
        if label is None:
            label = next((name for like in LABELS for name in rest if name.lower() == like), None)
            label = label or (others[0] if len(others) == 1 and is_class(table[others[0]]) else None)
            label = None if label and is_multi_label(table[label]) else label
        elif label and label not in rest:
            raise DataError(f"{files.root}: there is no column {label} (there are {', '.join(rest)})")
        features, columns, used = {}, {}, None
        kinds = datasets.Features.from_arrow_schema(table.schema)
        for name in rest:
            column = table[name]
            if name == label and pa.types.is_string(column.type) and pc.any(pc.equal(column, "")).as_py():
                column = pc.if_else(pc.equal(column, ""), None, column)  # a missing label is not a class
            classes = as_class_label(column) if name == label else None
            if classes:
                features["label"], columns["label"] = classes
                lists = [path for path in files.having(".txt") if NAME_LISTS.fullmatch(name_of(path).lower())]
                names, used = class_names(files, lists, column)
                if used:
                    features["label"], columns["label"] = (
                        datasets.ClassLabel(names=names),
                        column.cast(pa.int64()).combine_chunks(),
                    )
            else:
                key = f"{name}_" if name == "label" and label not in (None, "", "label") else name
                features[key], columns[key] = kinds[name], column.combine_chunks()
        return features, columns, used

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}


class Paths:
    """The paths of rows as a sequence, without a Python object for each, beyond those of the listing.

    Attributes:
        images: all paths of images.
        numbers: the rows' places in it.
    """

    def __init__(self, images: list[str], numbers: pa.Array):
        self.images, self.numbers = images, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows):
        return (
            Paths(self.images, self.numbers[rows])
            if isinstance(rows, slice)
            else self.images[self.numbers[rows].as_py()]
        )

    def __reduce__(self):
        return list, ([self.images[number] for number in self.numbers.to_pylist()],)  # a worker needs no other paths
