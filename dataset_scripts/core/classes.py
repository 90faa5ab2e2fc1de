"""Classes that have only numbers: a large one is an id, a measure or damage, and must not make as many classes."""

from dataset_scripts.core.errors import DataError

MAX_CLASSES = 10_000  # however few rows there are


def most_classes(rows: int) -> int:
    """How many classes there may be that nothing names."""
    return max(MAX_CLASSES, 2 * rows)


def numbered_classes(largest: int, rows: int, where: object, first: int = 0) -> list[str]:
    """The names of classes that have only numbers: `first`, as text, to `largest`.

    Args:
        rows: the number of labels.
        where: names the file and the place, for messages.

    Raises:
        DataError: they would be more than `most_classes`.
    """
    if largest - first >= most_classes(rows):
        raise DataError(f"{where}: class {largest} and nothing names the classes: pass classes=[…]")
    return [str(number) for number in range(first, largest + 1)]
