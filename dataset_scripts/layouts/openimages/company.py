"""The other files of Open Images: names of classes, and what is not read."""

from collections import Counter

from dataset_scripts.core.errors import printable_logger
from dataset_scripts.core.files.listing import name_of
from dataset_scripts.core.formats.csv_rows import csv_rows, head_rows

logger = printable_logger(__name__)


def read_company(files):
    """Class -> its name, of the tables that say it; accounts for the other files of Open Images that are not read."""
    names = {}
    for path in files.having(".csv", ".json"):
        if path.lower().endswith(".json"):
            if b'"Subcategory"' in files.peek(path) or "hierarchy" in name_of(path).lower():
                files.account([path])
            continue
        first = next(head_rows(files.peek(path)), [])
        if len(first) == 2 and (first[0].startswith(("/m/", "/g/", "/t/")) or first == ["LabelName", "DisplayName"]):
            files.account([path])
            rows = [row for _, row in csv_rows(files, path) if row != ["LabelName", "DisplayName"]]
            names |= {row[0]: row[1] for row in rows if len(row) == 2 and row[1]}
        elif {"ImageID", "LabelName", "Confidence"} <= set(first) and "XMin" not in first and "MaskPath" not in first:
            files.account([path])
            logger.warning("%s/%s: labels of whole images, which are not read", files.root, path)
        elif "ImageID" in first and {"Rotation", "OriginalURL"} & set(first):
            files.account([path])
    often = Counter(names.values())
    return {code: name if often[name] == 1 else f"{name} ({code})" for code, name in names.items()}
