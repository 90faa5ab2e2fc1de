"""Where a command may write: beside the data that it reads, not into them."""

import os
from pathlib import Path
from typing import Any

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.names import is_hidden
from dataset_scripts.core.load.script import find_script


def check_output(out: str | os.PathLike, path: str | os.PathLike, options: dict[str, Any]) -> None:
    """Refuses to write a file or a folder into data: it would replace a part of them, or be read as one the next time.

    Args:
        path: what is read, as `load_dataset` takes it.
        options: the other arguments of `load_dataset`.

    Raises:
        DataError: `out` is in the data, and not hidden.
    """
    target = Path(os.path.realpath(Path(out).expanduser()))
    for data in _data_of(os.fspath(path), options):
        root = Path(os.path.realpath(data.expanduser()))
        if root.exists() and target.is_relative_to(root):
            if not any(map(is_hidden, target.relative_to(root).parts)):
                raise DataError(
                    f"out={os.fspath(out)!r} is in the data, {data}, of which it would be a part: name a place outside of them"
                )


def _data_of(path: str, options: dict[str, Any]) -> list[Path]:
    """The folders, archives or files of data that are read."""
    script = find_script(path, options.get("trust_script", False))
    found = [Path(options["data_dir"])] if options.get("data_dir") is not None else []
    if script is None:
        return [Path(path), *found]
    own = getattr(script.builder_class(), "DATA_DIR", None)
    return found or ([script.path.parent / own] if own else [])
