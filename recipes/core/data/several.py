"""Several labels of an image, or a number instead of a class: which columns hold them, and their values."""

from typing import Any

import datasets
import numpy as np

from recipes.core.data.columns import MISSING, learns
from recipes.core.errors import UserError

LABELS, NUMBER, CLASS = "labels", "number", "class"  # what is learned of an image
MOST = 10_000  # different labels


def columns_of(rows: datasets.Dataset, label: str | None) -> list[str]:
    """The columns of `data.label`: one, or several if it is a list; without it, the columns of yes and no, if there are two or
    more of them and no other column of classes. An empty list stands for none of these.
    """
    features = rows.features
    if label is not None:
        names = [label] if label in features else [name.strip() for name in label.strip("[]").split(",")]
        if unknown := next((name for name in names if name not in features), None):
            raise UserError(f"data.label={unknown}: there is no such column, only {', '.join(features)}")
        return names
    if "label" in features:
        return ["label"]
    classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    flags = [name for name, feature in features.items() if is_flag(feature)]
    return flags if len(flags) > 1 and set(classes) <= set(flags) else []


def is_flag(feature: Any) -> bool:
    """Whether a column holds yes and no."""
    if isinstance(feature, datasets.ClassLabel):
        return [name.lower() for name in feature.names] in (["no", "yes"], ["false", "true"], ["0", "1"], ["-1", "1"])
    return isinstance(feature, datasets.Value) and feature.dtype == "bool"


def kind_of(rows: datasets.Dataset, columns: list[str]) -> str:
    """LABELS, NUMBER or CLASS."""
    if len(columns) > 1:
        return LABELS
    feature = rows.features[columns[0]] if columns else None
    if hasattr(feature, "feature"):
        return LABELS
    return NUMBER if isinstance(feature, datasets.Value) and feature.dtype.startswith("float") else CLASS


def read_labels(
    rows: datasets.Dataset, columns: list[str], names: list[str] | None, where: str
) -> tuple[np.ndarray, list[str]]:
    """Several labels of each image: uint8 (N, K), 1 for those that it has; and the names of the labels.

    Args:
        columns: one of lists of classes, or several of yes and no, or 0 and 1.
        names: those of the training rows; None if these are the training rows.

    Returns:
        A row without labels, where the value is null, is all MISSING_LABELS.

    Raises:
        UserError: a column holds something else, or a label that the training rows lack.
    """
    table = rows.select_columns(columns).with_format("arrow")[:]
    if len(columns) > 1:
        found = np.zeros((len(rows), len(columns)), np.uint8)
        for place, name in enumerate(columns):
            feature, values = rows.features[name], table[name].to_pylist()
            if not is_flag(feature) and not set(values) <= {0, 1, None}:
                raise UserError(
                    f"{where}: column {name} of data.label holds {learns(feature) or feature}, not yes and no"
                )
            found[:, place] = [MISSING_LABELS if value is None else int(value) for value in values]
        found[(found == MISSING_LABELS).any(1)] = MISSING_LABELS
        return found, names or columns
    feature = rows.features[columns[0]].feature
    lists = table[columns[0]].to_pylist()
    if isinstance(feature, datasets.ClassLabel):
        lists = [values and [feature.names[value] for value in values] for values in lists]
    elif not isinstance(feature, datasets.Value) or feature.dtype.startswith("float"):
        raise UserError(f"{where}: column {columns[0]} holds lists of {feature}, not of labels")
    else:
        lists = [values and [str(value) for value in values] for values in lists]
    if names is None:
        there = {value for values in lists for value in values or ()}
        names = list(feature.names) if isinstance(feature, datasets.ClassLabel) else sorted(there)
    if not 0 < len(names) <= MOST:
        raise UserError(
            f"{where}: column {columns[0]} has {len(names):,} different labels; 1 to {MOST:,} can be learned"
        )
    index = {name: place for place, name in enumerate(names)}
    found = np.zeros((len(rows), len(names)), np.uint8)
    for row, values in enumerate(lists):
        if values is None:
            found[row] = MISSING_LABELS
        for value in values or ():
            if value not in index:
                raise UserError(f"{where}: row {row} has the label {value!r}, which the training split lacks")
            found[row, index[value]] = 1
    return found, names


MISSING_LABELS = 255


def read_numbers(rows: datasets.Dataset, column: str) -> np.ndarray:
    """The numbers of a column, float32 (N,), NaN for those that are missing."""
    values = rows.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    return np.array([np.nan if value is None else value for value in values], np.float64).astype(np.float32)


def strata_of(values: np.ndarray) -> np.ndarray:
    """What the splits ask of each row: 0, or MISSING for one without a value, int64 (N,)."""
    missing = np.isnan(values) if values.dtype.kind == "f" else (values == MISSING_LABELS).any(1)
    return np.where(missing, MISSING, 0).astype(np.int64)
