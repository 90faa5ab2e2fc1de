"""COCO: boxes, instance masks, keypoints or captions of images, in json files of images, annotations and categories."""

import json
import logging
import posixpath
import re
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlparse

import datasets
import numpy as np

from dataset_scripts.core.decode import Frame
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files import Files, folder_of, name_of, stem_of
from dataset_scripts.core.json_stream import elements
from dataset_scripts.core.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.objects import (
    RLE,
    encode_segmentation,
    fit_boxes,
    object_features,
)
from dataset_scripts.core.splits import split_in, split_name

logger = logging.getLogger(__name__)

PRECEDENCE = 2
PEEK = 1 << 14  # bytes at either end of a json file that tell what it is
MANY = 100  # json files in one folder: they describe an image each


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


def annotation_files(files: Files) -> dict[str, list[str]]:
    """The json files in COCO's form, by the task that they are for."""
    paths = files.having(".json")
    crowded = {folder for folder, count in Counter(map(folder_of, paths)).items() if count > MANY}
    tasks = {"detection": [], "keypoints": [], "captions": []}
    for path in paths:
        if folder_of(path) in crowded or "panoptic" in name_of(path):
            continue
        with files.open(path) as file:
            text = file.read(PEEK)
            file.seek(0, 2)
            file.seek(max(PEEK, file.tell() - PEEK))
            text += file.read(PEEK)
        keys = set(re.findall(rb'"(images|annotations|categories|file_name|image_id)"\s*:', text))
        if not (b"images" in keys or b"annotations" in keys) or not keys & {b"file_name", b"image_id", b"categories"}:
            continue
        if re.search(rb'"caption"\s*:', text) and b'"bbox"' not in text:
            tasks["captions"].append(path)
        else:
            tasks["keypoints" if "keypoint" in name_of(path) else "detection"].append(path)
    return tasks


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
        ids = [sample[1] for rows in splits.values() for sample in rows.samples]
        features = {
            "image": datasets.Image(),
            "image_id": datasets.Value("int64" if all(isinstance(number, int) for number in ids) else "string"),
        }
        self.text_ids = features["image_id"].dtype == "string"
        if self.task == "captions":
            features["captions"] = datasets.List(datasets.Value("string"))
            return datasets.Features(features), splits
        names = [self.categories[number] for number in self.places]
        often = Counter(names)
        names = [name if often[name] == 1 else f"{name} ({number})" for number, name in zip(self.places, names)]
        more = {"area": datasets.Value("float32"), "iscrowd": datasets.Value("bool"), "id": datasets.Value("int64")}
        if self.config.masks:
            more["segmentation"] = RLE
        if self.task == "keypoints":
            more["keypoints"] = datasets.List(datasets.List(datasets.Value("float32"), length=3))
        features["objects"] = object_features(names, **more)
        return datasets.Features(features), splits

    def _sources(self, files: Files) -> tuple[str, dict[str, str]]:
        """The task, and the annotation file of each split."""
        tasks = annotation_files(files)
        task = self.config.task or next((task for task, paths in tasks.items() if paths), "detection")
        if task not in tasks:
            raise DataError(f"task={task!r}: it is one of {', '.join(tasks)}")
        if self.config.data_files:
            named = self.named_files()
            paths = {path: split for split, paths in named.items() for path in paths}
        else:
            paths = {path: split_in(name_of(path)) or split_in(folder_of(path)) for path in tasks[task]}
            if len(paths) > 1:
                paths = {path: split or split_name(stem_of(path)) for path, split in paths.items()}
        if not paths:
            raise DataError(f"{files.root} has no json file with COCO's images and annotations for {task}")
        sources = {}
        for path, split in paths.items():
            split = split or "train"
            if split in sources:
                raise DataError(
                    f"{files.root}: {sources[split]} and {path} are both for the split {split}: "
                    f"choose by data_files={{{split!r}: {path!r}}}"
                )
            sources[split] = path
        return task, sources

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


def image_folder(files: Files, source: str, split: str, names: list[str]) -> str:
    """The folder that file names in an annotation file are relative to.

    Of all folders in which the first names exist it is the one beside the annotations, else the one that is called
    like them (`train2017` of `instances_train2017.json`), else like the split.

    Raises:
        DataError: none, or several equally good ones.
    """
    folders = {""}
    for folder in set(map(folder_of, files.images)):
        while folder:
            folders.add(folder)
            folder = folder_of(folder)
    some = names[:: max(1, len(names) // 20)]
    hits = {folder: sum(posixpath.join(folder, name) in files.names for name in some) for folder in sorted(folders)}
    best = [folder for folder, count in hits.items() if count == max(hits.values())]
    if not max(hits.values()):
        return folder_of(source)  # every image is reported as missing, there
    stem = stem_of(source)
    for wanted in (
        lambda folder: folder == folder_of(source),
        lambda folder: folder and stem.endswith(name_of(folder)),
        lambda folder: split_in(folder) == split,
    ):
        best = [folder for folder in best if wanted(folder)] or best
    if len(best) > 1:
        raise DataError(f"{files.root}: the images of {source} may lie in {', '.join(best)}: leave one of them in the folder")
    return best[0]
