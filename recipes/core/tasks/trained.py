"""The tasks by what `config.json` calls them: their options, and what they learn."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from recipes.core.config.commands import Evaluate
from recipes.core.config.data import Data, MaskData, SceneData
from recipes.core.config.scenes import Detect, Segment
from recipes.core.config.tasks import Train
from recipes.core.config.training import Training
from recipes.core.data import several
from recipes.core.data.targets import LABELS, Boxes, Masks, Target
from recipes.core.errors import UserError
from recipes.core.foreign import read_json
from recipes.core.models.saved import DETECTION, SEGMENTATION, Info, run_of


@dataclass(frozen=True)
class Kind:
    """A task.

    Attributes:
        recipe: that trains it.
        schema, data: the options of its training, and of its data.
        target: what is learned.
        lacks: options of `Evaluate` that it does not have.
    """

    recipe: str
    schema: type[Training]
    data: type[Any]
    target: Target
    lacks: tuple[str, ...]


SCENES = ("data.label", "data.resize", "flips")
CLASSIFIER = Kind("train.py", Train, Data, LABELS, ("data.target", "tile", "overlap"))
KINDS = {
    **dict.fromkeys((None, several.LABELS, several.NUMBER), CLASSIFIER),
    DETECTION: Kind("detect.py", Detect, SceneData, Boxes(), (*SCENES, "tile", "overlap")),
    SEGMENTATION: Kind("segment.py", Segment, MaskData, Masks(), SCENES),
}


def kind_of(path: Path) -> Kind:
    """The task of a run, or of a copy of its model; that of `train.py` if the path has no description."""
    described = run_of(path) / "config.json"
    task = read_json(described).get("task") if described.is_file() else None
    if not isinstance(task, str | None) or task not in KINDS:
        raise UserError(f"{described}: the task {str(task)[:100]!r} is none of {', '.join(filter(None, KINDS))}")
    return KINDS[task]


def data_of(kind: Kind, info: Info, trained: dict[str, Any], config: Evaluate) -> Any:
    """The data to test a trained network on.

    Args:
        trained: options of the data of its training.

    Raises:
        UserError: an option that has no effect for this task.
    """
    default = Evaluate()
    for name in kind.lacks:
        group, _, last = name.rpartition(".")
        given, usual = ((getattr(one, group) if group else one) for one in (config, default))
        if getattr(given, last) != getattr(usual, last):
            raise UserError(f"{name}={getattr(given, last)} has no effect on a run of {kind.recipe}: leave it out")
    known = {field.name for field in fields(kind.data)}
    given = {
        name: value for name, value in vars(config.data).items() if name not in ("size", "resize") or value is not None
    }
    own = {name: info[name] for name in ("size", "channels", "resize", "mean", "std")} | trained | given
    if kind.data is MaskData:
        own["classes"] = len(info["labels"])
    return kind.data(**{name: value for name, value in own.items() if name in known})
