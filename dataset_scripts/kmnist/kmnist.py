"""Kuzushiji-MNIST: 70,000 characters of old Japanese cursive script, grey images of 28 x 28 pixels, in the format of MNIST."""

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.idx.idx import Idx

published = Source.at("http://codh.rois.ac.jp/kmnist/dataset/kmnist/")


class Kmnist(PublishedSet, Idx):
    HOMEPAGE = "http://codh.rois.ac.jp/kmnist/"
    LICENSE = "cc-by-sa-4.0"
    CITATION = """\
@article{clanuwat2018deep,
    title   = {Deep Learning for Classical Japanese Literature},
    author  = {Clanuwat, Tarin and Bober-Irizar, Mikel and Kitamoto, Asanobu and Lamb, Alex and Yamamoto, Kazuaki and Ha, David},
    journal = {arXiv:1812.01718},
    year    = {2018}
}"""
    SOURCES = (
        published(
            "train-images-idx3-ubyte.gz", 18165135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"
        ),
        published(
            "train-labels-idx1-ubyte.gz", 29497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"
        ),
        published(
            "t10k-images-idx3-ubyte.gz", 3041136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"
        ),
        published(
            "t10k-labels-idx1-ubyte.gz", 5120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"
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
    CLASSES = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
    FEATURES = labelled(CLASSES)
