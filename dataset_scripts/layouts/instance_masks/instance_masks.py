"""One mask per object, as in the Data Science Bowl 2018: x/images/x.png beside x/masks/*.png."""

from dataclasses import dataclass

import datasets
import numpy as np

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.builders.leftovers import leave_out
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, folder_of, name_of, stem_of
from dataset_scripts.core.files.splits import SplitFolders
from dataset_scripts.core.image.decode import Frame, decode_image, encode_image
from dataset_scripts.core.image.greys import Greys
from dataset_scripts.core.image.masks import fit_mask

logger = printable_logger(__name__)

PRECEDENCE = 3
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
CODES = b"EncodedPixels"  # a column of Kaggle's tables of the same masks as run lengths


@dataclass
class InstanceMasksConfig(LayoutConfig):
    """Options of `load_dataset("instance_masks", data_dir=…)`.

    Attributes:
        images: name of the folders of one image each, if it is not "images".
        masks: name of the folders of its masks, if it is not "masks".
    """

    images: str | None = None
    masks: str | None = None


def matches(files):
    """Folders called like the one image in a folder in them, beside a folder of masks."""
    found, _ = find_objects(files, InstanceMasksConfig())
    count = sum(map(len, found.values()))
    named = all(name_of(folder_of(folder_of(image))) == stem_of(image) for image in found)
    if not count or not named or 2 * (count + len(found)) < len(files.images):
        return None
    return f"{len(found)} images in folders of their name, with {count} masks of objects"


def find_objects(files: Files, config: InstanceMasksConfig) -> tuple[dict[str, list[str]], list[str]]:
    """The image of each folder with its masks in the order of their names, and the images that are neither."""
    sides = {(config.images or "images").lower(): 0, (config.masks or "masks").lower(): 1}
    folders: dict[str, tuple[list[str], list[str]]] = {}
    others = []
    for path in files.images:
        side = sides.get(name_of(folder_of(path)).lower())
        if side is None:
            others.append(path)
        else:
            folders.setdefault(folder_of(folder_of(path)), ([], []))[side].append(path)
    found = {}
    for images, masks in folders.values():
        if len(images) == 1:
            found[images[0]] = sorted(masks)
        else:
            others += images + masks
    return found, others


class InstanceMasks(LayoutBuilder):
    BUILDER_CONFIG_CLASS = InstanceMasksConfig

    def index(self, files):
        found, _ = find_objects(files, self.config)
        if not any(found.values()):
            raise DataError(
                f"{files.root} has no folders with one image in images/ and its masks in masks/: name these by images='…' "
                "and masks='…'"
            )
        of = SplitFolders(found).of
        masked = {of(image) for image, masks in found.items() if masks}
        splits: dict[str, list[tuple]] = {}
        bare = []
        for image, masks in found.items():
            if masks or of(image) not in masked:
                splits.setdefault(of(image) or "train", []).append((image, masks))
            else:
                bare.append(image)
        if bare:
            leave_out(files, self.faults, bare, len(found), "have no masks")
        for split in splits.keys() - {split or "train" for split in masked}:
            logger.warning("%s: no image of %s has masks: theirs are None", files.root, split)
        if "" in masked and len(splits) > 1:
            loose = next(image for image in found if not of(image))
            raise DataError(f"{files.root}/{loose} lies in no split folder while others do: move it into one")
        files.keep(path for samples in splits.values() for image, masks in samples for path in (image, *masks))
        self._account_codes(files)
        features = {"image": datasets.Image(), "instance_mask": datasets.Image(), "image_id": datasets.Value("string")}
        return datasets.Features(features), {split: Rows(samples) for split, samples in splits.items()}

    @staticmethod
    def _account_codes(files: Files) -> None:
        for path in files.having(".csv"):
            with files.open(path) as file:
                if CODES in file.readline(1000):
                    logger.warning("%s/%s is left out: run lengths of masks that are there as images", files.root, path)
                    files.account([path])

    def read(self, files, sample):
        image, masks = sample
        content, where = files.read(image), f"{files.root}/{image}"
        row = {"image": {"bytes": content, "path": image}, "instance_mask": None, "image_id": stem_of(image)}
        if not masks:
            return row
        frame = Frame.of(content, where)
        ids = np.zeros(frame.size[::-1], np.uint8 if len(masks) < 256 else np.uint16)
        overlaps = 0
        for number, path in enumerate(masks, 1):
            drawn = self._pixels(files, path, frame)
            overlaps += int(np.count_nonzero(ids[drawn]))
            ids[drawn] = number
        if overlaps and not self.__dict__.get("_said"):
            self._said = True
            logger.warning("%s: masks overlap in %d pixels, which are of the later object", where, overlaps)
        return row | {"instance_mask": {"bytes": encode_image(ids), "path": None}}

    @staticmethod
    def _pixels(files, path: str, frame: Frame) -> np.ndarray:
        """The pixels (H, W) of an object, bool."""
        where = f"{files.root}/{path}"
        mask = fit_mask({"bytes": files.read(path), "path": path}, frame, where, greys=Greys())
        pixels = np.asarray(decode_image(mask, where))
        numbers = np.unique(pixels)
        if len(numbers) > 2 or (len(numbers) == 2 and numbers[0]) or numbers[-1] not in (0, 1, 255):
            said = ", ".join(map(str, numbers[:4].tolist()))
            raise DataError(
                f"{where} holds {said}{' …' * (len(numbers) > 4)}: the mask of an object is black and white"
            )
        return pixels > 0
