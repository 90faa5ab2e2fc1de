"""Writes catalogue.md beside this file, the table of all layouts and sets: `python docs/catalogue.py`."""

import ast
from pathlib import Path

import huggingface_hub

from dataset_scripts.core.load.script import bundled, bundled_layouts

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# Catalogue

All layouts and sets in the package. This page is written by `python docs/catalogue.py` from the scripts and their cards.

## Layouts

Stock `datasets` reads these as text, as classes or not at all. `load_dataset("path/to/data")` detects the layout;
`load_dataset("coco", data_dir="path/to/data")` names it.

| name | reads |
|---|---|
"""
SETS = """
## Named sets

These are loaded by name, such as `load_dataset("mnist")`: their files are downloaded, resumed, verified and cached, or read
from `data_dir=`, packed or not.

| name | content | rows | licence |
|---|---|---|---|
"""
END = """
The tests do not download from the real servers: they read files in the published format, and download from their own
server. `fashion_mnist` was read from Debian's copy of the published files: every pixel, label and count is right, and
with the headers that Debian stripped put back, all four sha256 are the published ones (see `tests/test_true_bytes.py`).
"""


def line(name: str, path: Path, *cells: str) -> str:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).partition("\n")[0]
    link = f"[`{name}`](../{path.parent.relative_to(ROOT).as_posix()}/README.md)"
    return "| " + " | ".join([link, said, *cells]) + " |\n"


def text() -> str:
    layouts, sets = [], []
    for name, path in bundled().items():
        if name in bundled_layouts():
            layouts.append(line(name, path))
            continue
        card = huggingface_hub.DatasetCard.load(path.with_name("README.md")).data
        info = card.dataset_info[0] if isinstance(card.dataset_info, list) else card.dataset_info
        rows = ", ".join(f"{split['name']} {split['num_examples']:,}" for split in info.get("splits", []))
        licence = card.license[0] if isinstance(card.license, list) else card.license
        licence = getattr(card, "license_name", None) or licence
        sets.append(line(name, path, rows, licence))
    return HEAD + "".join(layouts) + SETS + "".join(sets) + END


if __name__ == "__main__":
    Path(__file__).with_name("catalogue.md").write_text(text(), encoding="utf-8")
