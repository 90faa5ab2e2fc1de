"""WIDER FACE: 32,203 photos of 61 kinds of events with boxes of faces, many of them small, turned or hidden."""

import re

import datasets
import numpy as np

from dataset_scripts.core.builders.layout import LayoutBuilder, Rows
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, name_of, without_suffix
from dataset_scripts.core.formats.fields import brief, short
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.objects import fit_boxes, object_features

logger = printable_logger(__name__)

LISTS = {  # split -> the folder of its images, and its list
    "train": ("WIDER_train/images/", "wider_face_train_bbx_gt.txt"),
    "validation": ("WIDER_val/images/", "wider_face_val_bbx_gt.txt"),
    "test": ("WIDER_test/images/", "wider_face_test_filelist.txt"),
}
ATTRIBUTES = {  # in the order of the numbers that follow x, y, width and height, as in the readme of the lists
    "blur": ["clear", "normal", "heavy"],
    "expression": ["typical", "exaggerated"],
    "illumination": ["normal", "extreme"],
    "invalid": ["false", "true"],
    "occlusion": ["none", "partial", "heavy"],
    "pose": ["typical", "atypical"],
}
MORE = {
    name: datasets.Value("bool") if name == "invalid" else datasets.ClassLabel(names=values)
    for name, values in ATTRIBUTES.items()
}
COUNT = re.compile(r"[0-9]{1,6}")
FACE = re.compile(r"(-?[0-9]{1,6} ){9}-?[0-9]{1,6}")

published = Source.at("https://huggingface.co/datasets/wider_face/resolve/main/data/")
lists = Source.at(
    "https://huggingface.co/datasets/wider_face/resolve/main/data/",
    "http://shuoyang1213.me/WIDERFACE/support/bbx_annotation/",
    "http://mmlab.ie.cuhk.edu.hk/projects/WIDERFace/support/bbx_annotation/",
)


