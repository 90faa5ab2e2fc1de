"""Untrusted files: descriptions and weights, read in memory bounded by their size, or refused with a one-line error."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_scripts.core import errors
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.torch_file import holds_its_values, load_torch
from recipes.core.errors import UserError

if TYPE_CHECKING:
    import torch

LARGEST = 50_000_000  # bytes of a text file: a million names of classes take less
NO_WEIGHTS = "no safetensors or PyTorch weights"


@contextlib.contextmanager
def reading(where: object) -> Iterator[None]:
    """Any exception of a parser on damaged or hostile bytes becomes a UserError that begins with `where`."""
    try:
        with errors.reading(where):
            yield
    except UserError:
        raise
    except DataError as error:
        raise UserError(error) from error.__cause__


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        OSError: it cannot be opened.
        UserError: it is not UTF-8, or larger than `LARGEST`.
    """
    require_file(path)
    with open(path, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UserError(f"{path} has more than {LARGEST:,} bytes, which is too many for a file of its kind")
    with reading(path):
        return content.decode()


def require_file(path: Path) -> None:
    """Opens a file once, for the OSError; raises a UserError for anything else, such as a pipe that never ends."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file")
    open(path, "rb").close()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        OSError, UserError: as for `read_text`; or the file does not hold an object.
    """
    text = read_text(path)
    with reading(f"{path} cannot be read"):
        said = json.loads(text)
    if not isinstance(said, dict):
        raise UserError(f"{path} does not hold a JSON object")
    return said


def read_tensors(path: Path, where: str | None = None) -> Any:
    """The content of a .safetensors or torch.save file: tensors and plain values. No code from the file is run.

    Args:
        where: the beginning of the message; by default the path.

    Raises:
        OSError: it cannot be opened.
        UserError: it holds anything else, is damaged or is compressed.
    """
    import safetensors.torch

    require_file(path)
    where = f"{where or path}: {NO_WEIGHTS}"
    with reading(where):
        return safetensors.torch.load_file(path) if path.suffix == ".safetensors" else load_torch(path, where)


def state_dict(state: Any, where: str) -> "dict[str, torch.Tensor]":
    """Checks that what was read is a dict of tensors, none of which is larger than its storage.

    Raises:
        UserError: it is something else.
    """
    import torch

    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items()
    ):
        raise UserError(f"{where} holds more than a state dict of tensors: save model.state_dict() by itself")
    for name, tensor in state.items():
        with reading(f"{where}: {name[:100]}"):
            is_sound = holds_its_values(tensor)
        if not is_sound:
            raise UserError(f"{where}: {name[:100]} does not hold its own values: save model.state_dict() by itself")
    return state
