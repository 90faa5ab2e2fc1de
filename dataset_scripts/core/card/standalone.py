"""The card of an exported dataset, for people without this package."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub

from dataset_scripts.core.formats.card_rules import size_category, texts_of
from dataset_scripts.core.formats.front_matter import plain_lines, read_card, split_card
from dataset_scripts.core.formats.markdown import code, markdown
from dataset_scripts.core.formats.safe_yaml import load_yaml
from dataset_scripts.core.load.script import find_script

TASKS = {
    "label": "image-classification",
    "objects": "object-detection",
    "mask": "image-segmentation",
    "caption": "image-to-text",
    "captions": "image-to-text",
}
# What a reader without this package can make nothing of.
PACKAGE_WORDS = re.compile(
    r"dataset[_-]scripts|load_dataset\(|data_dir|comes? with (the|this) package|`(trust_script|on_error)"
    r"|keep them in (a folder|folders) of their own|mirrors? (is|are) tried|in the cache|pickles are read"
)
# Neither of these starts again within what it has looked through: a text of [[[[ takes no longer than another.
PICTURE = re.compile(r"!\[[^\[\]]*\]\(([^()\s/:]+\.(?:png|jpe?g|gif|webp|svg))\)", re.IGNORECASE)
FILE_LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\((?!https?:|#|mailto:)[^()]*\)")
NOT_OURS = ("dataset_info", "self", "ignore_metadata_errors")  # what is written anew, and arguments of DatasetCardData
PLACEHOLDER = "USER/NAME"  # of the repository in the card; `push` knows it

USE = """## Loading

```python
from datasets import load_dataset

ds = load_dataset("{name}")  # or the path of this folder
```

| split | rows | bytes |
|---|---:|---:|
{splits}

The Parquet files hold the {what} themselves; nothing else is needed.
"""
TRANSFORMS = """
Rows hold Pillow images. Transforms are code and do not travel with a dataset, so attach yours after loading:

