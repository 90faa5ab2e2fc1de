"""The `dataset_info` in the header of a dataset card, read as `datasets` reads it."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.names import is_hidden
from dataset_scripts.core.files.walk import check_links
from dataset_scripts.core.formats.card_rules import SPLIT, Fault, is_known, leads_out, near, size_category, texts_of
from dataset_scripts.core.formats.fields import brief
from dataset_scripts.core.formats.front_matter import read_card, split_card
from dataset_scripts.core.formats.safe_yaml import load_yaml

MOST = 1_000_000  # of what a card may tell a reader, such as rows to skip: pandas lists their numbers
# What makes pandas read by its parser in Python, with regular expressions of the card, or asks for objects and threads.
OF_PROGRAMS = {"converters", "dialect", "engine", "skipfooter", "fragment_scan_options", "decode_num_threads"}
OF_ONE_CHARACTER = {"sep", "delimiter", "quotechar", "escapechar", "comment", "thousands", "decimal", "lineterminator"}
SLOW_ENCODINGS = {"idna", "punycode"}  # quadratic in the length of a text
INFO_KEYS = {field.name for field in dataclasses.fields(datasets.DatasetInfo)}


def info_entries(header: dict) -> list[tuple[tuple, dict]]:
    """The entries of dataset_info that are mappings, and their places in the header."""
    value = header.get("dataset_info")
    entries = enumerate(value) if isinstance(value, list) else [(None, value)]
    paths = [(("dataset_info",) if place is None else ("dataset_info", place), entry) for place, entry in entries]
    return [(where, entry) for where, entry in paths if isinstance(entry, dict)]


def check_info(header: dict) -> Iterator[Fault]:
    value, names = header.get("dataset_info"), set()
    if isinstance(value, list) and len(info_entries(header)) < len(value):
        yield ("dataset_info",), "has an item that is not a mapping: each should be the info of a configuration"
    configs = header.get("configs")
    files = (
        {str(config.get("config_name")): config.get("data_files") for config in configs if isinstance(config, dict)}
        if (isinstance(configs, list))
        else {}
    )
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
                yield (*where, key), f"{entry[key]!r} is not a number of bytes"
        yield from _splits(entry, where, files.get(str(config)))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_bytes(split: dict) -> bool:
    return "num_bytes" in split and (split["num_bytes"] is None or _is_count(split["num_bytes"]))


def _splits(entry: dict, where: tuple, files: Any) -> Iterator[Fault]:
    """What is wrong with the splits of an entry; `files` are the data_files of its configuration."""
    splits = entry.get("splits", [])
    names: dict[str, None] = {}
    for place, split in enumerate(splits) if isinstance(splits, list) else [(0, None)]:
        inner = (*where, "splits", place)
        if not isinstance(split, dict):
            yield inner, "should be a list of {name, num_bytes, num_examples}"
            continue
        name = split.get("name")
        if not isinstance(name, str) or not SPLIT.fullmatch(name) or name in names:
            yield inner, f"needs its own name, of letters, digits, _ and single dots; it is {name!r}"
        names[str(name)] = None
        for key in ("num_examples", "num_bytes"):
            if not (_is_bytes(split) if key == "num_bytes" else _is_count(split.get(key))):
                yield inner, f"needs {key}, a whole number; it is {split.get(key)!r}"
    sizes = [split["num_bytes"] for split in valid_splits(entry) if split["num_bytes"] is not None]
    total = entry.get("dataset_size")
    if len(sizes) == len(names) > 0 and _is_count(total) and total != sum(sizes):
        yield (*where, "dataset_size"), f"is {total}, but the num_bytes of the splits add up to {sum(sizes)}"
    said = [str(file.get("split")) for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    if said and names and set(said) != names.keys():
        yield (*where, "splits"), f"has {', '.join(names)}, but configs has {', '.join(said)}: make them the same"


def valid_splits(entry: dict) -> list[dict]:
    """The splits that `datasets` accepts. It requires `num_bytes`, which is None if the bytes were not counted."""
    splits = entry.get("splits")
    named = (
        [split for split in splits if isinstance(split, dict) and "name" in split] if isinstance(splits, list) else []
    )
    return [split for split in named if _is_count(split.get("num_examples")) and _is_bytes(split)]


def read_features(entry: dict, where: tuple) -> tuple[datasets.Features | None, list[Fault]]:
    """The columns as `datasets` reads them, None if the card does not give them; and the faults of the others."""
    items, faults, columns = entry.get("features"), [], {}
    if items is None:
        return None, []
    for place, item in enumerate(items) if isinstance(items, list) else [(0, None)]:
        inner = (*where, "features", place)
        if not isinstance(item, dict) or not isinstance(name := item.get("name"), str) or len(item) < 2:
            faults.append(
                (inner, "should be a list of {name, dtype}; put names in quotes if they are numbers or yes/no")
            )
            continue
        try:
            check_classes(item, name)
            with reading(f"{name}: datasets cannot read its type"):
                read = DatasetInfosDict.from_dataset_card_data(DatasetCardData(dataset_info={"features": [item]}))
                feature = next(iter(read.values())).features[name]
        except DataError as error:
            faults.append((inner, str(error)[:300]))
            continue
        if name in columns:
            faults.append((inner, f"there are two columns {name}: leave one out"))
        for label in class_labels(feature):
            for wrong in (text for text in label.names if not isinstance(text, str)):
                faults.append((inner, f"{name}: the class name {wrong!r} is not text: put it in quotes"))
        columns[name] = feature
    return datasets.Features(columns), faults


def check_classes(value: Any, where: object) -> None:
    """Refuses classes that are given by their number alone, or whose names `datasets` would read from another file.

    Raises:
        DataError: the value, read from YAML or JSON, contains such a class_label.
    """
    if isinstance(value, dict):
        names = value.get("names")
        ids = [str(key) for key in names] if isinstance(names, dict) else []
        if "names_file" in value:
            raise DataError(f"{where}: the class names are in another file (names_file): write them out")
        if isinstance(value.get("num_classes"), (int, float)) and not names:
            raise DataError(f"{where}: num_classes is given without names: write the names out")
        if any(len(key) > len(str(len(ids))) for key in ids):
            raise DataError(f"{where}: the numbers of its {len(ids)} class names are not 0 to {len(ids) - 1}")
        for inner in value.values():
            check_classes(inner, where)
    elif isinstance(value, list):
        for inner in value:
            check_classes(inner, where)


def check_for_datasets(folder: Path) -> None:
    """Checks the files that `datasets` reads before the data, which it does without limits or clear errors.

    Raises:
        DataError: the card, `.huggingface.yaml` or `dataset_infos.json` cannot be read, asks for much more than its size, or
            names files outside the folder.
    """
    header: dict = {}
    card, more, infos = (folder / name for name in ("README.md", ".huggingface.yaml", "dataset_infos.json"))
    check_links(folder)
    for place in (card, more, infos):
        if not place.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{place} is a link that leads out of {folder}: copy the file")
    if card.is_file() and (parts := split_card(read_card(card).lstrip())):
        header |= _mapping(load_yaml(parts.header, card, 2), card)
    if more.is_file():
        header |= _mapping(load_yaml(read_card(more), more), more)
    check_classes(header.get("dataset_info"), card)
    for key, value in _values(header.get("configs")):
        if isinstance(value, (int, float)):
            if not abs(value) <= MOST:
                raise DataError(
                    f"{card}: its configs set {key} to {value}, not a number up to {MOST:,}: a reader makes that many rows"
                )
        elif key in ("data_files", "path", "data_dir") and (leads_out(value) or any(map(_is_hidden, value.split("/")))):
            raise DataError(
                f"{card}: its configs name {value[:200]!r}, which is hidden or leads out of {folder}: make it relative to the card"
            )
    configs = header.get("configs")
    for config in configs if isinstance(configs, list) else []:
        if isinstance(config, dict):
            _check_options(config, card)
    with reading(f"{card}: datasets cannot read its header"):
        data = DatasetCardData(**header)
        MetadataConfigs.from_dataset_card_data(data)
        DatasetInfosDict.from_dataset_card_data(data)
    if infos.is_file():
        with reading(infos):
            read = _mapping(json.loads(read_card(infos)), infos)
            check_classes(read, infos)
            for info in read.values():
                datasets.DatasetInfo.from_dict(info)


def _check_options(config: dict, card: Path) -> None:
    """Refuses options of readers that let a card choose how long they take.

    Raises:
        DataError: an option takes code or a pattern, makes one of the separator, or names a slow encoding.
    """
    for key, value in config.items():
        if key in OF_PROGRAMS:
            raise DataError(f"{card}: its configs set {key}, which is for code, not for data: leave it out")
        one = isinstance(value, str) and (
            len(value) == 1 and value.isascii() or value == r"\s+"
        )  # pandas knows that one
        if key in OF_ONE_CHARACTER and not (one or (value is None and key != "sep")):
            raise DataError(
                f"{card}: its configs set {key} to {brief(value)}, not to one character of ASCII: a longer one is a pattern"
            )
        if key == "encoding" and str(value).lower().strip() in SLOW_ENCODINGS:
            raise DataError(
                f"{card}: its configs set the encoding {value}, which takes too long: write the text as UTF-8"
            )


def _is_hidden(part: str) -> bool:
    return part != "." and is_hidden(part)


def _mapping(value: Any, path: Path) -> dict:
    if not isinstance(value, (dict, type(None))) or not all(isinstance(key, str) for key in value or {}):
        raise DataError(f"{path}: the YAML is not a mapping with text keys: write lines such as 'license: mit'")
    return value or {}


def _values(value: Any, key: str = "") -> Iterator[tuple[str, str | int | float]]:
    """All texts and numbers in a value read from YAML, each with its key."""
    if isinstance(value, (str, int, float)):
        yield key, value
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, key)
    elif isinstance(value, dict):
        for inner_key, inner in value.items():
            yield from _values(inner, str(inner_key))


def class_labels(feature: Any) -> Iterator[datasets.ClassLabel]:
    if isinstance(feature, datasets.ClassLabel):
        yield feature
    elif isinstance(feature, dict):
        for inner in feature.values():
            yield from class_labels(inner)
    elif hasattr(feature, "feature"):
        yield from class_labels(feature.feature)


def row_totals(header: dict) -> list[int]:
    """The number of rows of each configuration in dataset_info that gives it."""
    parts = [[split["num_examples"] for split in valid_splits(entry)] for _, entry in info_entries(header)]
    return [sum(counts) for counts in parts if counts]


def check_sizes(header: dict) -> Iterator[Fault]:
    totals = row_totals(header)
    stated = [size for size in texts_of(header, "size_categories") if is_known("size_categories", size)]
    fitting = {size_category(total) for total in [*totals, sum(totals)]}
    if totals and (wrong := [size for size in stated if size not in fitting]):
        right = size_category(sum(totals))
        yield ("size_categories",), f"{wrong[0]!r} does not fit the {sum(totals):,} rows of dataset_info: {right!r}?"
