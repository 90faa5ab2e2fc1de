"""The image and the label column of a dataset, and labels as class indices."""

import re
from collections.abc import Callable
from typing import Any

import datasets
import numpy as np

from dataset_scripts.core.image.columns import has_image
from recipes.core.config.data import Data, Source
from recipes.core.errors import UserError

MISSING = -1  # the index of an image without a label
UNLABELLED = "image"  # the one class of images without labels
HIDDEN = "-1"  # how tables mark a withheld label if their classes are numbers
BETWEEN = re.compile(r"[\s,;|]+")  # between the labels of an image that has several


def image_column(rows: datasets.Dataset, data: Source, group: str = "data.") -> str:
    """The column of the images: the given one, the only one, or `image`; a UserError if there is none."""
    return column_of(rows, data.image, "image", is_image, group=group)


def is_image(feature: Any) -> bool:
    return isinstance(feature, datasets.Image) and has_image(feature)


def label_column(rows: datasets.Dataset, data: Data, labelled: bool) -> str | None:
    """The class column: the given one, the only ClassLabel, or `label`; None if images need no labels and there is none."""

    def is_class(feature: Any) -> bool:
        return isinstance(feature, datasets.ClassLabel)

    if (
        not labelled
        and data.label is None
        and "label" not in rows.features
        and not any(map(is_class, rows.features.values()))
    ):
        return None
    return column_of(rows, data.label, "label", is_class)


def column_of(
    rows: datasets.Dataset,
    wanted: str | None,
    usual: str,
    fits: Callable[[Any], bool],
    option: str | None = None,
    group: str = "data.",
) -> str:
    """A column of the dataset: the given one, the usual one, or the only one that fits.

    Args:
        option, group: the name of the option that gives it, `data.` and `usual` unless set.

    Raises:
        UserError: there is none, or there are several; with the recipe that learns what there is.
    """
    option = f"{group}{option or usual}"
    features = rows.features
    if wanted is not None:
        if wanted not in features:
            raise UserError(f"{option}={wanted}: there is no such column, only {', '.join(features)}")
        if usual == "image" and not fits(features[wanted]):
            raise UserError(f"{option}={wanted} holds no images: its type is {features[wanted]}")
        return wanted
    fitting = [name for name, feature in features.items() if fits(feature)]
    if usual in fitting or (usual == "label" and usual in features):
        return usual
    if len(fitting) == 1:
        return fitting[0]
    what = (
        f"several {usual} columns ({', '.join(fitting)})"
        if fitting
        else f"no {usual} column (only {', '.join(features)})"
    )
    others = [said for said in (learns(feature) for feature in features.values()) if said and not fitting]
    if others:
        raise UserError(f"the dataset has {what}: set {option}, or use {others[0]}")
    more = (
        ", or put the images into a folder for each class (generate.py takes them as they are)"
        if usual == "label" and not fitting
        else ""
    )
    raise UserError(f"the dataset has {what}: set {option}{more}")


def learns(feature: Any) -> str | None:
    """The recipe that learns what a column holds, for messages; None if it may hold anything."""
    if holds_boxes(feature):
        return "recipes/detect.py, which learns boxes"
    if isinstance(feature, datasets.ClassLabel):
        return "recipes/train.py, which learns labels"
    return None


def holds_boxes(feature: Any) -> bool:
    """Whether a column holds boxes with categories, in the form of `objects`."""
    return (
        isinstance(feature, dict)
        and {"bbox", "category"} <= feature.keys()
        and isinstance(getattr(feature["category"], "feature", None), datasets.ClassLabel)
    )


def labels_of(
    rows: datasets.Dataset, column: str | None, classes: list[str] | None, where: str
) -> tuple[np.ndarray, list[str]]:
    """The labels, int64 (N,), with MISSING for those that are hidden, and the classes.

    Args:
        column: None for images without labels, which all get one class.
        classes: the names that the labels index; None takes the names of the ClassLabel, or the sorted values of the
            column.
        where: the beginning of the message.

    Raises:
        UserError: a value is not one class, or `classes` lacks it.
    """
    if column is None:
        return np.zeros(len(rows), np.int64), classes or [UNLABELLED]
    if column not in rows.features:
        raise UserError(f"{where} has no column {column}, only {', '.join(rows.features)}: set data.label")
    feature = rows.features[column]
    values = rows.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    if isinstance(feature, datasets.ClassLabel):
        names = list(feature.names)
        beyond = next((row for row, value in enumerate(values) if value is not None and value >= len(names)), None)
        if beyond is not None:
            raise UserError(
                f"{where}: row {beyond} has the label {values[beyond]}, but there are only {len(names)} classes"
            )
        values = [None if value is None or value < 0 else names[value] for value in values]
    elif not isinstance(feature, datasets.Value) or feature.dtype.startswith("float"):
        raise UserError(f"{where}: column {column} holds {feature}, not one class per row")
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
    if unknown is None and isinstance(feature, datasets.ClassLabel):
        unknown = next((name for name in names if name not in index), None)
    if unknown is not None:
        few = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
        raise UserError(f"{where} has the class {unknown!r}, which the training split lacks: it has {few}")
    return np.array([MISSING if value is None else index[value] for value in values], np.int64), classes


def class_of(classes: list[str], index: int) -> str:
    """The name of a class, quoted if it would be unclear in a sentence."""
    name = classes[index]
    return name if re.fullmatch(r"[\w.-]{1,60}", name) else repr(name[:60])


def _check_joint(classes: list[str], where: str) -> None:
    """Refuses a class whose name is a list of other classes: the labels of images that have several."""
    known = set(classes)
    for name in classes:
        parts = BETWEEN.split(name.strip())
        if len(parts) > 1 and all(part in known for part in parts):
            raise UserError(
                f"{where}: the class {name!r} looks like {len(parts)} labels of one image ({', '.join(parts[:3])}), "
                "but a classifier learns one label per image: set data.label to a column with one label, or rename the "
                "class if that is its name"
            )
