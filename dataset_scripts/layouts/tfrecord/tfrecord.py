"""TFRecord shards of tf.train.Example: images with classes, boxes, masks and any other features."""

import contextlib
import itertools
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from dataset_scripts.core.builders.classes import named_classes
from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.listing import Files, Reader, folder_of
from dataset_scripts.core.files.splits import split_in, split_name
from dataset_scripts.core.formats.protobuf import MAX_FEATURES, Feature, parse_example
from dataset_scripts.core.image.decode import Frame, is_encoded_image
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.masks import fit_mask
from dataset_scripts.layouts.tfrecord.boxes import CATEGORIES, CORNERS, LISTS, Objects, count_boxes
from dataset_scripts.layouts.tfrecord.columns import Column, label_classes, names_beside, sorted_classes, vote
from dataset_scripts.layouts.tfrecord.records import Shards, scan, shards_in, starts_like_records

logger = printable_logger(__name__)

PRECEDENCE = 2
HEAD = 256  # records that vote on the columns
BESIDE = ("labels.txt", ".pbtxt", ".json", ".md", "license")  # the ends of files that belong to shards
IMAGES = ("image/encoded", "image")
LABELS = ("image/class/label", "image/label", "label", "class")
MASK = re.compile("mask|segment")
IDS = ("image/source_id", "image/filename")
SIZES = ("image/width", "image/height")
TEXTS = {"image/class/label": "image/class/text", "image/object/class/label": "image/object/class/text"}


@dataclass
class TFRecordConfig(LayoutConfig):
    """Options of `load_dataset("tfrecord", data_dir=…)`.

    Attributes:
        image: the feature that holds the image; None finds it.
        label: the feature that holds the class; None finds it.
    """

    image: str | None = None
    label: str | None = None


def matches(files):
    """Files named like shards, the first of which starts like a record."""
    shards = shards_in(files)
    if not any(starts_like_records(files, path) for path in list(shards)[:8]):  # empty shards are common
        return None
    others = [path for path in files.paths if path not in shards and not path.lower().endswith(BESIDE)]
    ignored = f", {len(others)} other files ignored, such as {others[0]}" if others else ""
    return f"{len(shards)} shards of records such as {next(iter(shards))}{ignored}"


