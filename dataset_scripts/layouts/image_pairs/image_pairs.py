"""Image to image: pairs of the same name in two folders, pairs side by side in one file, and the unpaired sets of CycleGAN."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import datasets
import numpy as np

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, folder_of, stem_of
from dataset_scripts.core.files.pairs import Key, folder_parser, folders, join, name_splits
from dataset_scripts.core.image.decode import decode_image, encode_image

logger = printable_logger(__name__)

PRECEDENCE = 1
FOLDERS = (  # names of the folders of inputs, and of the folders of targets
    (("low", "low_light"), ("high", "normal", "normal_light")),
    (("lr", "lr_bicubic", "lq"), ("hr", "hq")),
    (("lq",), ("gt",)),
    (("blur", "blurry", "blurred"), ("sharp",)),
    (("noisy", "noise"), ("clean", "gt")),
    (("hazy", "haze"), ("clear", "clean", "gt")),
    (("rain", "rainy"), ("norain", "clean")),
    (("input", "inputs", "source"), ("target", "targets", "output", "outputs")),
    AB := (("a",), ("b",)),
)
STEM = re.compile(
    r"(.+?)[-_]?(?:x\d|[-_](?:A|B|low|high|lr|hr|lq|hq|gt|blur|sharp|noisy|clean|input|target))", re.IGNORECASE
)
# A folder A, trainA, train_A or A_train, but not a.
CAPITAL = re.compile(r"(?:\w*[a-z][\W_]?)?A(?:[\W_].*)?", re.DOTALL)
SCALE = re.compile(r"(?:.*/)?x(\d)/.*|.*x(\d)\.[^./]+", re.IGNORECASE)  # X4/0001.png, 0001x4.png


@dataclass
class ImagePairsConfig(LayoutConfig):
    """Options of `load_dataset("image_pairs", data_dir=…)`.

    Attributes:
        side_by_side: each file holds two images of equal size, the input on the left and the target on the right.
        paired: False makes a split of each side, trainA and trainB; None does so for folders A and B if fewer than
            half of the images share a name with one on the other side.
        source: name of the folders of inputs, if it is not one of the usual ones.
        target: name of the folders of targets, if it is not one of the usual ones.
        scale: the factor to read, if there are inputs of several (X2/0001x2.png, X4/0001x4.png).
    """

    side_by_side: bool = False
    paired: bool | None = None
    source: str | None = None
    target: str | None = None
    scale: int | None = None


def matches(files):
    """Two folders whose images have equal names and are most of the images, or trainA beside trainB."""
    for names in present(files):
        sides, ignored = find_sides(files, names)
        paths = [[path for paths in side.values() for path in paths] for side in sides]
        where = [folders(side) for side in paths]
        common = share(sides)
        if names == AB and (ignored or not all(any(map(CAPITAL.fullmatch, path.split("/")[:-1])) for path in paths[0])):
            common = 0  # classes named by letters
        if 2 * len(ignored) < len(files.images) and common:
            return f"{common} pairs of equal names in {where[0]} and {where[1]}"
        if names == AB and {"trainA", "trainB"} <= {part for path in files.images for part in path.split("/")[:-1]}:
            return f"not paired: {len(sides[0])} images in {where[0]}, {len(sides[1])} in {where[1]}"
    return None


def present(files: Files) -> list[tuple]:
    """The usual pairs of names of which both folders exist."""
    found = {folder_of(path) for path in files.images}
    return [names for names in FOLDERS if {0, 1} <= {side for side, _, _ in map(parser(names), found)}]


def parser(names: tuple, folders: Iterable[str] = ()):
    return folder_parser({name.lower(): side for side, group in enumerate(names) for name in group}, folders)


def share(sides: tuple[dict, dict]) -> int:
    """The number of pairs; 0 if they are fewer than half of a side."""
    common = len(sides[0].keys() & sides[1].keys())
    return common if 2 * common >= max(map(len, sides)) else 0


def find_sides(
    files: Files, names: tuple[tuple[str, ...], tuple[str, ...]], scale: int | None = None
) -> tuple[tuple[dict[Key, list[str]], dict[Key, list[str]]], list[str]]:
    """Sorts the images into inputs and targets.

    Returns:
        The paths of each key on either side, and the images that are on neither.
    """
    parse = parser(names, set(map(folder_of, files.images)))
    sides, ignored = ({}, {}), []
    for path in files.images:
        side, split, rest = parse(folder_of(path))
        if side is None or (side == 0 and scale is not None and scale_of(path) != scale):
            ignored.append(path)
            continue
        rest = "/".join(part for part in rest.split("/") if not re.fullmatch(r"x\d", part, re.IGNORECASE))
        sides[side].setdefault((split, f"{rest}/" * bool(rest) + stem_of(path)), []).append(path)
    both = sides[0].keys() & sides[1].keys()
    for side in sides:  # suffixes count only if names without them find nothing
        for key in [key for key in side if key not in both]:
            start, slash, stem = key[1].rpartition("/")
            if match := STEM.fullmatch(stem):
                side.setdefault((key[0], start + slash + match[1]), []).extend(side.pop(key))
    return sides, ignored


def scale_of(path: str) -> int | None:
    match = SCALE.fullmatch(path)
    return match and int(match[1] or match[2])


class ImagePairs(LayoutBuilder):
    BUILDER_CONFIG_CLASS = ImagePairsConfig

    def index(self, files):
        self.paired = True
        if self.config.side_by_side:
            parse = folder_parser({}, set(map(folder_of, files.images)))
            rows = [(parse(folder_of(path)), path) for path in files.images]
            splits = {split: [] for (_, split, _), _ in rows}
            for (_, split, rest), path in rows:
                splits[split].append((f"{rest}/" * bool(rest) + stem_of(path), path))
        else:
            splits = self._find_splits(files)
        splits = name_splits(files.root, splits, lambda row: row[1])
        files.keep(path for rows in splits.values() for _, *paths in rows for path in paths)
        features = {"image": datasets.Image()}
        if self.paired:
            features |= {"target": datasets.Image(), "image_id": datasets.Value("string")}
        return datasets.Features(features), {split: Rows(rows) for split, rows in splits.items()}

    def _find_splits(self, files: Files) -> dict[str, list[tuple]]:
        """The rows of each split: the common name and the paths of a pair, or one path."""
        names = self._folder_names(files)
        sides, ignored = find_sides(files, names, self.config.scale)
        if not all(sides):
            raise DataError(
                f"{files.root} has no two folders of a known pair, such as low and high, or trainA and trainB: "
                "name them with source='…' and target='…', or pass side_by_side=True"
            )
        if self.config.scale is not None:
            other = [path for path in ignored if scale_of(path) not in (None, self.config.scale)]
            files.account(other)
            if other:
                logger.warning("%s: %d images are of another scale, such as %s", files.root, len(other), other[0])
        scales = {scale_of(path) for key, paths in sides[0].items() if len(paths) > 1 for path in paths} - {None}
        if len(scales) > 1:
            raise DataError(
                f"{files.root} holds the scales {', '.join(map(str, sorted(scales)))}: choose one with scale=…"
            )
        self.paired = self.config.paired
        if self.paired is None:
            self.paired = names != AB or share(sides) > 0
        for side in sides:  # what is in no row is a fault
            files.account(path for paths in side.values() for path in paths)
        splits = {}
        if not self.paired:
            for side, letter in zip(sides, "AB"):
                for (split, _), paths in sorted(side.items()):
                    splits.setdefault((split or "train") + letter, []).extend((None, path) for path in paths)
            return splits
        for (split, name), source, target, fault in join(files.root, sides, ("input", "target")):
            with self.faults:
                if fault:
                    raise DataError(f"{fault} (paired=False reads each side by itself)") if names == AB else fault
                splits.setdefault(split, []).append((name, source, target))
        return splits

    def _folder_names(self, files: Files) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names that the caller gave, or the first usual ones with pairs."""
        source, target = self.config.source, self.config.target
        if bool(source) != bool(target):
            raise DataError("source and target go together: the names of the folders of inputs and of targets")
        if source:
            return (source,), (target,)
        found = present(files)
        return next((names for names in found if share(find_sides(files, names)[0])), found[0] if found else AB)

    def read(self, files, sample):
        if self.config.side_by_side:
            return self._halves(files, *sample)
        name, *paths = sample
        images = [{"bytes": files.read(path), "path": path} for path in paths]
        return dict(zip(("image", "target"), images)) | ({"image_id": name} if self.paired else {})

    def _halves(self, files, name: str, path: str) -> dict:
        where = f"{files.root}/{path}"
        image = decode_image({"bytes": files.read(path), "path": path}, where)
        if image.width % 2:
            raise DataError(f"{where} is {image.width} pixels wide: two images side by side need an even width")
        if image.mode not in ("1", "L", "LA", "RGB", "RGBA", "I;16"):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        pixels = np.asarray(image)
        halves = [{"bytes": encode_image(half), "path": path} for half in np.split(pixels, 2, axis=1)]
        return {"image": halves[0], "target": halves[1], "image_id": name}
