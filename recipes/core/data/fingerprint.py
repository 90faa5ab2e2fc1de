"""The data of a run, as a few digests of the tables: compared over ranks, and with the data that the run began with."""

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from accelerate.utils import gather_object

from dataset_scripts.core.files.replace import write_file
from recipes.core.data.splits import Part, Parts
from recipes.core.errors import UserError
from recipes.core.foreign import read_json

FILE = "data.json"  # in the run folder
CHUNK = 10_000  # rows processed at a time
SAMPLE = 64  # images whose bytes are read for the fingerprint
KEPT = 256  # training images recorded in the run folder, so evaluation can recognise them
COMPARED = 1024  # test images that are looked for among the training images
MOST_BYTES = 256_000_000  # of training images that are read for that
MEANING = {
    "split": "the split",
    "rows": "the number of images",
    "classes": "the names of the classes",
    "labels": "the labels",
    "images": "the images",
}

Fingerprint = dict[str, dict[str, Any]]  # by role: train, validation, test


def fingerprint(parts: Parts) -> Fingerprint:
    """Digests of rows, labels, class names and splits.

    Images are identified by name, stored size, and the bytes of a sample of them, so a set of any size takes seconds.
    """
    image, found = parts.data.image, {}
    roles = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    classes = _digest(json.dumps(parts.classes).encode())
    sources: dict[int, str] = {}  # held-out rows come from the same split as the training rows
    for role, part in roles.items():
        if part is not None:
            source = sources.get(id(part.source)) or _digest_of_images(part.source, image)
            sources[id(part.source)] = source
            found[role] = _digests(part, source) | {"classes": classes}
    found["train"]["sample"] = sorted(_sample(parts.train, image, KEPT))
    return found


def digests_of(part: Part, image: str) -> dict[str, Any]:
    """Split, number and digests of some rows."""
    return _digests(part, _digest_of_images(part.source, image))


def _digests(part: Part, source: str) -> dict[str, Any]:
    where = b"" if part.indices is None else part.indices.tobytes()
    return {
        "split": part.split,
        "rows": len(part),
        "labels": _digest(part.learned.tobytes(), _digest_of_targets(part).encode()),
        "images": _digest(source.encode(), where),
    }


def verify_data(parts: Parts) -> Fingerprint:
    """The fingerprint, after comparing it over all ranks.

    Raises:
        UserError: the ranks have different data; on every rank, the message says what differs and where.
    """
    mine = fingerprint(parts)
    for rank, other in enumerate(gather_object([mine])):
        if changed := difference(mine, other):
            here, there = changed[1:]
            raise UserError(
                f"the ranks have different data: {changed[0]} (rank {rank} has {there}, another {here}): give all hosts "
                f"the same {parts.data.path}"
            )
    return mine


def difference(before: Fingerprint, now: Fingerprint) -> tuple[str, Any, Any] | None:
    """The first difference between two fingerprints, in words, and both values."""
    for role in ("train", "validation", "test"):
        one, other = before.get(role), now.get(role)
        if (one is None) != (other is None):
            return f"whether there are {role} images", one and one["rows"], other and other["rows"]
        for key, meaning in MEANING.items():
            if one is not None and one.get(key) != other.get(key):
                of = f"of the {'training' if role == 'train' else role} images"
                meaning = (
                    f"the {'training' if role == 'train' else role} images" if key == "images" else f"{meaning} {of}"
                )
                return meaning, one.get(key), other.get(key)
    return None


def check_data(folder: Path, now: Fingerprint, goes_on: bool) -> None:
    """Stores the fingerprint with a run, or compares it with the one that the run began with. Main process only.

    Raises:
        UserError: the data have changed since.
    """
    before = read_fingerprint(folder)
    if not goes_on or before is None:
        write_file(folder / FILE, json.dumps(now, indent=2) + "\n")
    elif changed := difference(before, now):
        raise UserError(
            f"{folder} is an unfinished run on other data: {changed[0]} changed since it began (from {changed[1]} to "
            f"{changed[2]}): restore the data, or set out=… to start a new run"
        )


