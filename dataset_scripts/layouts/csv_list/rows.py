"""The rows of tables and lists, as Arrow tables."""

import re
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from dataset_scripts.core.builders.tables import read_table
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import IMAGE_SUFFIXES, Files, is_image
from dataset_scripts.core.files.splits import SPLITS
from dataset_scripts.core.formats.fields import short, table_of
from dataset_scripts.core.formats.json_stream import FAULTY, Element, records
from dataset_scripts.core.formats.text_table import MAX_LINE, as_utf8, delimiter, read_csv, sound_text

logger = printable_logger(__name__)

ENDINGS = "|".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
LINE = rf"(?s)^(?P<file_name>.*?\.(?i:{ENDINGS})|[^\s,;]+)(?:\s*[\s,;]\s*(?P<label>.*))?$"  # of a list: a path, then a label
CAPTIONS = ("caption", "captions", "comment", "text", "description", "sentence")
BOXES = r"^\d+(,\d+){4}(\s+\d+(,\d+){4})*$"  # x1,y1,x2,y2,class of each
NUMBERS = r"^-?\d+(\.\d*)?([\s,;]+-?\d+(\.\d*)?){3,}$"
NUMBERED = r"^\d+\s+\S"
PARTITION = re.compile(r"partition|split|subset", re.IGNORECASE)
FOLDER = "\0folder"  # a column: the folders of images that a list names without labels


def read_rows(files: Files, path: str, name: str, faults: Faults | None = None) -> pa.Table:
    """The whole table; the column of names stays text. A single row's fault is raised in `faults`.

    Raises:
        DataError: it cannot be read as a table.
    """
    suffix = path.lower().rpartition(".")[2]
    if suffix == "txt":
        with files.open(path) as file:
            lines = as_utf8(file).read(1 << 14).decode("utf-8-sig", "replace").splitlines()
        if is_table(lines):
            return read_csv(files, path, [name], faults)
        return read_counted(files, path) if is_counted(lines) else read_list(files, path, faults)
    if suffix != "json":
        return read_table(files, path, [name], faults)
    where = f"{files.root}/{path}"
    with reading(f"{where}: cannot be read as a table"), files.open(path) as file:
        return table_of(_objects(records(file, where, faults), f"{where}: cannot be read as a table"), where, faults)


def check_numbered(files: Files, names: pa.Array, where: str) -> None:
    """
    Raises:
        DataError: all lines of a list have a number before the path, which would become a part of its folder, the class.
    """
    if len(names) and pc.all(pc.match_substring_regex(names, NUMBERED)).as_py():
        first = names[0].as_py()
        if not any(f"/{path}".endswith(f"/{first}") for path in files.images):
            raise DataError(
                f"{where} has a number before each path, such as {short(first)}, as the lists of CUB-200 have: write them as a "
                "csv with a column of paths and a column for each of the other lists"
            )


def is_table(lines: list[str]) -> bool:
    """Whether a text file is a csv: its first line names columns, and the first values of the others are images."""
    mark = delimiter("", lines[0]) if lines else ","
    firsts = [line.split(mark)[0].strip(" \"'") for line in lines[:50] if line.strip()]
    return (
        len(firsts) > 1
        and mark in lines[0]
        and not is_image(firsts[0])
        and all(map(is_image, firsts[1:-1] or firsts[1:]))
    )


def is_counted(lines: list[str]) -> bool:
    """Whether a list begins with the number of its rows and a line of names, as those of CelebA do."""
    return len(lines) > 2 and lines[0].strip().isdigit() and not is_image(lines[1].split(maxsplit=1)[0])


