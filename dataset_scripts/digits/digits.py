"""Optical recognition of handwritten digits (UCI): 1797 grey images of 8x8 pixels, embedded in the package."""

import gzip

import datasets
import numpy as np
import PIL.Image

CITATION = """\
@misc{alpaydin1998optical,
    title        = {Optical Recognition of Handwritten Digits},
    author       = {Alpaydin, E. and Kaynak, C.},
    year         = {1998},
    howpublished = {UCI Machine Learning Repository},
    doi          = {10.24432/C50P49}
}"""
FILE = "digits.csv.gz"  # one line per image: 64 pixels in 0..16, in reading order, and the label
PARTS = 4  # contiguous runs of lines, which num_proc and DataLoader workers share out
TEST_EVERY = (
    5  # every fifth image of a class, in the order of the file, is for testing: the published file has no test split
)


class Digits(datasets.GeneratorBasedBuilder):
    VERSION = datasets.Version("1.0.0")

    def _info(self):
        return datasets.DatasetInfo(
            description="Handwritten digits of 13 people, scanned and reduced to 8x8 pixels.",
            features=datasets.Features(
                {"image": datasets.Image(), "label": datasets.ClassLabel(names=[str(digit) for digit in range(10)])}
            ),
            homepage="https://archive.ics.uci.edu/dataset/80",
            license="cc-by-4.0",
            citation=CITATION,
        )

    def _split_generators(self, dl_manager):
        path = dl_manager.download(FILE)
        parts = list(range(PARTS))
        return [
            datasets.SplitGenerator(datasets.Split.TRAIN, {"path": path, "parts": parts, "test": False}),
            datasets.SplitGenerator(datasets.Split.TEST, {"path": path, "parts": parts, "test": True}),
        ]

    def _generate_examples(self, path, parts, test):
        with gzip.open(path, "rt") as lines:
            table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
        by_class = np.argsort(table[:, 64], kind="stable")
        is_test = np.zeros(len(table), bool)
        is_test[by_class[TEST_EVERY - 1 :: TEST_EVERY]] = True
        index = np.flatnonzero(is_test == test)
        for part in parts:
            for row in np.array_split(index, PARTS)[part].tolist():
                pixels = np.round(table[row, :64] * (255 / 16)).astype(np.uint8)
                yield row, {"image": PIL.Image.fromarray(pixels.reshape(8, 8)), "label": int(table[row, 64])}
