"""Open Images: boxes of many images in large tables, in fractions of the image, with the names of classes in another."""

from typing import ClassVar

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from dataset_scripts.core.builders.many import Entry, ManyBuilder
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.listing import stem_of
from dataset_scripts.core.formats.csv_rows import head_rows
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.image.shapes import Annotation, Shape
from dataset_scripts.layouts.openimages.company import read_company

logger = printable_logger(__name__)

PRECEDENCE = 2
SUFFIXES = (".csv",)
CORNERS = ("XMin", "YMin", "XMax", "YMax")
FLAGS = {
    "IsOccluded": "is_occluded",
    "IsTruncated": "is_truncated",
    "IsGroupOf": "is_group_of",
    "IsDepiction": "is_depiction",
    "IsInside": "is_inside",
}
NEEDED = ("ImageID", "LabelName", *CORNERS)
ROW = np.dtype([("row", "<i8"), ("label", "<i4"), ("confidence", "<f4"), ("box", "<f8", 4), ("flags", "i1", 5)])
UNREADABLE = -128  # a flag
NUMBER = r"^-?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?$"
BLOCK = 4 << 20  # bytes of a table that are read at once


def matches(files):
    """Tables with the columns of Open Images."""
    return Openimages.matches_by_content(files)


class Openimages(ManyBuilder):
    SUFFIXES = SUFFIXES
    IS_POLYGONAL = False
    OBJECT_COLUMNS: ClassVar = {
        "confidence": datasets.Value("float32"),
        **dict.fromkeys(FLAGS.values(), datasets.Value("bool")),
    }

    @classmethod
    def is_annotation(cls, content):
        return set(NEEDED) <= set(next(head_rows(content), []))

    def annotations(self, files, images):
        self.names = read_company(files)
        self.codes: list[str] = []  # of the classes of the boxes
        self.numbers: dict[str, int] = {}  # of the codes
        self.stems = pa.array(sorted({stem_of(path) for path in images}), pa.string())
        yield from super().annotations(files, images)
        self.stems = None  # workers need it no more

    def entries(self, files, path):
        where, faults = f"{files.root}/{path}", {}

        def on_odd_row(row):
            fault = f"{row.actual_columns} values, not {row.expected_columns}, in the row {short(row.text)}"
            faults.setdefault(row.text.partition(",")[0].strip('"'), fault)
            return "skip" if self.faults.skip else "error"

        parts, others, start = [], 0, 2  # a line for the names of columns
        with reading(where), files.open(path) as file:
            header = next(head_rows(files.peek(path)))
            wanted = [name for name in (*NEEDED, "Confidence", *FLAGS) if name in header]
            try:
                table = pa.csv.open_csv(
                    file,
                    pa.csv.ReadOptions(block_size=BLOCK, use_threads=False),
                    pa.csv.ParseOptions(invalid_row_handler=on_odd_row),
                    pa.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), include_columns=wanted),
                )
                for batch in table:
                    keys = pc.fill_null(pc.index_in(batch["ImageID"], self.stems), -1).to_numpy()
                    kept = np.flatnonzero(keys >= 0)
                    others += len(keys) - len(kept)
                    if len(kept):
                        parts.append((keys[kept], self._rows(batch.take(pa.array(kept)), kept + start)))
                    start += len(keys)
            except pa.ArrowInvalid:
                for fault in faults.values():
                    raise DataError(f"{where}: {fault}") from None
                raise
        if others:
            logger.warning("%s: %d boxes are on images that are not in %s, and left out", where, others, files.root)
        yield from self._by_image(parts, faults, where)

    def _rows(self, batch, numbers):
        """Some rows of a table as an array of ROW; what is not readable as NaN or UNREADABLE."""
        rows = np.zeros(len(batch), ROW)
        rows["row"] = numbers
        labels = batch["LabelName"].dictionary_encode()
        known = [self.numbers.setdefault(code, len(self.numbers)) for code in labels.dictionary.to_pylist()]
        self.codes = list(self.numbers)
        rows["label"] = np.array(known, np.int32)[labels.indices.to_numpy()]
        rows["box"] = np.stack([floats(batch[name]) for name in CORNERS], 1)
        rows["confidence"] = floats(batch["Confidence"]) if "Confidence" in batch.schema.names else 1
        for place, name in enumerate(FLAGS):
            flags = floats(batch[name]) if name in batch.schema.names else np.full(len(batch), -1.0)
            rows["flags"][:, place] = np.where(np.isin(flags, (-1, 0, 1)), flags, UNREADABLE)
        return rows

    def _by_image(self, parts, faults, where):
        """The rows of each image, and the images that a faulty row is about."""
        if parts:
            keys, rows = (np.concatenate(each) for each in zip(*parts))
            order = np.argsort(keys, kind="stable")
            keys, rows = keys[order], rows[order]
            borders = np.flatnonzero(np.diff(keys, prepend=-1, append=-1))
            for start, end in zip(borders[:-1].tolist(), borders[1:].tolist()):
                name = self.stems[int(keys[start])].as_py()
                part = f"!{faults.pop(name)}".encode() if name in faults else b" " + rows[start:end].tobytes()
                yield Entry(name, part, f"{where}, line {rows[start]['row']}")
        for name, fault in faults.items():
            yield Entry(name, f"!{fault}".encode(), where)

    def parse(self, content, where):
        if content.startswith(b"!"):
            raise DataError(f"{where}: {content[1:].decode()}")
        shapes = []
        for row, label, confidence, box, flags in np.frombuffer(content[1:], ROW).tolist():
            place, code = f"{where}, line {row}", self.codes[label]
            if self.names and code not in self.names:
                raise DataError(f"{place}: {short(code)} is not in the table of classes")
            left, top, right, bottom = box
            if not (0 <= left <= right <= 1.001 and 0 <= top <= bottom <= 1.001):
                raise DataError(
                    f"{place}: {', '.join(CORNERS)} are {short(box.tolist())}, not the corners of a box in fractions"
                )
            if confidence != confidence or UNREADABLE in flags:
                raise DataError(f"{place}: its Confidence is no number, or one of {', '.join(FLAGS)} is not 1, 0 or -1")
            more = {name: None if flag < 0 else bool(flag) for name, flag in zip(FLAGS.values(), flags)}
            points = np.array([[left, top], [right, bottom]])
            shapes.append(Shape(self.names.get(code, code), "box", points, more | {"confidence": float(confidence)}))
        return Annotation(shapes, is_relative=True)


def floats(column):
    """The numbers that a column of text stands for, float64; NaN for others."""
    fits = pc.fill_null(pc.match_substring_regex(column, NUMBER), False)
    return pc.if_else(fits, column, None).cast(pa.float64()).to_numpy(zero_copy_only=False)