class TFRecord(LayoutBuilder):
    BUILDER_CONFIG_CLASS = TFRecordConfig

    def index(self, files):
        splits = self._splits(files)
        self.paths = [path for paths in splits.values() for path in paths]
        self.shards, self.columns = Shards(), {}
        self.classes = {*LABELS, *CATEGORIES, self.config.label}
        self.texts = {key: {} for key in TEXTS}  # number -> the texts that records give it
        self.elected = self._vote(files) if self.faults.skip else {}
        samples, place = {}, 0
        for split, paths in splits.items():
            kept = array("Q")  # shard, number and offset of one record after the other
            for path in paths:
                before = len(kept)
                with self.faults:
                    for number, offset, data in scan(files, path):
                        with self.faults:
                            if self.faults.skip:  # a damaged record must not decide on columns
                                self.shards.read(files, path, offset, number)
                            example = self._parse(files, (place, number, offset), data)
                            self._survey(example, f"{files.root}/{path}, record {number}")
                            kept.extend((place, number, offset))
                if len(kept) == before:
                    logger.warning("%s/%s holds no records", files.root, path)
                place += 1
            samples[split] = np.array(kept).reshape(-1, 3)
        if not self.columns:
            raise DataError(f"{files.root} has no record that can be read")
        files.keep(self.paths)
        self.rows = sum(map(len, samples.values()))
        return self._features(files), {split: Rows(rows) for split, rows in samples.items()}

    def _splits(self, files: Files) -> dict[str, list[str]]:
        """Sorts the shards by split, and logs which are missing."""
        shards = shards_in(files)
        if not shards:
            raise DataError(f"{files.root} holds no file called like a TFRecord shard")
        series = {}
        for path, shard in shards.items():
            series.setdefault((folder_of(path), shard.base, shard.count), []).append(path)
        for (_, _, count), paths in series.items():
            if len(paths) < count:
                logger.warning(
                    "%s: only %d of %d shards are there, such as %s", files.root, len(paths), count, paths[0]
                )
        named = {path: split_in(shard.base) or split_in(folder_of(path)) for path, shard in shards.items()}
        splits = {}
        for path, split in named.items():
            if split is None:  # stl10-unlabelled.tfrecord-00000-of-00010 beside stl10-train…
                split = split_name(shards[path].base.rpartition("-")[2]) if any(named.values()) else "train"
            splits.setdefault(split, []).append(path)
        return splits

    def _parse(self, files: Reader, sample: Sequence[int], data: bytes | memoryview) -> dict[str, Feature]:
        shard, number, offset = sample
        with reading(f"{files.root}/{self.paths[shard]}, record {number} is not a tf.train.Example"):
            try:
                return parse_example(memoryview(data))
            except ValueError:
                self.shards.read(files, self.paths[shard], offset, number)  # raises if the record is damaged
                raise

    def _vote(self, files: Files) -> dict[str, Column]:
        """The columns as most of the first records have them; their faults are reported when all records are read."""
        votes, left = {}, HEAD
        for place, path in enumerate(self.paths):
            with contextlib.suppress(ValueError):  # a DataError is one
                for number, offset, data in itertools.islice(scan(files, path), left):
                    left -= 1
                    with contextlib.suppress(ValueError):
                        self.shards.read(files, path, offset, number)
                        for name, feature in self._parse(files, (place, number, offset), data).items():
                            if feature.body:
                                its = vote(feature)
                                votes.setdefault(name, Counter())[its] += 1
            if not left:
                break
        return {name: Column.elected(counts) for name, counts in votes.items()}

    def _survey(self, example: dict[str, Feature], where: str) -> None:
        """Takes a record into account, except for its image."""
        name = LISTS if LISTS in example else CORNERS[0]
        try:
            objects = count_boxes(example)
            columns = {
                name: self.columns.get(name) or self.elected.get(name) or Column(feature.kind)
                for name, feature in example.items()
                if feature.kind is not None
            }
            for name, column in columns.items():
                column.check(example[name])
            for name, column in columns.items():
                column.see(example[name], objects, name in self.classes)
            self.columns |= columns
            for name, texts in self.texts.items():
                if name in example and TEXTS[name] in example and example[TEXTS[name]].kind == "bytes":
                    for number, text in zip(example[name].values(), example[TEXTS[name]].values()):
                        found = texts.setdefault(number, set())
                        if len(found) < 2:  # a second text shows that they are not names
                            found.add(bytes(text).decode(errors="replace"))
        except ValueError as error:
            raise DataError(f"{where}: feature {name!r} {error}") from error
        if len(self.columns) > MAX_FEATURES:
            raise DataError(f"{where}: there are more than {MAX_FEATURES} features, with its own")

    def _features(self, files: Files) -> datasets.Features:
        """Decides which feature becomes which column."""
        left = dict(self.columns)
        for option in ("image", "label"):
            name = getattr(self.config, option)
            if name is not None and name not in left:
                raise DataError(
                    f"{files.root}: {option}={name!r} is not a feature; the features are {', '.join(sorted(left))}"
                )
        self.image = self._image(files)
        del left[self.image]
        features, self.sources = {"image": datasets.Image()}, {}  # column -> the feature that it is
        self.label = next(
            (name for name in ([self.config.label] if self.config.label else LABELS) if name in left), None
        )
        self.label_classes = self.objects = None
        if self.label is not None:
            column, names = left.pop(self.label), self._names(files, self.label)
            where = f"{files.root}: {self.label}"
            self.label_classes = label_classes(column, names, self.rows, where)
            feature = named_classes(self.label_classes.names, where) if self.label_classes else column.feature()
            features["label"] = feature if column.single else List(feature)
            if names:
                left.pop(TEXTS.get(self.label), None)
        if LISTS in left or CORNERS[0] in left:
            key = next(
                (key for key in CATEGORIES if key in left and (left[key].kind == "int64" or left[key].text)), None
            )
            names = self._names(files, key) if key else {}
            if names:
                left.pop(TEXTS.get(key), None)
            self.objects = Objects(left, key, sorted_classes(left[key], names) if key else None)
            features["objects"] = self.objects.features()
            left = {name: column for name, column in left.items() if name not in self.objects.used}
        masks = [name for name, column in left.items() if MASK.search(name) and column.image and column.single]
        renamed = {masks[0]: "mask"} if len(masks) == 1 else {}
        renamed |= {name: "image_id" for name in [name for name in IDS if name in left][:1]}
        for name in sorted(left):
            column = renamed.get(name, name.replace("/", "_"))
            while column in features:
                column += "_"
            self.sources[column] = name
            features[column] = left[name].feature() if left[name].single else List(left[name].feature())
        return datasets.Features(features)

    def _image(self, files: Files) -> str:
        """The feature that holds the image."""
        if wanted := self.config.image:
            if self.columns[wanted].kind != "bytes":
                raise DataError(f"{files.root}: image={wanted!r} holds {self.columns[wanted].kind}, not encoded images")
            return wanted
        images = [name for name, column in sorted(self.columns.items()) if column.image and column.most == 1]
        found = [name for name in images if not MASK.search(name)]
        named = [name for name in IMAGES if name in found] or found
        if len(found) == 1 or (named and named[0] in IMAGES):
            return named[0]
        if found:
            raise DataError(f"{files.root}: {', '.join(found)} hold images: choose one with image=…")
        listed = ", ".join(f"{name} ({column.kind})" for name, column in sorted(self.columns.items()))
        raise DataError(
            f"{files.root}: no feature holds an encoded image, and raw pixels are not read; the features are {listed}"
        )

    def _names(self, files: Files, key: str) -> dict[int, str]:
        """The names of the classes that a feature holds as numbers; empty if nothing gives them."""
        if self.columns[key].kind != "int64":
            return {}
        names = names_beside(files, key)
        if names:
            nameless = sorted(self.columns[key].seen - names.keys() - {-1, 0})
            if nameless:
                logger.warning(
                    "%s: %d classes of %s have no name, such as %d", files.root, len(nameless), key, nameless[0]
                )
            return names
        texts = self.texts.get(key, {})
        for number, named in texts.items():
            if len(named) > 1:
                logger.warning(
                    "%s: %s %d is called %s: classes keep their numbers as names",
                    files.root,
                    key,
                    number,
                    " and ".join(sorted(named)),
                )
                return {}
        return {number: text for number, (text,) in texts.items()}

    def read(self, files, sample):
        shard, number, offset = sample = sample.tolist()
        path = self.paths[shard]
        where = f"{files.root}/{path}, record {number}"
        example = self._parse(files, sample, self.shards.read(files, path, offset, number))
        with reading(f"{where}: a feature"):  # its values were not needed for the index
            return self._row(example, path, number, where)

    def _row(self, example: dict[str, Feature], path: str, number: int, where: str) -> dict[str, Any]:
        content = next(iter(example.get(self.image, Feature()).values()), b"")
        if not is_encoded_image(content):
            raise DataError(
                f"{where} has no image: {self.image} " + ("holds something else" if content else "is not there")
            )
        row = {"image": {"bytes": bytes(content), "path": f"{path}#{number}"}}
        frame = Frame.of(bytes(content), where) if self.objects or "mask" in self.sources else None
        for column, name in self.sources.items():
            row[column] = self.columns[name].value(example.get(name))
        if self.label is not None:
            value = self.columns[self.label].value(example.get(self.label))
            row["label"] = self.label_classes.of(value) if self.label_classes else value
        if self.objects is not None:
            sizes = [self.columns[name].value(example.get(name)) if name in self.columns else None for name in SIZES]
            row["objects"] = self.objects.read(example, frame, tuple(sizes) if all(sizes) else None, where)
        if row.get("mask") is not None:
            row["mask"] = fit_mask(row["mask"], frame, f"{where}: its mask")
        return row
