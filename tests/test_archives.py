"""Archives against the folder that was packed, and archives made to do harm."""

import gzip
import io
import os
import shutil
import stat
import struct
import tarfile
import zipfile

import numpy as np
import PIL.Image
import pytest
import torch

from dataset_scripts import DataError, ToTensor, load_dataset
from dataset_scripts.core.files.inflate import inflate
from dataset_scripts.core.files.listing import Files, Reader

KINDS = ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst"]


def pack(folder, path, kind, top=""):
    """Packs the files of a folder, below `top`."""
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.write(folder / name, top + name)
        return path
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in names:
            archive.add(folder / name, top + name)
    content = packed.getvalue()
    if kind.endswith("zst"):
        content = pytest.importorskip("zstandard").compress(content)
    elif kind != "tar":
        module = {"tar.gz": "gzip", "tgz": "gzip", "tar.bz2": "bz2", "tar.xz": "lzma"}[kind]
        content = __import__(module).compress(content)
    path.write_bytes(content)
    return path


@pytest.fixture
def photos(tmp_path, save_image):
    """Split folders of class folders, suffixes in both cases, and files that must be ignored."""
    root = tmp_path / "photos"
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for number in range(5):
                save_image(root / split / name / f"{number}.{('png', 'PNG')[number % 2]}")
    (root / "train/.hidden.png").write_bytes(b"no image")
    (root / "train/cat/._0.png").write_bytes(b"no image")
    (root / "readme.txt").write_text("text")
    return root


def assert_same(rows, others):
    for row, other in zip(rows, others, strict=True):
        assert torch.equal(row["image"], other["image"]) and row["label"] == other["label"]


@pytest.mark.parametrize("top", ["", "photos/"])
@pytest.mark.parametrize("kind", KINDS)
def test_read_like_the_folder(photos, tmp_path, kind, top):
    work = tmp_path / "work"
    work.mkdir()
    path = pack(photos, work / f"a.{kind}", kind, top)
    cache = tmp_path / "cache"
    sets, packed = load_dataset(str(photos)), load_dataset(str(path), cache_dir=str(cache))
    assert list(packed) == ["train", "test"] and packed["test"].features == sets["test"].features
    for split in sets:
        assert_same(sets[split], packed[split])
        assert_same(sets[split], load_dataset(str(path), split=split, streaming=True))
    assert os.listdir(work) == [path.name] and not list(cache.rglob("*.png"))  # nothing is unpacked


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz", "tar.zst"])
def test_upper_case_and_streams_that_were_joined(photos, tmp_path, kind):
    """Packers of several threads (pbzip2, pigz, pzstd) write one stream after another."""
    content = pack(photos, tmp_path / "a.tar", "tar").read_bytes()
    compress = (
        __import__({"tar.gz": "gzip", "tar.bz2": "bz2", "tar.xz": "lzma"}[kind]).compress
        if kind != "tar.zst"
        else (pytest.importorskip("zstandard").compress)
    )
    (tmp_path / f"A.{kind.upper()}").write_bytes(compress(content[:5000]) + compress(content[5000:]))
    assert_same(
        load_dataset(str(photos), split="train"), load_dataset(str(tmp_path / f"A.{kind.upper()}"), split="train")
    )


def test_many_epochs_of_a_packed_tar(photos, tmp_path):
    """Each epoch reads the tar from its start again."""
    stream = load_dataset(str(pack(photos, tmp_path / "a.tar.gz", "tar.gz")), split="train", streaming=True)
    assert [sum(row["label"] for row in stream) for _ in range(20)] == [5] * 20


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_num_proc(photos, tmp_path, kind):
    path = pack(photos, tmp_path / f"a.{kind}", kind)
    assert_same(load_dataset(str(photos), split="train"), load_dataset(str(path), split="train", num_proc=2))


