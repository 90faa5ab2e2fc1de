"""The options of the data."""

from dataclasses import dataclass
from typing import ClassVar

from recipes.core.options import opt, option_of

LARGEST_SIDE = 16_384  # pixels


@dataclass(frozen=True)
class Source:
    """The images and splits."""

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
    size: int | None = opt(
        None,
        "side of the square input in pixels; null: as for published weights, else as the images, if all agree",
        low=1,
        high=LARGEST_SIDE,
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
class Data(Source):
    """The images, their labels and splits."""

    label: str | None = opt(None, "the label column; null: the only ClassLabel, or `label`")
    balance: bool = opt(
        False, "show images of rare classes more often, and others less, so that all classes are seen equally often"
    )
    resize: str | None = opt(
        None,
        "whole: scale the image; crop: cut a square; null: whole if all are square and alike",
        choices=("whole", "crop"),
    )


@dataclass(frozen=True)
class SceneData(Source):
    """The images, what is in them, and the splits."""

    resize: ClassVar[str] = "padded"  # to a square, however wide or high an image is

    path: str = opt(
        "digit_scenes", "a script, a bundled name, a folder or a Hub id: what load_dataset takes", is_path=True
    )
    size: int | None = opt(
        None,
        "pixels that the longer side of an image is scaled to; null: as the images, up to 512",
        low=16,
        high=LARGEST_SIDE,
    )
    target: str | None = opt(None, "the column of boxes or masks; null: `objects` to detect, `mask` to segment")


@dataclass(frozen=True)
class MaskData(SceneData):
    """The images, their masks, and the splits."""

    classes: int | None = opt(
        None, "number of classes, with ids 0, 1, …; null: as the training masks have", low=1, high=255
    )
    ignore: int | None = opt(255, "the id of pixels that belong to no class; null: there are none", low=0, high=65535)


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
    target: str | None = option_of(SceneData, "target")
    workers: int = option_of(Data, "workers")
    memory_gb: float = option_of(Data, "memory_gb")
