"""The data of a recipe: splits, columns, classes, input size and normalisation, found or given."""

from dataclasses import dataclass, replace
from typing import Any

import datasets
import numpy as np
from accelerate import PartialState

from dataset_scripts import DataError, TrustError, load_dataset
from dataset_scripts.core.decode import decode_image
from dataset_scripts.core.images import has_image
from recipes.core.augment import draws_needed
from recipes.core.config import Augment, Data
from recipes.core.images import Images
from recipes.core.reduce import from_main
from recipes.core.runtime import UserError

PROBE = 1024  # training images that are looked at to find size, channels, mean and std


@dataclass
class Splits:
    """What a model is trained and tested on.

    Attributes:
        train, test: batches of uint8 images.
        classes: the names of the classes, by index.
        data: the configuration, with all that was found filled in.
    """

    train: Images
    test: Images
    classes: list[str]
    data: Data


def load_splits(data: Data, augment: Augment, seed: int, measure: bool = True) -> Splits:
    """Loads and checks the data of a run; every rank gets the same.

    Args:
        measure: take mean and standard deviation, where they are not given, of the training images. Without, both are
            0.5, so that values lie in -1..1.

    Raises:
        UserError: what is missing or does not fit, with the option that settles it.
    """
    train_rows, test_rows = _rows(data)
    image, label = _image_column(train_rows, data), _label_column(train_rows, data)
    if test_rows is None:
        raise UserError(
            f"{data.path} has no split named test or validation: set data.test_split, "
            "or for instance data.train_split=train[:80%] data.test_split=train[80%:]"
        )
    if not len(train_rows) or not len(test_rows):
        raise UserError(f"{data.path}: {len(train_rows)} training and {len(test_rows)} test images, both must have some")
    train_labels, classes = _labels(train_rows, label, None)
    test_labels, _ = _labels(test_rows, label, classes)

    found = from_main(lambda: _probe(train_rows, image, data))
    data = replace(data, image=image, label=label, **found)
    crop = data.resize == "crop"
    options = {"size": data.size, "channels": data.channels, "crop": crop, "memory_gb": data.memory_gb}
    options["progress"] = PartialState().is_main_process
    train = Images(train_rows, image, train_labels, scale=augment.scale, seed=seed, draws=draws_needed(augment),
                   alternate=augment.alternate, **options)  # fmt: skip
    test = Images(test_rows, image, test_labels, **options)
    if data.mean is None or data.std is None:
        half = [0.5] * data.channels
        mean, std = from_main(lambda: _statistics(train_rows, image, train_labels, options)) if measure else (half, half)
        data = replace(data, mean=data.mean or mean, std=data.std or std)
    if not len(data.mean) == len(data.std) == data.channels:
        raise UserError(f"data.mean={data.mean} data.std={data.std} do not fit {data.channels} channels")
    return Splits(train, test, classes, data)


def load_test(data: Data, classes: list[str]) -> Images:
    """The test split alone, for a model of these classes, whose size, channels and way to resize `data` says.

    Raises:
        UserError: what is missing or does not fit, with the option that settles it.
    """
    if data.test_split is not None:
        rows = _load(data, data.test_split)
    else:
        splits = _load(data, None)
        rows = splits.get("test", splits.get("validation"))
        if rows is None:
            raise UserError(f"{data.path} has no split named test or validation, only {', '.join(splits)}: set data.test_split")
    image, label = _image_column(rows, data), _label_column(rows, data)
    labels, _ = _labels(rows, label, classes)
    if not len(rows):
        raise UserError(f"{data.path}: the test split holds no images")
    progress = PartialState().is_main_process
    return Images(rows, image, labels, size=data.size, channels=data.channels, crop=data.resize == "crop",
                  memory_gb=data.memory_gb, progress=progress)  # fmt: skip


def _image_column(rows: datasets.Dataset, data: Data) -> str:
    return _column(rows, data.image, "image", lambda feature: isinstance(feature, datasets.Image) and has_image(feature))


def _label_column(rows: datasets.Dataset, data: Data) -> str:
    return _column(rows, data.label, "label", lambda feature: isinstance(feature, datasets.ClassLabel))


def _rows(data: Data) -> tuple[datasets.Dataset, datasets.Dataset | None]:
    """The training and the test split; None where no test split is given or found."""
    if data.test_split is not None:
        return tuple(_load(data, [data.train_split, data.test_split]))
    splits = _load(data, None)
    train = splits[data.train_split] if data.train_split in splits else _load(data, data.train_split)
    return train, splits.get("test", splits.get("validation"))


