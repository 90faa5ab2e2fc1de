"""The roles of a dataset's columns, by their names and types."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import datasets

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.image.transforms import MASKS

CAPTIONS = ("caption", "captions", "text")
CLASSES = 10_000  # more different values than this are not classes


@dataclass(frozen=True)
class Roles:
    """The columns that previews and reports use.

    Attributes:
        images: columns of images, or of lists of them, `image` first.
        masks: columns of images whose values are ids.
        labels: columns of classes, or of lists of them, `label` first.
        caption: a column of text, or of lists of it.
        categories: the feature of `objects["category"]`, None without boxes.
        features: all columns.
    """

    images: tuple[str, ...]
    masks: tuple[str, ...]
    labels: tuple[str, ...]
    caption: str | None
    categories: Any
    features: datasets.Features

    @classmethod
    def of(cls, dataset: Any) -> "Roles":
        """Finds the columns.

        Raises:
            DataError: a stream, which has no row numbers, or a dataset without images.
        """
        if not isinstance(dataset, datasets.Dataset):
            raise DataError(
                f"previews and reports take a datasets.Dataset, not {type(dataset).__name__}: load without streaming"
            )
        features = dataset.features
        kinds = {name: item_feature(feature) for name, feature in features.items()}
        pictures = [name for name, kind in kinds.items() if isinstance(kind, datasets.Image)]
        images = [name for name in pictures if name not in MASKS]
        if not images:
            raise DataError(f"there is no column of images, only {', '.join(features)}")
        labels = [
            name
            for name, kind in kinds.items()
            if isinstance(kind, datasets.ClassLabel)
            or (
                name == "label"
                and getattr(kind, "dtype", "") in ("string", "bool", "int64", "int32", "int16", "int8", "uint8")
            )
        ]
        objects = features.get("objects")
        boxes = isinstance(objects, dict) and {"bbox", "category"} <= objects.keys()
        return cls(
            images=tuple(sorted(images, key=lambda name: name != "image")),
            masks=tuple(name for name in MASKS if name in pictures),
            labels=tuple(sorted(labels, key=lambda name: name != "label")),
            caption=next((name for name in CAPTIONS if getattr(kinds.get(name), "dtype", "") == "string"), None),
            categories=item_feature(objects["category"]) if boxes else None,
            features=features,
        )

    @property
    def measured(self) -> tuple[str, tuple[str, ...], bool]:
        """The image column and the class column that are measured, and whether there are boxes."""
        return self.images[0], self.labels[:1], self.categories is not None

    @property
    def columns(self) -> list[str]:
        """The names of all columns that are used."""
        named = {*self.images, *self.masks, *self.labels, self.caption}
        return [name for name in self.features if name in named or (name == "objects" and self.categories is not None)]


def item_feature(feature: Any) -> Any:
    """The feature itself, or that of the items of a list."""
    return getattr(feature, "feature", feature)


def name_of_class(feature: Any, value: Any) -> str:
    """The name of a class: that of a ClassLabel's number, else the value itself."""
    if value is None or (isinstance(feature, datasets.ClassLabel) and not 0 <= value < feature.num_classes):
        return "no label"
    return feature.int2str(value) if isinstance(feature, datasets.ClassLabel) else str(value)


def as_list(value: Any) -> Iterable[Any]:
    """The items of a list; any other value as the only item."""
    return value if isinstance(value, list) else [value]


def stored(dataset: datasets.Dataset, columns: list[str]) -> datasets.Dataset:
    """The columns as Arrow tables, images not decoded, whatever transform the dataset has."""
    return dataset.with_format("arrow").select_columns(columns)
