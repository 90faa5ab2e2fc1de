"""The folders of a set of change detection: images before and after, and masks of the changes or of both images."""

from typing import Any

from dataset_scripts.core.files.listing import Files, folder_of, stem_of
from dataset_scripts.core.files.pairs import Key, folder_parser

SIDES = ("before", "after", "mask", "mask_before", "mask_after")
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
ENDS = (("1", "2"), ("a", "b"), ("t1", "t2"), ("before", "after"), ("pre", "post"))  # of names of masks: label1, label2

Sides = tuple[dict[Key, list[str]], ...]


def find_sides(files: Files, config: Any) -> Sides | None:
    """The paths of each side, as in SIDES, by split and name; None if no names of folders have images and masks."""
    folders = set(map(folder_of, files.images))
    words = dict.fromkeys([config.masks.lower()] if config.masks else MASKS, 2)
    if config.masks_before and config.masks_after:
        words |= {config.masks_before.lower(): 3, config.masks_after.lower(): 4}
    else:
        stems = [f"{name}{between}" for name in MASKS for between in ("", "_", "-")]
        words |= {f"{stem}{end}": side for stem in stems for ends in ENDS for side, end in enumerate(ends, 3)}
    for first, second in [(config.before, config.after)] if config.before and config.after else TIMES:
        parse = folder_parser(words | {first.lower(): 0, second.lower(): 1})
        present = {side for side, _, _ in map(parse, folders)}
        if present >= {0, 1, 2} or present >= {0, 1, 3, 4}:
            sides: Sides = ({}, {}, {}, {}, {})
            for path in files.images:
                side, split, rest = parse(folder_of(path))
                if side is not None:
                    sides[side].setdefault((split, f"{rest}/" * bool(rest) + stem_of(path)), []).append(path)
            if common_keys(sides):
                return sides
    return None


def common_keys(sides: Sides) -> set[Key]:
    """The keys of which there are both images, and the mask of changes or the masks of both."""
    before, after, mask, *masks = (side.keys() for side in sides)
    return before & after & (mask | (masks[0] & masks[1]))
