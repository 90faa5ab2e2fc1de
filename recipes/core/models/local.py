"""Weights in a local file, for networks that are built on a classifier."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from recipes.core.errors import UserError
from recipes.core.foreign import read_tensors, state_dict
from recipes.core.models.models import load_tensors
from recipes.core.models.weights import examine

COUNTED = "num_batches_tracked"  # of batch normalisation, which frozen statistics do not have


def follow_local(config: Any) -> Any:
    """The options, with the hash of the file `model.weights` filled in, so a resumed run starts from the same weights.

    Raises:
        UserError: there is no such file, or it has another hash than `model.weights_sha256`.
    """
    model = config.model
    if model.weights is None:
        if model.weights_sha256:
            raise UserError(f"model.weights_sha256={model.weights_sha256} is the hash of a file: set model.weights")
        return config
    if not Path(model.weights).is_file():
        raise UserError(f"model.weights={model.weights} is not a file")
    sha256 = examine(Path(model.weights)).sha256
    if not sha256.startswith(model.weights_sha256 or ""):
        raise UserError(f"{model.weights}: its sha256 is {sha256}, not model.weights_sha256={model.weights_sha256}")
    return replace(config, model=replace(model, weights_sha256=sha256))


def origin(model: Any) -> str:
    """The weights that a model starts from, in words, after `follow_local`."""
    return f"{Path(model.weights).name}, sha256 {model.weights_sha256}" if model.weights else "random weights"


def load_local(model: nn.Module, path: str, backbone: str) -> None:
    """Loads weights of the same network, whose last layers stay new if they have other numbers of classes; or of the
    classifier that torchvision built its backbone from.

    Args:
        path: of the file.
        backbone: the beginning of the names of the backbone's tensors.

    Raises:
        UserError: the weights are neither, or are not finite.
    """
    where = f"model.weights={path}"
    state, own = state_dict(read_tensors(Path(path), where), where), model.state_dict()
    kept = {name: tensor for name, tensor in state.items() if name in own and tensor.shape == own[name].shape}
    missing = [name for name in own if name not in state and not name.endswith(COUNTED)]
    if missing:
        inner = [name for name in own if name.startswith(backbone)]
        kept = {}
        for name in inner:
            short = name.removeprefix(backbone)
            found = next((state[known] for known in (short, f"features.{short}") if known in state), None)
            if found is not None and found.shape == own[name].shape:
                kept[name] = found
        absent = [name for name in inner if name not in kept and not name.endswith(COUNTED)]
        if absent or not inner:
            raise UserError(
                f"{where} has neither the weights of this network ({missing[0][:100]} is missing) nor those of its backbone"
                + (f" ({absent[0][:100]} is missing)" if absent else "")
            )
    elif len(own) - len(kept) > len(own) // 4:
        odd = next(name for name in own if name not in kept)
        raise UserError(
            f"{where} is of another network: {odd[:100]} is {list(state[odd].shape)}, not {list(own[odd].shape)}"
        )
    if infinite := next((name for name, tensor in kept.items() if not torch.isfinite(tensor).all()), None):
        raise UserError(f"{where}: {infinite[:100]} is not finite")
    load_tensors(model, kept, strict=False)
