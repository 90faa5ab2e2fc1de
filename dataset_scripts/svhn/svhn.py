"""Street View House Numbers, cropped: 630,420 digits of house numbers, colour images of 32 x 32 pixels."""

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.mat.mat import Mat

published = Source.at("http://ufldl.stanford.edu/housenumbers/")


class Svhn(PublishedSet, Mat):
    HOMEPAGE = "http://ufldl.stanford.edu/housenumbers/"
    LICENSE = "other"
    CITATION = """\
@inproceedings{netzer2011reading,
    title     = {Reading Digits in Natural Images with Unsupervised Feature Learning},
    author    = {Netzer, Yuval and Wang, Tao and Coates, Adam and Bissacco, Alessandro and Wu, Bo and Ng, Andrew Y.},
    booktitle = {NIPS Workshop on Deep Learning and Unsupervised Feature Learning},
    year      = {2011}
}"""
    SOURCES = (
        published("train_32x32.mat", 182040794, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
        published("test_32x32.mat", 64275384, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
        published("extra_32x32.mat", 1329278602, "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3"),
    )
    ROWS = {"train": 73_257, "test": 26_032, "extra": 531_131}
    PARTS = {split: (f"{split}_32x32.mat",) for split in ROWS}
    CLASSES = [str(digit) for digit in range(10)]
    FEATURES = labelled(CLASSES)
