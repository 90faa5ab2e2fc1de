"""Boxes, masks and keypoints as the `tv_tensors` that `torchvision.transforms.v2` moves along with the image."""

from typing import Any

import numpy as np
import PIL.Image
import torch
from torchvision import tv_tensors

from dataset_scripts.core.errors import reading
from dataset_scripts.core.image.rle import decode_codes

_EMPTY = {  # what a list without items would hold
    "category": torch.int64,
    "id": torch.int64,
    "area": torch.float32,
    "iscrowd": torch.bool,
    "difficult": torch.bool,
    "truncated": torch.bool,
    "occluded": torch.bool,
    "ignore": torch.bool,
}


def mask_tensor(mask: Any) -> tv_tensors.Mask:
    """A mask of ids, a Pillow image or an array (H, W), as int64 (H, W), values unchanged.

    Raises:
        TypeError: it has several channels, so its values are colours.
    """
    array = np.asarray(mask)
    if array.ndim != 2:
        channels = array.shape[-1]
        raise TypeError(
            f"a mask holds one id per pixel, not {channels} channels: load it as an image, or map its colours to ids"
        )
    return tv_tensors.Mask(torch.from_numpy(array.astype(np.int64)))


def object_tensors(objects: dict[str, Any], canvas: tuple[int, int]) -> dict[str, Any]:
    """The lists of a row's `objects` as tensors.

    Args:
        objects: `bbox` and others, lists of N items.
        canvas: (height, width) of the image.

    Returns:
        `bbox` as BoundingBoxes (N, 4) float32, XYWH in pixels; `segmentation` (run-length codes) as `mask`, a Mask
        (N, H, W) of bool; `keypoints` (N, K, 3) as KeyPoints (N, K, 2) and `visible` (N, K), where objects with fewer points than K get
        points at 0, 0 that are not visible; other numbers as tensors
        of N items; text stays a list, and so do segmentations that are not run-length codes.

    Raises:
        DataError: invalid boxes or keypoints, or run-length codes that `decode_codes` refuses. A row need not come
            from a script of this package, which would already have checked them.
    """
    count = len(objects["bbox"])
    tensors = {}
    for name, values in objects.items():
        if name == "bbox":
            with reading("objects: bbox is not four numbers for each object"):
                boxes = torch.tensor(values, dtype=torch.float32).reshape(-1, 4)
            tensors[name] = tv_tensors.BoundingBoxes(boxes, format="XYWH", canvas_size=canvas)
        elif name == "segmentation" and all(isinstance(code, dict) for code in values):
            tensors["mask"] = tv_tensors.Mask(torch.from_numpy(decode_codes(values, canvas, "objects: segmentation")))
        elif name == "keypoints":
            with reading("objects: keypoints are not x, y, visible for each point"):
                longest = max(map(len, values), default=0)
                filled = [[*points, *[[0.0, 0.0, 0.0]] * (longest - len(points))] for points in values]
                points = torch.tensor(filled, dtype=torch.float32)
                points = points.reshape(count, -1, 3) if count else points.reshape(0, 0, 3)
            tensors[name] = tv_tensors.KeyPoints(points[..., :2], canvas_size=canvas)
            tensors["visible"] = points[..., 2].long()
        elif not values and name in _EMPTY:
            tensors[name] = torch.zeros(0, dtype=_EMPTY[name])
        elif values and all(isinstance(value, (bool, int, float)) for value in values):
            tensors[name] = torch.tensor(values)
        else:
            tensors[name] = values
    return tensors


def image_tensor(image: torch.Tensor) -> tv_tensors.Image:
    """Marks a tensor (C, H, W) as the image that boxes and masks belong to."""
    return tv_tensors.Image(image)


def canvas_of(image: Any) -> tuple[int, int]:
    """(height, width) of a Pillow image or an array (H, W, …)."""
    return (image.height, image.width) if isinstance(image, PIL.Image.Image) else tuple(image.shape[:2])