def read_counted(files: Files, path: str) -> pa.Table:
    """A list of names and whole numbers below a count and a line of column names.

    Raises:
        DataError: a line has another number of values, or the count is wrong.
    """
    where = f"{files.root}/{path}"
    lines = files.read(path).decode("utf-8-sig").splitlines()
    names, rows = lines[1].split(), [line.split() for line in lines[2:] if line.strip()]
    if int(lines[0]) != len(rows):
        raise DataError(f"{where}: its first line counts {lines[0].strip()} rows, and there are {len(rows)}")
    for number, row in enumerate(rows, 3):
        if len(row) != len(names) + 1:
            raise DataError(f"{where}, line {number}: {len(row) - 1} values for the {len(names)} names of line 2")
    with reading(where):
        columns = {name: pa.array([int(row[place]) for row in rows]) for place, name in enumerate(names, 1)}
    return pa.table({"file_name": [row[0] for row in rows], **columns})


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
        file = sound_text(as_utf8(opened), where, faults, quotes=False)
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
    check_numbered(files, names, where)
    if has_labels:
        whole = pc.all(pc.match_substring_regex(labels, r"^-?\d{1,18}$")).as_py()
        if pc.all(pc.match_substring_regex(labels, BOXES)).as_py():
            raise DataError(
                f"{where} has boxes behind its paths (x1,y1,x2,y2,class, as keras-yolo3 reads them): "
                "load_dataset('box_lists', data_dir=…) reads them"
            )
        if pc.all(pc.match_substring_regex(labels, NUMBERS)).as_py():
            raise DataError(
                f"{where} has several numbers behind each path, such as {short(labels[0].as_py())}, which are not a class: "
                "write them as a csv whose first line names the columns"
            )
        said = pc.mean(pc.match_substring(labels, " ").cast(pa.float64())).as_py()
        if not whole and said > 0.5 and 2 * pc.count_distinct(labels).as_py() > len(labels):
            return pa.table({"file_name": names, "text": labels})  # captions or transcriptions: classes repeat
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


def gather_captions(
    names: pa.Array, table: pa.Table, split: str | pa.Array | None, where: str
) -> tuple[pa.Array, pa.Table, str | pa.Array | None]:
    """One row per image, with the list `captions`, of a table with several rows that each have a caption.

    Args:
        names: of the images.
        table: the other columns.
        split: of all rows, or of each.

    Returns:
        The same, unchanged if no image has several rows or there is no column of captions.
    """
    column = next((name for like in CAPTIONS for name in table.column_names if name.lower() == like), None)
    if column is None or not pa.types.is_string(table[column].type) or pc.count_distinct(names).as_py() == len(names):
        return names, table, split
    others = [name for name in table.column_names if name != column]
    if others:
        logger.warning(
            "%s: several rows name an image: of each row %s is read, not %s", where, column, ", ".join(others)
        )
    rows = pa.table({"name": names, "captions": table[column], "place": np.arange(len(names))})
    groups = rows.group_by("name", use_threads=False).aggregate([("captions", "list"), ("place", "min")])
    first = groups["place_min"].combine_chunks()
    split = split.take(first) if isinstance(split, pa.Array) else split
    return groups["name"].combine_chunks(), pa.table({"captions": groups["captions_list"]}), split


def join_partitions(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Tables without one that only says in which split each image is, as CelebA's 0, 1 and 2: it gives that of the others."""
    for path, table in tables.items():
        rest = [name for name in table.column_names if name not in ("image", "split", FOLDER)]
        by_column = not rest and pc.count_distinct(table["split"]).as_py() > 1
        if len(rest) == 1 and PARTITION.search(f"{path} {rest[0]}") and is_partition(table[rest[0]]):
            words = pa.array(["train", "validation", "test"])
            splits = words.take(table[rest[0]].combine_chunks().cast(pa.int64()))
        elif by_column:
            splits = table["split"].combine_chunks()
        else:
            continue
        others = {other: each for other, each in tables.items() if other != path}
        images = table["image"].combine_chunks()
        found = {other: pc.index_in(each["image"], images) for other, each in others.items()}
        if others and all(not places.null_count for places in found.values()):
            return {
                other: each.set_column(
                    each.column_names.index("split"), "split", pa.chunked_array([splits]).take(found[other])
                )
                for other, each in others.items()
            }
    return tables


def is_partition(column: pa.ChunkedArray) -> bool:
    """Whether all values are 0, 1 or 2, several of them."""
    return pa.types.is_integer(column.type) and set(pc.unique(column).to_pylist()) in ({0, 1}, {0, 2}, {0, 1, 2})


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
