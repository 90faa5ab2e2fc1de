"""Images as uint8 tensors (3, H, W), from folders, datasets and other sources."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import PIL.Image
import pyarrow.compute
import torch
import torchvision.transforms.functional as F
from torch.utils.data import Dataset

from dataset_scripts import ToTensor
from dataset_scripts.core.image.decode import decode_image
from recipes.core.data.images import to_8_bits
from recipes.core.errors import UserError
from recipes.core.ranks.stopping import Loader


class Transform:
    """Turns a Pillow image into uint8 (3, H, W).

    Args:
        resize: scale to a square of this many pixels, bicubic with antialiasing; 0 for none.
        crop: scale the shorter side to this many pixels, bilinear, and cut the centre out; 0 for none.
    """

    def __init__(self, resize: int = 0, crop: int = 0):
        self.resize, self.crop = resize, crop

    def __repr__(self) -> str:
        return f"Transform(resize={self.resize}, crop={self.crop})"

    def __call__(self, image: PIL.Image.Image, name: str) -> torch.Tensor:
        image = to_8_bits(image, 3, name)
        if self.resize:
            image = image.resize((self.resize, self.resize), PIL.Image.Resampling.BICUBIC)
        if self.crop:
            image = F.center_crop(F.resize(image, self.crop), self.crop)
        return F.pil_to_tensor(image)


class FolderImages(Dataset):
    """The image files of a folder, sorted by their real path, rotated upright by their EXIF tag."""

    def __init__(self, paths: Sequence[Path], transform: Transform):
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        path = str(self.paths[index])
        return self.transform(decode_image({"path": path, "bytes": None}, path), path)


class RowImages(Dataset):
    """The stored images of a column; transforms of the dataset are not applied."""

    def __init__(self, rows: datasets.Dataset, column: str, transform: Transform):
        self.rows, self.column, self.transform = rows.select_columns([column]).with_format("arrow"), column, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        name = f"row {index}"
        return self.transform(decode_image(self.rows[index][self.column][0].as_py(), name), name)


class OtherImages(Dataset):
    """The items of any map-style dataset: tensors as they are, Pillow images, or tuples that begin with either."""

    def __init__(self, items: Dataset, transform: Transform):
        self.items, self.transform = items, transform

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> torch.Tensor:
        item = self.items[index]
        image = item[0] if isinstance(item, (tuple, list)) else item
        if isinstance(image, PIL.Image.Image):
            return self.transform(image, f"item {index}")
        if not isinstance(image, torch.Tensor):
            raise UserError(
                f"item {index} is of type {type(image).__name__}: a dataset must return tensors or Pillow images"
            )
        if self.transform.resize or self.transform.crop:
            raise UserError(f"item {index} is a tensor already: resize is for files and Pillow images")
        return image


def find_images(folder: Path, deep: bool, suffixes: str) -> list[Path]:
    """The image files of a folder, and with `deep` those of its subfolders, sorted as torch-fidelity sorts them."""
    wanted = {f".{suffix.strip().lower()}" for suffix in suffixes.split(",") if suffix.strip()}
    found = []
    for parent, _folders, names in os.walk(folder):
        found += [Path(parent, name).resolve() for name in names if os.path.splitext(name)[1].lower() in wanted]
        if not deep:
            break
    return sorted(found, key=str)


def state_of_files(paths: Sequence[Path]) -> str:
    """A hash of paths, sizes and times, among them the time of the last change (ctime), which programs cannot set."""
    digest = hashlib.sha256()
    for path in paths:
        state = os.stat(path)
        digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\0{state.st_ctime_ns}\n".encode())
    return digest.hexdigest()


def state_of_rows(rows: datasets.Dataset, column: str) -> str | None:
    """A hash of a dataset and of the files that its rows point to; None if those cannot be found."""
    paths = set()
    for chunk in rows.data.column(column).chunks:
        outside = pyarrow.compute.is_null(pyarrow.compute.struct_field(chunk, "bytes"))
        paths.update(pyarrow.compute.struct_field(chunk, "path").filter(outside).to_pylist())
    files = sorted({Path(path.rpartition("::")[2]) for path in paths if path is not None})
    if not all(file.is_file() for file in files):
        return None
    return f"{rows._fingerprint} {column} {state_of_files(files)}"


def state_of_pixels(images: Dataset) -> str:
    """A hash of all pixels, for data that has no other identity."""
    digest = hashlib.sha256()
    for index in range(len(images)):
        image = images[index]
        digest.update(f"{tuple(image.shape)} {image.dtype}\n".encode() + image.contiguous().numpy().tobytes())
    return digest.hexdigest()


def stack(numbered: list[tuple[int, torch.Tensor]]) -> torch.Tensor:
    """Joins the images of a batch.

    Raises:
        UserError: they differ in size.
    """
    (first, one), *others = numbered
    for index, image in others:
        if image.shape != one.shape:
            raise UserError(
                f"image {index} is {tuple(image.shape)}, but image {first} is {tuple(one.shape)}: "
                "set resize=N or samples_resize_and_crop=N"
            )
    return torch.stack([image for _, image in numbered])


class _Numbered(Dataset):
    def __init__(self, images: Dataset):
        self.images = images

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor]:
        return index, self.images[index]


def read_batches(images: Dataset, batches: Sequence[Sequence[int]], workers: int, pin: bool) -> Iterator[torch.Tensor]:
    """The images of each batch of indices, (B, 3, H, W)."""
    yield from Loader(
        _Numbered(images),
        batch_sampler=batches,
        collate_fn=stack,
        num_workers=min(workers, len(batches)),
        pin_memory=pin,
    )


def only_stored(rows: datasets.Dataset) -> Any:
    """Refuses a transform that would not be applied.

    Raises:
        UserError: the dataset has a transform other than that of `load_dataset`.
    """
    transform = rows.format["format_kwargs"].get("transform") if rows.format["type"] == "custom" else None
    if transform is not None and not isinstance(transform, ToTensor):
        raise UserError(
            "the dataset has a transform, which is not applied to stored images: wrap it in a torch Dataset"
        )
    return rows
