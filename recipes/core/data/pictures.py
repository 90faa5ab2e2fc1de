"""Images to predict: from any place, in the order of their rows; those that cannot be read are set aside."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import torch
from torch.utils.data import Dataset

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.image.decode import decode_image
from recipes.core.config.data import Data, Source
from recipes.core.data.columns import image_column
from recipes.core.data.images import centre_box, to_8_bits
from recipes.core.data.place import BILINEAR, Place
from recipes.core.errors import UserError
from recipes.core.foreign import read_text


def load_pictures(data: Source, split: str | None) -> list[tuple[str, datasets.Dataset, str]]:
    """The splits of any data that `load_dataset` takes, or of a list of images in a text file: name, rows, image column.

    Raises:
        UserError: there are no images, or an image in the list does not exist.
        DataError: see `load_dataset`.
    """
    if data.path.lower().endswith(".txt") and Path(data.path).is_file():
        return [("list", _listed(Path(data.path)), "image")]
    try:
        loaded = load_dataset(data.path, data.name, data_dir=data.data_dir, transform=None)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise UserError(f"{data.path}: {error}") from error
    if split is not None and split not in loaded:
        raise UserError(f"{data.path} has no split {split}, only {', '.join(loaded)}")
    chosen = {name: rows for name, rows in loaded.items() if split in (None, name)}
    return [(name, rows, image_column(rows, data, group="")) for name, rows in chosen.items()]


def _listed(path: Path) -> datasets.Dataset:
    """Images named by the lines of a file, from its folder."""
    names = [line.strip() for line in read_text(path).removeprefix("\ufeff").splitlines() if line.strip()]
    paths = [str(path.parent / name) for name in names]
    missing = [name for name, place in zip(names, paths) if not Path(place).is_file()]
    if missing or not paths:
        raise UserError(f"{path} lists {missing[0]!r}, which does not exist" if missing else f"{path} lists no images")
    return datasets.Dataset.from_dict({"image": paths}, features=datasets.Features({"image": datasets.Image()}))


class Pictures(Dataset):
    """Reads batches: `pictures[[i, j, …]]` decodes rows i, j, … as the test of a trained network does.

    Args:
        data: size, channels, resize, mean of the network's input.

    Items:
        A dict of `pixels`, uint8 (B, S, S, C), black for an image that cannot be read; `sizes`, the (width, height) of each
        image; and `faults`, the reason of each that cannot be read, else None.
    """

    in_memory = False

    def __init__(self, rows: datasets.Dataset, column: str, data: Any):
        self.rows, self.column, self.data = rows.select_columns([column]).with_format("arrow"), column, data

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Sequence[int]) -> dict[str, Any]:
        data, stored = self.data, self.rows[list(rows)][self.column]
        pixels = np.zeros((len(rows), data.size, data.size, data.channels), np.uint8)
        sizes, faults, paths = [], [], []
        for slot, row in enumerate(rows):
            value = stored[slot].as_py()
            paths.append((value or {}).get("path"))
            try:
                image = to_8_bits(decode_image(value, f"row {row}"), data.channels, f"row {row}")
            except DataError as error:
                sizes.append((0, 0))
                faults.append(str(error))
                continue
            pixels[slot] = fit(image, data).reshape(pixels.shape[1:])
            sizes.append(image.size)
            faults.append(None)
        return {"pixels": torch.from_numpy(pixels), "sizes": sizes, "faults": faults, "paths": paths}


def fit(image: PIL.Image.Image, data: Any) -> np.ndarray:
    """The pixels (S, S) or (S, S, C) that a network sees of an image when it is tested."""
    if not isinstance(data, Data):
        return Place.of(image.width, image.height, data.size).paint(image, round(255 * sum(data.mean) / len(data.mean)))
    is_crop = data.resize == "crop"
    box = centre_box(image.width, image.height) if is_crop else (0, 0, image.width, image.height)
    if image.size != (data.size, data.size) or is_crop:
        image = image.resize((data.size, data.size), BILINEAR, box=box)
    return np.asarray(image)
