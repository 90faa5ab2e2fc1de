"""What the numbers of grey masks stand for: ids as they are, black and white, values that the caller gives, or a threshold."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image

from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.formats.fields import brief
from dataset_scripts.core.image.decode import decode_image

logger = printable_logger(__name__)

STORED = "stored"  # the option that takes numbers as ids
DARK, LIGHT = 32, 224  # what is between these is neither black nor white
LOOKED_AT = 100  # masks that decide
ROWS = 256  # of a mask whose pixels are compared with their neighbours
DENSEST = 2000  # pixels that a byte of a file stands for at most: zlib makes 1,032 bytes of one
BLACK_WHITE = {0: 0, 255: 1}
WAYS = "values=[0, 255] if there are two classes, threshold=128 if masks are soft, values='stored' if numbers are ids"


@dataclass(frozen=True)
class Greys:
    """Makes ids of grey pixels.

    Attributes:
        values: number -> id; None takes numbers as they are.
        threshold: numbers from here on are id 1, those below 0.
        why: what is said of a number that is none of `values`.
        is_for_palettes: `values` are also those of indices of a palette.
    """

    values: Mapping[int, int] | None = None
    threshold: int | None = None
    why: str = ""
    is_for_palettes: bool = False

    @property
    def keeps(self) -> bool:
        """Whether numbers are ids as they are."""
        return self.values is None and self.threshold is None

    def ids_of(self, pixels: np.ndarray, where: str) -> np.ndarray:
        """The ids (H, W), uint8 or uint16, of grey pixels (H, W); bool ones are black and white.

        Raises:
            DataError: a number that has no id; the message names the pixel.
        """
        if pixels.dtype == bool:
            if self.values is None:
                return pixels.astype(np.uint8)
            pixels = pixels.astype(np.uint8) * (255 if 255 in self.values else 1)
        if self.threshold is not None:
            return (pixels >= self.threshold).astype(np.uint8)
        if self.values is None:
            return pixels
        numbers = np.array(sorted(self.values))
        places = np.searchsorted(numbers, pixels).clip(max=len(numbers) - 1)
        if (odd := numbers[places] != pixels).any():
            y, x = np.argwhere(odd)[0].tolist()
            raise DataError(f"{where}: the pixel x={x}, y={y} is {pixels[y, x]}, {self.why}")
        ids = np.array([self.values[number] for number in numbers.tolist()])
        return ids.astype(np.uint8 if ids.max() < 256 else np.uint16)[places]


def asked_greys(values: Any, threshold: Any) -> Greys | None:
    """What the options of a layout say; None if the masks decide.

    Raises:
        DataError: they say nothing that makes sense.
    """
    if threshold is not None:
        if type(threshold) is not int or not 0 < threshold < 1 << 16:
            raise DataError(f"threshold={brief(threshold)} is not a number of 1 to 255, from which on a pixel is id 1")
        if values is not None:
            raise DataError("values and threshold exclude each other: both say what the numbers in masks stand for")
        return Greys(threshold=threshold)
    if values is None or values == STORED:
        return None if values is None else Greys()
    is_list = isinstance(values, (list, tuple, range)) and len(values) > 0
    if (
        not is_list
        or not all(type(value) is int and 0 <= value < 1 << 16 for value in values)
        or len(set(values)) < len(values)
    ):
        raise DataError(
            f"values={brief(values)} is not a list of different numbers, such as [0, 255]: the value of id 0, of id 1, …; "
            "'stored' takes all numbers as ids"
        )
    said = brief(list(values))
    return Greys(
        {value: place for place, value in enumerate(values)},
        why=f"which is none of values={said}",
        is_for_palettes=True,
    )


@dataclass
class _Survey:
    """What some masks hold.

    Attributes:
        binary, other: masks of 0 and 255 alone, and those with other numbers, each by its name.
        counts: how many pixels have each number of 8 bits.
        steps: how many pixels between black and white have a right neighbour, how many of these differ from it, and the sum
            of these differences.
    """

    binary: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    blank: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    steps: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))

    def add(self, content: bytes, where: str) -> None:
        with PIL.Image.open(io.BytesIO(content)) as mask:
            mode, kind, (width, height) = mask.mode, mask.format, mask.size
        if kind in ("JPEG", "MPO") or mode == "1":
            return  # an error later, or ids already
        if mode not in ("L", "RGB", "RGBA"):
            self.other.append(where)  # a palette or 16 bits: ids
            return
        if width * height > DENSEST * len(content):
            return  # it is cut off, which its row says
        image = decode_image({"bytes": content, "path": None}, where)
        if mode != "L":
            channels = np.asarray(image)[:, :, :3]
            if (channels != channels[:, :, :1]).any():
                return  # colours
            image = image.getchannel(0)
        counts = np.array(image.histogram())
        self.counts += counts
        pixels = np.asarray(image)[:: max(1, height // ROWS)]
        left = pixels[:, :-1]
        steps = np.abs(np.diff(pixels.astype(np.int16), axis=1))[(left >= DARK) & (left < LIGHT)]
        self.steps += steps.size, np.count_nonzero(steps), steps.sum()
        numbers = set(np.flatnonzero(counts).tolist())
        if numbers == {0}:
            self.blank += 1
        else:
            (self.binary if numbers <= {0, 255} else self.other).append(where)

    @property
    def is_soft(self) -> bool:
        """Whether numbers are brightness, as soft borders and JPEG leave it, not ids.

        Many numbers lie near 255. And these have more pixels than half of what is neither near 0 nor near 255, or most of the
        latter differ from the pixel beside them, but not by much; those of ids are in areas, or differ by anything.
        """
        used, light = self.counts > 0, self.counts[LIGHT:].sum()
        count, differ, sum_of_steps = self.steps.tolist()
        is_smooth = differ > 0.7 * count and sum_of_steps <= 64 * differ
        crowds = 2 * light >= self.counts[DARK:LIGHT].sum()
        return bool(used.sum() > 8 and used[LIGHT:255].sum() >= 4 and (crowds or is_smooth))


def look_at_greys(masks: Sequence[str], read: Callable[[str], bytes]) -> tuple[_Survey, int]:
    """Decodes up to LOOKED_AT masks, spread over all; more only while nothing is on them."""
    survey, looked = _Survey(), 0
    for path in _spread(masks):
        if looked >= LOOKED_AT and (survey.binary or survey.other):
            break
        looked += 1
        try:
            survey.add(read(path), path)
        except Exception:  # it is reported when its row is read
            continue
    return survey, looked


def _spread(paths: Sequence[str]) -> Iterator[str]:
    step = max(1, -(-len(paths) // LOOKED_AT))
    yield from paths[::step]
    yield from (path for place, path in enumerate(paths) if place % step)


def decide_greys(files: Files, masks: Sequence[str], greys: Sequence[int] | None = None, said: str = "") -> Greys:
    """What the numbers in grey masks stand for, by the masks themselves; the caller enforces it on all of them.

    Args:
        masks: their paths; read in the order of the listing, as some archives are read from front to end.
        greys: with a table of colours, the grey level of each class, -1 for a colour.
        said: names the table.

    Raises:
        DataError: soft masks, or most are black and white but not all: the message says which option decides.
    """
    wanted, root = set(masks), files.root
    survey, looked = look_at_greys([path for path in files.paths if path in wanted], files.read)
    if survey.is_soft:
        some = (survey.other or survey.binary)[0]
        raise DataError(
            f"{root}: masks such as {some} are soft, with {(survey.counts > 0).sum()} greys up to 255, not ids: pass "
            "threshold=128 for ids 0 and 1, or values='stored' if they are ids"
        )
    if greys is not None:
        used = np.flatnonzero(survey.counts).tolist()
        known = {grey: place for place, grey in enumerate(greys) if grey >= 0}
        if used and used[-1] >= len(greys) and set(used) <= known.keys():
            logger.warning("%s: the greys of masks are those of %s", root, said)
            return Greys(known, why=f"a grey of no class in {said}: {WAYS}")
    if len(survey.binary) > len(survey.other):
        black_white, other = survey.binary[0], survey.other[:1]
        if other:
            raise DataError(
                f"{root}: {len(survey.binary)} of {looked} masks hold only 0 and 255, such as {black_white}, but "
                f"{other[0]} does not: pass {WAYS}"
            )
        if greys is not None:
            raise DataError(f"{root}: masks hold 0 and 255, which {said} does not name: pass {WAYS}")
        logger.warning("%s: masks hold 0 and 255, which become the ids 0 and 1", root)
        return Greys(BLACK_WHITE, why=f"while others, such as {black_white}, hold only 0 and 255: pass {WAYS}")
    return Greys()
