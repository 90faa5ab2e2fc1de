"""Tables whose rows are images: which columns are pixels, where each row begins, and its pixels."""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.formats.fields import brief, short
from dataset_scripts.core.formats.text_table import MAX_LINE

PIXEL = re.compile(r"(?:pixels?|pix|px|p|x)?[-_ ]?(\d{1,6})|(\d{1,4})x(\d{1,4})")
LABELS = ("label", "labels", "class", "target", "digit", "letter", "character", "emotion", "y")
SPLITS = ("usage", "split", "subset", "partition")
IDS = ("id", "image_id", "imageid", "index", "")
TEXT = ("pixels", "pixel_values")  # of a column that holds all pixels, with blanks between them
LEAST, LEAST_BARE = 64, 256  # pixels of a row, with and without names of columns


@dataclass(frozen=True)
class Form:
    """What the columns of a table hold.

    Attributes:
        mark: what stands between the columns.
        has_header: whether the first line names the columns.
        first: the place of the first column of pixels.
        width: how many columns of pixels there are; 1 if a column holds them all, with blanks between them.
        count: the pixels of a row, by its first row.
        others: the place of each other column, counted from the front or, after the pixels, from the end, and what it is:
            "label", "split", "image_id" or its own name.
    """

    mark: bytes
    has_header: bool
    first: int
    width: int
    count: int
    others: tuple[tuple[int, str], ...]

    @property
    def behind(self) -> int:
        """How many columns are after the pixels."""
        return sum(place < 0 for place, _ in self.others)

    def cut(self, line: bytes) -> tuple[list[bytes], bytes, list[bytes]]:
        """The columns before the pixels, the pixels, and the columns after them."""
        line = line.strip(b"\r\n")
        if b'"' in line:
            fields = next(csv.reader([line.decode()], delimiter=self.mark.decode()))
            line = self.mark.join(field.strip().encode() for field in fields)
        before = line.split(self.mark, self.first)
        after = before[-1].rsplit(self.mark, self.behind) if self.behind else before[-1:]
        if len(before) <= self.first or len(after) <= self.behind:
            raise ValueError("it has too few columns")
        return before[:-1], after[0], after[1:]


def form_of(lines: list[bytes]) -> Form | None:
    """What the first lines of a table say of its columns; None if its rows are no images."""
    if not lines:
        return None
    first = lines[0].decode("utf-8-sig", "replace").strip("\r\n")
    mark = max(",;\t", key=first.count)
    names = [name.strip() for name in next(csv.reader([first], delimiter=mark), [])]
    lower = [name.lower() for name in names]
    text = next((lower.index(name) for name in TEXT if name in lower), None)
    start, width = (text, 1) if text is not None else _pixel_columns(lower)
    is_named = width == 1 or width >= LEAST
    if is_named:
        others = [(place, name) for place, name in enumerate(names) if not start <= place < start + width]
        roles = tuple((place if place < start else place - len(names), _role(name)) for place, name in others)
        form = Form(mark.encode(), True, start, width, width, _once(roles))
    else:
        form = _bare(names, mark)
    row = lines[1] if form and form.has_header and len(lines) > 1 else lines[0]
    if form is None or (form.has_header and len(lines) < 2):
        return None
    try:
        count = len(pixels_of(form.cut(row)[1], form))
    except Exception:
        return form if is_named and width > 1 else None  # its rows tell what is wrong
    return Form(form.mark, form.has_header, form.first, form.width, count, form.others) if count >= LEAST else None


def _pixel_columns(names: list[str]) -> tuple[int, int]:
    """The place and the length of the longest run of columns that are named like pixels, in their order."""
    best, start, before = (0, 0), 0, None
    for place, name in enumerate(names):
        match = PIXEL.fullmatch(name)
        key = None if match is None or name.isdigit() else tuple(int(part) for part in match.groups() if part)
        follows = key is not None and before is not None and len(key) == len(before) and _is_next(before, key)
        start = start if follows else place
        if key is not None and place + 1 - start > best[1]:
            best = start, place + 1 - start
        before = key
    return best


def _is_next(before: tuple[int, ...], key: tuple[int, ...]) -> bool:
    if len(key) == 1:
        return key[0] == before[0] + 1
    return key == (before[0], before[1] + 1) or (key[0] == before[0] + 1 and key[1] in (0, 1))


def _bare(names: list[str], mark: str) -> Form | None:
    """The form of a table without names of columns, or with numbers as names, as pandas writes them."""
    is_numbered = names == [str(place) for place in range(len(names))]
    if not all(re.fullmatch(r"\d{1,6}(\.\d{1,6})?", name) for name in names):
        return None
    has_header = is_numbered or any("." in name.removesuffix(".0") for name in names)
    has_label = {is_size(len(names) - 1): True, is_size(len(names)): False}.get(True)
    count = len(names) - bool(has_label)
    if has_label is None or count < LEAST_BARE or (is_size(count + 1) and has_label):
        return None
    return Form(mark.encode(), has_header, int(has_label), count, count, ((0, "label"),) * has_label)


