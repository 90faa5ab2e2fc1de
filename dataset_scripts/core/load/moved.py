"""Modules under their names of version 0.1.0: existing scripts can still import them, with a warning."""

import functools
import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2]
RENAMED = {
    "card_check": "card.check",
    "card_info": "formats.dataset_info",
    "card_script": "card.facts",
    "card_text": "formats.front_matter",
    "export_card": "card.standalone",
    "images": "image.columns",
    "layouts": "load.detect",
    "records": "formats.rows_on_disk",
    "stock": "load.patch_datasets",
    "tars": "files.tar",
    "wire": "formats.protobuf",
}


@functools.cache
def new_name(name: str) -> str | None:
    """The current name of a module with an old name; None for any other name."""
    top, *parts = name.split(".")
    if top != PACKAGE.name or not parts:
        return None
    if (PACKAGE / "layouts" / parts[0]).is_dir():
        return ".".join([top, "layouts", *parts])
    if parts[0] != "core" or len(parts) != 2 or _is_there(PACKAGE / "core" / parts[1]):
        return None
    found = [".".join(path.with_suffix("").parts[-2:]) for path in PACKAGE.glob(f"core/*/{parts[1]}.py")]
    place = RENAMED.get(parts[1], found[0] if found else None)
    return place and f"{top}.core.{place}"


def _is_there(path: Path) -> bool:
    return path.is_dir() or path.with_suffix(".py").is_file()


class Finder(MetaPathFinder, Loader):
    """Gives the current module for an old name: the same object, not a copy."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if new_name(name) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        warnings.warn(
            f"{spec.name} is now {new_name(spec.name)}, and its old name ends with the next release",
            FutureWarning,
            stacklevel=2,
        )
        module = importlib.import_module(new_name(spec.name))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = module.__spec__.loader_state  # that of the old name is in its place


sys.meta_path.insert(0, Finder())  # before the one that would find a copy in the folder of a package that has moved