def read_fingerprint(folder: Path) -> Fingerprint | None:
    """The fingerprint of a run; None if the folder has none.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    found = read_json(path)
    if not all(isinstance(part, dict) for part in found.values()):
        raise UserError(f"{path} is damaged: delete it to continue the run without comparing its data")
    return found


def shared_images(train: Part, test: Part, image: str) -> tuple[int, int, tuple[int, int] | None]:
    """How many test images are also training images, byte for byte; a sample is enough to show a mistake in the splits.

    Returns:
        The number found, the number compared, and the rows of the first one in the test and the training split.
    """
    wanted = _sample(test, image, COMPARED)
    found = find_images(wanted, train, image)
    first = min(((wanted[name], row) for name, row in found.items()), default=None)
    return len(found), len(wanted), first


def find_images(names: Collection[str], part: Part, image: str) -> dict[str, int]:
    """The rows of a part whose images have one of these names, `LENGTH-DIGEST` of the stored bytes, by name."""
    lengths, wanted = _lengths(part.source, image), set(names)
    candidates = np.arange(len(lengths)) if part.indices is None else part.indices
    sizes = np.array(sorted({int(name.partition("-")[0]) for name in wanted}), np.int64)
    candidates = candidates[np.isin(lengths[candidates], sizes)]
    candidates = candidates[np.cumsum(lengths[candidates]) <= MOST_BYTES]
    found: dict[str, int] = {}
    for row, content in _contents(part.source, image, candidates):
        if (name := _name(content)) in wanted:
            found.setdefault(name, row)
    return found


def _sample(part: Part, image: str, count: int) -> dict[str, int]:
    """The names of up to `count` images, evenly spread over a part, and their rows."""
    places = evenly(len(part), count)
    rows = places if part.indices is None else part.indices[places]
    names: dict[str, int] = {}
    for row, content in _contents(part.source, image, rows):
        names.setdefault(_name(content), row)
    return names


def evenly(size: int, count: int) -> np.ndarray:
    """Up to `count` numbers of 0 … size - 1, evenly spread, int64."""
    return np.unique(np.linspace(0, size - 1, count).round().astype(np.int64))


def _name(content: bytes) -> str:
    return f"{len(content)}-{_digest(content)}"


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _digest_of_targets(part: Part) -> str:
    """Of the boxes, or of the masks as of images; nothing if labels are all that is learned."""
    if part.target is None:
        return ""
    if isinstance(part.source.features[part.target], datasets.Image):
        return _digest_of_images(part.source, part.target)
    digest = hashlib.sha256()
    table = part.source.select_columns([part.target]).with_format("arrow")
    for start in range(0, len(part.source), CHUNK):
        rows = pa.table(table[start : start + CHUNK]).combine_chunks()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema.remove_metadata()) as writer:
            writer.write_table(rows.replace_schema_metadata(None))
        digest.update(sink.getvalue())
    return digest.hexdigest()[:16]


def _digest_of_images(source: datasets.Dataset, image: str) -> str:
    digest = hashlib.sha256(_lengths(source, image).tobytes())
    for column in image_columns(source, image):
        # Hosts may keep the same files in different folders.
        digest.update(
            json.dumps([path and path.rsplit("/", 2)[-2:] for path in column.field("path").to_pylist()]).encode()
        )
    for _, content in _contents(source, image, evenly(len(source), SAMPLE)):
        digest.update(content)
    return digest.hexdigest()[:16]


def image_columns(source: datasets.Dataset, image: str) -> Iterator[pa.StructArray]:
    """The content of an image column, in parts, which are views of the table."""
    stored = source.select_columns([image]).with_format("arrow")
    for start in range(0, len(source), CHUNK):
        yield from stored[start : start + CHUNK][image].chunks


def _lengths(source: datasets.Dataset, image: str) -> np.ndarray:
    """The size of each image in bytes, int64 (N,), even if it is in a separate file; -1 for those elsewhere."""
    parts = []
    for column in image_columns(source, image):
        lengths = pc.fill_null(pc.binary_length(pc.struct_field(column, "bytes")), -1)
        part = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
        for place in np.flatnonzero(part < 0).tolist():
            path = column.field("path")[place].as_py()
            if path is not None and os.path.isfile(path):
                part[place] = os.path.getsize(path)
        parts.append(part)
    return np.concatenate(parts)


def _contents(source: datasets.Dataset, image: str, rows: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """The bytes of some images of the table; the path of an image that is neither in it nor in a local file."""
    stored = source.select_columns([image]).with_format("arrow")
    for row in rows.tolist():
        value = stored[row][image][0]
        if value.is_valid:
            content, path = value["bytes"].as_py(), value["path"].as_py()
            if content is None and path is not None and os.path.isfile(path):
                content = Path(path).read_bytes()
            yield row, (path or "").encode() if content is None else content
