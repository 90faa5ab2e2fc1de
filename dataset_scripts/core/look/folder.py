"""What a folder is, without loading it: its layout, the evidence, splits, classes, columns, and the files left over."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets

from dataset_scripts.core.builders.layout import LayoutBuilder, Rows
from dataset_scripts.core.builders.leftovers import in_words, sort_leftovers
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.files.selection import once, without
from dataset_scripts.core.files.splits import in_order
from dataset_scripts.core.load.detect import is_published, recognise
from dataset_scripts.core.load.loading import make_builder
from dataset_scripts.core.load.script import Script, find_script
from dataset_scripts.core.load.stock import hand_over


def describe_folder(path: Path, layout: str | None = None, ignore: list[str] | None = None) -> dict[str, Any]:
    """Looks at a folder, an archive or a file of data; annotations are read, images are not.

    Args:
        layout: the layout to try; None detects it.
        ignore: as in `load_dataset`.

    Returns:
        `layout` (None if `datasets` reads it, or nobody), `evidence`, `splits` (name -> rows), `columns` (name -> type),
        `classes`, `fault` (the first one that keeps it from being loaded; None if it can be), `left` (files that mean that the layout is not
        understood, in words) and `others` (how many files are of no matter).

    Raises:
        DataError: there is nothing at the path, or it cannot be listed.
    """
    if not path.exists():
        raise DataError(
            f"there is no file or folder {path}, and {str(path)!r} does not come with the package; `dataset-scripts list` "
            "shows what does"
        )
    files = without(once(Files.of(path)), ignore or [])
    said: dict[str, Any] = {"path": str(path), "layout": layout, "evidence": None, "splits": {}, "columns": {}}
    said |= {"classes": [], "fault": None, "left": [], "others": 0}
    try:
        if layout is None:
            script, said["evidence"] = recognise(files)
        else:
            script = find_script(layout)
            module = importlib.import_module(script.module_name())
            said["evidence"] = module.matches(files) if hasattr(module, "matches") else None
        if script is None:
            hand_over(files, is_published(files))
            return said
        said["layout"] = script.name
        try:
            found = _surveyed(script, path, files, "raise")
        except DataError as fault:  # what is left over is known if the rest can be read without the faults
            said["fault"] = str(fault)
            found = _surveyed(script, path, files, "skip")
    except DataError as fault:
        said["fault"] = said["fault"] or str(fault)
        return said
    if found is None:
        return said
    files, features, splits = found
    kinds, company = sort_leftovers(files)
    said["splits"] = {split: len(rows.samples) for split, rows in in_order(splits).items()}
    said["columns"] = {name: kind_in_words(feature) for name, feature in features.items()}
    said["classes"] = classes_of(features)
    said["left"] = [in_words(kind, paths) for (kind, _), paths in kinds.items()]
    said["others"] = len(company)
    return said


def _surveyed(
    script: Script, path: Path, files: Files, on_error: str
) -> tuple[Files, datasets.Features, dict[str, Rows]] | None:
    """What a layout finds in a listing, of its own, without copies and ignored files; None if it is not a layout."""
    builder = make_builder(script, data_dir=str(path), on_error=on_error)
    if not isinstance(builder, LayoutBuilder):
        return None
    builder.files = replace(files, accounted=set(), opened=set(), left_out=[])
    builder.is_detected = True
    return builder.survey(Faults("raise", None) if on_error == "raise" else Faults.gathered())


def classes_of(features: datasets.Features) -> list[str]:
    """The names of `label`, or of the categories of `objects`."""
    label, objects = features.get("label"), features.get("objects")
    if isinstance(label, datasets.ClassLabel):
        return list(label.names)
    category = objects.get("category") if isinstance(objects, dict) else None
    inner = getattr(category, "feature", None)
    return list(inner.names) if isinstance(inner, datasets.ClassLabel) else []


def kind_in_words(feature: Any) -> str:
    """A feature as a short text: `image`, `class label`, `string`, `{bbox, category}`."""
    if isinstance(feature, dict):
        return "{" + ", ".join(feature) + "}"
    if isinstance(feature, datasets.ClassLabel):
        return "class label"
    if isinstance(feature, datasets.Value):
        return str(feature.dtype)
    inner = getattr(feature, "feature", None)
    return f"list of {kind_in_words(inner)}" if inner is not None else type(feature).__name__.lower()
