"""Change detection: two images of a place at different times, and a mask of what has changed, or one of each image."""

import re
from dataclasses import dataclass

import datasets

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, name_of, stem_of
from dataset_scripts.core.files.pairs import Key, name_splits
from dataset_scripts.core.files.splits import split_in
from dataset_scripts.core.formats.text_table import text_lines
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.greys import Greys, asked_greys, decide_greys
from dataset_scripts.core.image.masks import fit_mask
from dataset_scripts.layouts.change_pairs.sides import SIDES, Sides, common_keys, find_sides
from dataset_scripts.layouts.mask_pairs.colors import find_colors

logger = printable_logger(__name__)

PRECEDENCE = 2
LIST = re.compile(r"(.*/)?list/[^/]+\.txt")


@dataclass
class ChangePairsConfig(LayoutConfig):
    """Options of `load_dataset("change_pairs", data_dir=…)`.

    Attributes:
        before: name of the folders of the earlier images, if it is not one of the usual ones.
        after: name of the folders of the later images.
        masks: name of the folders of masks of what has changed.
        masks_before: name of the folders of masks of the earlier images.
        masks_after: name of the folders of masks of the later images.
        colors: for colour masks: class name -> (red, green, blue), or the path of a table of them, as in mask_pairs.
        values: the number in a mask that stands for id 0, for id 1, …, as in mask_pairs.
        threshold: for soft masks, also JPEG: pixels of this brightness or more have changed.
    """

    before: str | None = None
    after: str | None = None
    masks: str | None = None
    masks_before: str | None = None
    masks_after: str | None = None
    colors: dict[str, tuple[int, int, int]] | str | None = None
    values: list[int] | str | None = None
    threshold: int | None = None


def matches(files):
    """Folders with images of equal names: before, after, and masks of what has changed or of both."""
    found = find_sides(files, ChangePairsConfig())
    if found is None:
        return None
    whole = common_keys(found)
    if 6 * len(whole) < len(files.images):
        return None
    first = [side[min(whole)][0] for side in found if min(whole) in side]
    return f"{len(whole)} images twice, with {'a mask of changes' if found[2] else 'a mask each'}: {', '.join(first)}"


