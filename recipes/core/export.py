"""Trained models as files: weights as the library of the architecture names them, and what they are for."""

import json
import re
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from recipes.core.config import Model, Train
from recipes.core.data import Splits
from recipes.core.hub import fetch_model
from recipes.core.models import build_model
from recipes.core.runtime import UserError

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def weights_of(model: nn.Module) -> bytes:
    """The content of `model.safetensors`."""
    return safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()})


def describe_model(config: Train, splits: Splits) -> str:
    """The content of `config.json`: architecture, classes, and the input that it was trained on."""
    data = splits.data
    return json.dumps(
        {
            "architecture": config.model.name,
            "width": config.model.width,
            "labels": splits.classes,
            "channels": data.channels,
            "size": data.size,
            "resize": data.resize,
            "mean": data.mean,
            "std": data.std,
        },
        indent=2,
        ensure_ascii=False,
    )


def load_model(path: str | Path, revision: str | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """Loads a classifier that `recipes/train.py` wrote.

    The weights of torchvision's and timm's architectures have the names that these libraries give them:
    `torchvision.models.get_model(NAME, num_classes=K).load_state_dict(safetensors.torch.load_file(…))` takes them too.

    Args:
        path: a run folder, a copy of its `model.safetensors` and `config.json`, a checkpoint of a run
            (`runs/digits-1/checkpoints/000000001408`), or, where nothing of the name is here, a model on the Hub.
        revision: the branch, tag or commit on the Hub.

    Returns:
        The model on the CPU in evaluation mode, from float32 (B, C, S, S) to logits (B, K); and its description:
        architecture, labels (the K classes), channels C, size S, resize, and mean and std, which are taken off and
        divided by after pixels became 0..1.

    Raises:
        UserError: there is no model there, or it is damaged.
    """
    if not Path(path).exists() and HUB_NAME.fullmatch(str(path)):
        path = fetch_model(str(path), revision)
    path = Path(path)
    folder = path.parent.parent if path.parent.name == "checkpoints" else path
    try:
        info = json.loads((folder / "config.json").read_text("utf-8"))
        model = build_model(Model(name=info["architecture"], width=info["width"]), info["channels"], len(info["labels"]))
        if folder == path:
            weights = safetensors.torch.load_file(path / "model.safetensors")
        else:
            state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
            weights = state["ema"] or state["model"]
        model.load_state_dict(weights)
    except FileNotFoundError as error:
        raise UserError(f"{path} is no run folder and no checkpoint of a run: {error.filename} is missing") from error
    except (ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: the model cannot be read: {' '.join(str(error).split())}") from error
    return model.eval(), info
