"""The rows for training, for steering the training, and for testing at the end."""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import datasets
import numpy as np

from dataset_scripts import DataError, TrustError, load_dataset
from recipes.core.config.data import Source
from recipes.core.data.columns import MISSING, class_of
from recipes.core.data.targets import LABELS, Target
from recipes.core.errors import UserError
from recipes.core.ranks.random_numbers import permutation

HOLDOUT = 0.2  # share of the training images that is held out if the data have nothing else to test on
HOLDING = 0x4E1D  # sets these random numbers apart from others
HELD_OUT = "holdout"  # the name of held-out rows


@dataclass
class Part:
    """Some rows of a split.

    Attributes:
        split: the name of the rows, such as `train[:80%]`.
        source: the split.
        labels: class indices of the rows, int64 (N,).
        indices: which rows of the source, ascending; None for all.
        target: the column of boxes or masks; None if `labels` or `values` are all that is learned.
        values: what is learned instead of `labels`: uint8 (N, K), 1 for the labels that an image has, or float32 (N,).
    """

    split: str
    source: datasets.Dataset
    labels: np.ndarray
    indices: np.ndarray | None = None
    target: str | None = None
    values: np.ndarray | None = None

    @property
    def learned(self) -> np.ndarray:
        """What is learned of each image, unless that is in a column of its own."""
        return self.labels if self.values is None else self.values

    @property
    def rows(self) -> datasets.Dataset:
        return self.source if self.indices is None else self.source.select(self.indices)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: np.ndarray, split: str) -> "Part":
        """The rows at some places of this part."""
        indices = places if self.indices is None else self.indices[places]
        values = None if self.values is None else self.values[places]
        return Part(split, self.source, self.labels[places], indices, self.target, values)


@dataclass
class Parts:
    """The rows of a run.

    Attributes:
        train, test: the rows for training and for testing the result.
        validation: the rows that steer the training; None if the test rows are used instead.
        classes: the names of the classes, by index.
        data: the options, with the columns and splits that were found filled in.
        notes: what the user should know about the choice.
        fingerprint: of the rows, once it has been compared over the ranks.
    """

    train: Part
    validation: Part | None
    test: Part
    classes: list[str]
    data: Any
    notes: list[str]
    fingerprint: dict[str, dict[str, Any]] = field(default_factory=dict)

    def follow(self, data: Source) -> None:
        """Takes over the input options given in `data`, such as those of published weights."""
        said = {name: getattr(data, name) for name in ("size", "channels", "mean", "std")}
        self.data = replace(self.data, **{name: value for name, value in said.items() if value is not None})


