"""Classifiers by name: our own, torchvision's and timm's; from published or local weights, whole or with a new head."""

import difflib
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from recipes.core.config.tasks import Model
from recipes.core.errors import UserError
from recipes.core.foreign import read_tensors, reading, state_dict
from recipes.core.models.networks import CifarNet, SmallResNet
from recipes.core.models.pretrained import find_pretrained, find_timm, find_weights
from recipes.core.models.recompute import recompute_activations

# Limits of our own networks: building larger ones takes hours, or fails.
DEEPEST = 1202  # layers, as of the deepest network of He et al. (2016)
WIDEST = 4096  # channels of the first stage
MOST_CLASSES = 1_000_000


def build_model(config: Model, channels: int, classes: int) -> nn.Module:
    """Builds a classifier from images (N, channels, H, W) to logits (N, classes).

    Args:
        config: `name` is `resnetD` with D = 6n + 2 below 18 or not one of torchvision's (resnet8, resnet14, resnet20,
            resnet32, …, resnet110) or `cifarnet`, for images of up to about 64 pixels; a classifier of
            torchvision (`torchvision.models.list_models(module=torchvision.models)`), whose input has 3 channels; or
            `timm/NAME` (`timm.list_models()`). `width`: channels of the first stage of our networks. `weights`,
            `pretrained`, `weights_sha256`: see `find_weights`. `train`: "all", or "head", which freezes the rest; see
            `train_mode`. `checkpointing`: see `recompute_activations`.

    Raises:
        UserError: there is no such model, it does not take this number of channels, it is unreasonably large, or an option
            does not fit it.
        DataError: see `find_weights`.
    """
    model = build_network(config, channels, classes)
    weights = find_weights(config)
    if weights is not None:
        where = f"model.weights={weights.path}"
        published = find_pretrained(config) is not None and config.name.startswith("timm/")
        state = read_timm(config, weights.path, where, channels) if published else read_tensors(weights.path, where)
        load_weights(model, state, where)
    if config.train not in ("all", "head"):
        raise UserError(f"model.train={config.train}: choose all or head")
    if config.train == "head":
        if weights is None:
            raise UserError(
                "model.train=head needs pretrained features: set model.weights to DEFAULT or to a local file"
            )
        model.requires_grad_(False)
        for name in find_heads(model):
            model.get_submodule(name).requires_grad_(True)
    if config.checkpointing:
        recompute_activations(model, config.name)
    return model


def build_network(config: Model, channels: int, classes: int) -> nn.Module:
    name, available = config.name, torchvision.models.list_models(module=torchvision.models)
    if not 1 <= classes <= MOST_CLASSES:
        raise UserError(f"model.name={name} cannot have {classes} classes: there must be 1 to {MOST_CLASSES:,}")
    if name.startswith("timm/"):
        name = name.removeprefix("timm/")
        return find_timm(name).create_model(name, pretrained=False, num_classes=classes, in_chans=channels)
    if name in available:
        if channels != 3:
            raise UserError(f"model.name={name} takes 3 channels, not {channels}: set data.channels=3")
        options = {"aux_logits": False} if "inception" in name or name == "googlenet" else {}
        return torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    if not 1 <= config.width <= WIDEST:
        raise UserError(f"model.width={config.width} must be 1 to {WIDEST:,} channels")
    if name == "cifarnet":
        return CifarNet(channels, classes, config.width)
    depth = re.fullmatch(r"resnet([0-9]{1,4})", name)
    if depth is None or not 8 <= int(depth[1]) <= DEEPEST or (int(depth[1]) - 2) % 6:
        close = ", ".join(difflib.get_close_matches(name, available)) or "resnet18, convnext_tiny, vit_b_16, …"
        raise UserError(
            f"there is no model.name={name[:200]}: choose resnet8, resnet14, resnet20, …, cifarnet, a classifier of "
            f"torchvision ({close}), or timm/NAME"
        )
    return SmallResNet((int(depth[1]) - 2) // 6, channels, classes, config.width)


def is_ours(name: str) -> bool:
    """Whether a valid name is that of one of our own networks."""
    return not name.startswith("timm/") and name not in torchvision.models.list_models(module=torchvision.models)


def find_heads(model: nn.Module) -> list[str]:
    """The layers that compute the logits, by name: those that timm names, else the last linear or convolution layer."""
    if hasattr(model, "get_classifier"):
        told = model.get_classifier()  # a distilled model has two
        heads = told if isinstance(told, tuple) else (told,)
        return [name for name, module in model.named_modules() if any(module is head for head in heads)]
    return [name for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))][-1:]


