"""The names of splits, in their usual spellings."""

import re

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
_WORDS = re.compile(r"(?<![a-z])(" + "|".join(sorted(SPLITS, key=len, reverse=True)) + r")(?![a-z])", re.IGNORECASE)


def split_in(name: str) -> str | None:
    """The split in a file or folder name: `instances_val2017.json` is validation, `training` is train.

    Only whole words count, so `latest` and `trainval` are not splits; of several words the last one counts.
    """
    words = _WORDS.findall(name)
    return SPLITS[words[-1].lower()] if words else None


def split_name(name: str) -> str:
    """A folder or file name as the name of a split: the usual one for the usual words, else itself, if allowed."""
    return SPLITS.get(name.lower()) or re.sub(r"\W+", "_", name).strip("_") or "train"


def in_order(splits: dict) -> dict:
    """Splits in the usual order: train, validation, test, then the others by name."""
    rank = {name: number for number, name in enumerate(_USUAL)}
    return dict(sorted(splits.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0])))
