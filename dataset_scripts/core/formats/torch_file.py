"""Files of torch.save: tensors and plain values, read in memory bounded by their size. No code from the file is run."""

import io
import os
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from dataset_scripts.core.errors import DataError

LONGEST_NAME, LONGEST_TEXT = 300, 10_000  # characters in a pickle, of names of code and of others
LEGACY = 4  # pickles at the head of what torch.save wrote before it wrote zips


def load_torch(source: Path | BinaryIO, where: str, mapped: bool = False) -> Any:
    """The content of a file of torch.save.

    Args:
        source: the file, or its path.
        where: the beginning of the message.
        mapped: read tensors of a path from the disk when they are used, if the file is not of the old format.

    Raises:
        OSError: it cannot be opened.
        DataError: it holds something else, is damaged, or packs more than it shows.
    """
    import torch

    if isinstance(source, Path):
        with open(source, "rb") as file:
            is_zip = _check(file, where)
    else:
        is_zip = _check(source, where)
        source.seek(0)
    try:
        options = {"mmap": True} if mapped and is_zip and isinstance(source, Path) else {}
        return torch.load(source, map_location="cpu", weights_only=True, **options)
    except Exception as error:
        raise _fault(where, error) from error


def _check(file: BinaryIO, where: str) -> bool:
    """Looks at a file without loading it; whether it is a zip."""
    try:
        if is_zip := zipfile.is_zipfile(file):
            size = file.seek(0, os.SEEK_END)
            with zipfile.ZipFile(file) as archive:
                parts = archive.infolist()
                if any(part.compress_type for part in parts) or sum(part.file_size for part in parts) > size:
                    raise DataError(f"{where} (its parts are packed, which torch.save does not do)")
                for part in parts:
                    if part.filename.endswith("data.pkl"):
                        _check_names(io.BytesIO(archive.read(part)))
        else:
            file.seek(0)
            for _ in range(LEGACY):
                _check_names(file)
        return is_zip
    except DataError:
        raise
    except Exception as error:
        raise _fault(where, error) from error


def _fault(where: str, error: Exception) -> DataError:
    """In one line; PyTorch's message is long, and advises running the code of the file."""
    named = re.search(r"GLOBAL ([\w.]{1,200})", str(error))
    why = f"it names {named[1]}, which is code" if named else "it is cut, damaged or something else"
    return DataError(f"{where} ({why})")


def _check_names(file: BinaryIO) -> None:
    """Reads a pickle without running it; a ValueError for overlong names of code, on which PyTorch takes very long."""
    for operation, argument, _ in pickletools.genops(file):
        if operation.name in ("GLOBAL", "INST") and len(argument or "") > LONGEST_NAME:
            raise ValueError("it names code by a text without end")
        if isinstance(argument, str) and len(argument) > LONGEST_TEXT:
            raise ValueError("it holds a text longer than the name of any tensor")


def holds_its_values(tensor: Any) -> bool:
    """Whether a tensor is plain numbers in memory, none of them shown twice: it takes no more than the file has."""
    import torch

    is_whole = tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    return is_whole and tensor.layout == torch.strided and tensor.device.type == "cpu"
