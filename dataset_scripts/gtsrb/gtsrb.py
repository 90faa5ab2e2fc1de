"""GTSRB, the German Traffic Sign Recognition Benchmark: 51,839 colour photos of traffic signs of 43 kinds."""

import re
from collections import Counter

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import Files, folder_of, name_of
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.features import List, labelled
from dataset_scripts.core.image.objects import fit_boxes

# Configuration -> the folder of its training part.
TRAINING = {"final": "Final_Training/Images", "ijcnn2011": "Training"}
ROWS = {"final": {"train": 39_209, "test": 12_630}, "ijcnn2011": {"train": 26_640, "test": 12_630}}
TEST_FOLDER = re.compile(r"(?:.*/)?Final_Test/Images")
TEST_TABLE = "GT-final_test.csv"
COLUMNS = ("Filename", "ClassId", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2")
published = Source.at("https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/")

TEST = (
    published(
        "GTSRB_Final_Test_Images.zip", 88978620, "48ba6fab7e877eb64eaf8de99035b0aaecfbc279bee23e35deca4ac1d0a837fa"
    ),
    published("GTSRB_Final_Test_GT.zip", 99620, "f94e5a7614d75845c74c04ddb26b8796b9e483f43541dd95dd5b726504e16d6d"),
)
FILES = {
    "final": (published("GTSRB_Final_Training_Images.zip", 276294756, "f33fd80ac59bff73c82d25ab499e03a3"), *TEST),
    "ijcnn2011": (
        published(
            "GTSRB-Training_fixed.zip", 187490228, "df4144942083645bd60b594de348aa6930126c3e0e5de09e39611630abf8455a"
        ),
        *TEST,
    ),
}


class Gtsrb(PublishedSet, LayoutBuilder):
    """Config names: final, the default, trains on all images; ijcnn2011 on the first part, as torchvision does."""

    BUILDER_CONFIGS = [LayoutConfig(name=name) for name in FILES]
    DEFAULT_CONFIG_NAME = "final"
    HOMEPAGE = "https://benchmark.ini.rub.de/gtsrb_dataset.html"
    LICENSE = "other"
    CITATION = """\
@inproceedings{stallkamp2011german,
    title     = {The German Traffic Sign Recognition Benchmark: A multi-class classification competition},
    author    = {Stallkamp, Johannes and Schlipsing, Marc and Salmen, Jan and Igel, Christian},
    booktitle = {International Joint Conference on Neural Networks},
    pages     = {1453--1460},
    year      = {2011},
    doi       = {10.1109/IJCNN.2011.6033395}
}"""
    SOURCES = tuple(dict.fromkeys(source for sources in FILES.values() for source in sources))
    ROWS = ROWS["final"]
    CLASSES = [
        *(f"speed limit {limit}" for limit in (20, 30, 50, 60, 70, 80)),
        "end of speed limit 80",
        "speed limit 100",
        "speed limit 120",
        "no passing",
        "no passing for trucks",
        "right of way at the next intersection",
        "priority road",
        "yield",
        "stop",
        "no vehicles",
        "no trucks",
        "no entry",
        "danger",
        "curve to the left",
        "curve to the right",
        "double curve",
        "bumpy road",
        "slippery road",
        "road narrows on the right",
        "road work",
        "traffic signals",
        "pedestrians",
        "children",
        "bicycles",
        "ice or snow",
        "wild animals",
        "end of all limits",
        "turn right ahead",
        "turn left ahead",
        "ahead only",
        "ahead or right",
        "ahead or left",
        "keep right",
        "keep left",
        "roundabout",
        "end of no passing",
        "end of no passing for trucks",
    ]
    FEATURES = labelled(CLASSES, bbox=List(datasets.Value("float32"), length=4), track=datasets.Value("string"))

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ROWS = ROWS[self.config.name]

    def sources(self):
        return FILES[self.config.name]

    def parts(self):
        train, test, _ = FILES[self.config.name]
        training = f"{train.name}|{TRAINING[self.config.name]}/*"
        return {"train": (training,), "test": (f"{test.name}|Final_Test/Images/*",)}

    def index(self, files):
        self.counts = Counter(folder_of(path) for path in files.having(".ppm"))
        table = re.compile(rf"(?:.*/)?{TRAINING[self.config.name]}/(\d{{5}})/GT-\1\.csv")
        training = {path: int(match[1]) for path in files.paths if (match := table.fullmatch(path))}
        twice = next((kind for kind, count in Counter(training.values()).items() if count > 1), None)
        if twice is not None:
            raise DataError(f"{files.root} holds GT-{twice:05}.csv twice: give the folder of one copy")
        found = {
            "train": [row for path, kind in training.items() for row in self._rows(files, path, folder_of(path), kind)],
            "test": self._test(files),
        }
        rows = {}
        for split, samples in found.items():
            tracks = [f"{kind:05}_{name_of(path)[:5]}" if split == "train" else None for path, _, _, kind in samples]
            columns = {"label": pa.array([kind for *_, kind in samples]), "track": pa.array(tracks, pa.string())}
            if samples:
                rows[split] = Rows([sample[:3] for sample in samples], columns)
        return self.FEATURES, rows

    def _test(self, files: Files) -> list[tuple]:
        folders = [folder for folder in self.counts if TEST_FOLDER.fullmatch(folder)]
        # The table beside the images has no classes.
        tables = [path for path in files.paths if name_of(path) == TEST_TABLE]
        if not folders:
            return []
        if len(folders) > 1 or len(tables) != 1:
            raise DataError(
                f"{files.root} holds {len(folders)} folders Final_Test/Images and {len(tables)} files {TEST_TABLE},"
                " not one each; the table is in GTSRB_Final_Test_GT.zip"
            )
        return self._rows(files, tables[0], folders[0])

    def _rows(self, files: Files, path: str, folder: str, kind: int | None = None) -> list[tuple]:
        """Reads a table: (image, corners of the sign, their place for messages, class) for each line."""
        rows, where = {}, f"{files.root}/{path}"
        head, *lines = files.read(path).decode("utf-8-sig", "replace").splitlines() or [""]
        columns = [cell.strip() for cell in head.split(";")]
        if missing := [name for name in COLUMNS if name not in columns]:
            raise DataError(f"{where}: its first line has no column {missing[0]}")
        for number, line in ((number, line) for number, line in enumerate(lines, 2) if line.strip()):
            place = f"{where}, line {number}"
            with self.faults, reading(place):
                cells = dict(zip(columns, map(str.strip, line.split(";")), strict=True))
                image, (label, *corners) = f"{folder}/{cells['Filename']}", [int(cells[name]) for name in COLUMNS[1:]]
                if image not in files.names or image in rows:
                    raise DataError(f"{place}: {short(cells['Filename'])} is not there, or listed before")
                if not 0 <= label < len(self.CLASSES) or kind not in (None, label):
                    raise DataError(f"{place}: ClassId {label} is not that of the folder, or none of 0..42")
                rows[image] = (image, corners, place, label)
        if len(rows) != self.counts[folder]:
            with self.faults:
                raise DataError(f"{where} lists {len(rows)} images, but {folder} holds {self.counts[folder]}")
        return list(rows.values())

    def read(self, files, sample):
        path, (left, top, right, bottom), where = sample
        content = files.read(path)
        frame = Frame.of(content, f"{files.root}/{path}")
        box = fit_boxes([left, top, right - left, bottom - top], frame, None, [where])[0]
        return {"image": {"bytes": content, "path": path}, "bbox": box.tolist()}
