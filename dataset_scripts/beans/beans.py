"""Beans: 1,295 photos of bean leaves from fields in Uganda, healthy or with one of two diseases, 500 x 500 pixels."""

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.image_folder.image_folder import ImageFolder

published = Source.at(
    "https://storage.googleapis.com/ibeans/", "https://huggingface.co/datasets/beans/resolve/main/data/"
)


class Beans(PublishedSet, ImageFolder):
    HOMEPAGE = "https://github.com/AI-Lab-Makerere/ibean/"
    LICENSE = "mit"
    CITATION = """\
@misc{beansdata,
    title  = {Bean disease dataset},
    author = {{Makerere AI Lab}},
    year   = {2020},
    url    = {https://github.com/AI-Lab-Makerere/ibean/}
}"""
    SOURCES = (
        published("train.zip", 143812152, "284fe8456ce20687f4367ae7ad94a64577e7f9fde2c2c6b1c74340ab5dc82715"),
        published("validation.zip", 18504213, "90b7aa1c26d91d9afff07a30bbc67a5ea34f1f1397f068d8675be09d7d0c602d"),
        published("test.zip", 17708541, "ca67b15d960d1e2fd9d23fd8498ce86818ead90755c630a43baf19ec4af09312"),
    )
    ROWS = {"train": 1_034, "validation": 133, "test": 128}
    PARTS = {split: (f"{split}.zip|{split}/*",) for split in ROWS}
    CLASSES = ["angular_leaf_spot", "bean_rust", "healthy"]
    FEATURES = labelled(CLASSES)
