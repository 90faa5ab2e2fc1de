"""YOLO: one text file per image, one line per object, in fractions of the image; data.yaml names the splits and classes."""

import contextlib
from dataclasses import dataclass

import datasets

from dataset_scripts.core.builders.classes import most_classes
from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, without_suffix
from dataset_scripts.core.files.splits import SplitFolders
from dataset_scripts.core.files.stems import is_below
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.objects import RLE, check_boxes, object_features
from dataset_scripts.layouts.yolo.description import KEYS, Description, descriptions, said_keys
from dataset_scripts.layouts.yolo.label import (
    are_labels,
    has_polygon,
    labels_of,
    largest_class,
    read_objects,
    read_text,
)

logger = printable_logger(__name__)

PRECEDENCE = 2
SUFFIXES = (".yaml", ".yml", ".data", ".txt")


@dataclass
class YoloConfig(LayoutConfig):
    """Options of `load_dataset("yolo", data_dir=…)`.

    Attributes:
        data: the yaml or .data file that describes the set, if there are several.
        classes: names of the classes, in the order of their ids; None takes those of the set.
        masks: also make run-length codes from the polygons; needs pycocotools.
        images: the folder of the images, if others are there too.
        labels: the folder of the label files, if other texts are there too.
        boxes: "raise" refuses a box that reaches out of its image by more than a pixel, "clip" cuts it there.
    """

    data: str | None = None
    classes: list[str] | None = None
    masks: bool = False
    images: str | None = None
    labels: str | None = None
    boxes: str = "raise"


def matches(files):
    """A yaml with classes and splits, darknet's .data, or text files of images that hold a class and fractions."""
    if not files.images:
        return None
    labels = list(labels_of(files).values()) if files.having(".txt") else []
    counted = f"{len(files.images)} images, {len(labels)} label files"
    is_labelled = are_labels(files, labels)
    described = descriptions(files)
    if described and (is_labelled or any(KEYS.keys() & said_keys(files, path) for path in described)):
        return f"{counted}, described by {', '.join(described)}"
    return counted if is_labelled else None


class Yolo(LayoutBuilder):
    BUILDER_CONFIG_CLASS = YoloConfig

    def index(self, files):
        check_boxes(self.config.boxes)
        self.label_of = labels_of(files, self.config.images, self.config.labels)
        description = Description.of(files, self.config.data)
        splits = description.splits(self.faults) or split_folders(files, self.label_of, self.config.images)
        stems, twice = set(), set()
        for path in files.images:
            stem = without_suffix(path)
            (twice if stem in stems else stems).add(stem)
        samples = {split: self._samples(files, split, paths, twice) for split, paths in splits.items()}
        files.account(
            path for rows in samples.values() for row in rows for path in row if path
        )  # also of faulty labels
        labels = self._labels(files, samples)
        texts = []
        for label in labels[:: max(1, len(labels) // 100)]:
            with contextlib.suppress(DataError):  # reported when its row is read
                texts.append(read_text(files, label))
        self.has_polygons = any(map(has_polygon, texts)) and not description.keypoints()
        files.account([*labels, *description.sources()])
        if description.is_chosen:
            rows = {path for rows in samples.values() for path, _ in rows}
            others = [path for path in files.images if path not in rows]
            if others:
                logger.warning("%s: %d images are in no list, such as %s", files.root, len(others), others[0])
            files.account([*others, *self.label_of.values()])
        names = self.config.classes or description.names() or self._numbered(files, labels, samples)
        files.keep(path for rows in samples.values() for row in rows for path in row if path)
        self.classes, self.keypoints = len(names), description.keypoints()
        more = {"area": datasets.Value("float32")}
        if self.has_polygons:
            more["polygon"] = List(datasets.Value("float32"))
        if self.config.masks:
            more["segmentation"] = RLE
        if self.keypoints:
            more["keypoints"] = List(List(datasets.Value("float32"), length=3))
        features = {
            "image": datasets.Image(),
            "image_id": datasets.Value("string"),
            "objects": object_features(names, **more),
        }
        return datasets.Features(features), {split: Rows(rows) for split, rows in samples.items()}

    def _samples(self, files: Files, split: str, paths: list[str], twice: set[str]) -> list[tuple[str, str | None]]:
        """The rows as (image, label file): "" for no objects, None in a split without any labels."""
        samples = []
        for path in paths:
            with self.faults:
                if without_suffix(path) in twice:
                    raise DataError(
                        f"{files.root}/{path}: another image has this stem, so that both have one label file: rename one"
                    )
                samples.append((path, self.label_of.get(path, "")))
        bare = [path for path, label in samples if not label]
        if samples and len(bare) == len(samples):
            logger.warning("%s: no image of %s has a label file: their objects are None", files.root, split)
            return [(path, None) for path in bare]
        if bare:
            logger.warning(
                "%s: %d images of %s have no label file, such as %s: they are without objects",
                files.root,
                len(bare),
                split,
                bare[0],
            )
        return samples

    def _labels(self, files: Files, samples: dict[str, list[tuple]]) -> list[str]:
        """The label files of the rows, sorted."""
        labels = sorted({label for rows in samples.values() for _, label in rows if label})
        if not labels:
            raise DataError(f"{files.root}: no image has a label file")
        return labels

    def _numbered(self, files: Files, labels: list[str], samples: dict[str, list[tuple]]) -> list[str]:
        """Names "0", "1", … up to the largest class in the label files; removes those with a fault from `samples`."""
        largest, most, bad = 0, most_classes(len(labels)), set(labels)
        for label in labels:
            with self.faults:
                number = largest_class(read_text(files, label))
                if number >= most:
                    raise DataError(
                        f"{files.root}/{label}: there is a class {number}, but nothing names the classes: pass classes=[…]"
                    )
                largest = max(largest, number)
                bad.remove(label)
        for split, rows in samples.items():
            samples[split] = [row for row in rows if row[1] not in bad]
        return [str(number) for number in range(largest + 1)]

    def read(self, files, sample):
        path, label = sample
        content = files.read(path)
        row = {"image": {"bytes": content, "path": path}, "image_id": without_suffix(path), "objects": None}
        if label is not None:
            frame = Frame.of(content, f"{files.root}/{path}")
            masks, clip = self.config.masks, self.config.boxes == "clip"
            objects = read_objects(files, label, frame, self.classes, self.keypoints, masks, self.has_polygons, clip)
            row["objects"] = objects
        return row


def split_folders(files: Files, label_of: dict[str, str], wanted: str | None = None) -> dict[str, list[str]]:
    """The images by split: those in the folder that is wanted, or in `images` if these have labels, else all."""
    inside = [path for path in files.images if is_below(path, wanted or "images")]
    images = inside if wanted or any(path in label_of for path in inside) else files.images
    splits, of = {}, SplitFolders(files.paths).of
    for path in images:
        splits.setdefault(of(path) or of(label_of.get(path, "")), []).append(path)
    if "" in splits and len(splits) > 1:
        raise DataError(f"{files.root}/{splits[''][0]} is beside the split folders: move it into one")
    return {split or "train": paths for split, paths in splits.items()}
