"""Tables and lists that name images, as on Kaggle: train.csv, labels.tsv, annotations.json, train.txt beside the images."""

import csv
import json
import logging
import re
from collections import Counter
from dataclasses import dataclass

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files import Files, folder_of, is_image, name_of, stem_of
from dataset_scripts.core.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.splits import SPLITS, split_in
from dataset_scripts.core.tables import as_class_label
from dataset_scripts.csv_list.names import Places
from dataset_scripts.csv_list.rows import FOLDER, LINE, check_overlap, class_names, is_class, is_multi_label, is_splits, read_rows

logger = logging.getLogger(__name__)

PRECEDENCE = 1
PEEK = 1 << 14  # bytes of a table that tell what it is
KINDS = (".csv", ".tsv", ".jsonl", ".json", ".txt")
OTHERS = re.compile(r"metadata\.(csv|jsonl)|sample_?submission.*|(read.?me|licen[cs]e|requirements).*|dataset_infos?\.json")
NAME_LISTS = re.compile(r"(class(es)?(_?names)?|labels?|categories|names|synsets|words)\.txt")
LABELS = ("label", "class", "target", "category", "labels", "class_name", "breed", "species", "diagnosis")
SPLIT_COLUMNS = ("split", "subset", "partition")


@dataclass
class CsvListConfig(LayoutConfig):
    """Options of `load_dataset("csv_list", data_dir=…)`; `data_files={"train": "train.csv"}` chooses the tables.

    Attributes:
        image_column: the column that names images; None finds the one whose values do.
        label_column: the column that becomes `label`; "" for none. None takes the one called like it, else the only
            other one, where it holds words or whole numbers, some of them twice.
    """

    image_column: str | None = None
    label_column: str | None = None


def matches(files):
    """Tables and lists of which a column names images."""
    if not files.images:
        return None
    places, found = None, []
    for path in candidates(files):
        places = places or Places(files)
        if image_column(places, head(files, path)) is not None:
            found.append(path)
    return f"{len(files.images)} images, named in {', '.join(found[:6])}{' …' * (len(found) > 6)}" if found else None


def candidates(files: Files) -> list[str]:
    """Files that may be tables of images: of a folder's files not more than 50, and none that describes one image."""
    paths = [path for path in files.having(*KINDS) if not OTHERS.fullmatch(name_of(path).lower())]
    paths = [path for path in paths if not NAME_LISTS.fullmatch(name_of(path).lower())]
    wanted, crowd = set(map(stem_of, paths)), Counter(map(folder_of, paths))
    stems = {stem for path in files.images if (stem := stem_of(path)) in wanted} if wanted else set()
    # Where images have texts of their own (YOLO's boxes, captions), a list beside them only says which are in use.
    texts = any(path.lower().endswith(".txt") and stem_of(path) in stems for path in paths)
    return [
        path for path in paths
        if stem_of(path) not in stems and crowd[folder_of(path)] <= 50 and "ImageSets" not in path.split("/")
        and not (texts and path.lower().endswith(".txt"))
    ]  # fmt: skip


