"""Image classifiers: residual networks for small images, and torchvision's by name."""

import difflib
import re

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from recipes.core.runtime import UserError


def build_model(name: str, channels: int, classes: int, width: int) -> nn.Module:
    """Builds an untrained classifier from images (N, channels, H, W) to logits (N, classes).

    Args:
        name: `resnetD` with D = 6n + 2 below 18 or not one of torchvision's (resnet8, resnet14, resnet20, resnet32,
            …, resnet110) for images of up to about 64 pixels, or a classifier of torchvision
            (`torchvision.models.list_models(module=torchvision.models)`), whose input has 3 channels.
        width: channels of the first stage of our networks.

    Raises:
        UserError: there is no such model, or it does not take so many channels.
    """
    available = torchvision.models.list_models(module=torchvision.models)
    if name in available:
        if channels != 3:
            raise UserError(f"model.name={name} takes 3 channels, not {channels}: set data.channels=3")
        options = {"aux_logits": False} if "inception" in name or name == "googlenet" else {}
        return torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    depth = re.fullmatch(r"resnet(\d+)", name)
    if depth is None or int(depth[1]) < 8 or (int(depth[1]) - 2) % 6:
        close = ", ".join(difflib.get_close_matches(name, available)) or "resnet18, convnext_tiny, vit_b_16, …"
        raise UserError(
            f"no model.name={name}: choose resnet8, resnet14, resnet20, … or a classifier of torchvision ({close})"
        )
    return SmallResNet((int(depth[1]) - 2) // 6, channels, classes, width)


@torch.no_grad()
def check_input(model: nn.Module, name: str, channels: int, size: int) -> None:
    """Puts one empty image through the model, so that a size that it cannot take is told before the training starts.

    Raises:
        UserError: with what the model says.
    """
    device = next(model.parameters()).device
    try:
        model.eval()(torch.zeros(1, channels, size, size, device=device))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise UserError(f"model.name={name} does not take images of {size} × {size} (data.size): {error}") from error


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
