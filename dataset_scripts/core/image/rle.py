"""Run-length codes of masks, checked here: pycocotools trusts its input, and crashes on some of it."""

from typing import Any

import numpy as np

from dataset_scripts.core.errors import DataError

MAX_BORDER = 1 << 21  # pixels around all polygons of an object; pycocotools takes about 100 bytes for each
MAX_PIXELS = 1 << 30  # of all masks of a row, a byte each
_DIGITS = 7  # of a number in a compressed code, 5 bits each: enough for 32 bits and a sign


def mask_tools() -> Any:
    """`pycocotools.mask`.

    Raises:
        DataError: it is not installed; the message names the extra.
    """
    try:
        import pycocotools.mask
    except ImportError as error:
        raise DataError("instance masks need pycocotools: pip install 'dataset_scripts[detection]'") from error
    return pycocotools.mask


def sound_code(code: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Checks a run-length code, and returns it as pycocotools takes it, for a mask of (height, width) `size`.

    Args:
        code: `{"size": [height, width], "counts": …}` with counts as a list (uncompressed), text or bytes (compressed).

    Raises:
        ValueError: it is not one, or has a different size.
    """
    height, width = size
    if (
        not isinstance(code, dict)
        or not isinstance(code.get("size"), (list, tuple, np.ndarray))
        or "counts" not in code
    ):
        raise ValueError("a run-length code has a size and counts")
    said = list(code["size"])
    if said != [height, width]:
        raise ValueError(f"its size is {str(said[:3])[:60]}, but that of the image is {[height, width]}")
    counts = code["counts"]
    compressed = isinstance(counts, (str, bytes))
    if compressed:
        counts = counts.encode() if isinstance(counts, str) else counts
        if len(counts) > 2 * _DIGITS * (height * width + 2):  # decompressed it takes 75 times as much
            raise ValueError(f"its counts are longer than those of {height * width} runs")
        runs = _decompress(counts)
    elif isinstance(counts, (list, np.ndarray)):
        if not set(map(type, counts)) <= {int, np.int32, np.int64, np.uint32}:
            raise ValueError("its counts are not whole numbers")
        runs = np.array([min(max(count, -1), height * width + 1) for count in counts], np.int64)
    else:
        raise ValueError(f"its counts are {type(counts).__name__}, neither a list nor text")
    if len(runs) and not (0 <= runs.min() and runs.max() <= height * width):
        raise ValueError(f"its counts are not within 0 to {height * width}")
    if int(runs.sum()) != height * width:
        raise ValueError(f"its counts make {int(runs.sum())} pixels, not {height * width}")
    if compressed:
        return {"size": [height, width], "counts": counts}
    return mask_tools().frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)


def _decompress(text: bytes) -> np.ndarray:
    """The lengths of the runs, as `rleFrString` of pycocotools' maskApi.c reads them.

    A number has 5 bits per character, the lowest first; bit 32 means that another character follows, bit 16 of the last
    one is the sign. From the fourth number on, each is the difference from the last but one.
    """
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(digits) or digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise ValueError("its counts are not compressed run lengths, or are cut off")
    ends = np.flatnonzero(~digits & 32)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _DIGITS:
        raise ValueError("its counts hold a number of more than 32 bits")
    places = np.arange(len(digits)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((digits & 31) << 5 * places, starts)
    numbers -= np.where(digits[ends] & 16, 1 << 5 * lengths, 0)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def polygon_code(polygons: Any, size: tuple[int, int]) -> dict[str, Any]:
    """The run-length code of the union of polygons [x0, y0, x1, y1, …], in pixels of (height, width) `size`.

    Raises:
        ValueError: the input is something else, or the polygons are too long for any image of that size.
    """
    if not isinstance(polygons, list) or not polygons or not all(isinstance(polygon, list) for polygon in polygons):
        raise ValueError("it is neither a list of polygons nor a run-length code")
    if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
        raise ValueError("a polygon needs at least three points, each x and y")
    border = 0.0
    for polygon in polygons:
        if not set(map(type, polygon)) <= {int, float}:
            raise ValueError("a polygon is made of numbers")
        if not -MAX_BORDER <= min(polygon) <= max(polygon) <= MAX_BORDER:
            raise ValueError(f"a polygon reaches further than {MAX_BORDER:,} pixels")
        points = np.array(polygon, np.float64).reshape(-1, 2)
        if not np.isfinite(points).all():
            raise ValueError("a polygon is made of finite numbers")
        border += np.abs(points - np.roll(points, 1, 0)).max(1).sum() + len(points)
        if border > MAX_BORDER:
            raise ValueError(f"the border of its polygons is longer than {MAX_BORDER:,} pixels")
    tools = mask_tools()
    codes = tools.frPyObjects([list(map(float, polygon)) for polygon in polygons], *size)
    while len(codes) > 1:  # in pairs: for each further code, pycocotools would go through all that it has merged
        codes = [tools.merge(codes[start : start + 2]) for start in range(0, len(codes), 2)]
    return codes[0]


def decode_codes(codes: list[Any], size: tuple[int, int], where: str) -> np.ndarray:
    """The masks (N, H, W) of run-length codes, bool.

    Args:
        codes: as `sound_code` takes them.
        size: (height, width) of the image.
        where: names the row, for messages.

    Raises:
        DataError: a code is invalid, or has a different size than the image; the masks would have more than MAX_PIXELS.
    """
    if len(codes) * size[0] * size[1] > MAX_PIXELS:
        raise DataError(
            f"{where}: {len(codes)} masks of {size[1]} x {size[0]} pixels are more than {MAX_PIXELS:,}: "
            "read the codes with transform=None, and decode some of them"
        )
    masks = np.zeros((len(codes), *size), bool)
    for number, code in enumerate(codes):
        try:
            masks[number] = mask_tools().decode(sound_code(code, size))
        except ValueError as error:
            raise DataError(f"{where}, object {number + 1}: invalid run-length code: {error}") from error
    return masks
