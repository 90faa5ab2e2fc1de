"""The configuration of a run: dataclasses, a yaml file, and `key=value` on the command line."""

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dataset_scripts.core.safe_yaml import compose_yaml
from recipes.core.foreign import read_text, reading
from recipes.core.runtime import UserError

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
# Numbers that are at least 1, if they are given.
COUNTS = {"size", "batch", "accumulate", "shards", "keep", "save_every", "processes", "threads", "bucket_mb"}


@dataclass(frozen=True)
class Data:
    path: str = "digits"  # a script, a bundled name, a folder or a Hub id: what load_dataset takes
    name: str | None = None  # the configuration of the dataset
    data_dir: str | None = None
    train_split: str = "train"
    test_split: str | None = None  # None: test, else validation
    image: str | None = None  # the image column; None: the only one, or `image`
    label: str | None = None  # the label column; None: the only ClassLabel, or `label`
    size: int | None = None  # side of the square input in pixels; None: that of the images, where all agree
    resize: str | None = None  # whole: scale the image; crop: cut a square; None: whole where all are square and alike
    channels: int | None = None  # 1 or 3; None: 1 where all images are grey
    mean: list[float] | None = None  # per channel, of values in 0..1; None: measured on the training images
    std: list[float] | None = None
    workers: int = 2  # processes that decode, where the images do not fit in memory
    memory_gb: float = 2.0  # decoded once and kept in memory up to this size, per process


@dataclass(frozen=True)
class Views:
    """How the same image is seen in different ways."""

    flip: float = 0.0  # probability of a horizontal flip
    alternate: bool = False  # flip every second epoch instead, half of the images first (airbench)
    pad: int = 0  # images of the input's own size: shift by up to so many pixels, zeros come in
    scale: float = 0.25  # other images: the smallest share of the area that a random crop takes


@dataclass(frozen=True)
class Augment(Views):
    auto: str | None = None  # trivial (TrivialAugment) or rand (RandAugment)
    auto_ops: int = 2  # RandAugment: operations an image
    auto_magnitude: int = 9  # RandAugment: 0 … 30
    erase: float = 0.0  # probability that a rectangle is erased
    mixup: float = 0.0  # alpha of the Beta distribution; 0: none
    cutmix: float = 0.0  # the same; with both, each batch takes one of them


@dataclass(frozen=True)
class Model:
    name: str = "resnet20"  # resnet8, resnet14, resnet20, …, cifarnet, a classifier of torchvision, or timm/NAME
    width: int = 16  # channels of the first stage, of our ResNets
    weights: str | None = None  # a local file to start from; a head of other classes is made new
    train: str = "all"  # all, or head: the rest stays as it is (linear probe)
    checkpointing: bool = False  # compute activations again in the backward pass: less memory, a third more time


@dataclass(frozen=True)
class Unet:
    width: int = 32  # channels at full resolution; twice as many at half of it, four times at all below
    depth: int = 2  # resolutions, each half of the one above
    blocks: int = 1  # residual blocks at each of them


@dataclass(frozen=True)
class Flow:
    label_dropout: float = 0.1  # share of the training images whose class is hidden, which guidance needs
    guidance: float = 1.5  # how far to go from the velocity without the class to that with it; 1: the latter
    steps: int = 20  # from noise to image, of two evaluations each


@dataclass(frozen=True)
class Init:
    method: str = "seed"  # seed: every rank draws the same weights; broadcast: rank 0 draws, the others receive


@dataclass(frozen=True)
class Optimizer:
    name: str = "adamw"  # adamw, sgd (Nesterov), or muon (of filters and matrices; AdamW of the rest)
    lr: float = 2e-3  # at its highest, for the global batch
    muon_lr: float = 0.02  # the same, of what muon updates
    momentum: float = 0.9  # of sgd and muon
    weight_decay: float = 0.05  # of weights with two or more dimensions
    schedule: str = "cosine"  # cosine, linear or constant, after the warm-up
    warmup: int = 0  # samples over which the learning rate rises from 0
    clip: float | None = None  # the largest norm of the gradient
    ema: int = 0  # average of the weights: its half-life in samples; 0: none


@dataclass(frozen=True)
class Optim(Optimizer):
    label_smoothing: float = 0.0
    class_weights: bool = False  # weigh classes so that each counts alike


@dataclass(frozen=True)
class Ddp:
    bucket_mb: int = 25  # gradients are sent in buckets of this size
    find_unused: bool = False  # for models with branches that a step may leave out
    static_graph: bool = False  # the same graph in every step
    compress: str = "no"  # fp16 or bf16 gradients on the wire


@dataclass(frozen=True)
class Training:
    """What every training has. Durations count samples, batches are global."""

    data: Data = field(default_factory=Data)
    augment: Views = field(default_factory=Views)
    model: Any = None  # what is trained
    init: Init = field(default_factory=Init)
    optim: Optimizer = field(default_factory=Optimizer)
    ddp: Ddp = field(default_factory=Ddp)
    epochs: float = 15.0  # times that each training image is seen
    batch: int = 64  # images an update, over all processes
    accumulate: int = 1  # parts that each process cuts its share of a batch into
    exact: bool = False  # the same bits on every number of processes that divides `shards`
    shards: int = 8  # parts of a batch whose images exact=true and mixing keep together
    precision: str | None = None  # no, bf16 or fp16; None: what the launch config says
    channels_last: bool = False
    compile: bool = False  # torch.compile
    deterministic: bool = False  # the same bits in every run on the same number of processes
    evaluate_every: float = 1.0  # epochs
    save_every: int | None = None  # samples between checkpoints; None: an epoch
    keep: int = 2  # checkpoints
    log_with: list[str] = field(default_factory=list)  # tensorboard, trackio, wandb, …: trackers of accelerate
    seed: int = 0
    processes: int | None = None  # refuse to run on another number of processes
    threads: int | None = None  # CPU threads of a process; None: the cores of the machine, shared out
    cpu: bool = False  # do not use an accelerator
    out: str | None = None  # the run folder; None: the next free runs/NAME-1, runs/NAME-2, …


