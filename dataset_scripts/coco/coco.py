"""COCO: boxes, instance masks, keypoints or captions of images, in json files of images, annotations and categories."""

import json
import logging
import posixpath
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlparse

import datasets
import numpy as np

from dataset_scripts.coco.sources import annotation_files, by_split, image_folder
from dataset_scripts.core.decode import Frame
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.features import List
from dataset_scripts.core.files import Files
from dataset_scripts.core.json_stream import elements
from dataset_scripts.core.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.objects import (
    RLE,
    encode_segmentation,
    fit_boxes,
    object_features,
)

logger = logging.getLogger(__name__)

PRECEDENCE = 2
SUFFIXES = (".json",)


@dataclass
class CocoConfig(LayoutConfig):
    """Options of `load_dataset("coco", data_dir=…)`.

    Attributes:
        task: "detection", "keypoints" or "captions"; None takes the first of them that there are files for.
        masks: also read the segmentations, as run-length codes; needs pycocotools.
    """

    task: str | None = None
    masks: bool = False


def matches(files):
    """A json file with COCO's lists."""
    tasks = annotation_files(files)
    found = [path for paths in tasks.values() for path in paths]
    return f"{len(files.images)} images; annotations in {', '.join(found[:6])}{' …' * (len(found) > 6)}" if found else None


