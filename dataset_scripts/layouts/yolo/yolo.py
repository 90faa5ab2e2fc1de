"""YOLO: one text file per image, one line per object, in fractions of the image; data.yaml names the splits and classes."""

from dataclasses import dataclass

import datasets

from dataset_scripts.core.builders.classes import most_classes
from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, folder_of, is_image, without_suffix
from dataset_scripts.core.files.splits import SPLITS
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.objects import RLE, object_features
from dataset_scripts.layouts.yolo.description import Description, descriptions
from dataset_scripts.layouts.yolo.label import are_labels, label_of, largest_class, read_objects, read_text

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
    """

    data: str | None = None
    classes: list[str] | None = None
    masks: bool = False


def matches(files):
    """A yaml with classes and splits, darknet's .data, or text files of images that hold a class and fractions."""
    if not files.images:
        return None
    labels = [label for path in files.images if (label := label_of(path, files.names))] if files.having(".txt") else []
    counted = f"{len(files.images)} images, {len(labels)} label files"
    if described := descriptions(files):
        return f"{counted}, described by {', '.join(described)}"
    return counted if are_labels(files, labels) else None


class Yolo(LayoutBuilder):
    BUILDER_CONFIG_CLASS = YoloConfig

    def index(self, files):
        description = Description.of(files, self.config.data)
        splits = description.splits(self.faults) or split_folders(files)
        stems, twice = set(), set()
        for path in files.images:
            stem = without_suffix(path)
            (twice if stem in stems else stems).add(stem)
        samples = {split: self._samples(files, split, paths, twice) for split, paths in splits.items()}
        labels = self._labels(files, samples)
        names = self.config.classes or description.names() or self._numbered(files, labels, samples)
        files.keep(path for rows in samples.values() for row in rows for path in row if path)
        self.classes, self.keypoints = len(names), description.keypoints()
        more = {"area": datasets.Value("float32")}
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
                samples.append((path, label_of(path, files.names)))
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
        """The label files of the rows, sorted; logs the images and label files that are in no row."""
        labels = sorted({label for rows in samples.values() for _, label in rows if label})
        if not labels:
            raise DataError(f"{files.root}: no image has a label file")
        used = {path for rows in samples.values() for path, _ in rows}.union(labels)
        folders = set(map(folder_of, labels))
        left = [path for path in files.paths if path not in used and not path.endswith("classes.txt")]
        left = [path for path in left if is_image(path) or (path.endswith(".txt") and folder_of(path) in folders)]
        if left:
            logger.warning("%s: %d images and text files belong to no row, such as %s", files.root, len(left), left[0])
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
            row["objects"] = read_objects(files, label, frame, self.classes, self.keypoints, self.config.masks)
        return row


def split_folders(files: Files) -> dict[str, list[str]]:
    """The images by split: those in folders `images` if these have labels, else all; folders may be named like splits."""
    inside = [path for path in files.images if "/images/" in f"/{path}"]
    images = inside if any(label_of(path, files.names) for path in inside) else files.images
    splits = {}
    for path in images:
        words = [folder.lower().rstrip("0123456789_-") for folder in path.split("/")[:-1]]
        splits.setdefault(next((SPLITS[word] for word in words if word in SPLITS), ""), []).append(path)
    if "" in splits and len(splits) > 1:
        raise DataError(f"{files.root}/{splits[''][0]} is beside the split folders: move it into one")
    return {split or "train": paths for split, paths in splits.items()}
