"""The place of an image on a square canvas: one map for its pixels, boxes, masks and points."""

import math
from dataclasses import dataclass

import numpy as np
import PIL.Image

from recipes.core.config.scenes import Moves
from recipes.core.data.draws import CROP, FLIP, SHIFT

NEAREST, BILINEAR = PIL.Image.Resampling.NEAREST, PIL.Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Place:
    """An image of `width` x `height` pixels, scaled to `wide` x `high`, with its corner at (left, top) of the canvas.

    A point (x, y) of the image is at (x * wide / width + left, y * high / height + top), and mirrored with `flip`. What
    is outside of the canvas is cut, and what the image leaves free of it is padding.

    Attributes:
        side: S, of the canvas in pixels.
    """

    side: int
    width: int
    height: int
    wide: int
    high: int
    left: int = 0
    top: int = 0
    flip: bool = False

    @classmethod
    def of(
        cls, width: int, height: int, side: int, moves: Moves | None = None, draws: np.ndarray | None = None
    ) -> "Place":
        """As large as fits, in the upper left corner; or moved as `moves` and the random numbers of the image say."""
        zoom = 1.0
        if moves is not None and draws is not None:
            zoom = math.exp((2 * draws[CROP.start] - 1) * math.log(moves.zoom))
        scale = zoom * side / max(width, height)
        wide, high = max(1, round(width * scale)), max(1, round(height * scale))
        if moves is None or draws is None:
            return cls(side, width, height, wide, high)
        left, top = 0, 0
        if moves.zoom > 1:
            left, top = (_corner(side - length, draw) for length, draw in zip((wide, high), draws[SHIFT]))
        return cls(side, width, height, wide, high, left, top, bool(draws[FLIP] < moves.flip))

    def paint(self, image: PIL.Image.Image, fill: int, smooth: bool = True) -> np.ndarray:
        """The canvas, (S, S) or (S, S, C) of the dtype of the image, with `fill` where the image is not.

        Args:
            smooth: average over pixels; False takes the nearest one, for ids.
        """
        x0, y0 = max(0, self.left), max(0, self.top)
        x1, y1 = min(self.side, self.left + self.wide), min(self.side, self.top + self.high)
        box = (x0 - self.left, y0 - self.top, x1 - self.left, y1 - self.top)
        if (box[2] - box[0], box[3] - box[1]) != image.size or (self.wide, self.high) != image.size:
            across, down = self.width / self.wide, self.height / self.high
            source = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
            image = image.resize((x1 - x0, y1 - y0), BILINEAR if smooth else NEAREST, box=source)
        pixels = np.asarray(image)
        canvas = np.full((self.side, self.side, *pixels.shape[2:]), fill, pixels.dtype)
        canvas[y0:y1, x0:x1] = pixels
        return canvas[:, ::-1] if self.flip else canvas

    def move(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2), x and y in pixels of the image, in pixels of the canvas, float64; some may lie outside of it."""
        moved = points * np.array([self.wide / self.width, self.high / self.height]) + np.array([self.left, self.top])
        if self.flip:
            moved[:, 0] = self.side - moved[:, 0]
        return moved

    def move_boxes(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4), left, top, right, bottom, cut at the border of the canvas, and the share of each that is left of it."""
        corners = np.stack([self.move(boxes[:, :2]), self.move(boxes[:, 2:])])
        low, high = corners.min(0), corners.max(0)
        area = np.prod(high - low, 1)
        low, high = low.clip(0, self.side), high.clip(0, self.side)
        return np.concatenate([low, high], 1), np.prod(high - low, 1) / np.maximum(area, 1e-9)

    def move_back(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) on the canvas, in pixels of the image and cut at its border; of a place that is not mirrored."""
        scale, corner = (self.width / self.wide, self.height / self.high), (self.left, self.top)
        moved = (boxes - np.tile(corner, 2)) * np.tile(scale, 2)
        return moved.clip(0, (self.width, self.height, self.width, self.height))


def _corner(free: int, draw: float) -> int:
    """A place for what leaves `free` pixels, or is larger than the canvas by -free, int."""
    return min(0, free) + math.floor(draw * (abs(free) + 1))