def choose_parts(data: Source, target: Target = LABELS, steered: bool = False) -> Parts:
    """Loads the splits of a run. If there is none to test on, a stratified part of the training rows is held out.

    The hold-out depends on the labels alone, not on the seed of a run, so runs are compared on the same rows.

    Args:
        target: what is learned of each image.
        steered: validation images decide something, so part of the training rows is held out if there are none.

    Raises:
        UserError: a split, column or label is missing, rows are in two splits, or a class cannot be learned; the
            message names the option to set.
    """
    splits, notes = _load(data), []
    rows = _rows(splits, data.train_split, data.path)
    data = target.fill(rows, data)
    labels, classes, values = target.read(rows, data, None, f"{data.path}, split {data.train_split}")
    _require_targets(labels, data, target, data.train_split)
    train = Part(data.train_split, rows, labels, target=target.column(data), values=values)

    def part(split: str, was_given: bool) -> Part | None:
        """A split with its targets; None for one whose targets are hidden, if it was not asked for."""
        rows = _rows(splits, split, data.path)
        labels, _, values = target.read(rows, data, classes, f"{data.path}, split {split}")
        if len(labels) and (labels == MISSING).all() and not was_given:
            notes.append(f"the images of split {split} have no {target.name}, and are not used")
            return None
        _require_targets(labels, data, target, split)
        return Part(split, rows, labels, target=target.column(data), values=values)

    free = set(splits)
    for given in filter(None, (data.train_split, data.validation_split, data.test_split)):
        free -= {name for name, _, _ in _ranges(splits, given, data.path)}
    validation = data.validation_split or ("validation" if "validation" in free else None)
    test = data.test_split or ("test" if "test" in free else None)
    validation = validation and part(validation, data.validation_split is not None)
    test = test and part(test, data.test_split is not None)
    if test is None and validation is not None and data.validation_split is None:
        validation, test = None, validation
    if test is None and validation is not None and data.holdout is None:
        raise UserError(
            f"data.validation_split={data.validation_split} leaves nothing to test on: set data.test_split or data.holdout"
        )
    if data.holdout is not None and test is not None and validation is not None:
        raise UserError(
            f"data.holdout={data.holdout} has no effect: split {validation.split} steers the training and "
            f"{test.split} tests it; leave it out"
        )
    _check_apart([part for part in (train, validation, test) if part is not None], splits, data.path)
    share = HOLDOUT if data.holdout is None else data.holdout
    purposes = ["test on"] if test is None else []
    if validation is None and (steered or (test is not None and data.holdout is not None)):
        purposes.append("steer the training")
    for purpose in purposes:
        train, held = hold_out(train, share, data.path)
        notes.append(
            f"{len(held):,} of {len(held) + len(train):,} images of split {train.split}, {share:.0%} of each class, are "
            f"held out to {purpose} (data.holdout)"
        )
        validation, test = (validation, held) if purpose == "test on" else (held, test)
        data = replace(data, holdout=share)
    names = [None if part is None or part.split == HELD_OUT else part.split for part in (validation, test)]
    parts = Parts(
        train, validation, test, classes, replace(data, validation_split=names[0], test_split=names[1]), notes
    )
    if target.column(parts.data) is None and train.values is None:
        _check_classes(parts)
    return parts


def choose_test(data: Any, classes: list[str], target: Target = LABELS) -> tuple[Part, Any, list[str]]:
    """The rows to test a trained model on: those of its run, or of other data with the same classes.

    Returns:
        The rows, the options with the columns filled in, and what the user should know about the choice.

    Raises:
        UserError: see `choose_parts`.
    """
    if data.test_split is None and data.holdout is not None:
        parts = choose_parts(data, target)
        part = parts.test
        if part.split != HELD_OUT:
            raise UserError(
                f"{data.path} has a split {part.split} now, which did not exist during the training: set "
                f"data.test_split={part.split}, or restore the data to evaluate the rows that were held out"
            )
        labels, _, values = target.read(part.source, parts.data, classes, f"{data.path}, split {parts.train.split}")
        values = None if values is None else values[part.indices]
        return replace(part, labels=labels[part.indices], values=values), parts.data, []
    splits, notes = _load(data), []
    if data.test_split is not None:
        splits = {data.test_split: _rows(splits, data.test_split, data.path)}
    order = [name for name in ("test", "validation") if name in splits] or (list(splits) if len(splits) == 1 else [])
    for name in order:
        rows = splits[name]
        found = target.fill(rows, data)
        labels, _, values = target.read(rows, found, classes, f"{data.path}, split {name}")
        if len(labels) and (labels == MISSING).all() and name != order[-1]:
            notes.append(f"the images of split {name} have no {target.name}, and are not used")
            continue
        _require_targets(labels, found, target, name)
        if data.test_split is None and name not in ("test", "validation"):
            notes.append(f"split {name} is the only one: all of its images are evaluated")
        part = Part(name, rows, labels, target=target.column(found), values=values)
        return part, replace(found, test_split=name), notes
    raise UserError(f"{data.path} has no split named test or validation, only {', '.join(splits)}: set data.test_split")


def hold_out(part: Part, share: float, path: str) -> tuple[Part, Part]:
    """Splits off a share of every class: returns the remaining and the held-out rows.

    Raises:
        UserError: no class has two images.
    """
    order = permutation(len(part), HOLDING)
    order = order[np.argsort(part.labels[order], kind="stable")]  # by class, at random within each
    counts = np.bincount(part.labels)
    wanted = np.where(counts > 1, np.clip(np.round(counts * share), 1, np.maximum(1, counts - 1)), 0).astype(np.int64)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    held = place < np.repeat(wanted, counts)
    if not held.any():
        raise UserError(f"{path}: no class has two images, so none can be held out to test on: set data.test_split")
    return part.take(np.sort(order[~held]), part.split), part.take(np.sort(order[held]), HELD_OUT)


