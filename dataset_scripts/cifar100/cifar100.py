"""CIFAR-100: 60,000 colour photos of 32 x 32 pixels in 100 classes and 20 groups, from the 80 Million Tiny Images."""

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import name_of
from dataset_scripts.layouts.cifar.cifar import Cifar

published = Source.at("https://www.cs.toronto.edu/~kriz/")


class Cifar100(PublishedSet, Cifar):
    """The names of classes (`label`) and groups (`coarse_label`) come with the files."""

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
            "cifar-100-python.tar.gz", 169001437, "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
        ),
    )
    ROWS = {"train": 50_000, "test": 10_000}
    PARTS = {"train": ("train|train.bin",), "test": ("test|test.bin",)}
    WHOLE = False

    def index(self, files):
        if not any(name_of(path) in ("meta", "fine_label_names.txt") for path in files.paths):
            raise DataError(f"{files.root} holds no meta, the file of CIFAR-100 that names the classes")
        return super().index(files)
