"""Contact sheets: a sample of rows on one picture."""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageOps
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.image.roles import Roles, stored
from dataset_scripts.core.look.drawing import (
    BORDER,
    FAINT,
    FRAME,
    GAP,
    INK,
    Text,
    Tile,
    draw_row,
    font,
    mask_ids,
    shorten,
    text_size,
)

MARGIN, SPACE = 24, 14  # pixels around the sheet, and between its tiles
WIDTH = 1280  # pixels that the columns of a sheet fill if their number is not given
TILE, LARGE, PAIRED = 114, 306, 206  # pixels of an image: plain; if something is drawn on it; if there are several
HEADING = 20  # size of the text above a split

Group = dict[str, list[int]]  # split -> row numbers


def contact_sheet(
    dataset: datasets.Dataset | Mapping[str, datasets.Dataset],
    rows: int = 6,
    columns: int | None = None,
    seed: int = 0,
    size: int | None = None,
    numbers: Sequence[int] | None = None,
) -> PIL.Image.Image:
    """Draws a sample of rows with their annotations: names of classes, boxes and their categories, masks, instance
    masks, keypoints, captions, and further images beside the first.

    In masks the id 0, usually the background, and 255, the border that losses ignore, stay clear; masks of only 0 and 255
    are black and white, and 255 is drawn. An image that cannot be read is a tile that shows why.

    Args:
        dataset: a split, or a dict of splits; the second and later ones get a third as many rows of tiles.
        rows: rows of tiles.
        columns: tiles in a row; None fills 1280 pixels.
        seed: chooses the sample. The rows are spread over the classes of `label`, or over the categories of objects,
            rare ones first.
        size: width and height in pixels of each image; None chooses it to suit the data.
        numbers: the numbers that are written below the rows; None for 0, 1, …

    Returns:
        A picture in mode RGB, the same for the same data and arguments.

    Raises:
        DataError: no column of images, a stream, or a number that is too small.
    """
    splits = dataset if isinstance(dataset, Mapping) else {"": dataset}
    for name, number in (("rows", rows), ("columns", columns), ("size", size)):
        if number is not None and number < 1:
            raise DataError(f"{name}={number}: a contact sheet has at least one")
    if seed < 0:
        raise DataError(f"seed={seed}: it is 0 or more")
    if not splits:
        raise DataError("there is no split to draw")
    parts = []
    for number, (split, part) in enumerate(splits.items()):
        roles = Roles.of(part)
        rich = roles.categories is not None or roles.masks or roles.caption
        side = size or (PAIRED if len(roles.images) > 1 else LARGE if rich else TILE)
        width = len(roles.images) * (side + GAP) - GAP
        across = columns or max(1, (WIDTH + SPACE) // (width + SPACE))
        tiles = _draw_sample(part, roles, across * (rows if number == 0 else -(-rows // 3)), seed, side, numbers)
        heading = f"{split}: {len(part):,} rows" if split else "" if tiles else "no rows"
        parts.append(_arrange(tiles, across, width, text_size(side), heading))
    return _stack(parts)


def group_sheet(groups: list[Group], splits: Mapping[str, datasets.Dataset], columns: int = 8) -> PIL.Image.Image:
    """Draws groups of rows, the first rows of each, without annotations."""
    parts = []
    for group in groups:
        tiles = []
        for split, numbers in group.items():
            roles = Roles.of(splits[split])
            plain = Roles(roles.images[:1], (), roles.labels, None, None, roles.features)
            table = stored(splits[split].select(numbers[:columns]), plain.columns)[:]
            tiles += [draw_row(row, f"{split} {place}", plain, TILE) for place, row in zip(numbers, table.to_pylist())]
        part = _arrange(tiles[:columns], min(columns, len(tiles)), TILE, text_size(TILE), "")
        parts.append(PIL.ImageOps.expand(PIL.ImageOps.expand(part, 8, "white"), 1, FRAME))
    return _stack(parts, 10 * (TILE + SPACE))


def ordered_sheet(
    dataset: datasets.Dataset, places: Sequence[str], heading: str, columns: int, size: int
) -> PIL.Image.Image:
    """Draws all rows in their order, with their annotations, under a heading.

    Args:
        places: what is written below each row.
        columns: tiles in a row.
        size: width and height in pixels of each image.
    """
    roles = Roles.of(dataset)
    table = stored(dataset, roles.columns)[:].to_pylist()
    tiles = [draw_row(row, place, roles, size) for place, row in zip(places, table, strict=True)]
    return _stack([_arrange(tiles, columns, size, text_size(size), heading)])


def sample(dataset: datasets.Dataset, roles: Roles, count: int, seed: int) -> list[int]:
    """Chooses rows, as evenly over the classes as possible; in the order of classes, then rows."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(dataset))
    classes = _class_of_rows(dataset, roles)
    if classes is None:
        return np.sort(order[:count]).tolist()
    _, classes = np.unique(classes, return_inverse=True)
    by_class = order[np.argsort(classes[order], kind="stable")]
    sizes = np.bincount(classes)
    turn = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # how many of its class come before
    first = rng.permutation(len(sizes))  # with more classes than tiles, any of them
    chosen = by_class[np.lexsort((first[classes[by_class]], turn))[:count]]
    return chosen[np.lexsort((chosen, classes[chosen]))].tolist()


def _class_of_rows(dataset: datasets.Dataset, roles: Roles) -> np.ndarray | None:
    """One number per row: its class, or the rarest category in it, -1 for none; None if there are no classes."""
    if roles.categories is not None:
        lists = pc.struct_field(stored(dataset, ["objects"])[:]["objects"], "category").combine_chunks()
        values = pc.list_flatten(lists).dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
        parents = pc.list_parent_indices(lists).to_numpy()
        often = np.bincount(values + 1, minlength=1)
        rarest = np.lexsort((values, often[values + 1]))[::-1]
        classes = np.full(len(dataset), -1)
        classes[parents[rarest]] = values[rarest]  # the last one written is the rarest
        return classes
    if not roles.labels:
        return None
    column = stored(dataset, [roles.labels[0]])[:][roles.labels[0]]
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = pc.list_element(pc.if_else(pc.greater(pc.list_value_length(column), 0), column, None), 0)
    encoded = column.combine_chunks().dictionary_encode()
    rank = (
        np.argsort(np.argsort(np.array(encoded.dictionary.to_pylist())))
        if len(encoded.dictionary)
        else np.zeros(0, int)
    )
    places = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return np.append(rank, -1)[places]


def _draw_sample(
    dataset: datasets.Dataset, roles: Roles, count: int, seed: int, side: int, numbers: Sequence[int] | None
) -> list[Tile]:
    chosen = sample(dataset, roles, count, seed)
    table = stored(dataset.select(chosen), roles.columns)

    def rows():
        for place, number in enumerate(chosen):
            yield f"row {number if numbers is None else numbers[number]}", table[place : place + 1].to_pylist()[0]

    bilevel = bool(roles.masks) and all(
        _is_bilevel(row[name], place) for place, row in rows() for name in roles.masks[:1]
    )
    return [draw_row(row, place, roles, side, bilevel) for place, row in rows()]


def _is_bilevel(mask: Any, place: str) -> bool:
    try:
        ids = mask_ids(mask, place)
    except DataError:
        return True  # nothing to compare; its tile shows why
    return ids is None or np.isin(ids, (0, BORDER)).all()


def _arrange(tiles: list[Tile], columns: int, width: int, size: int, heading: str) -> PIL.Image.Image:
    """Tiles in rows, under a heading."""
    pitch = round(size * 1.45)
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.picture.height + 4 + pitch * len(tile.lines) for tile in row) for row in rows]
    top = HEADING + 16 if heading else 0
    across = columns * (width + SPACE) - SPACE
    sheet = PIL.Image.new("RGB", (across, max(1, top + sum(heights) + SPACE * (len(rows) - 1))), "white")
    draw = PIL.ImageDraw.Draw(sheet)
    if heading:
        draw.text((0, 0), heading, INK, font(HEADING))
    for row, height in zip(rows, heights):
        for place, tile in enumerate(row):
            left = place * (width + SPACE)
            sheet.paste(tile.picture, (left, top))
            for number, line in enumerate(tile.lines):
                _write(draw, line, left, top + tile.picture.height + 4 + pitch * number, width, size)
        top += height + SPACE
    return sheet


def _write(draw: PIL.ImageDraw.ImageDraw, line: Text, left: int, top: int, width: int, size: int) -> None:
    """Writes a line; a last word in FAINT goes at the right end."""
    letters, right = font(size), left + width
    if line[-1][0] == FAINT:
        *line, (_, text) = line
        right -= letters.getlength(text)
        draw.text((right, top), text, FAINT, letters)
        right -= 6
    for shade, text in line:
        if shade is not None and right - left > 2 * size:
            draw.rectangle((left, top + 3, left + size - 4, top + size - 1), shade)
            left += size
        text = shorten(text, right - left, size) if right - left > size else ""
        draw.text((left, top), text, INK, letters)
        left += letters.getlength(text) + 10


def _stack(parts: list[PIL.Image.Image], width: int = 0) -> PIL.Image.Image:
    """Pictures below each other, or as many beside each other as `width` holds, with a margin around them."""
    places, left, top, below = [], MARGIN, MARGIN, MARGIN
    for part in parts:
        if left > MARGIN and left + part.width > width:
            left, top = MARGIN, below
        places.append((left, top))
        left, below = left + part.width + MARGIN, max(below, top + part.height + MARGIN)
    across = max(left + part.width for (left, _), part in zip(places, parts)) + MARGIN
    sheet = PIL.Image.new("RGB", (across, below), "white")
    for place, part in zip(places, parts):
        sheet.paste(part, place)
    return sheet
