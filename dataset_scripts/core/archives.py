"""zip and tar archives, read in place: nothing is unpacked to disk."""

import copy
import gzip
import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.inflate import inflate
from dataset_scripts.core.tar import Member, tar_files

TAR_STREAMS = {  # suffix -> compression, as pyarrow names it
    ".tar": None,
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
    ".tar.zst": "zstd",
    ".tzst": "zstd",
    ".tar.xz": "xz",
    ".txz": "xz",
}
SUFFIXES = (".zip", *TAR_STREAMS)
MAX_RATIO = 200  # a member of MAX_SMALL bytes or more that grows by this factor is a bomb, not a picture
MAX_SMALL = 64 << 20
MAX_RESTARTS = 16  # in a row, each for less than one in MAX_PASSED members
MAX_PASSED = 64
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, pa.ArrowException,
           OSError, RuntimeError, NotImplementedError)  # fmt: skip


def is_archive(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def archive_stem(name: str) -> str:
    """`a/b.tar.gz` -> `a/b`; the name itself where it is no archive."""
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def open_archive(path: Path, inflate_to: Path | None = None) -> "ArchiveReader":
    """Lists an archive.

    Args:
        inflate_to: a folder for the plain tar that a compressed one is turned into, to read members in any order.

    Raises:
        DataError: it is damaged, encrypted, or a member leads outside, is a bomb, or links to something not there.
    """
    suffix = path.name[len(archive_stem(path.name)) :].lower()
    try:
        if suffix == ".zip":
            return ZipReader(path)
        if TAR_STREAMS[suffix] is None:
            return TarReader(path)
        stream = TarStreamReader(path, TAR_STREAMS[suffix])
        return stream if inflate_to is None else TarReader(stream.inflate(inflate_to))
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read: {error or type(error).__name__}") from error


class ArchiveReader:
    """An archive whose members are read by name.

    Attributes:
        path: the archive.
        names: the files in it that are not hidden; sorted, but for a sequential archive.
        sequential: whether members can only be read in their order.
    """

    sequential = False

    def __init__(self, path: Path):
        self.path = path
        self.prefix = ""
        self.names: list[str] = []
        self._open = None

    def below(self, folder: str) -> "ArchiveReader":
        """The same archive, its names relative to the folder in it ("photos/") that holds everything; else itself."""
        if not all(name.startswith(folder) for name in self.names):
            return self
        lower = copy.copy(self)
        lower.prefix = self.prefix + folder
        lower.names = [name.removeprefix(folder) for name in self.names]
        return lower

    def __getstate__(self):
        return {**self.__dict__, "_open": None, "names": []}  # a worker opens it by itself

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Raises:
            DataError: the archive is damaged there.
        """
        try:
            return self._read(self.prefix + name)
        except KeyError:
            raise DataError(f"{self.path} has no member {self.prefix + name}") from None
        except DAMAGED as error:
            raise DataError(f"{self.path}, member {self.prefix + name}: {error or type(error).__name__}") from error

    def _read(self, name: str) -> bytes:
        raise NotImplementedError

    def _accept(self, name: str) -> str | None:
        """The name of a member as a path; None for a hidden one."""
        path = posixpath.normpath(name.replace("\\", "/"))
        if path.startswith("../") or path == ".." or posixpath.isabs(path) or path[1:2] == ":":
            raise DataError(f"{self.path}: member {name} leads outside of the archive")
        hidden = any(part.startswith(".") or part in ("__MACOSX", "__pycache__") for part in path.split("/"))
        return None if hidden else path

    def _check_size(self, name: str, size: int, stored: int) -> None:
        if size > MAX_SMALL and size > MAX_RATIO * stored:
            raise DataError(f"{self.path}: {name} would grow from {stored} to {size} bytes, which no image does")


class ZipReader(ArchiveReader):
    def __init__(self, path: Path):
        super().__init__(path)
        self.members = {}
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = self._accept(info.filename)
                if name is None or info.is_dir():
                    continue
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise DataError(f"{path}: {info.filename} is a link, not a file")
                if info.flag_bits & 1:
                    raise DataError(f"{path}: {info.filename} is encrypted: unpack the archive with its password")
                self._check_size(info.filename, info.file_size, info.compress_size)
                if name in self.members:
                    raise DataError(f"{path} holds {name} twice")
                self.members[name] = info.filename
        self.names = sorted(self.members)

    def _read(self, name: str) -> bytes:
        if self._open is None or self._open[0] != os.getpid():  # a file position is not shared with a forked process
            self._open = (os.getpid(), zipfile.ZipFile(self.path))
        return self._open[1].read(self.members[name])


class TarReader(ArchiveReader):
    """A tar that is not compressed: members are read at their offsets."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.members: dict[str, tuple[int, int]] = {}
        size = path.stat().st_size
        with tarfile.open(path, "r:", tarinfo=Member) as archive:
            for name, member in tar_files(path, archive, self._accept):
                if member.islnk():  # tar stores a file of two names once
                    target = posixpath.normpath(member.linkname)
                    if target not in self.members:
                        raise DataError(f"{path}: {member.name} is a link to {member.linkname}, which is not in the archive")
                    self.members[name] = self.members[target]
                elif member.isreg():
                    if member.offset_data + member.size > size:
                        raise DataError(f"{path} is cut off in {member.name}")
                    self.members[name] = (member.offset_data, member.size)
                else:
                    raise DataError(f"{path}: {member.name} is a link or a device, not a file")
        self.names = sorted(self.members)

    def _read(self, name: str) -> bytes:
        offset, size = self.members[name]
        if self._open is None or self._open[0] != os.getpid():
            self._open = (os.getpid(), open(self.path, "rb"))
        content = os.pread(self._open[1].fileno(), size, offset)
        if len(content) < size:
            raise EOFError("the file was cut off since it was listed")
        return content


class TarStreamReader(ArchiveReader):
    """A compressed tar, read from front to end; asking for a member that has gone by starts again."""

    sequential = True

    def __init__(self, path: Path, compression: str):
        super().__init__(path)
        self.compression = compression
        self.restarts = self.passed = self.found = 0
        stored, total = path.stat().st_size, 0
        with self._stream() as archive:
            for name, member in tar_files(path, archive, self._accept):
                if not member.isreg():
                    raise DataError(f"{path}: {member.name} is a link or a device, not a file")
                total += member.size
                self._check_size(member.name, total, stored)
                self.names.append(name)

    def _bytes(self) -> BinaryIO:
        if self.compression == "xz":
            return lzma.open(self.path)
        return pa.input_stream(str(self.path), compression=self.compression)

    def _stream(self) -> tarfile.TarFile:
        return tarfile.open(fileobj=self._bytes(), mode="r|", tarinfo=Member)

    def inflate(self, folder: Path) -> Path:
        """Writes the tar without its compression, once; found again as long as the archive is not touched."""
        with self._bytes() as stream:
            return inflate(self.path, stream, folder, ".tar")

    def _read(self, name: str) -> bytes:
        for attempt in range(2):
            if self._open is None or self._open[0] != os.getpid():
                archive = self._stream()
                self._open = (os.getpid(), archive, iter(archive))
                self.passed = self.found = 0
            for member in self._open[2]:
                self._open[1].members.clear()
                self.passed += 1
                if member.isreg() and self._accept(member.name) == name:
                    self.found += 1
                    return self._open[1].extractfile(member).read()
            self._open = None
            self.restarts = self.restarts + 1 if self.passed > MAX_PASSED * self.found else 0  # an epoch reads many
            if self.restarts > MAX_RESTARTS:
                raise DataError(
                    f"{self.path} is compressed as a whole and can only be read in its order, not in that of this layout: "
                    "unpack it, or pack it as a zip or a plain tar"
                )
        raise KeyError(name)
