"""MOTChallenge: frames of videos with the boxes of tracked objects: seq/img1/000001.jpg and seq/gt/gt.txt."""

import configparser
import json
import re
from typing import ClassVar

import datasets
import numpy as np

from dataset_scripts.core.builders.annotated import AnnotatedBuilder
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import folder_of, name_of, stem_of
from dataset_scripts.core.files.stems import is_below
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.formats.text_table import text_lines
from dataset_scripts.core.image.shapes import Annotation, Shape

PRECEDENCE = 2
SUFFIXES = (".txt",)
NAMES = (  # of MOT16, MOT17 and MOT20, from 1
    "pedestrian",
    "person on vehicle",
    "car",
    "bicycle",
    "motorbike",
    "non motorized vehicle",
    "static person",
    "distractor",
    "occluder",
    "occluder on the ground",
    "occluder full",
    "reflection",
    "crowd",
)
NUMBER = r"-?\d+(?:\.\d*)?(?:[eE][-+]?\d{1,2})?"
ROW = re.compile(rf"\d{{1,9}},-?\d{{1,15}},(?:{NUMBER},){{6,7}}{NUMBER}", re.ASCII)


def matches(files):
    """Sequences with a gt/gt.txt of MOTChallenge."""
    found = ground_truth(files) if files.images else []
    some = [path for path in found[:4] if any(map(is_row, files.peek(path).splitlines()[:1]))]
    return f"{len(files.images)} images, {len(found)} sequences such as {some[0]}" if some else None


def ground_truth(files):
    return [path for path in files.having("gt.txt") if f"/{path}".endswith("/gt/gt.txt")]


def is_row(line):
    return ROW.fullmatch(line.decode("utf-8-sig", "replace").replace(" ", "").strip()) is not None


class Mot(AnnotatedBuilder):
    SUFFIXES = SUFFIXES
    IS_POLYGONAL = False
    OBJECT_COLUMNS: ClassVar = {
        "track_id": datasets.Value("int64"),
        "visibility": datasets.Value("float32"),
        "considered": datasets.Value("bool"),
    }

    def annotations(self, files, images):
        self.numbers: dict[str, tuple[int, str]] = {}  # name of a class -> what it is sorted by
        folders: dict[str, list[str]] = {}
        for image in images:
            folders.setdefault(folder_of(image), []).append(image)
        known = [path for path in files.paths if re.search(r"(^|/)(det/det\.txt|seqinfo\.ini)$", path)]
        files.account(known)
        asked = self.config.annotations
        for path in ground_truth(files):
            if asked is None or is_below(path, asked):
                files.account([path])
                yield from self._sequence(files, path, folders)

    def _sequence(self, files, path, folders):
        above = folder_of(folder_of(path))
        start = f"{above}/" if above else ""
        folder, size = self._about(files, f"{start}seqinfo.ini")
        names = self._class_list(files, f"{folder_of(path)}/labels.txt")
        where = f"{files.root}/{path}"
        frames = {}
        for image in folders.get(start + folder, []):
            with self.faults:
                if not re.fullmatch(r"\d{1,9}", stem_of(image), re.ASCII) or int(stem_of(image)) in frames:
                    raise DataError(f"{files.root}/{image}: its name is not the number of a frame, or that of another")
                frames[int(stem_of(image))] = image
        if not frames:
            with self.faults:
                raise DataError(f"{where}: there are no images in {start}{folder}/")
        rows: dict[int, list] = {}
        faults = []  # of lines that may be about any frame
        with files.open(path) as file:
            for line, content in text_lines(file, where):
                text = content.decode("utf-8", "replace").strip()
                number = re.match(r"(\d{1,9})\s*,", text, re.ASCII)
                if number is None:
                    faults.append([line, text])
                elif int(number[1]) in frames:
                    rows.setdefault(int(number[1]), []).append([line, text])
                else:
                    with self.faults:
                        raise DataError(
                            f"{where}, line {line}: there is no image of its frame in {start}{folder}/: {short(text)}"
                        )
        for number, image in frames.items():
            part = {"size": size, "names": names, "rows": faults or rows.get(number, [])}
            yield image, path, json.dumps(part).encode()

    @staticmethod
    def _about(files, path):
        """The folder of the images of a sequence, and their size if its seqinfo.ini is there."""
        if path not in files.names:
            return "img1", None
        where = f"{files.root}/{path}"
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        with reading(where):
            parser.read_string(files.peek(path).decode("utf-8-sig"))
            said = parser["Sequence"]
            size = [int(said["imWidth"]), int(said["imHeight"])] if "imWidth" in said else None
        return said.get("imDir", "img1").strip("/") or "img1", size

    def _class_list(self, files, path):
        """The names of the classes from 1, of a list as CVAT writes it; None if there is none."""
        if path not in files.names:
            return None
        files.account([path])
        with reading(f"{files.root}/{path}"):
            names = [line.strip() for line in files.read(path).decode("utf-8-sig").splitlines() if line.strip()]
        self.numbers |= {name: (number, name) for number, name in enumerate(names, 1)}
        return names

    def parse(self, content, where):
        said = parse_json(content, where)
        shapes = [self._shape(text, said["names"], f"{where}, line {line}") for line, text in said["rows"]]
        return Annotation(shapes, said["size"] and tuple(said["size"]))

    def _shape(self, text, names, where):
        values = text.replace(" ", "").split(",")
        if not ROW.fullmatch(",".join(values)):
            raise DataError(f"{where}: {short(text)} is not frame,id,left,top,width,height,considered,class,visibility")
        left, top, width, height, flag, kind = map(float, values[2:8])
        if len(values) == 10:  # of MOT15: the place in the world follows, and all are pedestrians
            kind, visibility = 1.0, None
        else:
            visibility = float(values[8])
        if flag not in (0, 1):
            raise DataError(
                f"{where}: the flag for considered is {short(values[6])}, neither 0 nor 1, as in detections"
            )
        if not kind.is_integer() or kind < 1 or (names and kind > len(names)):
            raise DataError(f"{where}: there is no class {short(values[7])}")
        if width < 0 or height < 0:
            raise DataError(f"{where}: its width or height is negative")
        number = int(kind)
        label = names[number - 1] if names else NAMES[number - 1] if number <= len(NAMES) else str(number)
        self.numbers.setdefault(label, (number, label))
        corner = np.array([left - 1, top - 1])  # pixels are counted from 1
        more = {"track_id": int(values[1]), "visibility": visibility, "considered": flag == 1}
        return Shape(label, "box", np.stack([corner, corner + [width, height]]), more)

    def categories(self, used):
        return sorted(self.numbers, key=self.numbers.__getitem__)

    def image_id(self, image):
        return f"{name_of(folder_of(folder_of(image)))}/{stem_of(image)}".lstrip("/")
