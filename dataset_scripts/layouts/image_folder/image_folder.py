"""Folders of images: class folders, split folders, metadata tables. The card beside this file describes the rules."""

import itertools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.builders.leftovers import leave_out
from dataset_scripts.core.builders.tables import as_class_label, read_metadata
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, folder_of, is_image, name_of, stem_of, without_suffix
from dataset_scripts.core.files.splits import SPLITS, in_order, sibling_splits, split_in, split_name

logger = printable_logger(__name__)

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
PRECEDENCE = 0
ABOUT = re.compile(r"(.+)[_-](?:masks?|gt|seg|segmentation|label|annotation)(?:_\d+)?", re.IGNORECASE)
OTHER_VIEWS = re.compile(  # of the same scenes, not classes of them
    r"depths?|depth_?maps?|disp(arity)?|normals?|thermal|infrared|ir|nir|flow|sar|lidar|edges?|masks?|labels?|annotations?",
    re.IGNORECASE,
)
PLAIN = re.compile(r"data|dataset|images?|imgs?|jpegimages|photos?|pictures?|samples", re.IGNORECASE)
PART = re.compile(r"(.*?)[-_.]?\d+([-_.]of[-_.]\d+)?")  # part3, train-00001-of-00010


@dataclass
class ImageFolderConfig(LayoutConfig):
    """Options of `load_dataset("image_folder", data_dir=…)`.

    Attributes:
        splits: whether the top folders are splits; None decides by their names.
        class_depth: how many of the folders above an image make its class: None takes all ("dog/beagle"), 1 the
            first ("dog", as torchvision does).
        drop_labels: True never makes labels from folders, False does so even with a metadata table.
    """

    splits: bool | None = None
    class_depth: int | None = None
    drop_labels: bool | None = None


def matches(files):
    """Any folder of images."""
    if not files.images:
        return None
    folders = image_folders(files)
    parts = [f"{counted(len(files.images), 'image')} in {counted(len(set(folders.values())), 'folder')}"]
    if tables := tables_in(files):
        parts.append(f"described by {', '.join(tables)}")
    splits = in_order(dict.fromkeys(split_folders(files, folders, None).values()))
    return f"{', '.join(parts)}; splits: {', '.join(splits) or 'train'}"


def short_key(path: str) -> str:
    """A path without suffix and all but the last of its folders: `test/crack/000.png` -> `crack/000`."""
    return "/".join(without_suffix(path).split("/")[-2:])


def is_beside(folder: str, other: str) -> bool:
    return folder != other and folder_of(folder) == folder_of(other)


def counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"


def tables_in(files: Files) -> list[str]:
    return [path for path in files.paths if name_of(path) in METADATA]


def image_folders(files: Files) -> dict[str, str]:
    """Image -> folder. The folder of archives that are parts of one set is their split, or nothing.

    They are parts if their names differ only in number and split, and all their images are in folders.
    """
    folders, parts, stems = {path: folder_of(path) for path in files.images}, {}, set()
    for prefix, archive in files.mounts.items():
        inside = {name: folder_of(name) for name in archive.names if is_image(name)}
        if inside and all(inside.values()) and (match := PART.fullmatch(name_of(prefix[:-1]))):
            stems.add(tuple(word for word in re.split("[-_.]", match[1]) if split_in(word) is None))
            around = [folder_of(prefix[:-1]), split_in(match[1])]
            parts |= {prefix + name: "/".join(filter(None, [*around, folder])) for name, folder in inside.items()}
    return folders | parts if len(stems) == 1 else folders


def top_of(folders: Iterable[str]) -> str:
    """The folders around all images and more than one folder of images ("EuroSAT/2750/"): neither splits nor classes."""
    unique = set(folders) or {""}
    # Their common part is common to all.
    shared = os.path.commonprefix([min(unique).split("/"), max(unique).split("/")])
    if "/".join(shared) in unique:
        shared = shared[:-1]  # it contains images: it is their class
    return "".join(f"{part}/" for part in itertools.takewhile(lambda part: not sibling_splits([part]), shared))


