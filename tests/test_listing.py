"""Listings of folders and archives as people and programs leave them: odd names, links, unreadable entries."""

import io
import logging
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.files.pairs import folder_parser
from dataset_scripts.core.files.splits import SPLITS

LATIN = b"caf\xe9"  # not UTF-8


def pack(path, members):
    """A zip or tar of members with names of any bytes, as tools on Unix write them."""
    if path.suffix == ".zip":
        for length in map(len, members):
            assert length < 90
        stand_ins = {f"{number:0{len(name)}}": name for number, name in enumerate(members)}
        with zipfile.ZipFile(path, "w") as archive:
            for stand_in, name in stand_ins.items():
                archive.writestr(stand_in, members[name])
        content = path.read_bytes()
        for stand_in, name in stand_ins.items():
            content = content.replace(stand_in.encode(), name)
        path.write_bytes(content)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(os.fsdecode(name))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def image(tmp_path, save_image):
    save_image(tmp_path / "one/1.png")
    return (tmp_path / "one/1.png").read_bytes()


def test_names_that_are_not_utf8_in_a_folder(tmp_path, image):
    root = os.fsencode(tmp_path / "photos")
    for folder, name in (
        (b"cat", LATIN + b".png"),
        (LATIN, b"1.png"),
        (LATIN, LATIN + b"2.png"),
        ("é".encode(), b"1.png"),
    ):
        os.makedirs(os.path.join(root, folder), exist_ok=True)
        with open(os.path.join(root, folder, name), "wb") as file:
            file.write(image)
    files = Files.of(tmp_path / "photos")
    assert files.paths == sorted(["cat/caf\\xe9.png", "caf\\xe9/1.png", "caf\\xe9/caf\\xe92.png", "é/1.png"])
    for reader in (files, files.reader(), pickle.loads(pickle.dumps(files.reader()))):
        for path in files.paths:
            assert reader.read(path) == reader.open(path).read() == image
            with open(reader.local(path), "rb") as file:
                assert file.read() == image
    for processes in (1, 2):
        rows = load_dataset(str(tmp_path / "photos"), split="train", num_proc=processes)
        assert rows.features["label"].names == sorted(["cat", "caf\\xe9", "é"]) and len(list(rows)) == 4
    assert len(list(load_dataset(str(tmp_path / "photos"), split="train", streaming=True))) == 4


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_names_that_are_not_utf8_in_an_archive(tmp_path, image, kind):
    path = pack(
        tmp_path / f"a.{kind}", {b"cat/" + LATIN + b".png": image, LATIN + b"/1.png": image, "é/2.png".encode(): image}
    )
    files = Files.of(path)
    assert set(files.paths) == {"cat/caf\\xe9.png", "caf\\xe9/1.png", "é/2.png"}
    assert all(pickle.loads(pickle.dumps(files.reader())).read(path) == image for path in files.paths)
    rows = load_dataset(str(path), split="train")
    assert rows.features["label"].names == sorted(["cat", "caf\\xe9", "é"]) and len(list(rows)) == 3


def test_archives_whose_own_names_are_not_utf8(tmp_path, image):
    for kind in ("zip", "tar", "tgz"):
        root = tmp_path / kind
        root.mkdir()
        os.rename(
            pack(tmp_path / f"b.{kind}", {b"1.png": image}),
            os.path.join(os.fsencode(root), LATIN + f".{kind}".encode()),
        )
        files = Files.of(root)
        assert files.paths == ["caf\\xe9/1.png"] and files.read("caf\\xe9/1.png") == image
        (single,) = root.iterdir()
        assert Files.of(single).read("1.png") == image


def test_a_root_and_a_single_file_that_are_not_utf8(tmp_path, image):
    root = os.path.join(os.fsencode(tmp_path), LATIN)
    os.mkdir(root)
    with open(os.path.join(root, LATIN + b".png"), "wb") as file:
        file.write(image)
    files = Files.of(os.fsdecode(root))
    assert files.paths == ["caf\\xe9.png"] and files.read("caf\\xe9.png") == image
    alone = Files.of(os.path.join(os.fsdecode(root), files.aliases["caf\\xe9.png"]))
    assert alone.paths == ["caf\\xe9.png"] and alone.read("caf\\xe9.png") == image


