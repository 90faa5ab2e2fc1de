"""Flow matching: straight paths from noise to images, and the way along their mean velocity.

Lipman et al. 2023, "Flow Matching for Generative Modeling": at time t of [0, 1], a path from noise z to an image x is at
(1 - t) z + t x, and moves by x - z. A network that predicts this from the place, the time and the class has learned the
velocity of a flow that carries the normal distribution into the distribution of the images.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from recipes.core.ranks.random_numbers import normal, uniform

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (places (B, …), times (B,)) -> (B, …)

NOISE, TIME, LABEL = 0xF10, 0xF11, 0xF12  # set these random numbers apart from others of the same seed


def draw_noise(indices: np.ndarray, shape: tuple[int, ...], *keys: int) -> torch.Tensor:
    """Normal noise, float32 (N, *shape), of which row i depends on `keys` and `indices[i]` alone."""
    return torch.from_numpy(normal(indices, int(np.prod(shape)), *keys, NOISE)).float().view(-1, *shape)


def hide_labels(labels: torch.Tensor, indices: np.ndarray, share: float, classes: int, *keys: int) -> torch.Tensor:
    """Replaces a share of the labels by `classes`, the unknown class; which ones depends on `keys` and `indices` alone.

    The network then learns the velocity of all classes together besides that of each, which guidance needs.

    Args:
        labels: int64 (B,).
        indices: int64 (B,).
    """
    hidden = torch.from_numpy(uniform(indices, 1, *keys, LABEL)[:, 0] < share)
    return labels.masked_fill(hidden.to(labels.device), classes)


def flow_losses(
    network: nn.Module, x: torch.Tensor, labels: torch.Tensor, indices: np.ndarray, *keys: int
) -> torch.Tensor:
    """The mean squared error of the predicted velocity of each image, float32 (B,), at one time of one path.

    Noise and time depend on `keys` and the image's index alone.

    Args:
        network: from places, times and labels to velocities, as `UNet`.
        x: images, float32 (B, C, S, S).
        labels: int64 (B,).
        indices: int64 (B,).
    """
    noise = torch.empty_like(x).copy_(draw_noise(indices, tuple(x.shape[1:]), *keys))
    times = torch.from_numpy(uniform(indices, 1, *keys, TIME)[:, 0]).float().to(x.device)
    predicted = network(torch.lerp(noise, x, times.view(-1, 1, 1, 1)), times, labels)
    return (predicted.float() - (x - noise)).square().mean((1, 2, 3))


def guided(network: nn.Module, labels: torch.Tensor, guidance: float) -> Velocity:
    """The velocity with classifier-free guidance (Ho and Salimans 2022): `guidance` times the way from the velocity of
    all classes to that of the label; 1 is the latter, at half the cost."""
    if guidance == 1:
        return lambda x, times: network(x, times, labels)
    both = torch.cat([labels, torch.full_like(labels, network.classes)])

    def velocity(x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        told, hidden = network(torch.cat([x, x]), torch.cat([times, times]), both).chunk(2)
        return hidden + guidance * (told - hidden)

    return velocity


def follow(velocity: Velocity, x: torch.Tensor, steps: int) -> torch.Tensor:
    """Moves x from time 0 to time 1 by the midpoint rule, whose error falls with the square of the number of steps."""
    for step in range(steps):
        start = x.new_full((len(x),), step / steps)
        middle = x + velocity(x, start) / (2 * steps)
        x = x + velocity(middle, start + 0.5 / steps) / steps
    return x
