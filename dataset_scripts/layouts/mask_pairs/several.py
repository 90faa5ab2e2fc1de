"""BUSI's form: several masks of an image, `x_mask.png` and `x_mask_1.png`, and folders that are classes."""

import re
from collections.abc import Sequence

import numpy as np

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import folder_of, name_of
from dataset_scripts.core.files.pairs import Key
from dataset_scripts.core.image.decode import decode_image, encode_image

NUMBERED = re.compile(r"(.+?)[-_]masks?[-_]\d+", re.IGNORECASE | re.DOTALL)


def take_numbered(sides: tuple[dict[Key, list[str]], dict[Key, list[str]]]) -> dict[Key, list[str]]:
    """Takes from both sides what is a further mask of an image that has one: key -> its paths, by their numbers."""
    more: dict[Key, list[str]] = {}
    for side, other in (sides, sides[::-1]):
        for split, name in [key for key in side if key not in other]:
            match = NUMBERED.fullmatch(name)
            key = (split, match[1]) if match else None
            if key in sides[0] and key in sides[1]:
                more.setdefault(key, []).extend(side.pop((split, name)))
    return {key: sorted(paths, key=lambda path: (len(path), path)) for key, paths in more.items()}


def class_folders(names: Sequence[str]) -> bool:
    """Whether images are called like their folders and numbered, and there are several: `benign/benign (1)`."""
    folders = {folder_of(name) for name in names}
    return len(folders) > 1 and all(
        folder_of(name) and re.fullmatch(rf"{re.escape(name_of(folder_of(name)))} \(\d+\)", name_of(name))
        for name in names
    )


def unite(masks: Sequence[dict], where: str) -> dict:
    """Several masks of ids 0 and 1 as one.

    Raises:
        DataError: they hold other ids.
    """
    ids = [np.asarray(decode_image(mask, where)) for mask in masks]
    if any(each.max() > 1 for each in ids):
        raise DataError(
            f"{where} has {len(masks)} masks, which are united only where they hold two classes: pass values=[0, 255]"
        )
    return masks[0] | {"bytes": encode_image(np.maximum.reduce([each.astype(np.uint8) for each in ids]))}
