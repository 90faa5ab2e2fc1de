"""VIA: shapes drawn in the VGG Image Annotator, in one file for many images: its project, json or csv."""

import json
from dataclasses import dataclass

from dataset_scripts.core.builders.annotated import AnnotatedConfig
from dataset_scripts.core.builders.attributes import Attributes, is_missing
from dataset_scripts.core.builders.many import Entry, ManyBuilder, name_in
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.shapes import Annotation, Shape
from dataset_scripts.layouts.via.export3 import export3_entries, is_export3
from dataset_scripts.layouts.via.shapes import drawn
from dataset_scripts.layouts.via.table import table_entries

PRECEDENCE = 2
SUFFIXES = (".json", ".csv")


@dataclass
class ViaConfig(AnnotatedConfig):
    """Options of `load_dataset("via", data_dir=…)`.

    Attributes:
        label_key: the attribute of regions that is their category; "" for none: all are "object". None takes the only
            one that all regions have.
    """

    label_key: str | None = None


def matches(files):
    """Json or csv with VIA's regions."""
    return Via.matches_by_content(files)


class Via(ManyBuilder):
    BUILDER_CONFIG_CLASS = ViaConfig
    SUFFIXES = SUFFIXES

    def annotations(self, files, images):
        self.attributes, self.regions, self.shared = Attributes(), 0, None
        found = list(super().annotations(files, images))
        self.key = self._label_key(files)
        self.attributes.kinds.pop(self.key, None)
        self.OBJECT_COLUMNS = self.attributes.features()
        yield from found

    def entries(self, files, path):
        if path.lower().endswith(".csv"):
            read = export3_entries if is_export3(files.peek(path)) else table_entries
            for name, said, where in read(files, path, self.faults):
                with self.faults:
                    if "fault" not in said:
                        self.see(said)
                    yield Entry(name, json.dumps(said).encode(), where)
        elif is_project(files, path):
            where = f"{files.root}/{path}"
            for said in parse_json(files.read(path), where)["_via_img_metadata"].values():
                with self.faults:
                    name = name_in(said, ("filename",), where)
                    self.see(said)
                    yield Entry(name, json.dumps(said).encode(), f"{where}, {short(name)}")
        else:
            yield from self.json_entries(files, path, "filename")

    def see(self, said):
        for _, region in regions_of(said, short(said.get("filename"))):
            attributes = region.get("region_attributes") or {}
            named = {key for key, value in attributes.items() if not is_missing(value)}
            self.shared = named if self.shared is None else self.shared & named
            self.regions += 1
            self.attributes.see(attributes)

    def _label_key(self, files):
        """The attribute that is the category."""
        known, key = list(self.attributes.kinds), self.config.label_key
        if key is not None:
            if key and key not in known:
                raise DataError(
                    f"{files.root}: label_key={key!r}: the regions have {short(', '.join(known)) or 'no attributes'}"
                )
            return key
        shared = sorted(self.shared or ())
        if not known or not self.regions:
            return ""
        if len(shared) != 1:
            what = f"all regions have {short(', '.join(shared))}" if shared else "no attribute is one of all regions"
            raise DataError(
                f"{files.root}: {what}: pass label_key=…, one of {short(', '.join(known))}, or '' for a single category"
            )
        return shared[0]

    def parse(self, content, where):
        said = parse_json(content, where)
        if "fault" in said:
            raise DataError(said["fault"])
        return Annotation([self._shape(region, place) for place, region in regions_of(said, where)])

    def _shape(self, region, where):
        attributes = region.get("region_attributes") or {}
        label = attributes.get(self.key) if self.key else "object"
        if isinstance(label, dict):
            raise DataError(
                f"{where}: its {self.key} is a checkbox of several options, {short(', '.join(label))}, which is no category: "
                "pass label_key=… for another attribute, or '' for a single category"
            )
        if is_missing(label):
            raise DataError(f"{where} has no {self.key}: give it one, or pass label_key=… for another attribute")
        more = self.attributes.values({key: value for key, value in attributes.items() if key != self.key})
        kind, points = drawn(region.get("shape_attributes"), where)
        return Shape(label if isinstance(label, str) else json.dumps(label), kind, points, more)


def is_project(files, path):
    """Whether a file is a project that VIA 2 has saved, not an export of its annotations."""
    with files.open(path) as file:
        return b'"_via_' in file.read(1 << 12)


def regions_of(said, where):
    """The regions of an image, each with its place: a list (VIA 2) or an object with numbers as keys (VIA 1)."""
    regions = said.get("regions")
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(regions, list):
        raise DataError(f"{where}: its regions are {short(regions)}")
    for number, region in enumerate(regions, 1):
        place = f"{where}, region {number}"
        if not isinstance(region, dict) or not isinstance(region.get("region_attributes") or {}, dict):
            raise DataError(f"{place} is {short(region)}, not shape_attributes and region_attributes")
        yield place, region
