"""Dataset cards, checked offline as the Hub checks them online, and against their scripts."""

import dataclasses
import difflib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import yaml
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.layout import LayoutBuilder
from dataset_scripts.core.loading import load_dataset, make_builder
from dataset_scripts.core.published import PublishedSet
from dataset_scripts.core.script import Script, find_script, holds_data

HEADER = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"\|(.*)\|[ \t]*")
# Folders of one machine. What precedes tells them from parts of an address or of a relative path.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/~$}-])/(?:home|Users|root|tmp|mnt|media|work|scratch|Volumes)/[\w.-]+|\b[A-Z]:\\\w+|file:///\S*"
)
SPLIT = re.compile(r"\w+(\.\w+)*")  # as datasets has it: no "-"
LANGUAGE = re.compile(r"[a-z]{3}|code|multilingual")  # beside the codes of two letters
UNKNOWN_SIZES = ("unknown", "other")

# Keys of the header and what their values are; "texts" is a text or a list of texts.
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
TYPES = {"a text": str, "a list": list, "a mapping or a list": (dict, list), "true or false": bool, "anything": object}
INFO_KEYS = {field.name for field in dataclasses.fields(datasets.DatasetInfo)}
TASKS = {"objects": "object-detection", "mask": "image-segmentation", "target": "image-to-image",
         "caption": "image-to-text", "captions": "image-to-text", "label": "image-classification"}  # fmt: skip

REFRESH = "refresh_card() brings it up to date"

Fault = tuple[tuple, str]  # where in the header, or ("line", number), and what


@cache
def hub_names() -> dict[str, list[str]]:
    """The values that the Hub knows, by key."""
    return yaml.safe_load(Path(__file__).with_name("hub_names.yaml").read_text(encoding="utf-8"))


def size_category(rows: int) -> str:
    """The Hub's name for a number of rows: 999 is `n<1K`, 1000 is `1K<n<10K`."""
    names = hub_names()["size_categories"]
    return names[min(max(len(str(rows)) - 3, 0), len(names) - 1)]


def task_category(features: datasets.Features) -> str:
    """The Hub's task category that the columns speak of."""
    return next((task for column, task in TASKS.items() if column in features), "unconditional-image-generation")


def check_card(
    text: str | Path, script: str | None = None, data_dir: str | None = None, name: str | None = None
) -> list[str]:
    """Finds what is wrong with a dataset card, offline: published sets are not downloaded for it.

    Checked are the YAML header (its syntax, keys, types, and the names that the Hub knows), `configs` and
    `dataset_info` as `datasets` reads them, the number of rows against `size_categories`, and the text: not empty,
    with a title, without paths of one machine. The Hub takes any further key; here an unknown one is a fault, as most
    are slips. Language codes of three letters are checked by their form alone.

    Args:
        text: the card, or its path.
        script: a bundled name or a path, as `load_dataset` takes it: licence, citation, splits, rows, columns and
            classes have to agree with it, as far as both say them. What only the data tell is compared where
            they are at hand: beside the script, or in `data_dir`.
        name: the configuration of the script.

    Returns:
        A line a fault: line and key, what it is and what to do. Empty where all is well.

    Raises:
        DataError: the script or its data cannot be read.
    """
    if isinstance(text, Path):
        try:
            text = text.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            return [f"line {line}: is not UTF-8: save the card as UTF-8"]
    text = text.replace("\r\n", "\n")
    match = HEADER.match(text)
    if text.startswith("\ufeff"):
        return ["line 1: begins with a byte order mark: save the card as UTF-8 without one"]
    if match is None:
        return ["line 1: there is no YAML header: begin with a line ---, the keys, and another line ---"]
    try:
        root = yaml.compose(match[1], yaml.SafeLoader)
        header = yaml.safe_load(match[1])
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark else 1
        return [f"line {line}: the header is no YAML: {getattr(error, 'problem', None) or error}"]
    if not isinstance(header, dict):
        return ["line 1: the header has no keys: write such as 'license: mit', one a line"]
    body, start = text[match.end() :], text.count("\n", 0, match.end()) + 1
    faults = [*_keys(header), *_configs(header), *_dataset_info(header), *_sizes(header), *_text(text, body, start)]
    if script is not None:
        faults += _against(script, data_dir, name, header, body, start)
    lines, twice = _lines(root)
    said = []
    for where, what in [*((path, "stands twice: keep one") for path in twice), *faults]:
        key = ""
        if where[:1] == ("line",):
            line = where[1]
        else:
            line = next(lines[where[:depth]] for depth in range(len(where), -1, -1) if where[:depth] in lines)
            key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
        said.append((line, f"line {line}: {key}: {what}" if key else f"line {line}: {what}"))
    return [line for _, line in sorted(said, key=lambda item: item[0])]