def test_an_archive_a_split(photos, tmp_path):
    for kind in ("zip", "tar"):
        folder = tmp_path / kind
        folder.mkdir()
        pack(photos / "train", folder / f"train.{kind}", kind)
        pack(photos / "test", folder / f"test.{kind}", kind, "test/")
        sets = load_dataset(str(folder))
        for split, rows in load_dataset(str(photos)).items():
            assert_same(rows, sets[split])


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_unpacked_is_read_and_not_its_archive(tmp_path, caplog, kind):
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (70, 6, 5), np.uint8)
    (tmp_path / "set/x").mkdir(parents=True)
    np.save(tmp_path / "set/x/images.npy", images)
    pack(tmp_path / "set/x", tmp_path / f"set/x.{kind}", kind, "x/")
    np.save(tmp_path / "set/x/images.npy", images[::-1])  # distinguishes the two
    rows = load_dataset(str(tmp_path / "set"), split="train", num_proc=2)
    assert (
        f"x.{kind} is left out: the folder x/ beside it is read instead" in caplog.text and len(rows.cache_files) == 2
    )
    for row, image in zip(rows, images[::-1], strict=True):
        assert torch.equal(row["image"], ToTensor()(image))
    shutil.rmtree(tmp_path / "set/x")
    for row, image in zip(load_dataset(str(tmp_path / "set"), split="train"), images, strict=True):
        assert torch.equal(row["image"], ToTensor()(image))


def test_archives_that_would_be_one_folder(photos, tmp_path):
    (tmp_path / "two/train").mkdir(parents=True)
    pack(photos / "train", tmp_path / "two/train.zip", "zip")
    pack(photos / "train/cat", tmp_path / "two/train/cat.tar", "tar")
    with pytest.raises(
        DataError,
        match="train.zip holds a folder cat, and .*train/cat.tar would be listed as the same one: rename or remove one",
    ):
        load_dataset(str(tmp_path / "two"))
    (tmp_path / "two/train/cat.tar").unlink()
    pack(photos / "train", tmp_path / "two/train.tar", "tar")
    with pytest.raises(
        DataError, match="train.zip and .*train.tar would be listed as one folder: rename or remove one"
    ):
        load_dataset(str(tmp_path / "two"))


def test_an_archive_in_a_folder_of_the_name_of_another(photos, tmp_path):
    """The archive belongs to the longest matching folder: cat.tar stands for cat/, cat/old.zip for cat/old/."""
    (tmp_path / "set/cat").mkdir(parents=True)
    pack(photos / "train/cat", tmp_path / "set/cat.tar", "tar")
    pack(photos / "train/dog", tmp_path / "set/cat/old.zip", "zip")
    rows = load_dataset(str(tmp_path / "set"), split="train")
    assert rows.features["label"].names == ["cat", "cat/old"] and rows["label"][:] == [0] * 5 + [1] * 5
    names = [f"{folder}/{file}" for folder in ("cat", "dog") for file in ("0.png", "1.PNG", "2.png", "3.PNG", "4.png")]
    for row, name in zip(rows, names, strict=True):
        assert torch.equal(row["image"], ToTensor()(PIL.Image.open(photos / "train" / name)))
    files = Files.of(tmp_path / "set")
    for mounts in (sorted(files.mounts.items()), sorted(files.mounts.items(), reverse=True)):
        reader = Reader(files.root, dict(mounts))
        assert [reader.read(path) for path in files.paths] == [(photos / "train" / name).read_bytes() for name in names]


