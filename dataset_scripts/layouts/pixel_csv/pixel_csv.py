"""Tables whose rows are images: MNIST as csv, Kaggle's digits, EMNIST, Sign Language MNIST, FER2013."""

import re
from dataclasses import dataclass

import datasets
import numpy as np
import pyarrow as pa

from dataset_scripts.core.builders.arrays import ArrayBuilder, ArrayConfig, Part, choose, keep_only
from dataset_scripts.core.builders.layout import Rows
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.listing import Files, folder_of, stem_of
from dataset_scripts.core.files.splits import SPLITS, split_in
from dataset_scripts.core.formats.fields import brief, short
from dataset_scripts.layouts.idx.idx import mapped_names
from dataset_scripts.layouts.pixel_csv.table import Form, PixelRows, form_of, scan, shape_of

logger = printable_logger(__name__)

PRECEDENCE = 2
SUFFIXES = (".csv", ".tsv")
HEAD = 1 << 18  # bytes that hold the first two rows
MOST = 50  # tables that are looked at
PICTURES = 4  # images beside the tables, such as a figure; a set with more is about these
USAGE = {"training": "train", "publictest": "validation", "privatetest": "test"}  # of FER2013

KINDS = (  # of columns: their type, what their values look like, and how these are made
    (pa.int64(), r"-?\d{1,18}", int),
    (pa.float64(), r"-?\d{1,15}(\.\d{0,15})?(e-?\d{1,2})?", float),
    (pa.string(), r".*", str),
)


@dataclass
class PixelCsvConfig(ArrayConfig):
    """Options of `load_dataset("pixel_csv", data_dir=…)`; if a folder holds several sets, the name of one comes first.

    Attributes:
        size: (height, width) of the images, if they are no squares.
        transpose: swap height and width; None does so for EMNIST, whose pictures are stored on their side.
    """

    size: tuple[int, int] | None = None
    transpose: bool | None = None


def matches(files):
    """Tables whose columns are pixels."""
    if len(files.images) > PICTURES:
        return None
    sets = find_sets(files)
    found = [(path, form) for tables in sets.values() for _, path, form in tables]
    if not found:
        return None
    some = ", ".join(path for path, _ in found[:4]) + " …" * (len(found) > 4)
    return f"{len(found)} tables of {found[0][1].count} pixels a row, {some}"


def find_sets(files: Files) -> dict[str, list[tuple[str, str, Form]]]:
    """Set -> split, path and form of each table. A set is named by folder and file name, without the split."""
    sets: dict[str, list[tuple[str, str, Form]]] = {}
    for path in files.having(*SUFFIXES)[:MOST]:
        content = files.peek(path, HEAD)
        lines = [line for line in content.split(b"\n") if line.strip()][:3]
        if (form := form_of(lines)) is None:
            continue
        folders = folder_of(path).split("/") if folder_of(path) else []
        words = re.split(r"[-_. ]+", stem_of(path))
        split = split_in(stem_of(path))
        if split is None and folders and folders[-1].lower() in SPLITS:
            split = SPLITS[folders.pop().lower()]
        name = "-".join(filter(None, folders + [word for word in words if split_in(word) is None]))
        sets.setdefault(name, []).append((split or "train", path, form))
    return sets


