"""The files of a folder or an archive: listed once, in sorted order, never leaving their root."""

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from dataset_scripts.core.archives import (
    ArchiveReader,
    archive_stem,
    is_archive,
    open_archive,
)
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.splits import SPLITS

IMAGE_SUFFIXES = frozenset(
    ".avif .bmp .dib .gif .ico .jfif .jp2 .jpe .jpeg .jpg .pbm .pcx .pgm .png .pnm .ppm .qoi .tga .tif .tiff .webp".split()
)


def is_hidden(name: str) -> bool:
    """Dot files (`.git`, macOS's `._cat.jpg`) and the folders that programs leave behind."""
    return name.startswith(".") or name in ("__MACOSX", "__pycache__")


def is_image(name: str) -> bool:
    """Whether the suffix, in any case, is one of the image formats that Pillow decodes."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


# datasets replaces os.path in the modules of scripts by slow versions that know URLs; listings have none.


def folder_of(path: str) -> str:
    """`a/b/c.png` -> `a/b`, `c.png` -> ``."""
    return path.rpartition("/")[0]


def name_of(path: str) -> str:
    """`a/b/c.png` -> `c.png`."""
    return path.rpartition("/")[2]


def without_suffix(path: str) -> str:
    """`a/b.c/d.png` -> `a/b.c/d`, and `a/b.c/d` as it is."""
    stem, _, suffix = path.rpartition(".")
    return stem if stem and "/" not in suffix else path


def stem_of(path: str) -> str:
    """`a/b/c.png` -> `c`."""
    name = name_of(path)
    return name.rpartition(".")[0] or name


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


@dataclass
class Reader:
    """Reads files by their path in a listing; small, so that it travels to worker processes.

    Attributes:
        root: the folder.
        mounts: archives, by the folder of the listing under which their members stand ("" for the root itself).
    """

    root: Path
    mounts: dict[str, ArchiveReader] = field(default_factory=dict)

    def locate(self, path: str) -> tuple[ArchiveReader | None, str]:
        """The archive in which `path` lies, None for a plain file, and its name there."""
        for prefix, archive in self.mounts.items():
            if path.startswith(prefix):
                return archive, path[len(prefix) :]
        return None, path

    def read(self, path: str) -> bytes:
        """The bytes of a file.

        Raises:
            DataError: it is empty, gone, or damaged in its archive.
        """
        archive, name = self.locate(path)
        try:
            content = archive.read(name) if archive else Path(self.root, path).read_bytes()
        except OSError as error:
            raise DataError(f"{self.root}/{path} cannot be read: {error}") from error
        if not content:
            raise DataError(f"{self.root}/{path} is empty")
        return content

    def open(self, path: str) -> BinaryIO:
        """The file, opened; from an archive it is read into memory."""
        archive, _ = self.locate(path)
        return io.BytesIO(self.read(path)) if archive else open(os.path.join(self.root, path), "rb")

    def local(self, path: str) -> str:
        """The file's path on disk, for libraries that open it themselves.

        Raises:
            DataError: it lies in an archive.
        """
        archive, _ = self.locate(path)
        if archive:
            raise DataError(f"{path} has to lie on disk to be read: unpack {archive.path}")
        return os.path.join(self.root, path)


@dataclass
class Files(Reader):
    """A listing: every file of a folder or an archive that is not hidden, and what reads them.

    Attributes:
        paths: relative to `root`, with `/`, in sorted order (that of the archive where it can only be read so).
        state: a sha256 that changes when a file is added, removed, renamed, resized or touched.
    """

    paths: list[str] = field(default_factory=list)
    state: str = ""

    @classmethod
    def of(cls, path: str | Path, inflate_to: Path | None = None) -> "Files":
        """Lists a folder, an archive or a single file.

        `inflate_to` is for compressed tars, see `open_archive`.

        Archives among files of a folder that has no images outside of them are listed as folders named after them:
        `train.zip` gives `train/…`.

        Raises:
            DataError: a link or a member leads outside, or an archive is damaged.
        """
        path = Path(path)
        if path.is_file():
            stat = path.stat()
            state = hashlib.sha256(f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode()).hexdigest()
            if is_archive(path.name):
                archive = open_archive(path, inflate_to)
                inner = _common_folder(archive.names)
                names = [name.removeprefix(inner) for name in archive.names]
                return cls(path, {"": archive.below(inner)}, names, state)
            return cls(path.parent, {}, [path.name], state)
        state = hashlib.sha256(os.path.realpath(path).encode())
        paths, archives, start = [], [], len(os.path.join(path, ""))
        for entry in walk(path):
            stat, relative = entry.stat(), entry.path[start:].replace(os.sep, "/")
            state.update(f"{relative}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
            (archives if is_archive(entry.name) else paths).append(relative)
        mounts = {}
        if archives and not any(map(is_image, paths)):
            for relative in archives:
                prefix = archive_stem(relative) + "/"
                archive = open_archive(path / relative, inflate_to)
                inner = name_of(prefix[:-1]) + "/"
                if archive.names and all(name.startswith(inner) for name in archive.names):  # train.zip holds train/…
                    archive = archive.below(inner)
                mounts[prefix] = archive
                paths += [prefix + name for name in archive.names]
        else:
            paths += archives
        if not any(archive.sequential for archive in mounts.values()):
            paths.sort()
        return cls(path, mounts, paths, state.hexdigest())

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(self.paths)

    @cached_property
    def images(self) -> list[str]:
        """The paths that are images by their suffix."""
        return [path for path in self.paths if is_image(path)]

    def having(self, *suffixes: str) -> list[str]:
        """The paths with one of the suffixes, in any case."""
        return [path for path in self.paths if path.lower().endswith(suffixes)]

    def reader(self) -> Reader:
        """What worker processes need: all but the listing."""
        return Reader(self.root, self.mounts)


def folder_state(root: Path) -> str:
    """The `state` of a folder's or a file's listing."""
    return Files.of(root).state


def _common_folder(names: list[str]) -> str:
    """The folder that holds everything ("photos/"), "" where there is none or its name is that of a split."""
    first = names[0].split("/")[0] + "/" if names and "/" in names[0] else ""
    return first if first and first[:-1].lower() not in SPLITS and all(name.startswith(first) for name in names) else ""
