"""LMDB environments against torchvision's LSUN, against lmdb itself and against the pixels that were written."""

import io
import os
import random
import re
import shutil
import subprocess
import sys

import datasets
import lmdb
import numpy as np
import PIL.Image
import pytest
import torch
import torchvision

from dataset_scripts import DataError, ToTensor, load_dataset
from dataset_scripts.layouts.lmdb.environment import pack, unpack


def encode(seed, kind="PNG", mode="RGB"):
    """A random image of 9 x 7: encoded without loss, and its pixels."""
    shape = (7, 9) if mode == "L" else (7, 9, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return buffer.getvalue(), pixels


def write(path, values, subdir=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(path), map_size=1 << 26, subdir=subdir, lock=False) as environment:
        with environment.begin(write=True) as transaction:
            for key, value in values.items():
                assert transaction.put(key, value)


def write_lsun(folder, sizes):
    made = {}
    for number, (name, size) in enumerate(sizes.items()):
        keys = [random.Random(f"{name} {n}").randbytes(20).hex().encode() for n in range(size)]
        images = {key: encode((number, n), "WEBP") for n, key in enumerate(keys)}
        write(folder / name, {key: content for key, (content, _) in images.items()})
        made[name] = {key.decode(): images[key][1] for key in sorted(images)}
    return made


LSUN = {
    "bedroom_train_lmdb": 70,
    "church_outdoor_train_lmdb": 40,
    "bedroom_val_lmdb": 5,
    "church_outdoor_val_lmdb": 3,
    "test_lmdb": 4,
}


def check(rows, images):
    assert len(rows) == len(images)
    for row, (name, pixels) in zip(rows, images.items(), strict=True):
        assert row["image_id"] == name and torch.equal(row["image"], ToTensor()(pixels))


def test_lsun_equal_to_torchvision(tmp_path, caplog, monkeypatch):
    made = write_lsun(tmp_path / "lsun", LSUN)
    monkeypatch.chdir(tmp_path)  # torchvision leaves a cache there
    theirs = {}
    for split, names in {
        "train": ["bedroom_train", "church_outdoor_train"],
        "validation": ["bedroom_val", "church_outdoor_val"],
        "test": "test",
    }.items():
        dataset = torchvision.datasets.LSUN(str(tmp_path / "lsun"), classes=names)
        theirs[split] = [(ToTensor()(image), label) for image, label in dataset]
        for part in dataset.dbs:
            part.env.close()
    ours = load_dataset(str(tmp_path / "lsun"))
    assert list(ours) == ["train", "validation", "test"]
    assert "read as lmdb (5 LMDB environments such as bedroom_train_lmdb/data.mdb)" in caplog.text
    for split, rows in ours.items():
        assert rows.features["label"].names == ["bedroom", "church_outdoor"]
        for row, (image, label) in zip(rows, theirs[split], strict=True):
            assert torch.equal(row["image"], image) and row["label"] == (None if split == "test" else label)
    check(ours["train"], made["bedroom_train_lmdb"] | made["church_outdoor_train_lmdb"])
    assert "label" not in load_dataset("lmdb", data_dir=str(tmp_path / "lsun"), drop_labels=True, split="test").features


def test_classes_of_folders_and_single_files(tmp_path):
    pixels = {}
    for path in ("cat/train.lmdb", "cat/val.lmdb", "dog/train.lmdb", "dog/val.lmdb"):
        content, pixels[path] = encode(len(pixels))
        write(tmp_path / "pets" / path, {path.encode(): content}, subdir=False)
    rows = load_dataset(str(tmp_path / "pets"))
    assert {split: (part["label"][:], part["image_id"][:]) for split, part in rows.items()} == {
        "train": ([0, 1], ["cat/train.lmdb", "dog/train.lmdb"]),
        "validation": ([0, 1], ["cat/val.lmdb", "dog/val.lmdb"]),
    }
    check(rows["train"], {path: pixels[path] for path in ("cat/train.lmdb", "dog/train.lmdb")})
    single = load_dataset(str(tmp_path / "pets" / "cat"))
    assert list(single) == ["train", "validation"] and list(single["train"].features) == ["image", "image_id"]
    for shard in ("train_0.lmdb", "train_1.lmdb"):
        write(tmp_path / "shards" / shard, {shard.encode(): encode(1)[0]}, subdir=False)
    assert list(load_dataset(str(tmp_path / "shards"), split="train").features) == ["image", "image_id"]


def test_any_key(tmp_path):
    keys = [b"\0\0\0\1", b"\1\0\0\0", b"a", b"a\0", b"a\0\0", b"\xff" * 511, "ä".encode()]
    made = {key: encode(n, kind) for n, (key, kind) in enumerate(zip(keys, "PNG BMP TIFF WEBP PNG PNG PNG".split()))}
    made[b"\xff" * 511] = encode(9, mode="L")
    made[b"a\0\0"] = encode(8, mode="L")
    write(tmp_path / "data", {key: content for key, (content, _) in made.items()} | {b"length": b"7"})
    rows = load_dataset(str(tmp_path / "data"), split="train")
    names = {key: key.decode() if key in (b"a", "ä".encode()) else key.hex() for key in keys}
    check(rows, {names[key]: made[key][1] for key in sorted(keys)})
    with (
        lmdb.open(str(tmp_path / "data"), readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        stored = [value for key, value in transaction.cursor() if key != b"length"]
    rows = rows.with_format(None).cast_column("image", datasets.Image(decode=False))
    assert [row["image"]["bytes"] for row in rows] == stored
    assert [unpack(sample) for sample in pack(iter(keys), 3)] == [(3, key) for key in keys]
    assert len(pack(iter(()), 0)) == 0


def write_lines(path, count, first=0):
    texts = {f"image-{n:09}": f"Zeile {n + first}, «ok»" for n in range(1, count + 1)}
    images = {name: encode((first, n)) for n, name in enumerate(texts)}
    values = {name.encode(): content for name, (content, _) in images.items()}
    values |= {name.replace("image", "label").encode(): text.encode() for name, text in texts.items()}
    write(path, values | {b"num-samples": str(count).encode()})
    return {name: pixels for name, (_, pixels) in images.items()}, list(texts.values())


def test_text_recognition(tmp_path, caplog):
    made = {
        split: write_lines(tmp_path / folder, count, count)
        for split, (folder, count) in {"train": ("MJ/train", 150), "validation": ("MJ/val", 12)}.items()
    }
    sets = load_dataset(str(tmp_path))
    for split, (images, texts) in made.items():
        check(sets[split], images)
        assert sets[split]["text"][:] == texts
        assert list(sets[split].features) == ["image", "image_id", "text"]
    write(tmp_path / "MJ/val", {b"path-000000001": b"x", b"path-000000002": b"x"})
    load_dataset(str(tmp_path))
    assert "MJ/val/data.mdb: 2 keys are neither image nor text, and ignored" in caplog.text
    write(tmp_path / "bare", {b"num-samples": b"1", b"image-000000001": encode(1)[0]})
    assert list(load_dataset(str(tmp_path / "bare"), split="train").features) == ["image", "image_id"]


def varint(number):
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def datum(pixels=None, label=0, content=None):
    """A Datum as protobuf encodes it: raw (C, H, W) of BGR, or an encoded image."""
    data = content if pixels is None else np.ascontiguousarray(pixels.transpose(2, 0, 1)[::-1]).tobytes()
    sides = () if pixels is None else (pixels.shape[2], *pixels.shape[:2])
    shape = b"".join(key + varint(side) for key, side in zip((b"\x08", b"\x10", b"\x18"), sides))
    return (
        shape + b"\x22" + varint(len(data)) + data + b"\x28" + varint(label) + (b"\x38\x01" if pixels is None else b"")
    )


def test_caffe(tmp_path):
    raw = [np.random.default_rng(n).integers(0, 256, (140, 9, 3 if n % 2 else 1), dtype=np.uint8) for n in range(6)]
    write(tmp_path / "raw" / "train_lmdb", {b"%08d_a.png" % n: datum(pixels, 200 * n) for n, pixels in enumerate(raw)})
    rows = load_dataset(str(tmp_path / "raw"), split="train")
    assert rows.features["label"].num_classes == 1001 and rows["label"][:] == [0, 200, 400, 600, 800, 1000]
    check(rows, {f"{n:08}_a.png": pixels for n, pixels in enumerate(raw)})
    swapped = load_dataset("lmdb", data_dir=str(tmp_path / "raw"), split="train", channels="rgb")
    check(swapped, {f"{n:08}_a.png": pixels[:, :, ::-1] for n, pixels in enumerate(raw)})
    content, pixels = encode(5)
    write(
        tmp_path / "encoded" / "val_lmdb",
        {b"a": datum(content=content, label=3), b"b": datum(content=b"GIF?", label=1)},
    )
    with pytest.raises(DataError, match="val_lmdb/data.mdb, key b holds no encoded image: it starts with b'GIF[?]'"):
        load_dataset(str(tmp_path / "encoded"))
    rows = load_dataset(str(tmp_path / "encoded"), split="validation", on_error="skip")
    check(rows, {"a": pixels})
    assert rows["label"][:] == [3]
    with pytest.raises(DataError, match="channels='gbr' should be 'bgr' or 'rgb'"):
        load_dataset("lmdb", data_dir=str(tmp_path / "raw"), channels="gbr")
    write(tmp_path / "raw" / "train_lmdb", {b"zz": datum(raw[1], 2)[:-40]})
    with pytest.raises(DataError, match="key zz is not a Datum with pixels: field 4 is cut off"):
        load_dataset(str(tmp_path / "raw"))


def test_streams_processes_and_forks(tmp_path):
    made = write_lsun(tmp_path, {"bedroom_train_lmdb": 150, "tower_train_lmdb": 110})
    images = made["bedroom_train_lmdb"] | made["tower_train_lmdb"]
    two = load_dataset(str(tmp_path), split="train", num_proc=2, cache_dir=str(tmp_path / ".cache"))
    assert len(two.cache_files) == 2
    check(two, images)
    stream = load_dataset(str(tmp_path), split="train", streaming=True)
    assert stream.num_shards >= 64 and stream.features == two.features
    check(list(stream), images)
    half = iter(stream)
    next(half)  # the environment is open when the workers are forked
    rows = list(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2))
    check(sorted(rows, key=lambda row: list(images).index(row["image_id"])), images)
    next(half)
    for left, right in zip(stream, load_dataset(str(tmp_path), split="train", streaming=True), strict=True):
        assert left["image_id"] == right["image_id"] and torch.equal(left["image"], right["image"])
    context = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert len(list(context)) == len(images)


def test_a_stream_left_halfway_ends_quietly(tmp_path):
    write_lsun(tmp_path, {"train_lmdb": 5})
    code = (
        "import sys; from dataset_scripts import load_dataset; "
        "rows = iter(load_dataset(sys.argv[1], split='train', streaming=True)); next(rows)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0 and "Exception" not in result.stderr


def test_archives_have_to_be_unpacked(tmp_path):
    write_lsun(tmp_path / "lsun", {"church_outdoor_val_lmdb": 2})
    shutil.make_archive(str(tmp_path / "zips" / "church_outdoor_val_lmdb"), "zip", tmp_path / "lsun")
    for path in (tmp_path / "zips", tmp_path / "zips" / "church_outdoor_val_lmdb.zip"):
        with pytest.raises(DataError, match="data.mdb can be read only on disk: unpack .*church_outdoor_val_lmdb.zip"):
            load_dataset(str(path))


def test_environments_that_are_cut_off(tmp_path):
    write_lsun(tmp_path, {"train_lmdb": 90})
    path = tmp_path / "train_lmdb" / "data.mdb"
    whole = path.read_bytes()
    for size in (4096, 5000, 8192, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="data.mdb (cannot be opened|is cut off, copy it again)"):
            load_dataset("lmdb", data_dir=str(tmp_path))
    path.write_bytes(whole[:16] + b"\0" + whole[17:])
    assert load_dataset_kind(tmp_path) is None
    with pytest.raises(DataError, match="holds no LMDB environment"):
        load_dataset("lmdb", data_dir=str(tmp_path))


def load_dataset_kind(folder):
    from dataset_scripts.core.files.listing import Files
    from dataset_scripts.layouts.lmdb.lmdb import matches

    return matches(Files.of(folder))


def test_free_pages_may_be_missing_at_the_end(tmp_path):
    content, pixels = encode(1)
    for seed in range(60):
        rng, keys, path = random.Random(seed), [], tmp_path / str(seed) / "train"
        path.mkdir(parents=True)
        with lmdb.open(str(path), map_size=1 << 26, sync=False) as environment:
            for _ in range(rng.randint(1, 3)):
                with environment.begin(write=True) as transaction:
                    for _ in range(rng.randint(1, 300)):
                        if keys and rng.random() < 0.4:
                            transaction.delete(keys.pop(rng.randrange(len(keys))))
                        else:
                            keys.append(rng.randbytes(rng.randint(8, 60)))
                            transaction.put(keys[-1], content + bytes(rng.choice([10, 500, 3000, 9000])))
                    for key in keys[len(keys) // 4 :]:
                        transaction.delete(key)
                    del keys[len(keys) // 4 :]
            expected = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        if keys and (path / "data.mdb").stat().st_size < expected:
            break
    assert (path / "data.mdb").stat().st_size < expected, "no seed leaves such a file: the test tests nothing"
    check(load_dataset(str(path.parent), split="train"), {key.hex(): pixels for key in sorted(keys)})


@pytest.mark.parametrize(
    "values, message",
    [
        (
            {b"a": b"\x80\x04pickle"},
            r"key a holds neither an encoded image nor Caffe's Datum: it starts with b'\\x80\\x04pickle'",
        ),
        ({b"a": encode(1)[0], b"b": b"text"}, "data.mdb, key b holds no encoded image: it starts with b'text'"),
        ({b"length": b"0"}, "data.mdb holds no images"),
        ({}, "data.mdb holds no images"),
        ({b"num-samples": b"many"}, "num-samples is b'many', not a number"),
        (
            {
                b"num-samples": b"2",
                b"image-000000001": encode(1)[0],
                b"label-000000001": b"x",
                b"label-000000002": b"y",
            },
            "key image-000000002 is missing",
        ),
        (
            {b"num-samples": b"1", b"image-000000001": encode(1)[0], b"label-000000007": b"x"},
            "key label-000000001 is missing",
        ),
        (
            {b"num-samples": b"1", b"image-000000001": encode(1)[0], b"label-000000001": b"\xff"},
            "key label-000000001 is not text",
        ),
    ],
)
def test_faults_are_named(tmp_path, values, message):
    write(tmp_path / "train", values or {b"x": b""})
    if not values:
        with lmdb.open(str(tmp_path / "train")) as environment, environment.begin(write=True) as transaction:
            transaction.delete(b"x")
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path))


def test_different_kinds_and_environments_in_use(tmp_path):
    write(tmp_path / "a_train", {b"a": encode(1)[0]})
    write_lines(tmp_path / "b_train", 2)
    with pytest.raises(
        DataError, match="a_train/data.mdb holds images, but b_train/data.mdb holds texts: load them one by one"
    ):
        load_dataset(str(tmp_path))
    with lmdb.open(str(tmp_path / "a_train"), lock=False):
        with pytest.raises(DataError, match="a_train/data.mdb cannot be opened: .* already open"):
            load_dataset(str(tmp_path / "a_train"))


def test_skipping(tmp_path, caplog):
    images, texts = write_lines(tmp_path / "lines" / "train", 30)
    with lmdb.open(str(tmp_path / "lines" / "train")) as environment, environment.begin(write=True) as transaction:
        transaction.delete(b"label-000000003")
        transaction.put(b"image-000000005", encode(1)[0][:60])
        transaction.put(b"image-000000007", b"none")
    rows = load_dataset(str(tmp_path / "lines"), split="train", on_error="skip")
    gone = [2, 4, 6]
    check(rows, {name: pixels for n, (name, pixels) in enumerate(images.items()) if n not in gone})
    assert rows["text"][:] == [text for n, text in enumerate(texts) if n not in gone]
    assert "3 skipped, such as" in caplog.text
    listed = open(re.search(r"listed in (\S+\.skipped\.txt)", caplog.text)[1]).read()
    assert "key label-000000003 is missing" in listed and "key image-000000007 holds no encoded image" in listed
    assert "unreadable image train/image-000000005" in listed


def test_the_card(tmp_path, root, monkeypatch):
    write_lsun(tmp_path / "path/to/lsun", LSUN)
    write_lines(tmp_path / "path/to/text-lines/train", 3)
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", (root / "dataset_scripts/layouts/lmdb/README.md").read_text(), re.DOTALL)[
        1
    ]
    exec(code, scope := {})
    assert scope["ds"]["train"][1]["text"] == "Zeile 2, «ok»"


def test_without_the_package(tmp_path, monkeypatch):
    write_lsun(tmp_path, {"train_lmdb": 1})
    monkeypatch.setitem(sys.modules, "lmdb", None)  # as if it were not installed
    with pytest.raises(DataError, match=r"need the package lmdb: pip install 'dataset_scripts\[lmdb\]'"):
        load_dataset(str(tmp_path))


def test_a_folder_whose_name_is_not_utf8(tmp_path):
    values = {str(number).encode(): encode(number)[0] for number in range(3)}
    write(tmp_path / "written", values)
    folder = tmp_path / "set" / os.fsdecode(b"caf\xe9_train_lmdb")
    folder.parent.mkdir()
    (tmp_path / "written").rename(folder)
    for options in ({}, {"streaming": True}):
        rows = load_dataset("lmdb", data_dir=str(tmp_path / "set"), split="train", **options)
        assert [row["image_id"] for row in rows] == ["0", "1", "2"]
    with open(folder / "data.mdb", "r+b") as file:
        file.truncate(5000)
    with pytest.raises(DataError, match=r"caf.*xe9_train_lmdb/data.mdb cannot be opened: it is damaged or cut off"):
        load_dataset("lmdb", data_dir=str(tmp_path / "set"))
