"""COCO: boxes, instance masks, keypoints, captions or panoptic segments of images, in json files and their pngs."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import datasets

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.builders.leftovers import leave_out
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.faults import readable
from dataset_scripts.core.files.listing import Files, name_of, without_suffix
from dataset_scripts.core.files.splits import SplitFolders
from dataset_scripts.core.files.stems import is_below
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.objects import RLE, check_boxes, object_features
from dataset_scripts.layouts.coco.objects import caption_of, objects_of
from dataset_scripts.layouts.coco.panoptic import COLUMNS, find_pngs, own_folder, read_segments
from dataset_scripts.layouts.coco.records import Records
from dataset_scripts.layouts.coco.sources import Images, annotation_files, by_split

logger = printable_logger(__name__)

PRECEDENCE = 2
SUFFIXES = (".json",)


@dataclass
class CocoConfig(LayoutConfig):
    """Options of `load_dataset("coco", data_dir=…)`.

    Attributes:
        task: "detection", "keypoints", "captions" or "panoptic"; None takes the first one with files.
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
    tasks, bare = annotation_files(files)
    found = [path for paths in (*tasks.values(), bare) for path in paths]
    found = [path for path in found if not name_of(path).startswith("cityscapes_panoptic_")]  # beside its own masks
    return (
        f"{len(files.images)} images; annotations in {', '.join(found[:6])}{' …' * (len(found) > 6)}" if found else None
    )


