"""Which script reads a folder of data that has none."""

import importlib
import logging
import re
from pathlib import Path

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.script import Script, bundled_names, find_script

logger = logging.getLogger(__name__)


def detect(folder: Path) -> Script | None:
    """Finds the layout of a folder, and says which it took and why; None where `datasets` reads it by itself.

    Each bundled script that reads a layout has `matches(folder) -> str | None`: what speaks for it, in words.

    Raises:
        DataError: several layouts match; the message lists them and how to choose.
    """
    if is_published(folder):
        return None
    evidence = {}
    for name in bundled_names():
        script = find_script(name)
        matches = getattr(importlib.import_module(script.module_name()), "matches", None)
        if matches is not None and (found := matches(folder)):
            evidence[name] = found
    if len(evidence) > 1:
        listed = "; ".join(f"load_dataset({name!r}, data_dir=…): {found}" for name, found in evidence.items())
        raise DataError(f"{folder} can be read in several ways, choose one: {listed}")
    for name, found in evidence.items():
        logger.info("%s: read as %s (%s)", folder, name, found)
        return find_script(name)
    return None


def is_published(folder: Path) -> bool:
    """Whether the folder says itself how `datasets` reads it: a card with configs, or Parquet and Arrow files."""
    card = folder / "README.md"
    if card.is_file():
        header = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
        if header and re.search(r"^(configs|dataset_info):", header.group(1), re.MULTILINE):
            return True
    tables = [path for pattern in ("*", "data/*") for path in folder.glob(pattern)]
    return any(path.suffix in (".parquet", ".arrow") and path.stem != "metadata" for path in tables)
