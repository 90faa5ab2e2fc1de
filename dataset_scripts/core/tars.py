"""tar archives: plain ones read at any place, compressed ones from front to end."""

import io
import lzma
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from dataset_scripts.core.archive import MAX_SMALL, ArchiveReader
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.inflate import inflate
from dataset_scripts.core.names import shown
from dataset_scripts.core.tar_headers import PIECE, Member, tar_members

MAX_RESTARTS = 16  # in a row, each for less than one in MAX_PASSED members
MAX_PASSED = 64
MAX_LISTED = 20  # bytes of names and headers in memory for a byte of the archive, beyond MAX_SMALL


class Tar(ArchiveReader):
    def _files(self, members: Iterable[Member], where: Path | None = None) -> Iterator[tuple[str, Member]]:
        """The members that are files and not hidden, with their paths, each once; links to other members, too."""
        where, seen, listed = where or self.path, set(), 0
        for member in members:
            self._check_end(shown(member.name), member)
            name = self._accept(member.name)
            if name is None or member.kind == "folder":
                continue
            if name in seen:
                raise DataError(f"{where} holds {name} twice")
            if member.kind == "sparse":
                raise DataError(f"{where}: {name} is stored with holes: pack it without --sparse")
            if member.kind not in ("file", "link"):
                raise DataError(f"{where}: {name} is a link or a device, not a file")
            listed += 100 + len(name)
            if listed > max(MAX_SMALL, MAX_LISTED * self.stored):
                raise DataError(f"{where} has more members than an archive of {self.stored} bytes can have: it is a bomb")
            seen.add(name)
            yield name, member

    def _check_end(self, name: str, member: Member) -> None:
        raise NotImplementedError


class TarReader(Tar):
    """A tar that is not compressed: members are read at their offsets."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.members: dict[str, tuple[int, int]] = {}
        with open(path, "rb") as file:
            for name, member in self._files(tar_members(file)):
                if member.kind == "link":  # tar stores a file of two names once
                    target = self._accept(member.target)
                    if target not in self.members:
                        raise DataError(f"{path}: {name} is a link to {shown(member.target)}, which is not in the archive")
                    self.members[name] = self.members[target]
                else:
                    self.members[name] = (member.offset, member.size)
        self.names = sorted(self.members)

    def _check_end(self, name: str, member: Member) -> None:
        if member.offset + member.size > self.stored:
            raise DataError(f"{self.path} is cut off in {name}")

    def _read(self, name: str) -> bytes:
        if name not in self.members:
            raise DataError(f"{self.path} has no member {name}")
        offset, size = self.members[name]
        with self._opened(lambda: open(self.path, "rb", buffering=0)) as file:
            content = os.pread(file.fileno(), size, offset)
        if len(content) < size:
            raise EOFError("the file was cut off since it was listed")
        return content


class Forward:
    """A stream that is read from front to end and knows where it is, which those of Arrow do not."""

    def __init__(self, stream: BinaryIO):
        self.stream = stream
        self.place = 0

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        self.place += len(content)
        return content

    def tell(self) -> int:
        return self.place

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.stream.close()


class Pass:
    """A compressed tar on its way from front to end.

    Attributes:
        passed, found: the members that have gone by, and those of them that were asked for.
    """

    def __init__(self, open_stream: Callable[[], Forward]):
        self.open_stream = open_stream
        self.begin()

    def begin(self) -> None:
        self.stream = self.open_stream()
        self.members = tar_members(self.stream)
        self.passed = self.found = 0

    def close(self) -> None:
        self.stream.close()


class TarStreamReader(Tar):
    """A compressed tar, read from front to end; asking for a member that has gone by starts again."""

    sequential = True

    def __init__(self, path: Path, compression: str):
        super().__init__(path)
        self.compression = compression
        self.restarts = 0
        with closing(self._bytes()) as stream:
            for name, member in self._files(tar_members(stream, self._limit())):
                if member.kind == "link":
                    raise DataError(f"{path}: {name} is a link or a device, not a file")
                self.names.append(name)

    def _check_end(self, name: str, member: Member) -> None:
        self._check_size(name, member.size, self.stored)
        self._check_total(member.offset + member.size)

    def _bytes(self) -> Forward:
        if self.compression == "xz":
            return Forward(lzma.open(self.path))
        return Forward(pa.CompressedInputStream(pa.PythonFile(open(self.path, "rb")), self.compression))

    def inflate(self, folder: Path) -> Path:
        """Writes the tar without its compression, once; found again as long as the archive is not touched."""
        with closing(self._bytes()) as stream:
            return inflate(self.path, stream, folder, ".tar", self._limit())

    def _read(self, name: str) -> bytes:
        with self._opened(lambda: Pass(self._bytes)) as way:
            for _ in range(2):
                for member in way.members:
                    way.passed += 1
                    if member.kind == "file" and self._accept(member.name) == name:
                        way.found += 1
                        return _content(way.stream, member.size)
                self.restarts = self.restarts + 1 if way.passed > MAX_PASSED * way.found else 0  # an epoch reads many
                if self.restarts > MAX_RESTARTS:
                    raise DataError(
                        f"{self.path} is compressed as a whole and can only be read in its order, not in that of this layout: "
                        "unpack it, or pack it as a zip or a plain tar"
                    )
                way.close()
                way.begin()
        raise DataError(f"{self.path} has no member {name}")


def _content(stream: Forward, size: int) -> bytes:
    content = io.BytesIO()
    while (left := size - content.tell()) > 0 and (block := stream.read(min(left, PIECE))):
        content.write(block)
    if left:
        raise EOFError("it is cut off")
    return content.getvalue()
