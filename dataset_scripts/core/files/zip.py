"""zip archives, their directory read entry by entry, which takes less memory than zipfile needs.

Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, version 6.3.10; sections in comments.
"""

import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.archive import ArchiveReader
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.names import shown
from dataset_scripts.core.files.unpack import PIECE, unpack

LOCAL = struct.Struct("<4s22x2H")  # 4.3.7: lengths of name and extra field
ENTRY = struct.Struct("<4sxB2x2H4x3L3H4x2L")  # 4.3.12
END = struct.Struct("<4s4H2LH")  # 4.3.16
END64 = struct.Struct("<4s8x2x2x2L4Q")  # 4.3.14
LOCATOR64_SIZE = 20  # 4.3.15
MAX_COMMENT = 0xFFFF
ENCRYPTED, UTF8 = 1 << 0, 1 << 11  # 4.4.4
DOS, NTFS = 0, 10  # 4.4.2: where it was made


class Entry(NamedTuple):
    """The directory's entry for a member: raw name, flags, method, CRC-32, sizes, and the place of the local header."""

    name: bytes
    system: int
    flags: int
    method: int
    crc: int
    stored: int
    size: int
    attributes: int
    place: int

    @property
    def utf8_name(self) -> bytes:
        """4.4.4, bit 11 and appendix D: names are UTF-8 or in DOS's code page; unmarked Unix names are raw bytes."""
        try:
            self.name.decode()
        except UnicodeDecodeError:
            if self.system in (DOS, NTFS) and not self.flags & UTF8:
                return self.name.decode("cp437").encode()
        return self.name


class ZipReader(ArchiveReader):
    def __init__(self, path: Path, faults: Faults | None = None):
        super().__init__(path)
        self.members: dict[str, int] = {}  # the place of its entry in the directory
        with open(path, "rb") as file:
            start, length, self.shift = _find_directory(file, self.stored)
            taken = total = 0
            for place, entry in self._entries(file, start, start + length):
                taken += LOCAL.size + len(entry.name) + entry.stored
                total += entry.size
                if taken > start or entry.place > start:
                    raise DataError(f"{path} is damaged: its members overlap, or lie beyond its end")
                self._check_total(total)
                try:
                    self._add(place, entry)
                except DataError:
                    with faults or nullcontext():
                        raise
        self.names = sorted(self.members)

    def _add(self, place: int, entry: Entry) -> None:
        name = self._accept(entry.utf8_name)
        if name is not None and not (entry.name.endswith((b"/", b"\\")) and not entry.size):
            self._check(entry)
            if name in self.members:
                raise DataError(f"{self.path} holds {name} twice")
            self.members[name] = place

    def _check(self, entry: Entry) -> None:
        name = shown(entry.utf8_name)
        if stat.S_ISLNK(entry.attributes >> 16):
            raise DataError(f"{self.path}: {name} is a link, not a file")
        if entry.flags & ENCRYPTED:
            raise DataError(f"{self.path}: {name} is encrypted: unpack the archive with its password")
        self._check_size(name, entry.size, entry.stored)

    def _entries(self, file: BinaryIO, place: int, end: int) -> Iterator[tuple[int, Entry]]:
        file.seek(place)
        while place < end:
            entry = self._entry(file)
            yield place, entry
            place = file.tell()
        if place > end:
            raise ValueError("its directory is damaged: the last entry goes beyond its end")

    def _entry(self, file: BinaryIO) -> Entry:
        (magic, system, flags, method, crc, stored, size, named, extra, comment, attributes, place) = ENTRY.unpack(
            _take(file, ENTRY.size)
        )
        if magic != b"PK\1\2":
            raise ValueError("its directory is damaged: no entry begins where one should")
        name, fields = _take(file, named), _take(file, extra)
        file.seek(comment, os.SEEK_CUR)
        if 0xFFFFFFFF in (stored, size, place):
            size, stored, place = _long_numbers(fields, [size, stored, place])
        return Entry(name, system, flags, method, crc, stored, size, attributes, place + self.shift)

    def _read(self, name: str) -> bytes:
        if name not in self.members:
            raise DataError(f"{self.path} has no member {name}")
        with self._opened(lambda: open(self.path, "rb", buffering=0)) as file:
            file.seek(self.members[name])
            entry = self._entry(file)
            file.seek(entry.place)
            magic, named, extra = LOCAL.unpack(_take(file, LOCAL.size))
            if magic != b"PK\3\4":
                raise ValueError("it is damaged: no member begins where the directory says")
            file.seek(named + extra, os.SEEK_CUR)
            content = unpack(_blocks(file, entry.stored), entry.method, entry.size)
        if zlib.crc32(content) != entry.crc:
            raise ValueError("it is damaged: its CRC-32 is not that of the directory")
        return content


def _take(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise EOFError("it is cut off")
    return content


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (block := file.read(min(size, PIECE))):
        size -= len(block)
        yield block


def _find_directory(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Where the directory begins, its bytes, and the bytes before the archive that its offsets leave out (as of a program
    that unpacks itself)."""
    file.seek(max(0, size - END.size - MAX_COMMENT))
    tail = file.read()
    place = tail.rfind(b"PK\5\6", 0, len(tail) - END.size + 4)
    if place < 0:
        raise ValueError("it is cut off or not a zip: it has no directory at its end")
    _, disk, first_disk, _, _, length, offset, _ = END.unpack_from(tail, place)
    end = size - len(tail) + place
    if end >= END64.size + LOCATOR64_SIZE:
        file.seek(end - LOCATOR64_SIZE - END64.size)
        last = file.read(END64.size + LOCATOR64_SIZE)
        if last[END64.size :].startswith(b"PK\6\7"):
            magic, disk, first_disk, _, _, length, offset = END64.unpack_from(last)
            if magic != b"PK\6\6":
                raise ValueError(
                    "its directory is damaged: its end record is not where that of a large archive should be"
                )
            end -= len(last)
    if disk or first_disk:
        raise ValueError("it is one part of several: join them first")
    start = end - length
    if start < offset:
        raise ValueError("it is cut off or damaged: its directory is not where its end record says")
    return start, length, start - offset


def _long_numbers(fields: bytes, numbers: list[int]) -> list[int]:
    """4.5.3: the numbers that do not fit in 4 bytes, in an extra field."""
    stream = io.BytesIO(fields)
    while head := stream.read(4):
        kind, length = struct.unpack("<2H", head)
        content = io.BytesIO(stream.read(length))
        if kind == 1:
            return [struct.unpack("<Q", content.read(8))[0] if number == 0xFFFFFFFF else number for number in numbers]
    raise ValueError("its directory is damaged: the numbers of a large member are missing")
