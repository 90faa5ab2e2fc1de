"""Folders that are classes, of layouts that are about something else: masks, captions."""

import os
import re
from collections.abc import Mapping, Sequence

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.layout import Rows
from dataset_scripts.core.builders.tables import as_class_label
from dataset_scripts.core.errors import printable_logger
from dataset_scripts.core.files.listing import folder_of
from dataset_scripts.core.files.splits import SplitFolders

logger = printable_logger(__name__)

SHARD = re.compile(r"\d{4,}")  # 00000, 00001: folders of a set that is too large for one


def add_labels(rows: Mapping[str, Rows], names: Mapping[str, Sequence[str | None]]) -> datasets.ClassLabel:
    """Adds the column `label`: the class of each row of each split."""
    whole = pa.array([name for split in rows for name in names[split]], pa.string())
    feature, labels = as_class_label(pa.chunked_array([whole]))
    start = 0
    for split, part in rows.items():
        part.columns["label"] = labels.slice(start, len(names[split]))
        start += len(names[split])
    return feature


def folder_classes(root: object, splits: Mapping[str, Sequence[str]]) -> dict[str, list[str | None]] | None:
    """The classes of images by the folders below those that are splits or around all; None if these are not classes.

    They are if there are several, not only numbered shards, and no image lies beside them. The images of a split that lie
    in none have None.

    Args:
        root: the folder, for messages.
        splits: the paths of the images of each split.
    """
    without = SplitFolders(path for paths in splits.values() for path in paths).without
    folders = {split: [folder_of(without(path)).split("/") for path in paths] for split, paths in splits.items()}
    every = [parts for found in folders.values() for parts in found]
    shared = len(os.path.commonprefix([min(every), max(every)])) if every else 0
    names = {split: ["/".join(parts[shared:]) for parts in found] for split, found in folders.items()}
    classes = {name for found in names.values() for name in found if name}
    if len(classes) < 2 or all(map(SHARD.fullmatch, classes)):
        return None
    for split, found in names.items():
        if any(found) and not all(found):
            logger.warning(
                "%s: folders are not classes: %s is beside them, in none", root, splits[split][found.index("")]
            )
            return None
        if not any(found):
            logger.warning("%s: no image of %s is in a class folder: its labels are None", root, split)
    return {split: [name or None for name in found] for split, found in names.items()}
