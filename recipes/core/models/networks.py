"""Our own networks for small images."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn


class Shortcut(nn.Module):
    """Option A of He et al.: takes every second pixel and pads the new channels with zeros; no parameters."""

    def __init__(self, extra: int):
        super().__init__()
        self.extra = extra

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))


class Block(nn.Module):
    """Two 3x3 convolutions with pre-activation (He et al. 2016, "Identity Mappings in Deep Residual Networks")."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups(inputs), inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(groups(outputs), outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else Shortcut(outputs - inputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.relu(self.norm2(y)))


class SmallResNet(nn.Module):
    """The CIFAR network of He et al. (2016, section 4.2) of depth 6n + 2, with group normalisation.

    Three stages of n blocks with 1, 2 and 4 times `width` channels, the second and third at half the resolution of
    the one before. Group normalisation (Wu and He 2018) makes a sample's output independent of its batch, so the
    result does not depend on how a batch is spread over processes.
    """

    def __init__(self, n: int, channels: int, classes: int, width: int):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        blocks, inputs = [], width
        for stage in range(3):
            for index in range(n):
                outputs = width * 2**stage
                blocks.append(Block(inputs, outputs, stride=2 if stage and not index else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.GroupNorm(groups(inputs), inputs)
        self.head = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.blocks(self.stem(x))))
        return self.head(x.mean(dim=(2, 3)))


def groups(channels: int) -> int:
    """Groups of about 8 channels."""
    return next(count for count in range(max(1, channels // 8), 0, -1) if channels % count == 0)


class ConvGroup(nn.Module):
    """Two 3x3 convolutions with half the resolution after the first."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1, self.norm1 = dirac_convolution(inputs, outputs), offset_norm(outputs)
        self.conv2, self.norm2 = dirac_convolution(outputs, outputs), offset_norm(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class CifarNet(nn.Module):
    """A network that learns small images in few epochs, with ideas from airbench (Jordan 2024, "94% on CIFAR-10 in 3.29
    Seconds on a Single GPU").

    A fixed convolution whitens patches of 2x2 pixels, see `whiten`. Three `ConvGroup`s with `width`, 4 `width` and 4
    `width` channels follow, of filters that begin as a partial identity and batch normalisation that only shifts. The
    largest value of each channel goes to a head whose logits begin small.

    Images have 9 pixels or more on each side.
    """

    def __init__(self, channels: int, classes: int, width: int):
        super().__init__()
        self.stem = nn.Conv2d(channels, 8 * channels, 2)
        self.stem.weight.requires_grad = False
        widths = [8 * channels, width, 4 * width, 4 * width]
        self.groups = nn.Sequential(*(ConvGroup(*pair) for pair in itertools.pairwise(widths)))
        self.head = nn.Linear(widths[-1], classes, bias=False)

    @torch.no_grad()
    def whiten(self, images: torch.Tensor, floor: float = 5e-4) -> None:
        """Sets the first filters to the principal axes of patches of 2x2 pixels, and to their negatives.

        The responses to these images then have mean square 1, and do not correlate.

        Args:
            images: float32 (N, C, H, W), as the network will see them; a few thousand are enough.
            floor: added to the variances, for axes on which patches hardly differ.
        """
        channels = images.shape[1]
        patches = F.unfold(images, 2).transpose(1, 2).reshape(-1, 4 * channels).cpu().double()
        variances, axes = torch.linalg.eigh(patches.T @ patches / len(patches))
        axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # an axis has no direction: choose one
        filters = (axes / (variances + floor).sqrt()).T.reshape(4 * channels, channels, 2, 2)
        self.stem.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.groups(F.gelu(self.stem(x)))
        return self.head(x.amax(dim=(2, 3))) / 9


def dirac_convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution whose first filters pass the inputs on; the others begin at random."""
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(convolution.weight.data[:inputs])
    return convolution


def offset_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation without a learned scale, whose running statistics keep 0.6 of the past at each step."""
    norm = nn.BatchNorm2d(channels, momentum=0.4)
    norm.weight.requires_grad = False
    return norm
