"""Files that belong together by their names: images/ beside masks/, low/ beside high/."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import folder_of, name_of
from dataset_scripts.core.files.splits import SPLITS, SplitFolders

Key = tuple[str, str]  # split ("" for none), and what the names of a pair have in common

PLAIN = ("dir", "folder", "files", "set", "data", "png", "jpg", "2", "02")  # that tell no pairs apart
_SPLIT = "|".join(sorted(SPLITS, key=len, reverse=True))
_SPLIT_FOLDER = re.compile(rf"({_SPLIT})[\W_]?(\d*)")  # train, train2017, eval15


def folder_parser(
    words: Mapping[str, int], folders: Iterable[str] = (), by_part: bool = False
) -> Callable[[str], tuple[int | None, str, str]]:
    """Makes a function that reads side and split from the names of the folders above a file.

    Args:
        words: names of folders in lower case, each with its side, 0 or 1.
        folders: all folders of the listing: `training_set` beside `test_set` are splits, see `sibling_splits`.
        by_part: a word may also be a part of a name: `img_dir`, `Ground Truth`, `gt_0001`.

    Returns:
        A function of the folder ("city/train/masks"), which gives its side or None, its split or "", and the rest
        ("city"). A side and a split may share a name: `trainannot`, `train_labels`, `masks-test`, `DIV2K_valid_HR`.
        If several names give a side or a split, the last one counts.
    """
    word = "|".join(map(re.escape, sorted(filter(None, words), key=len, reverse=True)))
    # Looked for where a word may start, without consuming it, so that the last is found in one pass over the name.
    both = (
        re.compile(rf"(?<![^\W_])(?=(?:({_SPLIT})[\W_]?({word})|({word})[\W_]?({_SPLIT}))(?![^\W_]))") if word else None
    )
    splits = SplitFolders(f"{folder}/" for folder in folders)

    def side_in(name: str) -> tuple[int | None, str]:
        """The side that a part of a name gives, and what is left of the name."""
        parts = [part for part in re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])|(?<=[a-zA-Z])(?=\d)", name) if part]
        if (whole := "".join(parts).lower()) in words:
            return words[whole], ""
        sides = {words[part.lower()] for part in parts if part.lower() in words}
        rest = "_".join(part for part in parts if part.lower() not in words)
        return (sides.pop(), rest) if len(sides) == 1 else (None, name)

    @lru_cache(maxsize=1 << 16)
    def parse(folder: str) -> tuple[int | None, str, str]:
        side, split, rest, above = None, "", [], ""
        for part in filter(None, folder.split("/")):
            lower, above = part.lower(), f"{above}/{part}".lstrip("/")
            if lower in words:
                side = words[lower]
            elif match := _SPLIT_FOLDER.fullmatch(lower):
                split = SPLITS[match[1]]
                rest += [part] * bool(match[2])  # train_1 and train_2 stay apart
            elif both and (found := list(both.finditer(lower))):
                match = found[-1]
                split, side = SPLITS[match[1] or match[4]], words[match[2] or match[3]]
            elif by_part and (found_side := side_in(part))[0] is not None:
                side = found_side[0]
                rest += [found_side[1]] * (len(found_side[1]) > 0 and found_side[1].lower() not in PLAIN)
            elif said := splits.named(above):
                split = said
            else:
                rest.append(part)
        return side, split, "/".join(rest)

    return parse


def join(
    root: object, sides: tuple[Mapping[Key, list[str]], Mapping[Key, list[str]]], names: tuple[str, str]
) -> Iterator[tuple[Key, str | None, str | None, DataError | None]]:
    """Joins two sides by their keys, in sorted order.

    Args:
        root: the folder, for messages.
        sides: the paths of each key, on either side.
        names: what the sides are, in messages: ("image", "mask").

    Yields:
        The key, the path on either side (None if there is none), and what is wrong with the pair, if anything.
    """
    lower = None  # made only if something is missing, which is rare
    for key in sorted(sides[0].keys() | sides[1].keys()):
        found = [side.get(key, []) for side in sides]
        fault = None
        for paths, name in zip(found, names):
            if len(paths) > 1:
                first, second = sorted(paths)[:2]
                fault = DataError(f"{root}: {first} and {second} are both the {name} of {key[1]}: rename or remove one")
        if fault is None and not all(found):
            lower = lower or [{(split, stem.lower()): paths for (split, stem), paths in side.items()} for side in sides]
            missing = 0 if found[1] else 1
            path = found[1 - missing][0]
            near = lower[missing].get((key[0], key[1].lower()))
            fault = DataError(
                f"{root}/{path} has no {names[missing]}"
                + (f", but there is {near[0]}, whose name differs in case: rename one" if near else "")
            )
        left, right = (paths[0] if paths else None for paths in found)
        yield key, left, right, fault


def name_splits(root: object, splits: dict[str, list], path_of: Callable) -> dict[str, list]:
    """Moves the rows without a split to train, if there is no train yet.

    Raises:
        DataError: there is a train already.
    """
    if "" in splits and "train" in splits:
        path = path_of(splits[""][0])
        raise DataError(f"{root}/{path} is in no split folder, while others are in train: move it into one")
    return {split or "train": rows for split, rows in splits.items()}


def folders(paths: list[str]) -> str:
    """Names the first folder or two of a list of paths, for messages."""
    found = list(dict.fromkeys(folder_of(path) or name_of(path) for path in paths))
    return ", ".join(found[:2]) + " …" * (len(found) > 2)
