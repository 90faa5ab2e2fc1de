"""Caltech-101: 8,677 photos of objects in 101 classes, 31 to 800 of each, about 300 x 200 pixels."""

import re
from dataclasses import replace

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.files.listing import Files, name_of
from dataset_scripts.core.files.replace import write_file
from dataset_scripts.layouts.image_folder.image_folder import ImageFolder

published = Source.at("https://data.caltech.edu/records/mzrjq-6wc02/files/")
IMAGE = re.compile(r"(?:.*/)?(?!BACKGROUND_Google/)[^/]+/image_\d{4}\.jpg")


class Caltech101(PublishedSet, ImageFolder):
    """The folder BACKGROUND_Google is not a class and is left out."""

    HOMEPAGE = "https://data.caltech.edu/records/mzrjq-6wc02"
    LICENSE = "cc-by-4.0"
    CITATION = """\
@misc{li2022caltech101,
    title     = {Caltech 101},
    author    = {Li, Fei-Fei and Andreeto, Marco and Ranzato, Marc'Aurelio and Perona, Pietro},
    publisher = {CaltechDATA},
    year      = {2022},
    doi       = {10.22002/D1.20086}
}"""
    SOURCES = (
        published("caltech-101.zip", 137414764, "331234750fc7f77520e50d9565e8b6907b03565e30320da1401130db08c61f91"),
    )
    ROWS = {"train": 8_677}

    def _list(self):
        files = super()._list()
        inner = next((path for path in files.paths if name_of(path) == "101_ObjectCategories.tar.gz"), None)
        if inner is not None:
            files = self._open_inner(files, inner)
        return replace(files, paths=[path for path in files.paths if IMAGE.fullmatch(path)])

    def _open_inner(self, files: Files, path: str) -> Files:
        """The listing of the inner archive, which is copied to the cache, where it is read in any order."""
        folder = self.downloads / "inflated"
        copy = folder / f"101_ObjectCategories-{files.state[:16]}.tar.gz"
        if not copy.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_file(copy, files.read(path))
        return Files.of(copy, inflate_to=folder)