def test_only_what_is_read_decides_on_the_order(photos, tmp_path, save_image):
    """A compressed tar is read by one process, but a tar that no row comes from does not matter."""
    labels, masks = tmp_path / "labels", tmp_path / "masks"
    for path in (photos / "train/cat").iterdir():
        save_image(masks / "masks" / f"{path.stem}.png", mode="L")
        (labels / "labels").mkdir(parents=True, exist_ok=True)
        if path.name[0] != ".":
            (labels / "labels" / f"{path.stem}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    pack(tmp_path / "masks/masks", tmp_path / "masks.tar.gz", "tar.gz")
    for kind, processes in (("zip", 2), ("tar.gz", 1)):
        for name, beside in (("image_folder", None), ("mask_pairs", masks / "masks"), ("yolo", labels / "labels")):
            folder = tmp_path / f"{name}-{kind}"
            folder.mkdir()
            pack(photos / "train/cat", folder / f"images.{kind}", kind)
            if beside:
                pack(beside, folder / f"{beside.name}.zip", "zip")
            (tmp_path / "notes.txt").write_text("notes")
            with tarfile.open(folder / "notes.tar.xz", "w:xz") as archive:
                archive.add(tmp_path / "notes.txt", "notes.txt")
            rows = load_dataset(name, data_dir=str(folder), split="train", num_proc=2)
            assert len(rows) == 5 and len(rows.cache_files) == processes, (name, kind)


def test_a_changed_archive_is_read_again(photos, tmp_path):
    path = pack(photos / "train", tmp_path / "a.zip", "zip")
    assert len(load_dataset(str(path), split="train")) == 10
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(photos / "test/dog/0.png", "dog/new.png")
    assert len(load_dataset(str(path), split="train")) == 11


def member(path, name, content=b"x", **fields):
    """A tar with one member of any kind."""
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo(name)
        for field, value in fields.items():
            setattr(info, field, value)
        info.size = 0 if fields.get("linkname") else len(content)
        archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "C:\\x.png", "..\\x.png"])
def test_names_that_lead_outside(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "x")
    for path in (tmp_path / "a.zip", member(tmp_path / "a.tar", name)):
        with pytest.raises(DataError, match=rf"{path.name}: member .* leads outside of the archive"):
            load_dataset(str(path))


@pytest.mark.parametrize(
    "kind, target", [(tarfile.SYMTYPE, "/etc/passwd"), (tarfile.CHRTYPE, ""), (tarfile.LNKTYPE, "gone.png")]
)
def test_links_and_devices(tmp_path, kind, target):
    path = member(tmp_path / "a.tar", "x.png", type=kind, linkname=target)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    for name in ("a.tar", "a.tar.gz"):
        with pytest.raises(DataError, match=f"{name}: x.png is a link"):
            load_dataset(str(tmp_path / name))


def test_links_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("x.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="a.zip: x.png is a link"):
        load_dataset(str(tmp_path / "a.zip"))


def test_a_file_of_two_names_is_stored_once_by_tar(tmp_path, save_image):
    save_image(tmp_path / "cat/1.png")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "cat/1.png", "cat/1.png")
        link = tarfile.TarInfo("dog/1.png")
        link.type, link.linkname = tarfile.LNKTYPE, "cat/1.png"
        archive.addfile(link)
    rows = load_dataset(str(tmp_path / "a.tar"), split="train")
    assert torch.equal(rows[0]["image"], rows[1]["image"]) and rows["label"][:] == [0, 1]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs(tmp_path, kind):
    (tmp_path / "bomb").mkdir()
    with open(tmp_path / "bomb/x.png", "wb") as file:
        file.truncate(80 << 20)
    path = pack(tmp_path / "bomb", tmp_path / f"a.{kind}", kind)
    with pytest.raises(DataError, match=rf"a.{kind}: x.png would grow from \d+ to \d+ bytes"):
        load_dataset(str(path))


