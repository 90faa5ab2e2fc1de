"""The options of the recipes: their defaults, ranges and meanings."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from recipes.core.errors import UserError
from recipes.core.options import flat, merge, opt, option_of, split_words

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
LARGEST_SIDE = 16_384  # pixels

# Headings of `--help`, of options that stand by themselves.
TRAINING = "length and batches"
SAME = "the same result again"
HARDWARE = "hardware and speed"
TESTS = "evaluation, checkpoints and trackers"
RUN = "the run"


@dataclass(frozen=True)
class Data:
    """The images, their labels and splits."""

    path: str = opt("digits", "a script, a bundled name, a folder or a Hub id: what load_dataset takes", is_path=True)
    name: str | None = opt(None, "the configuration of the dataset")
    data_dir: str | None = opt(None, "the folder of the data, for a script or a bundled name", is_path=True)
    train_split: str = opt("train", "the split to train on, also a part of one: train[:80%]")
    validation_split: str | None = opt(
        None, "the split that steers the training; null: validation, if there is one besides test"
    )
    test_split: str | None = opt(None, "the split to test on; null: test, else validation, else the hold-out")
    holdout: float | None = opt(
        None,
        "share of the training images of each class to hold out: for testing, or, if there is a test "
        "split, to steer the training; null: 0.2 if there is nothing else to test on",
        above=0,
        below=1,
    )
    image: str | None = opt(None, "the image column; null: the only one, or `image`")
    label: str | None = opt(None, "the label column; null: the only ClassLabel, or `label`")
    size: int | None = opt(
        None,
        "side of the square input in pixels; null: as for published weights, else as the images, if all agree",
        low=1,
        high=LARGEST_SIDE,
    )
    resize: str | None = opt(
        None,
        "whole: scale the image; crop: cut a square; null: whole if all are square and alike",
        choices=("whole", "crop"),
    )
    channels: int | None = opt(
        None, "1 or 3; null: 3 for published weights, else 1 if all images are grey", low=1, high=3
    )
    mean: list[float] | None = opt(
        None,
        "per channel, of values in 0..1; null: as for published weights, else measured on the training images",
        low=0,
        high=1,
    )
    std: list[float] | None = opt(None, "per channel, of values in 0..1; null: as for mean", above=0, high=1)
    workers: int = opt(2, "processes that decode, if the images do not fit in memory", low=0, high=1024)
    memory_gb: float = opt(2.0, "decoded once and kept in memory up to this size, per process", low=0)


@dataclass(frozen=True)
class Views:
    """Different views of the training images."""

    flip: float = opt(0.0, "probability of a horizontal flip", low=0, high=1)
    alternate: bool = opt(False, "flip every second epoch instead, half of the images first (airbench)")
    pad: int = opt(
        0, "images of the input's size: shift by up to this many pixels, filled with zeros", low=0, high=LARGEST_SIDE
    )
    scale: float = opt(0.25, "other images: the smallest share of the area that a random crop takes", above=0, high=1)


@dataclass(frozen=True)
class Augment(Views):
    """Changes of the training images."""

    auto: str | None = opt(None, "trivial (TrivialAugment) or rand (RandAugment)", choices=("trivial", "rand"))
    auto_ops: int = opt(2, "RandAugment: operations per image", low=1, high=100)
    auto_magnitude: int = opt(9, "RandAugment: their strength", low=0, high=30)
    erase: float = opt(0.0, "probability that a rectangle is erased", low=0, high=1)
    mixup: float = opt(0.0, "alpha of the Beta distribution; 0: none", low=0, high=1000)
    cutmix: float = opt(0.0, "the same for cutmix; with both, each batch takes one of them", low=0, high=1000)


@dataclass(frozen=True)
class Model:
    """The network, and the weights that it starts from."""

    name: str = opt("resnet20", "resnet8, resnet14, resnet20, …, cifarnet, a classifier of torchvision, or timm/NAME")
    width: int = opt(16, "channels of the first stage, in our ResNets", low=1)
    weights: str | None = opt(
        None,
        "weights to start from: DEFAULT, another name published by torchvision or timm, or a local "
        "file; the head is new if the classes differ",
        is_path=True,
    )
    pretrained: bool | None = opt(None, "true: the same as weights=DEFAULT; false: none")
    weights_sha256: str | None = opt(None, "the required beginning of that file's sha256; null: any")
    train: str = opt("all", "all, or head: the rest stays as it is (linear probe)", choices=("all", "head"))
    checkpointing: bool = opt(False, "recompute activations in the backward pass: less memory, a third more time")


@dataclass(frozen=True)
class Unet:
    """The network."""

    width: int = opt(32, "channels at full resolution; twice as many at half of it, four times at all below", low=1)
    depth: int = opt(2, "resolutions, each half of the one above", low=1)
    blocks: int = opt(1, "residual blocks at each of them", low=1)


@dataclass(frozen=True)
class Flow:
    """Training by flow matching, and the drawing of images."""

    label_dropout: float = opt(
        0.1, "share of the training images whose class is hidden, which guidance needs", low=0, high=1
    )
    guidance: float = opt(
        1.5, "how far to go from the velocity without the class to the one with it; 1: the latter", low=-100, high=100
    )
    steps: int = opt(20, "steps from noise to image, with two evaluations each", low=1)


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
class Optim(Optimizer):
    """How the weights are updated, and the loss."""

    label_smoothing: float = opt(0.0, "share of the target that is spread equally over all classes", low=0, below=1)
    class_weights: bool = opt(False, "weight classes so that each counts equally")


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

    data: Data = field(default_factory=Data)
    augment: Views = field(default_factory=Views)
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


@dataclass(frozen=True)
class Train(Training):
    """The options of `recipes/train.py`."""

    augment: Augment = field(default_factory=Augment)
    model: Model = field(default_factory=Model)
    optim: Optim = field(default_factory=Optim)
    test_flips: bool = opt(False, "test with the average over an image and its mirror image", group=TESTS)


@dataclass(frozen=True)
class Generate(Training):
    """The options of `recipes/generate.py`."""

    model: Unet = field(default_factory=Unet)
    optim: Optimizer = field(default_factory=lambda: Optimizer(ema=20_000))
    flow: Flow = field(default_factory=Flow)


@dataclass(frozen=True)
class TestData:
    """The images; options that are not given are as in the training.

    Channels, mean and standard deviation belong to the model.
    """

    path: str = option_of(Data, "path")
    name: str | None = option_of(Data, "name")
    data_dir: str | None = option_of(Data, "data_dir")
    test_split: str | None = opt(
        None, "the split to evaluate; null: as in the training, for other data test or validation"
    )
    image: str | None = option_of(Data, "image")
    label: str | None = option_of(Data, "label")
    size: int | None = opt(
        None, "side of the square input in pixels; null: as in the training", low=1, high=LARGEST_SIDE
    )
    resize: str | None = opt(
        None, "whole: scale the image; crop: cut a square; null: as in the training", choices=("whole", "crop")
    )
    workers: int = option_of(Data, "workers")
    memory_gb: float = option_of(Data, "memory_gb")


@dataclass(frozen=True)
class Evaluate:
    """The options of `recipes/evaluate.py`."""

    data: TestData = field(default_factory=TestData)
    batch: int = opt(64, "images that a process passes through the model at a time", low=1)
    flips: bool = opt(False, "average over an image and its mirror image")
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
class Push:
    """The options of `recipes/push.py`."""

    private: bool = opt(True, "make a new repository private; an existing public one is refused")
    revision: str | None = opt(None, "the branch; null: main")


class Asked(NamedTuple):
    """The request of a command line.

    Attributes:
        config: an instance of the schema.
        name: of the CONFIG, or of the data.
        words: the options of the command line.
        is_general: there is no CONFIG, and `general_recipe` must fill in what `words` leave open.
        written: the options that the user wrote, in `words` or in their own file.
    """

    config: Any
    name: str
    words: list[str]
    is_general: bool
    written: set[str]


def read_config(schema: type, argv: list[str], default: str, suffix: str = "") -> Asked:
    """Builds the configuration from `[CONFIG] [key=value …]`; later values win over earlier ones.

    Without a CONFIG, `data.path` decides: the recipe named after the data is used, or else a general recipe.

    Args:
        schema: the dataclass that defines the keys, their types and defaults.
        argv: the command line. CONFIG is a yaml file, or the name of one in recipes/configs.
        default: the CONFIG to use if the command line has neither a CONFIG nor data.
        suffix: what the name of a CONFIG has after the name of its data.

    Raises:
        UserError: no such file, an unknown key, a value of the wrong type.
    """
    chosen, options = split_words(argv)
    if len(chosen) > 1:
        raise UserError(f"one CONFIG at most, not {' and '.join(chosen)} (options are written key=value)")
    written = {word.partition("=")[0] for word in options}
    path = next((word.partition("=")[2] for word in reversed(options) if word.startswith("data.path=")), None)
    is_named = path is not None and re.fullmatch(r"\w+", path) and (CONFIGS / f"{path}{suffix}.yaml").is_file()
    if not chosen and path is not None and not is_named:
        config = merge(schema, {}, options)
        return Asked(config, name_of(config.data.path), options, True, written)
    wanted = chosen[0] if chosen else f"{path}{suffix}" if is_named else default
    path = Path(wanted) if wanted.endswith((".yaml", ".yml")) else CONFIGS / f"{wanted}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
        raise UserError(f"no config {wanted}: give a yaml file, or one of {shipped}")
    config = merge(schema, path, options)
    if path.resolve().parent != CONFIGS:
        default = flat(schema())
        written |= {name for name, value in flat(config).items() if value != default[name]}
    return Asked(config, path.stem, options, False, written)


def name_of(path: str) -> str:
    """Return the name for run folders of these data."""
    name = Path(path).name or Path(path).resolve().name
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60] or "data"
