"""The kinds of input: images, a generator, or precomputed features and statistics."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from torch.utils.data import Dataset, IterableDataset
from torch_fidelity.registry import DATASETS_REGISTRY

from dataset_scripts import load_dataset
from dataset_scripts.core.errors import reason
from dataset_scripts.core.image.transforms import has_image
from recipes.core.errors import UserError
from recipes.core.fidelity import images, precomputed
from recipes.core.fidelity.generators import Generator, find_generator
from recipes.core.fidelity.precomputed import Precomputed

NAMED = {  # torch-fidelity's names -> the set and the split of the catalogue
    "cifar10-train": ("cifar10", "train"),
    "cifar10-val": ("cifar10", "test"),
    "cifar100-train": ("cifar100", "train"),
    "cifar100-val": ("cifar100", "test"),
    "stl10-train": ("stl10", "train"),
    "stl10-test": ("stl10", "test"),
    "stl10-unlabeled": ("stl10", "unlabeled"),
}


@dataclass
class Images:
    """Images that are read.

    Attributes:
        items: a map-style dataset of uint8 tensors (3, H, W).
        identity: of the images, for the cache; None if unknown.
    """

    items: Dataset
    identity: str | None

    @property
    def count(self) -> int:
        return len(self.items)

    def batches(self, numbers: Sequence[int], size: int, workers: int, device: torch.device) -> Iterator[torch.Tensor]:
        """The batches `numbers` of `size` images each; the last one may be shorter."""
        rows = [range(number * size, min((number + 1) * size, self.count)) for number in numbers]
        for batch in images.read_batches(self.items, rows, workers, device.type == "cuda"):
            yield batch.to(device, non_blocking=True)


@dataclass
class Drawn:
    """Images that a generator draws."""

    generator: Generator

    @property
    def identity(self) -> str | None:
        return self.generator.identity

    @property
    def count(self) -> int:
        return self.generator.count

    def batches(self, numbers: Sequence[int], size: int, workers: int, device: torch.device) -> Iterator[torch.Tensor]:
        return self.generator.draw(numbers, size, device)


Input = Images | Drawn | Precomputed


def resolve(slot: int, options: dict[str, Any]) -> Input:
    """Finds out what `input1` or `input2` is.

    Text is tried in this order as: a name that torch-fidelity knows; a file of features or statistics; a generator's file;
    a folder with images in it; anything that `load_dataset` takes.

    Raises:
        UserError: it is none of these, it is empty, or an option is missing.
    """
    value = options[f"input{slot}"]
    found = _precomputed(value) or _drawn(value, slot, options) or _images(value, slot, options)
    if not isinstance(found, Precomputed) and found.count < 1:
        raise UserError(f"input{slot}={value} has no images")
    name = options[f"input{slot}_cache_name"]
    if name is not None and not isinstance(found, Precomputed) and found.identity is None:
        if isinstance(found, Drawn):
            raise UserError(f"input{slot}_cache_name={name}: a module in memory is not cached; give a TorchScript file")
        found.identity = f"{name} {images.state_of_pixels(found.items)}"
    return found


def _precomputed(value: Any) -> Precomputed | None:
    if isinstance(value, (str, Path)) and Path(value).suffix in (".npz", ".safetensors") and Path(value).is_file():
        return precomputed.read(Path(value))
    return None


def _drawn(value: Any, slot: int, options: dict[str, Any]) -> Drawn | None:
    generator = find_generator(value, slot, options)
    return generator and Drawn(generator)


def _images(value: Any, slot: int, options: dict[str, Any]) -> Images:
    transform = images.Transform(options["resize"], options["samples_resize_and_crop"])
    if isinstance(value, (datasets.IterableDataset, IterableDataset)):
        raise UserError(f"input{slot} is a stream, which processes cannot share: give a dataset with a length")
    if isinstance(value, datasets.Dataset):
        return _rows(value, slot, options, transform)
    if isinstance(value, Dataset):
        return Images(images.OtherImages(value, transform), None)
    if not isinstance(value, (str, Path)):
        raise UserError(f"input{slot} is of type {type(value).__name__}, which cannot be an input")
    if str(value) in DATASETS_REGISTRY and str(value) not in NAMED:  # what the caller has registered
        items = DATASETS_REGISTRY[str(value)](options["datasets_root"], options["datasets_download"])
        return Images(images.OtherImages(items, transform), None)
    if Path(value).is_dir():
        paths = images.find_images(Path(value), options["samples_find_deep"], options["samples_find_ext"])
        if paths:
            return Images(images.FolderImages(paths, transform), f"{transform} {images.state_of_files(paths)}")
    return _rows(_load(str(value), slot, options), slot, options, transform)


def _load(value: str, slot: int, options: dict[str, Any]) -> datasets.Dataset:
    path, split = NAMED.get(value, (value, options[f"input{slot}_split"]))
    data_dir = options["datasets_root"] if value in NAMED else None
    if value in NAMED and data_dir is None and not options["datasets_download"]:
        raise UserError(
            f"input{slot}={value} must not be downloaded: set datasets_root to the folder that has its files"
        )
    try:
        rows = load_dataset(path, options[f"input{slot}_name"], data_dir=data_dir, split=split, transform=None)
    except (ValueError, FileNotFoundError) as error:  # from the data, or for an unknown path, split or configuration
        raise UserError(f"input{slot}={value}: {reason(error)}") from error
    if isinstance(rows, datasets.DatasetDict):
        if len(rows) > 1:
            raise UserError(
                f"input{slot}={value} has the splits {', '.join(rows)}: set input{slot}_split to one of them"
            )
        rows = next(iter(rows.values()))
    return rows


def _rows(rows: datasets.Dataset, slot: int, options: dict[str, Any], transform: images.Transform) -> Images:
    column, features = options[f"input{slot}_column"], images.only_stored(rows).features
    fitting = [name for name, feature in features.items() if isinstance(feature, datasets.Image) and has_image(feature)]
    if column is None:
        if len(fitting) != 1 and "image" not in fitting:
            several = (
                f"several image columns ({', '.join(fitting)})"
                if fitting
                else f"no image column, only {', '.join(features)}"
            )
            raise UserError(f"input{slot} has {several}: set input{slot}_column")
        column = "image" if "image" in fitting else fitting[0]
    elif column not in fitting:
        raise UserError(f"input{slot}_column={column} holds no images; image columns: {', '.join(fitting) or 'none'}")
    state = images.state_of_rows(rows, column)
    return Images(images.RowImages(rows, column, transform), state and f"{transform} {state}")
