"""Look before you train: a contact sheet, a report, or both, of any dataset that `load_dataset` reads."""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import PIL.Image

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.disk import writing
from dataset_scripts.core.files.replace import write_file
from dataset_scripts.core.image.roles import Roles
from dataset_scripts.core.load.loading import load_dataset
from dataset_scripts.core.load.outputs import check_output
from dataset_scripts.core.look.census import report
from dataset_scripts.core.look.page import html_page
from dataset_scripts.core.look.sheet import contact_sheet, group_sheet

__all__ = ["contact_sheet", "preview", "report", "write_report"]

GROUPS = 10  # of duplicates that the page shows as pictures


def preview(
    path: str, out: str | os.PathLike, *, rows: int = 6, columns: int | None = None, seed: int = 0, **load_kwargs: Any
) -> list[Path]:
    """Draws a contact sheet of a dataset, and writes a report on it.

    Args:
        path: anything that `load_dataset` takes: a name, a folder, an archive, a script.
        out: a file that ends in `.png`, for the contact sheet alone, or in `.html`, for the report with the sheet in it;
            or a folder, for `sheet.png`, `report.html` and `report.json`. Existing files are replaced, unless they lie in the data.
        rows, columns, seed: see `contact_sheet`.
        load_kwargs: arguments of `load_dataset`, such as `split`, `name` or `num_proc`, which also reads images in
            parallel.

    Returns:
        The files that were written.

    Raises:
        DataError: the data cannot be read, have no column of images, or `out` cannot be written, or lies in the data.
    """
    for name in ("transform", "streaming"):
        if name in load_kwargs:
            raise DataError(f"{name}=… has no place in a preview, which takes rows as they are stored")
    check_output(out, path, load_kwargs)
    files = _files_of(out)
    loaded = load_dataset(path, transform=None, **load_kwargs)
    split = load_kwargs.get("split")
    if isinstance(loaded, list):
        loaded = {str(name): part for name, part in zip(split, loaded)}
    elif not isinstance(loaded, Mapping):
        loaded = {str(split): loaded}
    for part in loaded.values():
        Roles.of(part)  # a missing image column is reported before anything is drawn
    sheet = contact_sheet(loaded, rows, columns, seed)
    if files.keys() == {"png"}:
        write_file(files["png"], _png(sheet))
        return [files["png"]]
    return write_report(out, report(loaded, num_proc=load_kwargs.get("num_proc")), sheet, loaded, title=str(path))


def write_report(
    out: str | os.PathLike,
    numbers: dict[str, Any],
    sheet: PIL.Image.Image,
    splits: Mapping[str, datasets.Dataset],
    title: str,
) -> list[Path]:
    """Writes a report.

    Args:
        out: as in `preview`; the html is one self-contained file.
        numbers: what `report` returned.
        sheet: what `contact_sheet` returned.
        splits: the dataset, for pictures of duplicates.
        title: what the data are.

    Returns:
        The files that were written.

    Raises:
        DataError: a file cannot be written.
    """
    files = _files_of(out)
    if "png" in files:
        write_file(files["png"], _png(sheet))
    if "html" in files:
        found = numbers["overlaps"]["exact"] + numbers["overlaps"]["near"]
        rest = numbers["duplicates"]["exact"] + numbers["duplicates"]["near"]
        found += [group for group in rest if group not in found]
        groups = _png(group_sheet(found[:GROUPS], splits)) if found else None
        write_file(files["html"], html_page(title, numbers, _png(sheet), groups))
    if "json" in files:
        write_file(files["json"], json.dumps(numbers, indent=2) + "\n")
    return list(files.values())


def _files_of(out: str | os.PathLike) -> dict[str, Path]:
    """The files for `out`; makes their folder, before anything that takes time."""
    path = Path(out).expanduser()
    is_folder = path.is_dir() or str(out).endswith(("/", os.sep)) or not path.suffix
    kind = path.suffix.lower().removeprefix(".")
    if not is_folder and kind not in ("png", "html"):
        raise DataError(
            f"out={str(out)!r} should end in .png (the contact sheet) or .html (the report), or be a folder (both, and json)"
        )
    folder = path if is_folder else path.parent
    with writing(out):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise DataError(f"out={str(out)!r} cannot be written: you lack the permission to write in {folder}")
    if is_folder:
        return {"png": folder / "sheet.png", "html": folder / "report.html", "json": folder / "report.json"}
    return {kind: path}


def _png(picture: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
