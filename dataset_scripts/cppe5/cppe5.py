"""CPPE-5: 1,029 photos of medical staff, with boxes of protective equipment in five classes."""

import numpy as np

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.image.objects import is_number
from dataset_scripts.layouts.coco.coco import Coco, CocoConfig

published = Source.at("https://storage.googleapis.com/cppe-5/")


class Cppe5(PublishedSet, Coco):
    BUILDER_CONFIGS = [CocoConfig(name="default", task="detection")]
    HOMEPAGE = "https://github.com/Rishit-dagli/CPPE-Dataset"
    LICENSE = "unknown"
    CITATION = """\
@misc{dagli2021cppe5,
    title         = {{CPPE-5}: Medical Personal Protective Equipment Dataset},
    author        = {Dagli, Rishit and Shaikh, Ali Mustufa},
    year          = {2021},
    eprint        = {2112.09569},
    archivePrefix = {arXiv}
}"""
    SOURCES = (
        published("dataset.tar.gz", 238482705, "1151086e59fcb87825ecf4d362847a3f023ba69e7ace0f513d5aadc0e3dd3094"),
    )
    ROWS = {"train": 1_000, "test": 29}
    PARTS = {split: (f"annotations/{split}.json",) for split in ROWS}

    def _others(self, files, images, read, splits):
        """One folder holds the images of both splits: those of a split whose file is missing are in no other."""
        if len(self.present) == len(self.PARTS):
            return super()._others(files, images, read, splits)
        return []

    def _objects(self, annotations, frame, annotated, where):
        """Some boxes extend over the border: the part within the image is kept."""
        for annotation in annotations:
            box = annotation.get("bbox")
            if isinstance(box, list) and len(box) == 4 and all(is_number(number) for number in box):
                low, high = np.clip([box[:2], np.add(box[:2], box[2:])], 0, annotated or frame.size)
                if (high > low).all():  # else nothing of it is in the image, which the layout reports
                    annotation["bbox"] = [*low.tolist(), *(high - low).tolist()]
        return super()._objects(annotations, frame, annotated, where)
