"""WebDataset: tar shards, in which the members of one name but for the suffix are a sample: 07.jpg, 07.cls, 07.json."""

import json
import logging
from collections import Counter
from typing import Any

import datasets
import pyarrow as pa

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files import Files, folder_of, is_image, name_of
from dataset_scripts.core.layout import LayoutBuilder, Rows
from dataset_scripts.core.splits import split_in

logger = logging.getLogger(__name__)

PRECEDENCE = 2
SIDECARS = ("cls", "txt", "json")
NAMES = ("classes.txt", "classnames.txt", "class_names.txt")


def matches(files):
    """Tar shards whose images have a class, a caption or a json of their name."""
    paths = members(files)
    images = {key_of(path)[0] for path in paths if is_image(path)}
    kinds = Counter(suffix for key, suffix in map(key_of, paths) if suffix in SIDECARS and key in images)
    if not kinds:
        return None
    shards = sum(not archive.path.name.lower().endswith(".zip") for archive in files.mounts.values())
    return f"{shards} tar shards of {len(images)} samples, with {', '.join(f'{n} .{kind}' for kind, n in kinds.items())}"


def members(files: Files) -> list[str]:
    """The paths that lie in tars."""
    tars = tuple(prefix for prefix, archive in files.mounts.items() if not archive.path.name.lower().endswith(".zip"))
    return [path for path in files.paths if path.startswith(tars)] if tars else []


def key_of(path: str) -> tuple[str, str]:
    """The sample that a member belongs to, up to the first dot of its name, and the suffix in lower case.

    Source: https://github.com/webdataset/webdataset, "The WebDataset Format".
    """
    stem, _, suffix = name_of(path).partition(".")
    folder = folder_of(path)
    return f"{folder}/{stem}" if folder else stem, suffix.lower()


class Webdataset(LayoutBuilder):
    def index(self, files):
        samples = self._group(files)
        split_of = {prefix: split_in(name_of(prefix[:-1])) or split_in(folder_of(prefix[:-1])) or "train" for prefix in files.mounts}
        self.columns = sorted({column for images, _ in samples.values() for column in images}, key=lambda name: (name != "image", name))
        splits = {}
        for key, (images, sidecars) in samples.items():
            with self.faults:
                missing = [column for column in self.columns if column not in images]
                if missing:
                    raise DataError(f"{files.root}: sample {key} has no image for the column {missing[0]}")
                twice = next((paths for paths in images.values() if len(paths) > 1), None)
                if twice:
                    raise DataError(f"{files.root}: sample {key} has two images, {twice[0]} and {twice[1]}")
                row = {"image_id": self._name(files, key)} | self._sidecars(files, key, sidecars)
                prefix = next(prefix for prefix in files.mounts if key.startswith(prefix))
                splits.setdefault(split_of[prefix], []).append(([images[column][0] for column in self.columns], row))
        features = {column: datasets.Image() for column in self.columns}
        known, columns = self._columns(files, splits)
        return datasets.Features(features | known), {
            split: Rows([paths for paths, _ in rows], columns[split]) for split, rows in splits.items()
        }

    def _group(self, files: Files) -> dict[str, tuple[dict[str, list[str]], dict[str, str]]]:
        """Sample -> column -> paths of images, and suffix -> path of what is told about it."""
        samples, others = {}, []
        for path in members(files):
            key, suffix = key_of(path)
            images, sidecars = samples.setdefault(key, ({}, {}))
            if is_image(path):
                images.setdefault(suffix.rpartition(".")[0].replace(".", "_") or "image", []).append(path)
            elif suffix in SIDECARS:
                sidecars[suffix] = path
            else:
                others.append(path)
        if others:
            logger.warning("%s: %d members of other kinds are ignored, such as %s", files.root, len(others), others[0])
        return {key: sample for key, sample in samples.items() if any(sample)}

    @staticmethod
    def _name(files: Files, key: str) -> str:
        """The key without the shard."""
        prefix = next(prefix for prefix in files.mounts if key.startswith(prefix))
        return key[len(prefix) :]

    def _sidecars(self, files: Files, key: str, sidecars: dict[str, str]) -> dict[str, Any]:
        row = {}
        if "cls" in sidecars:
            text = files.read(sidecars["cls"])
            try:
                row["label"] = int(text)
            except ValueError:
                raise DataError(f"{files.root}/{sidecars['cls']}: {text[:40]!r} is no number of a class") from None
            if row["label"] < 0:
                raise DataError(f"{files.root}/{sidecars['cls']}: there is no class {row['label']}")
        try:
            if "txt" in sidecars:
                row["caption"] = files.read(sidecars["txt"]).decode().strip()
            if "json" in sidecars:
                fields = json.loads(files.read(sidecars["json"]))
                if not isinstance(fields, dict):
                    raise ValueError(f"{type(fields).__name__}, not an object")
                taken = {"image_id", *row, *self.columns}
                row |= {f"json_{name}" if name in taken else name: value for name, value in fields.items()}
        except ValueError as error:  # of utf-8 and of json
            raise DataError(f"{files.root}: sample {key}: broken text or json: {error}") from error
        return row

    def _columns(self, files: Files, splits: dict[str, list]) -> tuple[dict[str, Any], dict[str, dict[str, pa.Array]]]:
        """The features and, for each split, the columns of what is told about the images."""
        rows = [row for split in splits.values() for _, row in split]
        features, columns = {}, {split: {} for split in splits}
        for name in dict.fromkeys(name for row in rows for name in row):
            try:
                whole = pa.array([row.get(name) for row in rows])
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise DataError(f"{files.root}: the values of {name} are of different types over the samples: {error}") from error
            if name == "label":
                features[name] = datasets.ClassLabel(names=self._classes(files, max(row["label"] for row in rows if "label" in row) + 1))
                whole = whole.cast(pa.int64())
            else:
                features[name] = datasets.Features.from_arrow_schema(pa.schema([(name, whole.type)]))[name]
            start = 0
            for split, part in splits.items():
                columns[split][name] = whole.slice(start, len(part))
                start += len(part)
        return features, columns

    @staticmethod
    def _classes(files: Files, count: int) -> list[str]:
        """The names in a list beside the shards, else the numbers: class i is the number i, also where some are missing."""
        for path in files.paths:
            if name_of(path) in NAMES:
                names = [line.strip() for line in files.read(path).decode().splitlines() if line.strip()]
                if len(names) >= count and len(set(names)) == len(names):
                    return names
                logger.warning("%s/%s has %d names for %d classes and is ignored", files.root, path, len(set(names)), count)
        return [str(number) for number in range(count)]

    def read(self, files, paths):
        return {column: {"bytes": files.read(path), "path": name_of(path)} for column, path in zip(self.columns, paths)}
