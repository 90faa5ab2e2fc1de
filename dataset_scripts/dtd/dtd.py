"""Describable Textures: 5,640 photos in 47 classes that are words for textures, such as banded, bubbly or woven."""

from dataclasses import dataclass

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.builders.tables import resolve_names, rows_of

published = Source.at("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/")
LISTS = {"train": "train", "validation": "val", "test": "test"}


@dataclass
class DtdConfig(LayoutConfig):
    """`name` is the number of a partition, "1" to "10"."""


class Dtd(PublishedSet, LayoutBuilder):
    """Config names are partitions: the same images in different splits. The default is the first, which most papers use."""

    BUILDER_CONFIG_CLASS = DtdConfig
    BUILDER_CONFIGS = [DtdConfig(name=str(number)) for number in range(1, 11)]
    DEFAULT_CONFIG_NAME = "1"
    HOMEPAGE = "https://www.robots.ox.ac.uk/~vgg/data/dtd/"
    LICENSE = "other"
    CITATION = """\
@inproceedings{cimpoi2014describing,
    title     = {Describing Textures in the Wild},
    author    = {Cimpoi, Mircea and Maji, Subhransu and Kokkinos, Iasonas and Mohamed, Sammy and Vedaldi, Andrea},
    booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
    pages     = {3606--3613},
    year      = {2014},
    doi       = {10.1109/CVPR.2014.461}
}"""
    SOURCES = (
        published("dtd-r1.0.1.tar.gz", 625239812, "e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205"),
    )
    ROWS = {"train": 1_880, "validation": 1_880, "test": 1_880}

    def parts(self):
        return {split: (f"labels/{name}{self.config.name}.txt",) for split, name in LISTS.items()}

    def index(self, files):
        lists = {split: name for split in self.present for name in self.parts()[split]}
        top = files.above(next(iter(lists.values())))
        lists = {split: f"{top}{name}" for split, name in lists.items()}
        names = {split: files.read(path).decode("utf-8", "replace").split() for split, path in lists.items()}
        rows, images, kinds = {}, {}, {}
        for split, path in lists.items():
            column = pa.array(names[split], pa.string())
            images[split] = resolve_names(files, path, column, "image", f"{top}images", self.faults)
            kinds[split] = [name.split("/")[0] for name in column.filter(images[split].is_valid()).to_pylist()]
        label = datasets.ClassLabel(names=sorted({kind for listed in kinds.values() for kind in listed}))
        for split in lists:
            rows[split] = rows_of(
                images[split].drop_null(), {"label": pa.array(label.str2int(kinds[split]), pa.int64())}
            )
        return datasets.Features(image=datasets.Image(), label=label), rows

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}
