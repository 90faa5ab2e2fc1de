"""What is learned of an image: its label, its boxes or its mask, and where the data hold it."""

from dataclasses import replace
from typing import Any, Protocol

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.image.decode import decode_image
from recipes.core.config.data import Data, MaskData, SceneData
from recipes.core.data import several
from recipes.core.data.columns import MISSING, column_of, holds_boxes, image_column, is_image, label_column, labels_of
from recipes.core.data.several import CLASS, columns_of, kind_of, read_labels, read_numbers, strata_of
from recipes.core.errors import UserError

LOOKED = 2000  # training masks whose ids are read to count the classes


class Target(Protocol):
    """What a task learns.

    Attributes:
        name, one: what images have, and an image has, in messages.
        option: the option for its column.
        hidden: what else counts as none, in messages.
        is_optional: an image without any is an image to learn from.
    """

    name: str
    one: str
    option: str
    hidden: str
    is_optional: bool

    def fill(self, rows: datasets.Dataset, data: Any) -> Any:
        """The options with the columns of images and targets filled in, from the training rows.

        Raises:
            UserError: there are none, or several.
        """

    def read(
        self, rows: datasets.Dataset, data: Any, classes: list[str] | None, where: str
    ) -> tuple[np.ndarray, list[str], np.ndarray | None]:
        """What is held out evenly, int64 (N,), MISSING for images without a target; the classes; and, if these numbers are not
        what is learned, the values that are, one or several of each image.

        Args:
            data: from `fill`.
            classes: those of the training rows; None if these are the training rows.
            where: the beginning of messages.
        """

    def column(self, data: Any) -> str | None:
        """The column whose content belongs to the fingerprint of the data; None if what was read is all of it."""


class Labels:
    """A class of each image; or several labels, or a number; or, unless `is_required`, none of any."""

    name, one, option, hidden, is_optional = "labels", "label", "label", "; -1 counts as hidden", False

    def __init__(self, is_required: bool = True):
        self.is_required = is_required

    def fill(self, rows: datasets.Dataset, data: Data) -> Data:
        data = replace(data, image=image_column(rows, data))
        columns = columns_of(rows, data.label) if self.is_required else []
        if kind_of(rows, columns) != CLASS:
            return replace(data, label=columns[0] if len(columns) == 1 else f"[{','.join(columns)}]")
        data = replace(data, label=label_column(rows, data, self.is_required))
        if not self.is_required and len(rows):
            labels, _ = labels_of(rows, data.label, None, data.path)
            if (labels == MISSING).all():
                return replace(data, label=None)
        return data

    def read(
        self, rows: datasets.Dataset, data: Data, classes: list[str] | None, where: str
    ) -> tuple[np.ndarray, list[str], np.ndarray | None]:
        columns = columns_of(rows, data.label) if self.is_required else []
        kind = kind_of(rows, columns)
        if kind == CLASS:
            return *labels_of(rows, data.label, classes, where), None
        if kind == several.LABELS:
            values, names = read_labels(rows, columns, classes, where)
        else:
            values, names = read_numbers(rows, columns[0], where), columns
        return strata_of(values), names, values

    def column(self, data: Data) -> None:
        return None


LABELS = Labels()


