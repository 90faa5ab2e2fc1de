"""A row of a dataset as a picture: the image, with its annotations drawn on it and written under it."""

import bisect
import functools
import os
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from dataset_scripts.core.errors import DataError, printable, reason
from dataset_scripts.core.image.decode import decode_image
from dataset_scripts.core.image.rle import decode_codes
from dataset_scripts.core.image.roles import Roles, as_list, item_feature, name_of_class

# Okabe and Ito, "Color Universal Design" (2008), without black: distinct for all kinds of colour vision.
PALETTE = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
INK, FAINT, FRAME = (31, 35, 40), (110, 118, 129), (238, 240, 243)
GAP = 4  # pixels between the images of a row
LINE = 2  # pixels of the border of a box
SHARE = 0.45  # of a mask's colour in its pixels
LINES = 4  # of a caption
BORDER = 255  # the id that losses ignore by convention

Text = list[tuple[tuple[int, int, int] | None, str]]  # words of a line, each after a square of its colour


@dataclass
class Tile:
    """A picture and the lines under it."""

    picture: PIL.Image.Image
    lines: list[Text] = field(default_factory=list)


@functools.cache
def font(size: int) -> PIL.ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic, Arabic and other alphabets."""
    return PIL.ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def text_size(size: int) -> int:
    """The size of the text of tiles that are `size` pixels wide."""
    return min(15, max(12, size // 20))


def colour(number: int) -> tuple[int, int, int]:
    """The colour of a class: the palette, then its lighter and its darker tones."""
    tone, base = number // len(PALETTE) % 3, PALETTE[number % len(PALETTE)]
    return tuple(part if tone == 0 else (part + 255) // 2 if tone == 1 else part * 3 // 5 for part in base)


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Any image as it is seen: 16 bits, integers and floats from black at the least value to white at the greatest one,
    transparent pixels over white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float64)
        values = np.where(np.isfinite(values), values, np.nan)
        low, high = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (0, 0)
        scaled = np.nan_to_num((values - low) / (high - low if high > low else 1))
        image = PIL.Image.fromarray(np.round(scaled * 255).astype(np.uint8))
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


@dataclass
class View:
    """An image in the middle of a square of `side` pixels, its aspect ratio kept.

    Enlarged to twice its size or more, it shows its pixels as squares; made smaller, it is filtered.
    """

    image: PIL.Image.Image
    side: int

    def __post_init__(self):
        scale = min(self.side / self.image.width, self.side / self.image.height)
        self.scale = np.floor(scale) if scale >= 2 else scale
        self.size = tuple(max(1, round(length * self.scale)) for length in self.image.size)
        self.offset = tuple((self.side - length) // 2 for length in self.size)
        kind = PIL.Image.Resampling
        kind = kind.NEAREST if scale >= 2 else kind.LANCZOS if scale < 1 else kind.BICUBIC
        self.canvas = PIL.Image.new("RGB", (self.side, self.side), FRAME)
        self.canvas.paste(to_rgb(self.image).resize(self.size, kind), self.offset)
        self.draw = PIL.ImageDraw.Draw(self.canvas)

    def at(self, x: float, y: float) -> tuple[int, int]:
        """Where a point of the image, in pixels, is on the canvas."""
        return round(self.offset[0] + x * self.scale), round(self.offset[1] + y * self.scale)

    def cover(self, ids: np.ndarray, fill: bool = True, palette: Any = colour) -> None:
        """Lays regions (H, W) of ids over the image: translucent colours, their edges opaque; 0 stays clear."""
        ids = np.asarray(PIL.Image.fromarray(ids.astype(np.int32)).resize(self.size, PIL.Image.Resampling.NEAREST))
        around = np.pad(ids, 1, "edge")
        edge = (
            (around[:-2, 1:-1] != ids)
            | (around[2:, 1:-1] != ids)
            | (around[1:-1, :-2] != ids)
            | (around[1:-1, 2:] != ids)
        )
        box = (*self.offset, self.offset[0] + self.size[0], self.offset[1] + self.size[1])
        pixels = np.asarray(self.canvas.crop(box)).astype(np.float32)
        for number in np.unique(ids[ids != 0]).tolist():
            region = ids == number
            share = np.where(edge, 1, SHARE if fill else 0)[region][:, None]
            pixels[region] = pixels[region] * (1 - share) + np.array(palette(number)) * share
        self.canvas.paste(PIL.Image.fromarray(np.round(pixels).astype(np.uint8)), box)

    def chip(
        self, x: int, y: int, text: str, fill: tuple[int, int, int], taken: list[tuple[int, int, int, int]]
    ) -> None:
        """Writes a word on its colour above (x, y), or below if there is no room, but never over another one."""
        letters = font(text_size(self.side) - 1)
        text = shorten(text, max(48, self.side * 0.6), letters.size)
        width, height = int(letters.getlength(text)) + 6, letters.size + 4
        left = max(0, min(x, self.side - width))
        top = y - height if y >= height else y
        box = (left, top, left + width, top + height)
        if any(box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken):
            return
        taken.append(box)
        self.draw.rectangle((left, top, left + width - 1, top + height - 1), fill)
        bright = 0.299 * fill[0] + 0.587 * fill[1] + 0.114 * fill[2] > 125
        self.draw.text((left + 3, top + height / 2), text, "black" if bright else "white", letters, anchor="lm")


def draw_row(row: dict[str, Any], place: str, roles: Roles, side: int, bilevel: bool = False) -> Tile:
    """Draws a row.

    Args:
        row: as Arrow stores it, images as `{"bytes": …, "path": …}`.
        place: says which row this is.
        side: width and height of an image in pixels.
        bilevel: whether 255 is the foreground of masks, not the border.
    """
    images = [(name, value) for name in roles.images for value in as_list(row[name])]
    width = max(1, len(images)) * (side + GAP) - GAP
    tile = Tile(PIL.Image.new("RGB", (width, side), "white"))
    names = [
        name_of_class(item_feature(roles.features[name]), value)
        for name in roles.labels
        for value in as_list(row[name])
    ]
    if names:
        tile.lines.append([(None, ", ".join(names))])
    for number, (name, value) in enumerate(images):
        try:
            view = View(decode_image(value, place), side)
            if number == 0:
                tile.lines += _draw_masks(view, row, place, roles, bilevel)
                if roles.categories is not None and row["objects"] is not None:
                    tile.lines += _draw_objects(view, row["objects"], roles)
            if len(images) > 1:
                view.chip(0, 0, name, INK, [])
            canvas = view.canvas
        except DataError as error:
            canvas = PIL.Image.new("RGB", (side, side), FRAME)
            text = "\n".join(wrap(reason(error), side - 16, text_size(side), 6))
            PIL.ImageDraw.Draw(canvas).text((8, 8), text, PALETTE[5], font(text_size(side)))
        tile.picture.paste(canvas, (number * (side + GAP), 0))
    captions = [text for text in as_list(row[roles.caption]) if text] if roles.caption else []
    if not tile.lines:
        tile.lines.append([(None, f"1 of {len(captions)} captions" if len(captions) > 1 else "")])
    tile.lines[0].append((FAINT, place))
    tile.lines += [[(None, line)] for text in captions[:1] for line in wrap(text, width, text_size(side), LINES)]
    return tile


def mask_ids(value: Any, place: str) -> np.ndarray | None:
    """The ids (H, W) of a stored mask; None if its values are colours, or there is none."""
    array = np.asarray(decode_image(value, place)) if value is not None else np.zeros((0, 0, 3))
    return array.astype(np.int32) if array.ndim == 2 else None


def _draw_masks(view: View, row: dict[str, Any], place: str, roles: Roles, bilevel: bool) -> list[Text]:
    lines = []
    for number, name in enumerate(roles.masks):
        ids = mask_ids(row[name], place)
        if ids is None:
            if row[name] is not None:
                picture = to_rgb(decode_image(row[name], place)).resize(view.size, PIL.Image.Resampling.NEAREST)
                view.canvas.paste(picture, view.offset, PIL.Image.new("L", view.size, round(255 * SHARE)))
            continue
        if not bilevel:
            ids[ids == BORDER] = 0
        if number:  # the instances within the regions of classes
            view.cover(ids, fill=False, palette=lambda _: (255, 255, 255))
            continue
        view.cover(ids, palette=lambda number: colour(number - 1))
        present = np.unique(ids[ids != 0]).tolist()
        lines.append([(colour(number - 1), str(number)) for number in present] or [(None, f"nothing in {name}")])
    return lines


def _draw_objects(view: View, objects: dict[str, list], roles: Roles) -> list[Text]:
    known = {}  # colours of classes that have no numbers, in the order they come
    numbers = [
        value if isinstance(value, int) else known.setdefault(value, len(known)) for value in objects["category"]
    ]
    names = [name_of_class(roles.categories, value) for value in objects["category"]]
    for number, code in zip(numbers, objects.get("segmentation") or []):
        if isinstance(code, dict) and code.get("counts"):
            mask = decode_codes([code], tuple(code["size"]), "a mask")[0]
            view.cover(mask.astype(bool), palette=lambda _, number=number: colour(number))
    corners = [view.at(x, y) + view.at(x + width, y + height) for x, y, width, height in objects["bbox"]]
    for number, (left, top, right, bottom) in zip(numbers, corners):
        view.draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour(number), width=LINE)
    for number, points in zip(numbers, objects.get("keypoints") or []):
        for x, y, visible in np.reshape(points, (-1, 3)).tolist():
            if visible > 0:
                (x, y), radius = view.at(x, y), max(2, view.side // 100)
                inside = colour(number) if visible > 1 else None  # hidden points are rings
                view.draw.ellipse((x - radius, y - radius, x + radius, y + radius), inside, "white")
    taken = []
    for place in sorted(range(len(corners)), key=lambda place: -objects["bbox"][place][2] * objects["bbox"][place][3]):
        view.chip(*corners[place][:2], names[place], colour(numbers[place]), taken)
    counted = {}
    for number, name in zip(numbers, names):
        counted.setdefault((colour(number), name), []).append(name)
    often = sorted(counted.items(), key=lambda item: -len(item[1]))
    return [[(shade, f"{name} {len(all_)}") for (shade, name), all_ in often] or [(None, "no objects")]]


def wrap(text: str, width: int, size: int, lines: int) -> list[str]:
    """Breaks text between words, or in a word that is too long, into lines of at most `width` pixels; … ends what is cut."""
    rest, broken = printable(text), []
    while rest and len(broken) < lines:
        count = len(rest)
        if font(size).getlength(rest[:400]) > width or count > 400:
            low, high = 1, min(count, 400)
            while low < high:  # the longest start that fits
                middle = (low + high + 1) // 2
                low, high = (middle, high) if font(size).getlength(rest[:middle]) <= width else (low, middle - 1)
            count = rest.rfind(" ", 0, low + 1)
            count = count if count > 0 else low
        broken.append(rest[:count])
        rest = rest[count:].strip()
    if rest:
        broken[-1] = shorten(broken[-1] + " " + rest[:100], width, size)
    return broken


def shorten(text: str, width: float, size: int) -> str:
    """Cuts text that is longer than `width` pixels, and ends it with …; in one line, which is all that Pillow measures."""
    text = printable(text[:400])
    if font(size).getlength(text) <= width:
        return text
    count = bisect.bisect_right(
        range(1, len(text) + 1), width, key=lambda count: font(size).getlength(text[:count] + "…")
    )
    return text[:count].rstrip() + "…"
