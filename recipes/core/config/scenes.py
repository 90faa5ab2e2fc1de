"""The options of the tasks that look for something in an image."""

from dataclasses import dataclass, field

from recipes.core.config.data import MaskData, SceneData
from recipes.core.config.training import TESTS, Flips, Optimizer, Training
from recipes.core.options import opt


@dataclass(frozen=True)
class Moves(Flips):
    """Changes of the training images, with all that is in them."""

    zoom: float = opt(
        1.0,
        "the largest factor by which an image is enlarged or reduced at random, and cut or placed anywhere; 1: none",
        low=1,
        high=16,
    )
    light: float = opt(
        0.0, "how far brightness and contrast change at random, as a share of their range", low=0, below=1
    )


@dataclass(frozen=True)
class SceneTraining(Training):
    """The options of a training on what is in the images.

    Attributes:
        data, augment: see their classes.
    """

    data: SceneData = field(default_factory=SceneData)
    augment: Moves = field(default_factory=Moves)


@dataclass(frozen=True)
class FromFile:
    """Weights to start from."""

    weights: str | None = opt(
        None,
        "a local file: weights of the same network, or of the torchvision classifier that it is built on",
        is_path=True,
    )
    weights_sha256: str | None = opt(None, "the required beginning of that file's sha256; null: any")


@dataclass(frozen=True)
class Segmenter(FromFile):
    """The network, and the weights that it starts from."""

    name: str = opt("unet", "unet, or a network of torchvision.models.segmentation")
    patch: int = opt(2, "unet: pixels per side that its first layer takes together; 1: each by itself", low=1)
    width: int = opt(
        32, "unet: channels at the highest resolution; twice as many at half of it, four times below", low=2
    )
    depth: int = opt(3, "unet: resolutions, each half of the one above", low=1)
    blocks: int = opt(1, "unet: residual blocks at each of them", low=1)


@dataclass(frozen=True)
class SegmentOptim(Optimizer):
    """How the weights are updated, and the loss."""

    dice: float = opt(0.0, "weight of the Dice loss beside the cross-entropy", low=0, high=100)
    class_weights: bool = opt(False, "weight pixels so that each class counts equally")


@dataclass(frozen=True)
class Segment(SceneTraining):
    """The options of `recipes/segment.py`."""

    data: MaskData = field(default_factory=MaskData)
    model: Segmenter = field(default_factory=Segmenter)
    optim: SegmentOptim = field(default_factory=SegmentOptim)
    tile: int | None = opt(
        None,
        "test at the scale of the images, in windows of this many pixels per side, instead of whole images at data.size",
        low=16,
        high=16384,
        group=TESTS,
    )
    overlap: float = opt(0.5, "share of a window that its neighbours see too", low=0, below=1, group=TESTS)


@dataclass(frozen=True)
class Detector(FromFile):
    """The network, and the weights that it starts from."""

    name: str = opt("pyramid", "pyramid, or a detector of torchvision.models.detection")
    width: int = opt(32, "pyramid: channels at half the resolution; 2 and 4 times as many below", low=1)
    blocks: int = opt(1, "pyramid: residual blocks at each resolution", low=1)
    levels: int = opt(4, "pyramid: levels that detect, with strides of 4, 8, … pixels", low=1)


@dataclass(frozen=True)
class Detect(SceneTraining):
    """The options of `recipes/detect.py`."""

    model: Detector = field(default_factory=Detector)