class Coco(LayoutBuilder):
    BUILDER_CONFIG_CLASS = CocoConfig
    TAKES_DATA_FILES = True

    def index(self, files):
        check_boxes(self.config.boxes)
        self.task, sources, others = self._sources(files)
        records = Records(self.faults)
        tables = dict(readable(self.faults, sources.items(), lambda item: (item[0], records.read(files, item[1]))))
        records.drop_roots(files.root)
        pngs, taken = self._pngs(files, {sources[split]: table[2] for split, table in tables.items()}, others)
        images = Images(files, [path for path in self._chosen(files) if path not in taken])
        splits = {
            split: Rows(self._samples(images, sources[split], split, *table[:2], pngs[sources[split]]))
            for split, table in tables.items()
        }
        read = {path for rows in splits.values() for path, *_ in rows.samples}
        read_pngs = [png for rows in splits.values() for *_, png in rows.samples if png]
        bare = [] if self.config.data_files else self._others(files, images.paths, read, splits)
        files.keep([*read, *read_pngs, *bare])  # once: it releases the archives of all others
        ids = [sample[1] for rows in splits.values() for sample in rows.samples]
        self.text_ids = not all(isinstance(number, int) for number in ids)
        self.text_object_ids = records.text_ids
        in_order = records.in_order
        self.places = {str(number): place for place, number in enumerate(in_order)}
        self.things = {str(number): (place, records.things.get(number)) for place, number in enumerate(in_order)}
        names = [records.categories[number] for number in in_order]
        often = Counter(names)
        names = [name if often[name] == 1 else f"{name} ({number})" for number, name in zip(in_order, names)]
        return self._features(names), splits

    def _features(self, names: list[str]) -> datasets.Features:
        features = {"image": datasets.Image(), "image_id": datasets.Value("string" if self.text_ids else "int64")}
        if self.task == "captions":
            return datasets.Features(features | {"captions": List(datasets.Value("string"))})
        more = {"area": datasets.Value("float32"), "iscrowd": datasets.Value("bool")}
        more["id"] = datasets.Value("string" if self.text_object_ids else "int64")
        if self.config.masks:
            more["segmentation"] = RLE
        if self.task == "keypoints":
            more["keypoints"] = List(List(datasets.Value("float32"), length=3))
        if self.task == "panoptic":
            features |= COLUMNS
            more["isthing"] = datasets.Value("bool")
        return datasets.Features(features | {"objects": object_features(names, **more)})

    def _sources(self, files: Files) -> tuple[str, dict[str, str], list[str]]:
        """The task, the annotation file of each split, and the panoptic files if the task is another."""
        tasks, bare = annotation_files(files, self.config.annotations)
        chosen = self.named_files()
        named = {path for paths in chosen.values() for path in paths}
        of_named = (task for task, paths in tasks.items() if not named.isdisjoint(paths))
        task = self.config.task or next(of_named, None) or next((task for task in tasks if tasks[task]), "detection")
        if task not in tasks:
            raise DataError(f"task={task!r} should be one of {', '.join(tasks)}")
        splits = chosen or by_split(tasks[task], bare)
        files.account(bare)
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
        sources = {split: paths[0] for split, paths in splits.items()}
        return task, sources, [path for path in tasks["panoptic"] if path not in sources.values()]

    def _chosen(self, files: Files) -> list[str]:
        wanted = self.config.images
        return [path for path in files.images if wanted is None or is_below(path, wanted)]

    def _pngs(
        self, files: Files, names: dict[str, dict[str, Any]], others: list[str]
    ) -> tuple[dict[str, dict[str, str]], set[str]]:
        """The png of each image, json file by json file, and all pngs of panoptic files, which are no images.

        Args:
            names: json file -> image id -> file name of its png; nothing for another task.
            others: panoptic files that are not read.
        """
        images = set(self._chosen(files) if self.config.images else ())
        pngs = [path for path in files.having(".png") if path not in images]
        found = {
            source: find_pngs(files, pngs, source, said, self.faults) if said else {} for source, said in names.items()
        }
        taken = {path for paths in found.values() for path in paths.values()}
        for source in [*(source for source, said in names.items() if said), *others]:
            own = own_folder(pngs, source)
            if source in others and not own:
                with self.faults:
                    said = Records(self.faults).read(files, source)[2]
                    own = list(find_pngs(files, pngs, source, said, self.faults).values())
            taken.update(own)
        files.account(taken)
        return found, taken

    def _others(self, files: Files, images: list[str], read: set[str], splits: dict[str, Rows]) -> list[str]:
        """The images in no annotation file: those of a split without any become rows without annotations."""
        of, lost, bare = SplitFolders(images).of, [], {}
        for path in images:
            if path not in read:
                split = of(path)
                if split and split not in splits:
                    bare.setdefault(split, []).append(path)
                else:
                    lost.append(path)
        for split, paths in bare.items():
            logger.warning("%s: no annotation file lists the images of %s: theirs are None", files.root, split)
            splits[split] = Rows([(path, without_suffix(path), None, None, None, b"", None) for path in paths])
        leave_out(files, self.faults, lost, len(images), "are in no annotation file")
        return [path for paths in bare.values() for path in paths]

    def _samples(
        self,
        images: Images,
        source: str,
        split: str,
        records: dict[str, tuple],
        annotations: dict[str, list[bytes]],
        pngs: dict[str, str],
    ) -> list[tuple]:
        where = f"{images.files.root}/{source}"
        folder = images.folder(source, split, [name for _, name, _, _ in records.values()])
        is_bare = not annotations
        if is_bare:
            logger.warning("%s: it annotates nothing: the objects of its images are None", where)
        samples, seen = [], {}
        for key, (number, name, width, height) in records.items():
            with self.faults:
                path = images.find(folder, name, source, f"{where}: image {number}")
                if path in seen:
                    raise DataError(f"{where}: images {seen[path]} and {number} are the same file {name}")
                seen[path] = number
                texts = annotations.pop(key, [])
                if self.task == "panoptic" and not is_bare and key not in pngs:
                    if texts:
                        continue  # the fault of its png is known
                    raise DataError(f"{where}: image {number} has no annotation, which others have")
                text = b"" if is_bare else b"[" + b",".join(texts) + b"]"
                samples.append((path, number, source, width, height, text, pngs.get(key)))
        return samples

    def read(self, files, sample):
        path, number, source, width, height, text, png = sample
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
        row = dict.fromkeys(self.info.features)
        row |= {"image": {"bytes": content, "path": path}, "image_id": str(number) if self.text_ids else number}
        if not text:
            return row
        annotations = parse_json(text, place)
        if self.task == "captions":
            return row | {"captions": [caption_of(annotation, place) for annotation in annotations]}
        if self.task == "panoptic":
            clip, masks = self.config.boxes == "clip", self.config.masks
            return row | read_segments(files, png, annotations, frame, annotated, place, self.things, clip, masks)
        return row | {"objects": self._objects(annotations, frame, annotated, place)}

    def _objects(self, annotations: list[dict], frame: Frame, annotated: tuple | None, where: str) -> dict[str, list]:
        clip, masks, points = self.config.boxes == "clip", self.config.masks, self.task == "keypoints"
        return objects_of(
            annotations, frame, annotated, where, self.places, clip, masks, points, text_ids=self.text_object_ids
        )
