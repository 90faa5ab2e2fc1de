"""Batches of uint8 images from a dataset."""

import math
from collections.abc import Sequence

import datasets
import numpy as np
import PIL.Image
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from dataset_scripts import DataError
from dataset_scripts.core.image.decode import decode_image
from recipes.core.data.draws import BASIC, CROP, FLIP
from recipes.core.ranks.random_numbers import uniform

EVAL_CROP = 0.875  # share of the shorter side that evaluation keeps if it crops (224 of 256)


class Images(Dataset):
    """Reads batches: `images[[i, j, …]]` decodes rows i, j, … into one contiguous array.

    An index e * N + i means row i in epoch e, see `StreamSampler`.

    Args:
        rows: the dataset, N rows.
        image: the image column.
        labels: what is learned of each row: int64 (N,), uint8 (N, K) or float32 (N,).
        size: height and width S of the images read.
        channels: C, 1 (grey) or 3 (RGB).
        crop: False scales the whole image to S x S; True cuts a square out: a random part when training, the centre
            otherwise.
        scale: the smallest share of the area that a random part takes; None for evaluation.
        seed: the random numbers depend on it, on the epoch and on the row.
        draws: D, the number of random numbers per image, see `recipes.core.data.draws`.
        alternate: move the random number of the flip to the other side of 1/2 from one epoch to the next, so a flip of
            probability 1/2 shows each image both ways in any two epochs (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a
            Single GPU").
        memory_gb: decode once and keep, if the pixels take at most this much and `crop` is False.
        numbers: the row numbers for the user, int (N,), if these are only some rows of a split; None for 0 to N - 1.

    Items:
        A dict of `indices`, int64 (B,), as they were given; `pixels`, uint8 (B, S, S, C); `labels` of the rows; and
        `draws`, float32 (B, D) in [0, 1).

    Raises:
        DataError: an image cannot be read; the message names it.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        image: str,
        labels: np.ndarray,
        size: int,
        channels: int,
        crop: bool,
        scale: float | None = None,
        seed: int = 0,
        draws: int = BASIC,
        alternate: bool = False,
        memory_gb: float = 0.0,
        progress: bool = False,
        numbers: np.ndarray | None = None,
    ):
        self.rows = rows.select_columns([image]).with_format("arrow")
        self.image, self.labels = image, labels
        self.numbers = np.arange(len(rows)) if numbers is None else numbers
        self.size, self.channels, self.crop, self.scale, self.seed = size, channels, crop, scale, seed
        self.draws, self.alternate = draws, alternate
        self.memory = None
        if not crop and len(rows) * size * size * channels <= memory_gb * 1e9:
            steps = range(0, len(rows), 256)
            chunks = [np.arange(start, min(start + 256, len(rows))) for start in steps]
            bar = tqdm(chunks, desc="decode", unit="batch", leave=False, disable=not progress)
            self.memory = np.concatenate([self._decode(chunk, None) for chunk in bar])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def in_memory(self) -> bool:
        return self.memory is not None

    def __getitem__(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        indices = np.array(indices, dtype=np.int64)
        epochs, rows = np.divmod(indices, len(self))
        draws = np.empty((len(rows), self.draws))
        for epoch in np.unique(epochs):  # two at most: a batch that crosses from one epoch into the next
            draws[epochs == epoch] = uniform(rows[epochs == epoch], self.draws, self.seed, int(epoch))
        if self.alternate:
            draws[:, FLIP] = (uniform(rows, 1, self.seed, 0)[:, 0] + 0.5 * (epochs % 2)) % 1
        pixels = self.memory[rows] if self.in_memory else self._decode(rows, draws)
        return {
            "indices": torch.from_numpy(indices),
            "pixels": torch.from_numpy(pixels),
            "labels": torch.from_numpy(self.labels[rows]),
            "draws": torch.from_numpy(draws).float(),
        }

    def _decode(self, rows: np.ndarray, draws: np.ndarray | None) -> np.ndarray:
        stored = self.rows[rows][self.image]
        pixels = np.empty((len(rows), self.size, self.size, self.channels), np.uint8)
        for slot, row in enumerate(rows.tolist()):
            name = f"row {self.numbers[row]}"
            image = to_8_bits(decode_image(stored[slot].as_py(), name), self.channels, name)
            if not self.crop:
                box = (0, 0, image.width, image.height)
            elif self.scale is None or draws is None:
                box = centre_box(image.width, image.height)
            else:
                box = random_box(image.width, image.height, self.scale, draws[slot, CROP])
            if image.size != (self.size, self.size) or self.crop:
                image = image.resize((self.size, self.size), PIL.Image.Resampling.BILINEAR, box=box)
            pixels[slot] = np.asarray(image).reshape(self.size, self.size, self.channels)
        return pixels


def to_8_bits(image: PIL.Image.Image, channels: int, name: str) -> PIL.Image.Image:
    """Converts to grey (1) or RGB (3); 16-bit grey keeps its upper 8 bits, alpha is dropped, palettes become colours.

    Raises:
        DataError: 32-bit integers or floats, whose range is unknown.
    """
    if image.mode.startswith("I;16"):
        image = PIL.Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise DataError(
            f"{name} has pixels of mode {image.mode}, whose range is unknown: convert the images to 8 or 16 bits"
        )
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    try:
        return image.convert("L" if channels == 1 else "RGB")
    except ValueError as error:
        raise DataError(f"{name} has pixels of mode {image.mode}: {error}") from error


def centre_box(width: int, height: int) -> tuple[float, float, float, float]:
    """The centred square that evaluation keeps: (left, top, right, bottom) in pixels."""
    side = EVAL_CROP * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def random_box(width: int, height: int, scale: float, draws: np.ndarray) -> tuple[float, float, float, float]:
    """A random part as in Szegedy et al. 2015: area in [scale, 1] of the whole, ratio log-uniform in [3/4, 4/3].

    A part that extends beyond the image is clipped to it (torchvision draws again, up to ten times).
    """
    area = (scale + (1 - scale) * draws[0]) * width * height
    ratio = math.exp((2 * draws[1] - 1) * math.log(4 / 3))
    part_width, part_height = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
    left, top = draws[2] * (width - part_width), draws[3] * (height - part_height)
    return left, top, left + part_width, top + part_height
