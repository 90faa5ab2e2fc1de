"""Damages the containers of other content, and keeps the rest valid: archives, compressed files, headers, checksums."""

import ast
import bz2
import io
import lzma
import random
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import zstandard
from dictionary import INTEGERS, PATHS
from examples_binary import gzip_of, masked_crc

Inner = Callable[[bytes, random.Random], bytes]
MAX_INFLATED = 1 << 22


def zip_members(content: bytes, rng: random.Random, inner: Inner) -> bytes:
    """Damages a member, its name, or its entry in the directory; else the bytes of the directory itself."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist() if info.file_size < MAX_INFLATED]
    except Exception:  # damaged before
        return zip_directory(content, rng)
    if not members or rng.random() < 0.3:
        return zip_directory(content, rng)
    number = rng.randrange(len(members))
    info, member = members[number]
    match rng.randrange(6):
        case 0 | 1 | 2:
            members[number] = info, inner(member, rng)
        case 3:
            info.filename = rng.choice(
                [*PATHS, members[0][0].filename, f"{info.filename}/", info.filename.upper(), ".x"]
            )
        case 4:
            info.external_attr = rng.choice((0o120777 << 16, 0o020666 << 16, 0x10, 0))
            members[number] = info, rng.choice([member, rng.choice(PATHS).encode()])
        case 5:
            info.compress_type = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
            members.append((info, member)) if rng.random() < 0.5 else members.pop(number)
    buffer = io.BytesIO()
    try:
        with zipfile.ZipFile(buffer, "w") as archive:
            for info, member in members:
                new = zipfile.ZipInfo(info.filename[:60_000])
                new.external_attr, new.compress_type = info.external_attr, info.compress_type
                with archive.open(new, "w") as file:
                    file.write(member)
    except (ValueError, UnicodeError, zipfile.BadZipFile):
        return content
    return buffer.getvalue()


def zip_directory(content: bytes, rng: random.Random) -> bytes:
    """Damages a field of an entry of the directory, of a member's own header, or of the end record."""
    heads = [match.start() for match in re.finditer(b"PK(\1\2|\3\4|\5\6)", content)]
    if not heads:
        return content[:-1]
    at = rng.choice(heads) + rng.choice((4, 6, 8, 10, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 38, 42))
    size = rng.choice((2, 4))
    return content[:at] + (rng.choice(INTEGERS) % (1 << 8 * size)).to_bytes(size, "little") + content[at + size :]


