"""The recipe for data that have none: options that follow from the images, their number, and the initial weights."""

import math
from dataclasses import replace
from typing import Any

from recipes.core.config.scenes import Detect, SceneTraining
from recipes.core.config.tasks import Train
from recipes.core.config.training import Training
from recipes.core.data.splits import Parts
from recipes.core.models.detectors import PYRAMID
from recipes.core.models.models import is_ours
from recipes.core.models.segmenters import UNET
from recipes.core.options import merge

SMALL = 64  # pixels per side, up to which a small network sees the whole image
TINY = 16
PHOTO = 128  # pixels per side that photos are scaled to, if a network is trained from scratch
PHOTOS = "photos"
WARMUP = 20  # the learning rate rises over this part of a training: one in twenty samples
DRAWN = 32  # pixels per side of generated images, unless they are smaller or another size is given


def general_recipe(config: Training, words: list[str], parts: Parts, processes: int) -> Any:
    """The configuration for data without a CONFIG: general defaults, overridden by the command line.

    Args:
        config: from the command line alone.
        words: its options, as `key=value`.
        parts: the data; size and channels of its `data` are set as the recipe needs them, and a note lists the choices.
        processes: the number of processes that share a batch.
    """
    if isinstance(config, Train):
        name, values = _for_classifier(config, parts, side_of(parts))
    elif isinstance(config, SceneTraining):
        name, values = _for_scenes(config, parts, side_of(parts))
    else:
        name, values = _for_generator(config, parts, side_of(parts))
    given = {word.partition("=")[0] for word in words}
    count, network = len(parts.train), config.model.name if "model.name" in given else values.get("model.name")
    if isinstance(config, Train) and network is not None and not is_ours(network):
        values.pop("model.width", None)
    for option, resize in (("augment.scale", "whole"), ("augment.pad", "crop")):
        if parts.data.resize == resize:
            values.pop(option, None)
    values["optim.warmup"] = round((config.epochs if "epochs" in given else values["epochs"]) * count) // WARMUP
    divisor = math.lcm(processes * config.accumulate, config.shards if config.exact else 1)
    if isinstance(config, Train) and (config.augment.mixup or config.augment.cutmix):
        divisor = math.lcm(divisor, 2 * config.shards * config.accumulate)
    wanted = min(values["batch"], 2 ** max(2, int(math.log2(max(4, count / 4)))))
    values["batch"] = max(2 if divisor == processes * config.accumulate else 1, wanted // divisor) * divisor
    made = merge(type(config), _nested(values), words)
    said = f"no CONFIG was given: the general recipe for {name}, {made.epochs:g} epochs in batches of {made.batch}"
    if name == PHOTOS:
        said += "; model.weights=DEFAULT would start from pretrained weights"
    parts.notes.append(said)
    return made


def side_of(parts: Parts) -> int:
    """The side of the input in pixels."""
    assert parts.data.size is not None  # `find_data` has set it
    return parts.data.size


def _for_classifier(config: Train, parts: Parts, side: int) -> tuple[str, dict[str, Any]]:
    count, data = len(parts.train), parts.data
    epochs = min(100, max(10, round(45_000 / count)))
    if config.model.weights is not None or config.model.pretrained:
        _take(config, parts, channels=3, resize="crop")
        epochs = min(30, max(5, round(10_000 / count)))
        return "fine-tuning", _photos(epochs) | {"model.name": "resnet18", "optim.lr": 3e-4, "batch": 32}
    if side <= SMALL:
        return "small images", {
            "augment.pad": max(1, side // 8),
            "augment.scale": 0.35,
            "model.name": "resnet8" if side <= TINY else "resnet20",
            "model.width": 32,
            "augment.flip": 0.5 if data.channels == 3 else 0.0,  # grey: often characters, which have a direction
            "optim.lr": 4e-3,
            "epochs": float(epochs),
            "batch": 64 if count < 20_000 else 128,
        }
    _take(config, parts, channels=3, size=min(side, PHOTO), resize="crop")
    return PHOTOS, _photos(epochs) | {"model.name": "resnet18", "optim.lr": 1e-3, "batch": 64}


def _photos(epochs: int) -> dict[str, Any]:
    return {
        "augment.flip": 0.5,
        "augment.scale": 0.35,
        "augment.auto": "trivial",
        "optim.label_smoothing": 0.1,
        "epochs": float(epochs),
    }


def _for_generator(config: Training, parts: Parts, side: int) -> tuple[str, dict[str, Any]]:
    count, data = len(parts.train), parts.data
    if side > SMALL:
        _take(config, parts, size=DRAWN)
        side = side_of(parts)
    epochs = min(300, max(10, round(200_000 / count)))
    depth = 2 if side <= TINY else 3
    _take(config, parts, size=max(1, side // 2 ** (depth - 1)) * 2 ** (depth - 1))
    side = side_of(parts)
    return "a generator", {
        "model.width": 32 if side <= TINY else 64,
        "model.depth": depth,
        "augment.flip": 0.5 if data.channels == 3 else 0.0,
        "optim.lr": 2e-3 if side <= TINY else 1e-3,
        "optim.weight_decay": 0.0,
        "epochs": float(epochs),
        "batch": 128,
        "evaluate_every": max(1.0, epochs / 8),
    }


def _for_scenes(config: SceneTraining, parts: Parts, side: int) -> tuple[str, dict[str, Any]]:
    """Detection and segmentation."""
    count, data = len(parts.train), parts.data
    is_small = side <= SMALL
    ours = config.model.name in (PYRAMID, UNET)
    values: dict[str, Any] = {
        "augment.flip": 0.5 if data.channels == 3 else 0.0,  # grey: often characters, which have a direction
        "augment.zoom": 1.25 if is_small else 1.5,
        "augment.light": 0.1,
        "optim.name": "muon" if ours else "adamw",
        "optim.lr": 2e-3 if ours else 2e-4,
        "epochs": float(min(100, max(10, round(20_000 / count)))),
        "batch": 16 if is_small or not ours else 8,
    }
    if config.model.name == PYRAMID:
        values["model.levels"] = 2 if is_small else 4
    elif config.model.name == UNET:
        values["model.depth"] = 3 if is_small else 4
    return "objects in images" if isinstance(config, Detect) else "masks", values


def _take(config: Training, parts: Parts, **values: Any) -> None:
    """Sets data options that the command line left open."""
    parts.data = replace(
        parts.data, **{name: value for name, value in values.items() if getattr(config.data, name) is None}
    )


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        group, _, last = name.rpartition(".")
        (tree.setdefault(group, {}) if group else tree)[last] = value
    return tree
