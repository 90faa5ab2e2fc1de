"""Decompression that never produces more than was asked for."""

import bz2
import io
import lzma
import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Protocol

PIECE = 1 << 20  # bytes that are made at once
STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14  # as zip numbers them


class _Stream(Protocol):
    """The interface of bz2 and lzma, which the other classes share."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, block: bytes, most: int, /) -> bytes: ...


class _Stored:
    eof, needs_input = False, True

    def decompress(self, block: bytes, most: int) -> bytes:
        return block


class _Deflate:
    """zlib with the interface of bz2 and lzma."""

    def __init__(self):
        self.stream = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self.stream.eof

    @property
    def needs_input(self) -> bool:
        return not self.stream.unconsumed_tail

    def decompress(self, block: bytes, most: int) -> bytes:
        return self.stream.decompress(self.stream.unconsumed_tail + block, most)


class _Lzma:
    """The LZMA of zip: version, the length of the properties, the properties, and the stream."""

    eof, needs_input, stream = False, True, None

    def __init__(self, size: int):
        self.size = size
        self.head = b""

    def decompress(self, block: bytes, most: int) -> bytes:
        if self.stream is None:
            self.head, block = (self.head + block)[:9], (self.head + block)[9:]
            if len(self.head) < 9:
                return b""
            length, packed, window = struct.unpack("<2xHBI", self.head)
            if length != 5 or packed >= 9 * 5 * 5:
                raise lzma.LZMAError("its LZMA properties are damaged")
            window = max(4096, min(window, self.size))  # it may claim 4 GB, but looks back no further than its start
            options = {
                "id": lzma.FILTER_LZMA1,
                "dict_size": window,
                "lc": packed % 9,
                "lp": packed // 9 % 5,
                "pb": packed // 45,
            }
            self.stream = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[options])
        content = self.stream.decompress(block, most)
        self.eof, self.needs_input = self.stream.eof, self.stream.needs_input
        return content


def unpack(blocks: Iterable[bytes], method: int, size: int) -> bytes:
    """The content of compressed blocks that claim to hold `size` bytes.

    It takes `size` bytes and a few MB of memory, and with LZMA also its window, which is at most `size`.

    Raises:
        ValueError: they hold fewer or more, of which at most one byte is produced; or the method is unknown.
    """
    makers: dict[int, Callable[[], _Stream]] = {
        STORED: _Stored,
        DEFLATED: _Deflate,
        BZIP2: bz2.BZ2Decompressor,
        LZMA: lambda: _Lzma(size),
    }
    if method not in makers:
        raise ValueError(f"its compression (method {method}) is not supported: pack it again, as zip does by default")
    stream, blocks = makers[method](), iter(blocks)
    content, made = io.BytesIO(bytes(size)), 0  # zeros that take no memory before they are written to
    most = size + (method != LZMA)  # only the size shows where LZMA ends
    while not stream.eof and made < most:
        block = next(blocks, None) if stream.needs_input else b""
        if block is None:
            break
        piece = stream.decompress(block, min(PIECE, most - made))
        made += len(piece)
        if made > size:
            raise ValueError(f"it holds more than the {size:,} bytes that the directory gives")
        content.write(piece)
    if made < size:
        raise ValueError(f"it holds less than the {size:,} bytes that the directory gives")
    return content.getvalue()
