"""labelme: shapes drawn on images, one json file per image."""

import base64

import datasets
import numpy as np

from dataset_scripts.core.builders.annotated import AnnotatedBuilder, AnnotatedConfig
from dataset_scripts.core.builders.contents import kind_of
from dataset_scripts.core.builders.json_values import entry, points, size
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import folder_of, is_image, name_of
from dataset_scripts.core.files.stems import Named, pair_by_stem
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.bitmaps import Bitmaps
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.shapes import Annotation, Shape

PRECEDENCE = 2
SUFFIXES = (".json",)
KINDS = {  # shape_type -> kind of shape
    "polygon": "polygon",
    "rectangle": "box",
    "circle": "circle",
    "line": "line",
    "linestrip": "line",
    "point": "point",
    "points": "point",
    "mask": "mask",
    "oriented_rectangle": "polygon",
    "rotation": "polygon",  # as X-AnyLabeling calls it
}


def matches(files):
    """Json files with labelme's shapes, named like the images, or with the images in them."""
    if found := Labelme.matches_by_stem(files):
        return found
    if not Labelme.are_some(files):
        return None
    return f"{len(Labelme.annotation_files(files, AnnotatedConfig()))} labelme files"


class Labelme(AnnotatedBuilder):
    SUFFIXES = SUFFIXES
    OBJECT_COLUMNS = {
        "group_id": datasets.Value("int64"),
        "description": datasets.Value("string"),
        "flags": List(datasets.Value("string")),
    }
    ROW_COLUMNS = {"flags": List(datasets.Value("string"))}
    EMBEDS = True
    SPARSE = ("group_id", "description", "flags")

    @classmethod
    def is_annotation(cls, content):
        return (kind_of(content, ".json") or ("", ""))[1] == "labelme"

    def annotations(self, files, images):
        """A file is about the image of its stem, else about the one that its imagePath names, else about the one in it."""
        named = Named(files.root, images)
        found = self.annotation_files(files, self.config)
        for path, image, fault in pair_by_stem(files.root, images, found, self.stems):
            with self.faults:
                if image is None:
                    files.account([path])
                    image = self._other_image(files, path, named, fault)
                yield image, path, None

    @staticmethod
    def _other_image(files, path, named, fault):
        where = f"{files.root}/{path}"
        said = parse_json(files.read(path), where)
        name = said.get("imagePath") if isinstance(said, dict) else None
        if not isinstance(name, str):
            raise fault
        try:
            return named.find(name, path, where)
        except DataError:
            if said.get("imageData"):
                return path
            raise fault from None

    def picture(self, files, image, source):
        if image != source:
            return files.read(image), image
        said = parse_json(files.read(source), f"{files.root}/{source}")
        with reading(f"{files.root}/{source}: imageData"):
            content = base64.b64decode(entry(said, "imageData", str, f"{files.root}/{source}"), validate=True)
        name = name_of(said["imagePath"].replace("\\", "/"))
        return content, f"{folder_of(source)}/{name if is_image(name) else 'image.png'}".lstrip("/")

    def parse(self, content, where):
        said = parse_json(content, where)
        bitmaps = Bitmaps()
        shapes = [
            self._shape(shape, bitmaps, f"{where}, shape {number}")
            for number, shape in enumerate(entry(said, "shapes", list, where), 1)
        ]
        name = said.get("imagePath")
        return Annotation(
            shapes,
            size(said.get("imageWidth"), said.get("imageHeight"), where),
            columns={"flags": _flags(said, where)},
            name=name if isinstance(name, str) else "",
        )

    @staticmethod
    def _shape(shape, bitmaps, where):
        label, corners = entry(shape, "label", str, where), points(entry(shape, "points", list, where), where)
        kind = KINDS.get(said) if isinstance(said := shape.get("shape_type", "polygon"), str) else None
        if kind is None:
            raise DataError(f"{where}: shape_type {short(said)} is none of {', '.join(KINDS)}")
        group, description = shape.get("group_id"), shape.get("description")
        if type(group) not in (int, type(None)) or not -(1 << 63) <= (group or 0) < 1 << 63:
            raise DataError(f"{where}: group_id is {short(group)}, not a whole number")
        if not isinstance(description, (str, type(None))):
            raise DataError(f"{where}: description is {short(description)}, not text")
        more = {"group_id": group, "description": description, "flags": _flags(shape, where)}
        mask = _mask(shape, corners, bitmaps, where) if kind == "mask" else None
        return Shape(label, kind, corners[:1] if kind == "mask" else corners, more, mask)


def _mask(shape, corners, bitmaps, where):
    """The pixels of a mask, whose points are its first and its last pixel."""
    text = entry(shape, "mask", str, where)
    with reading(f"{where}: mask"):
        mask = bitmaps.png(base64.b64decode(text, validate=True))
    if len(corners) != 2:
        raise DataError(f"{where}: a mask has two corners, not {len(corners)}")
    width, height = corners[1] - corners[0] + 1
    if (corners == np.trunc(corners)).all() and mask.shape != (height, width):
        raise DataError(
            f"{where}: its mask has {mask.shape[1]} x {mask.shape[0]} pixels, its corners {width:g} x {height:g}"
        )
    return mask


def _flags(said, where):
    """The names of the flags that are set."""
    flags = said.get("flags") or {}
    if not isinstance(flags, dict) or not all(isinstance(value, bool) for value in flags.values()):
        raise DataError(f"{where}: flags are {short(flags)}, not names that are true or false")
    return [name for name, value in flags.items() if value]