```python
from torchvision.transforms.functional import pil_to_tensor

ds = ds.with_transform(lambda rows: rows | {{{image}: [pil_to_tensor(image) for image in rows[{image}]]}})
```
"""


def card_header(card: Path) -> dict[str, Any]:
    """The YAML header of a card; empty if it has none.

    Raises:
        DataError: the card is not text, is too large, or its header is not YAML.
    """
    return _own_parts(card)[0]


def _own_parts(card: Path) -> tuple[dict[str, Any], str]:
    """Header and text of a card; bytes that are not UTF-8 become question marks."""
    text = plain_lines(read_card(card, "replace"))
    parts = split_card(text)
    header = load_yaml(parts.header, f"{card}: its header is not YAML", 2) if parts else None
    return header if isinstance(header, dict) else {}, parts.body if parts else text


def pictures(card: str, folder: Path) -> list[Path]:
    """The pictures that the text of a card shows and that lie beside it, in its folder."""
    folder = folder.resolve()
    paths = [
        folder / name
        for name in dict.fromkeys(PICTURE.findall(card))
        if len(os.fsencode(name)) < 256 and "\0" not in name
    ]
    return [
        path for path in paths if path.resolve().is_relative_to(folder) and path.is_file()
    ]  # a link may lead anywhere


def own_card(
    source: Any, data_dir: str | None, trust_script: bool, parts: dict[str, datasets.Dataset]
) -> tuple[dict, str, Path | None]:
    """Header and text that belong to the data, of the set, the user's script or the folder, and the folder that they are
    from; empty if there are none."""
    if not isinstance(source, (str, os.PathLike)):
        return {}, "", None
    script = find_script(os.fspath(source), trust_script)
    cards = [script.path.parent / "README.md"] if script and script.path.parent.name == script.name else []
    cards += [
        Path(folder).expanduser() / "README.md" for folder in [data_dir or (None if script else source)] if folder
    ]
    for card in cards:
        header, text = _own_parts(card) if card.is_file() else ({}, "")
        if card.is_file() and "layout" not in texts_of(header, "tags"):  # a layout's card is about no data
            return header, text, card.parent
    if script and not script.is_bundled:
        info = next(iter(parts.values())).info
        said = [info.description, info.homepage, info.license and f"Licence: {info.license}"]
        said += [info.citation and f"```bibtex\n{info.citation.strip()}\n```"]
        if any(said):
            return {}, "\n\n".join([f"# {script.name}", *(text.strip() for text in said if text)]), script.path.parent
    return {}, "", None


def write_card(
    own: tuple[dict, str, Path | None],
    name: str,
    features: datasets.Features,
    infos: datasets.splits.SplitDict,
    folder: Path,
) -> None:
    """Writes the card of what is in `folder`, and the pictures that it shows."""
    header, text, beside = own
    download = sum(path.stat().st_size for path in (folder / "data").iterdir())
    total = sum(part.num_bytes for part in infos.values())
    count = sum(part.num_examples for part in infos.values())
    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    info = datasets.DatasetInfo(features=features, splits=infos, download_size=download, dataset_size=total)
    own_keys = {str(key): value for key, value in header.items() if key not in NOT_OURS}
    card = huggingface_hub.DatasetCardData(**own_keys)
    card["pretty_name"] = header.get("pretty_name") or name
    if not header and images and (tasks := sorted({TASKS[column] for column in features if column in TASKS})):
        card["task_categories"] = tasks
    card["size_categories"] = [size_category(count)]
    card["configs"] = [
        {"config_name": "default", "data_files": [{"split": str(part), "path": f"data/{part}-*"} for part in infos]}
    ]
    datasets.info.DatasetInfosDict({"default": info}).to_dataset_card_data(card)
    if not text.strip():
        columns = "\n".join(f"| {code(column)} | {_describe(feature)} |" for column, feature in features.items())
        text = f"# {markdown(name)}\n\n{count:,} rows.\n\n| column | content |\n|---|---|\n{columns}"
    splits = "\n".join(
        f"| {markdown(str(part))} | {item.num_examples:,} | {item.num_bytes:,} |" for part, item in infos.items()
    )
    use = USE.format(name=PLACEHOLDER, splits=splits, what="images" if images else "data")
    use += TRANSFORMS.format(image=json.dumps(images[0])) if images else ""
    text = text.partition(USE.partition("ds =")[0])[0]  # of an export that is exported again
    whole = f"---\n{card.to_yaml()}\n---\n\n{for_everyone(text)}\n\n{use}"
    (folder / "README.md").write_text(whole, encoding="utf-8", newline="\n")
    for picture in pictures(whole, beside) if beside else []:
        shutil.copyfile(picture, folder / picture.name)


def _describe(feature: Any) -> str:
    """A column in words."""
    if isinstance(feature, datasets.ClassLabel):
        names = ", ".join(map(markdown, feature.names[:10]))
        return f"class, {len(feature.names)} of them: {names}{', …' if len(feature.names) > 10 else ''}"
    if isinstance(feature, dict):
        return "; ".join(f"{code(name)} {_describe(inner)}" for name, inner in feature.items())
    if hasattr(feature, "feature"):
        return f"list of {_describe(feature.feature)}"
    return feature.dtype if isinstance(feature, datasets.Value) else type(feature).__name__.lower()


def for_everyone(text: str) -> str:
    """A card's text less what is about this package: its code, and the sentences, items and table rows that name it."""
    blocks, fenced = [[]], False
    for line in text.splitlines():
        if line.startswith("```"):
            blocks += [] if fenced else [[]]
            fenced = not fenced
        elif not line.strip() and not fenced:
            blocks.append([])
            continue
        blocks[-1].append(line)
        if line.startswith("```") and not fenced:
            blocks.append([])
    kept: list[str] = []
    for block in map("\n".join, filter(None, blocks)):
        separator = "\n" if re.match(r"[-*|] ?|\d+\. ", block) and not block.startswith("**") else " "
        if PACKAGE_WORDS.search(block):
            parts = re.split(r"\n(?=[-*|]|\d+\. )" if separator == "\n" else r"(?<=[.:!?])\s+(?=[A-Z`*])", block)
            kept_parts = [part for part in parts if not PACKAGE_WORDS.search(part)]
            block = "" if block.startswith("```") else separator.join(kept_parts)
        if block:
            kept.append(FILE_LINK.sub(r"\1", block))
        elif kept and _leads_on(kept[-1]):
            kept[-1] = " ".join(re.split(r"(?<=[.!?])\s+", kept[-1])[:-1])
    kept = [block for block in kept if block]
    levels = [len(block) - len(block.lstrip("#")) for block in kept] + [1]
    filled = [
        level < 2 or not 0 < following <= level for level, following in zip(levels, levels[1:])
    ]  # else a bare heading
    return "\n\n".join(block for block, keep in zip(kept, filled) if keep)


def _leads_on(block: str) -> bool:
    """Whether the last sentence of a block, `Thus:` or all of it in bold, led to the next block."""
    is_bold = len(block) > 4 and block.startswith("**") and block.endswith("**") and "*" not in block[2:-2]
    return is_bold or block.endswith(":")
