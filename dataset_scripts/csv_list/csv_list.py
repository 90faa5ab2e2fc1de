"""Tables and lists that name images, as on Kaggle: train.csv, labels.tsv, annotations.json, train.txt beside the images."""

import csv
import io
import json
import logging
import re
from collections import Counter
from dataclasses import dataclass

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files import Files, folder_of, is_image, name_of
from dataset_scripts.core.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.splits import SPLITS, split_in
from dataset_scripts.core.tables import as_class_label, read_table
from dataset_scripts.csv_list.names import Places

logger = logging.getLogger(__name__)

PRECEDENCE = 1
PEEK = 1 << 14  # bytes of a table that tell what it is
KINDS = (".csv", ".tsv", ".jsonl", ".json", ".txt")
OTHERS = re.compile(r"metadata\.(csv|jsonl|parquet)|sample_?submission.*|(read.?me|licen[cs]e|requirements).*|dataset_infos?\.json")
NAME_LISTS = re.compile(r"(class(es)?(_?names)?|labels?|categories|names|synsets|words)\.txt")
LABELS = ("label", "class", "target", "category", "labels", "class_name", "breed", "species", "diagnosis")
SPLIT_COLUMNS = ("split", "subset", "partition", "fold_name")


@dataclass
class CsvListConfig(LayoutConfig):
    """Options of `load_dataset("csv_list", data_dir=…)`; `data_files={"train": "train.csv"}` chooses the tables.

    Attributes:
        image_column: the column that names images; None finds the one whose values do.
        label_column: the column that becomes `label`; "" for none. None takes the one called like it, else the only
            other one that holds words or whole numbers, some of them twice.
    """

    image_column: str | None = None
    label_column: str | None = None


def matches(files):
    """Tables and lists, at most 50, of which a column names images."""
    if not files.images:
        return None
    places, found = None, []
    for path in candidates(files):
        places = places or Places(files)
        if image_column(places, path, head(files, path)):
            found.append(path)
    return f"{len(files.images)} images, named in {', '.join(found[:6])}" if found else None


def candidates(files: Files) -> list[str]:
    """Files that may be tables: not more than 50 in a folder, where they would describe an image each."""
    paths = [path for path in files.having(*KINDS) if not OTHERS.fullmatch(name_of(path).lower())]
    paths = [path for path in paths if not NAME_LISTS.fullmatch(name_of(path).lower())]
    crowd = Counter(map(folder_of, paths))
    stems = {path.rpartition(".")[0] for path in files.images}
    return [path for path in paths if crowd[folder_of(path)] <= 50 and path.rpartition(".")[0] not in stems]


def head(files: Files, path: str) -> dict[str, list[str]]:
    """The first values of each column, as text."""
    with files.open(path) as file:
        text = file.read(PEEK)
        whole = len(text) < PEEK
    lines = text.decode("utf-8-sig", "replace").splitlines()
    lines = lines if whole else lines[:-1]
    suffix = path.lower().rpartition(".")[2]
    if suffix in ("csv", "tsv"):
        rows = list(csv.DictReader(lines, delimiter="\t" if suffix == "tsv" else ","))
    elif suffix == "jsonl":
        try:
            rows = [json.loads(line) for line in lines if line.strip()]
        except ValueError:
            return {}
    elif suffix == "json":
        records = re.findall(r"\{[^{}]*\}", text.decode("utf-8", "replace")) if text.lstrip().startswith(b"[") else []
        try:
            rows = [json.loads(record) for record in records]
        except ValueError:
            return {}
        if text.lstrip().startswith(b"{"):
            rows = [{"file_name": name, "label": ""} for name in re.findall(r'"([^"]+)"\s*:\s*["\d]', text.decode("utf-8", "replace"))]
    else:
        rows = [dict(zip(("file_name", "label"), split_line(line))) for line in lines if line.strip()]
    rows = [row for row in rows if isinstance(row, dict)][:200]
    columns = dict.fromkeys(str(name) for row in rows for name in row)
    return {name: [str(row[name]) for row in rows if row.get(name) is not None] for name in columns}


