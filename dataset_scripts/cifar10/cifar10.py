"""CIFAR-10: 60,000 colour photos of 32 x 32 pixels in ten classes, from the 80 Million Tiny Images."""

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.cifar.cifar import Cifar

published = Source.at("https://www.cs.toronto.edu/~kriz/")


class Cifar10(PublishedSet, Cifar):
    HOMEPAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
    LICENSE = "unknown"
    CITATION = """\
@techreport{krizhevsky2009learning,
    title       = {Learning Multiple Layers of Features from Tiny Images},
    author      = {Krizhevsky, Alex},
    institution = {University of Toronto},
    year        = {2009}
}"""
    SOURCES = (
        published(
            "cifar-10-python.tar.gz", 170498071, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
        ),
    )
    ROWS = {"train": 50_000, "test": 10_000}
    PARTS = {"train": ("data_batch_1|data_batch_*",), "test": ("test_batch|test_batch.bin",)}
    WHOLE = False
    CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    FEATURES = labelled(CLASSES)
