"""Collate functions for rows that `default_collate` cannot stack: images of different sizes, and boxes."""

from typing import Any

import torch
from torch.nn.functional import pad
from torch.utils.data import default_collate

_XYXY = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]])  # x, y, w, h -> x1, y1, x2, y2


def pad_collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Stacks rows whose images differ in size, padding at the right and at the bottom.

    Returns:
        `image` (B, C, H, W), zeros beyond each image, and `image_size` (B, 2), height and width of each; masks (B, H, W)
        with 255 beyond, the usual `ignore_index` of losses; numbers and strings as in `default_collate`; `objects`
        as a list of B dicts.

    Raises:
        RuntimeError: images with different channels.

    Example:
        >>> rows = [{"image": torch.ones(3, 4, 5), "label": 0}, {"image": torch.ones(3, 2, 7), "label": 1}]
        >>> batch = pad_collate(rows)
        >>> batch["image"].shape, batch["image_size"].tolist(), batch["label"]
        (torch.Size([2, 3, 4, 7]), [[4, 5], [2, 7]], tensor([0, 1]))
    """
    height = max(row["image"].shape[-2] for row in rows)
    width = max(row["image"].shape[-1] for row in rows)
    batch = {"image_size": torch.tensor([row["image"].shape[-2:] for row in rows])}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if all(isinstance(value, torch.Tensor) and value.ndim >= 2 for value in values):
            fill = 0 if values[0].is_floating_point() or _is_image(values[0]) else 255
            values = [value.as_subclass(torch.Tensor) for value in values]
            batch[name] = torch.stack(
                [pad(value, (0, width - value.shape[-1], 0, height - value.shape[-2]), value=fill) for value in values]
            )
        elif isinstance(values[0], (dict, list)) or any(value is None for value in values):
            batch[name] = values
        else:
            batch[name] = default_collate(values)
    return batch


def detection_collate(rows: list[dict[str, Any]]) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
    """Turns rows with `objects` into the input of torchvision's detectors: `model(images, targets)`.

    Returns:
        The images (C, H, W), and for each a dict of `boxes` (N, 4) x1, y1, x2, y2 in pixels, `labels` (N,) = category
        + 1 (0 is the background), and `masks` (N, H, W) uint8 if there are any. Crowds, which are not single
        objects, and boxes without area are left out, as in the training of those detectors.

    Example:
        >>> objects = {"bbox": torch.tensor([[1.0, 2.0, 3.0, 4.0]]), "category": torch.tensor([0])}
        >>> images, targets = detection_collate([{"image": torch.zeros(3, 8, 9), "objects": objects}])
        >>> targets
        [{'boxes': tensor([[1., 2., 4., 6.]]), 'labels': tensor([1])}]
    """
    images, targets = [], []
    for row in rows:
        objects = row["objects"]
        boxes = objects["bbox"].as_subclass(torch.Tensor)
        keep = (boxes[:, 2:] > 0).all(1)
        if "iscrowd" in objects:
            keep &= ~objects["iscrowd"].bool()
        target = {"boxes": (boxes @ _XYXY.to(boxes))[keep], "labels": objects["category"][keep] + 1}
        if "mask" in objects:
            target["masks"] = objects["mask"].as_subclass(torch.Tensor)[keep].to(torch.uint8)
        images.append(row["image"].as_subclass(torch.Tensor))
        targets.append(target)
    return images, targets


def _is_image(value: torch.Tensor) -> bool:
    from torchvision.tv_tensors import Image  # here: importing torchvision takes as long as torch

    return isinstance(value, Image)
