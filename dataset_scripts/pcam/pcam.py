"""PatchCamelyon: 327,680 microscope images of lymph nodes, with and without metastases, 96 x 96 pixels."""

import gzip
from pathlib import Path

from dataset_scripts.core.builders.arrays import Part, check_count, find_file
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.errors import reading
from dataset_scripts.core.files.archives import MAX_RATIO, MAX_SMALL
from dataset_scripts.core.files.inflate import inflate
from dataset_scripts.core.files.listing import Files, Reader
from dataset_scripts.core.formats.rows_on_disk import Images
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.hdf5.hdf5 import Blocks, Hdf5

published = Source.at("https://zenodo.org/record/2546921/files/")


class Pcam(PublishedSet, Hdf5):
    HOMEPAGE = "https://github.com/basveeling/pcam"
    LICENSE = "cc0-1.0"
    CITATION = """\
@inproceedings{veeling2018rotation,
    title     = {Rotation Equivariant CNNs for Digital Pathology},
    author    = {Veeling, Bastiaan S. and Linmans, Jasper and Winkens, Jim and Cohen, Taco and Welling, Max},
    booktitle = {Medical Image Computing and Computer Assisted Intervention},
    pages     = {210--218},
    year      = {2018},
    doi       = {10.1007/978-3-030-00934-2_24}
}"""
    SOURCES = (
        published(
            "camelyonpatch_level_2_split_train_x.h5.gz",
            6421353462,
            "d619e741468a7ab35c7e4a75e6821b7e7e6c9411705d45708f2a0efc8960656c",
        ),
        published(
            "camelyonpatch_level_2_split_train_y.h5.gz",
            21378,
            "b74126d2c01b20d3661f9b46765d29cf4e4fba6faba29c8e0d09d406331ab75a",
        ),
        published(
            "camelyonpatch_level_2_split_valid_x.h5.gz",
            805965320,
            "f82ee1670d027b4ec388048d9eabc2186b77c009655dae76d624c0ecb053ccb2",
        ),
        published(
            "camelyonpatch_level_2_split_valid_y.h5.gz",
            3038,
            "ce1ae30f08feb468447971cfd0472e7becd0ad96d877c64120c72571439ae48c",
        ),
        published(
            "camelyonpatch_level_2_split_test_x.h5.gz",
            800875929,
            "79174c2201ad521602a5888be8f36ee10875f37403dd3f2086caf2182ef87245",
        ),
        published(
            "camelyonpatch_level_2_split_test_y.h5.gz",
            3040,
            "0a522005fccc8bbd04c5a117bfaf81d8da2676f03a29d7499f71d0a0bd6068ef",
        ),
    )
    ROWS = {"train": 262_144, "validation": 32_768, "test": 32_768}
    PARTS = {
        split: tuple(f"camelyonpatch_level_2_split_{name}_{key}.h5.gz" for key in "xy")
        for split, name in {"train": "train", "validation": "valid", "test": "test"}.items()
    }
    CLASSES = ["normal", "tumor"]
    FEATURES = labelled(CLASSES)

    def index(self, files):
        splits = {}
        for split in self.present:
            images, labels = (self._find(files, name.removesuffix(".gz")) for name in self.PARTS[split])
            with reading(f"{files.root}/{images[0]}"):
                shape = Blocks(*images[1:], "x").shape
                if len(shape) != 4 or shape[3] != 3:
                    raise ValueError(f"images are (N, H, W, 3), not {shape}")
            part = Part(images, shape[0])
            with reading(f"{files.root}/{labels[0]}"):
                numbers = Blocks(*labels[1:], "y")
                check_count(files, part, labels[0], numbers.shape[0])
                # Published as (N, 1, 1, 1).
                part.labels, part.labels_in = {"label": numbers.all().reshape(-1)}, labels[0]
            splits[split] = [part]
        return self.assemble(files, splits, {"label": self.config.classes})

    def _find(self, files: Files, name: str) -> tuple[str, Reader, str]:
        """The path of a published HDF5 file, and the reader and the path by which it is read.

        HDF5 is read at any place, gzip only from the front: a compressed file is unpacked into the cache, once.
        """
        path = find_file(files, name, ".gz")
        if not path.endswith(".gz"):
            return path, files.reader(), path
        packed = Path(files.local(path))
        limit = max(MAX_SMALL, MAX_RATIO * packed.stat().st_size)
        with reading(f"{files.root}/{path}"), gzip.open(packed) as stream:
            plain = inflate(packed, stream, self.downloads / "inflated", ".h5", limit=limit)
        return path, Reader(plain.parent), plain.name

    def open_images(self, files, source):
        return Images(Blocks(*source[1:], "x"), (0, 1, 2))
