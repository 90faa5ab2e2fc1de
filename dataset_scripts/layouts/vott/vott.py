"""VoTT: regions of images, one json file per asset or an export of all of them."""

import json
from urllib.parse import unquote

import numpy as np

from dataset_scripts.core.builders.annotated import AnnotatedBuilder, AnnotatedConfig
from dataset_scripts.core.builders.contents import kind_of
from dataset_scripts.core.builders.json_values import entry, number, size
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.stems import Named
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.shapes import Annotation, Shape

PRECEDENCE = 2
SUFFIXES = (".json",)
KINDS = {"RECTANGLE": "box", "SQUARE": "box", "POLYGON": "polygon", "POLYLINE": "line", "POINT": "point"}
VIDEO = 2  # the type of an asset that is a whole video
UNSEEN = 0  # the state of an asset that nobody has opened


def matches(files):
    """Json files with the assets and regions of VoTT."""
    if not Vott.are_some(files):
        return None
    found = Vott.annotation_files(files, AnnotatedConfig())
    return f"{len(files.images)} images; {len(found)} files of VoTT, such as {found[0]}"


class Vott(AnnotatedBuilder):
    SUFFIXES = SUFFIXES

    @classmethod
    def is_annotation(cls, content):
        return (kind_of(content, ".json") or ("", ""))[1] == "vott"

    def annotations(self, files, images):
        named = Named(files.root, images)
        self.tags = []
        exported = {}  # id of an asset -> its regions, as an export has them
        single = []
        for path in self.annotation_files(files, self.config):
            files.account([path])
            where = f"{files.root}/{path}"
            with self.faults:
                said = parse_json(files.read(path), where)
                if isinstance(said, dict) and "assets" in said:
                    self._add_tags(said, where)
                    for key, asset in entry(said, "assets", dict, where).items():
                        with self.faults:
                            place = f"{where}, asset {short(key)}"
                            exported[key] = entry(asset, "regions", list, place)
                            if image := self._find(named, asset, path, place):
                                yield image, path, json.dumps(asset).encode()
                else:
                    single.append((path, said))
        for path in files.having(".vott"):  # the project, with the order of its tags
            files.account([path])
            self._add_tags(parse_json(files.read(path), f"{files.root}/{path}"), f"{files.root}/{path}")
        for path, said in single:
            with self.faults:
                where = f"{files.root}/{path}"
                asset = entry(said, "asset", dict, where)
                key = asset.get("id")
                if isinstance(key, str) and exported.get(key) == said.get("regions", key):
                    continue  # an export has the same
                if image := self._find(named, said, path, where):
                    yield image, path, None

    @staticmethod
    def _find(named, said, path, where):
        """The image of an asset; None if there are no regions because nobody has looked at it, or it is a whole video."""
        asset, regions = entry(said, "asset", dict, where), entry(said, "regions", list, where)
        if not regions and (asset.get("state") == UNSEEN or asset.get("type") == VIDEO):
            return None
        name = entry(asset, "name", str, where)
        try:
            return named.find(name, path, where)
        except DataError:
            if unquote(name) == name:
                raise
            return named.find(unquote(name), path, where)

    def _add_tags(self, said, where):
        for place, tag in enumerate(entry(said, "tags", list, where), 1):
            name = entry(tag, "name", str, f"{where}, tag {place}")
            if name not in self.tags:
                self.tags.append(name)

    def categories(self, used):
        return [*self.tags, *sorted(used - set(self.tags))]

    def parse(self, content, where):
        said = parse_json(content, where)
        stated = entry(said, "asset", dict, where).get("size") or {}
        shapes = []
        for place, region in enumerate(entry(said, "regions", list, where), 1):
            shapes += _shapes(region, f"{where}, region {place}")
        return Annotation(shapes, size(stated.get("width"), stated.get("height"), where))


def _shapes(region, where):
    """The objects of a region, one for each of its tags, as VoTT exports them to other formats."""
    said, tags = entry(region, "type", str, where), entry(region, "tags", list, where)
    if said not in KINDS:
        raise DataError(f"{where}: type {short(said)} is none of {', '.join(KINDS)}")
    if not tags or not all(isinstance(tag, str) for tag in tags):
        raise DataError(f"{where} has no tag" if not tags else f"{where}: tags are {short(tags)}, not names")
    if KINDS[said] == "box":
        box = entry(region, "boundingBox", dict, where)
        left, top, width, height = (number(box, side, where) for side in ("left", "top", "width", "height"))
        if width < 0 or height < 0:
            raise DataError(f"{where}: its boundingBox is {width:g} wide and {height:g} high")
        corners = [[left, top], [left + width, top + height]]
    else:
        corners = [
            [number(point, "x", where), number(point, "y", where)] for point in entry(region, "points", list, where)
        ]
    return [Shape(tag, KINDS[said], np.array(corners, np.float64)) for tag in tags]
