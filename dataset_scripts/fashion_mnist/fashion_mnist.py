"""Fashion-MNIST: 70,000 articles of clothing from Zalando's shop, grey images of 28 x 28 pixels, in the format of MNIST."""

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.idx.idx import Idx

published = Source.at(
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)


class FashionMnist(PublishedSet, Idx):
    HOMEPAGE = "https://github.com/zalandoresearch/fashion-mnist"
    LICENSE = "mit"
    CITATION = """\
@article{xiao2017fashion,
    title   = {Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms},
    author  = {Xiao, Han and Rasul, Kashif and Vollgraf, Roland},
    journal = {arXiv:1708.07747},
    year    = {2017}
}"""
    SOURCES = (
        published(
            "train-images-idx3-ubyte.gz", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        published(
            "train-labels-idx1-ubyte.gz", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        published(
            "t10k-images-idx3-ubyte.gz", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        published(
            "t10k-labels-idx1-ubyte.gz", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
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
    CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    FEATURES = labelled(CLASSES)
