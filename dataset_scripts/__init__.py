"""Any image dataset in one line, its rows as CHW tensors.

    from dataset_scripts import load_dataset

    ds = load_dataset("digits", split="train")
    ds[0]["image"]  # a float32 tensor (1, 8, 8) in 0..1

Findings in the data are logged as warnings of the logger `dataset_scripts`.
"""

__version__ = "0.1.0"

from dataset_scripts.core.errors import DataError, TrustError
from dataset_scripts.core.image.collate import detection_collate, pad_collate
from dataset_scripts.core.image.transforms import ToTensor
from dataset_scripts.core.load.loading import load_dataset
from dataset_scripts.core.load.patch_datasets import disable, enable

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
