"""The card of an exported dataset, for people without this package."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub

from dataset_scripts.core.card.write import describe
from dataset_scripts.core.formats.card_rules import size_category, task_category, texts_of
from dataset_scripts.core.formats.front_matter import (
    CODE,
    package_parts,
    plain_lines,
    read_card,
    split_card,
    without_code,
)
from dataset_scripts.core.formats.markdown import code, markdown
from dataset_scripts.core.formats.safe_yaml import load_yaml
from dataset_scripts.core.load.script import find_script

# No pattern here rescans what it has looked through: a text of [[[[ takes no longer than any other.
PICTURE = re.compile(r"!\[[^\[\]]*\]\(([^()\s/:]+\.(?:png|jpe?g|gif|webp|svg))\)", re.IGNORECASE)
HEADING = re.compile(r"(#{1,6})[ \t]")
# A link within one paragraph; code comes first, where brackets mean something else.
FILE_LINK = re.compile(
    CODE.pattern + r"|`[^`\n]*`|(?<!!)\[(?P<text>(?:[^\[\]\n]|\n(?!\n))+)\]\((?!https?:|#|mailto:)[^()\n]*\)",
    CODE.flags,
)
# The key that is written anew, and arguments of DatasetCardData.
NOT_OURS = ("dataset_info", "self", "ignore_metadata_errors")
PLACEHOLDER = "USER/NAME"  # for the repository in the card, which `push` fills in

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
    # Resolved, as a link may lead anywhere.
    return [path for path in paths if path.resolve().is_relative_to(folder) and path.is_file()]


def own_card(
    source: Any, data_dir: str | None, trust_script: bool, parts: dict[str, datasets.Dataset]
) -> tuple[dict, str, Path | None]:
    """The header and text that describe the data, from the set, the user's script or the folder, and the folder of that
    card; empty if there are none."""
    if not isinstance(source, (str, os.PathLike)):
        return {}, "", None
    script = find_script(os.fspath(source), trust_script)
    cards = [script.path.parent / "README.md"] if script and script.path.parent.name == script.name else []
    cards += [
        Path(folder).expanduser() / "README.md" for folder in [data_dir or (None if script else source)] if folder
    ]
    for card in cards:
        header, text = _own_parts(card) if card.is_file() else ({}, "")
        if card.is_file() and "layout" not in texts_of(header, "tags"):  # a layout's card describes no data
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
    if not header and images:
        card["task_categories"] = [task_category(features)]
    card["size_categories"] = [size_category(count)]
    card["configs"] = [
        {"config_name": "default", "data_files": [{"split": str(part), "path": f"data/{part}-*"} for part in infos]}
    ]
    datasets.info.DatasetInfosDict({"default": info}).to_dataset_card_data(card)
    text = text.partition(USE.partition("ds =")[0])[0]  # if an export is exported again
    text = for_everyone(text).strip("\n")
    if not text.strip():
        columns = "\n".join(
            f"| {code(column)} | {describe(feature, names=10)} |" for column, feature in features.items()
        )
        text = f"# {markdown(name)}\n\n{count:,} rows.\n\n| column | content |\n|---|---|\n{columns}"
    splits = "\n".join(
        f"| {markdown(str(part))} | {item.num_examples:,} | {item.num_bytes:,} |" for part, item in infos.items()
    )
    use = USE.format(name=PLACEHOLDER, splits=splits, what="images" if images else "data")
    use += TRANSFORMS.format(image=json.dumps(images[0])) if images else ""
    whole = f"---\n{card.to_yaml()}\n---\n\n{text}\n\n{use}"
    (folder / "README.md").write_text(whole, encoding="utf-8", newline="\n")
    for picture in pictures(whole, beside) if beside else []:
        shutil.copyfile(picture, folder / picture.name)


def for_everyone(text: str) -> str:
    """A card's text without its parts for users of this package, and without what these leave behind: headings with nothing
    below them, second blank lines, links to files that are not exported. All else stays as it is."""
    lines, no_code = text.split("\n"), without_code(text).split("\n")
    levels = [len(heading[1]) if (heading := HEADING.match(line)) else 0 for line in no_code]
    left_out = {number for part in package_parts(text)[0] for number in range(part.start, part.stop)}
    kept: list[int] = []  # numbers of lines

    def drop_bare_headings(following: int) -> None:
        """Those at the end of what is kept, if a heading of the level `following` comes next; the title stays."""
        while following:
            last = next((place for place in reversed(range(len(kept))) if lines[kept[place]].strip()), None)
            if last is None or levels[kept[last]] < max(2, following):
                return
            del kept[last:]

    is_seam = False  # whether a part was left out here, and nothing but blank lines has followed it yet
    for number, line in enumerate(lines):
        if number in left_out:
            is_seam = True
        elif not is_seam:
            kept.append(number)
        elif line.strip():
            drop_bare_headings(levels[number])
            kept.append(number)
            is_seam = False
        elif kept and lines[kept[-1]].strip():
            kept.append(number)
    if is_seam:
        drop_bare_headings(1)
    return FILE_LINK.sub(lambda found: found["text"] or found[0], "\n".join(lines[number] for number in kept))
