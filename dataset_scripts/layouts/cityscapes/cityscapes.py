"""Cityscapes: street scenes with masks of classes and of instances, and polygons, each file named like its image."""

import re
from dataclasses import dataclass

import datasets
import numpy as np

from dataset_scripts.core.builders.annotated import AnnotatedBuilder, AnnotatedConfig
from dataset_scripts.core.builders.layout import Rows
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.listing import Files, name_of
from dataset_scripts.core.files.splits import SplitFolders
from dataset_scripts.core.files.stems import is_below
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.greys import Greys
from dataset_scripts.core.image.masks import fit_mask
from dataset_scripts.core.image.shapes import Annotation, Shape, Target, to_objects
from dataset_scripts.layouts.cityscapes.classes import NAMES, TRAIN_IDS, TRAIN_NAMES

logger = printable_logger(__name__)

PRECEDENCE = 2
SUFFIXES = (".png", ".jpg")
IMAGE = re.compile(r"(.+)_leftImg8bit\.(?:png|jpe?g)")
LABELS = re.compile(r"(.+)_(gtFine|gtCoarse)_(labelIds|labelTrainIds|instanceIds|polygons)\.(?:png|json)")
KNOWN = re.compile(  # what else the set and its scripts hold
    r".+_gt(Fine|Coarse)_(color|instanceTrainIds|panoptic)\.png|cityscapes_panoptic_\w+\.json|"
    r".+_(rightImg8bit\.(png|jpg)|disparity\.png|camera\.json|vehicle\.json|timestamp\.txt)"
)
EXTRA = "train_extra"  # a split that has only coarse annotations
KINDS = {"mask": "labelIds", "instance_mask": "instanceIds", "objects": "polygons"}


@dataclass
class CityscapesConfig(AnnotatedConfig):
    """Options of `load_dataset("cityscapes", data_dir=…)`; `boxes` and `masks` are about `objects`.

    Attributes:
        annotations: "gtFine" or "gtCoarse"; None takes the fine ones, if there are some.
        ids: of the mask: "label", those of the files, or "train", the 19 that are trained and 255 for all others.
        objects: also read the polygons, as the column `objects`.
    """

    ids: str = "label"
    objects: bool = False


def matches(files):
    """Images and annotations by the names of Cityscapes."""
    images = sum(IMAGE.fullmatch(name_of(path)) is not None for path in files.images)
    labels = sum(LABELS.fullmatch(name_of(path)) is not None for path in files.paths)
    return f"{images} images called _leftImg8bit, {labels} files of annotations" if images and labels else None


