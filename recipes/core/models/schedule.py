"""Learning rate and average as functions of the samples seen: nothing to step, nothing to save."""

import math

import torch
from torch import nn

from recipes.core.errors import UserError


def learning_rate(samples: float, total: int, schedule: str, warmup: int) -> float:
    """The learning rate after `samples` of `total` samples, as a share of its peak.

    It rises linearly over `warmup` samples; then `cosine` falls as half a cosine to 0 at the end, `linear` falls
    linearly, and `constant` stays.

    Raises:
        UserError: there is no such schedule.
    """
    if schedule not in ("cosine", "linear", "constant"):
        raise UserError(f"optim.schedule={schedule}: choose cosine, linear or constant")
    if samples < warmup:
        return samples / warmup
    done = (samples - warmup) / max(1, total - warmup)
    return {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}[schedule]


def ema_decay(samples: int, batch: int, half_life: int) -> float:
    """The share of the average that an update keeps: a weight's part in it is halved every `half_life` samples.

    The half-life is at most a twentieth of the samples seen, so the random start is soon forgotten (Karras et al.
    2022, "Elucidating the Design Space of Diffusion-Based Generative Models", whose EMA this is).
    """
    return 0.5 ** (batch / max(1e-8, min(half_life, 0.05 * samples)))


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves every parameter of `average` to that of `model`; buffers are copied."""
    mine, theirs = list(average.parameters()), list(model.parameters())
    torch._foreach_lerp_(mine, theirs, 1 - decay)
    for one, other in zip(average.buffers(), model.buffers()):
        one.copy_(other)
