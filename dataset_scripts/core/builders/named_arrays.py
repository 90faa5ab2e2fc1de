"""Named arrays in files: which are images, which are labels, and to which split they belong."""

import re
from dataclasses import dataclass
from functools import partial

import numpy as np

from dataset_scripts.core.builders.arrays import ArrayBuilder, ArrayConfig, Part, check_count, keep_only
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.listing import Files, stem_of
from dataset_scripts.core.files.splits import SPLITS, split_in
from dataset_scripts.core.formats.rows_on_disk import Records

logger = printable_logger(__name__)

CHANNELS = (1, 3, 4)
ROLES = dict.fromkeys(["x", "image", "images", "img", "imgs", "data", "pixels"], "images") | dict.fromkeys(
    ["y", "label", "labels", "target", "targets", "class", "classes"], "labels"
)


@dataclass
class NamedArrayConfig(ArrayConfig):
    """Options of the layouts whose arrays have names.

    Attributes:
        image_key: the name of the array of images, if it is not one of the usual ones.
        label_key: the name of the array of labels.
        channels: which axis of an image holds the channels, "first" (C, H, W) or "last" (H, W, C); None decides by
            their number, 1, 3 or 4.
        scale: the factor for pixels before they are rounded to 0..255 (255 for values in 0..1); None keeps
            the values, which is possible for more than 8 bits only in images without channels.
    """

    image_key: str | None = None
    label_key: str | None = None
    channels: str | None = None
    scale: float | None = None


def image_axes(shape: tuple[int, ...], channels: str | None = None) -> tuple[int, ...]:
    """How to transpose an image of an array (N, H, W), (N, H, W, C) or (N, C, H, W) to (H, W) or (H, W, C).

    Raises:
        ValueError: it is another shape, or one that fits both orders while `channels` is None.
    """
    if channels not in (None, "first", "last"):
        raise ValueError(f"channels={channels!r} is neither 'first' nor 'last'")
    if len(shape) == 3:
        return (0, 1)
    fits = [name for name, axis in (("first", 1), ("last", 3)) if len(shape) == 4 and shape[axis] in CHANNELS]
    wanted = [channels] if channels and len(shape) == 4 else fits
    if len(wanted) != 1:
        why = "both orders of the axes fit: pass channels='first' or 'last'"
        kinds = "images are (N, H, W), (N, H, W, C) or (N, C, H, W)"
        raise ValueError(f"the images have the shape {tuple(shape)}; {why if fits else kinds}")
    return (0, 1, 2) if wanted == ["last"] else (1, 2, 0)


@dataclass(frozen=True)
class Named:
    """An array in a file.

    Attributes:
        path: the file.
        key: its name there; "" if it has none.
        shape: of the array.
    """

    path: str
    key: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.path}[{self.key!r}]" if self.key else self.path

    @property
    def stem(self) -> str:
        return stem_of(self.path)

    @property
    def split(self) -> str:
        """The split in the name of the array, of the file or of the folder; else train."""
        folders = [SPLITS[folder.lower()] for folder in self.path.split("/")[:-1] if folder.lower() in SPLITS]
        return split_in(self.key) or split_in(self.stem) or (folders or ["train"])[-1]

    @property
    def role(self) -> str | None:
        """ "images" or "labels", if the last word of the name, splits and numbers aside, is one for them."""
        if self.key == "arr_1":
            return "labels"
        if self.key in ("", "arr_0"):
            return _role(self.stem) or ("images" if self.key else None)
        return _role(self.key)


def _role(name: str) -> str | None:
    words = [word for word in re.findall(r"[a-z]+", name.lower()) if word not in SPLITS]
    return ROLES.get(words[-1]) if words else None


def _natural(array: Named) -> list[str | tuple[int, str]]:
    """A key that sorts `part_10` after `part_9`: numbers by their length, then by their digits."""
    parts = re.split(r"0*([0-9]+)", str(array))
    return [(len(part), part) if place % 2 else part for place, part in enumerate(parts)]


