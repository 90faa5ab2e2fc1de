"""Detection of the layout of a folder of data without a script."""

import ast
import importlib
import os
import re
from typing import Any

import pyarrow.parquet as pq

from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.archives import is_archive
from dataset_scripts.core.files.listing import Files, folder_of, stem_of
from dataset_scripts.core.formats.dataset_info import check_for_datasets
from dataset_scripts.core.formats.front_matter import LARGEST, split_card
from dataset_scripts.core.load.script import Script, bundled_layouts, find_script

logger = printable_logger(__name__)
DECLARED = re.compile(r"^(PRECEDENCE|SUFFIXES) = (\d|\(.*\))", re.MULTILINE)


def detect(files: Files) -> Script | None:
    """Finds the layout as `recognise` does, and logs which it chose and why."""
    script, evidence = recognise(files)
    if script is not None:
        logger.warning("%s: read as %s (%s)", files.root, script.name, evidence)
    return script


def recognise(files: Files) -> tuple[Script | None, str | None]:
    """Finds the layout of a folder or an archive, and the evidence for it; None if `datasets` reads it itself.

    A bundled script that reads a layout has, beside its class,

    - `matches(files) -> str | None`: the evidence for the layout, in words;
    - `PRECEDENCE`: 3 if files of several formats make one set, such as masks beside a table of them; 2 if files of the format identify themselves (a COCO json, IDX numbers), 1 if names and pairs do
      (images/ beside masks/), 0 for any images. The highest that matches is chosen;
    - `SUFFIXES`, if only files with one of these (in lower case, "" for none) can be evidence for it: the script is not
      imported for a folder without such files. Both are read from the source, so each must be on one line.

    Raises:
        DataError: several layouts of one precedence match; the message lists them and how to choose. Or `datasets` could
            not read the folder's card.
    """
    found = None if is_published(files) else _layout(files)
    if found is None and files.root.is_dir():
        check_for_datasets(files.root)
    return found or (None, None)


def _layout(files: Files) -> tuple[Script, str] | None:
    layouts = {}
    present = {os.path.splitext(path)[1].lower() for path in files.paths}
    for name, path in bundled_layouts().items():
        said = declared(Script(path))
        if "PRECEDENCE" in said and not present.isdisjoint(said.get("SUFFIXES", present)):
            layouts.setdefault(said["PRECEDENCE"], []).append(name)
    faults = []
    for precedence in sorted(layouts, reverse=True):
        if precedence == 0 and faults:
            raise faults[0]
        evidence = {}
        for name in layouts[precedence]:
            module = importlib.import_module(find_script(name).module_name())
            try:
                with reading(files.root):
                    if found := module.matches(files):
                        evidence[name] = found
            except DataError as fault:  # a damaged file of this layout, unless another one is sure
                faults.append(fault)
        if len(evidence) > 1:
            listed = "; ".join(f"load_dataset({name!r}, data_dir=…): {found}" for name, found in evidence.items())
            raise DataError(f"{files.root} can be read in several ways, choose one: {listed}")
        for name, found in evidence.items():
            return find_script(name), found
    if faults:
        raise faults[0]
    return None


def declared(script: Script) -> dict[str, Any]:
    """Read the lines `PRECEDENCE = …` and `SUFFIXES = …` of a script, without running it."""
    return {name: ast.literal_eval(value) for name, value in DECLARED.findall(script.path.read_text(encoding="utf-8"))}


def is_published(files: Files) -> bool:
    """Whether a folder defines how `datasets` reads it: a card with configs, or Parquet and Arrow files."""
    if "README.md" in files.names:
        with files.open("README.md") as file:
            card = split_card(file.read(LARGEST).decode(errors="replace").lstrip())
        if card and re.search(r"^(configs|dataset_info):", card.header, re.MULTILINE):
            return True
    tables = [path for path in files.having(".parquet", ".arrow") if folder_of(path) in ("", "data")]
    tables = [path for path in tables if stem_of(path) != "metadata"]
    return bool(tables) and (
        not (files.images or is_shards(files)) or any(holds_bytes(files, path) for path in tables[:3])
    )


def is_shards(files: Files) -> bool:
    """Whether there are archives."""
    return bool(files.mounts) or any(map(is_archive, files.paths))


def holds_bytes(files: Files, path: str) -> bool:
    """Whether a table has a column of images, or of other bytes; what img2dataset writes beside its shards has none."""
    if path.lower().endswith(".arrow"):
        return True
    with reading(f"{files.root}/{path} cannot be read as a table"):
        schema = pq.read_schema(files.open(path))
    return any("binary" in str(field.type) or "bytes" in str(field.type) for field in schema)
