"""Folders of images: class folders, split folders, metadata tables. The card beside this file gives the rules."""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import datasets
import pyarrow as pa

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files import is_hidden, is_image, walk
from dataset_scripts.core.tables import as_class_label, read_metadata

logger = logging.getLogger(__name__)

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
SPLITS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip


@dataclass
class ImageFolderConfig(datasets.BuilderConfig):
    """Options of `load_dataset("image_folder", data_dir=…)`.

    Attributes:
        splits: whether the top folders are splits; None decides by their names.
        class_depth: how many of the folders above an image make its class: None takes all ("dog/beagle"), 1 the
            first ("dog", as torchvision does).
        drop_labels: True never makes labels of folders, False does so beside a metadata table too.
    """

    splits: bool | None = None
    class_depth: int | None = None
    drop_labels: bool | None = None


@dataclass
class Listing:
    """The files of a folder, as paths relative to it, with `/`, in sorted order."""

    root: Path
    images: list[str]
    tables: list[str]
    others: list[str]

    @classmethod
    def of(cls, root: Path, paths: Iterable[str]) -> "Listing":
        listing = cls(root, [], [], [])
        for path in paths:
            relative = os.path.relpath(path, root).replace(os.sep, "/")
            name = os.path.basename(path)
            group = listing.images if is_image(name) else listing.tables if name in METADATA else listing.others
            group.append(relative)
        return listing

    def __str__(self) -> str:
        folders = {os.path.dirname(path) for path in self.images}
        parts = [f"{len(self.images)} images in {len(folders)} folders"]
        if self.tables:
            parts.append(f"described by {', '.join(self.tables)}")
        if self.others:
            parts.append(f"{len(self.others)} other files ignored, such as {self.others[0]}")
        return ", ".join(parts)

    def split_folders(self, wanted: bool | None) -> dict[str, str]:
        """The top folders that are splits, with the names of the splits; empty where the whole is one split."""
        tops = sorted({path.split("/", 1)[0] for path in self.images if "/" in path})
        loose = next((path for path in self.images if "/" not in path), None)
        if wanted is None:
            wanted = bool(tops) and loose is None and all(top.lower() in SPLITS for top in tops)
        if not wanted:
            return {}
        if loose is not None:
            raise DataError(f"{self.root / loose} lies beside the split folders: move it into one, or pass splits=False")
        named = {top: SPLITS.get(top.lower(), top) for top in tops}
        if len(set(named.values())) < len(tops):  # `val` beside `valid`: they keep their own names
            named = {top: top for top in tops}
        usual = list(dict.fromkeys(SPLITS.values()))
        return dict(sorted(named.items(), key=lambda item: usual.index(item[1]) if item[1] in usual else len(usual)))


def matches(folder):
    """Any folder of images."""
    listing = Listing.of(folder, (entry.path for entry in walk(folder)))
    if not listing.images:
        return None
    splits = listing.split_folders(None).values()
    return f"{listing}; splits: {', '.join(splits) or 'train'}"


