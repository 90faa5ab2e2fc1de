"""MNIST: 70,000 handwritten digits, grey images of 28 x 28 pixels."""

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.idx.idx import Idx

published = Source.at(
    "https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"
)


class Mnist(PublishedSet, Idx):
    HOMEPAGE = "http://yann.lecun.com/exdb/mnist/"
    LICENSE = "mit"
    CITATION = """\
@article{lecun1998gradient,
    title   = {Gradient-based learning applied to document recognition},
    author  = {LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},
    journal = {Proceedings of the IEEE},
    volume  = {86},
    number  = {11},
    pages   = {2278--2324},
    year    = {1998},
    doi     = {10.1109/5.726791}
}"""
    SOURCES = (
        published(
            "train-images-idx3-ubyte.gz", 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
        ),
        published(
            "train-labels-idx1-ubyte.gz", 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
        ),
        published(
            "t10k-images-idx3-ubyte.gz", 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        published(
            "t10k-labels-idx1-ubyte.gz", 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
        ),
    )
    ROWS = {"train": 60_000, "test": 10_000}
    PARTS = {
        "train": ("train-images-idx3-ubyte.gz|*train*image*", "train-labels-idx1-ubyte.gz|*train*label*"),
        "test": (
            "t10k-images-idx3-ubyte.gz|*t10k*image*|*test*image*",
            "t10k-labels-idx1-ubyte.gz|*t10k*label*|*test*label*",
        ),
    }
    CLASSES = [str(digit) for digit in range(10)]
    FEATURES = labelled(CLASSES)
