"""The labels of a column as class indices."""

import re

import datasets
import numpy as np

from recipes.core.runtime import UserError

MISSING = -1  # the index of an image without a label
UNLABELLED = "image"  # the one class of images without labels
HIDDEN = "-1"  # how tables write that a label is withheld, beside classes that are numbers
BETWEEN = re.compile(r"[\s,;|]+")  # between the labels of an image that has several


def labels_of(rows: datasets.Dataset, column: str | None, classes: list[str] | None, where: str) -> tuple[np.ndarray, list[str]]:
    """The labels, int64 (N,), with MISSING for those that are hidden, and the classes.

    Args:
        column: None for images without labels, which are all of one class.
        classes: what the labels are to be indices of; None takes the names of the ClassLabel, or the sorted values of the
            column.
        where: for messages.

    Raises:
        UserError: a value that is not one class, or one that `classes` lacks.
    """
    if column is None:
        return np.zeros(len(rows), np.int64), classes or [UNLABELLED]
    if column not in rows.features:
        raise UserError(f"{where} has no column {column}, only {', '.join(rows.features)}: set data.label")
    feature = rows.features[column]
    values = rows.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    if isinstance(feature, datasets.ClassLabel):
        names = list(feature.names)
        values = [None if value is None or value < 0 else names[value] for value in values]
    elif not isinstance(feature, datasets.Value) or feature.dtype.startswith("float"):
        raise UserError(f"{where}: column {column} holds {feature}, not one class a row")
    else:
        values = [None if value is None else str(value) for value in values]
        numeric = feature.dtype.startswith(("int", "uint"))
        names = sorted({value for value in values if value is not None}, key=int if numeric else None)
    if HIDDEN in names and all(name.isdigit() for name in names if name != HIDDEN):
        names = [name for name in names if name != HIDDEN]
        values = [None if value == HIDDEN else value for value in values]
    if classes is None:
        classes = names
        _check_joint(classes, f"{where}, column {column}")
    index = {name: number for number, name in enumerate(classes)}
    unknown = next((value for value in values if value is not None and value not in index), None)
    unknown = unknown or next((name for name in names if name not in index and isinstance(feature, datasets.ClassLabel)), None)
    if unknown is not None:
        few = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
        raise UserError(f"{where} has the class {unknown}, which is none of the training split: {few}")
    return np.array([MISSING if value is None else index[value] for value in values], np.int64), classes


def class_of(classes: list[str], index: int) -> str:
    """The name of a class, quoted where it would be lost in a sentence."""
    name = classes[index]
    return name if re.fullmatch(r"[\w.-]{1,60}", name) else repr(name[:60])


def _check_joint(classes: list[str], where: str) -> None:
    """Refuses a class whose name is a list of others: the labels of images that have several."""
    known = set(classes)
    for name in classes:
        parts = BETWEEN.split(name.strip())
        if len(parts) > 1 and all(part in known for part in parts):
            raise UserError(
                f"{where}: the class {name!r} looks like {len(parts)} labels of one image ({', '.join(parts[:3])}), and a classifier "
                "learns one each: give a column with one label, or rename the class if that is its name"
            )
