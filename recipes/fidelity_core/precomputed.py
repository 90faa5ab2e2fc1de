"""Features and statistics that were computed before."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from recipes.core.runtime import UserError


@dataclass
class Precomputed:
    """What a file holds.

    Attributes:
        path: the file.
        arrays: its tensors by name: features (n, d), or `mu` (d) and `sigma` (d, d).
    """

    path: Path
    arrays: dict[str, torch.Tensor]

    def features(self, layer: str, metric: str) -> torch.Tensor:
        """The features of a layer; where there is one array only, it is taken for any layer.

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
    usual `mu` (d) and `sigma` (d, d) of reference statistics.

    Raises:
        UserError: a damaged file, numbers that are not finite, shapes that do not fit.
    """
    try:
        if path.suffix == ".safetensors":
            arrays = safetensors.torch.load_file(path)
        else:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files if file[name].dtype.kind in "fiub"}
            arrays = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    except (safetensors.SafetensorError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    arrays = {name: array for name, array in arrays.items() if array.is_floating_point() and array.ndim in (1, 2)}
    if not arrays:
        return None
    mu, sigma = arrays.get("mu"), arrays.get("sigma")
    if (mu is None) != (sigma is None) or (mu is not None and sigma.shape != (len(mu), len(mu))):
        shapes = {name: tuple(array.shape) for name, array in arrays.items()}
        raise UserError(f"{path}: statistics are mu (d) and sigma (d, d), not {shapes}")
    for name, array in arrays.items():
        if not array.isfinite().all():
            raise UserError(f"{path}: {name} has values that are not finite")
    if mu is None and not any(array.ndim == 2 for array in arrays.values()):
        return None
    return Precomputed(path, arrays)
