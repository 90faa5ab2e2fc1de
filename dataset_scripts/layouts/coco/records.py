"""COCO's json files: images, annotations and categories, read element by element."""

import json
import re
from typing import Any
from urllib.parse import urlparse

from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_stream import FAULTY, Element, elements
from dataset_scripts.core.image.objects import is_number

logger = printable_logger(__name__)

_IMAGE_ID = re.compile(rb'"image_id"\s*:\s*(-?\d{1,19}(?![\d.eE])|"(?:[^"\\\n]|\\.)*+")')


class Records:
    """What the files of a set say together.

    Attributes:
        categories: id -> name.
        used: the ids of the categories that objects have, as text.
    """

    def __init__(self, faults: Faults):
        self.faults = faults
        self.categories: dict[int | str, str] = {}
        self.used: set[str] = set()
        self._named_in: dict[int | str, str] = {}  # category id -> the file that defines it
        self._above: dict[int | str, Any] = {}  # category id -> the name of its supercategory

    def read(self, files: Files, path: str) -> tuple[dict, dict]:
        """Reads a file once: image id -> record, and image id -> the json texts of its annotations."""
        where = f"{files.root}/{path}"
        images, annotations, incomplete = {}, {}, set()
        with files.open(path) as file:
            for element in elements(file, where, self.faults):
                with self.faults:
                    if element.value is FAULTY:
                        if element.key == "annotations":
                            incomplete.update(map(json.loads, _IMAGE_ID.findall(element.text)))
                    elif element.key == "categories":
                        self._add_category(element, where)
                    elif element.key == "images":
                        number, image = self._image(element, where)
                        if str(number) in images:
                            raise DataError(f"{where}, line {element.line}: image id {number} occurs twice")
                        images[str(number)] = (number, *image)
                    elif element.key == "annotations":
                        number = self._get(element, "image_id", where)
                        annotations.setdefault(str(number), []).append(element.text)
                        self._use(element.value)
        # An image without one of its objects would teach that the object is not there.
        for number in map(str, incomplete):
            images.pop(number, None)
            annotations.pop(number, None)
        for number in annotations.keys() - images.keys():
            with self.faults:
                raise DataError(f"{where}: there are annotations of image {number}, which is not among its images")
        return images, annotations

    def _use(self, annotation: dict) -> None:
        self.used.add(str(annotation.get("category_id")))

    def _add_category(self, element: Element, where: str) -> None:
        number, name = self._get(element, "id", where), element.value.get("name")
        if not isinstance(name, str):
            raise DataError(f"{where}, line {element.line}: the name of category {number} is {short(name)}, not text")
        if self.categories.setdefault(number, name) != name:
            raise DataError(
                f"{where}: category {number} is {name}, but {self.categories[number]} in {self._named_in[number]}"
            )
        self._named_in[number] = where
        self._above[number] = element.value.get("supercategory")

    def drop_roots(self, root: object) -> None:
        """Drops what some tools put above all categories, and nothing is in: a name that others have as supercategory."""
        above = self._above.values()
        for number, name in list(self.categories.items()):
            if str(number) not in self.used and name in above and len(self.categories) > 1:
                logger.warning("%s: %s is only the name above other categories, and is no class", root, short(name))
                del self.categories[number]

    def _image(self, element: Element, where: str) -> tuple[int | str, tuple]:
        """The id of an image, and its file name, width and height, None if they are not given."""
        number, record = self._get(element, "id", where), element.value
        place = f"{where}, line {element.line}: image {number}"
        name = record.get("file_name")
        if not name and isinstance(url := record.get("coco_url"), str):  # LVIS
            with reading(place):
                name = urlparse(url).path.lstrip("/")
        if not isinstance(name, str) or not name:
            raise DataError(f"{place} has no file_name" + (f", but {short(name)}" if name else ""))
        size = record.get("width"), record.get("height")
        if not all(side is None or is_number(side) for side in size):
            raise DataError(f"{place} is {short(size[0])} x {short(size[1])}, which is not a size in pixels")
        size = size if all(side is not None and side > 0 for side in size) else (None, None)  # VIA writes -1
        return number, (name.replace("\\", "/"), *size)

    @staticmethod
    def _get(element: Element, key: str, where: str) -> int | str:
        """An id: text, or a whole number of 64 bits."""
        number = element.value.get(key) if isinstance(element.value, dict) else None
        if type(number) is str or (type(number) is int and -(1 << 63) <= number < 1 << 63):
            return number
        what = {"categories": "a category", "images": "an image", "annotations": "an annotation"}[element.key]
        raise DataError(
            f"{where}, line {element.line}: {what} has no {key}, a whole number or text: {short(element.value)}"
        )
