"""The names of splits, in their usual spellings."""

import re
from collections.abc import Iterable

SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
_USUAL = ("train", "validation", "test")
_WORDS = re.compile(
    r"(?<![a-z])(" + "|".join(sorted(SPLITS, key=len, reverse=True)) + r")(?![a-z])", re.IGNORECASE | re.ASCII
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PLAIN = re.compile(r"data|dataset|folder|images?|imgs?|pictures|samples|sets?", re.IGNORECASE)


def split_in(name: str) -> str | None:
    """The split in a file or folder name: `instances_val2017.json` is validation, `training` and `trainA` are train.

    Only whole words count, so `latest` and `trainval` are not splits; of several words the last one counts.
    """
    words = _WORDS.findall(_CAMEL.sub("_", name))
    return SPLITS[words[-1].lower()] if words else None


def sibling_splits(names: Iterable[str]) -> dict[str, str]:
    """The folders that are splits among those beside each other: name -> split.

    These are

    - the usual words, also with a number: `train`, `val2017`;
    - names that differ only in such a word, and stand for different splits: `training_set` and `test_set`, `seg_train`
      and `seg_test`; a single one if the rest says nothing: `test_images`.

    `train_cats` and `train_dogs` are not: they would become one split.
    """
    names = sorted(names)
    found = {name: SPLITS[word] for name in names if (word := name.lower().rstrip("0123456789_-")) in SPLITS}
    named = {name: split for name in names if name not in found and (split := split_in(name))}
    rests: dict[str, dict[str, str]] = {}
    for name, split in named.items():
        rest = re.sub(r"\W|_", "", _WORDS.sub("", _CAMEL.sub("_", name))).lower()
        rests.setdefault(rest, {})[name] = split
    for rest, group in rests.items():
        if len(set(group.values())) == len(group) and (len(group) > 1 or _PLAIN.fullmatch(rest)):
            found |= group
    return found


class SplitFolders:
    """The folders of a listing that are splits, by one rule for all layouts; see `sibling_splits`."""

    def __init__(self, paths: Iterable[str]):
        children: dict[str, set[str]] = {}
        folders = set()
        for path in paths:
            folder = path.rpartition("/")[0]
            while folder and folder not in folders:
                folders.add(folder)
                above, _, name = folder.rpartition("/")
                children.setdefault(above, set()).add(name)
                folder = above
        self._splits = {
            f"{above}/{name}".lstrip("/"): split
            for above, names in children.items()
            for name, split in sibling_splits(names).items()
        }

    def named(self, folder: str) -> str:
        """The split that a folder is; "" if it is none, even if it lies in one."""
        return self._splits.get(folder, "")

    def of(self, path: str) -> str:
        """The split of a path: that of the first folder which is one; "" if there is none."""
        folder, _, rest = path.partition("/")
        while rest:
            if folder in self._splits:
                return self._splits[folder]
            name, _, rest = rest.partition("/")
            folder = f"{folder}/{name}"
        return ""

    def without(self, path: str) -> str:
        """The path without its folders that are splits."""
        parts = path.split("/")
        kept = [part for depth, part in enumerate(parts) if "/".join(parts[: depth + 1]) not in self._splits]
        return "/".join(kept)


def split_name(name: str) -> str:
    """A folder or file name as the name of a split: the usual one for the usual words, else itself, if allowed."""
    return SPLITS.get(name.lower()) or re.sub(r"\W+", "_", name).strip("_") or "train"


def in_order(splits: dict) -> dict:
    """Splits in the usual order: train, validation, test, then the others by name."""
    rank = {name: number for number, name in enumerate(_USUAL)}
    return dict(sorted(splits.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0])))