def pair(files: Files, arrays: list[Named], config: NamedArrayConfig) -> dict[str, list[tuple[Named, Named | None]]]:
    """Finds the images and their labels among arrays: split -> pairs.

    Raises:
        DataError: no images, labels that do not go with them, or arrays of several data sets.
    """
    found = {"images": {}, "labels": {}}
    other = []
    for array in sorted(arrays, key=_natural):
        role = "images" if array.key == config.image_key else "labels" if array.key == config.label_key else array.role
        if (role == "images" and config.image_key not in (None, array.key)) or (
            role == "labels" and config.label_key not in (None, array.key)
        ):
            role = None
        (found[role].setdefault(array.split, []) if role else other).append(array)
    large = [array for array in other if len(array.shape) >= 3]
    if not found["images"] and len(large) == 1 and config.image_key is None:
        found["images"][large[0].split] = large
        other.remove(large[0])
    listed = ", ".join(f"{array} {array.shape}" for array in arrays[:8])
    if not found["images"]:
        raise DataError(
            f"{files.root}: no array has a usual name for images, choose one with image_key=…: {listed or 'there are none'}"
        )
    pairs = {}
    for split, images in found["images"].items():
        labels = found["labels"].pop(split, [])
        odd = next(
            (array for array in images if re.sub(r"\d+", "", str(array)) != re.sub(r"\d+", "", str(images[0]))), None
        )
        if odd:
            raise DataError(
                f"{files.root}: {images[0]} and {odd} both hold images of the split {split}: give the path of one file"
            )
        if labels and len(labels) != len(images):
            raise DataError(
                f"{files.root}: {len(images)} arrays of images but {len(labels)} of labels for the split {split}: {listed}"
            )
        pairs[split] = list(zip(images, labels or [None] * len(images)))
    if found["labels"]:
        split, labels = next(iter(found["labels"].items()))
        raise DataError(f"{files.root}: {labels[0]} has labels of the split {split}, which has no images: {listed}")
    if other:
        logger.warning("%s: %d arrays are left out, such as %s", files.root, len(other), other[0])
    return pairs


class NamedArrayBuilder(ArrayBuilder):
    """The base of the layouts whose arrays hold one image per row; a source is the path and the name of an array."""

    BUILDER_CONFIG_CLASS = NamedArrayConfig

    def paths(self, files: Files) -> list[str]:
        """The files that hold arrays."""
        raise NotImplementedError

    def list_arrays(self, files: Files, path: str) -> list[Named]:
        """All arrays in a file, by their headers."""
        raise NotImplementedError

    def read_labels(self, files: Files, array: Named) -> np.ndarray:
        """The whole of an array of labels."""
        raise NotImplementedError

    def index(self, files):
        splits = {}
        arrays = [
            array for part in self.readable(self.paths(files), partial(self.list_arrays, files)) for array in part
        ]
        pairs = [(split, *both) for split, found in pair(files, arrays, self.config).items() for both in found]
        used = {array.path for _, *both in pairs for array in both if array}
        for split, part in self.readable(pairs, lambda each: (each[0], self._part(files, *each[1:]))):
            splits.setdefault(split, []).append(part)
        files.account(self.paths(files))  # arrays that are not read are logged
        keep_only(files, used)
        return self.assemble(files, splits, {"label": self.config.classes})

    def _part(self, files: Files, images: Named, labels: Named | None) -> Part:
        part = Part((images.path, images.key), images.shape[0])
        with reading(f"{files.root}/{images}"):
            rows = self.open_images(files, part.source).rows
            if isinstance(rows, Records):
                rows.check()
        if labels:
            check_count(files, part, str(labels), labels.shape[0])
            with reading(f"{files.root}/{labels}"):
                part.labels, part.labels_in = {"label": self.read_labels(files, labels)}, str(labels)
        return part
