"""Food-101: 101,000 photos of 101 dishes, 1,000 of each; the labels of the training photos are not cleaned."""

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.builders.layout import LayoutBuilder
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.builders.tables import resolve_names, rows_of
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.fields import short

published = Source.at("http://data.vision.ee.ethz.ch/cvl/")
CLASS_LIST = "meta/classes.txt"


class Food101(PublishedSet, LayoutBuilder):
    """`meta/train.txt` and `meta/test.txt` name images by class and number; the classes are those of `meta/classes.txt`."""

    HOMEPAGE = "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/"
    LICENSE = "unknown"
    CITATION = """\
@inproceedings{bossard2014food101,
    title     = {Food-101 -- Mining Discriminative Components with Random Forests},
    author    = {Bossard, Lukas and Guillaumin, Matthieu and Van Gool, Luc},
    booktitle = {European Conference on Computer Vision},
    pages     = {446--461},
    year      = {2014},
    doi       = {10.1007/978-3-319-10599-4_29}
}"""
    SOURCES = (
        published("food-101.tar.gz", 4996278331, "d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4"),
    )
    ROWS = {"train": 75_750, "test": 25_250}
    PARTS = {split: (f"meta/{split}.txt",) for split in ROWS}

    def index(self, files):
        top = files.above(CLASS_LIST)
        classes = files.read(top + CLASS_LIST).decode("utf-8", "replace").split()
        if len(set(classes)) < len(classes):
            raise DataError(f"{files.root}/{top}{CLASS_LIST}: two classes have the same name")
        rows = {}
        for split in self.present:
            path = f"{top}meta/{split}.txt"
            names = pa.array(files.read(path).decode("utf-8", "replace").split(), pa.string())
            paths = pc.binary_join_element_wise(names, "jpg", ".")
            images = resolve_names(files, path, paths, "image", f"{top}images", self.faults)
            labels = pc.index_in(pc.replace_substring_regex(names, "(?s)/.*", ""), pa.array(classes, pa.string())).cast(
                pa.int64()
            )
            for stray in names.filter(pc.is_null(labels)).to_pylist():
                with self.faults:
                    raise DataError(f"{files.root}/{path}: {short(stray)} belongs to no class in {top}{CLASS_LIST}")
            rows[split] = rows_of(images, {"label": labels})
        return datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=classes)), rows

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}
