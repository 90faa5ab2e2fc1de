"""CVAT: boxes, polygons, masks and tags of images in one xml file, "CVAT for images 1.1"."""

from xml.etree.ElementTree import tostring

import datasets

from dataset_scripts.core.builders.annotated import AnnotatedBuilder, AnnotatedConfig
from dataset_scripts.core.builders.contents import kind_of
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.stems import Named
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.safe_xml import parse_xml, xml_parts
from dataset_scripts.core.image.bitmaps import Bitmaps
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.shapes import Annotation
from dataset_scripts.layouts.cvat.shapes import named_values, read_shape, size_of
from dataset_scripts.layouts.cvat.tracks import Frames

PRECEDENCE = 2
SUFFIXES = (".xml",)
TEXT = datasets.Value("string")


def matches(files):
    """An xml file of CVAT."""
    if not Cvat.are_some(files):
        return None
    found = Cvat.annotation_files(files, AnnotatedConfig())
    return f"{len(files.images)} images; annotations in {', '.join(found[:6])}{' …' * (len(found) > 6)}"


class Cvat(AnnotatedBuilder):
    SUFFIXES = SUFFIXES
    OBJECT_COLUMNS = {
        "occluded": datasets.Value("bool"),
        "z_order": datasets.Value("int32"),
        "rotation": datasets.Value("float32"),
        "group_id": datasets.Value("int64"),
        "track_id": datasets.Value("int64"),
        "source": TEXT,
        "attributes": List({"name": TEXT, "value": TEXT}),
    }
    ROW_COLUMNS = {"tags": List(TEXT), "tag_attributes": List({"tag": TEXT, "name": TEXT, "value": TEXT})}
    SPARSE = ("rotation", "group_id", "track_id", "source", "attributes", "tags", "tag_attributes")

    @classmethod
    def is_annotation(cls, content):
        return (kind_of(content, ".xml") or ("", ""))[1] == "cvat"

    def index(self, files):
        self.labels = {}  # name -> type
        return super().index(files)

    def annotations(self, files, images):
        named = Named(files.root, images)
        for path in self.annotation_files(files, self.config):
            files.account([path])
            where, frames = f"{files.root}/{path}", Frames()
            with files.open(path) as file:
                for part in xml_parts(file, where):
                    if part.tag == "meta":
                        self.labels |= _labels(part)
                        frames.read_meta(part)
                    elif part.tag == "track":
                        frames.add(part, where)
                    elif part.tag == "image":
                        with self.faults:
                            yield self._find(named, part, path, where), path, tostring(part)
            yield from ((image, path, part) for image, part in frames.parts(images, where))

    @staticmethod
    def _find(named, part, path, where):
        name = part.get("name")
        if not name:
            raise DataError(f"{where}: image {short(part.get('id', ''))} has no name")
        return named.find(f"{part.get('subset', '')}/{name}".lstrip("/"), path, where)

    def _splits(self, files, images, samples, said):
        """The subsets; "default" alone, which CVAT writes where none was chosen, is none."""
        chosen = any(subset.lower() != "default" for subset in said.values())
        return super()._splits(files, images, samples, said if chosen else {})

    def categories(self, used):
        """The labels of the task, without those that only tags have."""
        return [name for name, kind in self.labels.items() if kind != "tag" or name in used] or sorted(used)

    def parse(self, content, where):
        image = parse_xml(content)
        bitmaps, shapes, tags, attributes = Bitmaps(), [], [], []
        for number, part in enumerate(image, 1):
            place = f"{where}, {part.tag} {number}"
            label = part.get("label")
            if label is None:
                raise DataError(f"{place} has no label")
            if self.labels and label not in self.labels:
                raise DataError(
                    f"{place}: {short(label)} is none of the labels in meta: {short(', '.join(self.labels))}"
                )
            if part.tag == "tag":
                tags.append(label)
                attributes += [{"tag": label, **value} for value in named_values(part)]
            else:
                shapes.append(read_shape(part, label, bitmaps, place))
        return Annotation(
            shapes,
            size_of(image, where),
            columns={"tags": tags, "tag_attributes": attributes},
            split=image.get("subset", ""),
        )


def _labels(meta):
    """The names of the labels and their types; those of the points of a skeleton are left out."""
    found = {}
    for label in meta.iterfind(".//labels/label"):
        name = label.findtext("name")
        if name and not label.findtext("parent"):
            found[name] = label.findtext("type") or "any"
    return found
