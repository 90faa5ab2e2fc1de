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
        things: category id -> whether it is a thing, which only panoptic files say.
        used: the ids of the categories that objects have, as text.
        text_ids: whether the id of an annotation is text.
    """

    def __init__(self, faults: Faults):
        self.faults = faults
        self.categories: dict[int | str, str] = {}
        self.things: dict[int | str, bool] = {}
        self.used: set[str] = set()
        self.text_ids = False
        self._named_in: dict[int | str, str] = {}  # category id -> the file that defines it
        self._above: dict[int | str, Any] = {}  # category id -> the name of its supercategory
        self._numbers: dict[str, int | str] = {}  # category id as text -> as it was first written

    @property
    def in_order(self) -> list[int | str]:
        """The ids of the categories: numbers first, even those that are written as text."""
        return sorted(self.categories, key=lambda number: (0, int(number), "") if is_whole(number) else (1, 0, number))

    def read(self, files: Files, path: str) -> tuple[dict, dict, dict]:
        """Reads a file once.

        Returns:
            Image id as text -> record, -> the json texts of its annotations, -> the file name in its panoptic annotation.
        """
        where = f"{files.root}/{path}"
        images, annotations, pngs, incomplete = {}, {}, {}, set()
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
                        if "segments_info" in element.value:
                            pngs[str(number)] = element.value.get("file_name")
        # An image without one of its objects would teach that the object is not there.
        for number in map(str, incomplete):
            images.pop(number, None)
            annotations.pop(number, None)
        for number in sorted(annotations.keys() - images.keys()):
            with self.faults:
                raise DataError(f"{where}: there are annotations of image {number}, which is not among its images")
        return images, annotations, {number: name for number, name in pngs.items() if number in images}

    def _use(self, annotation: dict) -> None:
        self.text_ids = self.text_ids or isinstance(annotation.get("id"), str)
        segments = annotation.get("segments_info")
        for each in segments if isinstance(segments, list) else [annotation]:
            if isinstance(each, dict):
                self.used.add(str(each.get("category_id")))

    def _add_category(self, element: Element, where: str) -> None:
        number, name = self._get(element, "id", where), element.value.get("name")
        if not isinstance(name, str):
            raise DataError(f"{where}, line {element.line}: the name of category {number} is {short(name)}, not text")
        number = self._numbers.setdefault(str(number), number)
        if self.categories.setdefault(number, name) != name:
            raise DataError(
                f"{where}: category {number} is {name}, but {self.categories[number]} in {self._named_in[number]}"
            )
        self._named_in[number] = where
        self._above[number] = element.value.get("supercategory")
        thing = element.value.get("isthing")
        if thing not in (None, 0, 1):
            raise DataError(f"{where}, line {element.line}: isthing of category {number} is {short(thing)}, not 0 or 1")
        if thing is not None and self.things.setdefault(number, bool(thing)) != thing:
            raise DataError(f"{where}: category {number} ({name}) is a thing in one file, and not in another")

    def drop_roots(self, root: object) -> None:
        """Drops what some tools put above all categories, and nothing is in: others have its name as supercategory.

        It has none itself. So COCO's person, whose supercategory is person, stays a class of a part without persons.
        """
        for number, name in list(self.categories.items()):
            is_above = any(above == name for other, above in self._above.items() if other != number)
            if is_above and str(number) not in self.used and self._above[number] in (None, "", "none"):
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


def is_whole(number: int | str) -> bool:
    """Whether an id is a whole number, or one that is written as text."""
    return isinstance(number, int) or re.fullmatch(r"-?[0-9]{1,18}", number) is not None
