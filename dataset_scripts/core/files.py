"""Folders of files: listed once, in sorted order, never leaving their root."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.core.errors import DataError

IMAGE_SUFFIXES = frozenset(
    ".avif .bmp .dib .gif .ico .jfif .jp2 .jpe .jpeg .jpg .pbm .pcx .pgm .png .pnm .ppm .qoi .tga .tif .tiff .webp".split()
)


def is_hidden(name: str) -> bool:
    """Dot files (`.git`, macOS's `._cat.jpg`) and the folders that programs leave behind."""
    return name.startswith(".") or name in ("__MACOSX", "__pycache__")


def is_image(name: str) -> bool:
    """Whether the suffix, in any case, is one of the image formats that Pillow decodes."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def walk(root: Path) -> Iterator[os.DirEntry]:
    """Yields every file under `root` that is not hidden, folder by folder, in sorted order.

    Raises:
        DataError: a symbolic link leads outside of `root`, where it could reach anything on the machine.
    """
    inside = os.path.join(os.path.realpath(root), "")

    def visit(folder: str) -> Iterator[os.DirEntry]:
        with os.scandir(folder) as scan:
            entries = sorted((entry for entry in scan if not is_hidden(entry.name)), key=lambda entry: entry.name)
        for entry in entries:
            if entry.is_symlink():
                target = os.path.realpath(entry.path)
                if not os.path.join(target, "").startswith(inside):
                    raise DataError(
                        f"{entry.path} is a link to {target}, outside of {root}: give the real folder, or copy the files"
                    )
                if os.path.isdir(target) and entry.path.startswith(os.path.join(target, "")):
                    raise DataError(f"{entry.path} is a link to a folder that contains it ({target}): remove the link")
            if entry.is_dir():
                yield from visit(entry.path)
            elif entry.is_file():
                yield entry

    yield from visit(os.fspath(root))


def folder_state(root: Path) -> str:
    """A sha256 that changes when a file under `root` is added, removed, renamed, resized or touched."""
    state = hashlib.sha256(os.path.realpath(root).encode())
    for entry in walk(root):
        stat = entry.stat()
        state.update(f"{os.path.relpath(entry.path, root)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return state.hexdigest()
