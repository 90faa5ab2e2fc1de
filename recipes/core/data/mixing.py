"""Mixup and CutMix that pair the same samples in the same way on any number of processes."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from recipes.core.config.tasks import Augment
from recipes.core.errors import UserError
from recipes.core.ranks.random_numbers import derive

MIXING = 0x313  # sets these random numbers apart from others of the same seed and position


def partners(micro: int, processes: int, shards: int) -> torch.Tensor:
    """The partner of each image of a micro-batch: an index into the same micro-batch, int64 (micro,).

    Image q of a global batch is on rank q % P at place q // P. Its partner is q + V if q // V is even, else q - V,
    for V shards. As P divides V, the partner is on the same rank, V / P places away: who is mixed with whom does
    not depend on P.

    Args:
        micro: images that a process passes through the model at a time.
        processes, shards: P and V.

    Raises:
        UserError: P does not divide V, or 2 V / P does not divide `micro`.
    """
    if shards % processes:
        raise UserError(f"mixup and cutmix need shards={shards} to be a multiple of the {processes} processes")
    away = shards // processes
    if micro % (2 * away):
        raise UserError(
            f"mixup and cutmix pair images {away} places apart (shards={shards} on {processes} processes): the {micro} "
            f"images that a process takes at a time must be a multiple of {2 * away}: change batch, accumulate or "
            "shards"
        )
    place = torch.arange(micro)
    return torch.where(place // away % 2 == 0, place + away, place - away)


def mix(
    x: torch.Tensor,
    labels: torch.Tensor,
    classes: int,
    augment: Augment,
    seed: int,
    position: int,
    partner: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixes each image with its partner, all of a global batch in the same way.

    With both `augment.mixup` and `augment.cutmix`, each batch takes one of them, with equal chance.

    mixup: the weighted sum of both (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization"), with a weight from
    Beta(mixup, mixup). cutmix: a rectangle comes from the partner (Yun et al. 2019, "CutMix: Regularization Strategy to
    Train Strong Classifiers with Localizable Features"), whose area is 1 - weight before it is clipped to the image.

    Args:
        x: float32 (B, C, H, W).
        labels: int64 (B,), of `classes` classes.
        augment: with `mixup` or `cutmix` above 0.
        seed, position: the weight, the rectangle and the choice depend on them; position is that of the global batch.
        partner: int64 (B,), see `partners`.

    Returns:
        The mixed images, and float32 (B, classes): the share of each class in them.
    """
    rng = np.random.default_rng(derive(seed, position, MIXING))
    partner = partner.to(x.device)
    cut = rng.random() < 0.5 if augment.mixup and augment.cutmix else augment.cutmix > 0
    alpha = augment.cutmix if cut else augment.mixup
    weight = rng.beta(alpha, alpha)
    if cut:
        left, top, right, bottom = rectangle(rng, x.shape[3], x.shape[2], 1 - weight)
        x = x.clone()
        x[:, :, top:bottom, left:right] = x[partner, :, top:bottom, left:right]
        weight = 1 - (right - left) * (bottom - top) / (x.shape[2] * x.shape[3])
    else:
        x = x * weight + x[partner] * (1 - weight)
    targets = F.one_hot(labels, classes).float()
    return x, targets * weight + targets[partner] * (1 - weight)


def rectangle(rng: np.random.Generator, width: int, height: int, area: float) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a part with the shape of the image and this share of it, around a random pixel."""
    x, y = int(rng.integers(width)), int(rng.integers(height))
    half_width, half_height = (int(width * math.sqrt(area) / 2), int(height * math.sqrt(area) / 2))
    return (max(0, x - half_width), max(0, y - half_height), min(width, x + half_width), min(height, y + half_height))
