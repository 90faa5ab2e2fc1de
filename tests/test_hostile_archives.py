"""Archives that were made to fill memory, time or the number of open files, and archives with random damage."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import struct
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
import zipfile
import zlib

import pytest

from dataset_scripts import DataError
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.files.pool import LIMIT, Pool

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def make_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path, members, mode="w", **options):
    with tarfile.open(path, mode, **options) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def set_size(path, size, name=b"x.png"):
    """Changes the size that a zip's directory states for a member."""
    content = bytearray(path.read_bytes())
    entry = content.rindex(name) - 46
    assert content[entry : entry + 4] == b"PK\1\2"
    struct.pack_into("<L", content, entry + 24, size)
    path.write_bytes(content)


def peak_of(function):
    """The memory that a call takes, in bytes, and the error that it raises."""
    tracemalloc.start()
    try:
        function()
        error = None
    except DataError as caught:
        error = caught
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, error


RUN_LOW = """
import os, resource, sys
from dataset_scripts.core.files.listing import Files
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
files = Files.of(sys.argv[1])
before = len(os.listdir("/proc/self/fd"))
for _ in range(2):
    for path in files.paths:
        assert files.read(path) == files.locate(path)[0].path.name.encode(), path
print(len(files.paths), len(os.listdir("/proc/self/fd")) - before)
"""


