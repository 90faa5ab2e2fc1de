"""Tables with a row for each box or run-length code: of Roboflow, TensorFlow, Keras-RetinaNet, VoTT and Kaggle."""

import itertools
import json
import re
from dataclasses import dataclass

import numpy as np

from dataset_scripts.core.builders.annotated import AnnotatedConfig
from dataset_scripts.core.builders.attributes import Attributes, is_missing
from dataset_scripts.core.builders.many import Entry, ManyBuilder
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import name_of, stem_of
from dataset_scripts.core.files.splits import SPLITS
from dataset_scripts.core.formats.csv_rows import csv_rows, head_rows
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.shapes import Annotation, Shape
from dataset_scripts.layouts.csv_boxes.columns import Columns
from dataset_scripts.layouts.csv_boxes.record import record_of

PRECEDENCE = 2
SUFFIXES = (".csv", ".tsv")
SUBMISSION = re.compile(r"(.*[_\-. ])?(sample_?)?submission.*", re.IGNORECASE)


@dataclass
class CsvBoxesConfig(AnnotatedConfig):
    """Options of `load_dataset("csv_boxes", data_dir=…)`.

    Attributes:
        relative: the boxes are fractions of the image, not pixels.
        bbox: what a column `bbox` holds: "xywh", or "xyxy", two corners.
        order: how run-length codes count pixels: down the "columns", as on Kaggle, or along the "rows". None takes columns,
            and refuses codes that look as if they were counted along the rows.
    """

    relative: bool = False
    bbox: str = "xywh"
    order: str | None = None


def matches(files):
    """Tables with the columns of boxes or run-length codes, and names of images."""
    return CsvBoxes.matches_by_content(files)