def _load(data: Data, split: str | list[str] | None) -> Any:
    try:
        return load_dataset(data.path, data.name, data_dir=data.data_dir, split=split, transform=None)
    except (DataError, TrustError):
        raise
    except ValueError as error:  # what datasets says of an unknown split or configuration
        raise UserError(f"{data.path}: {error}") from error


def _column(rows: datasets.Dataset, wanted: str | None, usual: str, fits: Any) -> str:
    features = rows.features
    if wanted is not None:
        if wanted not in features:
            raise UserError(f"data.{usual}={wanted}: there is no such column, only {', '.join(features)}")
        if usual == "image" and not fits(features[wanted]):
            raise UserError(f"data.image={wanted} holds no images but {features[wanted]}")
        return wanted
    fitting = [name for name, feature in features.items() if fits(feature)]
    if usual in fitting or (usual == "label" and usual in features):
        return usual
    if len(fitting) == 1:
        return fitting[0]
    what = f"several {usual} columns ({', '.join(fitting)})" if fitting else f"no {usual} column (only {', '.join(features)})"
    raise UserError(f"the dataset has {what}: set data.{usual}")


def _labels(rows: datasets.Dataset, column: str, classes: list[str] | None) -> tuple[np.ndarray, list[str]]:
    """The labels as class indices, and the classes: those of the ClassLabel, else the sorted values of the column."""
    feature = rows.features[column]
    values = rows.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    missing = next((row for row, value in enumerate(values) if value is None or value == -1), None)
    if missing is not None:
        raise UserError(f"row {missing} has no label in column {column}")
    if isinstance(feature, datasets.ClassLabel):
        if classes is None:
            return np.array(values, np.int64), list(feature.names)
        index = {name: number for number, name in enumerate(classes)}
        unknown = next((name for name in feature.names if name not in index), None)
        if unknown is not None:
            raise UserError(f"the test split has the class {unknown}, which is none of the training split: {', '.join(classes)}")
        return np.array([index[name] for name in feature.names], np.int64)[values], classes
    if not isinstance(feature, datasets.Value) or feature.dtype.startswith("float"):
        raise UserError(f"column {column} holds {feature}, not one class a row")
    names = classes or [str(value) for value in sorted(set(values))]
    index = {name: number for number, name in enumerate(names)}
    unknown = next((value for value in values if str(value) not in index), None)
    if unknown is not None:
        raise UserError(f"the test split has the label {unknown!r}, which the training split lacks")
    return np.array([index[str(value)] for value in values], np.int64), names


def _evenly(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, PROBE)).round().astype(np.int64)


def _probe(rows: datasets.Dataset, image: str, data: Data) -> dict[str, Any]:
    """Size, channels and the way to resize, from the images themselves."""
    stored = rows.select_columns([image]).with_format("arrow")
    sizes, grey = [], True
    for row in _evenly(len(rows)).tolist():
        picture = decode_image(stored[row][image][0].as_py(), f"row {row}")
        sizes.append(picture.size)
        grey = grey and picture.mode in ("1", "L", "LA", "I;16")
    alike = len(set(sizes)) == 1 and sizes[0][0] == sizes[0][1]
    side = int(np.median([min(size) for size in sizes]))
    resize = data.resize or ("whole" if alike else "crop")
    if resize not in ("whole", "crop"):
        raise UserError(f"data.resize={resize}: choose whole or crop")
    size = data.size or (side if alike else min(224, max(8, side // 8 * 8)))
    channels = data.channels or (1 if grey else 3)
    if channels not in (1, 3):
        raise UserError(f"data.channels={channels}: choose 1 or 3")
    return {"size": size, "channels": channels, "resize": resize}


def _statistics(rows: Any, image: str, labels: np.ndarray, options: dict) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of values in 0..1, over up to PROBE images."""
    index = _evenly(len(rows))
    chosen = Images(rows.select(index), image, labels[index], **(options | {"memory_gb": 0.0}))
    total, squares, count = 0.0, 0.0, 0
    for start in range(0, len(index), 64):
        pixels = chosen[range(start, min(start + 64, len(index)))]["pixels"].double() / 255
        total, squares = total + pixels.sum((0, 1, 2)), squares + pixels.square().sum((0, 1, 2))
        count += pixels[..., 0].numel()
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=1 / 255)
    return [round(value, 4) for value in mean.tolist()], [round(value, 4) for value in std.tolist()]
