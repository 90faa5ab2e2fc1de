"""The places of the annotations and images of a COCO set."""

import posixpath
import re
from collections import Counter
from typing import BinaryIO

from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, folder_of, folders_of, name_of, stem_of
from dataset_scripts.core.files.splits import split_in, split_name
from dataset_scripts.core.files.stems import Named, is_below

logger = printable_logger(__name__)

PEEK = 1 << 14  # bytes at either end of a json file that show what it is
MANY = 100  # json files in one folder: each describes an image
BLOCK = 1 << 20


def annotation_files(files: Files, wanted: str | None = None) -> tuple[dict[str, list[str]], list[str]]:
    """The json files in COCO's format, by task, and those without annotations, which are of any task.

    Args:
        wanted: a file or a folder: only those are looked at.
    """
    paths = [path for path in files.having(".json") if wanted is None or is_below(path, wanted)]
    crowded = {folder for folder, count in Counter(map(folder_of, paths)).items() if count > MANY}
    tasks: dict[str, list[str]] = {"detection": [], "keypoints": [], "captions": [], "panoptic": []}
    bare = []
    for path in paths:
        if folder_of(path) not in crowded:
            with files.open(path) as file:
                task = _task(file, name_of(path))
            if task is not None:
                tasks.get(task, bare).append(path)
    return tasks, bare


def _task(file: BinaryIO, name: str) -> str | None:
    """The task that a json file is for: "" if it annotates nothing, None if it is not COCO's."""
    text = file.read(PEEK)
    file.seek(0, 2)
    file.seek(max(PEEK, file.tell() - PEEK))
    text += file.read(PEEK)
    keys = set(re.findall(rb'"(images|annotations|categories|file_name|image_id)"\s*:', text))
    if not (b"images" in keys or b"annotations" in keys) or not keys & {b"file_name", b"image_id", b"categories"}:
        return None
    if b'"segments_info"' in text or (b'"isthing"' in text and _holds(file, b'"segments_info"')):
        return "panoptic"
    if b"image_id" not in keys and not _holds(file, b'"image_id"'):
        return ""
    if re.search(rb'"caption"\s*:', text) and b'"bbox"' not in text:
        return "captions"
    has_points = re.search(rb'"keypoints"\s*:\s*\[\s*-?\d', text)
    return "keypoints" if has_points or "keypoint" in name else "detection"


def _holds(file: BinaryIO, word: bytes) -> bool:
    """Whether a word is anywhere in a file."""
    file.seek(0)
    end = b""
    while block := file.read(BLOCK):
        if word in end + block:
            return True
        end = block[-len(word) :]
    return False


def by_split(paths: list[str], bare: list[str]) -> dict[str, list[str]]:
    """Sorts annotation files by split; if one has several, `instances…` is taken, as COCO has others.

    Args:
        bare: files without annotations, which count for splits that have no other.
    """
    splits: dict[str, list[str]] = {}
    paths = paths + bare
    for path in paths:
        split = split_in(name_of(path)) or split_in(folder_of(path))
        splits.setdefault(split or (split_name(stem_of(path)) if len(paths) > 1 else "train"), []).append(path)
    for split, found in splits.items():
        if left := [path for path in found if path in bare]:
            found = splits[split] = [path for path in found if path not in bare] or found
            if found != left:
                logger.warning("%s, without annotations, is left out for %s", ", ".join(left), found[0])
        named = [path for path in found if name_of(path).startswith("instances")]
        if len(found) > len(named) == 1:
            logger.warning(
                "of %s, only the first is read for %s",
                ", ".join(sorted(found, key=lambda path: path not in named)),
                split,
            )
            splits[split] = named
    return splits


class Images:
    """The images of a listing, found by the names that json files give them.

    Attributes:
        paths: without the pngs of panoptic files, and those outside of the folder that the user has named.
    """

    def __init__(self, files: Files, paths: list[str]):
        self.files, self.paths = files, paths
        self.known = files.names - (set(files.images) - set(paths))
        self._named = Named(files.root, paths)

    def folder(self, source: str, split: str, names: list[str]) -> str:
        """The folder that file names in an annotation file are relative to.

        Of all folders that contain the first names, it is the one beside the annotations, else the one that is named
        like them (`train2017` for `instances_train2017.json`), else like the split.

        Raises:
            DataError: several are equally good.
        """
        some = names[:: max(1, len(names) // 20)]
        folders = sorted(folders_of(self.paths))
        hits = {folder: sum(posixpath.join(folder, name) in self.known for name in some) for folder in folders}
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
            raise DataError(
                f"{self.files.root}: the images of {source} may lie in {', '.join(best)}: choose one by images=…"
            )
        return best[0]

    def find(self, folder: str, name: str, source: str, where: str) -> str:
        """The image of a name that is relative to a folder, or comes from another machine; see `Named`."""
        path = posixpath.normpath(posixpath.join(folder, name))
        return path if path in self.known else self._named.find(name, source, where)
