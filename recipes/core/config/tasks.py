"""The options of each task."""

from dataclasses import dataclass, field

from recipes.core.config.data import Data
from recipes.core.config.training import TESTS, Optimizer, Training, Views
from recipes.core.options import opt


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
class Optim(Optimizer):
    """How the weights are updated, and the loss."""

    label_smoothing: float = opt(0.0, "share of the target that is spread equally over all classes", low=0, below=1)
    class_weights: bool = opt(
        False,
        "weight classes so that each counts equally; of several labels, weight images that have one like those without",
    )
    absolute: bool = opt(False, "of a number, learn the absolute error instead of the squared one")


@dataclass(frozen=True)
class Train(Training):
    """The options of `recipes/train.py`."""

    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    model: Model = field(default_factory=Model)
    optim: Optim = field(default_factory=Optim)
    test_flips: bool = opt(False, "test with the average over an image and its mirror image", group=TESTS)


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
class Generate(Training):
    """The options of `recipes/generate.py`."""

    data: Data = field(default_factory=Data)
    augment: Views = field(default_factory=Views)
    model: Unet = field(default_factory=Unet)
    optim: Optimizer = field(default_factory=lambda: Optimizer(ema=20_000))
    flow: Flow = field(default_factory=Flow)
