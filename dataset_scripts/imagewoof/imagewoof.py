"""Imagewoof: ten dog breeds from ImageNet that are hard to tell apart; 12,954 colour photos, in three sizes."""

from dataset_scripts.core.builders.published import Source
from dataset_scripts.core.image.features import labelled
from dataset_scripts.imagenette.imagenette import Imagenette, ImagenetteConfig

NAMES = {
    "n02086240": "Shih-Tzu",
    "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle",
    "n02089973": "English foxhound",
    "n02093754": "Border terrier",
    "n02096294": "Australian terrier",
    "n02099601": "golden retriever",
    "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed",
    "n02115641": "dingo",
}
published = Source.at("https://s3.amazonaws.com/fast-ai-imageclas/")

FILES = {
    "160px": published("imagewoof2-160.tgz", 92612825, "fcd23cc7dfce8837c95a8f9d63a128b7"),
    "320px": published("imagewoof2-320.tgz", 328387740, "af65be7963816efa949fa3c3b4947740"),
    "full": published("imagewoof2.tgz", 1343715595, "5eaf5bbf4bf16a77c616dc6e8dd5f8e9"),
}


class Imagewoof(Imagenette):
    """Config names are sizes of the shorter side; the default is 160px."""

    BUILDER_CONFIGS = [ImagenetteConfig(name=name) for name in FILES]
    CITATION = """\
@misc{howard2019imagewoof,
    title  = {Imagewoof: a subset of 10 classes from Imagenet that aren't so easy to classify},
    author = {Howard, Jeremy},
    year   = {2019},
    url    = {https://github.com/fastai/imagenette#imagewoof}
}"""
    NAMES, FILES = NAMES, FILES
    SOURCES = tuple(FILES.values())
    ROWS = {"train": 9_025, "validation": 3_929}
    CLASSES = list(NAMES.values())
    FEATURES = labelled(CLASSES)
