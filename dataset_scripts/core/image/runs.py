"""Runs of pixels, as tables of masks have them: the first pixel, from 0, and the number of pixels of each."""

from collections.abc import Iterable

import numpy as np

from dataset_scripts.core.errors import DataError

FEW = 16  # pixels that may be beside each other by chance


def check_runs(runs: np.ndarray, size: tuple[int, int], where: str) -> None:
    """
    Raises:
        DataError: runs overlap, or reach out of an image of (width, height) `size`.
    """
    width, height = size
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    ends = runs.sum(1)
    if len(runs) and (runs[0, 0] < 0 or runs[:, 1].min() < 1 or ends.max() > width * height):
        raise DataError(f"{where}: its run-length code reaches out of the image of {width} x {height} pixels")
    if (runs[1:, 0] < ends[:-1]).any():
        raise DataError(f"{where}: its run-length code has a pixel twice")


def by_columns(runs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The runs of the same pixels, counted down the columns, of runs that `check_runs` accepts, counted along the rows."""
    width, height = size
    steps = np.zeros(width * height + 1, np.int8)
    np.add.at(steps, runs[:, 0], 1)
    np.add.at(steps, runs.sum(1), -1)
    mask = np.cumsum(steps[:-1], dtype=np.int8).reshape(height, width).T.ravel()
    borders = np.flatnonzero(np.diff(mask, prepend=0, append=0)).reshape(-1, 2)
    return np.stack([borders[:, 0], borders[:, 1] - borders[:, 0]], 1)


def look_like_rows(codes: Iterable[np.ndarray], size: tuple[int, int]) -> bool:
    """Whether runs that are meant to be counted down the columns hold together only if counted along the rows.

    Of objects, most pixels are beside another in the next run: as many pixels further as a column is long, or a row.
    Nobody can tell this in a square image.
    """
    width, height = size
    in_columns = in_rows = 0
    for runs in codes:
        in_columns += neighbours(runs, height)
        in_rows += neighbours(runs, width)
    return in_rows > 1.02 * in_columns + FEW


def neighbours(runs: np.ndarray, step: int) -> int:
    """The number of pixels with another one, `step` pixels further, that is in another run."""
    starts, lengths = runs[np.argsort(runs[:, 0], kind="stable")].T
    ends, sums = starts + lengths, np.concatenate([[0], np.cumsum(lengths)])

    def before(places: np.ndarray) -> np.ndarray:
        """How many pixels of the runs are before each place."""
        last = np.searchsorted(starts, places)
        return sums[last] - np.where(last > 0, np.maximum(0, ends[last - 1] - places), 0)

    return int((before(ends + step) - before(starts + step) - np.maximum(0, lengths - step)).sum()) if len(runs) else 0


def runs_outline(runs: np.ndarray, height: int) -> np.ndarray:
    """The corners (4, 2) of the box around runs that are counted down the columns of an image of this height."""
    if not len(runs):
        return np.zeros((4, 2))
    (left, top), (right, bottom) = divmod(runs[:, 0], height), divmod(runs.sum(1) - 1, height)
    is_tall = (right > left).any()  # a run that goes on in the next column
    low, high = (0, height) if is_tall else (top.min(), bottom.max() + 1)
    left, right = left.min(), right.max() + 1
    return np.array([[left, low], [right, low], [right, high], [left, high]], np.float64)


def runs_counts(runs: np.ndarray, pixels: int) -> list[int]:
    """Runs of pixels as COCO's counts: by turns of pixels outside and inside."""
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    borders = np.concatenate([[0], np.stack([runs[:, 0], runs.sum(1)], 1).ravel(), [pixels]])
    return np.diff(borders).tolist()
