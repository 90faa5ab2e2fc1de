"""Images with captions in files of the same name: cat.png beside cat.txt, cat.caption or cat.json."""

import re
from dataclasses import dataclass
from typing import Any

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.class_folders import add_labels, folder_classes
from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, Reader, folder_of, is_image, stem_of
from dataset_scripts.core.files.pairs import join, name_splits
from dataset_scripts.core.files.splits import SplitFolders
from dataset_scripts.core.formats.fields import HEAD, Fields
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.features import List

logger = printable_logger(__name__)

PRECEDENCE = 1
SUFFIXES = (".txt", ".caption", ".json")
TEXTS = SUFFIXES[:2]
FIELDS = ("caption", "text", "prompt")  # of a json file; the first that exists is the caption
COLUMNS = ("image", "caption", "captions")
SAMPLE = 16  # files that are examined for whether they hold captions
PEEK = 1 << 12
NUMBERS = re.compile(r"(?<!\d)(?:-?\d++(?:\.\d++)?(?:e-?\d++)?[\s,]++){3}-?\d", re.IGNORECASE)  # four in a row: a box
NOTES = re.compile(r"(readme|licen[cs]e|notice|copyright|attribution)s?", re.IGNORECASE)


@dataclass
class CaptionsConfig(LayoutConfig):
    """Options of `load_dataset("captions", data_dir=…)`.

    Attributes:
        lines: every line of a text file is a separate caption: the column `captions`, a list, replaces `caption`.
    """

    lines: bool = False


def matches(files):
    """Images, most of which have a text file of the same name that is not a list of boxes."""
    if not files.having(*SUFFIXES):
        return None
    if any(archive.path.suffix.lower() != ".zip" for archive in files.mounts.values()):
        return None  # a tar of such pairs is a shard of a WebDataset
    images, texts, tables, ignored = find_texts(files)
    paired = [key for key in images if key in texts or key in tables]
    if not paired or 2 * len(paired) < len(images):
        return None
    sample = paired[:: max(1, len(paired) // SAMPLE)][:SAMPLE]
    lines, words = [], []
    for key in sample:
        path = (texts.get(key) or tables[key])[0]
        with files.open(path) as file:
            if key in texts:
                lines += [line for line in file.read(PEEK).decode("utf-8", "replace").splitlines() if line.strip()]
            else:
                words.append(has_caption(file.read()))
    if not all(words) or not (lines or words) or (lines and all(map(NUMBERS.search, lines))):
        return None
    others = f", {len(ignored)} other files ignored, such as {ignored[0]}" if ignored else ""
    return f"{len(paired)} of {len(images)} images with a text file of the same name{others}"


def has_caption(content: bytes) -> bool:
    try:
        fields = parse_json(content, "")
    except DataError:
        return False
    return isinstance(fields, dict) and any(isinstance(fields.get(name), str) for name in FIELDS)


def find_texts(files: Files) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]], list[str]]:
    """Sorts the files by their path without suffix.

    Returns:
        Images, text files and json files, as the paths of each key, and all other files. A text file without an image
        counts if others with its suffix in its folder have one, unless it is a readme or a licence.
    """
    images, sidecars, ignored = {}, {}, []
    for path in files.paths:
        folder = folder_of(path)
        key, suffix = f"{folder}/" * bool(folder) + stem_of(path), path[path.rfind(".") :].lower()
        if is_image(path):
            images.setdefault(key, []).append(path)
        elif suffix in (*TEXTS, ".json"):
            sidecars.setdefault((folder, suffix), []).append((key, path))
        else:
            ignored.append(path)
    texts, tables = {}, {}
    for (_, suffix), found in sidecars.items():
        used = any(key in images for key, _ in found)
        for key, path in found:
            if used and (key in images or not NOTES.fullmatch(stem_of(path))):
                (texts if suffix in TEXTS else tables).setdefault(key, []).append(path)
            else:
                ignored.append(path)
    return images, texts, tables, ignored