def split_line(line: str) -> list[str]:
    """A line of a list: a path, and what follows it, if anything."""
    line = line.strip()
    parts = re.split(r"[\t,;]\s*", line, maxsplit=1) if re.search(r"[\t,;]", line) else line.split(maxsplit=1)
    return [line] if is_image(line) else parts


def image_column(places: Places, path: str, columns: dict[str, list[str]]) -> str | None:
    """The column most of whose first values name images; None where there is none."""
    split = split_in(name_of(path))
    found = {name: places.share(values, split) for name, values in columns.items() if values}
    best = max(found, key=found.get, default=None)
    return best if best is not None and found[best] > 0.5 else None


class CsvList(LayoutBuilder):
    BUILDER_CONFIG_CLASS = CsvListConfig
    TAKES_DATA_FILES = True

    def index(self, files):
        places, tables, ignored = Places(files), {}, []
        named = {path: split for split, paths in self.named_files().items() for path in paths}
        for path in named or candidates(files):
            columns = head(files, path)
            name = self.config.image_column or image_column(places, path, columns)
            if name in columns:
                tables[path] = self._read(files, places, path, name, named.get(path))
            elif named:
                raise DataError(f"{files.root}/{path} has no column that names images (it has {', '.join(columns)})")
            else:
                ignored.append(path)
        ignored += [path for path in files.paths if name_of(path).lower().startswith("sample")]
        if ignored:
            logger.warning("%s: %d other tables name no images of it and are ignored, such as %s", files.root, len(ignored), ignored[0])
        if not tables:
            raise DataError(f"{files.root} has no table with a column that names its images: pass image_column=…")
        try:
            whole = pa.concat_tables(tables.values(), promote_options="permissive")
        except pa.ArrowException as error:
            raise DataError(f"{files.root}: the columns of {', '.join(tables)} do not agree: {error}") from error
        unnamed = len(files.images) - pc.count_distinct(whole["image"]).as_py()
        if unnamed > 0:
            logger.warning("%s: %d images are named in no table and left out", files.root, unnamed)
        features, columns = self._columns(files, whole)
        splits = {}
        for split in pc.unique(whole["split"]).to_pylist():
            rows = pc.indices_nonzero(pc.equal(whole["split"], split))
            samples = whole["image"].take(rows).combine_chunks()
            splits[split] = Rows(Paths(samples), {name: column.take(rows) for name, column in columns.items()})
        return datasets.Features({"image": datasets.Image()} | features), splits

    def _read(self, files: Files, places: Places, path: str, name: str, split: str | None) -> pa.Table:
        """A table with the columns `image`, a path of the listing, and `split`, and those of the file."""
        table = read_rows(files, path, name)
        names = table[name].cast(pa.string()).combine_chunks()
        said = split or split_in(name_of(path)) or split_in(folder_of(path))
        images, faults = places.find(names, said)
        kept = pc.is_valid(images)
        for row, message in faults:
            with self.faults:
                raise DataError(f"{files.root}/{path}, row {row + 1}: {message}")
        columns = {"image": images, "split": pa.array([said or "train"] * len(table)) if len(table) else pa.array([], pa.string())}
        for column in table.column_names:
            if column.lower() in SPLIT_COLUMNS and split is None and is_splits(table[column]):
                words = pc.unique(table[column]).to_pylist()
                place = pc.index_in(table[column].combine_chunks(), pa.array(words))
                columns["split"] = pa.array([SPLITS[word.lower()] for word in words]).take(place)
            elif column != name:
                columns[f"{column}_" if column in ("image", "split") else column] = table[column]
        return pa.table(columns).filter(kept)

    def _columns(self, files: Files, table: pa.Table) -> tuple[dict, dict[str, pa.Array]]:
        rest = [name for name in table.column_names if name not in ("image", "split")]
        label = self.config.label_column
        if label is None:
            label = next((name for name in rest if name.lower() in LABELS), None)
            wordy = [name for name in rest if is_class(table[name])]
            label = label or (wordy[0] if len(wordy) == 1 and len(rest) == 1 else None)
        elif label and label not in rest:
            raise DataError(f"{files.root}: there is no column {label} (there are {', '.join(rest)})")
        features, columns = {}, {}
        kinds = datasets.Features.from_arrow_schema(table.schema)
        for name in rest:
            classes = as_class_label(table[name]) if name == label else None
            if classes:
                features["label"], columns["label"] = classes
                if names := class_names(files, features["label"].names):
                    features["label"] = datasets.ClassLabel(names=names)
                    columns["label"] = table[name].cast(pa.int64()).combine_chunks()
            else:
                key = f"{name}_" if name == "label" and label not in (None, "label") else name
                features[key], columns[key] = kinds[name], table[name].combine_chunks()
        return features, columns

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}