class ChangePairs(LayoutBuilder):
    BUILDER_CONFIG_CLASS = ChangePairsConfig

    def index(self, files):
        config = self.config
        if bool(config.before) != bool(config.after):
            raise DataError("before and after go together: the names of the folders of earlier and of later images")
        if bool(config.masks_before) != bool(config.masks_after):
            raise DataError(
                "masks_before and masks_after go together: the names of the folders of masks of both images"
            )
        sides = find_sides(files, config)
        if sides is None:
            raise DataError(
                f"{files.root} has no three folders of images of equal names, such as A, B and label: name them by "
                "before='…', after='…', and masks='…' or masks_before='…' and masks_after='…'"
            )
        files.account(path for side in sides for paths in side.values() for path in paths)
        masked = [{split for split, _ in side} for side in sides]
        rows: dict[Key, tuple[str | None, ...]] = {}
        for key in sorted(set().union(*sides)):
            with self.faults:
                rows[key] = self._row(files, key, sides, masked)
        splits: dict[str, list[tuple]] = {}
        lists = [path for path in files.paths if LIST.fullmatch(path)]
        if lists and {split for split, _ in rows} == {""}:
            splits = self._by_lists(files, lists, {name: row for (_, name), row in rows.items()})
        else:
            for (split, name), row in rows.items():
                splits.setdefault(split, []).append((name, *row))
            self._check_lists(files, lists, splits)
        for split in sorted({split for split, _ in rows} - set().union(*masked[2:])):
            logger.warning("%s: no image of %s has a mask: theirs are None", files.root, split or "train")
        splits = name_splits(files.root, splits, lambda row: row[1])
        self.colors = find_colors(files, config.colors)
        if self.colors is not None:
            self.info.description += f"\n\nIds: {self.colors}."
        self.greys = [self._greys(files, masks) for masks in self._masks(splits)]
        files.keep(path for samples in splits.values() for _, *paths in samples for path in paths if path)
        self.columns = [name for name, side in zip(SIDES[2:], sides[2:]) if side]
        features = {name: datasets.Image() for name in ("image", "after", *self.columns)}
        features["image_id"] = datasets.Value("string")
        return datasets.Features(features), {split: Rows(samples) for split, samples in splits.items()}

    @staticmethod
    def _masks(splits: dict[str, list[tuple]]) -> tuple[list[str], list[str]]:
        """The masks of changes, and those of images."""
        rows = [row for samples in splits.values() for row in samples]
        return [row[3] for row in rows if row[3]], [mask for row in rows for mask in row[4:] if mask]

    def _greys(self, files: Files, masks: list[str]) -> Greys:
        """What the numbers of grey masks stand for."""
        asked = asked_greys(self.config.values, self.config.threshold)
        return asked or (decide_greys(files, masks) if masks and self.colors is None else Greys())

    @staticmethod
    def _row(files: Files, key: Key, sides: Sides, masked: list[set[str]]) -> tuple[str | None, ...]:
        """The files of a name, as in SIDES; a mask is None if no image of its split has one.

        Raises:
            DataError: one is missing, or there are two.
        """
        found = [side.get(key, []) for side in sides]
        for paths, name in zip(found, SIDES):
            if len(paths) > 1:
                raise DataError(f"{files.root}: {paths[0]} and {paths[1]} are both the {name} of {key[1]}: remove one")
        lacking = [
            f"image {name}" if place < 2 else name
            for place, name in enumerate(SIDES)
            if not found[place] and (place < 2 or key[0] in masked[place])
        ]
        if lacking:
            path = next(paths[0] for paths in found if paths)
            raise DataError(f"{files.root}/{path} has no {lacking[0]}")
        return tuple(next(iter(paths), None) for paths in found)

    def _by_lists(self, files: Files, lists: list[str], rows: dict[str, tuple]) -> dict[str, list[tuple]]:
        """The rows of each list of names, `list/train.txt`; trainval repeats those of train and val."""
        by_stem = {stem_of(name): (name, *row) for name, row in rows.items()}
        splits: dict[str, list[tuple]] = {}
        seen: dict[str, str] = {}
        for path in lists:
            split = split_in(stem_of(path))
            if split is None:
                continue
            for number, name in listed(files, path):
                with self.faults:
                    row = by_stem.get(stem_of(name))
                    if row is None:
                        raise DataError(f"{files.root}/{path}, line {number}: there are no images {name[:200]}")
                    if row[0] in seen:
                        raise DataError(f"{files.root}/{path}, line {number}: {name[:200]} is also in {seen[row[0]]}")
                    seen[row[0]] = path
                    splits.setdefault(split, []).append(row)
            files.account([path])
        if not splits:
            return {"": [(name, *row) for name, row in rows.items()]}
        self._check_lists(files, lists, {"": [row for samples in splits.values() for row in samples]})
        files.accounted -= {path for name, row in rows.items() if name not in seen for path in row if path}
        return splits

    @staticmethod
    def _check_lists(files: Files, lists: list[str], splits: dict[str, list[tuple]]) -> None:
        """Accounts for lists that only repeat what rows are there."""
        known = {stem_of(name) for samples in splits.values() for name, *_ in samples}
        files.account(path for path in lists if {stem_of(name) for _, name in listed(files, path)} <= known)

    def read(self, files, sample):
        name, before, after, *masks = sample
        contents = {path: files.read(path) for path in (before, after)}
        frames = [Frame.of(content, f"{files.root}/{path}") for path, content in contents.items()]
        if frames[0].size != frames[1].size:
            sizes = [f"{width} x {height}" for width, height in (frames[1].size, frames[0].size)]
            raise DataError(f"{files.root}/{after} has {sizes[0]} pixels, {before} has {sizes[1]}")
        row = {"image": {"bytes": contents[before], "path": before}, "after": {"bytes": contents[after], "path": after}}
        for column, path, place in zip(SIDES[2:], masks, (0, 0, 1)):
            if column in self.columns:
                row[column] = path and self._mask(files, path, frames[place], self.greys[column != "mask"])
        return row | {"image_id": name}

    def _mask(self, files, path, frame, greys):
        value, colors = {"bytes": files.read(path), "path": path}, self.colors and self.colors.ids_of
        return fit_mask(value, frame, f"{files.root}/{path}", colors, greys)


def listed(files: Files, path: str) -> list[tuple[int, str]]:
    """The names in a list, each with the number of its line."""
    with files.open(path) as file:
        lines = [
            (number, line.decode("utf-8", "replace").strip())
            for number, line in text_lines(file, f"{files.root}/{path}")
        ]
    return [(number, name_of(line.replace("\\", "/"))) for number, line in lines]
