"""Untrusted files: descriptions and weights, read in memory bounded by their size, or refused with a one-line error."""

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

LARGEST = 50_000_000  # bytes of a text file: a million class names take less
LONGEST_NAME, LONGEST_TEXT = 300, 10_000  # characters of a string in a pickle: of a name of code, of any other
LEGACY = 4  # pickles at the start of a file from torch.save before it wrote zip files
NO_WEIGHTS = "it holds no safetensors or PyTorch weights"


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
                    raise UserError(f"{where} (it is compressed, which torch.save never does)")
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
        why = f"it names {named[1]}, which is code" if named else "it is truncated, damaged or of another kind"
        raise UserError(f"{where} ({why})") from error


def _check_names(file: BinaryIO) -> None:
    """Reads a pickle without running it; raises a ValueError for overlong names of code, which slow PyTorch down."""
    for operation, argument, _ in pickletools.genops(file):
        if operation.name in ("GLOBAL", "INST") and len(argument) > LONGEST_NAME:
            raise ValueError("it names code by an overlong text")
        if isinstance(argument, str) and len(argument) > LONGEST_TEXT:
            raise ValueError("it holds a text longer than the name of any tensor")


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
            is_whole = tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
        if not is_whole or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise UserError(f"{where}: {name[:100]} does not hold its own values: save model.state_dict() by itself")
    return state
