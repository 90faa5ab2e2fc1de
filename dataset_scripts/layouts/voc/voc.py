"""PASCAL VOC: boxes in one xml file per image, or masks of classes and of instances; lists in ImageSets define the splits."""

import re
from dataclasses import dataclass

import datasets

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.builders.leftovers import leave_out
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, is_image, name_of, without_suffix
from dataset_scripts.core.files.splits import SplitFolders, split_name
from dataset_scripts.core.files.stems import is_below, pair_by_stem
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.masks import fit_mask
from dataset_scripts.core.image.objects import check_boxes, object_features
from dataset_scripts.layouts.voc.annotation import MARKS, read_objects, survey

logger = printable_logger(__name__)

PRECEDENCE = 2
PEEK = 1 << 14  # bytes of an xml file that show what it is
CLASSES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep sofa "
    "train tvmonitor".split()
)
TASKS = {"detection": "Main", "segmentation": "Segmentation"}  # task -> its folder of ImageSets
MASKS = {"segmentationclass": "mask", "segmentationobject": "instance_mask"}
FOLDERS = {*MASKS, "jpegimages", "images", "image", "annotations", "annotation", "xmls", "xml"}
IMAGE_SET = re.compile(r"(?P<base>(?:.*/)?)ImageSets/(?:(?P<task>Main|Segmentation)/)?(?P<name>[^/]+)\.txt")


@dataclass
class VocConfig(LayoutConfig):
    """Options of `load_dataset("voc", data_dir=…)`.

    Attributes:
        task: "detection" or "segmentation"; None takes the first one with files.
        year: the year to read if there are several: "2012" for VOC2012.
        classes: names of the categories, in order; None reads them from the xml files.
        images: the folder of the images, if others are there too.
        annotations: the folder of the xml files, if others are there too.
        boxes: "raise" refuses a box that reaches out of its image by more than a pixel, "clip" cuts it there.
        one_based: whether the first pixel is 1 and the last one belongs to the box, as in VOC; False for tools that
            count edges from 0.
    """

    task: str | None = None
    year: str | int | None = None
    classes: list[str] | None = None
    images: str | None = None
    annotations: str | None = None
    boxes: str = "raise"
    one_based: bool = True


def matches(files):
    """JPEGImages with xml files or SegmentationClass, or images with an xml file of their stem."""
    named = any("JPEGImages/" in path for path in files.images)
    if not named and not files.having(".xml"):
        return None
    found, _ = sort_files(files)
    counted = ", ".join(f"{len(paths)} {kind.replace('_', ' ')} files" for kind, paths in found.items() if paths)
    if named and (found["xml"] or found["mask"]):
        return f"{counted}, with JPEGImages"
    paired = found["image"].keys() & found["xml"].keys()
    if not paired:
        return None
    with files.open(found["xml"][min(paired)]) as file:
        head = re.split(rb"<annotation[\s>]", file.read(PEEK), maxsplit=1)
    says = re.search(rb"<(object|size)[\s>]", head[-1]) if len(head) > 1 else None
    return f"{counted}, {len(paired)} of the images with an xml file" if says else None


def sort_files(
    files: Files, images: str | None = None, annotations: str | None = None
) -> tuple[dict[str, dict[str, str]], dict[str, tuple[str, str]]]:
    """What belongs together has one key: the path without suffix and without the folders that VOC sorts files into.

    In folders of other names, an xml file has the key of the image that it is about by its stem.

    Args:
        images, annotations: the folders to look in; None for all.

    Returns:
        kind ("image", "xml", "mask", "instance_mask") -> key -> path; and the keys that two files of a kind share.
    """
    found = {"image": {}, "xml": {}, "mask": {}, "instance_mask": {}}
    twice = {}
    for path in files.paths:
        *folders, name = path.split("/")
        kind = "xml" if name.lower().endswith(".xml") else "image" if is_image(name) else None
        wanted = {"xml": annotations, "image": images}.get(kind)
        if kind is None or (wanted is not None and not is_below(path, wanted)):
            continue
        if kind == "image":
            kind = next((MASKS[folder.lower()] for folder in folders if folder.lower() in MASKS), "image")
        key = "/".join([folder for folder in folders if folder.lower() not in FOLDERS] + [without_suffix(name)])
        first = found[kind].setdefault(key, path)
        if first != path:
            twice[key] = (first, path)
    lonely = {path: key for key, path in found["xml"].items() if key not in found["image"]}
    free = {path: key for key, path in found["image"].items() if key not in found["xml"]}
    for path, image, _ in pair_by_stem(files.root, list(free), lonely):
        if image is not None:
            del found["xml"][lonely[path]]
            first = found["xml"].setdefault(free[image], path)
            if first != path:
                twice[free[image]] = (first, path)
    return found, twice


