"""Semantic segmentation: images, and masks of class ids that are named like their images."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import datasets
import numpy as np

from dataset_scripts.core.builders.class_folders import add_labels
from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, folder_of, name_of, stem_of
from dataset_scripts.core.files.pairs import Key, folder_parser, folders, join, name_splits
from dataset_scripts.core.image.decode import Frame, decode_image
from dataset_scripts.core.image.greys import Greys, asked_greys, decide_greys
from dataset_scripts.core.image.masks import fit_mask
from dataset_scripts.layouts.mask_pairs.colors import find_colors
from dataset_scripts.layouts.mask_pairs.several import class_folders, take_numbered, unite

logger = printable_logger(__name__)

PRECEDENCE = 1
MOST_FOLDERS = 12  # among which pairs are looked for by content
FEW_VALUES = 32  # of grey or colour, in a mask
IMAGES = "im image images img imgs jpegimages input inputs leftimg8bit original originals photo photos rgb".split()
MASKS = (
    "ann anns annot annotation annotations annots ground-truth ground_truth groundtruth gt gtcoarse gtfine gts label labels mask "
    "masks seg segmentation segmentationclass segmentationclasspng segmentations semantic".split()
)
IMAGE_STEM = re.compile(r"(?:image|img)[-_](.+)|(.+)[-_](?:image|img|leftImg8bit|rgb|sat)", re.IGNORECASE)
MASK_STEM = re.compile(
    r"(?:label|mask|seg)[-_](.+)|(.+?)[-_](?:gt(?:Fine|Coarse)_)?(?:annot|annotation|color|ground_?truth|gt|instanceIds|L|"
    r"labels?|labelIds|labelTrainIds|masks?|seg|segmentation)",
    re.IGNORECASE,
)
NO_CLASSES = re.compile(r"[-_](color|instanceIds)$")  # files of Cityscapes that are not masks of classes


@dataclass
class MaskPairsConfig(LayoutConfig):
    """Options of `load_dataset("mask_pairs", data_dir=…)`.

    Attributes:
        images: name of the folders of images, if it is not one of the usual ones.
        masks: name of the folders of masks, if it is not one of the usual ones.
        mask_suffix: the end of a mask's name: for "_labelTrainIds", that of `cat.jpg` is `cat_labelTrainIds.png`;
            other masks beside it are left out.
        colors: for colour masks: class name -> (red, green, blue), or the path of a table of them in the data.
            The ids are 0, 1, … in this order.
        values: for grey masks: the number in the mask that stands for id 0, for id 1, …; other numbers are errors. None takes
            numbers as ids, but 0 and 255 for 0 and 1 where masks hold nothing else; "stored" takes all numbers as ids.
        threshold: for soft masks, also JPEG: pixels of this brightness or more have id 1, others 0.
    """

    images: str | None = None
    masks: str | None = None
    mask_suffix: str | None = None
    colors: dict[str, tuple[int, int, int]] | str | None = None
    values: list[int] | str | None = None
    threshold: int | None = None


def matches(files):
    """Images, most of which have a mask of the same name."""
    parse = side_parser(files, dict.fromkeys(IMAGES, 0) | dict.fromkeys(MASKS, 1))
    in_folders = any(parse(folder)[0] == 1 for folder in set(map(folder_of, files.images)))
    looked = files.images[:: max(1, len(files.images) // 200)]  # as most images have a mask, some of these are masks
    if not in_folders and not any(MASK_STEM.fullmatch(stem_of(path)) for path in looked):
        guessed = guess_folders(files)
        if guessed is None:
            return None
        sides, ignored = find_pairs(files, MaskPairsConfig(images=guessed[0], masks=guessed[1]))
        count = len(sides[0].keys() & sides[1].keys())
        return f"{count} images in {guessed[0]} with a mask, by its content, of their name in {guessed[1]}"
    sides, ignored = find_pairs(files, MaskPairsConfig())
    paired = sides[0].keys() & sides[1].keys()
    splits = {split for split, _ in paired}
    if not paired or 2 * len(paired) < sum(split in splits for split, _ in sides[0]):
        return None
    where = [folders([path for key in paired for path in side[key]]) for side in sides]
    return f"{len(paired)} images in {where[0]} with a mask of the same name in {where[1]}" + (
        f", {len(ignored)} images elsewhere ignored" if ignored else ""
    )


def side_parser(
    files: Files, words: dict[str, int], by_part: bool = True
) -> Callable[[str], tuple[int | None, str, str]]:
    """The function that tells images from masks by folders; parts of names tell only if not all folders become masks."""
    above = set(map(folder_of, files.images))
    parse = folder_parser(words, above, by_part)
    return folder_parser(words, above) if by_part and all(parse(folder)[0] == 1 for folder in above) else parse


def find_pairs(
    files: Files, config: MaskPairsConfig
) -> tuple[tuple[dict[Key, list[str]], dict[Key, list[str]]], list[str]]:
    """Sorts the images by the common part of their names.

    Returns:
        Images and masks, the paths of each key, and the paths that are neither.
    """
    if not (config.images or config.masks) and (guessed := guess_folders(files)) is not None:
        config = replace(config, images=guessed[0], masks=guessed[1])
    words = dict.fromkeys([config.images.lower()] if config.images else IMAGES, 0)
    words |= dict.fromkeys([config.masks.lower()] if config.masks else MASKS, 1)
    suffix = config.mask_suffix
    stem_pattern = re.compile(f"(.+){re.escape(suffix)}") if suffix else MASK_STEM
    parse = side_parser(files, words, by_part=not (config.images or config.masks))
    placed = [(path, *parse(folder_of(path))) for path in files.images]
    folders_of = {side for _, side, _, _ in placed}
    images, masks, found, ignored = {}, {}, [], []
    for path, side, split, rest in placed:
        stem = stem_of(path)
        match = stem_pattern.fullmatch(stem)
        start = f"{rest}/" if rest else ""
        if side == 1 or (1 not in folders_of and match):
            if suffix and not match:
                ignored.append(path)
            else:
                found.append((path, split, start, stem, match))
        elif side is None and 0 in folders_of:
            ignored.append(path)
        else:
            images.setdefault((split, start + stem), []).append(path)
    for path, split, start, stem, match in found:
        key = (split, start + stem)
        if match and (key not in images or suffix):
            key = (split, start + next(filter(None, match.groups())))
        masks.setdefault(key, []).append(path)
    for key, paths in masks.items():
        if len(paths) > 1 and (kept := [path for path in paths if not NO_CLASSES.search(stem_of(path))]):
            ignored += [path for path in paths if path not in kept]
            masks[key] = kept
    for split, name in [key for key in images if key not in masks]:
        start, _, stem = name.rpartition("/")
        if match := IMAGE_STEM.fullmatch(stem):
            key = (split, f"{start}/" * bool(start) + (match[1] or match[2]))
            if key in masks:
                images.setdefault(key, []).extend(images.pop((split, name)))
    if (
        images
        and masks
        and images.keys().isdisjoint(masks)
        and all(is_mask(files, path) for path in some([path for path, *_ in found]))
    ):
        images, masks = by_stem(images), by_stem(masks)
    return (images, masks), ignored


def by_stem(side: dict[Key, list[str]]) -> dict[Key, list[str]]:
    """A side by its stems alone, if each is there once in a split: what folders are called in between tells no pairs apart."""
    stems = {(split, name.rpartition("/")[2]): paths for (split, name), paths in side.items()}
    return stems if len(stems) == len(side) else side


def guess_folders(files: Files) -> tuple[str, str] | None:
    """The names of the folders of images and of masks, told by stems and content alone; None if names tell, or nothing does.

    Two folders have the same stems, and the images of one are masks: of a palette, or of few greys or colours.
    """
    folders: dict[str, list[str]] = {}
    for path in files.images:
        folders.setdefault(name_of(folder_of(path)), []).append(path)
    parse = folder_parser(dict.fromkeys(MASKS, 1), by_part=True)
    if not 2 <= len(folders) <= MOST_FOLDERS or any(parse(name)[0] is not None for name in folders):
        return None
    stems = {name: {stem_of(path) for path in paths} for name, paths in folders.items()}
    found = [
        (first, second)
        for first, second in itertools.permutations(folders, 2)
        if 2 * len(stems[first] & stems[second]) > max(len(stems[first]), len(stems[second]))
        and all(is_mask(files, path) for path in some(folders[second]))
        and not all(is_mask(files, path) for path in some(folders[first]))
    ]
    return found[0] if len(found) == 1 else None


def some(paths: list[str]) -> list[str]:
    """At most four of the paths, from all over the list."""
    return paths[:: max(1, len(paths) // 4)][:4]


def is_mask(files: Files, path: str) -> bool:
    """Whether an image has a palette, or few greys or colours."""
    try:
        image = decode_image({"bytes": files.read(path), "path": path}, path)
    except DataError:
        return False
    if image.mode in ("I;16", "I"):
        return len(np.unique(np.asarray(image))) <= FEW_VALUES
    return image.mode in ("P", "1") or (image.mode in ("L", "RGB") and image.getcolors(FEW_VALUES) is not None)


class MaskPairs(LayoutBuilder):
    """
    Attributes:
        DECIDES: what grey masks hold is found by looking at some of them; else their numbers are ids.
    """

    BUILDER_CONFIG_CLASS = MaskPairsConfig
    DECIDES: ClassVar[bool] = True

    def index(self, files):
        sides, ignored = find_pairs(files, self.config)
        more = take_numbered(sides)
        if ignored:
            logger.warning(
                "%s: %d files are neither image nor mask and left out, such as %s", files.root, len(ignored), ignored[0]
            )
        files.account(path for path in ignored if self.config.mask_suffix or NO_CLASSES.search(stem_of(path)))
        files.account(path for side in (*sides, more) for paths in side.values() for path in paths)
        self.colors = find_colors(files, self.config.colors)
        if self.colors is not None:
            self.info.description += f"\n\nIds: {self.colors}."
        masked, splits = {split for split, _ in sides[1]}, {}
        for (split, name), image, mask, fault in join(files.root, sides, ("image", "mask")):
            with self.faults:
                if fault and (split in masked or mask or len(sides[0].get((split, name), ())) > 1):
                    if len(several := sides[1].get((split, name), [])) > 1:
                        suffix = stem_of(several[0]).removeprefix(name.rpartition("/")[2])
                        raise DataError(f"{fault}; mask_suffix={suffix!r} chooses the first of them")
                    raise fault
                splits.setdefault(split, []).append((name, image, mask, *more.get((split, name), ())))
        for split in splits.keys() - masked:
            logger.warning("%s: no image of %s has a mask: theirs are None", files.root, split or "train")
        splits = name_splits(files.root, splits, lambda row: row[1])
        files.keep(path for rows in splits.values() for _, *paths in rows for path in paths if path)
        self.greys = asked_greys(self.config.values, self.config.threshold)
        if self.greys is None:
            masks = [path for rows in splits.values() for _, _, *paths in rows for path in paths if path]
            self.greys = self._look_at(files, masks) if self.DECIDES and masks else Greys()
        features = {"image": datasets.Image(), "mask": datasets.Image(), "image_id": datasets.Value("string")}
        rows = {split: Rows(samples) for split, samples in splits.items()}
        if class_folders([name for samples in splits.values() for name, *_ in samples]):
            names = {split: [name_of(folder_of(name)) for name, *_ in samples] for split, samples in splits.items()}
            features["label"] = add_labels(rows, names)
        return datasets.Features(features), rows

    def _look_at(self, files: Files, masks: list[str]) -> Greys:
        if self.colors is None:
            return decide_greys(files, masks)
        greys = [color[0] if len(set(color)) == 1 else -1 for color in self.colors.colors]
        return decide_greys(files, masks, greys, self.colors.where)

    def read(self, files, sample):
        name, image, *masks = sample
        content = files.read(image)
        frame = Frame.of(content, f"{files.root}/{image}")
        colors = self.colors and self.colors.ids_of
        found = [
            fit_mask({"bytes": files.read(mask), "path": mask}, frame, f"{files.root}/{mask}", colors, self.greys)
            for mask in masks
            if mask
        ]
        mask = unite(found, f"{files.root}/{image}") if len(found) > 1 else next(iter(found), None)
        return {"image": {"bytes": content, "path": image}, "mask": mask, "image_id": name}
