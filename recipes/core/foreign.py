"""Files from other people: descriptions and weights, read in memory bounded by their size, or refused in one line."""

import contextlib
import io
import json
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dataset_scripts.core import errors
from dataset_scripts.core.errors import DataError
from recipes.core.errors import UserError

if TYPE_CHECKING:
    import torch

LARGEST = 50_000_000  # bytes of a text file: a million names of classes take less
LONGEST_NAME, LONGEST_TEXT = 300, 10_000  # characters in a pickle, of names of code and of others
LEGACY = 4  # pickles at the head of what torch.save wrote before it wrote zips
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
        raise UserError(f"{path} has more than {LARGEST:,} bytes, which no file of its kind has")
    with reading(path):
        return content.decode()


def require_file(path: Path) -> None:
    """Raises what opening a file raises, and a UserError for what is not a file, such as a pipe that would never end."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file")
    open(path, "rb").close()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a json file.

    Raises:
        OSError, UserError: as for `read_text`; it holds no object.
    """
    text = read_text(path)
    with reading(f"{path} cannot be read"):
        said = json.loads(text)
    if not isinstance(said, dict):
        raise UserError(f"{path} holds no object with keys")
    return said


def read_tensors(path: Path, where: str | None = None) -> Any:
    """The content of a .safetensors or torch.save file: tensors and plain values. No code from the file is run.

    Args:
        where: the beginning of the message; by default the path.

    Raises:
        OSError: it cannot be opened.
        UserError: it holds something else, is damaged, or packs more than it shows.
    """
    import safetensors.torch
    import torch

    require_file(path)
    where = f"{where or path}: {NO_WEIGHTS}"
    if path.suffix == ".safetensors":
        with reading(where):
            return safetensors.torch.load_file(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                parts = archive.infolist()
                if (
                    any(part.compress_type for part in parts)
                    or sum(part.file_size for part in parts) > path.stat().st_size
                ):
                    raise UserError(f"{where} (its parts are packed, which torch.save does not do)")
                for part in parts:
                    if part.filename.endswith("data.pkl"):
                        _check_names(io.BytesIO(archive.read(part)))
        else:
            with open(path, "rb") as file:
                for _ in range(LEGACY):
                    _check_names(file)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # PyTorch's message is long, and advises running the code of the file
        named = re.search(r"GLOBAL ([\w.]{1,200})", str(error))
        why = f"it names {named[1]}, which is code" if named else "it is cut, damaged or something else"
        raise UserError(f"{where} ({why})") from error


def _check_names(file: BinaryIO) -> None:
    """Reads a pickle without running it; a ValueError for overlong names of code, on which PyTorch takes very long."""
    for operation, argument, _ in pickletools.genops(file):
        if operation.name in ("GLOBAL", "INST") and len(argument) > LONGEST_NAME:
            raise ValueError("it names code by a text without end")
        if isinstance(argument, str) and len(argument) > LONGEST_TEXT:
            raise ValueError("it holds a text longer than the name of any tensor")


def state_dict(state: Any, where: str) -> "dict[str, torch.Tensor]":
    """Checks that what was read is a dict of tensors, none of which shows more than it stores.

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
            is_whole = tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
        if not is_whole or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise UserError(f"{where}: {name[:100]} does not hold its own values: save model.state_dict() by itself")
    return state
