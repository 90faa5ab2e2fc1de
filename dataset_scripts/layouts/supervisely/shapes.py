"""The objects of Supervisely (docs.supervisely.com, "Supervisely annotation format", and its SDK's `geometry`)."""

import base64
import zlib

import numpy as np

from dataset_scripts.core.builders.json_values import entry, points
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.image.shapes import Shape

MOST = 64 << 20  # bytes of an encoded mask
PNG = b"\x89PNG"
KINDS = {"rectangle": "box", "polygon": "polygon", "line": "line", "point": "point", "bitmap": "mask"}


def read_shape(thing, title, bitmaps, inclusive, where):
    """The shape of an object.

    Raises:
        DataError: it has a fault, or is of a kind that is not read.
    """
    said = thing.get("geometryType")
    if said is None:  # before 2019 nothing but the data told
        said = "bitmap" if thing.get("bitmap") else "polygon"
    if not isinstance(said, str) or said not in KINDS:
        raise DataError(f"{where}: geometryType {short(said)} is none of {', '.join(KINDS)}")
    more = {"description": thing.get("description") or None, "tags": read_tags(thing, where)}
    if said == "bitmap":
        bitmap = entry(thing, "bitmap", dict, where)
        origin = points([bitmap.get("origin")], where)
        with reading(f"{where}: bitmap"):
            mask = bitmaps.png(_inflated(base64.b64decode(entry(bitmap, "data", str, where), validate=True)))
        return Shape(title, "mask", origin, more, mask)
    outlines = entry(thing, "points", dict, where)
    exterior = points(entry(outlines, "exterior", list, where), where)
    holes = [points(hole, where) for hole in outlines.get("interior") or []]
    if said == "rectangle":
        if len(exterior) != 2:
            raise DataError(f"{where}: a rectangle has two corners, not {len(exterior)}")
        exterior = np.stack([exterior.min(0), exterior.max(0) + inclusive])
    if holes and said != "polygon":
        raise DataError(f"{where}: a {said} has no holes")
    return Shape(title, KINDS[said], exterior, more, holes=holes)


def read_tags(thing, where):
    """The tags of an image or an object, as [{name, value}]; values that are not text as json shows them."""
    tags = thing.get("tags") or []
    if not isinstance(tags, list):
        raise DataError(f"{where}: tags are {short(tags)}, not a list")
    found = []
    for tag in tags:
        value = tag.get("value") if isinstance(tag, dict) else None
        if not isinstance(value, (str, int, float, type(None))):
            raise DataError(f"{where}: the value of a tag is {short(value)}, neither text nor a number")
        found.append({"name": entry(tag, "name", str, f"{where}, tag"), "value": None if value is None else str(value)})
    return found


def _inflated(content):
    """The PNG image of a mask, which is compressed once more, except in old projects."""
    if content.startswith(PNG):
        return content
    inflater = zlib.decompressobj()
    image = inflater.decompress(content, MOST)
    if not inflater.eof:
        raise ValueError("it is cut off" if len(image) < MOST else f"it has more than {MOST:,} bytes")
    return image
