"""STL-10: 13,000 labelled and 100,000 unlabelled colour photos of 96 x 96 pixels, from ImageNet, in ten classes."""

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.stl.stl import Stl

published = Source.at("http://ai.stanford.edu/~acoates/stl10/")


class Stl10(PublishedSet, Stl):
    HOMEPAGE = "https://cs.stanford.edu/~acoates/stl10/"
    LICENSE = "other"
    CITATION = """\
@inproceedings{coates2011analysis,
    title     = {An Analysis of Single-Layer Networks in Unsupervised Feature Learning},
    author    = {Coates, Adam and Ng, Andrew and Lee, Honglak},
    booktitle = {Proceedings of the Fourteenth International Conference on Artificial Intelligence and Statistics},
    pages     = {215--223},
    year      = {2011}
}"""
    SOURCES = (
        published(
            "stl10_binary.tar.gz", 2640397119, "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866"
        ),
    )
    ROWS = {"train": 5_000, "test": 8_000, "unlabeled": 100_000}
    PARTS = {
        "train": ("train_X.bin", "train_y.bin"),
        "test": ("test_X.bin", "test_y.bin"),
        "unlabeled": ("unlabeled_X.bin",),
    }
    CLASSES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
    FEATURES = labelled(CLASSES)

    def index(self, files):
        features, rows = super().index(files)
        if "label" not in features:  # the unlabeled images alone
            features["label"] = datasets.ClassLabel(names=self.config.classes)
            for part in rows.values():
                part.columns["label"] = pa.nulls(len(part.samples), pa.int64())
        return features, rows
