"""Caltech-256: 30,607 photos of objects in 256 classes and one of clutter, at least 80 of each."""

import re
from dataclasses import replace

import datasets

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.layouts.image_folder.image_folder import ImageFolder

published = Source.at("https://data.caltech.edu/records/nyy15-4j048/files/")
# Not the files that were forgotten in 056.dog and 198.spider.
IMAGE = re.compile(r"(?:.*/)?(\d{3})\.[^/]+/\1_\d{4}\.jpg")


class Caltech256(PublishedSet, ImageFolder):
    """The folder `001.ak47` is the class `ak47`; the order is that of the numbers."""

    HOMEPAGE = "https://data.caltech.edu/records/nyy15-4j048"
    LICENSE = "unknown"
    CITATION = """\
@techreport{griffin2007caltech256,
    title       = {Caltech-256 Object Category Dataset},
    author      = {Griffin, Gregory and Holub, Alex and Perona, Pietro},
    institution = {California Institute of Technology},
    number      = {CNS-TR-2007-001},
    year        = {2007}
}"""
    SOURCES = (published("256_ObjectCategories.tar", 1183006720, "67b4f42ca05d46448c6bb8ecd2220f6d"),)
    ROWS = {"train": 30_607}

    def _list(self):
        files = super()._list()
        return replace(files, paths=[path for path in files.paths if IMAGE.fullmatch(path)])

    def index(self, files):
        features, rows = super().index(files)
        features["label"] = datasets.ClassLabel(names=[name.partition(".")[2] for name in features["label"].names])
        return features, rows
