"""Published weights of a model by name: where torchvision and timm keep them, and the input they were trained on."""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import torchvision

from recipes.core.config.data import Data
from recipes.core.config.tasks import Model, Train
from recipes.core.errors import UserError
from recipes.core.models.weights import AtUrl, OnHub, Weights, examine

DEFAULT = "DEFAULT"
# With published weights, torchvision makes these scale their input to -1..1.
NORMALIZE_THEMSELVES = ("googlenet", "inception_v3")


@dataclass(frozen=True)
class Pretrained:
    """Published weights.

    Attributes:
        library, name: torchvision's IMAGENET1K_V1, timm's a1_in1k.
        file: the file that holds them.
        size: side of the images that they were trained on, in pixels; None if these were not square.
        mean, std: of each of the 3 channels, in 0..1; the input is (pixels - mean) / std.
    """

    library: str
    name: str
    file: AtUrl | OnHub
    size: int | None
    mean: list[float]
    std: list[float]


def find_pretrained(model: Model) -> Pretrained | None:
    """The published weights that the options ask for; None if they ask for a local file, or for none.

    Raises:
        UserError: options contradict each other, or a name is neither published nor a file.
    """
    asked = f"model.weights={model.weights}"
    if model.weights_sha256 and not (model.weights or model.pretrained):
        raise UserError(f"model.weights_sha256={model.weights_sha256} is the hash of a file: set model.weights")
    if model.pretrained is False and model.weights is not None:
        raise UserError(f"model.pretrained=false, but {asked}: leave out one of them, or set model.weights=null")
    wanted = DEFAULT if model.pretrained and model.weights is None else model.weights
    if wanted is None:
        return None
    names = published_names(model.name)
    if wanted in names:
        return _of_timm(model.name, wanted) if model.name.startswith("timm/") else _of_torchvision(model.name, wanted)
    known = (
        f"the published weights of {model.name} are {', '.join(names)}"
        if names
        else f"no weights are published for {model.name}"
    )
    if wanted == DEFAULT:
        raise UserError(
            f"{known}: set model.weights to a local file (one of that name as ./{DEFAULT}), or leave it out"
        )
    if not Path(wanted).is_file():
        raise UserError(f"{asked} is not a file; {known}")
    if model.pretrained:
        raise UserError(
            f"model.pretrained=true asks for published weights, but {asked} for a file: leave out one of them"
        )
    return None


def published_names(name: str) -> list[str]:
    """The names of a model's published weights, `DEFAULT` first; our own networks have none."""
    if name.startswith("timm/"):
        architecture, _, tag = name.removeprefix("timm/").partition(".")
        timm = find_timm(name.removeprefix("timm/"))
        tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*")]
        tags = [each for each in tags if tag in ("", each)]
        return [DEFAULT, *tags] if tags else []
    if name in torchvision.models.list_models(module=torchvision.models):
        return [DEFAULT, *(weights.name for weights in torchvision.models.get_model_weights(name))]
    return []


def find_timm(name: str) -> ModuleType:
    """Returns timm.

    Raises:
        UserError: it is not installed, or has no model of this name.
    """
    try:
        import timm
    except ImportError as error:
        raise UserError(f"model.name=timm/{name} needs timm: pip install 'dataset_scripts[timm]'") from error
    if name not in {*timm.list_models(), *timm.list_models(include_tags=True)}:  # is_model takes anything after a dot
        close = ", ".join(difflib.get_close_matches(name, timm.list_models())) or "resnet50, vit_small_patch16_224, …"
        raise UserError(f"there is no model.name=timm/{name[:200]}: timm has {close}")
    return timm


def _of_torchvision(name: str, wanted: str) -> Pretrained:
    weights = torchvision.models.get_model_weights(name)[wanted]
    least = max(weights.meta["min_size"])
    if name.startswith("vit_") and least != 224:
        raise UserError(
            f"model.weights={wanted}: torchvision builds a different {name} for {weights.name}, for images of {least} "
            f"pixels: choose one of {', '.join(published_names(name)[1:])}"
        )
    given = weights.transforms()
    mean, std = list(given.mean), list(given.std)
    if name in NORMALIZE_THEMSELVES:
        mean, std = [0.5] * 3, [0.5] * 3
    return Pretrained("torchvision", weights.name, AtUrl.named(weights.url), given.crop_size[0], mean, std)


def _of_timm(name: str, wanted: str) -> Pretrained:
    architecture, _, tag = name.removeprefix("timm/").partition(".")
    tag = tag if wanted == DEFAULT else wanted
    config = find_timm(architecture).get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture)
    if config.hf_hub_id:
        repo, _, revision = config.hf_hub_id.partition("@")
        names = (config.hf_hub_filename,) if config.hf_hub_filename else OnHub.names
        file = OnHub(repo, revision or None, names)
    else:
        file = AtUrl.named(config.url)
    _, height, width = config.input_size
    size = height if height == width else None
    return Pretrained("timm", config.tag, file, size, list(config.mean), list(config.std))


def find_weights(model: Model) -> Weights | None:
    """The file that a model starts from, fetched if it is a published one; None if there is none.

    Raises:
        DataError: it cannot be fetched, or its hash differs from `model.weights_sha256`.
    """
    pretrained = find_pretrained(model)
    if pretrained is None and model.weights is None:
        return None
    weights = pretrained.file.obtain() if pretrained else examine(Path(model.weights))
    if not weights.sha256.startswith(model.weights_sha256 or ""):
        raise UserError(
            f"{weights.path}: its sha256 is {weights.sha256}, not model.weights_sha256={model.weights_sha256}"
        )
    return weights


def start_from_weights(config: Train) -> Train:
    """Fills in the options that follow from the weights: their name and hash, and the input, if it is not given.

    Published weights get their own name instead of DEFAULT, which may mean others in later versions, and each file its
    hash. Size, mean and standard deviation are those that published weights were trained with, for 3 channels.

    Raises:
        DataError: see `find_weights`.
    """
    pretrained, weights = find_pretrained(config.model), find_weights(config.model)
    sha256 = weights and weights.sha256
    model = replace(
        config.model,
        weights=pretrained.name if pretrained else config.model.weights,
        pretrained=None,
        weights_sha256=sha256,
    )
    return replace(config, model=model, data=follow(config.data, pretrained) if pretrained else config.data)


def follow(data: Data, pretrained: Pretrained) -> Data:
    """The data options, with the input that the weights were trained on filled in if not given."""
    data = replace(data, channels=data.channels or 3, size=data.size or pretrained.size)
    if data.channels == 3:
        data = replace(data, mean=data.mean or pretrained.mean, std=data.std or pretrained.std)
    return data


def origin(model: Model, data: Data) -> str:
    """The weights that a model starts from, in words, after `start_from_weights`."""
    pretrained = find_pretrained(model)
    if pretrained is None:
        return f"{Path(model.weights).name}, sha256 {model.weights_sha256}" if model.weights else "random weights"
    same = data == follow(replace(data, size=None, mean=None, std=None), pretrained)
    size = f"{pretrained.size} × {pretrained.size}, " if pretrained.size else ""
    trained = "such input" if same else f"{size}mean {pretrained.mean}, std {pretrained.std}"
    name = f"{pretrained.library}'s {model.name.removeprefix('timm/')} {pretrained.name}"
    return f"{name}, trained on {trained}, sha256 {model.weights_sha256}"