def _role(name: str) -> str:
    lower = name.lower()
    return "label" if lower in LABELS else "split" if lower in SPLITS else "image_id" if lower in IDS else name


def _once(roles: tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
    """The roles, each once: of two columns for labels, the second keeps a name of its own."""
    seen: set[str] = set()
    found = []
    for place, role in roles:
        while role in seen or role == "image":
            role += "_"
        seen.add(role)
        found.append((place, role))
    return tuple(found)


def is_size(count: int) -> bool:
    """Whether so many pixels are a square, in grey or in colour."""
    return any(math.isqrt(count // depth) ** 2 * depth == count and count for depth in (1, 3))


def shape_of(count: int, size: tuple[int, int] | None) -> tuple[int, ...]:
    """The shape (H, W) or (H, W, 3) of an image of `count` pixels.

    Raises:
        ValueError: it is none.
    """
    if size is not None:
        height, width = size
        if count not in (height * width, 3 * height * width):
            raise ValueError(f"{count} pixels are not size=({height}, {width}), in grey or in colour")
        return (height, width) if count == height * width else (height, width, 3)
    for depth, rest in ((1, ()), (3, (3,))):
        side = math.isqrt(count // depth)
        if side * side * depth == count:
            return (side, side, *rest)
    raise ValueError(f"{count} pixels are no square: pass size=(height, width)")


def pixels_of(text: bytes, form: Form) -> bytes:
    """The values of the pixels of a row.

    Raises:
        ValueError: one is not a whole number of 0 to 255; the message counts pixels from 0.
    """
    parts = text.split() if form.width == 1 else text.split(form.mark)
    try:
        if b"_" in text:
            raise ValueError
        return bytes(map(int, parts))
    except ValueError:
        return bytes(_whole(place, part) for place, part in enumerate(parts))


def _whole(place: int, part: bytes) -> int:
    if re.fullmatch(rb"\s*\d{1,9}(\.0*)?\s*", part) and float(part) < 256:
        return int(float(part))
    raise ValueError(f"pixel {place} is {short(part.decode(errors='replace'))!r}, not a whole number of 0 to 255")


def scan(file: BinaryIO, where: str, form: Form, faults: Faults) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Where the rows of a table are: (N, 2) the offset of each and its number, from 1; and the values of other columns."""
    places, values = [], {role: [] for _, role in form.others}
    for offset, number, line in rows_in(file, where, form.has_header):
        with faults, reading(f"{where}, row {number}"):
            before, _, after = form.cut(line)
            said = {
                role: (before[place] if place >= 0 else after[place]).strip().decode() for place, role in form.others
            }
            for role, value in said.items():
                values[role].append(value)
            places.append((offset, number))
    return np.array(places, np.int64).reshape(-1, 2), values


def rows_in(file: BinaryIO, where: str, has_header: bool) -> Iterator[tuple[int, int, bytes]]:
    """The offset, the number from 1 and the bytes of each line that is not blank, without the names of columns."""
    number, offset, is_first = 0, 0, True
    while line := file.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise DataError(f"{where}, row {number + 1}: it is longer than {MAX_LINE:,} bytes")
        start, offset = offset, offset + len(line)
        if not line.strip():
            continue
        if is_first:
            is_first = False
            if has_header:
                continue
            skipped = len(line) - len(line.removeprefix(b"\xef\xbb\xbf"))
            start, line = start + skipped, line[skipped:]
        number += 1
        yield start, number, line


class PixelRows:
    """The images of a table, read by their offsets."""

    def __init__(self, file: BinaryIO, where: str, form: Form, places: np.ndarray, shape: tuple[int, ...], turn: bool):
        self.file, self.where, self.form, self.places = file, where, form, places
        self.shape, self.turn = shape, turn

    def __getitem__(self, row: int) -> np.ndarray:
        """The image (H, W) or (H, W, 3), uint8.

        Raises:
            DataError: it has another number of pixels, or one that is not in 0..255; the message names its row.
        """
        offset, number = self.places[row].tolist()
        with reading(f"{self.where}, row {number}"):
            self.file.seek(offset)
            content = pixels_of(self.form.cut(self.file.readline(MAX_LINE))[1], self.form)
            if len(content) != math.prod(self.shape):
                raise ValueError(f"it has {len(content)} pixels, others {brief(math.prod(self.shape))}")
            pixels = np.frombuffer(content, np.uint8).reshape(self.shape)
            return np.ascontiguousarray(pixels.swapaxes(0, 1)) if self.turn else pixels
