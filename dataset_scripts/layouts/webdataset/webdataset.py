"""WebDataset: tar shards in which members that differ only in their suffix form a sample: 07.jpg, 07.cls, 07.json."""

import re
from collections import Counter
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.builders.classes import most_classes
from dataset_scripts.core.builders.layout import LayoutBuilder, Rows
from dataset_scripts.core.builders.tables import as_class_label, in_one
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.archives import ArchiveReader
from dataset_scripts.core.files.listing import Files, folder_of, is_image, name_of
from dataset_scripts.core.files.splits import split_in
from dataset_scripts.core.formats.fields import HEAD, Fields
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.layouts.yolo.label import are_labels

logger = printable_logger(__name__)

PRECEDENCE = 2
SIDECARS = (".cls", ".json", ".txt")
COLUMNS = ("image_id", "label", "caption")
NAMES = ("classes.txt", "classnames.txt", "class_names.txt")
SHARD = re.compile(r"(.*[-_.])?\d\d+(-of-\d+)?")  # 000012, train-0012, x-00001-of-00010


def matches(files):
    """Tar shards whose images have a class, a caption or a json of the same name, or several images of one name.

    Bare images are also accepted if the shards are numbered and hold no folders; otherwise the tars may be classes. Text
    files that are YOLO labels are not captions.
    """
    tars, images, kinds, pictures, folders, texts = shards(files), 0, Counter(), Counter(), False, []
    for prefix, archive in tars.items():
        for key, members in samples_of(archive.names)[0].items():
            if found := [kind for kind in members if kind not in SIDECARS]:
                images += 1
                folders |= "/" in key
                kinds.update(kind for kind in members if kind in SIDECARS)
                pictures.update(found)
                texts += [prefix + name for name in members.get(".txt", ())]
    counted = f"{len(tars)} tar shards of {images} samples"
    if list(kinds) == [".txt"] and are_labels(files, texts):
        return None  # boxes, which yolo reads
    if images and 2 * max(kinds.values(), default=0) >= images:
        return f"{counted}, with {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}"
    if images and len(pictures) > 1 and set(pictures.values()) == {images}:
        return f"{counted}, with {', '.join(sorted(pictures))} images each"
    numbered = all(SHARD.fullmatch(name_of(prefix[:-1])) for prefix in tars)
    return f"{counted}, numbered" if images and numbered and not folders and "" not in tars else None


def shards(files: Files) -> dict[str, ArchiveReader]:
    """The tars, by the folder of the listing that holds their members."""
    return {
        prefix: archive for prefix, archive in files.mounts.items() if not archive.path.name.lower().endswith(".zip")
    }


def samples_of(names: list[str]) -> tuple[dict[str, dict[str, list[str]]], list[str]]:
    """Groups the members of a shard up to the first dot of their names.

    Source: https://github.com/webdataset/webdataset, "The WebDataset Format".

    Returns:
        Key -> ".cls", ".json", ".txt", or the column of an image -> members, in order; and the members of other kinds.
    """
    samples, others = {}, []
    for name in names:
        folder, _, base = name.rpartition("/")
        stem, _, suffix = base.partition(".")
        kind = f".{suffix}".lower()
        if is_image(base):
            kind = kind.rpartition(".")[0].strip(".").replace(".", "_") or "image"
            kind = f"{kind}_image" if kind in COLUMNS else kind
        elif kind not in SIDECARS:
            others.append(name)
            continue
        samples.setdefault(f"{folder}/{stem}" if folder else stem, {}).setdefault(kind, []).append(name)
    return samples, others


