"""The rows of tables and lists, as Arrow tables."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from dataset_scripts.core.builders.tables import read_table
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import IMAGE_SUFFIXES, Files
from dataset_scripts.core.files.splits import SPLITS
from dataset_scripts.core.formats.fields import short, table_of
from dataset_scripts.core.formats.json_stream import FAULTY, Element, records
from dataset_scripts.core.formats.text_table import MAX_LINE, sound_text

ENDINGS = "|".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
LINE = rf"(?s)^(?P<file_name>.*?\.(?i:{ENDINGS})|[^\s,;]+)(?:\s*[\s,;]\s*(?P<label>.*))?$"  # of a list: a path, then a label
FOLDER = "\0folder"  # a column: the folders of images that a list names without labels


def read_rows(files: Files, path: str, name: str, faults: Faults | None = None) -> pa.Table:
    """The whole table; the column of names stays text. A single row's fault is raised in `faults`.

    Raises:
        DataError: it cannot be read as a table.
    """
    suffix = path.lower().rpartition(".")[2]
    if suffix == "txt":
        return read_list(files, path, faults)
    if suffix != "json":
        return read_table(files, path, [name], faults)
    where = f"{files.root}/{path}"
    with reading(f"{where}: cannot be read as a table"), files.open(path) as file:
        return table_of(_objects(records(file, where, faults), f"{where}: cannot be read as a table"), where, faults)


def _objects(elements: Iterator[Element], where: str) -> Iterator[tuple[Any, str, int]]:
    """The objects of a list, or an object for each member of an object whose keys are file names."""
    for row, (key, value, text, line) in enumerate(elements, 1):
        if value is not FAULTY:
            yield (
                value if key is None else {"file_name": key, "label": value},
                f"{where}: line {line}, row {row}",
                len(text),
            )


def read_list(files: Files, path: str, faults: Faults | None = None) -> pa.Table:
    """A list: one path per line, with or without a label; without labels the folder may be the class.

    A single line's fault is raised in `faults`, including a missing label if most lines have one.
    """
    where = f"{files.root}/{path}"
    with reading(f"{where}: cannot be read as a list"), files.open(path) as opened:
        file = sound_text(opened, where, faults, quotes=False)
        lines = pa.csv.read_csv(
            file,
            read_options=pa.csv.ReadOptions(column_names=["line"], block_size=MAX_LINE, use_threads=False),
            parse_options=pa.csv.ParseOptions(delimiter="\x1f", quote_char=False),
            convert_options=pa.csv.ConvertOptions(column_types={"line": pa.string()}),
        )["line"]
    lines = pc.utf8_trim_whitespace(lines).combine_chunks()
    lines = lines.filter(pc.not_equal(lines, ""))
    parts = pc.extract_regex(lines, LINE)
    bare = pc.and_(parts.is_valid(), pc.fill_null(pc.equal(parts.field("label"), ""), False))
    labelled = pc.and_not(parts.is_valid(), bare)
    has_labels = labelled.true_count > 0 and labelled.true_count >= bare.true_count
    fewer = bare if has_labels else labelled
    what = "without a label, which the others have" if has_labels else "with a label, which the others do not have"
    wrong = pc.or_(parts.is_null(), fewer)
    for odd in np.flatnonzero(wrong.to_numpy(zero_copy_only=False)).tolist():
        said = (
            f"there is a path {what}"
            if fewer[odd].as_py()
            else f"{short(lines[odd].as_py())} is not a path and a label"
        )
        with faults or nullcontext():
            raise DataError(f"{where}, row {odd + 1}: {said}")
    parts = parts.filter(pc.invert(wrong))
    names, labels = parts.field("file_name"), parts.field("label")
    if has_labels:
        whole = pc.all(pc.match_substring_regex(labels, r"^-?\d{1,18}$")).as_py()
        return pa.table({"file_name": names, "label": labels.cast(pa.int64()) if whole else labels})
    folders = pc.replace_substring_regex(names, "/?[^/]*$", "").dictionary_encode()
    said = [
        [part for part in folder.split("/") if part.lower() not in (*SPLITS, ".")]
        for folder in folders.dictionary.to_pylist()
    ]
    classes = pa.array(["/".join(parts) for parts in said], pa.string()).take(folders.indices)
    return pa.table({"file_name": names, FOLDER: classes})


def is_splits(column: pa.ChunkedArray) -> bool:
    """Whether all values are names of splits."""
    words = pc.unique(column).to_pylist() if pa.types.is_string(column.type) else [None]
    return all(isinstance(word, str) and word.lower() in SPLITS for word in words)


def is_class(column: pa.ChunkedArray) -> bool:
    """Whether a column holds words or whole numbers, some of them twice."""
    if not (pa.types.is_string(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        return False
    return pc.count_distinct(column).as_py() <= max(2, len(column) // 2)


def is_multi_label(column: pa.ChunkedArray) -> bool:
    """Whether words are separate labels: `a|b`, or `haze water` if words are at most half as many as combinations."""
    if not pa.types.is_string(column.type):
        return False
    values = pc.unique(column).drop_null()
    words = pc.list_flatten(pc.split_pattern_regex(values, r"[ |]+"))
    return pc.any(pc.match_substring(values, "|")).as_py() or 2 * pc.count_distinct(words).as_py() <= len(values)


def class_names(files: Files, lists: list[str], column: pa.ChunkedArray) -> tuple[list[str], str | None]:
    """The names in a list of classes, and the list, if labels are numbers from 0 and all have a name."""
    if not pa.types.is_integer(column.type) or column.null_count == len(column) or pc.min(column).as_py() < 0:
        return [], None
    for path in lists:
        names = [line.strip() for line in files.read(path).decode("utf-8-sig", "replace").splitlines() if line.strip()]
        if pc.max(column).as_py() < len(names) == len(set(names)):
            return names, path
    return [], None


def check_overlap(files: Files, tables: dict[str, pa.Table]) -> None:
    """Checks that no image occurs twice in a split, as with folds (train1.txt, train2.txt) and variants of a list.

    Raises:
        DataError: naming two such tables.
    """
    before: dict[str, list[tuple[str, pa.ChunkedArray]]] = {}
    for path, table in tables.items():
        for split in pc.unique(table["split"]).to_pylist() if len(tables) > 1 else []:
            images = table["image"].filter(pc.equal(table["split"], split))
            for other, earlier in before.setdefault(split, []):
                both = images.filter(pc.is_in(images, earlier))
                if len(both):
                    raise DataError(
                        f"{files.root}: {other} and {path} both name {files.images[both[0].as_py()]} for {split}: "
                        f"choose tables with data_files={{{split!r}: {path!r}}}"
                    )
            before[split].append((path, images))
