"""Scenes of handwritten digits: grey images of 64x64 pixels with boxes and masks, composed from the embedded digits."""

import gzip
from pathlib import Path

import datasets
import numpy as np
import PIL.Image

from dataset_scripts.core.image.objects import object_features
from dataset_scripts.digits import digits

SIZE = 64  # pixels per side of a scene
COUNTS = {"train": 2000, "validation": 250, "test": 500}
DIGITS = {"train": (0, 1, 2), "validation": (3,), "test": (4,)}  # every fifth digit of a class, from these places
MOST = 6  # digits in a scene
SIDES = (12, 24)  # pixels per side of a digit, with its margin
INK = 0.4  # of the brightness of a digit, from which a pixel is part of it
HIDDEN = 0.1  # share of a digit that others may cover
TRIES = 30  # places that are tried for a digit
PARTS = 10  # contiguous runs of scenes, which num_proc and DataLoader workers share out


class DigitScenes(datasets.GeneratorBasedBuilder):
    VERSION = datasets.Version("1.0.0")

    def _info(self):
        names = [str(digit) for digit in range(10)]
        return datasets.DatasetInfo(
            description="Scenes of one to six handwritten digits of several sizes, which may overlap, on a noisy ground."
            "\n\nIds: 0 ground, " + ", ".join(f"{digit + 1} digit {digit}" for digit in range(10)) + ".",
            features=datasets.Features(
                {
                    "image": datasets.Image(),
                    "mask": datasets.Image(),
                    "instance_mask": datasets.Image(),
                    "objects": object_features(names, area=datasets.Value("float32")),
                }
            ),
            homepage="https://archive.ics.uci.edu/dataset/80",
            license="cc-by-4.0",
            citation=digits.CITATION,
        )

    def _split_generators(self, dl_manager):
        path = Path(digits.__file__).with_name(digits.FILE)
        return [
            datasets.SplitGenerator(split, {"path": str(path), "split": split, "parts": list(range(PARTS))})
            for split in COUNTS
        ]

    def _generate_examples(self, path, split, parts):
        with gzip.open(path, "rt") as lines:
            table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
        table = table[np.argsort(table[:, 64], kind="stable")]
        table = table[np.isin(np.arange(len(table)) % 5, DIGITS[split])]
        for part in parts:
            for number in np.array_split(np.arange(COUNTS[split]), PARTS)[part].tolist():
                yield number, compose(table, np.random.default_rng([list(COUNTS).index(split), number]))


def compose(table: np.ndarray, random: np.random.Generator) -> dict:
    """A scene of digits from the table: 64 pixels in 0..16, and the class.

    Later digits cover earlier ones. Boxes and areas are those of the visible part.
    """
    slope = random.uniform(-0.15, 0.15, 2)
    down, right = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    scene = random.uniform(0.1, 0.35) + slope[0] * down + slope[1] * right
    instances = np.zeros((SIZE, SIZE), np.uint8)
    areas: list[int] = []  # of each digit, before others covered it
    classes: list[int] = []
    for _ in range(random.integers(1, MOST + 1)):
        *pixels, label = table[random.integers(len(table))].tolist()
        side = int(random.integers(SIDES[0], SIDES[1] + 1))
        drawn = PIL.Image.fromarray(np.array(pixels, np.float32).reshape(8, 8) / 16)
        shade = np.asarray(drawn.resize((side, side), PIL.Image.Resampling.BICUBIC)).clip(0, 1)
        ink, brightness = shade > INK, random.uniform(0.6, 1.0)
        for _ in range(TRIES):
            top, left = random.integers(0, SIZE - side + 1, 2)
            window = np.s_[top : top + side, left : left + side]
            after = instances.copy()
            after[window][ink] = len(areas) + 1
            left_over = np.bincount(after.ravel(), minlength=len(areas) + 2)[1:]
            if (left_over >= (1 - HIDDEN) * np.array([*areas, ink.sum()])).all():
                instances = after
                scene[window] += shade * (brightness - scene[window])
                areas.append(int(ink.sum()))
                classes.append(int(label))
                break
    noise = random.normal(0, random.uniform(0.01, 0.04), scene.shape)
    boxes = []
    for number in range(1, len(areas) + 1):
        rows, columns = (np.flatnonzero((instances == number).any(axis)) for axis in (1, 0))
        boxes.append([columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]])
    return {
        "image": PIL.Image.fromarray((255 * (scene + noise).clip(0, 1)).round().astype(np.uint8)),
        "mask": PIL.Image.fromarray(np.array([0, *(1 + label for label in classes)], np.uint8)[instances]),
        "instance_mask": PIL.Image.fromarray(instances),
        "objects": {
            "bbox": np.array(boxes, np.float32),
            "category": classes,
            "area": np.bincount(instances.ravel(), minlength=len(areas) + 1)[1:].astype(np.float32),
        },
    }
