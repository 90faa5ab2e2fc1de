"""Change detection: two images of a place at different times, and a mask of what has changed."""

import re
from dataclasses import dataclass

import datasets

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, folder_of, name_of, stem_of
from dataset_scripts.core.files.pairs import Key, folder_parser, name_splits
from dataset_scripts.core.files.splits import split_in
from dataset_scripts.core.formats.text_table import text_lines
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.greys import Greys, asked_greys, decide_greys
from dataset_scripts.core.image.masks import fit_mask

logger = printable_logger(__name__)

PRECEDENCE = 2
SIDES = ("before", "after", "mask")
TIMES = (  # names of the folders before and after, in lower case
    ("a", "b"),
    ("t1", "t2"),
    ("im1", "im2"),
    ("img1", "img2"),
    ("image1", "image2"),
    ("time1", "time2"),
    ("before", "after"),
    ("pre", "post"),
)
MASKS = ("label", "labels", "out", "mask", "masks", "change", "changes", "cm", "gt", "ref")
LIST = re.compile(r"(.*/)?list/[^/]+\.txt")


@dataclass
class ChangePairsConfig(LayoutConfig):
    """Options of `load_dataset("change_pairs", data_dir=…)`.

    Attributes:
        before: name of the folders of the earlier images, if it is not one of the usual ones.
        after: name of the folders of the later images.
        masks: name of the folders of masks.
        values: the number in a mask that stands for id 0, for id 1, …, as in mask_pairs.
        threshold: for soft masks, also JPEG: pixels of this brightness or more have changed.
    """

    before: str | None = None
    after: str | None = None
    masks: str | None = None
    values: list[int] | str | None = None
    threshold: int | None = None


def matches(files):
    """Three folders with images of equal names: before, after and what has changed."""
    found = find_sides(files, ChangePairsConfig())
    if found is None:
        return None
    whole = found[0].keys() & found[1].keys() & found[2].keys()
    if 6 * len(whole) < len(files.images):
        return None
    key = min(whole)
    return f"{len(whole)} images twice, with a mask of changes: {', '.join(side[key][0] for side in found)}"


def find_sides(files: Files, config: ChangePairsConfig) -> tuple[dict[Key, list[str]], ...] | None:
    """The images before, those after and the masks, by split and name; None if no names of folders have all three."""
    folders = set(map(folder_of, files.images))
    for first, second in [(config.before, config.after)] if config.before and config.after else TIMES:
        masks = [config.masks] if config.masks else MASKS
        words = {name.lower(): 2 for name in masks} | {first.lower(): 0, second.lower(): 1}
        parse = folder_parser(words)
        if {side for side, _, _ in map(parse, folders)} >= {0, 1, 2}:
            sides: tuple[dict[Key, list[str]], ...] = ({}, {}, {})
            for path in files.images:
                side, split, rest = parse(folder_of(path))
                if side is not None:
                    sides[side].setdefault((split, f"{rest}/" * bool(rest) + stem_of(path)), []).append(path)
            if sides[0].keys() & sides[1].keys() & sides[2].keys():
                return sides
    return None


class ChangePairs(LayoutBuilder):
    BUILDER_CONFIG_CLASS = ChangePairsConfig

    def index(self, files):
        if bool(self.config.before) != bool(self.config.after):
            raise DataError("before and after go together: the names of the folders of earlier and of later images")
        sides = find_sides(files, self.config)
        if sides is None:
            raise DataError(
                f"{files.root} has no three folders of images of equal names, such as A, B and label: name them by "
                "before='…', after='…' and masks='…'"
            )
        files.account(path for side in sides for paths in side.values() for path in paths)
        masked = {split for split, _ in sides[2]}
        rows: dict[Key, tuple[str, str, str | None]] = {}
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
        for split in sorted({split for split, _ in rows} - masked):
            logger.warning("%s: no image of %s has a mask: theirs are None", files.root, split or "train")
        splits = name_splits(files.root, splits, lambda row: row[1])
        masks = [mask for samples in splits.values() for *_, mask in samples if mask]
        self.greys = asked_greys(self.config.values, self.config.threshold)
        if self.greys is None:
            self.greys = decide_greys(files, masks) if masks else Greys()
        files.keep(path for samples in splits.values() for _, *paths in samples for path in paths if path)
        features = {name: datasets.Image() for name in ("image", "after", "mask")}
        features["image_id"] = datasets.Value("string")
        return datasets.Features(features), {split: Rows(samples) for split, samples in splits.items()}

    @staticmethod
    def _row(files: Files, key: Key, sides: tuple, masked: set[str]) -> tuple[str, str, str | None]:
        """The three files of a name; the mask is None if no image of its split has one.

        Raises:
            DataError: one is missing, or there are two.
        """
        found = [side.get(key, []) for side in sides]
        for paths, name in zip(found, SIDES):
            if len(paths) > 1:
                raise DataError(f"{files.root}: {paths[0]} and {paths[1]} are both the {name} of {key[1]}: remove one")
        lacking = [name for paths, name in zip(found, SIDES) if not paths and (name != "mask" or key[0] in masked)]
        if lacking:
            path = next(paths[0] for paths in found if paths)
            raise DataError(f"{files.root}/{path} has no image {lacking[0]}".replace("image mask", "mask"))
        before, after, mask = (next(iter(paths), None) for paths in found)
        return before, after, mask

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
        name, before, after, mask = sample
        contents = {path: files.read(path) for path in (before, after)}
        frame, other = (Frame.of(content, f"{files.root}/{path}") for path, content in contents.items())
        if frame.size != other.size:
            sizes = [f"{width} x {height}" for width, height in (other.size, frame.size)]
            raise DataError(f"{files.root}/{after} has {sizes[0]} pixels, {before} has {sizes[1]}")
        row = {"image": {"bytes": contents[before], "path": before}, "after": {"bytes": contents[after], "path": after}}
        value = mask and {"bytes": files.read(mask), "path": mask}
        fitted = value and fit_mask(value, frame, f"{files.root}/{mask}", greys=self.greys)
        return row | {"mask": fitted, "image_id": name}


def listed(files: Files, path: str) -> list[tuple[int, str]]:
    """The names in a list, each with the number of its line."""
    with files.open(path) as file:
        lines = [
            (number, line.decode("utf-8", "replace").strip())
            for number, line in text_lines(file, f"{files.root}/{path}")
        ]
    return [(number, name_of(line.replace("\\", "/"))) for number, line in lines]
