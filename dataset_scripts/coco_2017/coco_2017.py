"""COCO 2017: 123,287 photos of everyday scenes; boxes and masks of objects in 80 classes, captions, keypoints of people."""

from dataclasses import replace

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import folder_of, name_of
from dataset_scripts.layouts.coco.coco import Coco, CocoConfig

FOLDERS = {"train": "train2017", "validation": "val2017"}
# Task -> name of its files.
ANNOTATIONS = {"detection": "instances", "captions": "captions", "keypoints": "person_keypoints"}

published = Source.at("http://images.cocodataset.org/zips/")
annotations = Source.at("http://images.cocodataset.org/annotations/")


class Coco2017(PublishedSet, Coco):
    """Config names are the annotations that are read; "instances" is detection with masks."""

    BUILDER_CONFIGS = [
        CocoConfig(name="detection", task="detection"),
        CocoConfig(name="instances", task="detection", masks=True),
        CocoConfig(name="captions", task="captions"),
        CocoConfig(name="keypoints", task="keypoints"),
    ]
    DEFAULT_CONFIG_NAME = "detection"
    HOMEPAGE = "https://cocodataset.org/"
    LICENSE = "cc-by-4.0"
    CITATION = """\
@inproceedings{lin2014microsoft,
    title     = {Microsoft {COCO}: Common Objects in Context},
    author    = {Lin, Tsung-Yi and Maire, Michael and Belongie, Serge and Hays, James and Perona, Pietro and Ramanan, Deva
                 and Doll{\\'a}r, Piotr and Zitnick, C. Lawrence},
    booktitle = {European Conference on Computer Vision},
    pages     = {740--755},
    year      = {2014},
    doi       = {10.1007/978-3-319-10602-1_48}
}"""
    SOURCES = (
        published("train2017.zip", 19336861798, "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"),
        published("val2017.zip", 815585330, "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"),
        annotations(
            "annotations_trainval2017.zip",
            252907541,
            "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        ),
    )
    ROWS = {"train": 118_287, "validation": 5_000}
    PARTS = {split: (f"{folder}.zip|{folder}/*.jpg",) for split, folder in FOLDERS.items()}

    def _list(self):
        """The listing with only the annotations of this task, for the image folders that exist."""
        files = super()._list()
        there = {name_of(folder) for folder in map(folder_of, files.images)}.intersection(FOLDERS.values())
        wanted = {f"{ANNOTATIONS[self.config.task]}_{folder}.json" for folder in there}
        return replace(
            files, paths=[path for path in files.paths if not path.endswith(".json") or name_of(path) in wanted]
        )

    def index(self, files):
        there = set(map(name_of, files.paths))
        for split in self.present:
            name = f"{ANNOTATIONS[self.config.task]}_{FOLDERS[split]}.json"
            if name not in there:
                raise DataError(
                    f"{files.root} holds no {name}, which the split {split} needs: it is in annotations_trainval2017.zip"
                )
        return super().index(files)
