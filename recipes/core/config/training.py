"""The options that every training has."""

from dataclasses import dataclass, field
from typing import Any

from recipes.core.config.data import LARGEST_SIDE, Source
from recipes.core.options import opt

# Headings of `--help`, of options that stand by themselves.
TRAINING = "length and batches"
SAME = "the same result again"
HARDWARE = "hardware and speed"
TESTS = "evaluation, checkpoints and trackers"
RUN = "the run"


@dataclass(frozen=True)
class Flips:
    """Changes of the training images."""

    flip: float = opt(0.0, "probability of a horizontal flip", low=0, high=1)


@dataclass(frozen=True)
class Views(Flips):
    """Different views of the training images."""

    alternate: bool = opt(False, "flip every second epoch instead, half of the images first (airbench)")
    pad: int = opt(
        0, "images of the input's size: shift by up to this many pixels, filled with zeros", low=0, high=LARGEST_SIDE
    )
    scale: float = opt(0.25, "other images: the smallest share of the area that a random crop takes", above=0, high=1)


@dataclass(frozen=True)
class Init:
    """How all processes get the same weights."""

    method: str = opt(
        "seed",
        "seed: every rank draws the same weights; broadcast: rank 0 draws, the others receive",
        choices=("seed", "broadcast"),
    )


@dataclass(frozen=True)
class Optimizer:
    """How the weights are updated."""

    name: str = opt(
        "adamw",
        "adamw, sgd (Nesterov), or muon (for filters and matrices; AdamW for the rest)",
        choices=("adamw", "sgd", "muon"),
    )
    lr: float = opt(2e-3, "the highest learning rate, for the global batch", above=0)
    muon_lr: float = opt(0.02, "the same, for the weights that muon updates", above=0)
    momentum: float = opt(0.9, "of sgd and muon", low=0, below=1)
    weight_decay: float = opt(0.05, "of weights with two or more dimensions", low=0)
    schedule: str = opt("cosine", "of the learning rate, after the warm-up", choices=("cosine", "linear", "constant"))
    warmup: int = opt(0, "samples over which the learning rate rises from 0", low=0)
    clip: float | None = opt(None, "the largest norm of the gradient; null: any", above=0)
    ema: int = opt(0, "half-life of the average of the weights, in samples; 0: no average", low=0)


@dataclass(frozen=True)
class Ddp:
    """How gradients are averaged over the processes."""

    bucket_mb: int = opt(25, "gradients are sent in buckets of this size", low=1)
    find_unused: bool = opt(False, "for models with branches that a step may leave out")
    static_graph: bool = opt(False, "the same graph in every step")
    compress: str = opt("no", "gradients on the wire", choices=("no", "fp16", "bf16"))


@dataclass(frozen=True)
class Training:
    """The options of every training. Durations count samples, batches are global.

    Attributes:
        is_steered: the validation images decide something.
    """

    data: Source = field(default_factory=Source)
    augment: Flips = field(default_factory=Flips)
    model: Any = None  # what is trained
    init: Init = field(default_factory=Init)
    optim: Optimizer = field(default_factory=Optimizer)
    ddp: Ddp = field(default_factory=Ddp)
    epochs: float = opt(
        15.0, "times that each training image is seen; a last partial batch is left out", above=0, group=TRAINING
    )
    batch: int = opt(64, "images per update, over all processes", low=1, group=TRAINING)
    accumulate: int = opt(1, "parts that each process cuts its share of a batch into", low=1, group=TRAINING)
    exact: bool = opt(False, "the same bits on every number of processes that divides `shards`", group=SAME)
    shards: int = opt(8, "parts of a batch whose images exact=true and mixing keep together", low=1, group=SAME)
    precision: str | None = opt(
        None, "of the arithmetic; null: as in the launch config", choices=("no", "bf16", "fp16"), group=HARDWARE
    )
    channels_last: bool = opt(False, "the memory order of pixels that suits convolutions on GPUs", group=HARDWARE)
    compile: bool = opt(False, "torch.compile", group=HARDWARE)
    deterministic: bool = opt(False, "the same bits in every run on the same number of processes", group=SAME)
    evaluate_every: float = opt(
        1.0,
        "epochs between tests on the validation images, or on the test images if there are none",
        above=0,
        group=TESTS,
    )
    keep_best: bool = opt(
        False,
        "end with the weights that were best on the validation images (by accuracy, then loss), not the last ones",
        group=TESTS,
    )
    patience: float | None = opt(
        None, "end early after this many epochs without improvement on the validation images", above=0, group=TESTS
    )
    save_every: int | None = opt(None, "samples between checkpoints; null: an epoch", low=1, group=TESTS)
    keep: int = opt(2, "checkpoints to keep", low=1, group=TESTS)
    log_with: list[str] = opt([], "trackers of accelerate: tensorboard, trackio, wandb, …", group=TESTS)
    seed: int = opt(0, "of all random numbers", low=0, high=2**32 - 1, group=SAME)
    processes: int | None = opt(None, "refuse to run on a different number of processes", low=1, group=HARDWARE)
    threads: int | None = opt(
        None, "CPU threads of a process; null: its share of the machine's cores", low=1, high=4096, group=HARDWARE
    )
    cpu: bool = opt(False, "do not use an accelerator", group=HARDWARE)
    out: str | None = opt(
        None, "the run folder; null: the next free runs/NAME-1, runs/NAME-2, …", is_path=True, group=RUN
    )
    overwrite: bool = opt(
        False, "let `out` be a folder with other files in it; those named like a run's files are replaced", group=RUN
    )

    dry_run: bool = opt(
        False, "show the data, the model and the updates of this run, and stop before it begins", group=RUN
    )

    @property
    def is_steered(self) -> bool:
        return self.keep_best or self.patience is not None
