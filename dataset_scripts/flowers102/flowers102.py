"""Oxford Flowers 102: 8,189 colour photos of flowers that are common in Britain, in 102 kinds."""

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.mat.mat import Mat

published = Source.at("https://www.robots.ox.ac.uk/~vgg/data/flowers/102/")


class Flowers102(PublishedSet, Mat):
    """The files number the classes from 1 and do not name them: class `1` is the number 1."""

    HOMEPAGE = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
    LICENSE = "unknown"
    CITATION = """\
@inproceedings{nilsback2008automated,
    title     = {Automated Flower Classification over a Large Number of Classes},
    author    = {Nilsback, Maria-Elena and Zisserman, Andrew},
    booktitle = {Indian Conference on Computer Vision, Graphics and Image Processing},
    pages     = {722--729},
    year      = {2008},
    doi       = {10.1109/ICVGIP.2008.47}
}"""
    SOURCES = (
        published("102flowers.tgz", 344862509, "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246"),
        published("imagelabels.mat", 502, "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d"),
        published("setid.mat", 14989, "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd"),
    )
    ROWS = {"train": 1_020, "validation": 1_020, "test": 6_149}
    CLASSES = [str(number) for number in range(1, 103)]
    FEATURES = labelled(CLASSES)
