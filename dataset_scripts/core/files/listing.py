"""The files of a folder or an archive: listed once, in sorted order, never leaving their root."""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.archives import ArchiveReader, archive_stem, is_archive, open_archive
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.names import is_hidden, shown
from dataset_scripts.core.files.splits import SPLITS
from dataset_scripts.core.files.walk import walk

__all__ = [
    "IMAGE_SUFFIXES",
    "Files",
    "Reader",
    "folder_of",
    "folder_state",
    "folders_of",
    "is_hidden",
    "is_image",
    "name_of",
    "stem_of",
    "walk",
    "without_suffix",
]

logger = printable_logger(__name__)

IMAGE_SUFFIXES = frozenset(
    ".avif .bmp .dib .gif .ico .jfif .jp2 .jpe .jpeg .jpg .pbm .pcx .pgm .png .pnm .ppm .qoi .tga .tif .tiff .webp".split()
)


def is_image(name: str) -> bool:
    """Whether the suffix, in any case, is one of the image formats that Pillow decodes."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


# datasets replaces os.path in the modules of scripts with slow versions for URLs, which listings do not have.


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


def folders_of(paths: Iterable[str]) -> set[str]:
    """The folders around some files, including "": `a/b/c.png` is in ``, `a` and `a/b`."""
    folders = {""}
    for folder in set(map(folder_of, paths)):
        while folder not in folders:
            folders.add(folder)
            folder = folder_of(folder)
    return folders


@dataclass
class Reader:
    """Reads files by their path in a listing; small enough to be sent to worker processes.

    Attributes:
        root: the folder.
        mounts: archives, by the folder of the listing that holds their members ("" for the root itself).
        aliases: path in the listing -> path on disk, for files whose names are not UTF-8.
    """

    root: Path
    mounts: dict[str, ArchiveReader] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict, kw_only=True)

    def locate(self, path: str) -> tuple[ArchiveReader | None, str]:
        """The archive that contains `path`, None for a plain file, and its name there."""
        folder = path if self.mounts else ""
        while folder:
            folder = folder_of(folder)
            prefix = f"{folder}/" if folder else ""
            if prefix in self.mounts:
                return self.mounts[prefix], path[len(prefix) :]
        return None, path

    def read(self, path: str, empty: bool = False) -> bytes:
        """The bytes of a file.

        Raises:
            DataError: it is gone, damaged in its archive, or, unless `empty` files are allowed, empty.
        """
        archive, name = self.locate(path)
        with reading(f"{self.root}/{path} cannot be read"):
            content = archive.read(name) if archive else Path(self.on_disk(path)).read_bytes()
        if not content and not empty:
            raise DataError(f"{self.root}/{path} is empty")
        return content

    def open(self, path: str) -> BinaryIO:
        """The file, opened, which may be empty; from an archive it is read into memory.

        Raises:
            DataError: it is gone, or damaged in its archive.
        """
        archive, _ = self.locate(path)
        with reading(f"{self.root}/{path} cannot be read"):
            return io.BytesIO(self.read(path, empty=True)) if archive else open(self.on_disk(path), "rb")

    def peek(self, path: str, size: int = 1 << 14) -> bytes:
        """The first bytes of a file, which may be empty.

        Raises:
            DataError: it is gone, or damaged in its archive.
        """
        with self.open(path) as file:
            return file.read(size)

    def local(self, path: str) -> str:
        """The file's path on disk, for libraries that open it themselves.

        Raises:
            DataError: it is in an archive.
        """
        archive, _ = self.locate(path)
        if archive:
            raise DataError(f"{path} can be read only on disk: unpack {archive.path}")
        return self.on_disk(path)

    def on_disk(self, path: str) -> str:
        return os.path.join(self.root, self.aliases.get(path, path))


@dataclass
class Files(Reader):
    """A listing: every file of a folder or an archive that is not hidden, and the means to read them.

    Attributes:
        paths: relative to `root`, with `/`, in sorted order; after them those in sequential archives, in their own order.
        state: a sha256 that changes when a file is added, removed, renamed, resized, touched or written: of names, sizes,
            and times of modification and of the last change, which no program sets. It misses changes within one tick of
            the clock, or on a file system without change times, if size and modification time are as before.
        left_out: the fault of each entry, archive or member that `skip` left out.
        accounted: the paths that a layout reads, or knows and leaves out.
        opened: the paths that have been read, or looked at.
        all_mounts: the archives before `keep` released some.
    """

    paths: list[str] = field(default_factory=list)
    state: str = ""
    left_out: list[str] = field(default_factory=list)
    accounted: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)
    all_mounts: dict[str, ArchiveReader] = field(default_factory=dict)

    def above(self, tail: str) -> str:
        """The part before `tail` in the first path that ends with it: the folder of a set in an unpacked tree, else ""."""
        return next((path.removesuffix(tail) for path in self.paths if path.endswith(tail)), "")

    @classmethod
    def of(cls, path: str | Path, inflate_to: Path | None = None, skip: bool = False, follow: bool = False) -> "Files":
        """Lists a folder, an archive or a single file.

        `follow` allows links that lead out of the folder. `inflate_to` is for compressed tars, see `open_archive`. `skip` leaves out what cannot be listed, if anything remains.

        If a folder has no images outside its archives, these are listed as folders named after them:
        `train.zip` gives `train/…`. One beside a folder of that name is left out: it was unpacked there.

        Raises:
            DataError: a link or a member leads outside, an archive is damaged, or two are listed as the same folder.
        """
        path = Path(path)
        faults = Faults.gathered() if skip else None
        left_out = [] if faults is None or faults.notes is None else faults.notes
        with reading(f"{path} cannot be read"):
            state = hashlib.sha256(os.fsencode(os.path.realpath(path)))
            status = path.stat() if path.is_file() else None
            if status is None and path.exists() and not path.is_dir():
                raise DataError(f"{path} is neither a file nor a folder, but a pipe, a socket or a device")
        if status:
            state.update(_stamp("", status))
            if is_archive(path.name):
                archive = open_archive(path, inflate_to, faults)
                top, inside, _ = "".join(archive.names[:1]).partition("/")
                if inside and top.lower() not in SPLITS:
                    archive = archive.below(f"{top}/")
                return cls(path, {"": archive}, list(archive.names), state.hexdigest(), left_out)
            name = shown(path.name)
            return cls(
                path.parent, {}, [name], state.hexdigest(), aliases={name: path.name} if name != path.name else {}
            )
        paths: list[str] = []
        archives: list[str] = []
        aliases: dict[str, str] = {}
        start = len(os.path.join(path, ""))
        for entry in walk(path, faults, follow):
            real = entry.path[start:].replace(os.sep, "/")
            relative = shown(real)
            if relative != real:
                aliases[relative] = real
            with (
                faults or nullcontext(),
                reading(f"{entry.path} cannot be read"),
            ):  # as in a folder that cannot be entered
                state.update(_stamp(relative, entry.stat()))
                (archives if is_archive(entry.name) else paths).append(relative)
        twice = next((name for name, count in Counter(paths + archives).items() if count > 1), "") if aliases else ""
        if twice:
            raise DataError(
                f"{path}: two files are listed as {twice}, as a name is not UTF-8: rename {aliases[twice]!a}"
            )
        _check_folders(path, paths, archives, aliases)
        if any(map(is_image, paths)):
            paths, archives = paths + archives, []
        mounts = _mount(Reader(path, aliases=aliases), archives, folders_of(paths), inflate_to, faults)
        in_order = [prefix + name for prefix, archive in mounts.items() if archive.sequential for name in archive.names]
        paths += [
            prefix + name for prefix, archive in mounts.items() if not archive.sequential for name in archive.names
        ]
        return cls(path, mounts, sorted(paths) + in_order, state.hexdigest(), left_out, aliases=aliases)

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

    def keep(self, paths: Iterable[str]) -> None:
        """Accounts for the paths of rows, and releases the archives that hold none: only those with rows decide how
        rows are read. The listing stays as it is.
        """
        paths = list(paths)
        self.account(paths)
        self.all_mounts = self.all_mounts or self.mounts
        used = {id(self.locate(path)[0]) for path in paths}
        self.mounts = {prefix: archive for prefix, archive in self.mounts.items() if id(archive) in used}

    def read(self, path: str, empty: bool = False) -> bytes:
        """As of a `Reader`; the path counts as opened."""
        self.opened.add(path)
        return super().read(path, empty)

    def open(self, path: str) -> BinaryIO:
        """As of a `Reader`; the path counts as opened."""
        self.opened.add(path)
        return super().open(path)

    def local(self, path: str) -> str:
        """As of a `Reader`; the path counts as opened."""
        self.opened.add(path)
        return super().local(path)

    def account(self, paths: Iterable[str]) -> None:
        """Notes that the layout reads these files, or knows them and leaves them out on purpose."""
        self.accounted.update(paths)

    def reader(self) -> Reader:
        """The part that worker processes need: everything except the listing."""
        return Reader(self.root, self.mounts, aliases=self.aliases)


def _check_folders(root: Path, paths: list[str], archives: list[str], aliases: dict[str, str]) -> None:
    r"""
    Raises:
        DataError: two folders are listed as one: a byte 0xe9 that is not UTF-8 is shown as `\xe9`, which may be a name, too.
    """
    if not aliases:
        return
    real = {path: aliases.get(path, path) for path in paths}
    real |= {f"{archive_stem(path)}/": f"{archive_stem(aliases.get(path, path))}/" for path in archives}
    found: dict[str, str] = {}
    for path, name in real.items():
        while path := folder_of(path):
            name = folder_of(name)
            if found.setdefault(path, name) != name:
                odd = next(each for each in (name, found[path]) if each != path)
                raise DataError(f"{root}: two folders are listed as {path}, as a name is not UTF-8: rename {odd!a}")


def folder_state(root: Path) -> str:
    """The `state` of a folder's or a file's listing."""
    return Files.of(root).state


def _stamp(name: str, status: os.stat_result) -> bytes:
    return f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\n".encode()


def _mount(
    files: Reader, archives: list[str], folders: set[str], inflate_to: Path | None, faults: Faults | None
) -> dict[str, ArchiveReader]:
    """Opens archives, and returns the folder of the listing for the members of each.

    An archive's fault is raised in `faults`, if there are others.
    """
    root = files.root
    mounts: dict[str, ArchiveReader] = {}
    for relative in archives:
        folder = archive_stem(relative)
        if folder in folders:
            logger.warning(
                "%s/%s is left out: the folder %s/ beside it is read instead", root, relative, name_of(folder)
            )
            continue
        with (len(archives) > 1 and faults) or nullcontext():
            archive = open_archive(Path(files.local(relative)), inflate_to, faults)
            if f"{folder}/" in mounts:
                raise DataError(
                    f"{archive.path} and {mounts[f'{folder}/'].path} would be listed as one folder: rename or remove one"
                )
            mounts[f"{folder}/"] = archive.below(f"{name_of(folder)}/")  # train.zip may hold train/…
    if archives and not mounts and faults and faults.notes:
        raise DataError(faults.notes[-1])
    for prefix, archive in mounts.items():  # a.tar, and b.tar in a folder a
        outer, folder = Reader(root, mounts).locate(prefix[:-1])
        if outer and any(name.startswith(f"{folder}/") for name in outer.names):
            raise DataError(
                f"{outer.path} holds a folder {folder}, and {archive.path} would be listed as the same one: rename or remove one"
            )
    return mounts