def test_names_that_would_be_shown_alike(tmp_path):
    for name in (LATIN, b"caf\\xe9"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(b"x")
    with pytest.raises(
        DataError, match=r"two files are listed as caf\\xe9, as a name is not UTF-8: rename 'caf\\udce9'"
    ):
        Files.of(tmp_path)


@pytest.mark.parametrize("kind", ["folders", "folders below", "archive"])
def test_folders_that_would_be_shown_alike(tmp_path, image, kind):
    """Two classes became one, in silence, as their images had other names."""
    root = os.fsencode(tmp_path / "photos")
    above = b"" if kind != "folders below" else b"a/b/"
    for folder, name in ((above + LATIN, b"1.png"), (above + b"caf\\xe9", b"2.png"), (b"cat", b"3.png")):
        if kind == "archive" and folder == b"caf\\xe9":
            os.rename(pack(tmp_path / "b.zip", {b"2.png": image}), os.path.join(root, folder + b".zip"))
            continue
        os.makedirs(os.path.join(root, folder))
        if kind != "archive":
            with open(os.path.join(root, folder, name), "wb") as file:
                file.write(image)
    if kind == "archive":
        with open(os.path.join(root, LATIN, b"1.txt"), "wb") as file:
            file.write(b"x")
    with pytest.raises(DataError, match=r"two folders are listed as (a/b/)?caf\\xe9, .*: rename '(a/b/)?caf\\udce9'"):
        Files.of(tmp_path / "photos")


def test_names_of_zips_from_dos(tmp_path):
    """Names are in code page 437, unless they are flagged as UTF-8."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("caf?.png", "é.png"):
            info = zipfile.ZipInfo(name)
            info.create_system = 0
            archive.writestr(info, "x")
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace(b"caf?", b"caf\x82"))
    assert Files.of(tmp_path / "a.zip").paths == ["café.png", "é.png"]


@pytest.mark.parametrize(
    "links, message",
    [
        (
            {"a": "gone.png"},
            r"a is a link to \S+/gone.png, which cannot be followed \(No such file or directory\): restore",
        ),
        (
            {"a": "b", "b": "a"},
            r"a is a link to .*which cannot be followed \(Too many levels of symbolic links\): restore",
        ),
        ({"a": "a"}, r"a is a link to .*which cannot be followed \(Too many levels"),
        ({"a": "."}, r"a is a link to a folder that contains it"),
        ({"x/b": "../y", "y/a": "../x"}, r"a is a link to a folder that contains it"),
        ({"a": "../other"}, r"a is a link to \S+/other, outside of"),
        ({"a": "/dev/null"}, r"a is a link to /dev/null, outside of"),
    ],
)
def test_links_that_lead_nowhere(tmp_path, links, message, monkeypatch):
    root = tmp_path / "photos"
    for name, target in links.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, root / name)
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=message):
        Files.of(root)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        Files.of("photos")


def test_links_that_double_a_tree(tmp_path):
    """With twenty pairs of links, a file would be listed a million times."""
    for level in range(20):
        (tmp_path / f"d{level}").mkdir()
        for name in "ab":
            os.symlink(f"../d{level + 1}", tmp_path / f"d{level}/{name}")
    (tmp_path / "d20").mkdir()
    (tmp_path / "d20/x.png").write_text("x")
    with pytest.raises(DataError, match="is one of too many links in linked folders to"):
        Files.of(tmp_path)


def test_links_inside_are_followed(tmp_path, image):
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "photos/cat/1.png").write_bytes(image)
    os.symlink("cat", tmp_path / "photos/dog")
    os.symlink("../cat/1.png", tmp_path / "photos/cat/2.png")
    for number in range(30):
        os.symlink("cat", tmp_path / f"photos/class{number}")
    assert Files.of(tmp_path / "photos").paths[:4] == ["cat/1.png", "cat/2.png", "class0/1.png", "class0/2.png"]


def test_pipes_and_sockets_are_left_out(tmp_path, image, caplog):
    (tmp_path / "1.png").write_bytes(image)
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket"))
    with caplog.at_level(logging.WARNING):
        assert "1.png" in Files.of(tmp_path).paths and not any("pipe" in path for path in Files.of(tmp_path).paths)
    assert re.search("2 pipes, sockets or devices are left out, such as .*pipe.png", caplog.text)


LIST_AND_READ = """
import os, sys
from dataset_scripts import DataError
from dataset_scripts.core.files.listing import Files
if os.getuid() == 0:
    os.setuid(65534)  # root may read anything
for path in sys.argv[1:]:
    try:
        files = Files.of(path)
        print(*files.paths, *map(files.read, files.paths))
    except DataError as error:
        print("DataError", error)
"""


def test_what_must_not_be_read(image):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        root = Path(folder)
        for path, mode in (("a/x", 0), ("b/x", 0o444), ("c/x/1.png", 0), ("d/a.zip", 0), ("e/lost+found", 0), ("f", 0)):
            for name in {"x/1.png", "y/1.txt", path + "/1.png" * ("." not in path)}:
                file = root / path[0] / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"x")
            if not (root / path).exists():
                (root / path).write_bytes(b"x")
                shutil.rmtree(root / path[0] / "x")
            (root / path).chmod(mode)
        paths = [root / name for name in ("a", "b", "c", "d", "d/a.zip", "e", "f")]
        result = subprocess.run(
            [sys.executable, "-c", LIST_AND_READ, *paths], capture_output=True, text=True, timeout=100
        )
        for path in root.rglob("*"):
            path.chmod(0o755)
    expected = (
        "DataError .*/a/x cannot be listed .Permission denied.: make it readable, or move it out of .*/a",
        "DataError .*/b/x/1.png cannot be .*Permission denied.*",
        "DataError .*/c/x/1.png cannot be read: Permission denied .*",
        "DataError .*/d/a.zip cannot be read: Permission denied .*",
        "DataError .*/d/a.zip cannot be read: Permission denied .*",
        "y/1.txt b'x'",
        "DataError .*/f cannot be listed .Permission denied.*",
    )
    for line, pattern in zip(result.stdout.splitlines(), expected, strict=True):
        assert re.fullmatch(pattern, line), (pattern, result)


def test_names_that_are_too_long_and_folders_that_go(tmp_path):
    for path in ("x" * 300, "a/" * 3000, "x\0y", tmp_path / "gone"):
        with pytest.raises(DataError, match="cannot be (read|listed)"):
            Files.of(path)
    deep, here = tmp_path / "deep", os.getcwd()
    deep.mkdir()
    try:
        os.chdir(deep)
        for _ in range(30):  # 30 times 200 is more than a path may have
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
    finally:
        os.chdir(here)
    with pytest.raises(DataError, match=r"cannot be listed \(File name too long\)"):
        Files.of(deep)
    subprocess.run(["rm", "-r", deep], check=True)
    deep.mkdir()
    for _ in range(4):  # deeper than Python's recursion limit
        os.renames(deep, tmp_path / "deeper" / "/".join("a" * 300))
        os.rename(tmp_path / "deeper", deep)
    (deep / "x.png").write_text("x")
    try:
        assert Files.of(deep).paths == ["x.png"]
    finally:  # which pytest could not clean up
        subprocess.run(["rm", "-r", deep], check=True)


def test_a_folder_that_goes_while_it_is_listed(tmp_path):
    for number in range(1000):
        (tmp_path / f"photos/{number:04}").mkdir(parents=True)
        (tmp_path / f"photos/{number:04}/x.png").write_text("x")
    remove = subprocess.Popen(
        [sys.executable, "-c", "import shutil, sys; shutil.rmtree(sys.argv[1])", tmp_path / "photos"]
    )
    while remove.poll() is None:
        try:
            Files.of(tmp_path / "photos")
        except DataError as error:
            assert "cannot be" in str(error)
    assert remove.returncode == 0


def test_other_content_of_the_same_size_and_time(tmp_path):
    """As after a tool that restores times (rsync -t, tar), for an archive, a single file and a folder."""
    path = tmp_path / "photos/1.png"
    path.parent.mkdir()
    path.write_bytes(b"one")
    before, states = path.stat(), [Files.of(path).state, Files.of(path.parent).state]
    assert states == [Files.of(path).state, Files.of(path.parent).state]
    time.sleep(0.05)  # the clock's tick
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert not set(states) & {Files.of(path).state, Files.of(path.parent).state}


@pytest.mark.parametrize(
    "name", ["train_images", "my train", "flickr-val", "train-", "_test", "val", "train_", "-", "teſt", "train_K"]
)
def test_folders_of_odd_names(tmp_path, save_image, name):
    pixels = save_image(tmp_path / "texts" / name / "1.png", (8, 6))
    (tmp_path / "texts" / name / "1.txt").write_text("a text")
    rows = load_dataset("captions", data_dir=str(tmp_path / "texts"))
    (rows,) = rows.values()
    assert rows["caption"][:] == ["a text"] and rows[0]["image"].shape == (3, *pixels.shape[:2])
    shutil.copytree(tmp_path / "texts", tmp_path / "pairs")
    (rows,) = load_dataset(
        "image_pairs", data_dir=str(tmp_path / "pairs"), side_by_side=True, ignore=["*.txt"]
    ).values()
    assert len(rows) == 1


WORDS = {"": 0, "masks": 1, "mask": 1, "gt": 1, "low light": 0, "a.b": 0, "annot": 1}
odd = st.text(st.sampled_from("aſKİßtraineslvmkgo_- .\\/0²\n\0é"), max_size=30) | st.lists(
    st.sampled_from([*SPLITS, *WORDS, "_", "-", " ", "x", "Train", "MASKS", "2017", "é"]), max_size=6
).map("".join)


@settings(max_examples=400, deadline=None)
@given(odd | st.text(max_size=20))
def test_parser_of_folder_names_never_fails(name):
    for words in ({}, {"": 1}, WORDS):
        side, split, rest = folder_parser(words)(name)
        assert (
            side in (None, 0, 1) and split in ("", *SPLITS.values()) and set(rest.split("/")) <= {*name.split("/"), ""}
        )


SPLIT, WORD = (
    "|".join(sorted(map(re.escape, names), key=len, reverse=True)) for names in (SPLITS, filter(None, WORDS))
)
SLOW = re.compile(rf"(?:.*[\W_])?(?:({SPLIT})[\W_]?({WORD})|({WORD})[\W_]?({SPLIT}))(?:[\W_].*)?")


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from([*SPLITS, *filter(None, WORDS), "_", "-", " ", "x", "2"]), max_size=6).map("".join))
def test_the_last_split_and_side_in_a_name_count(name):
    """Compared with a single pattern, which takes quadratic time."""
    side, split, rest = folder_parser(WORDS)(name)
    if name in WORDS or re.fullmatch(rf"({SPLIT})[\W_]?(\d*)", name):
        return
    match = SLOW.fullmatch(name)
    expected = (WORDS[match[2] or match[3]], SPLITS[match[1] or match[4]], "") if match else (None, "", name)
    assert (side, split, rest) == expected


def test_long_folder_names_take_no_time():
    parse, start = folder_parser(WORDS), time.process_time()
    for number in range(1000):
        parse("train_" * 40 + f"{number:04}")
        parse("-_" * 125 + f"{number:04}")
    assert time.process_time() - start < 2


LIST = """
import os, sys
from dataset_scripts import DataError
from dataset_scripts.core.files.listing import Files
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for skip in (True, False):
    try:
        files = Files.of(sys.argv[1], skip=skip)
        print(files.paths, files.left_out)
    except DataError as error:
        print(error)
"""


def test_a_folder_that_may_be_listed_but_not_entered():
    with tempfile.TemporaryDirectory() as folder:  # pytest's are closed to other users
        for name in ("a/1.png", "b/2.png", "b/3.png"):
            (Path(folder) / name).parent.mkdir(exist_ok=True)
            (Path(folder) / name).touch()
        for path in (Path(folder), Path(folder, "a")):
            path.chmod(0o755)
        (Path(folder) / "b").chmod(0o744 if os.getuid() == 0 else 0o444)
        run = subprocess.run([sys.executable, "-c", LIST, folder], capture_output=True, text=True)
        (Path(folder) / "b").chmod(0o755)
    skipped, raised = run.stdout.splitlines()
    fault = "b/2.png cannot be read: Permission denied"
    assert skipped.startswith("['a/1.png'] [") and fault in skipped and "b/3.png cannot be read" in skipped
    assert fault in raised


def test_links_that_are_asked_for(tmp_path, save_image, caplog):
    save_image(tmp_path / "raw/1.png")
    (tmp_path / "set/cat").mkdir(parents=True)
    os.symlink("../../raw/1.png", tmp_path / "set/cat/1.png")
    os.symlink("../../raw/gone.png", tmp_path / "set/cat/2.png")
    with pytest.raises(DataError, match="outside of .*pass links='follow' if you trust the folder"):
        load_dataset(str(tmp_path / "set"))
    assert len(load_dataset(str(tmp_path / "set"), split="train", links="follow")) == 1
    assert "1 links lead to nothing and are left out, such as" in caplog.text
    with pytest.raises(DataError, match="links='all': it is 'follow', or left out"):
        load_dataset(str(tmp_path / "set"), links="all")


def test_the_cache_of_the_hub(tmp_path, save_image):
    """A snapshot links to blobs beside it; nothing else outside of it is reached."""
    repo = tmp_path / "hub/datasets--user--photos"
    folder = repo / "snapshots/0123abc/cat"
    folder.mkdir(parents=True)
    (repo / "blobs").mkdir()
    save_image(repo / "blobs/f00d.png")
    os.rename(repo / "blobs/f00d.png", repo / "blobs/f00d")
    os.symlink("../../../blobs/f00d", folder / "1.png")
    assert len(load_dataset(str(repo / "snapshots/0123abc"), split="train")) == 1
    (tmp_path / "secret").write_bytes((repo / "blobs/f00d").read_bytes())
    os.symlink(tmp_path / "secret", folder / "2.png")
    with pytest.raises(DataError, match="2.png is a link to .*secret, outside of"):
        load_dataset(str(repo / "snapshots/0123abc"))
