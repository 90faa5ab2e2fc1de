"""What is left of a listing without copies, and without what the user ignores."""

import bisect
import fnmatch
import math
import os
from dataclasses import replace

from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.listing import Files, folder_of, folders_of, name_of

logger = printable_logger(__name__)


def without(files: Files, patterns: list[str]) -> Files:
    """The listing without the paths that match a pattern, which is logged.

    Raises:
        DataError: a pattern matches nothing.
    """
    if not patterns:
        return files
    if not isinstance(patterns, (list, tuple)) or not all(isinstance(pattern, str) for pattern in patterns):
        raise DataError(f"ignore={patterns!r} is not a list of patterns, such as ['annots/**']")
    ignored: set[str] = set()
    for pattern in patterns:
        plain = pattern.strip("/")
        found = [path for path in files.paths if fnmatch.fnmatchcase(path, plain) or path.startswith(f"{plain}/")]
        if not found:
            raise DataError(f"ignore: {pattern!r} matches no file in {files.root}")
        ignored.update(found)
    logger.warning("%s: %d files are left out, as ignore=… says", files.root, len(ignored))
    return replace(files, paths=[path for path in files.paths if path not in ignored], accounted=set())


def once(files: Files) -> Files:
    """The listing without folders that repeat what lies around them, file for file; what is left out is logged.

    Some archives hold their set twice: `chest_xray/train/…` and `chest_xray/chest_xray/train/…`. A folder is such a
    copy if it holds nothing else, and either all of what lies around it, or a part of it under the same name.
    """
    names = set(files.paths)
    copies: list[str] = []
    for folder in sorted(folders_of(files.paths) - {""}):
        above, inside = folder_of(folder), f"{folder}/"
        start = len(above) + bool(above)
        if any(folder.startswith(f"{copy}/") for copy in copies):
            continue
        place = bisect.bisect_left(files.paths, inside)
        first = files.paths[place] if place < len(files.paths) else ""
        if not first.startswith(inside) or _outer(first, inside, start) not in names:
            continue
        below = [path for path in files.paths if path.startswith(inside)]
        beside = len([path for path in files.paths if path.startswith(f"{above}/" if above else "")]) - len(below)
        name, around = name_of(folder).lower(), name_of(above or files.root.name).lower()
        if (name == around or len(below) == beside) and all(
            (outer := _outer(path, inside, start)) in names and _size(files, path) == _size(files, outer)
            for path in below
        ):
            logger.warning("%s: %s repeats what lies beside it, and is left out", files.root, folder)
            copies.append(folder)
    if not copies:
        return files
    kept = [path for path in files.paths if not any(path.startswith(f"{copy}/") for copy in copies)]
    return replace(files, paths=kept, accounted=set())


def _outer(path: str, inside: str, start: int) -> str:
    """The file beside a folder that a file in it would repeat."""
    return path[:start] + path[len(inside) :]


def _size(files: Files, path: str) -> float:
    """The size of a file on disk; of one in an archive NaN, which equals nothing."""
    return math.nan if files.locate(path)[0] else os.path.getsize(files.on_disk(path))
