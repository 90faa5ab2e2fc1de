"""What the header of a dataset card says of its data in `dataset_info`, read as `datasets` reads it."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData

from dataset_scripts.core.card_rules import SPLIT, Fault, is_known, near, size_category, texts_of

INFO_KEYS = {field.name for field in dataclasses.fields(datasets.DatasetInfo)}


def info_entries(header: dict) -> list[tuple[tuple, dict]]:
    """The entries of dataset_info that are mappings, and where they stand."""
    value = header.get("dataset_info")
    entries = enumerate(value) if isinstance(value, list) else [(None, value)]
    paths = [(("dataset_info",) if place is None else ("dataset_info", place), entry) for place, entry in entries]
    return [(where, entry) for where, entry in paths if isinstance(entry, dict)]


def check_info(header: dict) -> Iterator[Fault]:
    value, names = header.get("dataset_info"), set()
    if isinstance(value, list) and len(info_entries(header)) < len(value):
        yield ("dataset_info",), "has an item that is no mapping: each is the info of a configuration"
    for where, entry in info_entries(header):
        for key in entry.keys() - INFO_KEYS:
            yield (*where, str(key)), f"datasets knows no such key{near(str(key), INFO_KEYS) or ': leave it out'}"
        config = entry.get("config_name", "default")
        if isinstance(value, list) and ("config_name" not in entry or not isinstance(config, str) or config in names):
            yield where, "needs a config_name of its own"
        names.add(str(config))
        _, faults = read_features(entry, where)
        yield from faults
        for key in entry.keys() & {"download_size", "dataset_size"}:
            if not _is_count(entry[key]):
                yield (*where, key), f"{entry[key]!r} is no number of bytes"
        yield from _splits(entry, where, header)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_bytes(split: dict) -> bool:
    return "num_bytes" in split and (split["num_bytes"] is None or _is_count(split["num_bytes"]))


def _splits(entry: dict, where: tuple, header: dict) -> Iterator[Fault]:
    splits = entry.get("splits", [])
    names = []
    for place, split in enumerate(splits) if isinstance(splits, list) else [(0, None)]:
        inner = (*where, "splits", place)
        if not isinstance(split, dict):
            yield inner, "should be a list of {name, num_bytes, num_examples}"
            continue
        name = split.get("name")
        if not isinstance(name, str) or not SPLIT.fullmatch(name) or name in names:
            yield inner, f"needs a name of its own of letters, digits, _ and single dots; it is {name!r}"
        names.append(str(name))
        for key in ("num_examples", "num_bytes"):
            if not (_is_bytes(split) if key == "num_bytes" else _is_count(split.get(key))):
                yield inner, f"needs {key}, a whole number; it is {split.get(key)!r}"
    sizes = [split["num_bytes"] for split in valid_splits(entry) if split["num_bytes"] is not None]
    total = entry.get("dataset_size")
    if len(sizes) == len(names) > 0 and _is_count(total) and total != sum(sizes):
        yield (*where, "dataset_size"), f"is {total}, but num_bytes of the splits add up to {sum(sizes)}"
    config = entry.get("config_name", "default")
    configs = header.get("configs")
    for other in configs if isinstance(configs, list) else []:
        files = other.get("data_files") if isinstance(other, dict) and other.get("config_name") == config else None
        said = [str(file.get("split")) for file in files if isinstance(file, dict)] if isinstance(files, list) else []
        if said and names and set(said) != set(names):
            yield (*where, "splits"), f"{', '.join(names)}, but {', '.join(said)} in configs: make them the same"


def valid_splits(entry: dict) -> list[dict]:
    """The splits that `datasets` takes; `num_bytes` is None where nobody counted, but `datasets` asks for the key."""
    splits = entry.get("splits")
    named = [split for split in splits if isinstance(split, dict) and "name" in split] if isinstance(splits, list) else []
    return [split for split in named if _is_count(split.get("num_examples")) and _is_bytes(split)]


def read_features(entry: dict, where: tuple) -> tuple[datasets.Features | None, list[Fault]]:
    """The columns as `datasets` reads them, and what it cannot read; None where the card does not say them."""
    items, faults, columns = entry.get("features"), [], {}
    if items is None:
        return None, []
    for place, item in enumerate(items) if isinstance(items, list) else [(0, None)]:
        inner = (*where, "features", place)
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or len(item) < 2:
            faults.append((inner, "should be a list of {name, dtype}; names in quotes where they are numbers or yes/no"))
            continue
        try:
            read = DatasetInfosDict.from_dataset_card_data(DatasetCardData(dataset_info={"features": [item]}))
            feature = next(iter(read.values())).features[name]
        except Exception as error:  # the reader trusts what it reads: a wrong shape ends in errors of any kind
            faults.append((inner, f"{name}: datasets cannot read its type: {' '.join(str(error).split())[:200]}"))
            continue
        if name in columns:
            faults.append((inner, f"there are two columns {name}: leave one out"))
        for label in class_labels(feature):
            for wrong in (text for text in label.names if not isinstance(text, str)):
                faults.append((inner, f"{name}: the class name {wrong!r} is no text: put it in quotes"))
        columns[name] = feature
    return datasets.Features(columns), faults


def class_labels(feature: Any) -> Iterator[datasets.ClassLabel]:
    if isinstance(feature, datasets.ClassLabel):
        yield feature
    elif isinstance(feature, dict):
        for inner in feature.values():
            yield from class_labels(inner)
    elif hasattr(feature, "feature"):
        yield from class_labels(feature.feature)


def row_totals(header: dict) -> list[int]:
    """Rows of each configuration of dataset_info that says them."""
    parts = [[split["num_examples"] for split in valid_splits(entry)] for _, entry in info_entries(header)]
    return [sum(counts) for counts in parts if counts]


def check_sizes(header: dict) -> Iterator[Fault]:
    totals = row_totals(header)
    stated = [size for size in texts_of(header, "size_categories") if is_known("size_categories", size)]
    fitting = {size_category(total) for total in [*totals, sum(totals)]}
    if totals and (wrong := [size for size in stated if size not in fitting]):
        right = size_category(sum(totals))
        yield ("size_categories",), f"{wrong[0]!r} does not fit the {sum(totals):,} rows of dataset_info: {right!r}?"
