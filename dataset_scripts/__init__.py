"""Any image dataset in one line, its rows as CHW tensors.

    from dataset_scripts import load_dataset

    ds = load_dataset("digits", split="train")
    ds[0]["image"]  # a float32 tensor (1, 8, 8) in 0..1

Findings in the data are logged as warnings of the logger `dataset_scripts`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from dataset_scripts.core.load import moved as moved  # finds modules under their old names

if TYPE_CHECKING:
    from dataset_scripts.core.errors import DataError, TrustError
    from dataset_scripts.core.image.collate import detection_collate, pad_collate
    from dataset_scripts.core.image.transforms import ToTensor
    from dataset_scripts.core.load.loading import load_dataset
    from dataset_scripts.core.load.patch_datasets import disable, enable

__version__ = "0.1.0"

__all__ = [
    "DataError",
    "ToTensor",
    "TrustError",
    "detection_collate",
    "disable",
    "enable",
    "load_dataset",
    "pad_collate",
]
_HOMES = {
    "core.errors": ("DataError", "TrustError"),
    "core.image.collate": ("detection_collate", "pad_collate"),
    "core.image.transforms": ("ToTensor",),
    "core.load.loading": ("load_dataset",),
    "core.load.patch_datasets": ("disable", "enable"),
}


def __getattr__(name: str) -> Any:
    """Imports on demand: torch and datasets take seconds, and reading options or starting processes needs neither."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