def tar_members(content: bytes, rng: random.Random, inner: Inner) -> bytes:
    """Damages a member, its name, size or kind; checksums are corrected."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            members = [
                (info, archive.extractfile(info).read() if info.isreg() else b"") for info in archive.getmembers()
            ]
    except Exception:  # damaged before
        return content[: rng.randrange(len(content) + 1)]
    if not members:
        return content[:1000]
    number = rng.randrange(len(members))
    info, member = members[number]
    match rng.randrange(6):
        case 0 | 1:
            members[number] = info, inner(member, rng)
        case 2:
            info.name = rng.choice([*PATHS, members[0][0].name, f"{info.name}/", info.name.upper(), ".x"])
        case 3:
            info.type = rng.choice(
                (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, b"S")
            )
            info.linkname = rng.choice([*PATHS, members[0][0].name])
        case 4:
            members[number], members[0] = members[0], members[number]
        case 5:
            members.insert(0, (info, member))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))) as archive:
        for info, member in members:
            info.size = len(member) if info.isreg() else 0
            info.pax_headers = {}
            try:
                archive.addfile(info, io.BytesIO(member))
            except (ValueError, UnicodeError):
                continue
    whole = bytearray(buffer.getvalue())
    if rng.random() < 0.3:  # a header that states another size
        at = rng.randrange(len(whole) // 512) * 512
        if whole[at + 257 : at + 262] == b"ustar":
            whole[at + 124 : at + 136] = rng.choice(
                (b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"00000000001\0", b"-1".ljust(12))
            )
            whole[at + 148 : at + 156] = b" " * 8
            whole[at + 148 : at + 156] = b"%06o\0 " % sum(whole[at : at + 512])
    return bytes(whole)


def packed(
    unpack: Callable[[bytes], bytes], pack: Callable[[bytes], bytes]
) -> Callable[[bytes, random.Random, Inner], bytes]:
    def mutate(content: bytes, rng: random.Random, inner: Inner) -> bytes:
        try:
            plain = unpack(content)
        except Exception:  # damaged before
            plain = b""
        if not plain or rng.random() < 0.2:
            at = rng.randrange(len(content))
            return content[:at] + bytes([rng.randrange(256)]) + content[at + rng.randrange(2) :]
        return pack(inner(plain, rng))

    return mutate


def limited(decompressor: Callable) -> Callable[[bytes], bytes]:
    return lambda content: decompressor().decompress(content, MAX_INFLATED)


def npy_header(content: bytes, rng: random.Random, inner: Inner) -> bytes:
    """Damages shape, type or order of an array; the length of the header is corrected."""
    size = int.from_bytes(content[8:10], "little")
    try:
        header = ast.literal_eval(content[10 : 10 + size].decode("latin1").strip())
        shape = list(header["shape"])
    except Exception:  # damaged before
        return content[:10] + inner(content[10:], rng)
    match rng.randrange(5):
        case 0:
            header["shape"] = tuple([*shape[:-1], rng.choice(INTEGERS)])
        case 1:
            header["shape"] = tuple(
                rng.choice([shape[:-1], [*shape, 1], shape[::-1], [0], [*shape, 0], [1] * 70, [-n for n in shape]])
            )
        case 2:
            header["descr"] = rng.choice(
                ["|O", "<u2", "<f8", "|b1", "<U9", "|S3", "<M8[s]", "|V5", [("a", "<i4")], "<c16", "|u9", "x", 1, ">f2"]
            )
        case 3:
            header["fortran_order"] = rng.choice((True, 1, "x", None))
        case 4:
            header.pop(rng.choice(list(header)))
    text = repr(header).encode() + b"\n"
    return content[:8] + len(text).to_bytes(2, "little") + text + content[10 + size :]


def idx_header(content: bytes, rng: random.Random, inner: Inner) -> bytes:
    """Damages the type of the numbers, the number of dimensions, or a dimension."""
    at = rng.choice((2, 3))
    if rng.random() < 0.3:
        return content[:at] + bytes([rng.choice((0, 1, 2, 4, 8, 9, 11, 12, 13, 14, 33, 255))]) + content[at + 1 :]
    at = 4 + 4 * rng.randrange(max(1, content[3] & 7) if len(content) > 3 else 1)
    return content[:at] + (rng.choice(INTEGERS) % (1 << 32)).to_bytes(4, "big") + content[at + 4 :]


def png_chunk(content: bytes, rng: random.Random, inner: Inner) -> bytes:
    """Damages the content of a chunk, or the order of chunks; the checksum is corrected."""
    chunks, at = [], 8
    while at + 12 <= len(content) and len(chunks) < 100:
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return content[:8]
    number = rng.randrange(len(chunks))
    kind, body = chunks[number]
    match rng.randrange(4):
        case 0:
            chunks[number] = kind, inner(body, rng)
        case 1 if body:
            at = rng.randrange(len(body))
            chunks[number] = kind, body[:at] + bytes([rng.choice(INTEGERS) % 256]) + body[at + 1 :]
        case 2:
            kind = rng.choice((b"eXIf", b"acTL", b"iCCP", b"zTXt", b"PLTE", b"tRNS", b"IDAT", b"IHDR", b"fcTL"))
            chunks.insert(number + 1, (kind, rng.choice([body, zlib.compress(bytes(1 << 20)), rng.randbytes(13)])))
        case _:
            chunks.insert(rng.randrange(len(chunks)), chunks.pop(number))
    parts = [
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks
    ]
    return content[:8] + b"".join(parts)


def safetensors_header(content: bytes, rng: random.Random, inner: Inner) -> bytes:
    size = int.from_bytes(content[:8], "little")
    if size > len(content):
        return content[8:]
    header = inner(content[8 : 8 + size], rng)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def tfrecord(content: bytes, rng: random.Random, inner: Inner) -> bytes:
    """Damages the message of a record; its length and checksums are corrected."""
    starts, at = [], 0
    while at + 16 <= len(content) and len(starts) < 1000:
        size = int.from_bytes(content[at : at + 8], "little")
        starts.append((at, size))
        at += size + 16
    if not starts:
        return content[:8]
    at, size = rng.choice(starts)
    body = inner(content[at + 12 : at + 12 + size], rng)
    length = len(body).to_bytes(8, "little")
    return content[:at] + length + masked_crc(length) + body + masked_crc(body) + content[at + 16 + size :]


STARTS = {
    b"PK": zip_members,
    b"\x1f\x8b": packed(limited(lambda: zlib.decompressobj(31)), gzip_of),
    b"BZh": packed(limited(bz2.BZ2Decompressor), bz2.compress),
    b"\xfd7zXZ": packed(limited(lzma.LZMADecompressor), lzma.compress),
    b"\x28\xb5\x2f\xfd": packed(
        lambda content: zstandard.ZstdDecompressor().decompress(content, MAX_INFLATED), zstandard.compress
    ),
    b"\x93NUMPY": npy_header,
    b"\0\0\x08": idx_header,
    b"\x89PNG": png_chunk,
}


def container_of(content: bytes) -> Callable[[bytes, random.Random, Inner], bytes] | None:
    """The function that damages this format; None if the format is unknown."""
    if content[257:262] == b"ustar":
        return tar_members
    if content[8:10] == b'{"' and int.from_bytes(content[:8], "little") < len(content):
        return safetensors_header
    if len(content) > 16 and content[8:12] == masked_crc(content[:8]):
        return tfrecord
    return next((mutator for start, mutator in STARTS.items() if content.startswith(start)), None)