def _lines(root: yaml.Node) -> tuple[dict[tuple, int], list[tuple]]:
    """The line in the card of every key and item of the header, and the keys that stand twice."""
    lines, twice, todo, seen = {(): 1}, [], [((), root)], set()
    while todo:
        path, node = todo.pop()
        if id(node) in seen:  # an alias, which may lead back to itself
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            inner = [((*path, key.value), key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            inner = [((*path, place), item, item) for place, item in enumerate(node.value)]
        else:
            continue
        for where, start, value in inner:
            twice += [where] if where in lines else []
            lines[where] = start.start_mark.line + 2  # the header begins on the second line
            todo.append((where, value))
    return lines, twice


def _near(value: str, known: Any) -> str:
    close = difflib.get_close_matches(value.lower(), list(known), 1, 0.75)
    return f": {close[0]!r}?" if close else ""


def _keys(header: dict) -> Iterator[Fault]:
    for key, value in header.items():
        kind = KEYS.get(key)
        if kind is None:
            yield (str(key),), f"the Hub knows no such key{_near(str(key), KEYS) or ': leave it out'}"
        elif kind == "texts":
            for place, item in enumerate(value) if isinstance(value, list) else [(None, value)]:
                where = (key,) if place is None else (key, place)
                if not isinstance(item, str) or not item.strip():
                    yield where, f"{item!r} is no text: put it in quotes, or write a list of texts"
                elif not _is_known(key, item):
                    hint = _near(item, hub_names()[key]) or f": {_advice(key)}"
                    yield where, f"{item!r} is not known to the Hub{hint}"
        elif not isinstance(value, TYPES[kind]) or value == "":
            yield (key,), f"{value!r} should be {kind}"
    if "other" in texts_of(header, "license"):
        if not header.get("license_name"):
            yield ("license",), "'other' needs its name: add license_name, and license_link with its address"
    elif "license_name" in header:
        yield ("license_name",), "is read only with 'license: other': leave it out"
    link = header.get("license_link")
    if isinstance(link, str) and not re.match(r"https?://\S+$|[\w.-]+$", link):
        yield ("license_link",), f"{link!r} is neither an address nor a file of the dataset, such as LICENSE"


def _is_known(key: str, item: str) -> bool:
    if key == "size_categories" and item in UNKNOWN_SIZES:
        return True
    return key not in hub_names() or item in hub_names()[key] or (key == "language" and bool(LANGUAGE.fullmatch(item)))


def _advice(key: str) -> str:
    if key == "license":
        return "take an id of hf.co/docs/hub/repositories-licenses, or 'other' with license_name"
    if key == "language":
        return "take a code of ISO 639, such as 'en'; 'en-US' goes into language_bcp47"
    names = hub_names()[key]
    return f"take one of {', '.join(names)}" if len(names) < 20 else "core/hub_names.yaml lists what is"


def texts_of(header: dict, key: str) -> list[str]:
    value = header.get(key)
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


def _configs(header: dict) -> Iterator[Fault]:
    configs = header.get("configs")
    names: list[str] = []
    defaults: list[str] = []
    for place, config in enumerate(configs if isinstance(configs, list) else []):
        where = ("configs", place)
        name = config.get("config_name") if isinstance(config, dict) else None
        if not isinstance(name, str) or not name or set(name) & set(r'<>:/\|?*"'):
            yield where, f"needs a config_name, a text without any of <>:/\\|?*; it is {name!r}"
            continue
        if name in names:
            yield (*where, "config_name"), f"there are two called {name!r}: give each a name of its own"
        names.append(name)
        if not isinstance(config.get("default", False), bool):
            yield (*where, "default"), f"{config['default']!r} should be true or false"
        elif config.get("default") or name == "default":
            defaults.append(name)
        if "data_files" in config:
            yield from _data_files(config["data_files"], (*where, "data_files"))
    if len(set(defaults)) > 1:
        yield ("configs",), f"{' and '.join(map(repr, defaults))} are default, by name or by key: leave one"


def _data_files(value: Any, where: tuple) -> Iterator[Fault]:
    items = value if isinstance(value, list) else [value]
    by_split = [item for item in items if isinstance(item, dict)]
    if not items or not isinstance(value, (str, list)) or len(by_split) not in (0, len(items)):
        yield where, "should be a pattern of paths, a list of such, or a list of {split, path}, one form for all"
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
                yield (*inner, "split"), f"{split!r} is no name of a split: letters, digits, _ and single dots"
            elif split in seen:
                yield (*inner, "split"), f"there are two of {split!r}: join their paths in a list"
            seen.add(str(split))
        for path in paths if isinstance(paths, list) and isinstance(item, dict) else [paths]:
            if not isinstance(path, str) or not path:
                yield inner, f"{path!r} is no path: write a pattern such as 'data/train-*'"
            elif path.startswith("/") or ".." in path.split("/"):
                yield inner, f"{path!r} leads out of the dataset: make it relative to the card"


def info_entries(header: dict) -> list[tuple[tuple, dict]]:
    """The entries of dataset_info that are mappings, and where they stand."""
    value = header.get("dataset_info")
    entries = enumerate(value) if isinstance(value, list) else [(None, value)]
    paths = [(("dataset_info",) if place is None else ("dataset_info", place), entry) for place, entry in entries]
    return [(where, entry) for where, entry in paths if isinstance(entry, dict)]


def _dataset_info(header: dict) -> Iterator[Fault]:
    value, names = header.get("dataset_info"), set()
    if isinstance(value, list) and len(info_entries(header)) < len(value):
        yield ("dataset_info",), "has an item that is no mapping: each is the info of a configuration"
    for where, entry in info_entries(header):
        for key in entry.keys() - INFO_KEYS:
            yield (*where, str(key)), f"datasets knows no such key{_near(str(key), INFO_KEYS) or ': leave it out'}"
        config = entry.get("config_name", "default")
        if isinstance(value, list) and ("config_name" not in entry or not isinstance(config, str) or config in names):
            yield where, "needs a config_name of its own"
        names.add(str(config))
        _, faults = _read_features(entry, where)
        yield from faults
        for key in entry.keys() & {"download_size", "dataset_size"}:
            if not _is_count(entry[key]):
                yield (*where, key), f"{entry[key]!r} is no number of bytes"
        yield from _splits(entry, where, header)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


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
            if not _is_count(split.get(key)):
                yield inner, f"needs {key}, a whole number; it is {split.get(key)!r}"
    sizes = [split["num_bytes"] for split in valid_splits(entry)]
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
    splits = entry.get("splits")
    named = [split for split in splits if isinstance(split, dict) and "name" in split] if isinstance(splits, list) else []
    return [split for split in named if _is_count(split.get("num_examples")) and _is_count(split.get("num_bytes"))]


def _read_features(entry: dict, where: tuple) -> tuple[datasets.Features | None, list[Fault]]:
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


def _sizes(header: dict) -> Iterator[Fault]:
    totals = row_totals(header)
    stated = [size for size in texts_of(header, "size_categories") if _is_known("size_categories", size)]
    fitting = {size_category(total) for total in [*totals, sum(totals)]}
    if totals and (wrong := [size for size in stated if size not in fitting]):
        right = size_category(sum(totals))
        yield ("size_categories",), f"{wrong[0]!r} does not fit the {sum(totals):,} rows of dataset_info: {right!r}?"


def _text(text: str, body: str, start: int) -> Iterator[Fault]:
    if not body.strip():
        yield ("line", start), "there is no text: say what the images show, and how to load them"
    elif not re.search(r"^# +\S", CODE.sub("", body), re.MULTILINE):
        yield ("line", start), "there is no title: begin the text with a line such as '# Digits'"
    for found in MACHINE_PATH.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield ("line", line), f"{found[0]} is a path of one machine: write such as path/to/data"
    for part in ("columns", "splits"):
        if body.count(f"<!-- {part} -->") != body.count(f"<!-- /{part} -->") or body.count(f"<!-- {part} -->") > 1:
            yield ("line", start), f"<!-- {part} --> needs its <!-- /{part} -->, each once"


def first_table(body: str, column: str) -> tuple[int, list[str], dict[str, list[str]]]:
    """The first table whose first column is called so: its line, its head and, by their first cells, its rows."""
    line, head, rows = 0, [], {}
    for place, text in enumerate(CODE.sub(lambda code: "\n" * code[0].count("\n"), body).splitlines()):
        match = ROW.fullmatch(text)
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", match[1])] if match else []
        if not head:
            line, head = (place, cells) if cells and cells[0].lower() == column else (0, [])
        elif not cells:
            break
        elif not set(cells[0]) <= set(":-"):
            rows[cells[0].strip("`")] = cells + [""] * (len(head) - len(cells))
    return line, head, rows


def _against(script: str, data_dir: str | None, name: str | None, header: dict, body: str, start: int) -> Iterator[Fault]:
    """Where the card and the script disagree; the text begins on line `start`."""
    found = named_script(script)
    builder, info = facts_of(found, data_dir, name)
    for key in ("pretty_name", "license", "task_categories"):
        if key not in header:
            yield (), f"there is no {key}: add it"
    if info.license and "license" in header and info.license not in texts_of(header, "license"):
        yield ("license",), f"{header['license']!r}, but {info.license!r} in the script: make them the same"
    if info.citation and "".join(info.citation.split()) not in "".join(body.split()):
        yield ("line", start), "the citation of the script is not in the text: add it in a block ```bibtex"
    if found.is_bundled and isinstance(builder, LayoutBuilder) and not isinstance(builder, PublishedSet):
        for key in header.keys() & {"dataset_info", "size_categories"}:
            yield (key,), "a layout has no rows of its own: leave it out"
        return
    entries = {str(entry.get("config_name", "default")): (where, entry) for where, entry in info_entries(header)}
    where, entry = entries.get(builder.config.name, ((), {}))
    rows = rows_of(info)
    if rows:
        right = size_category(sum(rows.values()))
        said = {str(split["name"]): split["num_examples"] for split in valid_splits(entry)}
        if said and said != rows:
            yield (*where, "splits"), f"{_listed(said)}, but {_listed(rows)} in the script: {REFRESH}"
        elif not entries and "size_categories" in header and right not in texts_of(header, "size_categories"):
            yield ("size_categories",), f"does not fit the {sum(rows.values()):,} rows of the script: {right!r}?"
        line, head, table = first_table(body, "split")
        if "rows" in head:
            counted = {split: int(re.sub(r"\D", "", cells[head.index("rows")]) or 0) for split, cells in table.items()}
            if counted != rows:
                yield ("line", start + line), f"{_listed(counted)}, but {_listed(rows)} in the script: change the table"
    said, _ = _read_features(entry, where)
    if info.features:
        if said is not None:
            yield from (((*where, "features"), what) for what in _columns(said, info.features))
        line, _, table = first_table(body, "column")
        told = {cell.replace("`", "").partition(".")[0] for cell in table}
        if table and told != set(info.features):
            listed = ", ".join(info.features)
            yield ("line", start + line), f"the columns are {', '.join(table)}, but {listed} in the script: change the table"
    elif said is not None and (classes := getattr(builder, "CLASSES", None)):
        if said.get("label") != datasets.ClassLabel(names=list(classes)):
            yield (*where, "features"), f"label: the classes of the script are {', '.join(classes)[:100]}"


def rows_of(info: datasets.DatasetInfo) -> dict[str, int]:
    return {str(split): part.num_examples for split, part in (info.splits or {}).items()}


def _listed(rows: dict[str, int]) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in rows.items())


def _columns(said: datasets.Features, real: datasets.Features) -> Iterator[str]:
    for column in [*real, *(column for column in said if column not in real)]:
        one, other = said.get(column), real.get(column)
        if one is None or other is None:
            yield f"the {'card' if one is None else 'script'} has no column {column}: {REFRESH}"
        elif one != other:
            names = [[label.names for label in class_labels(feature)] for feature in (one, other)]
            what = "classes are" if names[0] != names[1] else "type is"
            yield f"{column}: its {what} not as in the script: {REFRESH}"


def named_script(script: str) -> Script:
    found = find_script(script)
    if found is None:
        raise DataError(f"{script} is no script: name one that comes with the package, or its .py")
    return found


def facts_of(script: Script, data_dir: str | None, name: str | None) -> tuple[datasets.DatasetBuilder, datasets.DatasetInfo]:
    """What is known of the set: of its data where they are at hand, else of what its script declares."""
    builder = make_builder(script, name, data_dir, None, None, None, None, None, {})
    is_published, folder = isinstance(builder, PublishedSet), script.path.parent
    has_data = folder.name == script.name and holds_data(folder) and not is_published  # those would be downloaded
    if builder.config.data_dir is not None or has_data:
        sets = load_dataset(str(script.path), name, data_dir=data_dir, transform=None)
        return builder, next(iter(sets.values())).info
    info = builder.info.copy()
    if is_published:
        info.splits = datasets.splits.SplitDict()
        for split, rows in builder.ROWS.items():
            info.splits.add(datasets.SplitInfo(split, 0, rows))
    return builder, info
