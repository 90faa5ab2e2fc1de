"""The rules of the Hub for the header of a dataset card: its keys, their types, and the names that it knows."""

import difflib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import datasets

from dataset_scripts.core.formats.safe_yaml import load_yaml

SPLIT = re.compile(r"\w+(\.\w+)*")  # as in datasets: without "-"
LANGUAGE = re.compile(r"[a-z]{3}|code|multilingual")  # in addition to the two-letter codes
UNKNOWN_SIZES = ("unknown", "other")

# The keys of the header and the types of their values; "texts" is a text or a list of texts.
KINDS = {
    "a text": (
        "pretty_name license_name license_link license_details paperswithcode_id extra_gated_prompt "
        "extra_gated_heading extra_gated_description extra_gated_button_content"
    ),
    "texts": (
        "license language language_bcp47 language_creators language_details annotations_creators multilinguality "
        "size_categories source_datasets task_categories task_ids tags config_names"
    ),
    "a list": "configs train-eval-index",
    "a mapping or a list": "dataset_info extra_gated_fields",
    "true or false": "viewer extra_gated_eu_disallowed",
    "anything": "gated",
}
KEYS = {key: kind for kind, keys in KINDS.items() for key in keys.split()}
TYPES: dict[str, type | tuple[type, ...]] = {
    "a text": str,
    "a list": list,
    "a mapping or a list": (dict, list),
    "true or false": bool,
    "anything": object,
}
TASKS = {
    "objects": "object-detection",
    "mask": "image-segmentation",
    "mask_before": "image-segmentation",
    "target": "image-to-image",
    "caption": "image-to-text",
    "captions": "image-to-text",
    "label": "image-classification",
}

Fault = tuple[tuple, str]  # the place in the header, or ("line", number), and what is wrong there


@cache
def hub_names() -> dict[str, list[str]]:
    """The values that the Hub knows, by key."""
    path = Path(__file__).with_name("hub_names.yaml")
    return load_yaml(path.read_text(encoding="utf-8"), path)


def size_category(rows: int) -> str:
    """The Hub's name for a number of rows: 999 is `n<1K`, 1000 is `1K<n<10K`."""
    names = hub_names()["size_categories"]
    return names[min(max(len(str(rows)) - 3, 0), len(names) - 1)]


def task_category(features: datasets.Features) -> str:
    """The Hub's task category that fits the columns."""
    return next((task for column, task in TASKS.items() if column in features), "unconditional-image-generation")


def near(value: str, known: Any) -> str:
    close = difflib.get_close_matches(value.lower(), list(known), 1, 0.75) if len(value) < 100 else []
    return f": {close[0]!r}?" if close else ""


def check_keys(header: dict) -> Iterator[Fault]:
    for key, value in header.items():
        kind = KEYS.get(key)
        if kind is None:
            yield (str(key),), f"the Hub knows no such key{near(str(key), KEYS) or ': leave it out'}"
        elif kind == "texts":
            for place, item in enumerate(value) if isinstance(value, list) else [(None, value)]:
                where = (key,) if place is None else (key, place)
                if not isinstance(item, str) or not item.strip():
                    yield where, f"{item!r} is not text: put it in quotes, or write a list of texts"
                elif not is_known(key, item):
                    hint = near(item, hub_names()[key]) or f": {_advice(key)}"
                    yield where, f"{item!r} is not known to the Hub{hint}"
        elif not isinstance(value, TYPES[kind]) or value == "":
            yield (key,), f"{value!r} should be {kind}"
    if "other" in texts_of(header, "license"):
        if not header.get("license_name"):
            yield ("license",), "'other' needs its name: add license_name, and license_link with its address"
    elif "license_name" in header:
        yield ("license_name",), "is used only with 'license: other': leave it out"
    link = header.get("license_link")
    if isinstance(link, str) and not re.match(r"https?://\S+$|[\w.-]+$", link):
        yield ("license_link",), f"{link!r} is neither an address nor a file of the dataset, such as LICENSE"


def is_known(key: str, item: str) -> bool:
    if key == "size_categories" and item in UNKNOWN_SIZES:
        return True
    return key not in hub_names() or item in hub_names()[key] or (key == "language" and bool(LANGUAGE.fullmatch(item)))


def _advice(key: str) -> str:
    if key == "license":
        return "take an id from hf.co/docs/hub/repositories-licenses, or 'other' with license_name"
    if key == "language":
        return "take an ISO 639 code, such as 'en'; 'en-US' goes into language_bcp47"
    names = hub_names()[key]
    return f"take one of {', '.join(names)}" if len(names) < 20 else "core/formats/hub_names.yaml lists the known ones"


def texts_of(header: dict, key: str) -> list[str]:
    value = header.get(key)
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


def check_configs(header: dict) -> Iterator[Fault]:
    configs = header.get("configs")
    names: set[str] = set()
    defaults: list[str] = []
    for place, config in enumerate(configs if isinstance(configs, list) else []):
        where = ("configs", place)
        name = config.get("config_name") if isinstance(config, dict) else None
        if not isinstance(name, str) or not name or set(name) & set(r'<>:/\|?*"'):
            yield where, f"needs a config_name, a text without any of <>:/\\|?*; it is {name!r}"
            continue
        if name in names:
            yield (*where, "config_name"), f"two configurations are called {name!r}: give each its own name"
        names.add(name)
        if not isinstance(config.get("default", False), bool):
            yield (*where, "default"), f"{config['default']!r} should be true or false"
        elif config.get("default") or name == "default":
            defaults.append(name)
        if "data_files" in config:
            yield from _data_files(config["data_files"], (*where, "data_files"))
    if len(set(defaults)) > 1:
        yield (
            ("configs",),
            f"{' and '.join(map(repr, dict.fromkeys(defaults)))} are default, by name or by key: keep one",
        )


def leads_out(path: str) -> bool:
    """Whether a path in a card may name something outside the card's folder."""
    first, *rest = path.replace("\\", "/").split("/")  # `file:x` is an address for fsspec, and `::` joins two
    return path.startswith(("/", "~")) or ".." in (first, *rest) or ":" in first or "://" in path or "::" in path


def _data_files(value: Any, where: tuple) -> Iterator[Fault]:
    items = value if isinstance(value, list) else [value]
    by_split = [item for item in items if isinstance(item, dict)]
    if not items or not isinstance(value, (str, list)) or len(by_split) not in (0, len(items)):
        yield where, "should be a path pattern, a list of patterns, or a list of {split, path}, in one form throughout"
        return
    seen = set()
    for place, item in enumerate(items):
        inner = (*where, place) if isinstance(value, list) else where
        paths = item
        if isinstance(item, dict):
            if item.keys() != {"split", "path"}:
                yield inner, f"has the keys {', '.join(map(str, item))}: it takes exactly split and path"
                continue
            split, paths = item["split"], item["path"]
            if not isinstance(split, str) or not SPLIT.fullmatch(split):
                yield (*inner, "split"), f"{split!r} cannot name a split: use letters, digits, _ and single dots"
            elif split in seen:
                yield (*inner, "split"), f"the split {split!r} occurs twice: join its paths in a list"
            seen.add(str(split))
        for path in paths if isinstance(paths, list) and isinstance(item, dict) else [paths]:
            if not isinstance(path, str) or not path:
                yield inner, f"{path!r} is not a path: write a pattern such as 'data/train-*'"
            elif leads_out(path):
                yield inner, f"{path!r} leads out of the dataset: make it relative to the card"
