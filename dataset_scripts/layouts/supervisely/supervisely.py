"""Supervisely: a project of meta.json and folders img and ann, one json file per image."""

import os
from dataclasses import dataclass

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.annotated import AnnotatedBuilder, AnnotatedConfig
from dataset_scripts.core.builders.contents import kind_of
from dataset_scripts.core.builders.json_values import entry, size
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import folder_of, name_of
from dataset_scripts.core.files.splits import SplitFolders
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.image.bitmaps import Bitmaps
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.shapes import Annotation
from dataset_scripts.layouts.supervisely.shapes import read_shape, read_tags

PRECEDENCE = 2
SUFFIXES = (".json",)
TAGS = List({"name": datasets.Value("string"), "value": datasets.Value("string")})
COMPANY = ("obj_class_to_machine_color.json", "key_id_map.json")  # of a project, beside meta.json


@dataclass
class SuperviselyConfig(AnnotatedConfig):
    """Options of `load_dataset("supervisely", data_dir=…)`.

    Attributes:
        inclusive: whether the last pixels belong to a rectangle, as Supervisely defines it: width = right - left + 1. False
            for files of other tools: width = right - left.
    """

    inclusive: bool = True


def matches(files):
    """Json files with Supervisely's objects, named like the images."""
    return Supervisely.matches_by_stem(files)


class Supervisely(AnnotatedBuilder):
    BUILDER_CONFIG_CLASS = SuperviselyConfig
    SUFFIXES = SUFFIXES
    OBJECT_COLUMNS = {"description": datasets.Value("string"), "tags": TAGS}
    ROW_COLUMNS = {"description": datasets.Value("string"), "tags": TAGS}
    SPARSE = ("description", "tags")

    @classmethod
    def is_annotation(cls, content):
        return (kind_of(content, ".json") or ("", ""))[1] == "supervisely"

    def index(self, files):
        self.titles = list(dict.fromkeys(title for path in self._metas(files) for title in self._titles(files, path)))
        features, splits = super().index(files)
        images = [sample[0] for rows in splits.values() for sample in rows.samples]
        folders = SplitFolders(images)
        names = _datasets(images, folders)
        if len(set(names.values())) == 1:
            return features, splits
        for rows in splits.values():
            rows.columns["dataset"] = pa.array([names[sample[0]] for sample in rows.samples])
        first = {name: features[name] for name in ("image", "image_id")}
        return datasets.Features(first | {"dataset": datasets.Value("string")} | features), splits

    def _metas(self, files):
        """The files that describe projects, and those that the format writes beside the annotations."""
        annotations = set(self.annotation_files(files, self.config))
        projects = {folder_of(folder_of(path)) for path in annotations}  # of datasets, and all around them
        for folder in list(projects):
            while folder:
                projects.add(folder := folder_of(folder))
        infos = {
            f"{folder_of(folder_of(path))}/{name}".lstrip("/") for path in annotations for name in ("meta", "img_info")
        }
        metas = []
        for path in files.having(*SUFFIXES):
            if folder_of(path) in projects and name_of(path) == "meta.json":
                metas.append(path)
            elif folder_of(path) in infos or (folder_of(path) in projects and name_of(path) in COMPANY):
                files.account([path])
        files.account(metas)
        return metas

    @staticmethod
    def _titles(files, path):
        where = f"{files.root}/{path}"
        said = parse_json(files.read(path), where)
        classes = entry(said, "classes", list, where)
        return [entry(one, "title", str, f"{where}, class {number}") for number, one in enumerate(classes, 1)]

    def categories(self, used):
        return self.titles or sorted(used)

    def parse(self, content, where):
        said = parse_json(content, where)
        stated = entry(said, "size", dict, where)
        bitmaps, shapes = Bitmaps(), []
        for number, thing in enumerate(entry(said, "objects", list, where), 1):
            place = f"{where}, object {number}"
            title = entry(thing, "classTitle", str, place)
            if self.titles and title not in self.titles:
                raise DataError(
                    f"{place}: {short(title)} is none of the classes in meta.json: {short(', '.join(self.titles))}"
                )
            shapes.append(read_shape(thing, title, bitmaps, self.config.inclusive, f"{place} ({short(title)})"))
        return Annotation(
            shapes,
            size(stated.get("width"), stated.get("height"), where),
            columns={"description": said.get("description") or None, "tags": read_tags(said, where)},
        )


def _datasets(images, folders):
    """The dataset of each image, named by its folders without those that are splits: `a/img/1.jpg` is in `a`."""
    parts = {
        image: [
            part for part in folder_of(folders.without(image)).split("/") if part.lower() not in ("img", "datasets")
        ]
        for image in images
    }
    shared = len(os.path.commonprefix(list(parts.values())))  # such as the folder of the project
    return {image: "/".join(names[shared:]) for image, names in parts.items()}