def split_folders(files: Files, folders: dict[str, str], wanted: bool | None) -> dict[str, str]:
    """The top folders that are splits, with the names of the splits; empty if the whole is one split.

    Beside a train and a test folder of class folders, others are splits of their own: `seg_pred`.
    """
    start = len(top_of(folders.values()))
    tops = sorted({folder[start:].split("/", 1)[0] for folder in folders.values()} - {""})
    loose = next((path for path, folder in folders.items() if not folder[start:]), None)
    named = sibling_splits(tops)
    if wanted is None:
        bare = {folder[start:] for folder in folders.values()}  # split folders that hold images themselves
        is_tree = len(named) > 1 and "train" in named.values() and bare.isdisjoint(named)
        wanted = bool(tops) and loose is None and (len(named) == len(tops) or is_tree)
        is_plain = any(name.lower() in SPLITS for name in named)  # folders called train and test may be classes
        if not wanted and loose is None and len(named) > 1 and "train" in named.values() and not is_plain:
            other = next(top for top in tops if top not in named)
            raise DataError(
                f"{files.root}: {' and '.join(sorted(named))} are called like splits, but {other} beside them is not: pass "
                "splits=True if all are splits, splits=False if they are classes"
            )
    if not wanted:
        return {}
    if loose is not None:
        raise DataError(f"{files.root}/{loose} is beside the split folders: move it into one, or pass splits=False")
    every = {top: named.get(top) or split_name(top) for top in tops}
    if len(set(every.values())) == len(tops):
        return every
    return {
        top: re.sub(r"\W", "_", top) if top in named else f"split_{place}" for place, top in enumerate(tops)
    }  # `val`, `valid`


def splits_below(folders: Iterable[list[str]]) -> dict[str, str]:
    """The splits that all class folders have below them, as `circle/train`, `square/train`: folder -> split; else empty."""
    inner: dict[str, set[str]] = {}
    for parts in folders:
        if len(parts) < 2:
            return {}
        inner.setdefault(parts[0], set()).add(parts[1])
    found = [sibling_splits(names) for names in inner.values()]
    if len(inner) < 2 or any(set(splits) != names for splits, names in zip(found, inner.values())):
        return {}
    return {name: split for splits in found for name, split in splits.items()}


