"""Masks of single objects in annotations, as small PNG images or run lengths."""

import io

import numpy as np
import PIL.Image

from dataset_scripts.core.image.rle import MAX_PIXELS


class Bitmaps:
    """Reads the masks of an image, of no more than MAX_PIXELS together.

    All methods return bool (H, W), and raise ValueError, or what Pillow raises, for what is no mask.
    """

    def __init__(self) -> None:
        self.left = MAX_PIXELS

    def png(self, content: bytes) -> np.ndarray:
        """The mask in a PNG image: what is not transparent, or, without transparency, what is not black."""
        with PIL.Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            self._take(*image.size)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                return np.asarray(image.convert("RGBA"))[:, :, 3] > 0
            if image.mode in ("RGB", "P"):
                image = image.convert("RGB")
            pixels = np.asarray(image)
            return pixels.any(2) if pixels.ndim == 3 else pixels != 0

    def runs(self, counts: list[int], width: int, height: int) -> np.ndarray:
        """The mask of run lengths, row by row, of background and object in turns."""
        if width < 1 or height < 1:
            raise ValueError(f"its mask has {width} x {height} pixels")
        if min(counts, default=0) < 0 or sum(counts) != width * height:
            raise ValueError(f"its runs make {sum(counts)} pixels, not {width} x {height}")
        self._take(width, height)
        values = np.arange(len(counts)) % 2 == 1
        return np.repeat(values, counts).reshape(height, width)

    def _take(self, width: int, height: int) -> None:
        self.left -= width * height
        if self.left < 0:
            raise ValueError(f"the masks of one image have more than {MAX_PIXELS:,} pixels")