def read_timm(config: Model, path: Path, where: str, channels: int) -> dict[str, torch.Tensor]:
    """Weights published by timm, as timm loads them: under current names, and for another number of channels.

    Args:
        where: the beginning of the message.

    Raises:
        UserError: the file does not hold all tensors of the model.
    """
    name = config.name.removeprefix("timm/")
    source = {"file": str(path), "custom_load": False}
    with reading(where):
        model = find_timm(name).create_model(
            name,
            pretrained=True,
            pretrained_cfg=find_pretrained(config).name,
            pretrained_cfg_overlay=source,
            in_chans=channels,
        )
    return model.state_dict()


def load_weights(model: nn.Module, state: Any, where: str) -> None:
    """Loads a state dict of the same architecture; a head with another number of classes, or none, stays new.

    Args:
        state: the content of a file of torchvision, timm or one of our runs.
        where: the beginning of the message.

    Raises:
        UserError: a tensor is missing, unexpected, of another shape or not finite; the message names it.
    """
    state = state_dict(state, where)
    own, versions = model.state_dict(), getattr(state, "_metadata", None)
    # The files of torchvision's DenseNets are older than the names of its layers, and some of its files have a second head.
    state = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", name): tensor for name, tensor in state.items()}
    state = {
        name: tensor for name, tensor in state.items() if name in own or not re.match(r"(aux[12]|AuxLogits)\.", name)
    }
    heads = tuple(f"{name}." for name in find_heads(model))
    reshaped = [name for name in own if name in state and state[name].shape != own[name].shape]
    headless = not any(name.startswith(heads) for name in state)
    is_new = headless or any(name.startswith(heads) for name in reshaped)
    new = [name for name in own if name.startswith(heads) and is_new]
    problems = [
        f"{name[:100]} is {list(state[name].shape)}, not {list(own[name].shape)}"
        for name in reshaped
        if name not in new or state[name].shape[1:] != own[name].shape[1:]
    ]
    if not problems:
        kept = {name: tensor for name, tensor in state.items() if name not in new}
        with reading(where):
            missing, extra = load_tensors(model, kept, versions, strict=False)
        problems += [f"{name} is missing" for name in missing if name not in new]
        problems += [f"{name[:100]} is left over" for name in extra]
        problems += [f"{name[:100]} is not finite" for name, tensor in kept.items() if not torch.isfinite(tensor).all()]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{where} does not fit model.name: {', '.join(problems[:3])}{more}")


def load_tensors(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], versions: Any = None, strict: bool = True
) -> Any:
    """`load_state_dict`, also for models that ask for the version of their layout, which .safetensors does not keep.

    Args:
        versions: the versions in a file, by layer; None if it has none: then the layout is the current one.
    """
    state = OrderedDict(tensors)
    state._metadata = versions or {"": model.state_dict()._metadata[""]}
    return model.load_state_dict(state, strict=strict)


def train_mode(model: nn.Module) -> None:
    """Puts the model into training mode, but its frozen parts into evaluation mode, which keeps their features."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


@torch.no_grad()
def check_input(model: nn.Module, name: str, channels: int, size: int) -> None:
    """Passes one empty image through the model, to report a size that it cannot take before the training starts.

    Raises:
        UserError: the model cannot take this size; with its own message.
    """
    device = next(model.parameters()).device
    try:
        model.eval()(torch.zeros(1, channels, size, size, device=device))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise UserError(f"model.name={name} does not take images of {size} × {size} (data.size): {error}") from error
