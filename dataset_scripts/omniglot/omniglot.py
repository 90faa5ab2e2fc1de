"""Omniglot: 1,623 characters of 50 alphabets, each drawn by 20 people; 32,460 black and white images of 105 x 105 pixels."""

import re

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.layout import LayoutBuilder, Rows
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.image.features import labelled

PATH = re.compile(r"(?:.*/)?([^/]+)/(character\d\d)/\d+_(\d\d)\.png")
SMALL = re.compile(r"(.*/)?images_background_small[12]/.*")  # parts of the background set, published a second time
ALPHABETS = {  # split -> alphabet -> its number of characters
    "background": {
        "Alphabet_of_the_Magi": 20,
        "Anglo-Saxon_Futhorc": 29,
        "Arcadian": 26,
        "Armenian": 41,
        "Asomtavruli_(Georgian)": 40,
        "Balinese": 24,
        "Bengali": 46,
        "Blackfoot_(Canadian_Aboriginal_Syllabics)": 14,
        "Braille": 26,
        "Burmese_(Myanmar)": 34,
        "Cyrillic": 33,
        "Early_Aramaic": 22,
        "Futurama": 26,
        "Grantha": 43,
        "Greek": 24,
        "Gujarati": 48,
        "Hebrew": 22,
        "Inuktitut_(Canadian_Aboriginal_Syllabics)": 16,
        "Japanese_(hiragana)": 52,
        "Japanese_(katakana)": 47,
        "Korean": 40,
        "Latin": 26,
        "Malay_(Jawi_-_Arabic)": 40,
        "Mkhedruli_(Georgian)": 41,
        "N_Ko": 33,
        "Ojibwe_(Canadian_Aboriginal_Syllabics)": 14,
        "Sanskrit": 42,
        "Syriac_(Estrangelo)": 23,
        "Tagalog": 17,
        "Tifinagh": 55,
    },
    "evaluation": {
        "Angelic": 20,
        "Atemayar_Qelisayer": 26,
        "Atlantean": 26,
        "Aurek-Besh": 26,
        "Avesta": 26,
        "Ge_ez": 26,
        "Glagolitic": 45,
        "Gurmukhi": 45,
        "Kannada": 41,
        "Keble": 26,
        "Malayalam": 47,
        "Manipuri": 40,
        "Mongolian": 30,
        "Old_Church_Slavonic_(Cyrillic)": 45,
        "Oriya": 46,
        "Sylheti": 28,
        "Syriac_(Serto)": 23,
        "Tengwar": 25,
        "Tibetan": 42,
        "ULOG": 26,
    },
}
SPLIT = {alphabet: split for split, alphabets in ALPHABETS.items() for alphabet in alphabets}
published = Source.at(
    "https://github.com/brendenlake/omniglot/raw/master/python/",
    "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
)


class Omniglot(PublishedSet, LayoutBuilder):
    HOMEPAGE = "https://github.com/brendenlake/omniglot"
    LICENSE = "mit"
    CITATION = """\
@article{lake2015human,
    title   = {Human-level concept learning through probabilistic program induction},
    author  = {Lake, Brenden M. and Salakhutdinov, Ruslan and Tenenbaum, Joshua B.},
    journal = {Science},
    volume  = {350},
    number  = {6266},
    pages   = {1332--1338},
    year    = {2015},
    doi     = {10.1126/science.aab3050}
}"""
    SOURCES = (
        published("images_background.zip", 9464212, "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640"),
        published("images_evaluation.zip", 6462886, "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee"),
    )
    ROWS = {"background": 19_280, "evaluation": 13_180}
    PARTS = {
        split: (f"images_{split}.zip|{'|'.join(f'{alphabet}/character??/*.png' for alphabet in alphabets)}",)
        for split, alphabets in ALPHABETS.items()
    }
    CLASSES = [
        f"{alphabet}/character{number:02}"
        for alphabets in ALPHABETS.values()
        for alphabet, count in alphabets.items()
        for number in range(1, count + 1)
    ]
    FEATURES = labelled(CLASSES, alphabet=datasets.ClassLabel(names=list(SPLIT)), drawer=datasets.Value("int32"))

    def index(self, files):
        found = {split: [] for split in ALPHABETS}
        for path in files.paths:
            match = PATH.fullmatch(path)
            if match and match[1] in SPLIT and not SMALL.fullmatch(path):
                found[SPLIT[match[1]]].append((path, *match.groups()))
        if not any(found.values()):
            raise DataError(
                f"{files.root} holds no images of Omniglot: they are called images_background/Greek/character01/….png"
            )
        rows, labels = {}, {name: number for number, name in enumerate(self.CLASSES)}
        for split, images in found.items():
            for path, alphabet, character, _ in images:
                with self.faults:
                    if f"{alphabet}/{character}" not in labels:
                        raise DataError(f"{files.root}/{path}: {alphabet}/{character} is not a character of Omniglot")
            images = [image for image in images if f"{image[1]}/{image[2]}" in labels]
            characters = [f"{alphabet}/{character}" for _, alphabet, character, _ in images]
            if images:
                columns = {
                    "label": pa.array([labels[name] for name in characters]),
                    "alphabet": pa.array(self.FEATURES["alphabet"].str2int([alphabet for _, alphabet, _, _ in images])),
                    "drawer": pa.array([int(drawer) for *_, drawer in images], pa.int32()),
                }
                rows[split] = Rows([path for path, *_ in images], columns)
        return self.FEATURES, rows

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}
