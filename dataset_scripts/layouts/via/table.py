"""The csv that the VGG Image Annotator exports: a row for each region, whose shape and attributes are json."""

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.csv_rows import csv_rows
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_text import parse_json

COLUMNS = (
    "filename",
    "file_size",
    "file_attributes",
    "region_count",
    "region_id",
    "region_shape_attributes",
    "region_attributes",
)


def table_entries(files, path, faults):
    """What a table says of each image, as the json export has it: name, fields, and where it begins.

    A fault of an image is under the key "fault".
    """
    where = f"{files.root}/{path}"
    rows = csv_rows(files, path, faults)
    header = [name.lstrip("#").strip() for name in next(rows, (0, []))[1]]  # VIA 1 writes #filename
    if missing := [name for name in COLUMNS if name not in header]:
        raise DataError(f"{where} has no column {missing[0]}, but {short(', '.join(header))}")
    groups: dict[tuple[str, str], dict] = {}  # by name and size, as in VIA: the same name may stand for two files
    for line, row in rows:
        values = dict(zip(header, row))
        with faults:
            if not values.get("filename"):
                raise DataError(f"{where}, line {line}: it names no image")
            place = f"{where}, line {line}"
            key = values["filename"], values.get("file_size", "")
            said = groups.setdefault(key, {"filename": key[0], "regions": [], "counts": set(), "line": line})
            if len(row) != len(header):
                said["fault"] = f"{place}: {len(row)} values, not {len(header)}, in the row {short(', '.join(row))}"
                continue
            said["counts"].add(values["region_count"])
            if values["region_count"] == "0":
                continue
            try:
                shape, attributes = (
                    parse_json(values[name].encode(), f"{place}, {name}")
                    for name in ("region_shape_attributes", "region_attributes")
                )
            except DataError as fault:
                said["fault"] = str(fault)
                continue
            said["regions"].append({"shape_attributes": shape, "region_attributes": attributes})
    for said in groups.values():
        counts, place = said.pop("counts"), f"{where}, line {said.pop('line')}"
        if "fault" not in said and counts != {str(len(said["regions"]))}:
            said["fault"] = (
                f"{place}: {said['filename']} has {len(said['regions'])} rows, and region_count {min(counts)}"
            )
        yield said["filename"], said, place
