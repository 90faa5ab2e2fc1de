"""COCO: boxes, instance masks, keypoints or captions of images, in json files of images, annotations and categories."""

import posixpath
from collections import Counter
from dataclasses import dataclass

import datasets

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.builders.leftovers import leave_out
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.faults import readable
from dataset_scripts.core.files.listing import Files, without_suffix
from dataset_scripts.core.files.splits import SplitFolders
from dataset_scripts.core.files.stems import Named, is_below
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.objects import RLE, check_boxes, object_features
from dataset_scripts.layouts.coco.objects import caption_of, objects_of
from dataset_scripts.layouts.coco.records import Records
from dataset_scripts.layouts.coco.sources import annotation_files, by_split, image_folder

logger = printable_logger(__name__)

PRECEDENCE = 2
SUFFIXES = (".json",)


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
        records = Records(self.faults)
        images = [path for path in files.images if self.config.images is None or is_below(path, self.config.images)]
        self.named = Named(files.root, images)
        tables = dict(readable(self.faults, sources.items(), lambda item: (item[0], records.read(files, item[1]))))
        records.drop_roots(files.root)
        in_order = sorted(records.categories, key=lambda number: (isinstance(number, str), number))
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
        names = [records.categories[number] for number in in_order]
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
            return row | {"captions": [caption_of(annotation, place) for annotation in annotations]}
        return row | {"objects": self._objects(annotations, frame, annotated, place)}

    def _objects(self, annotations: list[dict], frame: Frame, annotated: tuple | None, where: str) -> dict[str, list]:
        clip, has_points = self.config.boxes == "clip", self.task == "keypoints"
        return objects_of(annotations, frame, annotated, where, self.places, clip, self.config.masks, has_points)
