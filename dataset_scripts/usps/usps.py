"""USPS: 9,298 handwritten digits of zip codes on American mail, grey images of 16 x 16 pixels."""

import bz2
import os

import numpy as np

from dataset_scripts.core.builders.arrays import ArrayBuilder, Part, find_file
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.errors import reading
from dataset_scripts.core.files.archives import MAX_RATIO, MAX_SMALL
from dataset_scripts.core.files.listing import Reader
from dataset_scripts.core.formats.rows_on_disk import Images
from dataset_scripts.core.image.features import labelled

PIXELS = [str(pixel).encode() for pixel in range(1, 257)]
MAX_LINE = 1 << 14  # bytes; the longest published line has 3,000
published = Source.at("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/")


class Usps(PublishedSet, ArrayBuilder):
    HOMEPAGE = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps"
    LICENSE = "unknown"
    CITATION = """\
@article{hull1994database,
    title   = {A database for handwritten text recognition research},
    author  = {Hull, Jonathan J.},
    journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
    volume  = {16},
    number  = {5},
    pages   = {550--554},
    year    = {1994},
    doi     = {10.1109/34.291440}
}"""
    SOURCES = (
        published("usps.bz2", 6579383, "3771e9dd6ba685185f89867b6e249233dd74652389f263963b3b741e994b034f"),
        published("usps.t.bz2", 1831726, "a9c0164e797d60142a50604917f0baa604f326e9a689698763793fa5d12ffc4e"),
    )
    ROWS = {"train": 7_291, "test": 2_007}
    PARTS = {"train": ("usps.bz2",), "test": ("usps.t.bz2",)}
    CLASSES = [str(digit) for digit in range(10)]
    FEATURES = labelled(CLASSES)

    def index(self, files):
        splits = {}
        for split in self.present:
            (name,) = self.PARTS[split]
            path = find_file(files, name.removesuffix(".bz2"), ".bz2")
            labels, images = read_libsvm(files, path)
            splits[split] = [Part((path,), len(images), {"label": labels}, path)]
        return self.assemble(files, splits, {"label": self.config.classes}, first=1)

    def open_images(self, files, source):
        return Images(read_libsvm(files, source[0])[1], (0, 1))


def read_libsvm(files: Reader, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads lines of `label 1:value … 256:value`, with values in -1..1.

    Returns:
        The labels (N,) int64, and the images (N, 16, 16) uint8: (value + 1) / 2 * 255, rounded down, as in torchvision.

    Raises:
        DataError: a line has another form; names file and line.
    """
    labels, images = [], []
    with reading(f"{files.root}/{path}"), files.open(path) as packed:
        limit = max(MAX_SMALL, MAX_RATIO * packed.seek(0, os.SEEK_END))
        packed.seek(0)
        file = bz2.BZ2File(packed) if path.endswith(".bz2") else packed
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
            if file.tell() > limit:
                raise ValueError(f"it grows to more than {limit:,} bytes, which no images do")
            label, *pairs = line.replace(b":", b" ").split() or [b""]
            if pairs[::2] != PIXELS or len(pairs) != 512 or not label.isdigit() or len(label) > 9:
                raise ValueError(f"line {number} is not a label and the pixels 1:… to 256:…")
            values = np.array(pairs[1::2]).astype(np.float32)
            if not (values.min() >= -1 and values.max() <= 1):
                raise ValueError(f"line {number} has values from {values.min():g} to {values.max():g}, not -1..1")
            labels.append(int(label))
            images.append(((values + 1) / 2 * 255).astype(np.uint8).reshape(16, 16))
        if not images:
            raise ValueError("there are no lines")
    return np.array(labels), np.stack(images)
