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
from dataset_scripts.core.builders.leftovers import leave_out
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.faults import readable
from dataset_scripts.core.files.listing import Files, without_suffix
from dataset_scripts.core.files.splits import SplitFolders
from dataset_scripts.core.files.stems import Named, is_below
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_stream import FAULTY, Element, elements
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.objects import (
    RLE,
    check_boxes,
    encode_segmentation,
    fit_boxes,
    is_number,
    object_features,
)
from dataset_scripts.core.image.rle import mask_tools, sound_code
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
        images: the folder of the images, if others are there too.
        annotations: the folder of the json files, or the file, if others are there too.
        boxes: "raise" refuses a box that reaches out of its image by more than a pixel, "clip" cuts it there.
    """

    task: str | None = None
    masks: bool = False
    images: str | None = None
    annotations: str | None = None
    boxes: str = "raise"


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
        check_boxes(self.config.boxes)
        self.task, sources = self._sources(files)
        self.categories, named_in = {}, {}  # category id -> name, and the file that defines it
        self.above, self.used = set(), set()  # the names of supercategories, and the ids that objects have
        images = [path for path in files.images if self.config.images is None or is_below(path, self.config.images)]
        self.named = Named(files.root, images)
        read = readable(self.faults, sources.items(), lambda item: (item[0], self._read_json(files, item[1], named_in)))
        tables = dict(read)
        self._drop_roots(files)
        in_order = sorted(self.categories, key=lambda number: (isinstance(number, str), number))
        self.places = {str(number): place for place, number in enumerate(in_order)}
        splits = {split: Rows(self._samples(files, sources[split], split, *table)) for split, table in tables.items()}
        read = {sample[0] for rows in splits.values() for sample in rows.samples}
        files.keep(read)
        if not self.config.data_files:
            self._others(files, images, read, splits)
        ids = [sample[1] for rows in splits.values() for sample in rows.samples]
        features = {
            "image": datasets.Image(),
            "image_id": datasets.Value("int64" if all(isinstance(number, int) for number in ids) else "string"),
        }
        self.text_ids = features["image_id"].dtype == "string"
        if self.task == "captions":
            features["captions"] = List(datasets.Value("string"))
            return datasets.Features(features), splits
        names = [self.categories[number] for number in in_order]
        often = Counter(names)
        names = [name if often[name] == 1 else f"{name} ({number})" for number, name in zip(in_order, names)]
        more = {"area": datasets.Value("float32"), "iscrowd": datasets.Value("bool"), "id": datasets.Value("int64")}
        if self.config.masks:
            more["segmentation"] = RLE
        if self.task == "keypoints":
            more["keypoints"] = List(List(datasets.Value("float32"), length=3))
        features["objects"] = object_features(names, **more)
        return datasets.Features(features), splits

    def _sources(self, files: Files) -> tuple[str, dict[str, str]]:
        """The task, and the annotation file of each split."""
        tasks = annotation_files(files, self.config.annotations)
        task = self.config.task or next((task for task, paths in tasks.items() if paths), "detection")
        if task not in tasks:
            raise DataError(f"task={task!r} should be one of {', '.join(tasks)}")
        splits = self.named_files() or by_split(tasks[task])
        for other, paths in tasks.items():
            files.account(paths)
            if paths and other != task:
                logger.warning("%s: %s: task=%r reads them", files.root, ", ".join(paths), other)
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
                        if str(number) in images:
                            raise DataError(f"{where}, line {element.line}: image id {number} occurs twice")
                        images[str(number)] = (number, *image)
                    elif element.key == "annotations":
                        number = self._get(element, "image_id", where)
                        annotations.setdefault(str(number), []).append(element.text)
                        self.used.add(str(element.value.get("category_id")))
        for number in map(
            str, incomplete
        ):  # an image without one of its objects would teach that the object is not there
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
        self.above.add(element.value.get("supercategory"))

    def _drop_roots(self, files: Files) -> None:
        """Drops what some tools put above all categories, and nothing is in: a name that others have as supercategory."""
        for number, name in list(self.categories.items()):
            if str(number) not in self.used and name in self.above and len(self.categories) > 1:
                logger.warning(
                    "%s: %s is only the name above other categories, and is no class", files.root, short(name)
                )
                del self.categories[number]

    def _others(self, files: Files, images: list[str], read: set[str], splits: dict[str, Rows]) -> None:
        """The images in no annotation file: of a split without any they become rows without annotations."""
        of, lost, bare = SplitFolders(files.images).of, [], {}
        for path in images:
            if path not in read:
                split = of(path)
                if split and split not in splits:
                    bare.setdefault(split, []).append(path)
                else:
                    lost.append(path)
        for split, paths in bare.items():
            logger.warning("%s: no annotation file lists the images of %s: theirs are None", files.root, split)
            splits[split] = Rows([(path, without_suffix(path), None, None, None, b"") for path in paths])
            files.keep([*read, *(path for paths in bare.values() for path in paths)])
        leave_out(files, self.faults, lost, len(images), "are in no annotation file")

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
        size = size if all(side is not None and side > 0 for side in size) else (None, None)  # VIA writes -1
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
        folder = image_folder(files, source, split, [name for _, name, _, _ in images.values()])
        is_bare = not annotations
        if is_bare:
            logger.warning("%s: it annotates nothing: the objects of its images are None", where)
        samples, seen = [], {}
        for key, (number, name, width, height) in images.items():
            with self.faults:
                path = posixpath.normpath(posixpath.join(folder, name))
                if path not in files.names or self.config.images is not None:
                    path = self.named.find(name, source, f"{where}: image {number}")
                if path in seen:
                    raise DataError(f"{where}: images {seen[path]} and {number} are the same file {name}")
                seen[path] = number
                texts = annotations.pop(key, [])
                text = b"" if is_bare else b"[" + b",".join(texts) + b"]"
                samples.append((path, number, source, width, height, text))
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
        row = {"image": {"bytes": content, "path": path}, "image_id": str(number) if self.text_ids else number}
        if not text:
            return row | ({"captions": None} if self.task == "captions" else {"objects": None})
        annotations = parse_json(text, place)
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
            complete_box(annotation, label)
            check_annotation(annotation, label)
            if str(annotation["category_id"]) not in self.places:
                raise DataError(f"{label}: there is no category {short(annotation['category_id'])}")
        boxes = [annotation["bbox"] for annotation in annotations]
        clip = self.config.boxes == "clip"
        fitted = fit_boxes(boxes, frame, annotated, labels, clip=clip)
        cut = (np.abs(fitted[:, 2:].prod(1) - np.prod(np.array(boxes, float).reshape(-1, 4)[:, 2:], 1)) > 1e-3) & clip
        objects = {
            "bbox": list(fitted),
            "category": [self.places[str(annotation["category_id"])] for annotation in annotations],
            "area": [
                box[2] * box[3] if is_cut else annotation.get("area", box[2] * box[3])
                for annotation, box, is_cut in zip(annotations, fitted, cut)
            ],
            "iscrowd": [bool(annotation.get("iscrowd", 0)) for annotation in annotations],
            "id": [annotation.get("id") for annotation in annotations],
        }
        if self.config.masks:
            objects["segmentation"] = [
                encode_segmentation(segmentation_of(annotation), annotated or frame.size, frame, label)
                for annotation, label in zip(annotations, labels)
            ]
        if self.task == "keypoints":
            objects["keypoints"] = [
                keypoints(annotation.get("keypoints"), frame, annotated, label)
                for annotation, label in zip(annotations, labels)
            ]
        return objects


def complete_box(annotation: dict, where: str) -> None:
    """Gives an object without a box the extent of its polygons, or of its run-length code."""
    shape = annotation.get("segmentation")
    if annotation.get("bbox") not in (None, []) or not shape:
        return
    with reading(f"{where}: no segmentation"):
        if isinstance(shape, dict):
            code = sound_code(shape, tuple(shape["size"]))
            annotation["bbox"] = [float(number) for number in mask_tools().toBbox(code)]
        else:
            points = np.concatenate([np.array(polygon, np.float64).reshape(-1, 2) for polygon in shape])
            low, high = points.min(0), points.max(0)
            annotation["bbox"] = [float(number) for number in (*low, *(high - low))]


def segmentation_of(annotation: dict) -> object:
    """The segmentation; of an object that has only a box, a code without pixels: what is inside the box is not known."""
    shape = annotation.get("segmentation")
    return [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]] if shape in (None, []) and annotation.get("bbox") else shape


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
