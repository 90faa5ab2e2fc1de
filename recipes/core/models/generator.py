"""A trained flow as a generator of images."""

from collections.abc import Sequence

import torch
from torch import nn

from recipes.core.models.flow import follow, guided


class Generator(nn.Module):
    """Draws images: noise in, pixels out. Only the noise is random.

    Args:
        network: a `UNet`.
        channels, size: C and S, of the images.
        mean, std: per channel, of the values in 0..1 that the network was trained on.
        guidance: 1 follows the velocity of the label; more moves further away from what all classes share, which makes
            images more typical of their class and less varied.
        steps: of the midpoint rule.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: int,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        guidance: float,
        steps: int,
    ):
        super().__init__()
        self.network, self.channels, self.size, self.guidance, self.steps = network, channels, size, guidance, steps
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    @property
    def noise_size(self) -> int:
        return self.channels * self.size**2

    @torch.no_grad()
    def forward(self, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Images, uint8 (B, 3, S, S); grey is repeated.

        Args:
            noise: normal, float32 (B, C * S * S).
            labels: int64 (B,).
        """
        start = noise.to(self.mean.dtype).view(-1, self.channels, self.size, self.size)
        x = follow(guided(self.network, labels, self.guidance), start, self.steps)
        pixels = (x * self.std + self.mean).clamp(0, 1).mul(255).round().to(torch.uint8)
        return pixels.expand(-1, 3, -1, -1)