class Paths:
    """A column of paths as a sequence: of a million, none is a Python object before it is read."""

    def __init__(self, column: pa.Array):
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, rows):
        return Paths(self.column[rows]) if isinstance(rows, slice) else self.column[rows].as_py()


def read_rows(files: Files, path: str, name: str) -> pa.Table:
    """The whole table; the column of names stays text."""
    suffix = path.lower().rpartition(".")[2]
    if suffix in ("csv", "tsv", "jsonl"):
        return read_table(files, path, text_columns=[name])
    where = f"{files.root}/{path}"
    if suffix == "json":
        try:
            content = json.loads(files.read(path))
            if isinstance(content, dict):
                return pa.table({"file_name": list(content), "label": list(content.values())})
            return pa.Table.from_pylist(content)
        except (ValueError, AttributeError, TypeError, pa.ArrowException) as error:
            raise DataError(f"{where}: cannot be read as a table: {error}") from error
    lines = [split_line(line) for line in io.StringIO(files.read(path).decode("utf-8-sig", "replace")) if line.strip()]
    lengths = {len(line) for line in lines}
    if len(lengths) > 1:
        odd = next(row for row, line in enumerate(lines) if len(line) == min(lengths))
        raise DataError(f"{where}, row {odd + 1}: a path without a label, which others have")
    names = pa.array([line[0] for line in lines])
    if lengths == {1}:  # the folder is the class, as in apple_pie/1005649
        folders = pa.array([line[0].rpartition("/")[0] for line in lines])
        return pa.table({"file_name": names} | ({"label": folders} if pc.count_distinct(folders).as_py() > 1 else {}))
    labels = [line[1] for line in lines]
    whole = all(re.fullmatch(r"-?\d+", label) for label in labels)
    return pa.table({"file_name": names, "label": pa.array([int(label) for label in labels] if whole else labels)})


def is_splits(column: pa.ChunkedArray) -> bool:
    words = pc.unique(column).to_pylist() if pa.types.is_string(column.type) else [None]
    return all(isinstance(word, str) and word.lower() in SPLITS for word in words)


def is_class(column: pa.ChunkedArray) -> bool:
    """Whether a column holds words or whole numbers, some of them twice."""
    if not (pa.types.is_string(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        return False
    return pc.count_distinct(column).as_py() <= max(2, len(column) // 2)


def class_names(files: Files, numbers: list[str]) -> list[str] | None:
    """The names in a list beside the table, where labels are numbers from 0 that they are enough for."""
    if not all(re.fullmatch(r"\d+", number) for number in numbers):
        return None
    for path in files.paths:
        if NAME_LISTS.fullmatch(name_of(path).lower()):
            names = [line.strip() for line in files.read(path).decode("utf-8", "replace").splitlines() if line.strip()]
            if max(map(int, numbers)) < len(names) == len(set(names)):
                return names
    return None