def head(files: Files, path: str) -> dict[str, list[str]]:
    """The first values of each column, as text."""
    with files.open(path) as file:
        content = file.read(PEEK)
    text = content.decode("utf-8-sig", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    lines = lines[:-1] if len(content) == PEEK else lines  # the last one is cut off
    suffix = path.lower().rpartition(".")[2]
    try:
        if suffix in ("csv", "tsv"):
            rows = list(csv.DictReader(lines, delimiter="\t" if suffix == "tsv" else ","))
        elif suffix == "jsonl":
            rows = [json.loads(line) for line in lines]
        elif suffix == "txt":
            rows = [{"file_name": found["file_name"]} for line in lines if (found := re.match(LINE, line.strip()))]
        elif text.lstrip().startswith("["):
            rows = [json.loads(record) for record in re.findall(r"\{[^{}]*\}", text)]
        else:
            rows = [{"file_name": name} for name in re.findall(r'"([^"]+)"\s*:\s*["\d]', text)]
    except (ValueError, RecursionError, csv.Error):
        return {}
    rows = [row for row in rows if isinstance(row, dict)][:200]
    columns = dict.fromkeys(name for row in rows for name in row if name is not None)
    return {name: [str(row[name]) for row in rows if row.get(name) is not None] for name in columns}


def image_column(places: Places, columns: dict[str, list[str]]) -> str | None:
    """The column most of whose first values name images; of several the one with suffixes, or the most varied."""
    found = [name for name, values in columns.items() if values and places.share(values) > 0.5]
    # An index (0, 1, …, as pandas writes it without a name) may be in a table of 0.png, 1.png, …, and classes 1 and 2.
    return max(found, key=lambda name: (sum(map(is_image, columns[name])), len(set(columns[name]))), default=None)


class CsvList(LayoutBuilder):
    BUILDER_CONFIG_CLASS = CsvListConfig
    TAKES_DATA_FILES = True

    def index(self, files):
        if not files.images:
            raise DataError(f"{files.root} has no images: pass the folder that holds tables and images as data_dir=…")
        places, columns = Places(files), {}
        named = {path: split for split, paths in self.named_files().items() for path in paths}
        for path in named or candidates(files):
            first = head(files, path)
            name = self.config.image_column or image_column(places, first)
            if name in first:
                columns[path] = name
            elif named:
                raise DataError(f"{files.root}/{path} has no column that names images (it has {', '.join(first)})")
        if not columns:
            raise DataError(f"{files.root} has no table with a column that names its images: pass image_column=…")
        tables = {path: self._read(files, places, path, name, named.get(path)) for path, name in columns.items()}
        check_overlap(files, tables)
        try:
            whole = pa.concat_tables(tables.values(), promote_options="permissive")
        except pa.ArrowException as error:
            raise DataError(f"{files.root}: the columns of {', '.join(tables)} do not agree: {error}") from error
        features, columns, used = self._columns(files, whole)
        others = [path for path in files.paths if not is_image(path) and path not in tables and path != used]
        if others:
            others.sort(key=lambda path: not path.lower().endswith(KINDS))
            logger.warning("%s: %d other files are ignored, such as %s", files.root, len(others), others[0])
        unnamed = len(files.images) - pc.count_distinct(whole["image"]).as_py()
        if unnamed:
            logger.warning("%s: %d images are named in no table and left out", files.root, unnamed)
        splits, numbers = {}, whole["image"].combine_chunks()
        for split in pc.unique(whole["split"]).to_pylist():
            rows = pc.equal(whole["split"], split).combine_chunks()
            part = {name: column.filter(rows) for name, column in columns.items()}
            splits[split] = Rows(Paths(files.images, numbers.filter(rows)), part)
        return datasets.Features({"image": datasets.Image()} | features), splits

    def _read(self, files: Files, places: Places, path: str, name: str, split: str | None) -> pa.Table:
        """A table with the columns `image`, a place in `files.images`, and `split`, and those of the file."""
        table, where = read_rows(files, path, name), f"{files.root}/{path}"
        twice = next((column for column, count in Counter(table.column_names).items() if count > 1), None)
        if twice is not None:
            raise DataError(f"{where} has two columns {twice!r}: rename one")
        if places.share([name]):
            raise DataError(f"{where}: its first line names the image {name}: put a line of column names before it")
        try:
            names = table[name].cast(pa.string()).combine_chunks()
        except pa.ArrowException:
            raise DataError(f"{where}: the column {name} holds {table[name].type}, not names of images") from None
        table = table.drop_columns(name)  # it is large
        said = split or split_in(name_of(path)) or split_in(folder_of(path))
        images, faults = places.find(names, path, said)
        for row, message in faults:
            with self.faults:
                raise DataError(f"{where}, row {row + 1}: {message}")
        columns = {"image": images, "split": pa.repeat(said or "train", len(names))}
        by_row = next((each for each in table.column_names if each.lower() in SPLIT_COLUMNS and is_splits(table[each])), None)
        if by_row and split is None:
            words = pc.unique(table[by_row])
            usual = pa.array([SPLITS[word.lower()] for word in words.to_pylist()])
            columns["split"] = usual.take(pc.index_in(table[by_row].combine_chunks(), words))
        for column in table.column_names:
            if column != by_row:
                columns[f"{column}_" if column in columns else column] = table[column]
        table = pa.table(columns)
        return table.filter(pc.is_valid(images)) if images.null_count else table

    def _columns(self, files: Files, table: pa.Table) -> tuple[dict, dict[str, pa.Array], str | None]:
        """Features and columns beside the image, and the list of class names that is used."""
        if FOLDER in table.column_names and ("label" in table.column_names or pc.count_distinct(table[FOLDER]).as_py() < 2):
            table = table.drop_columns(FOLDER)
        table = table.rename_columns(["label" if name == FOLDER else name for name in table.column_names])
        rest = [name for name in table.column_names if name not in ("image", "split")]
        label = self.config.label_column
        if label is None:
            label = next((name for like in LABELS for name in rest if name.lower() == like), None)
            label = label or (rest[0] if len(rest) == 1 and is_class(table[rest[0]]) else None)
            label = None if label and is_multi_label(table[label]) else label
        elif label and label not in rest:
            raise DataError(f"{files.root}: there is no column {label} (there are {', '.join(rest)})")
        features, columns, used = {}, {}, None
        kinds = datasets.Features.from_arrow_schema(table.schema)
        for name in rest:
            column = table[name]
            if name == label and pa.types.is_string(column.type):
                column = pc.if_else(pc.equal(column, ""), None, column)  # no label is no class
            classes = as_class_label(column) if name == label else None
            if classes:
                features["label"], columns["label"] = classes
                lists = [path for path in files.having(".txt") if NAME_LISTS.fullmatch(name_of(path).lower())]
                names, used = class_names(files, lists, column)
                if used:
                    features["label"], columns["label"] = datasets.ClassLabel(names=names), column.cast(pa.int64()).combine_chunks()
            else:
                key = f"{name}_" if name == "label" and label not in (None, "", "label") else name
                features[key], columns[key] = kinds[name], column.combine_chunks()
        return features, columns, used

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}


class Paths:
    """The paths of rows as a sequence: of a million, none is a Python object more than the listing has.

    Attributes:
        images: all paths of images.
        numbers: the rows' places in it.
    """

    def __init__(self, images: list[str], numbers: pa.Array):
        self.images, self.numbers = images, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows):
        return Paths(self.images, self.numbers[rows]) if isinstance(rows, slice) else self.images[self.numbers[rows].as_py()]

    def __reduce__(self):
        return list, ([self.images[number] for number in self.numbers.to_pylist()],)  # a worker needs no other path
