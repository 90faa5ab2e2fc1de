"""Classifiers by name: our own, torchvision's and timm's; from local weights, whole or with a new head."""

import difflib
import re
from pathlib import Path

import torch
import torchvision
from torch import nn

from recipes.core.config import Model
from recipes.core.foreign import read_tensors, reading, state_dict
from recipes.core.networks import CifarNet, SmallResNet
from recipes.core.recompute import recompute_activations
from recipes.core.runtime import UserError

# Of our own networks; beyond, they would be built for hours, or not at all.
DEEPEST = 1202  # layers, as of the deepest network of He et al. (2016)
WIDEST = 4096  # channels of the first stage
MOST_CLASSES = 1_000_000


def build_model(config: Model, channels: int, classes: int) -> nn.Module:
    """Builds a classifier from images (N, channels, H, W) to logits (N, classes).

    Args:
        config: `name` is `resnetD` with D = 6n + 2 below 18 or not one of torchvision's (resnet8, resnet14, resnet20,
            resnet32, …, resnet110) for images of up to about 64 pixels; `cifarnet`, likewise; a classifier of
            torchvision (`torchvision.models.list_models(module=torchvision.models)`), whose input has 3 channels; or
            `timm/NAME` (`timm.list_models()`). `width`: channels of the first stage of our networks. `weights`: see
            `load_weights`. `train`: "all", or "head", which freezes all else; see `train_mode`. `checkpointing`: see
            `recompute_activations`.

    Raises:
        UserError: there is no such model, it does not take so many channels, it is larger than is sensible, or an option
            does not fit it.
    """
    model = build_network(config, channels, classes)
    if config.weights:
        load_weights(model, Path(config.weights))
    if config.train not in ("all", "head"):
        raise UserError(f"model.train={config.train}: choose all or head")
    if config.train == "head":
        if not config.weights:
            raise UserError("model.train=head needs features that were learned: set model.weights to a local file")
        model.requires_grad_(False)
        for name in find_heads(model):
            model.get_submodule(name).requires_grad_(True)
    if config.checkpointing:
        recompute_activations(model, config.name)
    return model


def build_network(config: Model, channels: int, classes: int) -> nn.Module:
    name, available = config.name, torchvision.models.list_models(module=torchvision.models)
    if not 1 <= classes <= MOST_CLASSES:
        raise UserError(f"model.name={name} of {classes} classes: there are 1 to {MOST_CLASSES:,}")
    if name.startswith("timm/"):
        return build_timm(name.removeprefix("timm/"), channels, classes)
    if name in available:
        if channels != 3:
            raise UserError(f"model.name={name} takes 3 channels, not {channels}: set data.channels=3")
        options = {"aux_logits": False} if "inception" in name or name == "googlenet" else {}
        return torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    if not 1 <= config.width <= WIDEST:
        raise UserError(f"model.width={config.width}: there are 1 to {WIDEST:,} channels")
    if name == "cifarnet":
        return CifarNet(channels, classes, config.width)
    depth = re.fullmatch(r"resnet([0-9]{1,4})", name)
    if depth is None or not 8 <= int(depth[1]) <= DEEPEST or (int(depth[1]) - 2) % 6:
        close = ", ".join(difflib.get_close_matches(name, available)) or "resnet18, convnext_tiny, vit_b_16, …"
        raise UserError(
            f"no model.name={name[:200]}: choose resnet8, resnet14, resnet20, …, cifarnet, a classifier of torchvision "
            f"({close}), or timm/NAME"
        )
    return SmallResNet((int(depth[1]) - 2) // 6, channels, classes, config.width)


def is_ours(name: str) -> bool:
    """Whether a name is that of one of our own networks, if it is one at all."""
    return not name.startswith("timm/") and name not in torchvision.models.list_models(module=torchvision.models)


def build_timm(name: str, channels: int, classes: int) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise UserError(f"model.name=timm/{name} needs timm: pip install 'dataset_scripts[timm]'") from error
    if name not in {*timm.list_models(), *timm.list_models(include_tags=True)}:  # is_model takes anything behind a dot
        close = ", ".join(difflib.get_close_matches(name, timm.list_models())) or "resnet50, vit_small_patch16_224, …"
        raise UserError(f"no model.name=timm/{name[:200]}: timm has {close}")
    return timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)


def find_heads(model: nn.Module) -> list[str]:
    """The names of the layers that make the logits: what timm says, else the last linear or convolution layer."""
    if hasattr(model, "get_classifier"):
        told = model.get_classifier()  # a distilled model has two
        heads = told if isinstance(told, tuple) else (told,)
        return [name for name, module in model.named_modules() if any(module is head for head in heads)]
    return [name for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))][-1:]


def load_weights(model: nn.Module, path: Path) -> None:
    """Loads a state dict of the same architecture, but for a head of another number of classes, which stays new.

    Args:
        path: a .safetensors or .pth file (read without running code from it) of torchvision, timm or a run of ours.

    Raises:
        UserError: the file cannot be read, or a tensor is missing, left over or of another shape: named.
    """
    where = f"model.weights={path}"
    state = state_dict(read_tensors(path, where), where)
    # The files of torchvision's DenseNets are older than the names of its layers.
    state = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", name): tensor for name, tensor in state.items()}
    own = model.state_dict()
    heads = tuple(f"{name}." for name in find_heads(model))
    reshaped = [name for name in own if name in state and state[name].shape != own[name].shape]
    new = [name for name in own if name.startswith(heads) and any(other.startswith(heads) for other in reshaped)]
    problems = [
        f"{name[:100]} is {list(state[name].shape)}, not {list(own[name].shape)}"
        for name in reshaped
        if name not in new or state[name].shape[1:] != own[name].shape[1:]
    ]
    if not problems:
        kept = {name: tensor for name, tensor in state.items() if name not in new}
        with reading(where):
            missing, extra = model.load_state_dict(kept, strict=False)
        problems += [f"{name} is missing" for name in missing if name not in new] + [
            f"{name[:100]} is left over" for name in extra
        ]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"model.weights={path} does not fit model.name: {', '.join(problems[:3])}{more}")


def train_mode(model: nn.Module) -> None:
    """Puts the model into training mode, but its frozen parts into evaluation mode: their features shall stay."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


@torch.no_grad()
def check_input(model: nn.Module, name: str, channels: int, size: int) -> None:
    """Puts one empty image through the model, so that a size that it cannot take is reported before the training starts.

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