def read_text(files: Reader, path: str) -> str:
    """The text of a file, without a byte order mark.

    Raises:
        DataError: it is not UTF-8; the message has the position of the byte.
    """
    content = files.read(path)
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(f"{files.root}/{path} is not UTF-8 at byte {error.start}: save it as UTF-8") from error


def read_fields(files: Reader, path: str) -> tuple[dict[str, Any], int]:
    """The fields of a json file, and its size in bytes.

    Raises:
        DataError: it is broken or not an object.
    """
    where, content = f"{files.root}/{path}", files.read(path)
    fields = parse_json(content, f"{where}: invalid json")
    if not isinstance(fields, dict):
        raise DataError(f"{where} holds a {type(fields).__name__}, not an object with a field such as caption")
    return fields, len(content)


class Captions(LayoutBuilder):
    BUILDER_CONFIG_CLASS = CaptionsConfig

    def index(self, files):
        images, texts, tables, _ = find_texts(files)
        split_of, rows = SplitFolders(files.images).of, {}
        sidecars = {key: texts.get(key) or tables.get(key) for key in texts.keys() | tables.keys()}
        sides = [{("", key): paths for key, paths in side.items()} for side in (images, sidecars)]
        fields = Fields()
        if self.faults.skip:
            fields.vote(filter(None, (self._peek(files, paths[0]) for _, paths in sorted(tables.items())[:HEAD])))
        for (_, key), image, _, fault in join(files.root, sides, ("image", "caption")):
            with self.faults:
                if fault:
                    raise fault
                text, table = (side.get(key, [None])[0] for side in (texts, tables))
                if table:
                    content, size = read_fields(files, table)
                    fields.add(content, f"{files.root}/{table}", size)
                rows.setdefault(split_of(image), []).append((image, text, table))
        fields.check(str(files.root))
        self.kinds = fields.kinds
        without = [row for split in rows.values() for row in split if row[1] is None]
        self.field = next(
            (name for name in FIELDS[: None if without else 1] if self.kinds.get(name) == pa.string()), None
        )
        if without and not self.field:
            raise DataError(f"{files.root}/{without[0][2]} has no text in a field {', '.join(FIELDS)}")
        rows = name_splits(files.root, rows, lambda row: row[0])
        classes = folder_classes(files.root, {split: [row[0] for row in samples] for split, samples in rows.items()})
        taken = (*COLUMNS, "label") if classes else COLUMNS
        self.columns = {name: f"json_{name}" if name in taken else name for name in self.kinds if name != self.field}
        features = {"image": datasets.Image()}
        text = datasets.Value("string")
        features |= {"captions": List(text)} if self.config.lines else {"caption": text}
        schema = pa.schema([(column, self.kinds[name]) for name, column in self.columns.items()])
        features |= datasets.Features.from_arrow_schema(schema)
        files.keep(path for split in rows.values() for row in split for path in row if path)
        for side in (images, texts, tables):  # what is in no row is a fault
            files.account(path for paths in side.values() for path in paths)
        splits = {split: Rows(samples) for split, samples in rows.items()}
        if classes:
            features["label"] = add_labels(splits, classes)
        return datasets.Features(features), splits

    @staticmethod
    def _peek(files: Files, path: str) -> tuple[dict[str, Any], str, int] | None:
        try:
            fields, size = read_fields(files, path)
        except DataError:
            return None  # reported when the table is read
        return fields, f"{files.root}/{path}", size

    def read(self, files, sample):
        image, text, table = sample
        fields = read_fields(files, table)[0] if table else {}
        caption = read_text(files, text) if text else fields.get(self.field)
        if not isinstance(caption, str) or not caption.strip():
            raise DataError(f"{files.root}/{text or table} holds no caption")
        row = {"image": {"bytes": files.read(image), "path": image}, "caption": caption.strip()}
        if self.config.lines:
            row["captions"] = [line.strip() for line in row.pop("caption").splitlines() if line.strip()]
        return row | {column: fields.get(name) for name, column in self.columns.items()}