class Cityscapes(AnnotatedBuilder):
    BUILDER_CONFIG_CLASS = CityscapesConfig
    OBJECT_COLUMNS = {"iscrowd": datasets.Value("bool")}

    def index(self, files):
        config = self.config
        for name, value, allowed in (
            ("ids", config.ids, ("label", "train")),
            ("boxes", config.boxes, ("raise", "clip")),
            ("annotations", config.annotations, (None, "gtFine", "gtCoarse")),
        ):
            if value not in allowed:
                raise DataError(f"{name}={value!r}: it is {' or '.join(repr(each) for each in allowed if each)}")
        images, found = self._find(files)
        if not images:
            raise DataError(f"{files.root} has no images called …_leftImg8bit.png")
        if config.ids == "train" and not found["labelIds"]:
            found["labelIds"] = found["labelTrainIds"]
            self.greys = Greys()
        elif found["labelTrainIds"] and not found["labelIds"]:
            raise DataError(f"{files.root} has masks of train ids alone: pass ids='train'")
        else:
            why = "which is none of the label ids of Cityscapes, 0 to 33"
            self.greys = Greys(TRAIN_IDS, why=why) if config.ids == "train" else Greys()
        self.columns = {
            name: kind for name, kind in KINDS.items() if (config.objects if name == "objects" else found[kind])
        }
        if config.objects and not found["polygons"]:
            raise DataError(f"{files.root} has no polygons of these annotations: objects=True reads them")
        self.places = {name: place for place, name in enumerate(NAMES)}
        self.is_polygonal, self.has_masks = True, config.masks
        names = TRAIN_NAMES if config.ids == "train" else NAMES[:-1]
        self.info.description += "\n\nIds: " + ", ".join(f"{place} {name}" for place, name in enumerate(names)) + "."
        features = {"image": datasets.Image(), "image_id": datasets.Value("string")}
        features |= {name: datasets.Image() for name in self.columns if name != "objects"}
        features |= {"objects": self._features()["objects"]} if config.objects else {}
        splits = self._rows(files, images, found)
        return datasets.Features(features), {split: Rows(rows) for split, rows in splits.items()}

    def _find(self, files: Files) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """The images by the beginning of their names, and their annotations, kind by kind."""
        images: dict[str, str] = {}
        both: dict[str, dict[str, dict[str, str]]] = {
            name: {kind: {} for kind in (*KINDS.values(), "labelTrainIds")} for name in ("gtFine", "gtCoarse")
        }
        known = []
        for path in files.paths:
            name = name_of(path)
            if (match := IMAGE.fullmatch(name)) and (not self.config.images or is_below(path, self.config.images)):
                self._add(files, images, match[1], path)
            elif match := LABELS.fullmatch(name):
                self._add(files, both[match[2]][match[3]], match[1], path)
            elif KNOWN.fullmatch(name):
                known.append(path)
        files.account(known)
        if known:
            logger.info("%s: %d files of Cityscapes are left out, such as %s", files.root, len(known), known[0])
        wanted = self.config.annotations or ("gtFine" if any(both["gtFine"].values()) else "gtCoarse")
        for name, found in both.items():
            others = [path for paths in found.values() for path in paths.values()]
            files.account(others)
            if others and name != wanted:
                logger.warning("%s: annotations=%r would read those, not %s", files.root, name, wanted)
        return images, both[wanted]

    def _add(self, files: Files, found: dict[str, str], key: str, path: str) -> None:
        with self.faults:
            if key in found:
                files.account([path])
                raise DataError(f"{files.root}: {found[key]} and {path} have the same name: remove one")
            found[key] = path

    def _rows(self, files: Files, images: dict[str, str], found: dict[str, dict[str, str]]) -> dict[str, list[tuple]]:
        """The rows of each split: the beginning of the names, the image, and an annotation or None for each column."""
        of = SplitFolders(images.values()).of
        groups: dict[str, list[str]] = {}
        for key, path in images.items():
            groups.setdefault(EXTRA if f"/{EXTRA}/" in f"/{path}" else of(path) or "train", []).append(key)
        rows: dict[str, list[tuple]] = {}
        for split, keys in groups.items():
            there = {name: kind for name, kind in self.columns.items() if not found[kind].keys().isdisjoint(keys)}
            if missing := ", ".join(name for name in self.columns if name not in there):
                logger.warning("%s: no image of %s has %s: theirs are None", files.root, split, missing)
            for key in keys:
                with self.faults:
                    files.account([images[key]])
                    lacking = next((kind for kind in there.values() if key not in found[kind]), None)
                    if lacking:
                        raise DataError(f"{files.root}/{images[key]} has no {lacking}, which others of {split} have")
                    paths = [found[kind].get(key) for kind in self.columns.values()]
                    rows.setdefault(split, []).append((key, images[key], *paths))
        for paths in found.values():
            for key in sorted(paths.keys() - images.keys()):
                with self.faults:
                    raise DataError(f"{files.root}/{paths[key]} has no image {key}_leftImg8bit.png")
        files.keep(path for part in rows.values() for _, *paths in part for path in paths if path)
        return rows

    def read(self, files, sample):
        key, image, *paths = sample
        content = files.read(image)
        row = {"image": {"bytes": content, "path": image}, "image_id": key}
        frame = Frame.of(content, f"{files.root}/{image}")
        for name, path in zip(self.columns, paths):
            where = f"{files.root}/{path}"
            if path is None:
                row[name] = None
            elif name == "objects":
                annotation = self._parsed(files, image, path, None)
                target = Target(self.places, self.OBJECT_COLUMNS, self.config.boxes == "clip", True, self.config.masks)
                row[name] = to_objects(annotation, frame, where, target)
            else:
                greys = self.greys if name == "mask" else Greys()
                row[name] = fit_mask({"bytes": files.read(path), "path": path}, frame, where, greys=greys)
        return row

    def parse(self, content, where):
        """Reads polygons; a `cargroup` is several cars that are not told apart.

        The format: https://github.com/mcordts/cityscapesScripts, helpers/annotation.py.
        """
        with reading(where):
            return self._polygons(parse_json(content, where), where)

    @staticmethod
    def _polygons(said, where):
        shapes = []
        for number, each in enumerate(said["objects"], 1):
            label = each["label"]
            single = label.removesuffix("group") if label not in NAMES else label
            if single not in NAMES:
                raise DataError(f"{where}, object {number}: {short(label)} is no class of Cityscapes")
            if not each.get("deleted"):
                points = np.array(each["polygon"], np.float64)
                shapes.append(Shape(single, "polygon", points, {"iscrowd": single != label}))
        return Annotation(shapes, (said["imgWidth"], said["imgHeight"]))
