"""The data of a recipe: splits, columns, classes, input size and normalisation, found or given."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from accelerate import PartialState
from tqdm import tqdm

from dataset_scripts.core.image.decode import Frame
from recipes.core.config.data import Data, MaskData, SceneData, Source
from recipes.core.config.scenes import Moves, SceneTraining
from recipes.core.config.tasks import Augment, Generate, Train
from recipes.core.data import several
from recipes.core.data.draws import draws_needed
from recipes.core.data.fingerprint import Fingerprint, evenly, image_columns, shared_images, verify_data
from recipes.core.data.images import Images
from recipes.core.data.scenes import Detected, Scenes, Segmented
from recipes.core.data.splits import Part, Parts, choose_parts, choose_test
from recipes.core.data.targets import LABELS, Target
from recipes.core.errors import UserError
from recipes.core.ranks.reduce import from_main

SAMPLE = 1024  # training images from which mean and std are measured
LARGEST_INPUT, LARGEST_SCENE = 224, 512  # pixels per side, unless more are requested
GREY = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass
class Splits:
    """What a model is trained and tested on.

    Attributes:
        train, test: batches of uint8 images, `Images` or `Scenes`.
        validation: the images that steer the training; None if there is no such split.
        classes: the names of the classes, by index.
        data: the configuration, with everything that was found filled in.
        fingerprint: of the rows, equal on all ranks.
        notes: what the user should know about the data.
    """

    train: Any
    validation: Any
    test: Any
    classes: list[str]
    data: Any
    fingerprint: Fingerprint
    notes: list[str]

    @property
    def kind(self) -> str:
        """What a classifier learns: LABELS, NUMBER or CLASS of `recipes.core.data.several`."""
        return several.CLASS if isinstance(self.train, Scenes) else several.kind_of_values(self.train.labels)

    def counts(self) -> str:
        """The number of images of each kind, in words."""
        names = {"training": self.train, "validation": self.validation, "test": self.test}
        counts = [f"{len(images):,} {name}" for name, images in names.items() if images is not None]
        return f"{', '.join(counts[:-1])} and {counts[-1]} images"

    def tested_on(self) -> str:
        """The rows that the model is tested on, in words."""
        split = self.data.test_split
        return f"split {split}" if split else f"{self.data.holdout:.0%} of each class, which were held out"


def find_data(data: Source, target: Target = LABELS, steered: bool = False) -> Parts:
    """Loads the splits of a run, compares them over all ranks, and reads the header of every image.

    Args:
        target, steered: as for `choose_parts`.

    Returns:
        The rows of each part, with size, channels and the way to resize filled into their `data`.

    Raises:
        UserError: something is missing or does not fit, and the message names the option to set; or ranks have
            different data.
    """
    parts = choose_parts(data, target, steered)
    parts.fingerprint = verify_data(parts)
    found, notes = from_main(lambda: (_probe(parts), _compare(parts)))
    parts.data = replace(parts.data, **found)
    parts.notes += notes
    return parts


def load_splits(parts: Parts, config: Train | Generate) -> Splits:
    """Makes batches of the rows from `find_data`, all scaled or cut to squares; every rank gets the same.

    Raises:
        UserError: mean or std do not fit the channels.
    """
    data = parts.data = with_statistics(parts, measure=isinstance(config, Train))
    augment, seed = Augment(**vars(config.augment)), config.seed
    train = images_of(
        parts.train, data, scale=augment.scale, seed=seed, draws=draws_needed(augment), alternate=augment.alternate
    )
    validation = None if parts.validation is None else images_of(parts.validation, data)
    return Splits(train, validation, images_of(parts.test, data), parts.classes, data, parts.fingerprint, parts.notes)


def load_scenes(parts: Parts, config: SceneTraining) -> Splits:
    """Makes batches of the rows from `find_data`, whole images on square canvases; every rank gets the same.

    Raises:
        UserError: mean or std do not fit the channels.
    """
    data = parts.data = with_statistics(parts)
    train = scenes_of(parts.train, data, config.augment, config.seed)
    validation = None if parts.validation is None else scenes_of(parts.validation, data)
    return Splits(train, validation, scenes_of(parts.test, data), parts.classes, data, parts.fingerprint, parts.notes)


def scenes_of(part: Part, data: SceneData, moves: Moves | None = None, seed: int = 0) -> Scenes:
    """Batches of the whole images of a part, with their masks or boxes."""
    kind = Segmented if isinstance(data, MaskData) else Detected
    return kind(part, data, moves, seed, PartialState().is_main_process)


def with_statistics(parts: Parts, measure: bool = True) -> Any:
    """The options with mean and standard deviation filled in.

    Args:
        measure: on the training images; otherwise both are 0.5, which puts values in -1..1.

    Raises:
        UserError: mean or std do not fit the channels.
    """
    data = parts.data
    if data.mean is None or data.std is None:
        half = [0.5] * data.channels
        mean, std = from_main(lambda: _statistics(parts)) if measure else (half, half)
        data = replace(data, mean=data.mean or mean, std=data.std or std)
    if not len(data.mean) == len(data.std) == data.channels:
        raise UserError(f"data.mean={data.mean} data.std={data.std} do not fit {data.channels} channels")
    return data


def load_test(data: Any, classes: list[str], target: Target = LABELS) -> tuple[Any, Part, Any, list[str]]:
    """The images to test a trained model of these classes on, with size, channels and way to resize from `data`.

    Returns:
        The images, their rows, the options with what was found filled in, and notes.

    Raises:
        UserError: something is missing or does not fit, and the message names the option to set.
    """
    part, data, notes = choose_test(data, classes, target)
    return (scenes_of if isinstance(data, SceneData) else images_of)(part, data), part, data, notes


def images_of(part: Part, data: Data, **options: Any) -> Images:
    """Batches of the images of a part, with the size, channels and kind from `data`."""
    options = {
        "memory_gb": data.memory_gb,
        "progress": PartialState().is_main_process,
        "numbers": part.indices,
    } | options
    return Images(
        part.rows,
        data.image,
        part.learned,
        size=data.size,
        channels=data.channels,
        crop=data.resize == "crop",
        **options,
    )


def _compare(parts: Parts) -> list[str]:
    """Looks for test images among the training images.

    Raises:
        UserError: most of them are training images.
    """
    notes = []
    for part in filter(None, (parts.validation, parts.test)):
        shared, count, first = shared_images(parts.train, part, parts.data.image)
        if not shared:
            continue
        said = (
            f"{shared:,} of {count:,} {part.split} images that were compared are also training images, byte for byte "
            f"(row {first[0]} is row {first[1]} of {parts.train.split})"
        )
        if shared > count / 2:
            raise UserError(
                f"{parts.data.path}: {said}: choose other splits, or set none to hold out a part of each class"
            )
        notes.append(said)
    return notes


def _frames(parts: Parts) -> Iterable[Frame]:
    """The headers of all images."""
    sources = list({id(part.source): part for part in (parts.train, parts.validation, parts.test) if part}.values())
    with tqdm(
        total=sum(len(part.source) for part in sources), desc="headers", unit="image", leave=False, delay=1
    ) as bar:
        for part in sources:
            row = 0
            for column in image_columns(part.source, parts.data.image):
                for value in column:
                    yield Frame.of_stored(value, f"row {row}")
                    row += 1
                bar.update(len(column))


def _probe(parts: Parts) -> dict[str, Any]:
    """Size, channels and the way to resize, from the headers of all images, or of as many as are needed."""
    data, sides = parts.data, []
    if data.channels == 2:
        raise UserError("data.channels=2: choose 1 or 3")
    if isinstance(data, SceneData):
        return _probe_scenes(parts)
    first, alike, grey = None, True, True
    for frame in _frames(parts):
        first = first or frame.size
        alike = alike and frame.size == first and first[0] == first[1]
        grey = grey and frame.mode in GREY
        sides.append(min(frame.size))
        if data.size and (data.resize or not alike) and (data.channels or not grey):
            break
    side = int(np.median(sides))
    size = data.size or (side if alike else min(LARGEST_INPUT, max(8, side // 8 * 8)))
    channels = data.channels or (1 if grey else 3)
    return {"size": size, "channels": channels, "resize": data.resize or ("whole" if alike else "crop")}


def _probe_scenes(parts: Parts) -> dict[str, Any]:
    """Size and channels of scenes."""
    data, sides, grey = parts.data, [], True
    for frame in _frames(parts):
        sides.append(max(frame.size))
        grey = grey and frame.mode in GREY
        if data.size and (data.channels or not grey):
            break
    size = data.size or min(LARGEST_SCENE, 32 * math.ceil(np.median(sides) / 32))
    return {"size": size, "channels": data.channels or (1 if grey else 3)}


def _statistics(parts: Parts) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of values in 0..1, over up to SAMPLE training images."""
    part = parts.train
    part = part.take(evenly(len(part), SAMPLE), part.split)
    data = Data(image=parts.data.image, size=parts.data.size, channels=parts.data.channels, resize="whole")
    chosen = images_of(
        part, replace(data, resize=parts.data.resize) if isinstance(parts.data, Data) else data, memory_gb=0.0
    )
    total, squares, count = 0.0, 0.0, 0
    for start in range(0, len(chosen), 64):
        pixels = chosen[range(start, min(start + 64, len(chosen)))]["pixels"].double() / 255
        total, squares = total + pixels.sum((0, 1, 2)), squares + pixels.square().sum((0, 1, 2))
        count += pixels[..., 0].numel()
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=1 / 255)
    return [round(value, 4) for value in mean.tolist()], [round(value, 4) for value in std.tolist()]
