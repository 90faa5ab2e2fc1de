"""ImageNet (ILSVRC 2012): 1,281,167 photos for training and 50,000 for validation, in 1,000 classes."""

import re
from collections import Counter
from pathlib import Path

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.layout import LayoutBuilder, Rows
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.archives import TarReader, archive_stem, is_archive, open_archive
from dataset_scripts.core.files.listing import Files, folder_of, name_of
from dataset_scripts.imagenet_1k.devkit import DEVKIT, read_devkit, read_kaggle
from dataset_scripts.imagenet_1k.tar_of_tars import TarOfTars

logger = printable_logger(__name__)

IMAGE = re.compile(r"(?:(?P<wnid>n\d{8})_\d+|ILSVRC2012_(?P<split>val|test)_(?P<number>\d{8}))\.JPEG")
WNID = re.compile(r"n\d{8}")
PARTS = {None: "train", "val": "validation", "test": "test"}

by_hand = Source.at()  # they are given only to those who agree to the terms


def class_names(words: dict[str, str]) -> list[str]:
    """The names of classes, in the order of their WordNet ids; classes that share a name (two are `crane`) add their id."""
    count = Counter(words.values())
    return [words[wnid] if count[words[wnid]] == 1 else f"{words[wnid]} ({wnid})" for wnid in sorted(words)]


class Imagenet1k(PublishedSet, LayoutBuilder):
    """Reads the archives as they are, class folders, and Kaggle's tree; images are identified by their names.

    Classes are in the order of their WordNet ids. They have the names from the development kit, else the ids.
    """

    HOMEPAGE = "https://www.image-net.org/challenges/LSVRC/2012/"
    LICENSE = "other"
    CITATION = """\
@article{russakovsky2015imagenet,
    title   = {{ImageNet Large Scale Visual Recognition Challenge}},
    author  = {Russakovsky, Olga and Deng, Jia and Su, Hao and Krause, Jonathan and Satheesh, Sanjeev and Ma, Sean and
               Huang, Zhiheng and Karpathy, Andrej and Khosla, Aditya and Bernstein, Michael and Berg, Alexander C. and
               Fei-Fei, Li},
    journal = {International Journal of Computer Vision},
    volume  = {115},
    number  = {3},
    pages   = {211--252},
    year    = {2015},
    doi     = {10.1007/s11263-015-0816-y}
}"""
    SOURCES = (
        by_hand(
            "ILSVRC2012_img_train.tar", 147897477120, "b08200a27a8e34218a0e58fde36b0fe8f73bc377f4acea2d91602057c3ca45bb"
        ),
        by_hand(
            "ILSVRC2012_img_val.tar", 6744924160, "c7e06a6c0baccf06d8dbeb6577d71efff84673a5dbdd50633ab44f8ea0456ae0"
        ),
    )
    PARTS = {
        "train": ("ILSVRC2012_img_train.tar|n????????_*.JPEG",),
        "validation": ("ILSVRC2012_img_val.tar|ILSVRC2012_val_*.JPEG",),
        "test": ("ILSVRC2012_img_test_v10102019.tar|ILSVRC2012_test_*.JPEG",),
    }
    ROWS = {"train": 1_281_167, "validation": 50_000}

    def _list(self):
        files = super()._list()
        mounts = dict(files.mounts)
        for path in files.paths:
            if name_of(path) == DEVKIT:  # packed beside unpacked images
                mounts[f"{archive_stem(path)}/"] = open_archive(Path(files.root, path), self.downloads / "inflated")
        for prefix, archive in files.mounts.items():
            if (
                isinstance(archive, TarReader)
                and archive.names
                and all(name.endswith(".tar") for name in archive.names)
            ):
                mounts[prefix] = TarOfTars(archive.path)
        paths = [path for path in files.paths if files.locate(path)[0] is None]
        paths += [prefix + name for prefix, archive in mounts.items() for name in archive.names]
        return Files(files.root, mounts, sorted(paths), files.state, files.left_out, aliases=files.aliases)

    def index(self, files):
        words, truth = read_devkit(files, self.faults) or read_kaggle(files)
        found, strange = {split: {} for split in PARTS.values()}, []
        for path in files.images:
            name, folder = name_of(path), name_of(folder_of(path))
            match = IMAGE.fullmatch(name)
            if match is None:
                strange.append(path)
                continue
            split = PARTS[match["split"]]
            with self.faults:
                if name in found[split]:
                    raise DataError(f"{files.root}: {found[split][name][0]} and {path} are the same image: remove one")
                wnid = match["wnid"] or (folder if WNID.fullmatch(folder) else None)
                if split == "validation" and wnid is None and (wnid := truth.get(int(match["number"]))) is None:
                    raise DataError(
                        f"{files.root}/{path} is in no class folder: put {DEVKIT} beside it, which tells the classes"
                    )
                if words and wnid is not None and wnid not in words:
                    raise DataError(f"{files.root}/{path}: {wnid} is not a class of the development kit")
                found[split][name] = (path, wnid)
        if strange:
            logger.warning(
                "%s: %d images do not have a name of ImageNet and are left out, such as %s",
                files.root,
                len(strange),
                strange[0],
            )
        for path in filter(is_archive, files.paths):
            split = PARTS.get("test" if "_test" in path else "val" if "_val" in path else None)
            if name_of(path).startswith("ILSVRC2012_img_") and not found[split]:
                raise DataError(
                    f"{files.root}/{path} is not read beside unpacked images: unpack it too, or give it a folder"
                )
        return self._rows(files, {split: list(rows.values()) for split, rows in found.items() if rows}, words)

    def _rows(self, files: Files, splits: dict[str, list[tuple[str, str | None]]], words: dict[str, str]):
        wnids = {wnid for rows in splits.values() for _, wnid in rows} - {None}
        words = words or {wnid: wnid for wnid in wnids}
        if not words:
            raise DataError(f"{files.root} does not say what the classes are: put {DEVKIT} beside the test images")
        numbers = {wnid: number for number, wnid in enumerate(sorted(words))} | {None: None}
        rows = {
            split: Rows(
                [path for path, _ in listed], {"label": pa.array([numbers[wnid] for _, wnid in listed], pa.int64())}
            )
            for split, listed in splits.items()
        }
        return datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=class_names(words))), rows

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}
