"""Options that would have no effect in this run: refused, since a user who sets one expects an effect."""

from collections.abc import Iterator

from recipes.core.config.data import Data
from recipes.core.config.reading import Asked
from recipes.core.config.scenes import SceneTraining, Segment
from recipes.core.config.tasks import Generate, Train
from recipes.core.config.training import Training, Views
from recipes.core.data.splits import Parts
from recipes.core.errors import UserError
from recipes.core.models.detectors import PYRAMID
from recipes.core.models.models import is_ours
from recipes.core.models.segmenters import UNET
from recipes.core.options import flat


def check_effects(config: Training, parts: Parts, asked: Asked) -> None:
    """Compares the options with the data and with each other. If a shipped recipe sets one in vain, that becomes a note.

    Args:
        config: all options: those of `asked`, and those filled in.

    Raises:
        UserError: an option that the user wrote differs from its default and has no effect.
    """
    given, default = flat(config), flat(type(config)())
    for name, works, why in _conditions(config, parts.data, len(parts.classes)):
        if works or given[name] == default[name]:
            continue
        if name in asked.written:
            raise UserError(f"{name}={given[name]} has no effect: {why}; leave it out, or set {name}={default[name]}")
        if not asked.is_general:
            parts.notes.append(f"{name}={given[name]} of the recipe {asked.name} has no effect here: {why}")


def _conditions(config: Training, data: Data, classes: int) -> Iterator[tuple[str, bool, str]]:
    """Yields options, each with whether it has an effect, and the reason if it has none."""
    augment, optim, whole = config.augment, config.optim, data.resize == "whole"
    mixes = isinstance(config, Train) and (config.augment.mixup > 0 or config.augment.cutmix > 0)
    if isinstance(augment, Views):
        yield "augment.pad", whole, "images are cropped at random places already (data.resize=crop)"
        yield "augment.scale", not whole, "images are not cropped (data.resize=whole)"
        yield "augment.alternate", augment.flip > 0, "augment.flip=0 flips no image"
    yield "optim.muon_lr", optim.name == "muon", f"optim.name={optim.name} is not muon"
    yield "optim.momentum", optim.name != "adamw", "optim.name=adamw has its own"
    yield "shards", config.exact or mixes, "it is for exact=true, mixup and cutmix"
    if isinstance(config, SceneTraining):
        for name in ("width", "blocks", "levels", "patch", "depth"):
            if hasattr(config.model, name):
                yield (
                    f"model.{name}",
                    config.model.name in (PYRAMID, UNET),
                    f"it is not for model.name={config.model.name}",
                )
    if isinstance(config, Segment):
        yield "overlap", config.tile is not None, "it is for tile=…"
    if isinstance(config, (Train, Generate)):
        yield "data.balance", classes > 1, "the images are of one class"
    if isinstance(config, Train):
        yield "augment.auto_ops", config.augment.auto == "rand", "it is for augment.auto=rand"
        yield "augment.auto_magnitude", config.augment.auto == "rand", "it is for augment.auto=rand"
        yield "model.width", is_ours(config.model.name), f"model.name={config.model.name} has a width of its own"
    if isinstance(config, Generate):
        yield "flow.label_dropout", classes > 1, "the images are of one class"
        yield "flow.guidance", classes > 1, "the images are of one class"
