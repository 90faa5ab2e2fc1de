"""The options of the recipes that take a trained model."""

from dataclasses import dataclass, field

from recipes.core.config.data import Source, TestData
from recipes.core.config.scenes import Segment
from recipes.core.options import opt, option_of


@dataclass(frozen=True)
class Evaluate:
    """The options of `recipes/evaluate.py`."""

    data: TestData = field(default_factory=TestData)
    batch: int = opt(64, "images that a process passes through the model at a time", low=1)
    flips: bool = opt(False, "classifiers: average over an image and its mirror image")
    tile: int | None = option_of(Segment, "tile")
    overlap: float = option_of(Segment, "overlap")
    precision: str | None = opt(
        None, "of the arithmetic; null: as in the launch config", choices=("no", "bf16", "fp16")
    )
    processes: int | None = opt(None, "refuse to run on a different number of processes", low=1)
    threads: int | None = opt(None, "CPU threads of a process", low=1, high=4096)
    cpu: bool = opt(False, "do not use an accelerator")
    out: str | None = opt(None, "the folder for the results; null: evaluation, in the first argument", is_path=True)


@dataclass(frozen=True)
class Sample:
    """The options of `recipes/generate.py sample`."""

    count: int = opt(100, "images", low=1)
    label: str | None = opt(None, "the class of all images; null: image i has class i modulo the number of classes")
    guidance: float | None = opt(None, "null: as in the training", low=-100, high=100)
    steps: int | None = opt(None, "null: as in the training", low=1)
    seed: int = opt(0, "of all random numbers", low=0, high=2**32 - 1)
    batch: int = opt(64, "images that a process draws at a time", low=1)
    processes: int | None = opt(None, "refuse to run on a different number of processes", low=1)
    threads: int | None = opt(None, "CPU threads of a process", low=1, high=4096)
    cpu: bool = opt(False, "do not use an accelerator")
    out: str = opt("samples", "the folder for the images", is_path=True)


@dataclass(frozen=True)
class Export:
    """The options of `recipes/export.py`."""

    out: str | None = opt(None, "the file; null: model.onnx, in the run folder", is_path=True)
    count: int = opt(16, "images to compare", low=2)
    tolerance: float = opt(1e-4, "the largest difference, as a share of the largest output", above=0)


@dataclass(frozen=True)
class Push:
    """The options of `recipes/push.py`."""

    private: bool = opt(True, "make a new repository private; an existing public one is refused")
    revision: str | None = opt(None, "the branch; null: main")


@dataclass(frozen=True)
class Predict:
    """The options of `recipes/predict.py`."""

    name: str | None = option_of(Source, "name")
    data_dir: str | None = option_of(Source, "data_dir")
    split: str | None = opt(None, "the split; null: all of them")
    image: str | None = option_of(Source, "image")
    score: float = opt(0.3, "boxes with a lower score are left out", low=0, high=1)
    batch: int = opt(64, "images that a process passes through the model at a time", low=1)
    workers: int = option_of(Source, "workers")
    precision: str | None = opt(
        None, "of the arithmetic; null: as in the launch config", choices=("no", "bf16", "fp16")
    )
    processes: int | None = opt(None, "refuse to run on a different number of processes", low=1)
    threads: int | None = opt(None, "CPU threads of a process", low=1, high=4096)
    cpu: bool = opt(False, "do not use an accelerator")
    out: str = opt("predictions", "the folder for the results", is_path=True)
