"""EuroSAT: 27,000 satellite images of Europe from Sentinel-2, 64 x 64 pixels in RGB, in ten kinds of land use."""

from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.image.features import labelled
from dataset_scripts.layouts.image_folder.image_folder import ImageFolder

published = Source.at(
    "http://madm.dfki.de/files/sentinel/",
    "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/",
)


class Eurosat(PublishedSet, ImageFolder):
    HOMEPAGE = "https://github.com/phelber/EuroSAT"
    LICENSE = "mit"
    CITATION = """\
@article{helber2019eurosat,
    title   = {EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land Cover Classification},
    author  = {Helber, Patrick and Bischke, Benjamin and Dengel, Andreas and Borth, Damian},
    journal = {IEEE Journal of Selected Topics in Applied Earth Observations and Remote Sensing},
    volume  = {12},
    number  = {7},
    pages   = {2217--2226},
    year    = {2019},
    doi     = {10.1109/JSTARS.2019.2918242}
}"""
    SOURCES = (published("EuroSAT.zip", 94280567, "8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd"),)
    ROWS = {"train": 27_000}
    CLASSES = [
        "AnnualCrop",
        "Forest",
        "HerbaceousVegetation",
        "Highway",
        "Industrial",
        "Pasture",
        "PermanentCrop",
        "Residential",
        "River",
        "SeaLake",
    ]
    FEATURES = labelled(CLASSES)
