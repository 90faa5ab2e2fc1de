"""COCO: boxes, instance masks, keypoints or captions of images, in json files of images, annotations and categories."""

import json
import posixpath
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

import datasets
import numpy as np

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.faults import readable
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_stream import FAULTY, Element, elements
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.objects import RLE, encode_segmentation, fit_boxes, is_number, object_features
from dataset_scripts.layouts.coco.sources import annotation_files, by_split, image_folder

logger = printable_logger(__name__)

PRECEDENCE = 2
SUFFIXES = (".json",)
_IMAGE_ID = re.compile(rb'"image_id"\s*:\s*(-?\d{1,19}(?![\d.eE])|"(?:[^"\\\n]|\\.)*+")')


@dataclass
class CocoConfig(LayoutConfig):
    """Options of `load_dataset("coco", data_dir=…)`.

    Attributes:
        task: "detection", "keypoints" or "captions"; None takes the first one with files.
        masks: also read the segmentations, as run-length codes; needs pycocotools.
    """

    task: str | None = None
    masks: bool = False


def matches(files):
    """A json file with COCO's lists."""
    tasks = annotation_files(files)
    found = [path for paths in tasks.values() for path in paths]
    return (
        f"{len(files.images)} images; annotations in {', '.join(found[:6])}{' …' * (len(found) > 6)}" if found else None
    )


