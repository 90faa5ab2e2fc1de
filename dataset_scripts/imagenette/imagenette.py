"""Imagenette: ten classes of ImageNet that are easy to tell apart, 13,394 colour photos, in three sizes."""

from dataclasses import dataclass

import pyarrow as pa

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.image_folder.image_folder import ImageFolder, ImageFolderConfig

NAMES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}

published = Source.at("https://s3.amazonaws.com/fast-ai-imageclas/")

FILES = {
    "160px": published(
        "imagenette2-160.tgz", 99003388, "64d0c4859f35a461889e0147755a999a48b49bf38a7e0f9bd27003f10db02fe5"
    ),
    "320px": published(
        "imagenette2-320.tgz", 341663724, "569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c"
    ),
    "full": published(
        "imagenette2.tgz", 1557161267, "6cbfac238434d89fe99e651496f0812ebc7a10fa62bd42d6874042bf01de4efd"
    ),
}


@dataclass
class ImagenetteConfig(ImageFolderConfig):
    """`name` is the shorter side: "160px", "320px" or "full"."""


class Imagenette(PublishedSet, ImageFolder):
    """Config names are sizes of the shorter side; the default is 160px. `NAMES` are those of the folders."""

    BUILDER_CONFIG_CLASS = ImagenetteConfig
    BUILDER_CONFIGS = [ImagenetteConfig(name=name) for name in FILES]
    DEFAULT_CONFIG_NAME = "160px"
    HOMEPAGE = "https://github.com/fastai/imagenette"
    LICENSE = "apache-2.0"
    CITATION = """\
@misc{howard2019imagenette,
    title  = {Imagenette: A smaller subset of 10 easily classified classes from Imagenet},
    author = {Howard, Jeremy},
    year   = {2019},
    url    = {https://github.com/fastai/imagenette}
}"""
    NAMES, FILES = NAMES, FILES
    SOURCES = tuple(FILES.values())
    ROWS = {"train": 9_469, "validation": 3_925}
    PARTS = {"train": ("train/*",), "validation": ("val/*",)}
    CLASSES = list(NAMES.values())
    FEATURES = labelled(CLASSES)

    def sources(self):
        return (self.FILES[self.config.name],)

    def index(self, files):
        features, rows = super().index(files)
        strange = [name for name in features["label"].names if name not in self.NAMES]
        if strange:
            raise DataError(f"{files.root}: {strange[0]} is not a folder of {type(self).__name__}")
        # Of all names, even if some folders are missing.
        places = pa.array([list(self.NAMES).index(name) for name in features["label"].names])
        for split in rows.values():
            split.columns["label"] = places.take(split.columns["label"])
        return self.FEATURES, rows
