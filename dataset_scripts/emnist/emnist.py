"""EMNIST: up to 814,255 handwritten letters and digits, grey images of 28 x 28 pixels, in the format of MNIST."""

import string

from dataset_scripts.core.builders.arrays import find_file
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.idx.idx import Idx, IdxConfig, open_images_and_labels

DIGITS, LETTERS = list(string.digits), list(string.ascii_uppercase)
MERGED = DIGITS + LETTERS + list("abdefghnqrt")  # the other small letters look like their capitals
CLASSES = {
    "balanced": MERGED,
    "byclass": DIGITS + LETTERS + list(string.ascii_lowercase),
    "bymerge": MERGED,
    "letters": LETTERS,
    "digits": DIGITS,
    "mnist": DIGITS,
}
ROWS = {  # train, test
    "balanced": (112_800, 18_800),
    "byclass": (697_932, 116_323),
    "bymerge": (697_932, 116_323),
    "letters": (124_800, 20_800),
    "digits": (240_000, 40_000),
    "mnist": (60_000, 10_000),
}
FIRST = {"letters": 1}  # the number of the first class in the files, if not 0

published = Source.at("https://biometrics.nist.gov/cs_links/EMNIST/")


class Emnist(PublishedSet, Idx):
    """Config names are the published selections of the same characters; the default is balanced."""

    BUILDER_CONFIGS = [IdxConfig(name=name) for name in CLASSES]
    DEFAULT_CONFIG_NAME = "balanced"
    HOMEPAGE = "https://www.nist.gov/itl/products-and-services/emnist-dataset"
    LICENSE = "unknown"
    CITATION = """\
@inproceedings{cohen2017emnist,
    title     = {EMNIST: Extending MNIST to handwritten letters},
    author    = {Cohen, Gregory and Afshar, Saeed and Tapson, Jonathan and van Schaik, Andr{\\'e}},
    booktitle = {International Joint Conference on Neural Networks},
    pages     = {2921--2926},
    year      = {2017},
    doi       = {10.1109/IJCNN.2017.7966217}
}"""
    SOURCES = (published("gzip.zip", 561753746, "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"),)
    ROWS = {"train": 112_800, "test": 18_800}
    OPTIONS = {"transpose": True}  # the images are stored on their side

    def _info(self):
        self.ROWS, self.CLASSES = dict(zip(("train", "test"), ROWS[self.config.name])), CLASSES[self.config.name]
        self.FEATURES = labelled(self.CLASSES)
        return super()._info()

    def parts(self):
        kinds = ("images-idx3", "labels-idx1")
        return {
            split: tuple(f"emnist-{self.config.name}-{split}-{kind}-ubyte.gz" for kind in kinds) for split in self.ROWS
        }

    def index(self, files):
        splits, parts = {}, self.parts()
        for split in self.present:
            images, labels = (find_file(files, name.removesuffix(".gz"), ".gz") for name in parts[split])
            splits[split] = [open_images_and_labels(files, images, labels, self.config.transpose)]
        return self.assemble(files, splits, {"label": self.config.classes}, FIRST.get(self.config.name, 0))
