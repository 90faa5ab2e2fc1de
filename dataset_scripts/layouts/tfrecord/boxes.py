"""Boxes in features of tf.train.Example, as the TF Object Detection API and TensorFlow Datasets write them."""

from typing import Any

import datasets
import numpy as np

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.protobuf import Feature
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.objects import fit_boxes, object_features
from dataset_scripts.layouts.tfrecord.columns import Classes, Column

PREFIXES = ("image/object/", "objects/")
CORNERS = tuple(f"image/object/bbox/{corner}" for corner in ("xmin", "ymin", "xmax", "ymax"))
LISTS = "objects/bbox"  # of TensorFlow Datasets: ymin, xmin, ymax, xmax of each object in turn
CATEGORIES = ("image/object/class/label", "image/object/bbox/label", "objects/label", "image/object/class/text")
FLAGS = {"iscrowd", "difficult", "truncated", "occluded"}
ITEMS = {"is_crowd": "iscrowd", **{f"is_{flag}": flag for flag in FLAGS}}


def count_boxes(example: dict[str, Feature]) -> int:
    """The number of objects in a record."""
    if LISTS in example:
        return len(example[LISTS].values()) // 4
    return len(example[CORNERS[0]].values()) if CORNERS[0] in example else 0


class Objects:
    """Makes the column `objects` from the features under `image/object/` or `objects/`."""

    def __init__(self, columns: dict[str, Column], category: str | None, classes: Classes | None):
        self.columns, self.category, self.classes = columns, category, classes
        self.items = {}  # name in the column -> feature
        for key in sorted(columns):
            prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), None)
            if prefix and columns[key].aligned and key not in (category, LISTS, *CORNERS):
                name = key.removeprefix(prefix).replace("/", "_")
                self.items[ITEMS.get(name, name)] = key

    @property
    def used(self) -> set[str]:
        """The features that are in the column."""
        return {self.category, LISTS, *CORNERS, *self.items.values()}

    def features(self) -> dict[str, Any]:
        types = {name: self.columns[key].feature() for name, key in self.items.items()}
        types |= {name: datasets.Value("bool") for name in types.keys() & FLAGS}
        types |= {name: datasets.Value("float32") for name in types.keys() & {"area"}}
        features = object_features(self.classes.names if self.classes else [], **types)
        if self.classes is None:
            del features["category"]
        return features

    def read(
        self, example: dict[str, Feature], frame: Frame, annotated: tuple[int, int] | None, where: str
    ) -> dict[str, Any]:
        """The objects of a record.

        Args:
            frame: the image.
            annotated: (width, height) from `image/width` and `image/height`; None without them.
            where: names file and record, for messages.

        Raises:
            DataError: lists of different length, or a box that `fit_boxes` refuses.
        """

        def values(key: str) -> list:
            return self.columns[key].values(example[key]) if key in self.columns and key in example else []

        if LISTS in self.columns:
            numbers = values(LISTS)
            if len(numbers) % 4:
                raise DataError(f"{where}: {LISTS} holds {len(numbers)} numbers, not four per box")
            corners = np.array(numbers, np.float64).reshape(-1, 4)[:, [1, 0, 3, 2]]
        else:
            sides = [values(key) for key in CORNERS]
            if len({len(side) for side in sides}) > 1:
                counts = ", ".join(f"{len(side)} {key.rpartition('/')[2]}" for key, side in zip(CORNERS, sides))
                raise DataError(f"{where}: the numbers of its boxes don't agree: {counts}")
            corners = np.array(sides, np.float64).T.reshape(-1, 4)
        corners *= [*(frame.stored if frame.turns(annotated) else frame.size)] * 2
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        labels = [f"{where}, object {number}" for number in range(1, len(boxes) + 1)]
        objects = {"bbox": list(fit_boxes(boxes, frame, annotated, labels))}
        if self.classes is not None:
            objects["category"] = self.classes.of(values(self.category))
            if len(objects["category"]) != len(boxes):
                raise DataError(
                    f"{where}: it has {len(boxes)} boxes, but {len(objects['category'])} of {self.category}"
                )
        for name, key in self.items.items():
            objects[name] = [bool(value) for value in values(key)] if name in FLAGS else values(key)
            if len(objects[name]) != len(boxes):
                raise DataError(f"{where}: it has {len(boxes)} boxes, but {len(objects[name])} of {key}")
        return objects
