"""The places of the annotations and images of a COCO set."""

import posixpath
import re
from collections import Counter

from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, folder_of, folders_of, name_of, stem_of
from dataset_scripts.core.files.splits import split_in, split_name
from dataset_scripts.core.files.stems import is_below

logger = printable_logger(__name__)

PEEK = 1 << 14  # bytes at either end of a json file that show what it is
MANY = 100  # json files in one folder: each describes an image


def annotation_files(files: Files, wanted: str | None = None) -> dict[str, list[str]]:
    """The json files in COCO's format, by task; only those of a file or folder, if one is wanted."""
    paths = [path for path in files.having(".json") if wanted is None or is_below(path, wanted)]
    crowded = {folder for folder, count in Counter(map(folder_of, paths)).items() if count > MANY}
    tasks = {"detection": [], "keypoints": [], "captions": []}
    for path in paths:
        if folder_of(path) in crowded or "panoptic" in name_of(path):
            continue
        with files.open(path) as file:
            text = file.read(PEEK)
            file.seek(0, 2)
            file.seek(max(PEEK, file.tell() - PEEK))
            text += file.read(PEEK)
        keys = set(re.findall(rb'"(images|annotations|categories|file_name|image_id)"\s*:', text))
        if not (b"images" in keys or b"annotations" in keys) or not keys & {b"file_name", b"image_id", b"categories"}:
            continue
        if re.search(rb'"caption"\s*:', text) and b'"bbox"' not in text:
            tasks["captions"].append(path)
        else:
            has_points = re.search(rb'"keypoints"\s*:\s*\[\s*-?\d', text)
            tasks["keypoints" if has_points or "keypoint" in name_of(path) else "detection"].append(path)
    return tasks


def by_split(paths: list[str]) -> dict[str, list[str]]:
    """Sorts annotation files by split; if one has several, `instances…` is taken, as COCO has others."""
    splits = {}
    for path in paths:
        split = split_in(name_of(path)) or split_in(folder_of(path))
        splits.setdefault(split or (split_name(stem_of(path)) if len(paths) > 1 else "train"), []).append(path)
    for split, found in splits.items():
        named = [path for path in found if name_of(path).startswith("instances")]
        if len(found) > len(named) == 1:
            logger.warning(
                "of %s, only the first is read for %s",
                ", ".join(sorted(found, key=lambda path: path not in named)),
                split,
            )
            splits[split] = named
    return splits


def image_folder(files: Files, source: str, split: str, names: list[str]) -> str:
    """The folder that file names in an annotation file are relative to.

    Of all folders that contain the first names, it is the one beside the annotations, else the one that is named
    like them (`train2017` for `instances_train2017.json`), else like the split.

    Raises:
        DataError: none, or several equally good ones.
    """
    some = names[:: max(1, len(names) // 20)]
    folders = sorted(folders_of(files.images))
    hits = {folder: sum(posixpath.join(folder, name) in files.names for name in some) for folder in folders}
    best = [folder for folder, count in hits.items() if count == max(hits.values())]
    if not max(hits.values()):
        return folder_of(source)  # there, every image is reported as missing
    stem = stem_of(source)
    for wanted in (
        lambda folder: folder == folder_of(source),
        lambda folder: folder and stem.endswith(name_of(folder)),
        lambda folder: split_in(folder) == split,
    ):
        best = [folder for folder in best if wanted(folder)] or best
    if len(best) > 1 and max(hits.values()) == len(some):
        raise DataError(f"{files.root}: the images of {source} may lie in {', '.join(best)}: choose one by images=…")
    return best[0]