class Coco(LayoutBuilder):
    BUILDER_CONFIG_CLASS = CocoConfig
    TAKES_DATA_FILES = True

    def index(self, files):
        self.task, sources = self._sources(files)
        self.categories, named_in = {}, {}  # category id -> name, and the file that defines it
        read = readable(self.faults, sources.items(), lambda item: (item[0], self._read_json(files, item[1], named_in)))
        tables = dict(read)
        in_order = sorted(self.categories, key=lambda number: (isinstance(number, str), number))
        self.places = {number: place for place, number in enumerate(in_order)}
        splits = {split: Rows(self._samples(files, sources[split], split, *table)) for split, table in tables.items()}
        read = {sample[0] for rows in splits.values() for sample in rows.samples}
        if len(read) < len(files.images):
            other = next(path for path in files.images if path not in read)
            logger.warning(
                "%s: %d images are in no annotation file and are left out, such as %s",
                files.root,
                len(files.images) - len(read),
                other,
            )
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
            raise DataError(f"task={task!r} should be one of {', '.join(tasks)}")
        splits = self.named_files() or by_split(tasks[task])
        if not splits:
            raise DataError(f"{files.root} has no json file with COCO's images and annotations for {task}")
        for split, paths in splits.items():
            if len(paths) > 1:
                raise DataError(
                    f"{files.root}: {paths[0]} and {paths[1]} are both for the split {split}: "
                    f"choose one with data_files={{{split!r}: {paths[1]!r}}}"
                )
        return task, {split: paths[0] for split, paths in splits.items()}

    def _read_json(self, files: Files, path: str, named_in: dict) -> tuple[dict, dict]:
        """Reads a file once: image id -> record, and image id -> the json texts of its annotations."""
        where = f"{files.root}/{path}"
        images, annotations, incomplete = {}, {}, set()
        with files.open(path) as file:
            for element in elements(file, where, self.faults):
                with self.faults:
                    if element.value is FAULTY:
                        if element.key == "annotations":
                            incomplete.update(map(json.loads, _IMAGE_ID.findall(element.text)))
                    elif element.key == "categories":
                        self._add_category(element, where, named_in)
                    elif element.key == "images":
                        number, image = self._image(element, where)
                        if number in images:
                            raise DataError(f"{where}, line {element.line}: image id {number} occurs twice")
                        images[number] = image
                    elif element.key == "annotations":
                        number = self._get(element, "image_id", where)
                        annotations.setdefault(number, []).append(element.text)
        for (
            number
        ) in incomplete:  # an image without one of its objects would teach a model that the object is not there
            images.pop(number, None)
            annotations.pop(number, None)
        for number in annotations.keys() - images.keys():
            with self.faults:
                raise DataError(f"{where}: there are annotations of image {number}, which is not among its images")
        return images, annotations

    def _add_category(self, element: Element, where: str, named_in: dict) -> None:
        number, name = self._get(element, "id", where), element.value.get("name")
        if not isinstance(name, str):
            raise DataError(f"{where}, line {element.line}: the name of category {number} is {short(name)}, not text")
        if self.categories.setdefault(number, name) != name:
            raise DataError(
                f"{where}: category {number} is {name}, but {self.categories[number]} in {named_in[number]}"
            )
        named_in[number] = where

    def _image(self, element: Element, where: str) -> tuple[int | str, tuple]:
        """The id of an image, and its file name, width and height, None if they are not given."""
        number, record = self._get(element, "id", where), element.value
        place = f"{where}, line {element.line}: image {number}"
        name = record.get("file_name")
        if not name and isinstance(url := record.get("coco_url"), str):  # LVIS
            with reading(place):
                name = urlparse(url).path.lstrip("/")
        if not isinstance(name, str) or not name:
            raise DataError(f"{place} has no file_name" + (f", but {short(name)}" if name else ""))
        size = record.get("width"), record.get("height")
        if not all(side is None or is_number(side) for side in size):
            raise DataError(f"{place} is {short(size[0])} x {short(size[1])}, which is not a size in pixels")
        return number, (name.replace("\\", "/"), *size)

    @staticmethod
    def _get(element: Element, key: str, where: str) -> int | str:
        """An id: text, or a whole number of 64 bits."""
        number = element.value.get(key) if isinstance(element.value, dict) else None
        if type(number) is str or (type(number) is int and -(1 << 63) <= number < 1 << 63):
            return number
        what = {"categories": "a category", "images": "an image", "annotations": "an annotation"}[element.key]
        raise DataError(
            f"{where}, line {element.line}: {what} has no {key}, a whole number or text: {short(element.value)}"
        )

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
            raise DataError(
                f"{where}: image {number} is {width} x {height} there, but {frame.size[0]} x {frame.size[1]} in {path}"
            )
        if annotated:
            annotated = frame.size if annotated == frame.size else frame.stored  # as whole numbers
        place = f"{where}, image {number}"
        annotations = parse_json(text, place)
        row = {"image": {"bytes": content, "path": path}, "image_id": str(number) if self.text_ids else number}
        if self.task == "captions":
            return row | {"captions": [self._caption(annotation, place) for annotation in annotations]}
        return row | {"objects": self._objects(annotations, frame, annotated, place)}

    @staticmethod
    def _caption(annotation: dict, where: str) -> str:
        caption = annotation.get("caption")
        if not isinstance(caption, str):
            raise DataError(
                f"{where}, annotation {short(annotation.get('id'))}: its caption is {short(caption)}, not text"
            )
        return caption.strip()

    def _objects(self, annotations: list[dict], frame: Frame, annotated: tuple | None, where: str) -> dict[str, list]:
        labels = [f"{where}, annotation {short(annotation.get('id'))}" for annotation in annotations]
        for annotation, label in zip(annotations, labels):
            check_annotation(annotation, label)
            if annotation["category_id"] not in self.places:
                raise DataError(f"{label}: there is no category {short(annotation['category_id'])}")
        boxes = [annotation["bbox"] for annotation in annotations]
        objects = {
            "bbox": list(fit_boxes(boxes, frame, annotated, labels)),
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
            objects["keypoints"] = [
                keypoints(annotation.get("keypoints"), frame, annotated, label)
                for annotation, label in zip(annotations, labels)
            ]
        return objects


def check_annotation(annotation: dict, where: str) -> None:
    """Raises DataError if a value that every object has is not of COCO's type."""
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise DataError(f"{where}: bbox is {short(box)}, not [x, y, width, height]")
    if type(annotation.get("category_id")) not in (int, str):
        raise DataError(f"{where}: there is no category {short(annotation.get('category_id'))}")
    number = annotation.get("id")
    if number is not None and not (type(number) is int and -(1 << 63) <= number < 1 << 63):
        raise DataError(f"{where}: its id is not a whole number of 64 bits")
    if annotation.get("area") is not None and not is_number(annotation["area"]):
        raise DataError(f"{where}: area is {short(annotation['area'])}, not a number")
    if annotation.get("iscrowd") not in (None, 0, 1):
        raise DataError(f"{where}: iscrowd is {short(annotation['iscrowd'])}, not 0 or 1")


def keypoints(points: Any, frame: Frame, annotated: tuple | None, where: str) -> list[np.ndarray]:
    """(K, 3) float32 x, y, visible in pixels of the decoded image, from 3 K numbers in those of the annotated one."""
    if not isinstance(points, list) or len(points) % 3 or not all(map(is_number, points)):
        raise DataError(f"{where}: keypoints are not x, y, visible for each point")
    points = np.array(points, np.float32).reshape(-1, 3)
    if not np.isfinite(points).all():
        raise DataError(f"{where}: keypoints are not finite numbers")
    if frame.turns(annotated):
        points[:, :2] = np.where(points[:, 2:] > 0, frame.turn_points(points[:, :2]), points[:, :2])
    return list(points)