class Voc(LayoutBuilder):
    BUILDER_CONFIG_CLASS = VocConfig
    BUILDER_CONFIGS = [VocConfig(name="default"), *(VocConfig(name=task, task=task) for task in TASKS)]
    DEFAULT_CONFIG_NAME = "default"

    def index(self, files):
        check_boxes(self.config.boxes)
        found, twice = sort_files(files, self.config.images, self.config.annotations)
        self.task = self.config.task or ("segmentation" if found["mask"] and not found["xml"] else "detection")
        if self.task not in TASKS:
            raise DataError(f"task={self.task!r}: it is one of {', '.join(TASKS)}")
        sets = self._image_sets(files)
        listed = sets or self._folders(files, found)
        splits = {split: self._samples(files, split, rows, found, twice) for split, rows in listed.items()}
        if not any(sample[2] for samples in splits.values() for sample in samples):
            raise DataError(f"{files.root} holds no image with an annotation for {self.task}")
        used = {sample[1] for samples in splits.values() for sample in samples}
        bare = [path for path in found["image"].values() if path not in used]
        if sets:  # a list chooses
            files.account(path for paths in found.values() for path in paths.values())
            files.account(path for path in files.having(".txt") if IMAGE_SET.fullmatch(path) or "ImageSets/" in path)
            if bare:
                logger.warning("%s: %d images are in no list, such as %s", files.root, len(bare), bare[0])
        else:
            splits |= self._bare_splits(files, splits, bare)
        files.account(path for pair in twice.values() for path in pair)  # faults of the rows that they belong to
        if self.task == "detection":  # VOC has both for some of its images
            files.account([*found["mask"].values(), *found["instance_mask"].values()])
        files.account(path for path in files.paths if name_of(path) == "labelmap.txt")  # what CVAT writes beside it
        files.keep(path for samples in splits.values() for _, *paths in samples for path in paths if path)
        features = {"image": datasets.Image(), "image_id": datasets.Value("string")}
        if self.task == "segmentation":
            features["mask"] = datasets.Image()
            if found["instance_mask"]:
                features["instance_mask"] = datasets.Image()
        else:
            names = self.config.classes or self._classes(files, splits)
            self.places = {name: place for place, name in enumerate(names)}
            part = {"name": datasets.Value("string"), "bbox": List(datasets.Value("float32"), length=4)}
            marks = {name: datasets.Value("bool") for name in MARKS}
            features["objects"] = object_features(names, **marks, pose=datasets.Value("string"), parts=List(part))
        return datasets.Features(features), {split: Rows(samples) for split, samples in splits.items()}

    def _image_sets(self, files: Files) -> dict[str, list[tuple]]:
        """Reads the lists of the task: split -> (list, line, key, image id)."""
        lists = [match for path in files.having(".txt") if (match := IMAGE_SET.fullmatch(path))]
        folders = {match["task"] for match in lists}  # None: in ImageSets itself
        folder = next((folder for folder in (TASKS[self.task], None, *TASKS.values()) if folder in folders), None)
        lists = [match for match in lists if match["task"] == folder]
        bases = {match["base"]: match["base"][:-1] or str(files.root) for match in lists}
        years = {base: name_of(path).removeprefix("VOC") for base, path in bases.items()}
        year = None if self.config.year is None else str(self.config.year).removeprefix("VOC")
        if (len(set(years.values())) > 1) if year is None else (year not in years.values()):
            listed = ", ".join(sorted(set(years.values()))) or "none"
            raise DataError(f"{files.root} holds the years {listed}: choose one with year=…")
        lists = [match for match in lists if year in (None, years[match["base"]])]
        names, splits = {(match["base"], match["name"]) for match in lists}, {}
        for match in lists:
            path, base, name = match[0], match["base"], match["name"]
            if name == "trainval" and {(base, "train"), (base, "val")} <= names:
                continue  # it is the union of the two
            lines = files.read(path).decode("utf-8-sig", "replace").splitlines()
            part = name.rpartition("_")[2]
            if part != name and (base, part) in names and re.match(r"\s*\S+\s+(-1|0|1)\s*$", "".join(lines[:1])):
                continue  # aeroplane_train.txt lists which images of train.txt show one
            ids = [(line, text.strip()) for line, text in enumerate(lines, 1) if text.strip()]
            ids = [(line, without_suffix(text) if is_image(text) else text) for line, text in ids]
            split = "train" if name == "default" else split_name(name)
            if split in splits:
                raise DataError(f"{files.root}: {splits[split][0][0]} and {path} both list the split {split}")
            splits[split] = [(path, line, base + text, text) for line, text in ids]
        return splits

    def _folders(self, files: Files, found: dict) -> dict[str, list[tuple]]:
        """The splits without lists: every annotated image is a row, and folders named like a split are splits."""
        targets = found["xml" if self.task == "detection" else "mask"]
        splits, of = {}, SplitFolders(files.paths).of
        for key, path in targets.items():
            splits.setdefault(of(path) or of(found["image"].get(key, "")), []).append((path, None, key, key))
        if "" in splits and len(splits) > 1:
            raise DataError(f"{files.root}/{splits[''][0][0]} is beside the split folders: move it into one")
        return {split or "train": rows for split, rows in splits.items()}

    def _bare_splits(self, files: Files, splits: dict, bare: list[str]) -> dict[str, list[tuple]]:
        """The images of splits without any annotation, as rows without; of other splits they are faults."""
        of, lost = SplitFolders(files.images).of, []
        found: dict[str, list[tuple]] = {}
        for path in bare:
            split = of(path)
            if split and split not in splits:
                nothing = (None,) if self.task == "detection" else (None, None)
                found.setdefault(split, []).append((without_suffix(path), path, *nothing))
            else:
                lost.append(path)
        for split in found:
            logger.warning("%s: no image of %s has an annotation: theirs are None", files.root, split)
        leave_out(files, self.faults, lost, len(files.images), "have no annotation")
        return found

    def _samples(self, files: Files, split: str, rows: list[tuple], found: dict, twice: dict) -> list[tuple]:
        """The rows as (image id, image, xml or mask, instance mask); None for a part that the whole split lacks."""
        kinds = ("xml",) if self.task == "detection" else ("mask", "instance_mask")
        keys = [key for _, _, key, _ in rows]
        lacking = {kind for kind in kinds if not any(key in found[kind] for key in keys)}
        if kinds[0] in lacking:
            logger.warning("%s: no image of %s has an annotation: theirs are None", files.root, split)
        samples, seen = [], set()
        for source, line, key, name in rows:
            with self.faults:
                where = f"{files.root}/{source}" + (f", line {line}" if line else "")
                said = short(name)
                if key in twice:
                    first, second = twice[key]
                    raise DataError(f"{where}: {said} may be {first} or {second}: rename or remove one")
                if key in seen:
                    raise DataError(f"{where}: {said} is listed twice")
                if key not in found["image"]:
                    near = next((path for other, path in found["image"].items() if other.lower() == key.lower()), None)
                    hint = f", but there is {near}, whose name differs in case: rename one" if near else ""
                    raise DataError(f"{where}: there is no image {said}{hint}")
                seen.add(key)
                for kind in kinds:
                    if kind not in lacking and key not in found[kind]:
                        raise DataError(f"{where}: {said} has no {kind.replace('_', ' ')} file")
                samples.append((name, found["image"][key], *(found[kind].get(key) for kind in kinds)))
        return samples

    def _classes(self, files: Files, splits: dict[str, list[tuple]]) -> list[str]:
        """The names in all xml files, sorted; removes files that cannot be read from `splits`."""
        names, zeros = set(), []
        for split, samples in splits.items():
            splits[split] = []
            for sample in samples:
                with self.faults:
                    found, zero = survey(files, sample[2]) if sample[2] else ((), False)
                    names.update(found)
                    zeros += [sample[2]] * zero
                    splits[split].append(sample)
        if zeros and self.config.one_based:
            logger.warning(
                "%s: boxes of %d xml files, such as %s, start at 0, while VOC starts at 1: if they are edges counted "
                "from 0, pass one_based=False",
                files.root,
                len(zeros),
                zeros[0],
            )
        voc = names <= set(CLASSES) and any(IMAGE_SET.fullmatch(path) for path in files.having(".txt"))
        return CLASSES if voc else sorted(names)

    def read(self, files, sample):
        name, path, *targets = sample
        content = files.read(path)
        frame = Frame.of(content, f"{files.root}/{path}")
        row = {"image": {"bytes": content, "path": path}, "image_id": name}
        if self.task == "detection":
            first, clip = 1 if self.config.one_based else 0, self.config.boxes == "clip"
            return row | {"objects": targets[0] and read_objects(files, targets[0], frame, self.places, first, clip)}
        for column, target in zip(("mask", "instance_mask"), targets):
            value = target and {"bytes": files.read(target), "path": target}
            row[column] = value and fit_mask(value, frame, f"{files.root}/{target}")
        return row