class PixelCsv(ArrayBuilder):
    BUILDER_CONFIG_CLASS = PixelCsvConfig
    CHOOSES_BY_NAME = True

    def index(self, files):
        self._check_size()
        sets = find_sets(files)
        found = choose(
            files, {name or "pixel_csv": tables for name, tables in sets.items()}, self.config.name, "pixel_csv"
        )
        name = next(name for name, tables in sets.items() if tables is found)
        turn = "emnist" in name.lower() if self.config.transpose is None else self.config.transpose
        if turn and self.config.transpose is None:
            logger.warning("%s: pictures of EMNIST are turned upright: transpose=False keeps them", files.root)
        splits: dict[str, list[tuple[Part, dict]]] = {}
        for parts in self.readable(found, lambda table: self._parts(files, turn, *table)):
            for split, part, extras in parts:
                splits.setdefault(split, []).append((part, extras))
        mapping = next((path for path in files.having("-mapping.txt") if name and f"{name}-mapping" in path), None)
        keep_only(files, {path for _, path, _ in found} | ({mapping} if mapping else set()))
        names = self.config.classes or (mapping and mapped_names(files, mapping))
        parts = {split: [part for part, _ in both] for split, both in splits.items()}
        features, rows = self.assemble(files, parts, {"label": names})
        columns = extra_columns(rows, [extras for both in splits.values() for _, extras in both])
        return datasets.Features(
            features
            | {name: datasets.features.features.generate_from_arrow_type(kind) for name, kind in columns.items()}
        ), rows

    def _check_size(self) -> None:
        size = self.config.size
        if size is None:
            return
        if not isinstance(size, (list, tuple)) or len(size) != 2 or not all(type(n) is int and n > 0 for n in size):
            raise DataError(f"size={brief(size)} is not (height, width) in pixels")

    def _parts(self, files: Files, turn: bool, split: str, path: str, form: Form) -> list[tuple[str, Part, dict]]:
        """The rows of a table: one part, or one for each split that a column names."""
        where = f"{files.root}/{path}"
        with reading(where):
            shape = shape_of(form.count, self.config.size)
        with files.open(path) as file:
            places, values = scan(file, where, form, self.faults)
        if not len(places):
            raise DataError(f"{where} has no rows")
        labels = {"label": as_labels(values.pop("label"), places, where)} if "label" in values else {}
        said = values.pop("split", None)
        parts = {split: None}
        if said is not None:
            kinds = {word: USAGE.get(word.lower()) or SPLITS.get(word.lower()) for word in dict.fromkeys(said)}
            odd = next((word for word, kind in kinds.items() if kind is None), None)
            if odd is not None:
                number = places[said.index(odd), 1]
                raise DataError(f"{where}, row {number}: {short(odd) or 'nothing'} is not the name of a split")
            splits = np.array([kinds[word] for word in said])
            parts = {kind: np.flatnonzero(splits == kind) for kind in dict.fromkeys(kinds.values())}
        source = (path, form, places, shape, turn)
        return [(kind, Part(source, len(places), dict(labels), path, rows), values) for kind, rows in parts.items()]

    def open_images(self, files, source):
        path, *rest = source
        return PixelRows(files.open(path), f"{files.root}/{path}", *rest)


def as_labels(values: list[str], places: np.ndarray, where: str) -> np.ndarray:
    """Labels as whole numbers, if all are some, or as text.

    Raises:
        DataError: one is missing, or some are numbers and others are not.
    """
    numbers = [re.fullmatch(r"-?\d{1,18}(\.0+)?", value) is not None for value in values]
    if all(numbers):
        return np.array([int(value.partition(".")[0]) for value in values], np.int64)
    empty = next((place for place, value in enumerate(values) if not value), None)
    odd = empty if empty is not None else numbers.index(False) if any(numbers) else None
    if odd is not None:
        said = f"the label {short(values[odd])} is no number, as others are" if values[odd] else "it has no label"
        raise DataError(f"{where}, row {places[odd, 1]}: {said}")
    return np.array(values)


def extra_columns(rows: dict[str, Rows], extras: list[dict[str, list[str]]]) -> dict[str, pa.DataType]:
    """Adds the columns that are neither pixels nor labels nor splits to rows; their types.

    Args:
        extras: the values of each part.
    """
    types = {}
    for name in dict.fromkeys(name for values in extras for name in values):
        texts = [values[name] if name in values else None for values in extras]
        known = {value for values in texts if values for value in values} - {""}
        fits = (kind for kind in KINDS if known and all(re.fullmatch(kind[1], value, re.DOTALL) for value in known))
        types[name], _, make = next(fits, KINDS[-1])
        for part in rows.values():
            said = [texts[number] and texts[number][row] for number, row in part.samples.tolist()]
            part.columns[name] = pa.array([make(value) if value else None for value in said], types[name])
    return types