def test_more_archives_than_files_may_be_open(tmp_path):
    for number in range(300):
        kind = ("zip", "tar", "tar.gz")[number % 3]
        members = {"1.png": f"{number:04}.{kind}".encode(), "2.png": f"{number:04}.{kind}".encode()}
        path = tmp_path / f"{number:04}.{kind}"
        make_zip(path, members) if kind == "zip" else make_tar(path, members, "w:gz" if kind == "tar.gz" else "w")
    result = subprocess.run([sys.executable, "-c", RUN_LOW, tmp_path], capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    listed, opened = map(int, result.stdout.split())
    assert listed == 600 and opened <= LIMIT


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_forks_and_threads_read_what_is_theirs(tmp_path, kind):
    """Forked processes share the position in an open file, and threads the file itself."""
    members = {f"{number:03}.png": os.urandom(20_000) for number in range(60)}
    path = tmp_path / f"a.{kind}"
    make_zip(path, members) if kind == "zip" else make_tar(path, members, "w:gz" if kind == "tar.gz" else "w")
    files, again = Files.of(path), Files.of(path)
    assert files.read("000.png") == members["000.png"]
    wrong = []

    def read(reader):
        wrong.extend(name for name, content in members.items() if reader.read(name) != content)

    children = []
    for _ in range(3):
        if (child := os.fork()) == 0:
            read(files)
            os._exit(1 if wrong else 0)
        children.append(child)
    readers = [again.reader(), pickle.loads(pickle.dumps(files.reader()))] + [files] * 2 * (kind != "tar.gz")
    threads = [threading.Thread(target=read, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]


def test_pool_closes_the_least_recently_used_and_what_failed(tmp_path):
    class Owner:
        pass

    pool, owners = Pool(2), [Owner() for _ in range(3)]
    files = []

    def opened():
        files.append(open(__file__, "rb"))
        return files[-1]

    for number in (0, 1, 0, 2):
        with pool.lend(owners[number], opened) as file:
            assert not file.closed
    assert [file.closed for file in files] == [False, True, False]
    with pool.lend(owners[0], opened) as one, pool.lend(owners[0], opened) as two:
        assert one is files[0] and two is files[3]
    assert sum(not file.closed for file in files) == 2
    with pytest.raises(ZeroDivisionError), pool.lend(owners[0], opened) as file:
        raise ZeroDivisionError
    assert file.closed and len(pool.idle) == 1


@pytest.mark.parametrize("method", METHODS)
def test_members_that_hold_more_or_less_than_they_say(tmp_path, method):
    content = bytes(50_000_000) if method else os.urandom(100_000)
    room = (12 if method == zipfile.ZIP_LZMA else 4) << 20  # its window takes 8 MB
    path = make_zip(tmp_path / "a.zip", {"x.png": content}, method)
    assert Files.of(path).read("x.png") == content
    for said in (10, 0, len(content) - 1, len(content) + 1):
        set_size(path, said)
        files = Files.of(path)
        peak, error = peak_of(lambda files=files: files.read("x.png", empty=True))
        assert "x.png: " in str(error) and ("that the directory gives" in str(error) or "CRC" in str(error)), (
            said,
            error,
        )
        assert peak < said + room
    set_size(path, len(content))
    assert peak_of(lambda: Files.of(path).read("x.png"))[0] < len(content) + room
    damaged = bytearray(path.read_bytes())
    crc = damaged.rindex(b"x.png") - 46 + 16
    damaged[crc] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="a.zip, member x.png: it is damaged: its CRC-32"):
        Files.of(path).read("x.png")


def test_a_window_of_four_gigabytes(tmp_path):
    """LZMA allocates the window that the header states."""
    path = make_zip(tmp_path / "a.zip", {"x.png": b"abc" * 1000}, zipfile.ZIP_LZMA)
    content = bytearray(path.read_bytes())
    place = content.index(b"x.png") + 5 + 5
    assert content[place - 5 : place - 1] == b"\x09\x04\x05\x00"
    struct.pack_into("<L", content, place, 0xFFFFFFFF)
    path.write_bytes(content)
    assert Files.of(path).read("x.png") == b"abc" * 1000


def test_members_that_share_their_bytes(tmp_path):
    """The bomb of https://www.bamsoftware.com/hacks/zipbomb/ in miniature: many entries for one member."""
    path = make_zip(tmp_path / "a.zip", {"x.png": os.urandom(50_000)})
    content = path.read_bytes()
    start = content.index(b"PK\1\2")
    entry, end = content[start:-22], content[-22:]
    for count in (1, 2, 1000):
        entries = b"".join(entry.replace(b"x.png", f"{number:05}".encode()) for number in range(count))
        path.write_bytes(
            content[:start] + entries + end[:8] + struct.pack("<2HLL", count, count, len(entries), start) + end[20:]
        )
        if count == 1:
            assert Files.of(path).read("00000") == Files.of(path).read("00000")
        else:
            with pytest.raises(DataError, match="a.zip is damaged: its members overlap, or lie beyond its end"):
                Files.of(path)


def test_many_members_that_grow(tmp_path):
    """None of them alone is too large: 60 MB each, in the 2.8 KB that bzip2 needs, or as many zeros in a tar."""
    content = bz2.compress(bytes(60_000_000))
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(16_384):
            archive.writestr(f"{number}.png", content)
    packed = bytearray(path.read_bytes())
    place = packed.index(b"PK\1\2")
    while packed[place : place + 4] == b"PK\1\2":
        struct.pack_into("<H", packed, place + 10, zipfile.ZIP_BZIP2)
        struct.pack_into("<L", packed, place + 24, 60_000_000)
        place += 46 + sum(struct.unpack_from("<3H", packed, place + 28))
    path.write_bytes(packed)
    start = time.process_time()
    with pytest.raises(DataError, match=r"a.zip would grow from \d+ to \d+ bytes or more, which no images do"):
        Files.of(path)
    assert time.process_time() - start < 5


def test_flat_masks_are_no_bomb(tmp_path):
    content = b"BM" + bytes(3_000_000)
    path = make_zip(tmp_path / "a.zip", {f"{number}.bmp": content for number in range(40)})
    make_tar(tmp_path / "a.tgz", {f"{number}.bmp": content for number in range(40)}, "w:gz")
    assert path.stat().st_size * 500 < 40 * len(content)
    for path in (tmp_path / "a.zip", tmp_path / "a.tgz"):
        assert Files.of(path).read("7.bmp") == content


@pytest.mark.parametrize("hidden", [".x.png", "x.png"])
def test_a_compressed_tar_that_grows_for_ever(tmp_path, hidden):
    """Hidden members count too, and so do extended headers that no member follows."""
    header = tarfile.TarInfo(hidden)
    header.size = 8 << 30
    block = gzip.compress(bytes(1 << 24))
    (tmp_path / "a.tgz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT)) + block * 512)
    with pytest.raises(DataError, match="a.tgz: .*x.png would grow from"):
        Files.of(tmp_path / "a.tgz")


def test_headers_without_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr("dataset_scripts.core.files.archive.MAX_TOTAL", 1 << 26)
    monkeypatch.setattr("dataset_scripts.core.files.tar.MAX_SMALL", 1 << 22)
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 20
    (tmp_path / "a.tgz").write_bytes(gzip.compress((header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)) * 16) * 6)
    with pytest.raises(DataError, match="a.tgz cannot be read: it grows to more than 67,108,864 bytes"):
        Files.of(tmp_path / "a.tgz")
    names = b"".join(tarfile.TarInfo(f"{number:08}{'x' * 80}").tobuf(tarfile.GNU_FORMAT) for number in range(24_000))
    (tmp_path / "b.tgz").write_bytes(gzip.compress(names + bytes(1024), 9))
    with pytest.raises(DataError, match="b.tgz has more members than an archive of .* bytes can have"):
        Files.of(tmp_path / "b.tgz")


def test_extended_headers_that_take_tarfile_minutes(tmp_path):
    """CVE-2024-6232: time grows with the square of the length of a number."""
    records = b"1" * 900_000 + b" GNU.sparse.offset=0\n"
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(records)
    (tmp_path / "a.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + records + bytes(-len(records) % 512 + 1024))
    start = time.process_time()
    with pytest.raises(DataError, match="a.tar cannot be read: it is damaged: an extended header has"):
        Files.of(tmp_path / "a.tar")
    assert time.process_time() - start < 2


def test_many_entries_take_little_memory(tmp_path):
    """Folders take none, and files less than a few times the bytes of the archive."""
    folders = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0) + b"%07d/" % number
        for number in range(50_000)
    )
    room = bytes(50_000 * 38)
    (tmp_path / "a.zip").write_bytes(
        room + folders + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, len(folders), len(room), 0)
    )
    (tmp_path / "b.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace(b"/PK", b"xPK"))
    peak, error = peak_of(lambda: Files.of(tmp_path / "a.zip"))
    assert error is None and peak < 1 << 20 and Files.of(tmp_path / "a.zip").paths == []
    peak, error = peak_of(lambda: Files.of(tmp_path / "b.zip"))
    assert (
        error is None
        and peak < 5 * (tmp_path / "b.zip").stat().st_size
        and len(Files.of(tmp_path / "b.zip").paths) == 50_000
    )


def test_names_that_are_nested_or_long(tmp_path):
    for name in ("a/" * 100 + "x.png", "x" * 5000, "a/" * 30_000):
        for path in (make_zip(tmp_path / "a.zip", {name: b"x"}), make_tar(tmp_path / "a.tar", {name: b"x"})):
            with pytest.raises(DataError, match="has too long a name: [0-9,]+ characters, [0-9]+ folders"):
                Files.of(path)


def test_tars_of_every_format_are_read_as_tarfile_does(tmp_path):
    members = {
        "a/" + "x" * 90 + "/" + "y" * 90 + ".png": b"1" * 700,
        "b/é.png": b"",
        "c.png": b"3" * 512,
        "d/z.png": b"4",
    }
    for number, options in enumerate((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        path = make_tar(tmp_path / f"{number}.tar", members, format=options)
        files = Files.of(path)
        assert {name: files.read(name, empty=True) for name in files.paths} == members
    long = {"a.png": b"", "d/" * 20 + "x" * 240 + ".png": b"5"}
    for number, options in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        assert Files.of(make_tar(tmp_path / f"long{number}.tar", long, format=options)).paths == [*long]
    with tarfile.open(tmp_path / "big.tar", "w", format=tarfile.GNU_FORMAT) as archive:  # a number in base 256
        info = tarfile.TarInfo("x.png")
        info.size, info.mtime = 1, 1 << 40
        archive.addfile(info, io.BytesIO(b"x"))
    assert Files.of(tmp_path / "big.tar").read("x.png") == b"x"


def test_zips_of_every_form(tmp_path):
    """Streamed with sizes after data, with 8-byte numbers, after a program, with a comment, and of 70,000 members."""
    members = {f"c/{number}.png": os.urandom(100) for number in range(3)}
    path = tmp_path / "a.zip"

    class Pipe(io.RawIOBase):
        def __init__(self, file):
            self.file = file

        def writable(self):
            return True

        def write(self, content):
            return self.file.write(content)

    with open(path, "wb") as file, zipfile.ZipFile(Pipe(file), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            with archive.open(name, "w", force_zip64=True) as stream:
                stream.write(content)
        archive.comment = b"a comment"
    forms = [path.read_bytes(), b"#!/bin/sh\n" * 50 + path.read_bytes()]
    make_zip(path, members | {f"many/{number}": b"" for number in range(70_000)}, zipfile.ZIP_STORED)
    forms += [path.read_bytes(), b"#!/bin/sh\n" + path.read_bytes()]
    for content in forms:
        path.write_bytes(content)
        files = Files.of(path)
        assert {name: files.read(name) for name in files.paths if not name.startswith("many")} == {
            name if len(files.paths) > 3 else name.removeprefix("c/"): content for name, content in members.items()
        }


def test_a_zip64_entry(tmp_path):
    """The size, the stored size and the offset take 8 bytes, as for members beyond 4 GB."""
    content = zlib.compress(b"x" * 1000)[2:-4]
    name, end = b"x.png", 0xFFFFFFFF
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 8, 0, 0, 0, end, end, 5, 0) + name + content
    extra = struct.pack("<2H3Q", 1, 24, 1000, len(content), 0)
    crc = zlib.crc32(b"x" * 1000)
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, 8, 0, 0, crc, end, end, 5, len(extra), 0, 0, 0, 0, end)
    entry += name + extra
    path = tmp_path / "a.zip"
    path.write_bytes(local + entry + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0))
    assert zipfile.ZipFile(path).read("x.png") == Files.of(path).read("x.png") == b"x" * 1000


def mutate(rng, content):
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        place, what = rng.randrange(len(content)), rng.random()
        if what < 0.5:
            content[place] ^= 1 << rng.randrange(8)
        elif what < 0.65:
            content[place : place + 4] = rng.choice([b"\xff" * 4, bytes(4), b"7777", b"\x80\0\0\0"])
        elif what < 0.8:
            content[place:place] = content[place : place + rng.choice([1, 46, 512, 1024])]
        else:
            del content[place : place + rng.choice([1, 30, 512, len(content) // 2])]
        content = content or bytearray(1)
    return bytes(content)


def test_random_damage_is_a_data_error(tmp_path):
    rng = random.Random(0)
    members = {f"c{number % 2}/{number}.png": bytes(500) + rng.randbytes(300 * number) for number in range(5)}
    whole = [("zip", make_zip(tmp_path / "x", members, method).read_bytes(), bytes) for method in METHODS]
    plain = make_tar(tmp_path / "x", members, format=tarfile.PAX_FORMAT).read_bytes()
    zstd = pytest.importorskip("zstandard").compress
    whole += [
        ("tar", plain, bytes),
        ("tgz", plain, gzip.compress),
        ("txz", plain, lzma.compress),
        ("tzst", plain, zstd),
    ]
    errors, start = 0, time.process_time()
    for number in range(800):
        kind, content, compress = whole[number % len(whole)]
        path = tmp_path / f"a.{kind}"
        path.write_bytes(mutate(rng, compress(content)) if rng.random() < 0.5 else compress(mutate(rng, content)))
        try:
            files = Files.of(path)
            for name in files.paths:
                files.read(name, empty=True)
        except DataError as error:
            errors += str(path) in str(error)
    assert errors > 400 and time.process_time() - start < 60
