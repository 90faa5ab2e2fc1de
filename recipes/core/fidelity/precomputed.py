"""Precomputed features and statistics."""

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recipes.core.errors import UserError
from recipes.core.foreign import read_tensors, reading

FACTOR = 100  # an .npz may unpack to this many times its size
LARGEST = 1e100  # the square of this is still finite


@dataclass
class Precomputed:
    """The content of a file.

    Attributes:
        path: the file.
        arrays: its tensors by name: features (n, d), or `mu` (d) and `sigma` (d, d).
    """

    path: Path
    arrays: dict[str, torch.Tensor]

    def features(self, layer: str, metric: str) -> torch.Tensor:
        """The features of a layer; if there is only one array, it is used for any layer.

        Raises:
            UserError: the file has none.
        """
        tables = {name: array for name, array in self.arrays.items() if array.ndim == 2 and name != "sigma"}
        if layer in tables:
            return tables[layer]
        if len(tables) == 1:
            return next(iter(tables.values()))
        if not tables:
            raise UserError(f"{self.path} holds statistics (mu, sigma), which are enough for fid but not for {metric}")
        raise UserError(f"{self.path} has no features {layer}, only {', '.join(tables)}")

    def statistics(self) -> dict[str, np.ndarray] | None:
        """`mu` and `sigma` as torch-fidelity has them, or None."""
        if not {"mu", "sigma"} <= set(self.arrays):
            return None
        return {name: self.arrays[name].numpy() for name in ("mu", "sigma")}


def read(path: Path) -> Precomputed | None:
    """Reads features or statistics; None for an .npz that holds something else, such as images.

    Accepted are .safetensors and .npz with features (n, d) by the name of their layer, or under one name; and the
    usual `mu` (d) and `sigma` (d, d) of reference statistics. Half floats become float32.

    Raises:
        UserError: the file is damaged or unpacks to more than `FACTOR` times its size, or arrays are empty, of shapes
            that do not fit, or not finite.
    """
    arrays = read_tensors(path) if path.suffix == ".safetensors" else _read_npz(path)
    arrays = {name: array for name, array in arrays.items() if array.is_floating_point() and array.ndim in (1, 2)}
    arrays = {name: array if array.element_size() in (4, 8) else array.float() for name, array in arrays.items()}
    if not arrays:
        return None
    for name, array in arrays.items():
        if not array.numel():
            raise UserError(f"{path}: {name[:100]} has the shape {list(array.shape)}, which is empty")
        if not (array.abs() <= LARGEST).all():
            raise UserError(f"{path}: {name[:100]} has values that are not finite, or beyond {LARGEST:g}")
    mu, sigma = arrays.get("mu"), arrays.get("sigma")
    if (mu is None) != (sigma is None) or (mu is not None and (mu.ndim != 1 or sigma.shape != (len(mu), len(mu)))):
        shapes = ", ".join(f"{name[:100]} {list(array.shape)}" for name, array in list(arrays.items())[:5])
        raise UserError(f"{path}: statistics must be mu (d) and sigma (d, d), not {shapes}")
    if mu is None and not any(array.ndim == 2 for array in arrays.values()):
        return None
    return Precomputed(path, arrays)


def _read_npz(path: Path) -> dict[str, torch.Tensor]:
    """The arrays of floats in an .npz, after checking their declared shapes; other arrays are left out."""
    arrays, limit = {}, FACTOR * (path.stat().st_size + 1000)
    with reading(f"{path} cannot be read"), zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as file:
        for part in archive.infolist():
            with archive.open(part) as member:
                if member.read(6) != np.lib.format.MAGIC_PREFIX:
                    continue
                version = tuple(member.read(2))
                read_header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read_header(member)
            if dtype.kind != "f":
                continue
            size = math.prod(shape) * dtype.itemsize
            limit -= size
            if min(shape, default=0) < 0 or size > part.file_size or limit < 0:
                raise UserError(
                    f"{path}: {part.filename[:100]} declares the shape {list(shape)[:5]}, for which the file is "
                    "too small"
                )
            array = file[part.filename]
            wanted = np.dtype(np.float32 if array.itemsize < 8 else np.float64)  # of any byte order and width
            arrays[part.filename.removesuffix(".npy")] = torch.from_numpy(
                np.ascontiguousarray(array.astype(wanted, copy=False))
            )
    return arrays
