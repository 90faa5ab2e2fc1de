"""The headers of a tar, one after another: V7, ustar, GNU and pax. Stricter than tarfile, and of bounded time and memory.

tarfile mistakes damage for the end of the archive, keeps every header, and takes minutes for some headers.

Sources: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html,
https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

BLOCK = 512  # bytes; headers and contents begin at its multiples
PIECE = 1 << 20
MAX_HEADER = 1 << 20  # bytes of an extended header, which is read into memory; a long name takes a few thousand
KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"1": "link", b"5": "folder", b"V": "folder", b"S": "sparse"}
WITHOUT_CONTENT = b"123456V"
NUMBER = re.compile(rb"[ \0]*([0-7]*)[ \0]*")


class Stream(Protocol):
    """The methods of a file that is read from front to end; `seek` is called only if it is seekable."""

    def read(self, size: int, /) -> bytes: ...

    def tell(self) -> int: ...

    def seekable(self) -> bool: ...

    def seek(self, place: int, /) -> int: ...


class Member(NamedTuple):
    """A header.

    Attributes:
        name: as it is stored.
        kind: "file", "link" (another name of a file before it), "folder", "sparse" (a file stored with holes), or "other".
        target: of a link.
        offset: where the content begins.
        size: its bytes.
    """

    name: bytes
    kind: str
    target: bytes
    offset: int
    size: int


def tar_members(file: Stream, limit: float = math.inf) -> Iterator[Member]:
    """The members of a tar, in their order; the content of one may be read from `file` before the next is asked for.

    Raises:
        ValueError: it is truncated, damaged, has a header after its first `limit` bytes, or continues after its end.
    """
    extended: dict[str, bytes] = {}  # of the next member
    common: dict[str, bytes] = {}  # of all that follow
    while (header := _header(file)) is not None:
        if file.tell() > limit:
            raise ValueError(f"it grows to more than {limit:,} bytes, which no images do")
        kind, size = header[156:157], _number(header[124:136])
        if kind in (b"x", b"X", b"g", b"L", b"K"):
            if size > MAX_HEADER:
                raise ValueError(f"it has a header of {size} bytes")
            content = _padded(file, size)
            if kind in (b"x", b"X"):
                extended |= _records(content)
            elif kind == b"g":
                common |= _records(content)
            else:
                extended["path" if kind == b"L" else "linkpath"] = content.partition(b"\0")[0]
            continue
        fields, extended = common | extended, {}
        name = fields.get("path") or _name(header)
        size = _decimal(fields["size"]) if "size" in fields else size
        what = "sparse" if "sparse" in fields else KINDS.get(kind, "other")
        if kind == b"\0" and name.endswith(b"/"):  # V7
            what = "folder"
        if kind == b"S" and header[482]:
            for _ in range(MAX_HEADER // BLOCK):  # a map of the holes
                if not _block(file)[504]:
                    break
        size = 0 if kind in WITHOUT_CONTENT else size
        offset = file.tell()
        yield Member(name, what, fields.get("linkpath") or _text(header[157:257]), offset, size)
        _skip_to(file, offset + -(-size // BLOCK) * BLOCK)
    if file.read(PIECE).strip(b"\0"):
        raise ValueError("it continues after its end: separate tars that were joined into one file")


def _header(file: Stream) -> bytes | None:
    """The next block, if it is a header; None at the end, a block of zeros."""
    header = _block(file)
    if not header.strip(b"\0"):
        return None
    told, total = _number(header[148:156]), sum(header) - sum(header[148:156]) + 8 * ord(" ")
    # Some tars sum the bytes as signed numbers.
    if told != total and told != total - 256 * sum(byte > 127 for byte in header[:148] + header[156:]):
        raise ValueError("it is cut off or damaged: bad checksum")
    return header


def _block(file: Stream) -> bytes:
    block = _read(file, BLOCK)
    if len(block) < BLOCK:
        raise ValueError(f"it is cut off or damaged: {'truncated' if block else 'empty'} header")
    return block


def _padded(file: Stream, size: int) -> bytes:
    content = _read(file, -(-size // BLOCK) * BLOCK)
    if len(content) < size:
        raise ValueError("it is cut off or damaged: truncated header")
    return content[:size]


def _read(file: Stream, size: int) -> bytes:
    """Reads `size` bytes, or all that are left: some streams give fewer at a time."""
    content = file.read(size)
    while len(content) < size and (more := file.read(size - len(content))):
        content += more
    return content


def _skip_to(file: Stream, place: int) -> None:
    if file.seekable():
        file.seek(place)
    while (left := place - file.tell()) > 0 and file.read(min(left, PIECE)):
        pass


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _name(header: bytes) -> bytes:
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else b""  # GNU has times there
    return prefix + b"/" * bool(prefix) + _text(header[:100])


def _number(field: bytes) -> int:
    """Octal digits, or GNU's and star's base 256 for larger ones."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if (digits := NUMBER.fullmatch(field)) is None:
        raise ValueError("it is cut off or damaged: a header has an invalid number")
    return int(digits[1] or b"0", 8)


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise ValueError("it is damaged: an extended header has an invalid number")
    return int(digits)


def _records(content: bytes) -> dict[str, bytes]:
    """The records of pax that matter here, "LENGTH KEYWORD=VALUE" and a line break each."""
    records, place = {}, 0
    while place < len(content):
        digits = content[place : place + 20].partition(b" ")[0]
        end = place + _decimal(digits)
        keyword, equals, value = content[place + len(digits) + 1 : end - 1].partition(b"=")
        if end <= place + len(digits) + 1 or end > len(content) or content[end - 1 : end] != b"\n" or not equals:
            raise ValueError("it is damaged: an extended header has records of wrong length")
        if keyword in (b"path", b"linkpath", b"size"):
            records[keyword.decode()] = value
        elif keyword.startswith(b"GNU.sparse."):
            records["sparse"] = b""
        place = end
    return records