class Webdataset(LayoutBuilder):
    def index(self, files):
        tars, kinds, count, others = shards(files), Counter(), 0, []
        if not tars:
            raise DataError(
                f"{files.root} holds no tar shards, or holds images beside them: pass the folder of the shards"
            )
        for prefix, archive in tars.items():
            samples, more = samples_of(archive.names)
            others += [prefix + name for name in more]
            count += len(samples)
            for members in samples.values():
                kinds.update(members.keys())
        if others:
            logger.warning("%s: %d members of other kinds are ignored, such as %s", files.root, len(others), others[0])
        # The kinds that a sample should have.
        self.kinds = [kind for kind, having in kinds.items() if 2 * having >= count]
        self.images = [kind for kind in self.kinds if kind not in SIDECARS]  # in the order of the members
        if not self.images:
            raise DataError(f"{files.root}: fewer than half of the {count} samples have an image")
        with reading(f"{files.root}: the names of its images"):
            "".join(self.images).encode()
        self.most = max([most_classes(count), *map(len, name_lists(files).values())])  # classes
        fields = Fields()
        tables = {prefix: self._table(prefix, archive, fields) for prefix, archive in tars.items()}
        files.account(prefix + name for prefix, archive in tars.items() for name in archive.names)
        files.account(path for path in files.having("_stats.json"))  # what img2dataset counts
        files.account(path for paths in (name_lists(files),) for path in paths)
        files.keep(paths[0][0].as_py() for paths, _ in tables.values() if len(paths))
        fields.check(str(files.root))
        with reading(files.root):
            whole = pa.concat_tables([paths for paths, _ in tables.values()])
            told = pa.concat_tables([told for _, told in tables.values()], promote_options="permissive")
        columns = {name: in_one(told[name], f"{files.root}: the field {name}") for name in told.column_names}
        told = pa.table(columns) if columns else told
        known = datasets.Features.from_arrow_schema(told.schema)
        if ".cls" in self.kinds and len(told):
            known["label"] = datasets.ClassLabel(names=class_names(files, pc.max(told["label"]).as_py() + 1))
        elif "label" in known and (classes := as_class_label(told["label"])):  # from a field of the json
            known["label"] = classes[0]
            told = told.set_column(told.column_names.index("label"), "label", classes[1])
        splits = np.concatenate([np.full(len(paths), split_of(prefix)) for prefix, (paths, _) in tables.items()])
        rows = {}
        for split in np.unique(splits).tolist():
            places = pa.array(np.flatnonzero(splits == split))
            columns = {name: told[name].take(places).combine_chunks() for name in told.column_names}
            rows[split] = Rows(Members(whole.take(places).combine_chunks()), columns)
        pictures = sorted(self.images, key=lambda name: (name != "image", name))
        return datasets.Features(dict.fromkeys(pictures, datasets.Image()) | known), rows

    def _table(self, prefix: str, archive: ArchiveReader, fields: Fields) -> tuple[pa.Table, pa.Table]:
        """The paths of the images, and what is known about them; the shard is read once, from front to end."""
        read, paths, told = [], [], []
        for key, members in samples_of(archive.names)[0].items():
            with self.faults:
                where = f"{archive.path}: sample {archive.prefix}{key}"
                if not any(kind in members for kind in self.images):
                    raise DataError(f"{where} has no image")
                if missing := [kind for kind in self.kinds if kind not in members]:
                    raise DataError(f"{where} has no {missing[0]}, which others have")
                if more := [kind for kind in members if kind not in self.kinds]:
                    raise DataError(f"{where} has {members[more[0]][0]}, which others do not have")
                if twice := next((names for names in members.values() if len(names) > 1), None):
                    raise DataError(f"{where} has two members of one kind, {twice[0]} and {twice[1]}")
                with reading(where):  # Arrow has no text for some names in other encodings
                    (prefix + "".join(name for names in members.values() for name in names)).encode()
                row, size = self._read_sidecars(archive, where, members)
                images = [prefix + members[kind][0] for kind in self.images]
                read.append(({"image_id": archive.prefix + key} | row, where, size + len(key), images))
        if self.faults.skip:
            fields.vote(entry[:3] for entry in read[:HEAD])
        for *entry, images in read:
            with self.faults:
                told.append(fields.add(*entry))
                paths.append(images)
        fields.check(str(archive.path))
        values = {}
        for name in dict.fromkeys(name for row in told for name in row):
            with reading(f"{archive.path}: the values of {name}"):
                values[name] = pa.array([row.get(name) for row in told], fields.kinds[name])
        schema = pa.schema([(name, pa.string()) for name in self.images])
        parts = [pa.array(part, pa.string()) for part in zip(*paths)] or [[]] * len(schema)
        return pa.table(parts, schema=schema), pa.table(values)

    def _read_sidecars(
        self, archive: ArchiveReader, where: str, members: dict[str, list[str]]
    ) -> tuple[dict[str, Any], int]:
        """The values in a sample's members other than images, and the size of these in bytes."""
        row, fields, size = {}, {}, 0
        # In their order, as some archives can be read in no other.
        for kind in [kind for kind in members if kind in SIDECARS]:
            content = archive.read(members[kind][0])
            size += len(content)
            broken = f"{where}: broken {kind}"
            if kind == ".cls":
                if not re.fullmatch(rb"\s*\d{1,6}\s*", content):
                    raise DataError(f"{broken}: {content[:40]!r} is not the number of a class (0 to 999999)")
                row["label"] = int(content)
                if row["label"] >= self.most:
                    raise DataError(f"{broken}: class {row['label']} is not below {self.most}, and no list names it")
            elif kind == ".txt":
                with reading(broken):
                    row["caption"] = content.decode("utf-8-sig").strip()
            else:
                fields = parse_json(content, broken)
                if not isinstance(fields, dict):
                    raise DataError(f"{broken}: it is a {type(fields).__name__}, not an object")
        taken = {"image_id", *row, *self.images}
        return row | {f"json_{name}" if name in taken else name: value for name, value in fields.items()}, size

    def read(self, files, paths):
        return {column: {"bytes": files.read(path), "path": path} for column, path in zip(self.images, paths)}


class Members:
    """The paths of each sample's images as a sequence, without Python objects before they are read."""

    def __init__(self, table: pa.Table):
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows):
        if isinstance(rows, slice):
            return Members(self.table[rows])
        return [column[rows].as_py() for column in self.table.columns]

    def __reduce__(self):  # a slice of a table would be pickled with the whole table
        return Members, (self.table.take(pa.array(np.arange(len(self)))),)


def split_of(prefix: str) -> str:
    """The split in the name of a shard, or of its folder."""
    return split_in(name_of(prefix[:-1])) or split_in(folder_of(prefix[:-1])) or "train"


def name_lists(files: Files) -> dict[str, list[str]]:
    """The lists of names beside the shards, by their paths."""
    texts = {path: files.read(path).decode("utf-8-sig", "replace") for path in files.paths if name_of(path) in NAMES}
    return {path: [line.strip() for line in text.splitlines() if line.strip()] for path, text in texts.items()}


def class_names(files: Files, count: int) -> list[str]:
    """The names in a list beside the shards, else the numbers: class i is the number i, even if some are missing."""
    for path, names in name_lists(files).items():
        if len(names) >= count and len(set(names)) == len(names):
            return names
        logger.warning("%s/%s has %d names for %d classes and is ignored", files.root, path, len(set(names)), count)
    return [str(number) for number in range(count)]