class WiderFace(PublishedSet, LayoutBuilder):
    HOMEPAGE = "http://shuoyang1213.me/WIDERFACE/"
    LICENSE = "cc-by-nc-nd-4.0"
    CITATION = """\
@inproceedings{yang2016wider,
    title     = {{WIDER FACE}: A Face Detection Benchmark},
    author    = {Yang, Shuo and Luo, Ping and Loy, Chen Change and Tang, Xiaoou},
    booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
    pages     = {5525--5533},
    year      = {2016},
    doi       = {10.1109/CVPR.2016.596}
}"""
    SOURCES = (
        published("WIDER_train.zip", 1465602149, "e23b76129c825cafae8be944f65310b2e1ba1c76885afe732f179c41e5ed6d59"),
        published("WIDER_val.zip", 362752168, "f9efbd09f28c5d2d884be8c0eaef3967158c866a593fc36ab0413e4b2a58a17a"),
        published("WIDER_test.zip", 1844140520, "3b0313e11ea292ec58894b47ac4c0503b230e12540330845d70a7798241f88d3"),
        lists("wider_face_split.zip", 3591642, "c7561e4f5e7a118c249e0a5c5c902b0de90bbf120d7da9fa28d99041f68a8a5c"),
    )
    ROWS = {"train": 12_880, "validation": 3_226, "test": 16_097}
    PARTS = {
        "train": ("WIDER_train.zip|WIDER_train/images/*",),
        "validation": ("WIDER_val.zip|WIDER_val/images/*",),
        "test": ("WIDER_test.zip|WIDER_test/images/*",),
    }
    FEATURES = datasets.Features(
        image=datasets.Image(), image_id=datasets.Value("string"), objects=object_features(["face"], **MORE)
    )

    def index(self, files):
        splits = {}
        for split, (folder, name) in LISTS.items():
            images = {path.partition(folder)[2]: path for path in files.images if f"/{folder}" in f"/{path}"}
            if images:
                splits[split] = Rows(self._samples(files, name, images))
        return self.FEATURES, splits

    def _samples(self, files: Files, name: str, images: dict[str, str]) -> list[tuple]:
        """Reads a list, and takes its images out of `images` (name -> path). After a fault it goes on at the next image.

        Returns:
            Name of the image, its path, the list, and for train and validation the number of the first line with a face
            and the lines; else 0 and None.
        """
        source = next((path for path in files.paths if name_of(path) == name), None)
        if source is None:
            raise DataError(f"{files.root} has no {name}, which is in wider_face_split.zip")
        lines = [" ".join(line.split()) for line in files.read(source).decode("utf-8", "replace").splitlines()]
        samples, place, known = [], 0, set(images)
        while place < len(lines):
            image, number, first, faces = lines[place], place + 1, 0, None
            place += 1
            if image:
                with self.faults:
                    if name != LISTS["test"][1]:
                        first = place + 1
                        try:
                            faces = self._faces(lines, place, known, f"{files.root}/{source}, line {first}")
                        except DataError:
                            place = next(
                                (line for line in range(place, len(lines)) if lines[line] in known), len(lines)
                            )
                            raise
                        place += 1 + max(len(faces), 1)
                    path = images.pop(image, None)
                    if path is None:
                        raise DataError(
                            f"{files.root}/{source}, line {number}: there is no image {short(image)}, or it is listed twice"
                        )
                    samples.append((image, path, source, first + 1, faces))
        if images:
            logger.warning("%s: %d images are not in %s and are left out", files.root, len(images), name)
        return samples

    def _faces(self, lines: list[str], place: int, known: set[str], where: str) -> list[str]:
        """The lines of faces after a line with their number."""
        count = lines[place] if place < len(lines) else "nothing"
        end = place + 1 + max(int(count), 1) if COUNT.fullmatch(count) else 0
        faces = lines[place + 1 : end]
        if not place < end <= len(lines) or not known.isdisjoint(faces):
            raise DataError(f"{where}: {short(count)} is not the number of faces that follow")
        if int(count) == 0 and set(faces[0].split()) != {"0"}:
            raise DataError(f"{where}: a count of 0 needs a line of zeros after it")
        return faces if int(count) else []

    def read(self, files, sample):
        image, path, source, first, faces = sample
        content = files.read(path)
        row = {"image": {"bytes": content, "path": path}, "image_id": without_suffix(image)}
        if faces is None:
            return row | {"objects": None}
        where = [f"{files.root}/{source}, line {line}" for line in range(first, first + len(faces))]
        return row | {"objects": read_faces(faces, Frame.of(content, f"{files.root}/{path}"), where)}


def read_faces(lines: list[str], frame: Frame, where: list[str]) -> dict[str, list]:
    """The column `objects`, from lines of ten numbers; boxes that extend over the border are cut there.

    Boxes were drawn on the pixels as stored: MATLAB, for which the set was made, does not rotate images by EXIF.

    Raises:
        DataError: naming a line that has another form, or a box outside the image.
    """
    for line, place in zip(lines, where):
        if not FACE.fullmatch(line):
            raise DataError(
                f"{place}: {brief(line)} is not x, y, width, height and {', '.join(ATTRIBUTES)}, as whole numbers"
            )
    values = np.array([line.split() for line in lines], np.int64).reshape(-1, 4 + len(ATTRIBUTES))
    objects = {"category": [0] * len(lines)}
    for column, (name, meanings) in enumerate(ATTRIBUTES.items(), 4):
        for value, place in zip(values[:, column], where):
            if value not in range(len(meanings)):
                raise DataError(f"{place}: {name} is {value}, not 0 to {len(meanings) - 1}")
        objects[name] = values[:, column].astype(bool if name == "invalid" else np.int64).tolist()
    size = values[:, 2:4]
    low, high = np.clip([values[:, :2], values[:, :2] + size], 0, frame.stored)
    is_in = ((size >= 0) & (high - low >= np.minimum(size, 1))).all(1, keepdims=True)
    boxes = np.where(is_in, np.concatenate([low, high - low], 1), values[:, :4])
    return objects | {"bbox": list(fit_boxes(boxes, frame, frame.stored, where))}