def _load(data: Source) -> datasets.DatasetDict:
    try:
        return load_dataset(data.path, data.name, data_dir=data.data_dir, transform=None)
    except (DataError, TrustError):
        raise
    except ValueError as error:  # how datasets reports an unknown configuration
        raise UserError(f"{data.path}: {error}") from error


def _ranges(splits: datasets.DatasetDict, split: str, path: str) -> list[tuple[str, int, int]]:
    """The (split, first, end) that a name such as `train[:80%]+validation` stands for.

    Raises:
        UserError: there is no such split, or the name is malformed.
    """
    sizes = {name: len(rows) for name, rows in splits.items()}
    try:
        instructions = datasets.ReadInstruction.from_spec(split).to_absolute(sizes)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    return [(one.splitname, one.from_ or 0, sizes[one.splitname] if one.to is None else one.to) for one in instructions]


def _rows(splits: datasets.DatasetDict, split: str, path: str) -> datasets.Dataset:
    parts = [
        splits[name].select(range(first, end) if first < end else [])
        for name, first, end in _ranges(splits, split, path)
    ]
    return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)


def _require_targets(labels: np.ndarray, data: Any, target: Target, split: str) -> None:
    if not len(labels):
        raise UserError(f"{data.path}: split {split} holds no images")
    missing = np.flatnonzero(labels == MISSING)
    if len(missing) == len(labels) and target.is_optional and split != data.train_split:
        return
    if len(missing) == len(labels):
        raise UserError(
            f"{data.path}: the {target.name} of split {split} are hidden or missing; set data.test_split to a split that "
            "has them, or data.holdout=0.2 to hold out a part of the training images"
        )
    if len(missing):
        raise UserError(
            f"{data.path}, split {split}: row {missing[0]} has no {target.one} in column {getattr(data, target.option)} "
            f"({len(missing):,} of {len(labels):,} have none{target.hidden}): add them, or leave these images out"
        )


def _check_apart(parts: list[Part], splits: datasets.DatasetDict, path: str) -> None:
    """Refuses parts that share rows, or contain some twice."""
    ranges = [(part.split, *each) for part in parts for each in _ranges(splits, part.split, path)]
    for (one, name, first, end), (other, name2, first2, end2) in itertools.combinations(ranges, 2):
        first, end = max(first, first2), min(end, end2)
        if name == name2 and first < end:
            raise UserError(
                f"{path}: {one} and {other} share {end - first:,} images, rows {first:,} to {end - 1:,} of split {name}: choose splits "
                "that do not overlap, or set none"
            )


def _check_classes(parts: Parts) -> None:
    """Refuses classes that are tested but not trained on, and notes those that are not tested."""
    path, classes = parts.data.path, parts.classes
    seen = np.bincount(parts.train.labels, minlength=len(classes))
    for part in filter(None, (parts.validation, parts.test)):
        there = np.bincount(part.labels, minlength=len(classes))
        if (unseen := np.flatnonzero((there > 0) & (seen == 0))).size:
            raise UserError(
                f"{path}: split {parts.train.split} has no images of {some(classes, unseen)}, but {part.split} has: "
                "choose other splits, or set none to hold out a part of each class (data.holdout)"
            )
        if (untested := np.flatnonzero((there == 0) & (seen > 0))).size:
            parts.notes.append(
                f"{part.split} has no images of {some(classes, untested)}: they are trained on but not tested"
            )
    if (absent := np.flatnonzero(seen == 0)).size:
        parts.notes.append(f"there are no images of {some(classes, absent)}")
    if len(classes) == 1 and getattr(parts.data, "label", None) is not None:
        parts.notes.append(f"all images are of one class, {classes[0]}")


def some(classes: list[str], indices: np.ndarray) -> str:
    """A few classes by name, and how many there are."""
    names = ", ".join(class_of(classes, index) for index in indices[:3].tolist())
    return (
        f"class {names}"
        if len(indices) == 1
        else f"{len(indices):,} classes ({names}{', …' if len(indices) > 3 else ''})"
    )
