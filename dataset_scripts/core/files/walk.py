"""Every file below a folder, in sorted order, without leaving it."""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.names import is_hidden

logger = printable_logger(__name__)

MAX_NESTED = 16  # times that links in linked folders may lead to one folder: a few of them make a tree without end


def follows(links: str | None) -> bool:
    """Whether an option `links` allows links that lead out of the folder.

    Raises:
        DataError: it is neither None nor "follow".
    """
    if links not in (None, "follow"):
        raise DataError(f"links={links!r}: it is 'follow', or left out")
    return links == "follow"


def walk(root: Path, faults: AbstractContextManager | None = None, follow: bool = False) -> Iterator[os.DirEntry]:
    """Yields every file under `root` that is not hidden, folder by folder, in sorted order.

    Anything that is not a file (a pipe, a socket, a device) is left out, with one warning.

    Args:
        faults: the context in which the fault of a single entry is raised; None raises it.
        follow: links may lead outside of `root`; those that lead to nothing are left out, and counted in a warning.

    Raises:
        DataError: a folder cannot be listed; a symbolic link leads to nothing, in a circle, or outside `root`,
            where it could reach anything on the machine. A snapshot in the cache of the Hub may link to its blobs.
    """
    top = os.path.realpath(root)
    # The folders that are being listed, their real paths, and whether they are in a link.
    stack = [(_entries(os.fspath(root), root), top, False)]
    nested: dict[str, int] = {}
    others, dangling = [], []
    while stack:
        entry = next(stack[-1][0], None)
        if entry is None:
            stack.pop()
            continue
        is_file = None
        with faults or nullcontext():
            is_link = entry.is_symlink()
            if is_link and follow and not os.path.exists(entry.path):
                dangling.append(entry.path)
                continue
            real = _target(entry.path, root, top, follow) if is_link else os.path.join(stack[-1][1], entry.name)
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError as error:
                raise DataError(f"{entry.path} cannot be examined ({error.strerror}): make it readable") from error
            if is_link and is_folder:
                if real in (folder for _, folder, _ in stack):
                    raise DataError(f"{entry.path} is a link to a folder that contains it ({real}): remove the link")
                if stack[-1][2]:
                    nested[real] = nested.get(real, 0) + 1
                    if nested[real] > MAX_NESTED:
                        raise DataError(
                            f"{entry.path} is one of too many links in linked folders to {real}: remove some"
                        )
            if is_folder:
                stack.append((_entries(entry.path, root), real, is_link or stack[-1][2]))
            elif not is_file:
                others.append(entry.path)
        if is_file:
            yield entry
    if dangling:
        logger.warning("%s: %d links lead to nothing and are left out, such as %s", root, len(dangling), dangling[0])
    if others:
        logger.warning("%s: %d pipes, sockets or devices are left out, such as %s", root, len(others), others[0])


def _entries(folder: str, root: Path) -> Iterator[os.DirEntry]:
    """What is in a folder and not hidden, sorted."""
    try:
        with os.scandir(folder) as scan:
            return iter(sorted((entry for entry in scan if not is_hidden(entry.name)), key=lambda entry: entry.name))
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed ({error.strerror}): make it readable, or move it out of {root}"
        ) from error


def check_links(root: Path) -> None:
    """Checks links also in the folders that `walk` leaves out, for readers that do not leave them out.

    Raises:
        DataError: a link that is not a dot file leads to nothing or outside `root`.
    """
    top = os.path.realpath(root)
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (os.path.join(folder, name) for name in folders + names if not name.startswith(".")):
            if os.path.islink(path):
                _target(path, root, top)


def hub_blobs(root: str) -> str:
    """The folder of blobs that a snapshot in the cache of the Hub links to; "" if `root` is not in a snapshot.

    Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache, `datasets--user--name/snapshots/COMMIT`.
    """
    parts = os.path.realpath(root).split(os.sep)
    for place in range(len(parts) - 1, 0, -1):
        if parts[place] == "snapshots" and re.fullmatch(r"(datasets|models|spaces)--.+", parts[place - 1]):
            return os.sep.join([*parts[:place], "blobs"])
    return ""


def _target(path: str, root: Path, top: str, follow: bool = False) -> str:
    """Where a link leads, with all links on the way followed."""
    real = os.path.realpath(path)
    blobs = hub_blobs(top)
    is_inside = real == top or real.startswith(os.path.join(top, ""))
    if not (is_inside or follow or (blobs and real.startswith(os.path.join(blobs, "")))):
        raise DataError(
            f"{path} is a link to {real}, outside of {root}: give the real folder, copy the files, or pass links='follow' if "
            "you trust the folder"
        )
    try:
        os.stat(path)
    except OSError as error:
        raise DataError(
            f"{path} is a link to {real}, which cannot be followed ({error.strerror}): restore its target, or remove the link"
        ) from error
    return real
