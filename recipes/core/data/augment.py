"""Turns batches of `Images` into the input of a model, with augmentation, on the model's device."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from recipes.core.config.tasks import Augment
from recipes.core.data.auto_augment import BINS, AutoAugment
from recipes.core.data.draws import ERASE, FLIP, SHIFT, auto_columns
from recipes.core.errors import UserError

ERASED_AREA = (0.02, 0.33)  # of the image
ERASED_RATIO = (0.3, 3.3)  # height to width


class Prepare:
    """Turns a batch of `Images` into the model's input: shift, flip, automatic augmentation, scaling, erasing.

    The result for a sample depends only on its own pixels and draws.

    Args:
        mean, std: per channel, of values in 0..1.
        device: where the work is done.
        augment: None for evaluation.

    Raises:
        UserError: an invalid option of `augment`.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], device: torch.device, augment: Augment | None = None
    ):
        self.mean = torch.tensor(mean, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        self.std = torch.tensor(std, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        self.device, self.augment = device, augment or Augment()
        check(self.augment)
        kind = self.augment.auto
        self.auto = AutoAugment(kind, self.augment.auto_ops, self.augment.auto_magnitude) if kind else None

    def __call__(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the input, float32 (B, C, S, S), and the labels.

        Args:
            batch: `pixels`, uint8 (B, S, S, C); `labels` of any kind; `draws`, float32 (B, D) in [0, 1] with D from
                `recipes.core.data.draws`.
        """
        pixels = batch["pixels"].to(self.device, non_blocking=True)
        labels = batch["labels"].to(self.device, non_blocking=True)
        draws = batch["draws"].to(self.device, non_blocking=True)
        if self.augment.pad:
            pixels = shift(pixels, self.augment.pad, draws[:, SHIFT])
        count, size, _, channels = pixels.shape
        # One channel is a view too; permuting it would leave strides that confuse the memory format of gradients.
        x = pixels.view(count, 1, size, size) if channels == 1 else pixels.permute(0, 3, 1, 2)
        if self.augment.flip:
            x = torch.where((draws[:, FLIP] < self.augment.flip).view(-1, 1, 1, 1), x.flip(3), x)
        if self.auto:
            x = self.auto(x, batch["draws"][:, auto_columns(self.auto.ops)].cpu())
        x = x.float().div_(255).sub_(self.mean).div_(self.std)
        if self.augment.erase:
            x = erase(x, self.augment.erase, batch["draws"][:, ERASE].cpu())
        return x, labels


def check(augment: Augment) -> None:
    if augment.auto not in (None, "trivial", "rand"):
        raise UserError(f"augment.auto={augment.auto}: choose trivial, rand or null")
    if augment.auto_ops < 1:
        raise UserError(f"augment.auto_ops={augment.auto_ops} must be at least 1")
    if not 0 <= augment.auto_magnitude < BINS:
        raise UserError(f"augment.auto_magnitude={augment.auto_magnitude}: choose 0 … {BINS - 1}")
    for name in ("flip", "erase"):
        if not 0 <= getattr(augment, name) <= 1:
            raise UserError(f"augment.{name}={getattr(augment, name)} is a probability: choose 0 … 1")
    for name in ("pad", "mixup", "cutmix"):
        if getattr(augment, name) < 0:
            raise UserError(f"augment.{name}={getattr(augment, name)} must be at least 0")


def shift(pixels: torch.Tensor, pad: int, draws: torch.Tensor) -> torch.Tensor:
    """Shifts each image (B, S, S, C) by -pad … pad pixels in x and y, given by `draws` (B, 2); the gap is black (0)."""
    count, size = pixels.shape[:2]
    padded = F.pad(pixels, (0, 0, pad, pad, pad, pad))
    offsets = (draws * (2 * pad + 1)).long().clamp_(max=2 * pad)
    span = torch.arange(size, device=pixels.device)
    columns, rows = offsets[:, :1] + span, offsets[:, 1:] + span
    return padded[torch.arange(count, device=pixels.device)[:, None, None], rows[:, :, None], columns[:, None, :]]


def erase(x: torch.Tensor, probability: float, draws: torch.Tensor) -> torch.Tensor:
    """Sets a rectangle to 0, the mean colour (Zhong et al. 2017, "Random Erasing Data Augmentation").

    Its area is uniform in ERASED_AREA, the logarithm of its ratio is uniform in ERASED_RATIO; a side that is longer
    than the image is clipped.

    Args:
        x: float32 (B, C, S, S), scaled.
        probability: the probability of erasing a rectangle, for each image.
        draws: (B, 5) in [0, 1], on the CPU: whole pixels must not depend on the device, which may have no float64.
    """
    size = x.shape[-1]
    whether, area, ratio, left, top = draws.double().unbind(1)
    area = (ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area) * size**2
    low, high = math.log(ERASED_RATIO[0]), math.log(ERASED_RATIO[1])
    ratio = (low + (high - low) * ratio).exp()
    height, width = ((area * ratio).sqrt().round().clamp(1, size), (area / ratio).sqrt().round().clamp(1, size))
    top, left = (top * (size - height + 1)).floor(), (left * (size - width + 1)).floor()
    height = height.where(whether < probability, 0)
    edges = torch.stack([top, top + height, left, left + width], 1).long().to(x.device)
    top, bottom, left, right = edges.unsqueeze(2).unbind(1)
    span = torch.arange(size, device=x.device)
    rows, columns = (span >= top) & (span < bottom), (span >= left) & (span < right)
    return x.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0.0)