class Boxes:
    """Boxes with categories, in a column of the form of `objects`; an image may have none."""

    name, one, option, hidden, is_optional = "boxes", "list of boxes", "target", "", True

    def fill(self, rows: datasets.Dataset, data: SceneData) -> SceneData:
        target = column_of(rows, data.target, "objects", holds_boxes, "target")
        return replace(data, image=image_column(rows, data), target=target)

    def read(
        self, rows: datasets.Dataset, data: SceneData, classes: list[str] | None, where: str
    ) -> tuple[np.ndarray, list[str], None]:
        """0 for each image with a list of objects, which may be empty; all are MISSING if no image of the split has an object."""
        feature = rows.features.get(data.target)
        if not holds_boxes(feature):
            raise UserError(f"{where} has no boxes in column {data.target}: set data.target")
        names = feature["category"].feature.names
        if classes is not None and names != classes:
            raise UserError(f"{where} has the categories {few(names)}, but the training split {few(classes)}")
        lists = stored(rows, data.target, "category")
        counts = np.asarray(pc.fill_null(pc.list_value_length(lists), -1).to_numpy(zero_copy_only=False))
        kinds = pc.list_flatten(lists)
        if kinds.null_count or pc.list_flatten(stored(rows, data.target, "bbox")).null_count:
            raise UserError(f"{where}: an object in column {data.target} lacks its box or its category")
        if len(kinds) and not 0 <= pc.min(kinds).as_py() <= pc.max(kinds).as_py() < len(names):
            raise UserError(f"{where}: column {data.target} has categories beyond its {len(names)} names")
        listed = (counts >= 0) & (counts > 0).any()
        return np.where(listed, 0, MISSING).astype(np.int64), list(names), None

    def column(self, data: SceneData) -> str | None:
        return data.target


class Masks:
    """A mask of class ids for each image."""

    name, one, option, hidden, is_optional = "masks", "mask", "target", "", False

    def fill(self, rows: datasets.Dataset, data: MaskData) -> MaskData:
        data = replace(data, image=image_column(rows, data))
        others = rows.remove_columns([data.image])
        data = replace(data, target=column_of(others, data.target, "mask", is_image, "target"))
        return data if data.classes else replace(data, classes=self._count(rows, data))

    def read(
        self, rows: datasets.Dataset, data: MaskData, classes: list[str] | None, where: str
    ) -> tuple[np.ndarray, list[str], None]:
        """0 for each image with a mask."""
        if not is_image(rows.features.get(data.target)):
            raise UserError(f"{where} has no masks in column {data.target}: set data.target")
        column = rows.select_columns([data.target]).with_format("arrow")[:][data.target]
        there = np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False), bool)
        assert data.classes is not None  # `fill` has counted them
        return np.where(there, 0, MISSING), classes or mask_names(rows.info.description, data.classes), None

    def column(self, data: MaskData) -> str | None:
        return data.target

    def _count(self, rows: datasets.Dataset, data: MaskData) -> int:
        """One more than the highest id of some training masks."""
        some = rows.select_columns([data.target]).with_format("arrow")
        highest = -1
        for row in np.unique(np.linspace(0, len(rows) - 1, LOOKED).round().astype(np.int64)).tolist():
            value = some[row][data.target][0].as_py()
            if value is None:
                continue
            ids = np.asarray(decode_image(value, f"row {row}, column {data.target}"))
            ids = ids if data.ignore is None else ids[ids != data.ignore]
            highest = max(highest, int(ids.max())) if ids.size else highest
        if not 0 <= highest < 255:
            raise UserError(
                f"{data.path}: the masks in column {data.target} have ids up to {highest}, and 0 … 254 can be learned: set "
                "data.classes and data.ignore, or data.target to another column"
            )
        if highest == 0:
            raise UserError(
                f"{data.path}: the masks in column {data.target} hold no id but 0"
                + (f" and {data.ignore}, which data.ignore leaves out" if data.ignore is not None else "")
                + ". Of masks of 0 and 255, where 255 is the object, set data.ignore=null and write 1 for 255; or set data.classes"
            )
        return highest + 1


def mask_names(description: str, classes: int) -> list[str]:
    """The names of classes: those that the description of the data lists after `Ids:`, or their ids."""
    _, _, listed = (description or "").partition("Ids: ")
    found = [item.partition(" ") for item in listed.partition(".")[0].split(", ")]
    names = {int(number): name for number, _, name in found if number.isdigit() and name}
    return [names.get(number, str(number)) for number in range(classes)]


def few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def stored(rows: datasets.Dataset, column: str, item: str) -> pa.ChunkedArray:
    """The lists of one item of `objects`, a list for each row."""
    table = rows.select_columns([column]).with_format("arrow")[:]
    return pc.struct_field(table[column], item)
