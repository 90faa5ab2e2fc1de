"""TFRecord files: a sequence of records, each its length, the checksum of that, the data, and their checksum.

The format is described in tensorflow/core/lib/io/record_writer.h.
"""

import contextlib
import gzip
import io
import mmap
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.archives import MAX_RATIO, MAX_SMALL
from dataset_scripts.core.files.listing import Files, Reader, name_of

HEADER = struct.Struct("<QI")  # the length of the data, and the masked checksum of these eight bytes
GZIP = b"\x1f\x8b\x08"
HINT = re.compile(r"\.tfrec|\.record|-of-\d", re.IGNORECASE)
OF = r"(?:[-_]\d{3,9}-of-(\d{3,9}))?"
SHARD = re.compile(rf"(.*?){OF}(\.tfrecords?|\.tfrec|\.record)?{OF}(?:\.gz)?", re.IGNORECASE | re.DOTALL)


@dataclass
class Shard:
    """The parts of a file name: `voc-train.tfrecord-00000-of-00004` is one of 4 shards of `voc-train`."""

    base: str
    count: int

    @classmethod
    def of(cls, path: str) -> "Shard | None":
        base, before, suffix, after = SHARD.fullmatch(name_of(path)).groups()
        return cls(base, int(before or after or 1)) if before or suffix or after else None


def shards_in(files: Files) -> dict[str, Shard]:
    """The paths called `x.tfrecord`, `x.tfrecord-00000-of-00004`, `x-00000-of-00004` or the like."""
    hints = (path for path in files.paths if HINT.search(path))
    return {path: shard for path in hints if (shard := Shard.of(path))}


def starts_like_records(files: Files, path: str) -> bool:
    """Whether a file starts with a possible length of a record and the first byte of an Example; computes no checksum."""
    with reading(f"{files.root}/{path}"), files.open(path) as file:
        heads = [file.read(13)]
        if heads[0].startswith(GZIP):
            file.seek(0)
            with contextlib.suppress(EOFError, OSError, zlib.error):
                heads.append(gzip.GzipFile(fileobj=file).read(13))
    return any(len(head) == 13 and 0 < struct.unpack("<Q", head[:8])[0] < 1 << 40 and head[12] == 10 for head in heads)


def crc32c() -> Callable[[bytes], int]:
    """The checksum of RFC 3720.

    Raises:
        DataError: google-crc32c is not installed; the message names the extra.
    """
    try:
        from google_crc32c import value
    except ImportError as error:
        raise DataError("TFRecord files need google-crc32c: pip install 'dataset_scripts[tfrecord]'") from error
    return value


def checksum(data: bytes) -> int:
    """The masked CRC-32C of TFRecord files."""
    crc = crc32c()(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


class View:
    """A file in memory, or mapped there, whose parts are read without a copy."""

    def __init__(self, buffer):
        self.buffer, self.at = memoryview(buffer), 0

    def read(self, size: int) -> memoryview:
        self.at += size
        return self.buffer[self.at - size : self.at]


def open_shard(files: Reader, path: str) -> BinaryIO:
    """A shard, unpacked if it is gzip; TFRecord does not record this, so its first bytes decide."""
    file = files.open(path)
    head = file.read(HEADER.size)
    file.seek(0)
    # A record of 559903 bytes starts like gzip.
    return gzip.GzipFile(fileobj=file) if head.startswith(GZIP) and not _is_header(head) else file


def _is_header(head: bytes) -> bool:
    return len(head) == HEADER.size and HEADER.unpack(head)[1] == checksum(bytes(head[:8]))


def scan(files: Reader, path: str) -> Iterator[tuple[int, int, memoryview]]:
    """Yields number (the first is 1), offset and data of every record; checks the lengths, but not the data.

    Raises:
        DataError: the file is cut off, or a length is damaged, so that the next record cannot be found.
    """
    number = offset = 0
    with open_shard(files, path) as file:
        packed = isinstance(file, gzip.GzipFile)
        stored = _size(file.fileobj if packed else file)
        stream, limit = (file, max(MAX_SMALL, MAX_RATIO * stored)) if packed else (View(_map(file)), stored)
        while True:
            where = f"{files.root}/{path}, record {number + 1}"
            with reading(f"{files.root}/{path} is damaged after record {number}"):
                head = bytes(stream.read(HEADER.size))
                if not head:
                    return
                if len(head) == HEADER.size and not _is_header(head):
                    fault = "it is not a TFRecord file" if number == 0 else "no record after it can be found"
                    raise DataError(f"{where}: the checksum of its length is wrong: {fault}")
                length = HEADER.unpack(head)[0] if len(head) == HEADER.size else 0
                if packed and offset + length > limit:
                    raise DataError(f"{where}: the file is cut off there, or grows to more than {limit} bytes")
                data = memoryview(stream.read(length) if offset + length <= limit else b"")
                if len(data) < length or len(stream.read(4)) < 4:
                    raise DataError(f"{where}: the file is cut off there: copy it again")
            number += 1
            yield number, offset, data
            offset += HEADER.size + length + 4


def _size(file: BinaryIO) -> int:
    place = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(place)
    return size


def _map(file: BinaryIO) -> memoryview | mmap.mmap:
    if isinstance(file, io.BytesIO):
        return memoryview(file.getvalue())
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(file.fileno()).st_size else memoryview(b"")


class Shards:
    """Reads records at their offsets. Each process keeps its last shard open.

    gzip has no offsets: going back means unpacking it from its start.
    """

    def __init__(self):
        self._open = None

    def __getstate__(self):
        return {"_open": None}

    def read(self, files: Reader, path: str, offset: int, number: int) -> bytes:
        """The data of a record.

        Raises:
            DataError: a checksum is wrong.
        """
        where = f"{files.root}/{path}, record {number}"
        key = (os.getpid(), files.root, path)
        with reading(where):
            if self._open is None or self._open[0] != key:
                self._open = (key, open_shard(files, path))
            file = self._open[1]
            file.seek(offset)
            head = file.read(HEADER.size)
            data = file.read(HEADER.unpack(head)[0]) if _is_header(head) else b""
            stored = file.read(4)
        if not _is_header(head) or stored != checksum(data).to_bytes(4, "little"):
            raise DataError(f"{where}: the checksum of the data is wrong: the file is damaged, copy it again")
        return data
