"""The csv that VIA 3 exports: a row for each region, below lines that say what the attributes and their options are."""

from collections.abc import Iterator, Mapping
from typing import Any

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.formats.csv_rows import csv_rows
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_text import parse_json
from dataset_scripts.core.formats.text_table import text_lines
from dataset_scripts.core.image.objects import is_number

BEGIN = b"# Exported using VGG Image Annotator"
COLUMNS = ("metadata_id", "file_list", "flags", "temporal_coordinates", "spatial_coordinates", "metadata")
CHECKBOX, RADIO, SELECT = 2, 3, 4  # types of attributes whose values are the keys of options
SHAPES = {  # number -> its name in VIA 2, and the fields of its numbers, if their count is fixed
    1: ("point", ("cx", "cy")),
    2: ("rect", ("x", "y", "width", "height")),
    3: ("circle", ("cx", "cy", "r")),
    4: ("ellipse", ("cx", "cy", "rx", "ry")),
    5: ("polyline", ()),
    6: ("polyline", ()),
    7: ("polygon", ()),
}


def is_export3(content: bytes) -> bool:
    """Whether the beginning of a file is that of such a csv."""
    return content.lstrip(b'\xef\xbb\xbf "').startswith(BEGIN)


def export3_entries(files: Files, path: str, faults: Faults) -> Iterator[tuple[str, dict, str]]:
    """What a csv says of each image, as the json export of VIA 2 has it: name, fields, and where it begins.

    A fault of an image is under the key "fault".
    """
    where = f"{files.root}/{path}"
    attributes = read_attributes(files, path)
    groups: dict[str, dict] = {}
    for line, row in csv_rows(files, path, faults):
        if row[0].startswith("#"):
            continue
        place = f"{where}, line {line}"
        with faults:
            values = dict(zip(COLUMNS, row))
            name = only_file(values.get("file_list", ""), place)
            said = groups.setdefault(name, {"filename": name, "regions": [], "place": place})
            try:
                if len(row) < len(COLUMNS) or any(row[len(COLUMNS) :]):
                    raise DataError(f"{place}: {len(row)} values, not {len(COLUMNS)}: {short(', '.join(row))}")
                said["regions"] += regions(values, attributes, place)
            except DataError as fault:
                said["fault"] = str(fault)
    for name, said in groups.items():
        yield name, said, said.pop("place")


def read_attributes(files: Files, path: str) -> dict[str, tuple[str, int, dict[str, str]]]:
    """The attributes by their keys: name, type and options; of an early VIA 3, only the names.

    Raises:
        DataError: the file has other columns, or its attributes are damaged.
    """
    where, found = f"{files.root}/{path}", {}
    with files.open(path) as file:
        for number, line in text_lines(file, where):
            key, _, said = line.decode("utf-8", "replace").strip().strip('"').removeprefix("# ").partition(" = ")
            if key == "CSV_HEADER" and said.rstrip(", ").split(",") != list(COLUMNS):
                raise DataError(f"{where}, line {number}: its columns are {short(said)}, not those of images")
            if key in ("ATTRIBUTE", "ATTRIBUTES"):
                said = said.rstrip(",").replace('""', '"') if line.startswith(b'"') else said
                with reading(f"{where}, line {number}"):
                    for name, about in parse_json(said.encode(), f"{where}, line {number}").items():
                        about = {"aname": about} if isinstance(about, str) else about
                        found[name] = about["aname"], about.get("type", 0), about.get("options", {})
            if not line.lstrip().startswith((b"#", b'"#')):
                break
    return found


def only_file(text: str, where: str) -> str:
    """The image of a row.

    Raises:
        DataError: it is about none, or about several.
    """
    names = parse_json(text.encode(), f"{where}, file_list")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str) or not names[0]:
        raise DataError(f"{where}: its file_list is {short(text)}, not the name of one image")
    return names[0]


def regions(values: Mapping[str, str], attributes: Mapping[str, tuple], where: str) -> Iterator[dict[str, Any]]:
    """The region of a row; none if it is about the whole image.

    Raises:
        DataError: it is about a video, or damaged.
    """
    times, numbers, said = (
        parse_json(values[name].encode(), f"{where}, {name}")
        for name in ("temporal_coordinates", "spatial_coordinates", "metadata")
    )
    if times:
        raise DataError(f"{where}: it is about a time in a video, {short(times)}, not about an image")
    if not isinstance(numbers, list) or not all(map(is_number, numbers)) or not isinstance(said, dict):
        raise DataError(f"{where}: {short(numbers)} and {short(said)} are not a shape and its attributes")
    if numbers:
        yield {
            "shape_attributes": shape(numbers, where),
            "region_attributes": dict(attribute(*item, attributes) for item in said.items()),
        }


def shape(numbers: list[float], where: str) -> dict[str, Any]:
    """A shape as VIA 2 writes it, of its number and its coordinates."""
    number, *points = numbers
    if number not in SHAPES:
        raise DataError(f"{where}: its shape is {number}, none of point, rectangle, circle, ellipse, line and polygon")
    name, fields = SHAPES[number]
    if fields and len(points) != len(fields):
        raise DataError(f"{where}: {len(points)} numbers of a {name}, not {len(fields)}: {short(numbers)}")
    if fields:
        return {"name": name} | dict(zip(fields, points))
    return {"name": name, "all_points_x": points[::2], "all_points_y": points[1::2]}


def attribute(key: str, value: Any, attributes: Mapping[str, tuple]) -> tuple[str, Any]:
    """The name of an attribute, and its value in words: what is stored may be the key of an option, or several."""
    name, kind, options = attributes.get(key, (key, 0, {}))
    if kind == CHECKBOX and isinstance(value, str):
        return name, ", ".join(str(options.get(part, part)) for part in value.split(",") if part)
    if kind in (RADIO, SELECT):
        return name, options.get(value, value)
    return name, value
