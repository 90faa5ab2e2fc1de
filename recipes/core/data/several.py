"""Several labels of an image, or a number instead of a class: which columns hold them, and their values."""

from typing import Any

import datasets
import numpy as np

from recipes.core.data.columns import MISSING, learns
from recipes.core.errors import UserError

LABELS, NUMBER, CLASS = "labels", "number", "class"  # what is learned of an image
MOST = 10_000  # different labels
MISSING_LABELS = 255


def columns_of(rows: datasets.Dataset, label: str | None) -> list[str]:
    """The columns of `data.label`: one, or several if it is a list; without it, the columns of yes and no, if there are two or
    more of them and no other column of classes. An empty list stands for none of these.

    Raises:
        UserError: there is no such column, or one is named twice.
    """
    features = rows.features
    if label is not None:
        names = [label] if label in features else [name.strip() for name in label.strip("[]").split(",")]
        unknown = next((name for name in names if name not in features), None)
        if unknown is not None:
            raise UserError(f"data.label={unknown}: there is no such column, only {', '.join(features)}")
        if len(set(names)) < len(names):
            raise UserError(f"data.label={label} names a column twice")
        return names
    if "label" in features:
        return ["label"]
    classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    flags = [name for name, feature in features.items() if is_flag(feature) and "," not in name]
    return flags if len(flags) > 1 and set(classes) <= set(flags) else []


def is_flag(feature: Any) -> bool:
    """Whether a column holds no and yes, in this order."""
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
    if len(columns) == 1:
        return _read_lists(rows, columns[0], names, where)
    if names is not None and set(names) != set(columns):
        raise UserError(
            f"{where} has the labels {', '.join(columns)}, but the training rows {', '.join(names)}: set data.label to these"
        )
    names = names or columns
    table = rows.select_columns(columns).with_format("arrow")[:]
    found = np.zeros((len(rows), len(names)), np.uint8)
    for place, name in enumerate(names):
        feature = rows.features[name]
        is_whole = isinstance(feature, datasets.Value) and "int" in feature.dtype
        values = table[name].to_pylist() if is_flag(feature) or is_whole else []
        if not (is_flag(feature) or is_whole) or not set(values) <= {0, 1, -1, None}:
            raise UserError(f"{where}: column {name} of data.label holds {learns(feature) or feature}, not no and yes")
        known = [value is not None and value >= 0 for value in values]
        found[:, place] = [int(value) if there else MISSING_LABELS for value, there in zip(values, known)]
    found[(found == MISSING_LABELS).any(1)] = MISSING_LABELS
    return found, names


def _read_lists(
    rows: datasets.Dataset, column: str, names: list[str] | None, where: str
) -> tuple[np.ndarray, list[str]]:
    """As `read_labels`, of a column of lists."""
    feature = rows.features[column].feature
    lists = rows.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    kinds = feature.names if isinstance(feature, datasets.ClassLabel) else None
    if kinds is None and (not isinstance(feature, datasets.Value) or feature.dtype.startswith("float")):
        raise UserError(f"{where}: column {column} holds lists of {feature}, not of labels")
    for row, values in enumerate(lists):
        if any(value is None or (kinds is not None and not 0 <= value < len(kinds)) for value in values or ()):
            raise UserError(f"{where}: row {row} of column {column} has a label that is missing or beyond the names")
    lengths = {len(values) for values in lists if values is not None}
    if kinds is None and len(lengths) == 1 and max(lengths) > 1 and {v for vs in lists for v in vs or ()} == {0, 1}:
        raise UserError(
            f"{where}: column {column} holds a 0 or 1 for each label, not a list of the labels that an image has: store "
            "the latter, or a column for each label"
        )
    lists = [values and [kinds[value] if kinds else str(value) for value in values] for values in lists]
    if names is None:
        names = list(kinds) if kinds else sorted({value for values in lists for value in values or ()})
    if not 0 < len(names) <= MOST:
        raise UserError(f"{where}: column {column} has {len(names):,} different labels; 1 to {MOST:,} can be learned")
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


def read_numbers(rows: datasets.Dataset, column: str, where: str) -> np.ndarray:
    """The numbers of a column, float32 (N,), NaN for those that are missing.

    Raises:
        UserError: a number is infinite, or they differ by less than float32 can tell.
    """
    values = rows.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    found = np.array([np.nan if value is None else value for value in values], np.float64)
    if np.isinf(found).any():
        raise UserError(f"{where}: row {int(np.isinf(found).argmax())} of column {column} is infinite")
    known = found[~np.isnan(found)]
    with np.errstate(over="ignore"):
        coarse = np.spacing(np.abs(known).max(initial=0).astype(np.float32))
    if known.size and not coarse <= 1e-3 * max(known.std(), 1e-30) and known.std() > 0:
        raise UserError(
            f"{where}: the numbers of column {column} are so large that float32 cannot tell them apart: subtract their mean"
        )
    return found.astype(np.float32)


def strata_of(values: np.ndarray) -> np.ndarray:
    """What the splits ask of each row: 0, or MISSING for one without a value, int64 (N,)."""
    missing = np.isnan(values) if values.dtype.kind == "f" else (values == MISSING_LABELS).any(1)
    return np.where(missing, MISSING, 0).astype(np.int64)


def kind_of_values(values: np.ndarray) -> str:
    """LABELS, NUMBER or CLASS, by what is learned of the images."""
    return LABELS if values.ndim == 2 else NUMBER if values.dtype.kind == "f" else CLASS
