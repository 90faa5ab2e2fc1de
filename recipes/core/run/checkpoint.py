"""Checkpoints that are complete or absent, and the newest sound one."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from dataset_scripts.core.files.replace import delete, new_file, new_folder, tidy, write_file
from recipes.core.errors import UserError
from recipes.core.foreign import read_json, read_tensors

MANIFEST = "manifest.json"
FILES = ("state.pt", "progress.json")  # what the manifest lists


def save(folder: Path, samples: int, tensors: dict[str, Any], progress: dict[str, Any], keep: int) -> None:
    """Writes the checkpoint `folder/checkpoints/SAMPLES`, and keeps the last `keep`. Main process only.

    The files are written to a folder with a temporary name, flushed to the disk and listed with their sha256; then the
    folder gets its name. A kill at any instant leaves earlier checkpoints as they were.

    Args:
        tensors: state dicts, of tensors and plain values.
        progress: numbers and text, for json.

    Raises:
        DataError: it cannot be written.
    """
    target = folder / "checkpoints" / f"{samples:012d}"
    with new_folder(target) as partial:
        with new_file(partial / "state.pt") as file:
            torch.save(tensors, file)  # type: ignore[arg-type] # torch takes all that has `write`
        write_file(partial / "progress.json", json.dumps(progress))
        listed = {name: digest(partial / name) for name in ("state.pt", "progress.json")}
        write_file(partial / MANIFEST, json.dumps(listed))
    tidy(target.parent)
    paths = find(folder)
    place = paths.index(target)
    for other in (
        paths[: max(0, place + 1 - keep)] + paths[place + 1 :]
    ):  # later ones are damaged: this run began before them
        delete(other)


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first, sound or not. Folders of others have no manifest."""
    return sorted(
        path for path in (folder / "checkpoints").glob("[0-9]*") if path.name.isdigit() and (path / MANIFEST).is_file()
    )


def remove_all(folder: Path) -> None:
    """Deletes the checkpoints of a finished run, and nothing else beside them."""
    for path in find(folder):
        delete(path)
    with contextlib.suppress(OSError):  # other things are there, or it is none
        tidy(folder / "checkpoints")
        (folder / "checkpoints").rmdir()


def is_sound(checkpoint: Path) -> bool:
    """Whether every file of the manifest is there with its sha256."""
    try:
        manifest = read_json(checkpoint / MANIFEST)
        return manifest.keys() == set(FILES) and all(digest(checkpoint / name) == manifest[name] for name in FILES)
    except (OSError, UserError):
        return False


def newest(folder: Path) -> Path | None:
    """The newest sound checkpoint; the main process looks for it, and every rank gets the answer."""
    found = None
    if PartialState().is_main_process:
        found = next((path for path in reversed(find(folder)) if is_sound(path)), None)
    return broadcast_object_list([found])[0]


def load(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads the tensors, to the CPU, and the progress.

    Raises:
        UserError: it holds anything other than tensors and plain values, or is damaged.
    """
    path = checkpoint / "state.pt"
    tensors = read_tensors(path, f"{path} cannot be read")
    if not isinstance(tensors, dict):
        raise UserError(f"{path} holds no state dicts")
    return tensors, read_json(checkpoint / "progress.json")
