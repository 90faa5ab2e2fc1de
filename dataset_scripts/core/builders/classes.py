"""The number and names of classes: from the file that names them, not from the largest number in the data."""

import re
from collections import Counter
from collections.abc import Iterable

import datasets

from dataset_scripts.core.errors import DataError

MAX_CLASSES = 10_000  # classes that need no names, however few rows there are; see `most_classes`
SURROGATE = re.compile("[\ud800-\udfff]")  # halves of characters, which no encoding writes


def most_classes(rows: int) -> int:
    """Return how many unnamed numbers may be classes; larger numbers are ids or measurements, or damaged."""
    return max(MAX_CLASSES, 2 * rows)


def numbered_classes(largest: int, rows: int, where: object, first: int = 0) -> list[str]:
    """Return the names of classes that have only numbers: `first` to `largest`, as text.

    So a label keeps its value: of 0, 2 and 4 there are five classes, and 4 is the class named "4".

    Args:
        rows: the number of labels.
        where: names the file and the place, for messages.

    Raises:
        DataError: there would be more than `most_classes`.
    """
    if largest - first >= most_classes(rows):
        raise DataError(f"{where}: there is a class {largest}, but nothing names the classes: pass classes=[…]")
    return [str(number) for number in range(first, largest + 1)]


def named_classes(names: Iterable[str], where: object) -> datasets.ClassLabel:
    """Return the feature of classes that have names.

    Raises:
        DataError: two names are equal, or one is not text that UTF-8 can encode.
    """
    names = list(names)
    odd = next((name for name in names if not isinstance(name, str) or SURROGATE.search(name)), None)
    if odd is not None:
        raise DataError(f"{where}: {odd!r} is not the name of a class, which is text")
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{where}: two classes are called {twice!r}: pass classes=[…], each with a name of its own")
    return datasets.ClassLabel(names=names)