class ImageFolder(LayoutBuilder):
    BUILDER_CONFIG_CLASS = ImageFolderConfig
    TAKES_DATA_FILES = True

    def index(self, files):
        self._check_pairs(files)
        splits = self._classes(files)
        images = [path for paths in splits.values() for path in paths]
        columns, features = {}, {"image": datasets.Image()}
        tables = tables_in(files)
        files.account(tables)
        if tables:
            metadata = read_metadata(files, tables, self.faults)
            order = {path: row for row, path in enumerate(metadata["file_name"].to_pylist())}
            missing = [path for path in images if path not in order]
            leave_out(files, self.faults, missing, len(images), "are in no metadata table")
            splits = {
                split: {path: name for path, name in paths.items() if path in order} for split, paths in splits.items()
            }
            images = [path for paths in splits.values() for path in paths]
            metadata = metadata.drop_columns("file_name").take([order[path] for path in images])
            kinds = datasets.Features.from_arrow_schema(metadata.schema)
            for name in metadata.column_names:
                classes = as_class_label(metadata[name]) if name == "label" else None
                features[name], columns[name] = classes or (kinds[name], metadata[name].combine_chunks())
        if "label" not in features and not self.config.drop_labels and (not tables or self.config.drop_labels is False):
            names = self._labels(files, splits)
            if any(names):
                features["label"], columns["label"] = as_class_label(pa.chunked_array([pa.array(names, pa.string())]))
        files.keep(images)
        rows, start = {}, 0
        for split, paths in splits.items():
            rows[split] = Rows(list(paths), {name: column.slice(start, len(paths)) for name, column in columns.items()})
            start += len(paths)
        return datasets.Features(features), rows

    def _check_pairs(self, files: Files) -> None:
        """Refuses images that by their names are about others: masks, as photos, would be silently wrong.

        Raises:
            DataError: it counts them, and says how to read them or to leave them out.
        """
        stems = {key for path in files.images for key in (without_suffix(path), short_key(path))}
        about = [
            path
            for path in files.images
            if (match := ABOUT.fullmatch(without_suffix(path)))
            and (match[1] in stems or (folder_of(path) and short_key(match[1]) in stems))
        ]
        if about:
            raise DataError(
                f"{files.root} is not understood: {len(about)} of {len(files.images)} images are named like masks of others, "
                f"such as {about[0]}: load_dataset('mask_pairs', data_dir=…) reads masks, ignore=[…] leaves them out"
            )
        folders: dict[str, set[str]] = {}
        for path in files.images:
            folders.setdefault(folder_of(path), set()).add(stem_of(path))
        for folder, inside in folders.items():
            other = next((other for other in folders if is_beside(other, folder) and folders[other] == inside), None)
            if other is not None and OTHER_VIEWS.fullmatch(name_of(folder)):
                raise DataError(
                    f"{files.root} is not understood: the images of {folder} are named like those of {other}, and are not a class: "
                    f"load_dataset('image_pairs', data_dir=…, source={name_of(other)!r}, target={name_of(folder)!r}) reads both"
                )

    def _labels(self, files: Files, splits: dict[str, dict[str, str]]) -> list[str | None]:
        """The class of each image; None in splits without class folders, if others have them.

        Raises:
            DataError: some images of a split are in class folders, and others are not.
        """
        names: list[str | None] = []
        for paths in splits.values():
            bare = next((path for path, name in paths.items() if not name), None)
            if bare is not None and any(paths.values()):
                raise DataError(
                    f"{files.root}/{bare} is in no class folder, while others are: move it, or pass drop_labels=True"
                )
            names += paths.values() if bare is None else [None] * len(paths)
        found = set(names) - {None}
        if len(found) == 1 and PLAIN.fullmatch(name := found.pop()) and self.config.drop_labels is None:
            logger.warning("%s: %s is the only folder, and not a class: there are no labels", files.root, name)
            return [None] * len(names)
        without = [split for split, paths in splits.items() if not any(paths.values())]
        if without and found:
            logger.warning(
                "%s: no image of %s is in a class folder: its labels are None", files.root, ", ".join(without)
            )
        return names

    def _classes(self, files: Files) -> dict[str, dict[str, str]]:
        """Sorts the images: split -> path -> class ("" for none)."""
        if self.config.data_files:
            return {
                split: {path: name_of(folder_of(path)) for path in paths if is_image(path)}
                for split, paths in self.named_files().items()
            }
        folders = image_folders(files)
        tops = split_folders(files, folders, self.config.splits)
        splits = in_order({split: {} for split in tops.values()}) or {"train": {}}
        start = len(top_of(folders.values()))
        below: dict[str, dict[str, list[str]]] = {}  # top folder -> path -> the folders below it
        for path, folder in folders.items():
            parts = folder[start:].split("/")
            below.setdefault(parts.pop(0) if tops else "", {})[path] = parts
        if not tops and (inner := splits_below(below.get("", {}).values())):
            logger.warning(
                "%s: the splits %s are below the class folders", files.root, ", ".join(sorted(set(inner.values())))
            )
            splits = in_order({split: {} for split in inner.values()})
            for path, parts in below[""].items():
                splits[inner[parts[1]]][path] = "/".join([parts[0], *parts[2:]][: self.config.class_depth])
            return splits
        for top, inside in below.items():
            repeated = top and all(parts[:1] == [top] for parts in inside.values())
            if repeated:
                logger.warning("%s: %s holds nothing but another %s, which is not a class", files.root, top, top)
            for path, parts in inside.items():
                parts = parts[1:] if repeated else parts
                splits[tops[top] if tops else "train"][path] = "/".join(parts[: self.config.class_depth])
        return splits

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}