@dataclass(frozen=True)
class Train(Training):
    """The configuration of `recipes/train.py`."""

    augment: Augment = field(default_factory=Augment)
    model: Model = field(default_factory=Model)
    optim: Optim = field(default_factory=Optim)
    test_flips: bool = False  # test with the mean of an image and its mirror image


@dataclass(frozen=True)
class Generate(Training):
    """The configuration of `recipes/generate.py`."""

    model: Unet = field(default_factory=Unet)
    optim: Optimizer = field(default_factory=lambda: Optimizer(ema=20_000))
    flow: Flow = field(default_factory=Flow)


def split_words(argv: list[str]) -> tuple[list[str], list[str]]:
    """The plain words of a command line, and its `key=value` options."""
    return [word for word in argv if "=" not in word], [word for word in argv if "=" in word]


def read_config(schema: type, argv: list[str], default: str) -> tuple[Any, str]:
    """Builds the configuration from `[CONFIG] [key=value …]`; later values win over earlier ones.

    Args:
        schema: the dataclass that says which keys there are, of what type, with what defaults.
        argv: the command line. CONFIG is a yaml file, or the name of one in recipes/configs.
        default: the CONFIG to take where the command line has none.

    Returns:
        An instance of `schema`, and the name of the CONFIG.

    Raises:
        UserError: no such file, an unknown key, a value of the wrong type.
    """
    chosen, options = split_words(argv)
    if len(chosen) > 1:
        raise UserError(f"one CONFIG at most, not {' and '.join(chosen)} (options are written key=value)")
    wanted = chosen[0] if chosen else default
    path = Path(wanted) if wanted.endswith((".yaml", ".yml")) else CONFIGS / f"{wanted}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
        raise UserError(f"no config {wanted}: give a yaml file, or one of {shipped}")
    return merge(schema, path, options), path.stem


def merge(schema: type, base: Path | dict[str, Any], options: list[str]) -> Any:
    """An instance of `schema`: its defaults, under a yaml file or a dict, under `key=value` options.

    Raises:
        UserError: an unknown key, a value of the wrong type, a number that cannot be, or an interpolation (`${oc.env:…}`),
            which would put what it finds on this machine into the run's `config.yaml`.
    """
    below = read_options(base) if isinstance(base, Path) else base
    try:
        with reading("config"):
            above = OmegaConf.to_container(OmegaConf.from_dotlist(options), resolve=False)
            refuse_interpolations(below, "config")
            refuse_interpolations(above, "config")
            config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), below, above))
    except UserError as error:
        if not isinstance(error.__cause__, (OmegaConfBaseException, YAMLError)):
            raise
        key = getattr(error.__cause__, "full_key", None)
        said = str(error.__cause__).split("\n")[0]
        raise UserError(f"config{f' {key}' if key else ''}: {said[:1000]}") from error.__cause__
    check_numbers(config)
    return config


def read_options(path: Path) -> dict[str, Any]:
    """The keys of a yaml file, as plain values.

    Raises:
        OSError: it cannot be opened.
        UserError: it is no YAML with keys, asks for much more than its size, or has an interpolation.
    """
    text = read_text(path)
    with reading(path):
        compose_yaml(text, path)
        said = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    if not isinstance(said, dict):
        raise UserError(f"{path} holds no keys: write such as 'batch: 64', one a line")
    refuse_interpolations(said, str(path))
    return said


def refuse_interpolations(value: Any, where: str) -> None:
    """Raises a UserError if a text refers to something else by `${…}`."""
    if isinstance(value, str) and "${" in value:
        raise UserError(f"{where}: {value[:100]!r} refers to something else, which is not looked up: write the value")
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else []):
        refuse_interpolations(inner, f"{where} {key}"[:200])


def check_numbers(config: Any, above: str = "") -> None:
    """Raises a UserError for numbers that are not finite, do not fit 64 bits, or are counts of less than 1."""
    for item in dataclasses.fields(config):
        value, name = getattr(config, item.name), f"{above}{item.name}"
        if dataclasses.is_dataclass(value):
            check_numbers(value, f"{name}.")
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"config {name}: {number} is no number that can be used")
            if isinstance(number, int) and not -(2**63) <= number < 2**63:
                raise UserError(f"config {name}: a number of {number.bit_length():,} bits is too large")
        if item.name in COUNTS and value is not None and value < 1:
            raise UserError(f"config {name}: {value} is less than 1")


def to_yaml(config: Any) -> str:
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def describe(schema: type) -> str:
    """All keys with their defaults, as yaml."""
    return OmegaConf.to_yaml(OmegaConf.structured(schema))
