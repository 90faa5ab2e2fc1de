"""Networks that classify every pixel, by name: our U-Net and torchvision's; from local weights, whole or of the backbone."""

from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from recipes.core.config.scenes import Segmenter
from recipes.core.errors import UserError
from recipes.core.models.local import load_local
from recipes.core.models.unet import UNet

UNET = "unet"
MOST_PATCH = 16  # pixels per side
BACKBONE = "backbone."  # what torchvision calls the part of a network that was a classifier


class PatchUNet(nn.Module):
    """Our U-Net over patches of pixels, each of which it classifies: most of the work at a part of the resolution."""

    def __init__(self, config: Segmenter, channels: int, classes: int):
        super().__init__()
        if not 1 <= config.patch <= MOST_PATCH:
            raise UserError(f"model.patch={config.patch} must be 1 to {MOST_PATCH}")
        self.patch = config.patch
        self.network = UNet(config, channels * config.patch**2, classes * config.patch**2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, float32 (B, K, S, S), of images (B, C, S, S), S a multiple of patch * 2 ** (depth - 1)."""
        return F.pixel_shuffle(self.network(F.pixel_unshuffle(x, self.patch)), self.patch)


def build_segmenter(config: Segmenter, channels: int, classes: int) -> nn.Module:
    """Builds a network from images (B, channels, S, S) to logits (B, classes, S, S).

    Args:
        config: `name` is `unet` or one of `torchvision.models.list_models(module=torchvision.models.segmentation)`, which
            take 3 channels and return their logits as `out` of a dict; see `logits_of`.

    Raises:
        UserError: there is no such network, it does not take this number of channels, or the weights do not fit.
    """
    names = torchvision.models.list_models(module=torchvision.models.segmentation)
    if config.name == UNET:
        model: nn.Module = PatchUNet(config, channels, classes)
    elif config.name in names:
        if channels != 3:
            raise UserError(f"model.name={config.name} takes 3 channels, not {channels}: set data.channels=3")
        model = torchvision.models.get_model(config.name, weights=None, weights_backbone=None, num_classes=classes)
    else:
        raise UserError(f"there is no model.name={config.name[:200]}: choose {UNET}, {', '.join(names)}")
    if config.weights is not None:
        load_local(model, config.weights, BACKBONE)
    return model


def logits_of(output: Any) -> torch.Tensor:
    """The logits (B, K, S, S), float32, from the output of a network."""
    return (output["out"] if isinstance(output, dict) else output).float()