def test_a_header_that_fills_the_memory(tmp_path):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(10240)))
    with pytest.raises(DataError, match="a.tar.gz cannot be read: it has a header of 1099511627776 bytes"):
        load_dataset(str(tmp_path / "a.tar.gz"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_names(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.png", "1")
        archive.writestr("x.png", "2")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("x.png"))
        archive.addfile(tarfile.TarInfo("./x.png"))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    for name in ("a.zip", "a.tar", "a.tar.gz"):
        with pytest.raises(DataError, match=f"{name} holds x.png twice"):
            load_dataset(str(tmp_path / name))


def test_encrypted(photos, tmp_path):
    path = pack(photos, tmp_path / "a.zip", "zip")
    content = bytearray(path.read_bytes())
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of encryption in both headers
        start = -1
        while (start := content.find(magic, start + 1)) >= 0:
            (flags,) = struct.unpack_from("<H", content, start + place)
            struct.pack_into("<H", content, start + place, flags | 1)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.zip: readme.txt is encrypted: unpack the archive"):
        load_dataset(str(path))


@pytest.mark.parametrize("kind", KINDS)
def test_cut_off(photos, tmp_path, kind):
    path = pack(photos, tmp_path / f"a.{kind}", kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DataError, match=rf"a.{kind}"):
        load_dataset(str(path))


@pytest.mark.parametrize("packed", [False, True])
def test_damage_between_members(photos, tmp_path, packed):
    """tarfile takes it for the end of the archive, so the rest would be silently missing."""
    path = pack(photos, tmp_path / "a.tar", "tar")
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        starts = [info.offset for info in archive]
    broken = bytearray(whole)
    broken[starts[5] + 3] ^= 0xFF
    for content, message in (
        (whole[: starts[5]], "cut off or damaged: empty header"),
        (whole[: starts[5] + 100], "cut off or damaged: truncated header"),
        (bytes(broken), "cut off or damaged: bad checksum"),
        (whole + whole, "continues after its end: separate tars that were joined"),
    ):
        damaged = tmp_path / ("d.tar.gz" if packed else "d.tar")
        damaged.write_bytes(gzip.compress(content) if packed else content)
        with pytest.raises(DataError, match=f"{damaged.name} .*{message}"):
            load_dataset(str(damaged))


def test_a_file_with_holes(tmp_path):
    """GNU tar --sparse leaves zeros out, so that the bytes of a member are not those of the file."""
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("x.png")
        info.size, info.pax_headers = 10, {"GNU.sparse.map": "0,5,15,5", "GNU.sparse.size": "20"}
        archive.addfile(info, io.BytesIO(b"0123456789"))
    with pytest.raises(DataError, match="a.tar: x.png is stored with holes: pack it without --sparse"):
        load_dataset(str(tmp_path / "a.tar"))


def test_cut_off_after_it_was_listed(photos, tmp_path):
    path = pack(photos, tmp_path / "a.tar", "tar")
    stream = load_dataset(str(path), split="train", streaming=True)
    os.truncate(path, 2000)
    with pytest.raises(DataError, match="a.tar, member .*cut off since it was listed"):
        list(stream)


def test_an_order_that_a_compressed_tar_does_not_have(tmp_path, save_image):
    for number in range(80):
        save_image(tmp_path / "d/images" / f"{number}.png")
        shutil.copytree(tmp_path / "d/images", tmp_path / "d/masks", dirs_exist_ok=True)
    for path in (tmp_path / "d/masks").iterdir():
        save_image(path, mode="L")
    for kind in ("zip", "tar"):
        assert len(load_dataset(str(pack(tmp_path / "d", tmp_path / f"a.{kind}", kind)), split="train")) == 80
    with pytest.raises(
        DataError, match="a.tar.gz is compressed as a whole and can only be read in its order.*unpack it"
    ):
        load_dataset(str(pack(tmp_path / "d", tmp_path / "a.tar.gz", "tar.gz")))


def test_a_copy_without_compression_is_made_once_and_stays_below_its_limit(tmp_path):
    content = os.urandom(5_000) + bytes(3_000_000)
    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(content))
    with (
        pytest.raises(ValueError, match=r"it grows from \S+ to more than 2,000,000 bytes"),
        gzip.open(packed) as stream,
    ):
        inflate(packed, stream, tmp_path / "copies", ".bin", limit=2_000_000)
    assert not any((tmp_path / "copies").iterdir())
    with gzip.open(packed) as stream:
        copy = inflate(packed, stream, tmp_path / "copies", ".bin", limit=4_000_000)
        assert copy.read_bytes() == content
        assert inflate(packed, stream, tmp_path / "copies", ".bin") == copy and stream.tell() == len(content)
    assert [copy] == list((tmp_path / "copies").iterdir())