class Coco(LayoutBuilder):
    BUILDER_CONFIG_CLASS = CocoConfig
    TAKES_DATA_FILES = True

    def index(self, files):
        self.task, sources = self._sources(files)
        self.categories, named_in = {}, {}  # category id -> name, and the file that says so
        tables = {split: self._read_json(files, path, named_in) for split, path in sources.items()}
        self.places = {number: place for place, number in enumerate(sorted(self.categories))}
        splits = {split: Rows(self._samples(files, sources[split], split, *table)) for split, table in tables.items()}
        read = {sample[0] for rows in splits.values() for sample in rows.samples}
        if len(read) < len(files.images):
            other = next(path for path in files.images if path not in read)
            logger.warning("%s: %d images are in no annotation file and left out, such as %s",
                           files.root, len(files.images) - len(read), other)  # fmt: skip
        files.keep(read)
        ids = [sample[1] for rows in splits.values() for sample in rows.samples]
        features = {
            "image": datasets.Image(),
            "image_id": datasets.Value("int64" if all(isinstance(number, int) for number in ids) else "string"),
        }
        self.text_ids = features["image_id"].dtype == "string"
        if self.task == "captions":
            features["captions"] = List(datasets.Value("string"))
            return datasets.Features(features), splits
        names = [self.categories[number] for number in self.places]
        often = Counter(names)
        names = [name if often[name] == 1 else f"{name} ({number})" for number, name in zip(self.places, names)]
        more = {"area": datasets.Value("float32"), "iscrowd": datasets.Value("bool"), "id": datasets.Value("int64")}
        if self.config.masks:
            more["segmentation"] = RLE
        if self.task == "keypoints":
            more["keypoints"] = List(List(datasets.Value("float32"), length=3))
        features["objects"] = object_features(names, **more)
        return datasets.Features(features), splits

    def _sources(self, files: Files) -> tuple[str, dict[str, str]]:
        """The task, and the annotation file of each split."""
        tasks = annotation_files(files)
        task = self.config.task or next((task for task, paths in tasks.items() if paths), "detection")
        if task not in tasks:
            raise DataError(f"task={task!r}: it is one of {', '.join(tasks)}")
        splits = self.named_files() or by_split(tasks[task])
        if not splits:
            raise DataError(f"{files.root} has no json file with COCO's images and annotations for {task}")
        for split, paths in splits.items():
            if len(paths) > 1:
                raise DataError(
                    f"{files.root}: {paths[0]} and {paths[1]} are both for the split {split}: "
                    f"choose by data_files={{{split!r}: {paths[1]!r}}}"
                )
        return task, {split: paths[0] for split, paths in splits.items()}

    def _read_json(self, files: Files, path: str, named_in: dict) -> tuple[dict, dict]:
        """Reads a file once: image id -> record, and image id -> the json texts of its annotations."""
        where = f"{files.root}/{path}"
        images, annotations = {}, {}
        with files.open(path) as file:
            for key, text in elements(file, where):
                if key == "categories":
                    category = json.loads(text)
                    number, name = category["id"], category["name"]
                    if self.categories.setdefault(number, name) != name:
                        raise DataError(f"{where}: category {number} is {name}, in {named_in[number]} {self.categories[number]}")
                    named_in[number] = where
                elif key == "images":
                    with self.faults:
                        record = json.loads(text)
                        number = self._get(record, "id", f"{where}: an image")
                        if number in images:
                            raise DataError(f"{where}: image id {number} stands twice")
                        name = record.get("file_name") or urlparse(record.get("coco_url", "")).path.lstrip("/")  # LVIS
                        if not name:
                            raise DataError(f"{where}: image {number} has no file_name")
                        images[number] = (name.replace("\\", "/"), record.get("width"), record.get("height"))
                elif key == "annotations":
                    with self.faults:
                        number = self._get(json.loads(text), "image_id", f"{where}: an annotation")
                        annotations.setdefault(number, []).append(text)
        for number in annotations.keys() - images.keys():
            with self.faults:
                raise DataError(f"{where}: annotations of image {number}, which is not in its images")
        return images, annotations

    @staticmethod
    def _get(record: dict, key: str, what: str):
        if not isinstance(record, dict) or not isinstance(record.get(key), (int, str)):
            raise DataError(f"{what} has no {key}: {str(record)[:100]}")
        return record[key]

    def _samples(self, files: Files, source: str, split: str, images: dict, annotations: dict) -> list[tuple]:
        where = f"{files.root}/{source}"
        folder = image_folder(files, source, split, [name for name, _, _ in images.values()])
        samples, seen = [], {}
        for number, (name, width, height) in images.items():
            with self.faults:
                path = posixpath.normpath(posixpath.join(folder, name))
                if posixpath.isabs(name) or path.startswith("../") or name[1:2] == ":":
                    raise DataError(f"{where}: image {number}, {name}, leads outside of {files.root}")
                if path not in files.names:
                    raise DataError(f"{where}: image {number}, {name}, is not in {files.root}/{folder}")
                if path in seen:
                    raise DataError(f"{where}: images {seen[path]} and {number} are the same file {name}")
                seen[path] = number
                texts = annotations.pop(number, [])
                samples.append((path, number, source, width, height, b"[" + b",".join(texts) + b"]"))
        return samples

    def read(self, files, sample):
        path, number, source, width, height, text = sample
        where = f"{files.root}/{source}"
        content = files.read(path)
        frame = Frame.of(content, f"{files.root}/{path}")
        annotated = (width, height) if width and height else None
        if annotated not in (None, frame.size, frame.stored):
            raise DataError(f"{where}: image {number} is {width} x {height} there, and {frame.size[0]} x {frame.size[1]} in {path}")
        annotations = json.loads(text)
        row = {"image": {"bytes": content, "path": path}, "image_id": str(number) if self.text_ids else number}
        if self.task == "captions":
            return row | {"captions": [annotation["caption"].strip() for annotation in annotations]}
        return row | {"objects": self._objects(annotations, frame, annotated, f"{where}, image {number}")}

    def _objects(self, annotations: list[dict], frame: Frame, annotated: tuple | None, where: str) -> dict[str, list]:
        labels = [f"{where}, annotation {annotation.get('id')}" for annotation in annotations]
        boxes = []
        for annotation, label in zip(annotations, labels):
            box = annotation.get("bbox")
            if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, (int, float)) for value in box):
                raise DataError(f"{label}: bbox is {box}, not [x, y, width, height]")
            if annotation.get("category_id") not in self.places:
                raise DataError(f"{label}: there is no category {annotation.get('category_id')}")
            boxes.append(box)
        fitted = fit_boxes(boxes, frame, annotated, labels)
        objects = {
            "bbox": list(fitted),
            "category": [self.places[annotation["category_id"]] for annotation in annotations],
            "area": [annotation.get("area", box[2] * box[3]) for annotation, box in zip(annotations, boxes)],
            "iscrowd": [bool(annotation.get("iscrowd", 0)) for annotation in annotations],
            "id": [annotation.get("id") for annotation in annotations],
        }
        if self.config.masks:
            objects["segmentation"] = [
                encode_segmentation(annotation.get("segmentation"), annotated or frame.size, frame, label)
                for annotation, label in zip(annotations, labels)
            ]
        if self.task == "keypoints":
            objects["keypoints"] = []
            for annotation, label in zip(annotations, labels):
                points = annotation.get("keypoints")
                if not isinstance(points, list) or len(points) % 3:
                    raise DataError(f"{label}: keypoints are not x, y, visible of each")
                points = np.array(points, np.float32).reshape(-1, 3)
                if frame.turns(annotated):
                    points[:, :2] = np.where(points[:, 2:] > 0, frame.turn_points(points[:, :2]), points[:, :2])
                objects["keypoints"].append(list(points))
        return objects
