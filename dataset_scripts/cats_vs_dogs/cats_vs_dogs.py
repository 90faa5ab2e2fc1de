"""Cats vs. Dogs: 24,998 colour photos of cats and dogs in search of a home, of various sizes (Asirra, Kaggle)."""

import pyarrow as pa

from dataset_scripts.core.builders.layout import Rows
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.image_folder.image_folder import ImageFolder

EMPTY = ("/Cat/666.jpg", "/Dog/11702.jpg")  # published as empty files
published = Source.at("https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/")


class CatsVsDogs(PublishedSet, ImageFolder):
    HOMEPAGE = "https://www.microsoft.com/en-us/download/details.aspx?id=54765"
    LICENSE = "other"
    CITATION = """\
@inproceedings{elson2007asirra,
    title     = {Asirra: A CAPTCHA that Exploits Interest-Aligned Manual Image Categorization},
    author    = {Elson, Jeremy and Douceur, John R. and Howell, Jon and Saul, Jared},
    booktitle = {ACM Conference on Computer and Communications Security},
    pages     = {366--374},
    year      = {2007},
    doi       = {10.1145/1315245.1315291}
}"""
    SOURCES = (
        published(
            "kagglecatsanddogs_5340.zip", 824887076, "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9"
        ),
    )
    ROWS = {"train": 24_998}
    CLASSES = ["Cat", "Dog"]
    FEATURES = labelled(CLASSES)

    def index(self, files):
        features, rows = super().index(files)
        for split, part in rows.items():
            kept = [row for row, path in enumerate(part.samples) if not f"/{path}".endswith(EMPTY)]
            columns = {name: column.take(pa.array(kept)) for name, column in part.columns.items()}
            rows[split] = Rows([part.samples[row] for row in kept], columns)
        return features, rows
