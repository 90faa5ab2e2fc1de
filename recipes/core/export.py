"""Trained models as files: weights as the library of the architecture names them, and what they are for."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from recipes.core.config import Generate, Model, Unet
from recipes.core.data import Splits
from recipes.core.generator import Generator
from recipes.core.hub import fetch_model
from recipes.core.models import build_model
from recipes.core.runtime import UserError
from recipes.core.unet import UNet

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
FLOW = "flow of a U-Net"  # the architecture of what `recipes/generate.py` trains

Info = dict[str, Any]


def weights_of(model: nn.Module) -> bytes:
    """The content of `model.safetensors`."""
    return safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()})


def describe_classifier(model: Model, splits: Splits) -> str:
    """The content of `config.json`: architecture, classes, and the input that it was trained on."""
    return as_json({"architecture": model.name, "width": model.width} | describe_images(splits))


def describe_generator(config: Generate, splits: Splits) -> str:
    """The content of `config.json`: network, classes, the images that it was trained on, and how to draw."""
    network, drawing = vars(config.model), {"guidance": config.flow.guidance, "steps": config.flow.steps}
    return as_json({"architecture": FLOW} | network | describe_images(splits) | drawing)


def describe_images(splits: Splits) -> Info:
    names = ("channels", "size", "resize", "mean", "std")
    return {"labels": splits.classes} | {name: getattr(splits.data, name) for name in names}


def as_json(info: Info) -> str:
    return json.dumps(info, indent=2, ensure_ascii=False)


def load_model(path: str | Path, revision: str | None = None) -> tuple[nn.Module, Info]:
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
        UserError: there is no model there, it is a generator, or it is damaged.
    """

    def build(info: Info) -> nn.Module:
        if info["architecture"] == FLOW:
            raise UserError(f"{path} is a generator, which load_generator loads")
        return build_model(Model(name=info["architecture"], width=info["width"]), info["channels"], len(info["labels"]))

    return load(path, revision, build)


def load_generator(path: str | Path, revision: str | None = None) -> tuple[Generator, Info]:
    """Loads a generator that `recipes/generate.py` wrote.

    Args:
        path, revision: as of `load_model`.

    Returns:
        A `Generator` on the CPU in evaluation mode, from noise, float32 (B, C * S * S), and labels, int64 (B,), to uint8
        (B, 3, S, S), as torch-fidelity asks of a generator; and its description: architecture, labels (the K classes),
        channels C, size S, guidance and steps, which may be changed on the generator, and what it was trained with.

    Raises:
        UserError: there is no model there, it is a classifier, or it is damaged.
    """

    def build(info: Info) -> nn.Module:
        if info["architecture"] != FLOW:
            raise UserError(f"{path} is a classifier ({info['architecture']}), which load_model loads")
        unet = Unet(info["width"], info["depth"], info["blocks"])
        return UNet(unet, info["channels"], len(info["labels"]))

    network, info = load(path, revision, build)
    return Generator(
        network, info["channels"], info["size"], info["mean"], info["std"], info["guidance"], info["steps"]
    ), info


def holds_generator(path: Path) -> bool:
    """Whether a path is a run folder of `recipes/generate.py`, a copy of it, or a checkpoint of such a run."""
    try:
        return json.loads((run_of(path) / "config.json").read_text("utf-8"))["architecture"] == FLOW
    except (OSError, ValueError, KeyError, TypeError):
        return False


def run_of(path: Path) -> Path:
    """The run folder that a path is, or whose checkpoint it is."""
    return path.parent.parent if path.parent.name == "checkpoints" else path


def load(path: str | Path, revision: str | None, build: Callable[[Info], nn.Module]) -> tuple[nn.Module, Info]:
    """Builds a model from its description, and loads its weights."""
    if not Path(path).exists() and HUB_NAME.fullmatch(str(path)):
        path = fetch_model(str(path), revision)
    path = Path(path)
    folder = run_of(path)
    try:
        info = json.loads((folder / "config.json").read_text("utf-8"))
        model = build(info)
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
