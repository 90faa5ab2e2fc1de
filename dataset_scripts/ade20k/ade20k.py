"""ADE20K, the scene parsing benchmark: 25,562 photos of indoor and outdoor scenes with masks of 150 classes."""

from dataclasses import replace

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.layout import Rows
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import Files, folder_of, name_of, stem_of
from dataset_scripts.core.formats.fields import brief
from dataset_scripts.layouts.mask_pairs.mask_pairs import MaskPairs

published = Source.at("http://data.csail.mit.edu/places/ADEchallenge/")


class Ade20k(PublishedSet, MaskPairs):
    HOMEPAGE = "http://sceneparsing.csail.mit.edu/"
    LICENSE = "bsd-3-clause"
    CITATION = """\
@inproceedings{zhou2017scene,
    title     = {Scene Parsing through {ADE20K} Dataset},
    author    = {Zhou, Bolei and Zhao, Hang and Puig, Xavier and Fidler, Sanja and Barriuso, Adela and Torralba, Antonio},
    booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
    pages     = {5122--5130},
    year      = {2017},
    doi       = {10.1109/CVPR.2017.544}
}"""
    SOURCES = (
        published(
            "ADEChallengeData2016.zip", 967382037, "7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29"
        ),
        published("release_test.zip", 211820497, "1878d23b4586e8724adfa5bf2b6a225aea99ec4eaa395aec2e1b47a79be67ee0"),
    )
    DECIDES = False
    PARTS = {
        "train": ("images/training/*", "annotations/training/*"),
        "validation": ("images/validation/*", "annotations/validation/*"),
        "test": ("release_test.zip|testing/*.jpg",),
    }
    ROWS = {"train": 20_210, "validation": 2_000, "test": 3_352}

    def index(self, files):
        tests = {path for path in files.images if name_of(folder_of(path)) == "testing"}
        features, found = super().index(replace(files, paths=[path for path in files.paths if path not in tests]))
        scenes = self._scenes(files)
        names = sorted(set(scenes.values()))
        places = {name: place for place, name in enumerate(names)}
        splits = {}
        for split, rows in found.items():
            samples, labels = [], []
            for _, image, mask in rows.samples:
                with self.faults:
                    if stem_of(image) not in scenes:
                        raise DataError(f"{files.root}/{image} has no line in sceneCategories.txt")
                    labels.append(places[scenes[stem_of(image)]])
                    samples.append((stem_of(image), image, mask))
            splits[split] = Rows(samples, {"label": pa.array(labels, pa.int64())})
        if tests:
            samples = [(stem_of(path), path, None) for path in sorted(tests)]
            splits["test"] = Rows(samples, {"label": pa.nulls(len(samples), pa.int64())})
        self.info.description += f"\n\nIds of masks: 0 other, {', '.join(self._class_names(files))}."
        columns = {name: features[name] for name in ("image", "mask")} | {"label": datasets.ClassLabel(names=names)}
        return datasets.Features(columns | {"image_id": features["image_id"]}), splits

    def _table(self, files: Files, name: str) -> list[tuple[str, str]]:
        """The lines of a text file in the archive, each with its place for messages."""
        path = next((path for path in files.paths if name_of(path) == name), None)
        if path is None:
            raise DataError(f"{files.root} has no {name}, which is in ADEChallengeData2016.zip")
        lines = files.read(path).decode("utf-8-sig", "replace").splitlines()
        return [(f"{files.root}/{path}, line {number}", line) for number, line in enumerate(lines, 1) if line.strip()]

    def _scenes(self, files: Files) -> dict[str, str]:
        """Image id -> scene, from lines such as `ADE_train_00000001 airport_terminal`."""
        scenes = {}
        for where, line in self._table(files, "sceneCategories.txt"):
            words = line.split()
            with self.faults:
                if len(words) != 2:
                    raise DataError(f"{where}: {brief(line)} is not the name of an image and its scene")
                scenes[words[0]] = words[1]
        return scenes

    def _class_names(self, files: Files) -> list[str]:
        """The ids of masks with the first of their names, from lines such as `2	0.1072	6046	612	building, edifice`."""
        names = []
        for where, line in self._table(files, "objectInfo150.txt")[1:]:
            cells = line.split("\t")
            if len(cells) < 5 or cells[0].strip() != str(len(names) + 1):
                raise DataError(
                    f"{where}: {brief(line)} is not the class {len(names) + 1} with its name in the last cell"
                )
            names.append(f"{len(names) + 1} {cells[-1].split(',')[0].strip()}")
        return names
