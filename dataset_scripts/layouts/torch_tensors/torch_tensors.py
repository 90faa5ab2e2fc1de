"""Tensors that torch.save wrote: train.pt and test.pt with images and labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataset_scripts.core.builders.named_arrays import Named, NamedArrayBuilder, image_axes
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import Reader
from dataset_scripts.core.formats.rows_on_disk import Images
from dataset_scripts.core.formats.torch_file import holds_its_values, load_torch

PRECEDENCE = 2
SUFFIXES = (".pt", ".pth")
DEEP = 2  # levels of dicts and tuples


def matches(files):
    """Files of torch.save, one tensor named like images; weights of a model, or photos beside it, are something else."""
    paths = files.having(*SUFFIXES)
    if files.images or not paths:
        return None
    try:
        arrays = [array for path in paths for array in list_tensors(files, path)]
    except DataError as error:
        return f"torch files: {error}" if len(paths) == len(files.paths) else None
    is_alone = len(files.paths) == 1 and len(arrays) <= 2
    images = [array for array in arrays if len(array.shape) >= 3 and (array.role == "images" or is_alone)]
    return f"{len(arrays)} tensors, images in {', '.join(map(str, images[:4]))}" if images else None


def read_tensors(files: Reader, path: str) -> dict[str, torch.Tensor]:
    """The tensors in a file by their names; those of a tuple are called `images` and `labels`, or by their numbers.

    Raises:
        DataError: it is not of torch.save, holds code, or a tensor that shows more than it stores.
    """
    where = f"{files.root}/{path}"
    on_disk = files.locate(path)[0] is None
    with reading(where):
        source = Path(files.local(path)) if on_disk else files.open(path)
        content = load_torch(source, f"{where}: no tensors of torch.save", mapped=on_disk)
    found = dict(_tensors(content, "", DEEP))
    for name, tensor in found.items():
        with reading(where):
            if not holds_its_values(tensor):
                raise ValueError(f"{name or 'its tensor'} does not hold its own values: save tensor.clone()")
    return found


def _tensors(value: Any, name: str, levels: int):
    if isinstance(value, torch.Tensor):
        yield name, value.detach()
    elif isinstance(value, list) and value and all(type(item) in (int, float, bool) for item in value):
        yield name, torch.tensor(value)
    elif levels and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f"{name}/{key}".lstrip("/"), levels - 1)
    elif levels and isinstance(value, (list, tuple)):
        shapes = [len(getattr(item, "shape", ())) for item in value]
        is_pair = len(value) == 2 and shapes[0] >= 3 > shapes[1]
        for number, item in enumerate(value):
            key = ("images", "labels")[number] if is_pair else number
            yield from _tensors(item, f"{name}/{key}".lstrip("/"), levels - 1)


def list_tensors(files: Reader, path: str) -> list[Named]:
    return [Named(path, name, tuple(tensor.shape)) for name, tensor in read_tensors(files, path).items() if tensor.ndim]


class TensorRows:
    """The rows of a tensor as arrays."""

    def __init__(self, tensor: torch.Tensor):
        self.tensor, self.shape = tensor, tuple(tensor.shape)

    def __getitem__(self, row: int) -> np.ndarray:
        return as_array(self.tensor[row])


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """The values; numpy knows no bfloat16."""
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


class TorchTensors(NamedArrayBuilder):
    def paths(self, files):
        return files.having(*SUFFIXES)

    def list_arrays(self, files, path):
        try:
            return list_tensors(files, path)
        except DataError:
            files.account([path])  # on_error="skip" lists it
            raise

    def read_labels(self, files, array):
        return as_array(read_tensors(files, array.path)[array.key])

    def open_images(self, files, source):
        path, key = source
        rows = TensorRows(read_tensors(files, path)[key])
        return Images(rows, image_axes(rows.shape, self.config.channels), self.config.scale)
