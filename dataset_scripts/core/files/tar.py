"""tar archives: plain ones read at any place, compressed ones from front to end."""

import io
import lzma
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import IO, Generic, TypeVar

import pyarrow as pa

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.archive import MAX_SMALL, ArchiveReader
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.inflate import inflate
from dataset_scripts.core.files.names import shown
from dataset_scripts.core.files.tar_headers import PIECE, Member, tar_members

MAX_RESTARTS = 16  # in a row, each for less than one in MAX_PASSED members
MAX_PASSED = 64
MAX_LISTED = 20  # bytes of names and headers in memory for a byte of the archive, beyond MAX_SMALL

Place = TypeVar("Place")  # what `_read` needs to know of a member


class Tar(ArchiveReader, Generic[Place]):
    members: dict[str, Place]

    def _list(self, members: Iterator[Member], faults: Faults | None, where: Path | None = None) -> None:
        """Lists the members that are files and not hidden, each once.

        The fault of a member is raised in `faults`, and so is one that ends the listing, if members were found before it.
        """
        where, listed = where or self.path, 0
        while True:
            try:
                member = next(members, None)
                if member is None:
                    return
                listed += 100 + len(member.name)
                if listed > max(MAX_SMALL, MAX_LISTED * self.stored):
                    raise DataError(
                        f"{where} has more members than an archive of {self.stored} bytes can have: it is a bomb"
                    )
            except Exception:
                with (self.members and faults) or nullcontext(), reading(f"{where} cannot be read"):
                    raise
                return
            try:
                self._check_end(shown(member.name), member)
                name = self._accept(member.name)
                if name is not None and member.kind != "folder":
                    self._check(name, member, where)
                    self.members[name] = self._place(name, member)
            except DataError:
                with faults or nullcontext():
                    raise

    def _check(self, name: str, member: Member, where: Path) -> None:
        if name in self.members:
            raise DataError(f"{where} holds {name} twice")
        if member.kind == "sparse":
            raise DataError(f"{where}: {name} is stored with holes: pack it without --sparse")
        if member.kind not in ("file", "link"):
            raise DataError(f"{where}: {name} is a link or a device, not a file")

    def _place(self, name: str, member: Member) -> Place:
        raise NotImplementedError

    def _check_end(self, name: str, member: Member) -> None:
        raise NotImplementedError


class TarReader(Tar[tuple[int, int]]):
    """A tar that is not compressed: members are read at their offsets."""

    def __init__(self, path: Path, faults: Faults | None = None):
        super().__init__(path)
        self.members = {}
        with open(path, "rb") as file:
            self._list(tar_members(file), faults)
        self.names = sorted(self.members)

    def _place(self, name: str, member: Member) -> tuple[int, int]:
        if member.kind != "link":
            return member.offset, member.size
        target = self._accept(member.target)  # tar stores a file with two names once
        if target not in self.members:
            raise DataError(f"{self.path}: {name} is a link to {shown(member.target)}, which is not in the archive")
        return self.members[target]

    def _check_end(self, name: str, member: Member) -> None:
        if member.offset + member.size > self.stored:
            raise DataError(f"{self.path} is cut off in {name}")

    def _read(self, name: str) -> bytes:
        if name not in self.members:
            raise DataError(f"{self.path} has no member {name}")
        offset, size = self.members[name]
        with self._opened(lambda: open(self.path, "rb", buffering=0)) as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise EOFError("the file was cut off since it was listed")
        return content


class Forward:
    """A stream that is read from front to end and knows where it is, unlike the streams of Arrow."""

    def __init__(self, stream: IO[bytes]):
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

    def seek(self, place: int) -> int:
        raise io.UnsupportedOperation("seek")

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


class TarStreamReader(Tar[None]):
    """A compressed tar, read from front to end; asking for a member that has passed starts again."""

    sequential = True

    def __init__(self, path: Path, compression: str, faults: Faults | None = None):
        super().__init__(path)
        self.compression = compression
        self.restarts = 0
        self.members = {}
        with closing(self._bytes()) as stream:
            self._list(tar_members(stream, self._limit()), faults)
        self.names, self.members = list(self.members), {}

    def _place(self, name: str, member: Member) -> None:
        if member.kind == "link":
            raise DataError(f"{self.path}: {name} is a link or a device, not a file")

    def _check_end(self, name: str, member: Member) -> None:
        self._check_size(name, member.size, self.stored)
        self._check_total(member.offset + member.size)

    def _bytes(self) -> Forward:
        if self.compression == "xz":
            return Forward(lzma.open(self.path))
        return Forward(pa.CompressedInputStream(pa.PythonFile(open(self.path, "rb")), self.compression))

    def inflate(self, folder: Path) -> Path:
        """Writes the tar uncompressed, once; it is reused until the archive is touched."""
        with closing(self._bytes()) as stream:
            return inflate(self.path, stream, folder, ".tar", self._limit())

    def _read(self, name: str) -> bytes:
        with self._opened(lambda: Pass(self._bytes)) as way:
            for _ in range(2):
                for member in way.members:
                    way.passed += 1
                    if member.kind == "file" and self._is(member, name):
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

    def _is(self, member: Member, name: str) -> bool:
        try:
            return self._accept(member.name) == name
        except DataError:
            return False  # left out of the listing


def _content(stream: Forward, size: int) -> bytes:
    content = io.BytesIO()
    while (left := size - content.tell()) > 0 and (block := stream.read(min(left, PIECE))):
        content.write(block)
    if left:
        raise EOFError("it is cut off")
    return content.getvalue()
