"""Writes and updates the generated part of dataset cards."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import datasets
import yaml
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData

from dataset_scripts.core.card.facts import Facts, all_facts, facts_of, named_script
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.card_rules import hub_names, size_category, task_category, texts_of
from dataset_scripts.core.formats.dataset_info import info_entries, row_totals, valid_splits
from dataset_scripts.core.formats.front_matter import first_table, marked, plain_lines, read_card, split_card
from dataset_scripts.core.formats.markdown import code, markdown
from dataset_scripts.core.formats.safe_yaml import compose_yaml, load_yaml

CONTENT = {"image": "the image", "mask": "ids of classes, one per pixel", "image_id": "the name of the image"}
NOT_AT_HAND = "its rows are not at hand: pass data_dir=…, the folder of its data"


def describe(feature: Any, names: int = 0) -> str:
    """The type of a column in words: `list of float32`; of a class also its first names, up to `names`."""
    if isinstance(feature, datasets.ClassLabel):
        count = len(feature.names)
        if not names:
            return f"one of {count} classes"
        listed = ", ".join(map(markdown, feature.names[:names]))
        return f"class, {count} of them: {listed}{', …' if count > names else ''}"
    if isinstance(feature, dict):
        return "; ".join(f"{code(name)} {describe(inner, names)}" for name, inner in feature.items())
    if hasattr(feature, "feature"):
        return f"list of {describe(feature.feature, names)}"
    return feature.dtype if isinstance(feature, datasets.Value) else type(feature).__name__.lower()


def refresh_card(script: str, data_dir: str | None = None, name: str | None = None, card: Path | None = None) -> str:
    """The card of a script with its generated part up to date; the caller writes it.

    The generated part is, in the header, `dataset_info` and `size_categories`, and in the text everything between
    `<!-- columns -->` and `<!-- /columns -->`, and between `<!-- splits -->` and `<!-- /splits -->`, if these are there. In
    the table of columns the last cell is the author's: it stays with its column. Everything else keeps its bytes, including
    the order, quotes and comments of the other keys. If the generated part is already right, nothing changes; if not,
    comments within it are lost, and so are keys of `dataset_info` that are not written here.

    The facts come from the data if they are at hand: beside the script or in `data_dir`. For a published set the
    rows are the published ones, of all its configurations; columns that only the data show stay as they are in the card.

    `num_bytes` are those of the prepared table, null if not all rows are at hand. They depend on the versions of image
    encoders, and stay unless columns or rows change.

    Args:
        script: a bundled name or a path, as `load_dataset` takes it.
        name: the configuration; the others in `dataset_info` stay.
        card: of the script, by default the `README.md` beside it.

    Returns:
        The text of the card, to be written with `newline=""`.

    Raises:
        DataError: there is no card, its header cannot be edited, or nothing is known about the rows.
    """
    found = named_script(script)
    card = card or found.path.with_name("README.md")
    if not card.is_file():
        raise DataError(f"there is no card {card}: write the text of new_card() to it first")
    facts = all_facts(found, data_dir, name)
    if not facts[0][1].splits:
        raise DataError(f"{script}: {NOT_AT_HAND}")
    return _refreshed(read_card(card), card, facts)


def _refreshed(text: str, card: Path, facts: list[Facts]) -> str:
    parts = split_card(plain_lines(text))
    header = parts.header if parts else ""
    where = f"{card}: its header is not YAML"
    old, root = load_yaml(header, where, 2), compose_yaml(header, where, 2)
    if not isinstance(old, dict) or root.flow_style:
        raise DataError(
            f"{card} has no header with one key per line: begin it with a line ---, the keys, and another line ---"
        )
    info = facts[0][1]
    new: dict[str, Any] = {"dataset_info": old.get("dataset_info")}
    for builder, known in facts:
        new["dataset_info"] = _merged(new["dataset_info"], builder, known)
    totals = row_totals(new)
    sizes = [size for size in hub_names()["size_categories"] if size in map(size_category, totals)]
    if texts_of(old, "size_categories") != sizes:
        new["size_categories"] = sizes
    for key in new.keys() & old.keys():
        if new[key] != old[key]:
            header = _replaced(header, key, new[key])
    for key in sorted(new.keys() - old.keys(), reverse=True):
        header += _block(key, new[key])
    try:
        is_kept = load_yaml(header, card, 2) == old | new
    except DataError:
        is_kept = False
    if not is_kept:
        raise DataError(
            f"{card}: other keys of its header refer to {' or '.join(new)} by & and *: write them out first"
        )
    body = parts.body
    for part, table in (("columns", _columns_table), ("splits", _splits_table)):
        if lines := marked(body, part):
            body = body[: lines.start] + table(info, body[lines]) + body[lines.stop :]
    plain = "".join(parts._replace(header=header, body=body))
    return plain.replace("\n", "\r\n") if "\r\n" in text else plain


def _merged(old: Any, builder: datasets.DatasetBuilder, info: datasets.DatasetInfo) -> dict | list[dict]:
    """dataset_info with this configuration in it, in the place that the script gives it."""
    config, entries = builder.config.name, {}
    for _, entry in info_entries({"dataset_info": old}):
        entries[str(entry.get("config_name", "default"))] = entry
    sizes = [part.num_bytes for part in info.splits.values()]
    total = None if None in sizes else sum(sizes)
    stated = datasets.DatasetInfo(
        features=info.features, splits=info.splits, download_size=info.download_size, dataset_size=total
    )
    data = DatasetCardData()
    DatasetInfosDict({config: stated}).to_dataset_card_data(data)
    new, kept = data["dataset_info"], entries.get(config, {})
    if info.features is None and "features" in kept:  # only the data show the columns
        new = {key: kept[key] for key in ("config_name", "features") if key in kept} | new
    if not _says(kept, new):
        entries[config] = new
    order = list(builder.builder_configs)
    names = sorted(entries, key=lambda name: order.index(name) if name in order else len(order))
    return entries[config] if len(entries) == 1 else [{"config_name": name} | entries[name] for name in names]


def _says(entry: dict, new: dict) -> bool:
    """Whether an entry of dataset_info agrees with the new one; its own numbers of bytes are kept, if complete."""
    known, found = (
        (said.get("features"), [(split["name"], split["num_examples"]) for split in valid_splits(said)])
        for said in (entry, new)
    )
    size = entry.get("download_size")
    is_counted = all(split["num_bytes"] is not None for split in valid_splits(entry)) or "dataset_size" not in new
    return known == found and size == new.get("download_size", size) and is_counted


def _block(key: str, value: Any) -> str:
    return yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=float("inf"))


def _replaced(header: str, key: str, value: Any) -> str:
    """The header with another value of a key that it has; the text of the other keys stays as it is."""
    nodes = compose_yaml(header, "the header").value
    starts = [(found.value, found.start_mark.index) for found, _ in nodes] + [("", len(header))]
    start, end = next((start, end) for (found, start), (_, end) in itertools.pairwise(starts) if found == key)
    own = header[start:end].rstrip()
    while own.rpartition("\n")[2].lstrip().startswith("#"):  # comments after the value belong to the next key
        own = own.rpartition("\n")[0].rstrip()
    return header[:start] + _block(key, value) + header[start + len(own) + 1 :]


def _columns_table(info: datasets.DatasetInfo, old: str) -> str:
    if info.features is None:
        return old  # only the data show the columns
    _, head, rows = first_table(old, "column")
    kept = {column: cells[-1] for column, cells in rows.items()} if head[-1:] == ["content"] else {}
    lines = ["| column | type | content |", "|---|---|---|"]
    for column, feature in info.features.items():
        names = _listed(feature.names) if isinstance(feature, datasets.ClassLabel) else ""
        content = kept.get(code(column).strip("`"), CONTENT.get(column, names))
        lines.append(f"| {code(column)} | {describe(feature)} | {content} |")
    return "\n" + "\n".join(lines) + "\n\n"


def _listed(names: list[str]) -> str:
    """Names of classes, cut to about a line."""
    quoted = list(map(markdown, names))
    if len(whole := ", ".join(quoted)) < 100:
        return whole
    ends = itertools.accumulate(len(name) + 2 for name in quoted)
    return ", ".join([*(name for name, end in zip(quoted, ends) if end <= 100), "…"])


def _splits_table(info: datasets.DatasetInfo, old: str) -> str:
    lines = ["| split | rows |", "|---|---:|"]
    lines += [f"| {markdown(str(split))} | {part.num_examples:,} |" for split, part in info.splits.items()]
    return "\n" + "\n".join(lines) + "\n\n"


def new_card(script: str, data_dir: str | None = None, name: str | None = None) -> str:
    """A first card for a script, from the script and its data; the caller adds what only people know.

    Args:
        script, data_dir, name: as for `refresh_card`.

    Returns:
        The text of the card, in which `check_card` finds no fault.

    Raises:
        DataError: nothing is known about the rows.
    """
    found = named_script(script)
    builder, info = facts_of(found, data_dir, name)
    if not info.splits or info.features is None:
        raise DataError(f"{script}: {NOT_AT_HAND}")
    title = found.name.replace("_", " ").strip().capitalize() or found.name
    header: dict[str, Any] = {"pretty_name": title, "license": info.license or "unknown"}
    if header["license"] not in hub_names()["license"]:
        words = re.sub(r"[^a-z0-9.]+", "-", info.license.lower()).strip("-")
        header |= {"license": "other", "license_name": words[:60] or "own"}
    header["task_categories"] = [task_category(info.features)]
    folder = found.path.parent
    place = f"{found.name}/{found.name}.py" if folder.name == found.name else f"{found.name}.py"
    path = found.name if found.is_bundled else f"path/to/{place}"
    options = [*map(json.dumps, [path, name] if name else [path]), *(['data_dir="path/to/data"'] if data_dir else [])]
    use = f"from dataset_scripts import load_dataset\n\nds = load_dataset({', '.join(options)})"
    parts = [f"# {markdown(title)}", info.description.strip()]
    parts += [f"<!-- package -->\n\n```python\n{use}\n```\n\n<!-- /package -->"]
    parts += ["<!-- splits -->\n<!-- /splits -->", "<!-- columns -->\n<!-- /columns -->"]
    parts += [f"**Licence**: {info.license}"] if header["license"] == "other" else []
    parts += [f"**Source**: {info.homepage}"] if info.homepage else []
    parts += [f"```bibtex\n{info.citation.strip()}\n```"] if info.citation else []
    front = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    text = f"---\n{front}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"
    return _refreshed(text, found.path.with_name("README.md"), [(builder, info)])