class ImageFolder(datasets.ArrowBasedBuilder):
    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = ImageFolderConfig
    CHUNK = 256  # images a table, and a unit that num_proc and DataLoader workers share

    def _info(self):
        return datasets.DatasetInfo(description="Images in folders.")  # the features follow from the files

    def _split_generators(self, dl_manager):
        listing, splits = self._files()
        images = [path for paths in splits.values() for path in paths]
        columns, features = {}, {"image": datasets.Image()}
        if listing.tables:
            metadata = read_metadata(listing.root, listing.tables, set(images))
            listed = set(metadata["file_name"].to_pylist())
            missing = [path for path in images if path not in listed]
            if missing:
                logger.warning("%s: %d images are in no metadata table and left out, such as %s",
                               listing.root, len(missing), missing[0])  # fmt: skip
            splits = {split: {path: name for path, name in paths.items() if path in listed} for split, paths in splits.items()}
            order = {path: row for row, path in enumerate(metadata["file_name"].to_pylist())}
            images = [path for paths in splits.values() for path in paths]
            metadata = metadata.drop_columns("file_name").take([order[path] for path in images])
            kinds = datasets.Features.from_arrow_schema(metadata.schema)
            for name in metadata.column_names:
                classes = as_class_label(metadata[name]) if name == "label" else None
                features[name], columns[name] = classes or (kinds[name], metadata[name].combine_chunks())
        if "label" not in features and not self.config.drop_labels and (not listing.tables or self.config.drop_labels is False):
            names = [name for paths in splits.values() for name in paths.values()]
            if any(names):
                if not all(names):
                    stray = listing.root / images[names.index("")]
                    raise DataError(f"{stray} is in no class folder while others are: move it, or pass drop_labels=True")
                features["label"], columns["label"] = as_class_label(pa.chunked_array([names]))
        self.info.features = datasets.Features(features)

        generators, start = [], 0
        for split, paths in splits.items():
            part = pa.table(columns).slice(start, len(paths)) if columns else None
            start += len(paths)
            generators.append(datasets.SplitGenerator(split, {"chunks": self._chunks(listing.root, list(paths), part)}))
        return generators

    def _files(self) -> tuple[Listing, dict[str, dict[str, str]]]:
        """Lists the images: split -> path relative to the root -> class ("" for none)."""
        if self.config.data_files:
            files = {split: [str(path) for path in paths] for split, paths in self.config.data_files.items()}
            remote = next((path for paths in files.values() for path in paths if "://" in path), None)
            if remote is not None:
                raise DataError(f"image_folder reads local files, not {remote}: use load_dataset('imagefolder', …)")
            files = {split: [p for p in paths if not is_hidden(os.path.basename(p))] for split, paths in files.items()}
            root = Path(os.path.commonpath([os.path.dirname(path) for paths in files.values() for path in paths]))
            listing = Listing.of(root, sorted(path for paths in files.values() for path in paths))
            splits = {
                str(split): {path: os.path.basename(os.path.dirname(root / path)) for path in Listing.of(root, sorted(paths)).images}
                for split, paths in files.items()
            }
        else:
            if self.config.data_dir is None:
                raise DataError("image_folder reads a folder: load_dataset('image_folder', data_dir='path/to/images')")
            root = Path(self.config.data_dir)
            listing = Listing.of(root, (entry.path for entry in walk(root)))
            folders = listing.split_folders(self.config.splits)
            splits = {split: {} for split in folders.values()} or {"train": {}}
            for path in listing.images:
                parts = path.split("/")[:-1]
                split = folders[parts.pop(0)] if folders else "train"
                splits[split][path] = "/".join(parts[: self.config.class_depth])
        empty = [split for split, paths in splits.items() if not paths]
        if empty or not listing.images:
            raise DataError(f"{listing.root}: no images for the split {(empty or ['train'])[0]}")
        return listing, splits

    def _chunks(self, root: Path, paths: list[str], columns: pa.Table | None) -> list[tuple]:
        """Cuts a split into parts of equal size: at least 64, where it has that many images, of at most CHUNK."""
        size = min(self.CHUNK, max(1, len(paths) // 64))
        return [
            (str(root), paths[start : start + size], columns and columns.slice(start, size))
            for start in range(0, len(paths), size)
        ]

    def _generate_tables(self, chunks):
        for number, (root, paths, columns) in enumerate(chunks):
            contents = []
            for path in paths:
                content = Path(root, path).read_bytes()
                if not content:
                    raise DataError(f"{root}/{path} is empty")
                contents.append(content)
            image = pa.StructArray.from_arrays([pa.array(contents, pa.binary()), pa.array(paths, pa.string())], ["bytes", "path"])
            table = pa.table({"image": image, **({name: columns[name] for name in columns.column_names} if columns else {})})
            yield number, table.select(list(self.info.features))
