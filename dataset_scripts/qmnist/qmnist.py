"""QMNIST: MNIST with its 50,000 lost test digits, and the writer of each digit; grey images of 28 x 28 pixels."""

import datasets
import numpy as np
import pyarrow as pa

from dataset_scripts.core.builders.arrays import find_file
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.idx.idx import Idx, IdxConfig, open_images_and_labels

CONFIGS = {  # name -> split -> the files, and the first and last row
    "qmnist": {"train": ("qmnist-train", 0, None), "test": ("qmnist-test", 0, None)},
    "test10k": {"test": ("qmnist-test", 0, 10_000)},
    "test50k": {"test": ("qmnist-test", 10_000, None)},
    "nist": {"train": ("xnist", 0, None)},
}
ROWS = {
    "qmnist": {"train": 60_000, "test": 60_000},
    "test10k": {"test": 10_000},
    "test50k": {"test": 50_000},
    "nist": {"train": 402_953},
}
COLUMNS = {"series": 1, "writer": 2, "writer_digit": 3, "nist_class": 4, "nist_index": 5, "duplicate_of": 6}


published = Source.at("https://raw.githubusercontent.com/facebookresearch/qmnist/master/")


class Qmnist(PublishedSet, Idx):
    """Config names: qmnist, the default; test10k and test50k, the parts of its test split; nist, all digits of SD 19."""

    BUILDER_CONFIGS = [IdxConfig(name=name) for name in CONFIGS]
    DEFAULT_CONFIG_NAME = "qmnist"
    HOMEPAGE = "https://github.com/facebookresearch/qmnist"
    LICENSE = "bsd-3-clause"
    CITATION = """\
@inproceedings{yadav2019cold,
    title     = {Cold Case: The Lost MNIST Digits},
    author    = {Yadav, Chhavi and Bottou, L{\\'e}on},
    booktitle = {Advances in Neural Information Processing Systems},
    volume    = {32},
    year      = {2019}
}"""
    SOURCES = (
        published(
            "qmnist-train-images-idx3-ubyte.gz",
            9704059,
            "9e26a7bf1683614e065d7b76460ccd52807165b3f22561fb782bd9f38c52b51d",
        ),
        published(
            "qmnist-train-labels-idx2-int.gz",
            463024,
            "2c05dc77f6b916b38e455e97ab129a42a444f3dbef09b278a366f82904e0dd9f",
        ),
        published(
            "qmnist-test-images-idx3-ubyte.gz",
            9742279,
            "43fc22bf7498b8fc98de98369d72f752d0deabc280a43a7bcc364ab19e57b375",
        ),
        published(
            "qmnist-test-labels-idx2-int.gz", 526800, "9fbcbe594c3766fdf4f0b15c5165dc0d1e57ac604e01422608bb72c906030d06"
        ),
        published(
            "xnist-images-idx3-ubyte.xz", 51325860, "f075553993026d4359ded42208eff77a1941d3963c1eff49d6015814f15f0984"
        ),
        published(
            "xnist-labels-idx2-int.xz", 958144, "db042968723ec2b7aed5f1beac25d2b6e983b9286d4f4bf725f1086e5ae55c4f"
        ),
    )
    ROWS = ROWS["qmnist"]
    CLASSES = [str(digit) for digit in range(10)]
    FEATURES = labelled(CLASSES, **dict.fromkeys(COLUMNS, datasets.Value("int32")))

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ROWS = ROWS[self.config.name]

    def sources(self):
        needed = {files for files, _, _ in CONFIGS[self.config.name].values()}
        return tuple(source for source in self.SOURCES if source.name.startswith(tuple(needed)))

    def parts(self):
        return {
            split: tuple(source.name for source in self.SOURCES if source.name.startswith(f"{prefix}-"))
            for split, (prefix, _, _) in CONFIGS[self.config.name].items()
        }

    def index(self, files):
        splits, tables = {}, {}
        for split in self.present:
            prefix, first, last = CONFIGS[self.config.name][split]
            images, labels = (
                find_file(files, f"{prefix}-{kind}", ".gz", ".xz") for kind in ("images-idx3-ubyte", "labels-idx2-int")
            )
            part = open_images_and_labels(files, images, labels, False)
            table = tables[split] = part.labels["label"]
            if table.shape[1:] != (8,):
                raise DataError(f"{files.root}/{labels}: labels of QMNIST are (N, 8), not {table.shape}")
            part.labels, part.rows = {"label": table[:, 0]}, np.arange(part.count)[first:last]
            splits[split] = [part]
        _, rows = self.assemble(files, splits, {"label": self.config.classes})
        for name, column in COLUMNS.items():
            for split, table in tables.items():
                rows[split].columns[name] = pa.array(table[rows[split].samples[:, 1], column].astype(np.int32))
        return self.FEATURES, rows