class CsvBoxes(ManyBuilder):
    BUILDER_CONFIG_CLASS = CsvBoxesConfig
    SUFFIXES = SUFFIXES
    IS_POLYGONAL = False

    @classmethod
    def is_annotation(cls, content):
        first = next(head_rows(content), None)
        return first is not None and Columns.of(first) is not None

    @classmethod
    def annotation_files(cls, files, config):
        found = super().annotation_files(files, config)
        if config.annotations is not None:
            return found
        known = {name for path in files.images for name in (name_of(path), stem_of(path))}
        return [
            path
            for path in found
            if not SUBMISSION.fullmatch(name_of(path)) and not known.isdisjoint(names_in(files.peek(path)))
        ]

    def annotations(self, files, images):
        if self.config.bbox not in ("xywh", "xyxy"):
            raise DataError(f"bbox={self.config.bbox!r}: it is 'xywh' or 'xyxy'")
        if self.config.order not in (None, "columns", "rows"):
            raise DataError(f"order={self.config.order!r}: it is 'columns' or 'rows'")
        self.tables: dict[str, str] = {}  # kind of rows -> a table
        self.numbers: dict[str, int] = {}  # of classes, if a table of Keras-RetinaNet has them
        self.attributes = Attributes(of_text=True)
        found = list(super().annotations(files, images))
        if len(self.tables) > 1:
            both = " and ".join(f"{path} holds {kind}" for kind, path in sorted(self.tables.items()))
            raise DataError(f"{files.root}: {both}: choose one by annotations=…")
        self.OBJECT_COLUMNS = self.attributes.features()
        yield from found

    def entries(self, files, path):
        where = f"{files.root}/{path}"
        rows = csv_rows(files, path, self.faults)
        line, header = next(rows, (0, []))
        columns = Columns.of(header)
        if columns is None:
            raise DataError(f"{where} has no columns of boxes or codes of images, but {short(', '.join(header))}")
        self.tables.setdefault(columns.kind, path)
        if not columns.has_header:
            rows = itertools.chain([(line, header)], rows)
            self.numbers = self.numbers or class_numbers(files)
        groups: dict[str, list[str]] = {}  # name -> the json texts of its rows
        splits: dict[str, str] = {}
        for number, (line, row) in enumerate(rows):
            if not number:
                columns.settle(row, header)
            with self.faults, reading(f"{where}, line {line}"):
                name, label = columns.name_and_label(row)
                if is_missing(name):
                    raise DataError(f"{where}, line {line}: it names no image: {short(', '.join(row))}")
                if (fault := columns.fault(row)) is None:
                    self.attributes.see(columns.attributes(row))
                record = [line, fault] if fault else [line, *record_of(columns, row, label, self.config, self.numbers)]
                if columns.split is not None and not record[1]:
                    word = row[columns.split].lower()
                    if word not in SPLITS or splits.setdefault(name, SPLITS[word]) != SPLITS[word]:
                        record[1] = f"its split is {short(word)}, and that of its image {splits.get(name, 'unknown')}"
                groups.setdefault(name, []).append(json.dumps(record))
        for name, records in self._by_image(groups, splits, path).items():
            line = records[0][1:].partition(",")[0]
            yield Entry(name, f"[{','.join(records)}]".encode(), f"{where}, line {line}", splits.get(name))

    def _by_image(self, groups, splits, path):
        """The rows of names that mean the same image together, under the first of these."""
        first: dict[str, str] = {}  # image -> name
        for name in list(groups):
            try:
                image = self._named.find(name, path, "")
            except DataError:  # which is raised in its place
                continue
            before = first.setdefault(image, name)
            if before != name:
                groups[before] += groups.pop(name)
                if splits.get(before) != splits.get(name):
                    fault = f"{short(name)} and {short(before)} are the same image in two splits"
                    groups[before].append(json.dumps([json.loads(groups[before][-1])[0], fault]))
        return groups

    def parse(self, content, where):
        shapes, sizes = [], set()
        for line, fault, *values in parse_json(content, where):
            if fault:
                raise DataError(f"{where}, line {line}: {fault}")
            label, place, size, more = values
            if len(size) == 2:
                sizes.add(tuple(size))
            if len(sizes) > 1:
                raise DataError(f"{where}, line {line}: the image has another size in a row before it")
            if not place:
                continue
            if is_missing(label):
                raise DataError(f"{where}, line {line}: the object has no class")
            more = self.attributes.values(more)
            if isinstance(place, str):
                runs = np.array(place.split(), dtype=np.int64).reshape(-1, 2) - [1, 0]  # pixels are counted from 1
                shapes.append(Shape(label, "runs", np.empty((0, 2)), more, runs=runs, order=self.config.order))
            else:
                shapes.append(Shape(label, "box", np.array(place).reshape(2, 2), more))
        return Annotation(shapes, next(iter(sizes), None), is_relative=self.config.relative)

    def categories(self, used):
        if self.numbers:
            return sorted(self.numbers, key=self.numbers.__getitem__)
        are_numbers = all(name.isdecimal() for name in used)
        return sorted(used, key=lambda name: (int(name), name)) if are_numbers else sorted(used)


def names_in(content):
    """The names of images, or their stems, in the first rows of a table."""
    rows = list(head_rows(content))
    columns = Columns.of(rows[0]) if rows else None
    return {name_of(columns.name_and_label(row)[0].replace("\\", "/")) for row in rows} if columns else set()


def class_numbers(files):
    """The number of each class, of a table of classes as Keras-RetinaNet has it: name,number without a header."""
    for path in files.having(*SUFFIXES):
        if (first := next(head_rows(files.peek(path)), [])) and is_class(first):
            rows = [row for _, row in csv_rows(files, path)]
            numbers = {row[0]: int(row[1]) for row in rows if is_class(row)}
            if len(numbers) < len(rows):
                continue
            if sorted(numbers.values()) == list(range(len(numbers))):
                files.account([path])
                return numbers
    return {}


def is_class(row):
    return len(row) == 2 and bool(row[0]) and bool(re.fullmatch(r"\d{1,9}", row[1], re.ASCII))
