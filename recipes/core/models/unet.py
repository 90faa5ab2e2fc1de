"""A U-Net: numbers for every pixel, of an image alone, or by time and class too."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from recipes.core.config.scenes import Segmenter
from recipes.core.config.tasks import Unet
from recipes.core.errors import UserError
from recipes.core.models.networks import groups

LIMITS = {"width": 1024, "depth": 10, "blocks": 64}


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions; a condition of so many numbers, if there is one, scales and shifts the features between them.

    The second starts at zero, so a block starts as its shortcut.
    """

    def __init__(self, inputs: int, outputs: int, condition: int | None):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups(inputs), inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.condition = None if condition is None else nn.Linear(condition, 2 * outputs)
        self.norm2 = nn.GroupNorm(groups(outputs), outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        y = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.condition is not None:
            scale, shift = self.condition(condition)[:, :, None, None].chunk(2, dim=1)
            y = y * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(F.silu(y))


class UNet(nn.Module):
    """A small residual U-Net (Ronneberger et al. 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation"),
    as the velocity of a flow conditioned on time and class; or, without `classes`, as a plain function of the image.

    Group normalisation makes a sample's output independent of its batch.

    Args:
        config: `depth` resolutions, each half of the one above, with `blocks` residual blocks on the way down and as many
            on the way up; `width` channels at the first of them, 2 and 4 times as many below.
        channels: of the images.
        outputs: numbers for each pixel.
        classes: K; label K stands for an unknown class. None for a network without time and class.

    Raises:
        UserError: an option is less than 1 or unreasonably large, or the width is odd.
    """

    def __init__(self, config: Unet | Segmenter, channels: int, outputs: int, classes: int | None = None):
        super().__init__()
        for name, most in LIMITS.items():
            if not 1 <= getattr(config, name) <= most:
                raise UserError(f"model.{name}={getattr(config, name)} must be 1 to {most:,}")
        if config.width % 2 and classes is not None:
            raise UserError(
                f"model.width={config.width} must be even: half of the channels are sines of the time, the others "
                "cosines"
            )
        self.classes, self.width = classes, config.width
        condition = None if classes is None else 4 * config.width
        widths = [config.width * min(2**level, 4) for level in range(config.depth)]

        def stage(inputs: int, outputs: int) -> nn.ModuleList:
            ins = [inputs] + [outputs] * (config.blocks - 1)
            return nn.ModuleList(ResidualBlock(inputs, outputs, condition) for inputs in ins)

        if classes is not None and condition is not None:
            embedding = [nn.Linear(config.width, condition), nn.SiLU(), nn.Linear(condition, condition)]
            self.embed_time = nn.Sequential(*embedding)
            self.embed_class = nn.Embedding(classes + 1, condition)
        self.stem = nn.Conv2d(channels, config.width, 3, padding=1)
        self.down = nn.ModuleList(stage(above, width) for above, width in zip(widths[:1] + widths, widths))
        self.shrink = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for width in widths[:-1])
        self.middle = ResidualBlock(widths[-1], widths[-1], condition)
        pairs = list(zip(widths, widths[1:]))[::-1]
        self.grow = nn.ModuleList(nn.ConvTranspose2d(below, width, 2, stride=2) for width, below in pairs)
        self.up = nn.ModuleList(stage(2 * width, width) for width, _ in pairs)
        self.norm = nn.GroupNorm(groups(config.width), config.width)
        self.head = nn.Conv2d(config.width, outputs, 3, padding=1)

    def forward(
        self, x: torch.Tensor, times: torch.Tensor | None = None, labels: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The velocity, or what else the outputs are, float32 (B, outputs, S, S).

        Args:
            x: float32 (B, C, S, S), S a multiple of 2 ** (depth - 1).
            times: float32 (B,) in [0, 1].
            labels: int64 (B,) in 0 … K.
        """
        condition = None
        if times is not None:
            condition = F.silu(self.embed_time(waves(times, self.width)) + self.embed_class(labels))
        x, kept = self.stem(x), []
        for level, blocks in enumerate(self.down):
            if level:
                kept.append(x)
                x = self.shrink[level - 1](x)
            for block in blocks:
                x = block(x, condition)
        x = self.middle(x, condition)
        for grow, blocks in zip(self.grow, self.up):
            x = torch.cat([grow(x), kept.pop()], 1)
            for block in blocks:
                x = block(x, condition)
        return self.head(F.silu(self.norm(x)))


def waves(times: torch.Tensor, count: int) -> torch.Tensor:
    """Sines and cosines of times in [0, 1] at count / 2 frequencies from 1 to 1000, float32 (B, count)."""
    steps = torch.linspace(0, 1, count // 2, device=times.device)
    angles = times[:, None] * torch.exp(math.log(1000) * steps)
    return torch.cat([angles.sin(), angles.cos()], 1)
