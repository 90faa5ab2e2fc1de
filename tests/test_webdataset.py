"""WebDataset shards against the reader of datasets."""

import io
import json
import pickle
import re
import tarfile

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
import torch

from dataset_scripts import DataError, ToTensor, load_dataset
from dataset_scripts.core.builders import tables
from dataset_scripts.layouts.webdataset.webdataset import Members


def png(rng, size=(7, 5)):
    buffer = io.BytesIO()
    PIL.Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix[1:]
    with tarfile.open(path, f"w:{kind}" if kind in ("gz", "xz", "bz2") else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def sample(rng, number, key=None):
    key = key or f"{number:04}"
    return {
        f"{key}.png": png(rng, (5 + number % 4, 6)),
        f"{key}.cls": str(number * 3 % 7).encode(),
        f"{key}.txt": f"« {number} »\n".encode(),
        f"{key}.json": json.dumps({"width": number, "tags": ["a", "b"][: number % 3], "ok": number % 2 == 0}).encode(),
    }


@pytest.fixture
def shards(tmp_path):
    rng = np.random.default_rng(8)
    root = tmp_path / "shards"
    number = 0
    for name, count in (("train-000.tar", 6), ("train-001.tar", 5), ("val-000.tar", 4)):
        members = {}
        for _ in range(count):
            members |= sample(rng, number)
            number += 1
        write_shard(root / name, members)
    return root


def test_equal_to_the_reader_of_datasets(shards, caplog):
    sets = load_dataset(str(shards))
    assert "read as webdataset (3 tar shards of 15 samples, with 15 .cls, 15 .json, 15 .txt)" in caplog.text
    assert list(sets) == ["train", "validation"] and len(sets["train"]) == 11
    for split, pattern in (("train", "train-*.tar"), ("validation", "val-*.tar")):
        theirs = datasets.load_dataset("webdataset", data_files=str(shards / pattern), split="train", streaming=True)
        for row, other in zip(sets[split], theirs, strict=True):
            assert torch.equal(row["image"], ToTensor()(other["png"]))
            assert row["image_id"] == other["__key__"] and row["label"] == other["cls"]
            assert row["caption"] == other["txt"].strip()
            assert {name: row[name] for name in ("width", "tags", "ok")} == other["json"]
    assert sets["train"].features["label"].names == list("0123456")


def test_with_data_files_the_name_stays_that_of_datasets(shards):
    rows = load_dataset("webdataset", data_files=str(shards / "val-000.tar"), split="train")
    assert rows[0]["png"].shape == (3, 6, 8) and "__key__" in rows.features


def test_streaming_num_proc_and_compressed(shards, tmp_path):
    whole = load_dataset("webdataset", data_dir=str(shards), split="train")
    for path in sorted(shards.iterdir()):
        with tarfile.open(path) as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive}
        write_shard(tmp_path / "gz" / f"{path.name}.gz", members)
    for other in (
        load_dataset(str(shards), split="train", streaming=True),
        load_dataset(str(shards), split="train", num_proc=2, cache_dir=str(tmp_path / "two")),
        load_dataset(str(tmp_path / "gz"), split="train"),
        load_dataset(str(tmp_path / "gz"), split="train", streaming=True),
    ):
        for row, same in zip(whole, other, strict=True):
            assert torch.equal(row.pop("image"), same.pop("image")) and row == same
    single = load_dataset(str(shards / "val-000.tar"), split="train")
    assert len(single) == 4 and single[0]["image_id"] == "0011"


def test_several_images_and_names_of_classes(tmp_path):
    rng = np.random.default_rng(2)
    contents = {}
    members = {}
    for number in range(3):
        for side in ("input", "target"):
            contents[number, side] = members[f"x/{number}.{side}.PNG"] = png(rng)
        members[f"x/{number}.cls"] = str(number).encode()
    write_shard(tmp_path / "a.tar", members)
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\n")
    rows = load_dataset(str(tmp_path), split="train")
    assert rows.features["label"].names == ["ant", "bee", "cat"]
    for number, row in enumerate(rows):
        for side in ("input", "target"):
            assert torch.equal(row[side], ToTensor()(PIL.Image.open(io.BytesIO(contents[number, side]))))
        assert row["image_id"] == f"x/{number}" and row["label"] == number


def test_class_folders_in_a_tar_are_class_folders(tmp_path, caplog):
    rng = np.random.default_rng(3)
    write_shard(
        tmp_path / "photos.tar", {f"{name}/{number}.png": png(rng) for name in ("cat", "dog") for number in range(2)}
    )
    rows = load_dataset(str(tmp_path / "photos.tar"), split="train")
    assert rows.features["label"].names == ["cat", "dog"] and "read as image_folder" in caplog.text


@pytest.mark.parametrize(
    "change, message",
    [
        ({"0001.cls": b"two"}, "broken .cls: b'two' is not the number of a class"),
        ({"0001.cls": b"-1"}, "broken .cls: b'-1' is not the number of a class"),
        ({"0001.cls": b"99999999999"}, "broken .cls: b'99999999999' is not the number of a class (0 to 999999)"),
        ({"0001.cls": b""}, "broken .cls: b'' is not the number of a class"),
        ({"0001.cls": None}, "has no .cls, which others have"),
        ({"0001.json": b'{"width": '}, "broken .json: Expecting value"),
        ({"0001.json": b'{"width": ' + b"[" * 100_000}, "broken .json: it is nested deeper than 32"),
        ({"0001.json": b"[1]"}, "broken .json: it is a list, not an object"),
        ({"0001.txt": b"\xff\xfe"}, "broken .txt: it is not UTF-8 at byte 0"),
        ({"0001.png": None}, "has no image"),
        ({"0001.jpg": b"x"}, "has two members of one kind, 0001.png and 0001.jpg"),
        ({"0001.depth.png": b"x"}, "has 0001.depth.png, which others do not have"),
    ],
)
@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_faults(tmp_path, kind, change, message, caplog):
    rng = np.random.default_rng(4)
    members = {
        name: content
        for number in range(3)
        for name, content in (sample(rng, number) | change).items()
        if name.startswith(f"{number:04}")
    }
    write_shard(tmp_path / f"a.{kind}", {name: content for name, content in members.items() if content is not None})
    if kind == "tar":
        message = message.replace("0001.png and 0001.jpg", "0001.jpg and 0001.png")  # sorted
    with pytest.raises(
        DataError, match=re.escape(f"a.{kind}: sample 0001{' ' if message.startswith('has') else ': '}{message}")
    ):
        load_dataset(str(tmp_path))
    rows = load_dataset(str(tmp_path), split="train", on_error="skip")
    assert message in caplog.text and "1 skipped, such as:" in caplog.text
    assert rows["image_id"][:] == ["0000", "0002"]


@pytest.mark.parametrize("value", [b'{"width": "wide"}', b'{"width": %d}' % 2**80])
def test_fields_of_different_types(tmp_path, value):
    rng = np.random.default_rng(4)
    first, second = sample(rng, 0), sample(rng, 1) | {"0001.json": value}
    write_shard(tmp_path / "one/a.tar", first | second)
    with pytest.raises(
        DataError, match=r"one/a.tar: sample 0001: the field width is .*, unlike in .*a.tar: sample 0000"
    ):
        load_dataset(str(tmp_path / "one"))
    write_shard(tmp_path / "two/a.tar", first)
    write_shard(tmp_path / "two/b.tar", second)
    with pytest.raises(
        DataError, match="two/b.tar: sample 0001: the field width is .*, unlike in .*two/a.tar: sample 0000"
    ):
        load_dataset(str(tmp_path / "two"))


def test_members_in_any_order_of_a_packed_shard(tmp_path):
    """As `tar --sort=name` packs: json before txt, depth before the image. A packed tar is read from start to end."""
    rng = np.random.default_rng(5)
    members, depths = {}, {}
    for number in range(70):
        whole = sample(rng, number)
        depths[number] = png(rng)
        members |= dict(sorted((whole | {f"{number:04}.depth.png": depths[number]}).items()))
    for kind in ("tar", "tar.gz"):
        write_shard(tmp_path / kind / f"a.{kind}", members)
        rows = load_dataset(str(tmp_path / kind), split="train")
        assert list(rows.features)[:3] == ["image", "depth", "image_id"] and len(rows) == 70
        for number, row in enumerate(rows):
            assert torch.equal(row["image"], ToTensor()(PIL.Image.open(io.BytesIO(members[f"{number:04}.png"]))))
            assert torch.equal(row["depth"], ToTensor()(PIL.Image.open(io.BytesIO(depths[number]))))
            assert row["width"] == number and row["caption"] == f"« {number} »"


def test_shards_without_sidecars(tmp_path, caplog):
    rng = np.random.default_rng(6)
    for shard in range(2):
        write_shard(tmp_path / f"flat/shard-{shard:06}.tar", {f"{shard}{number}.png": png(rng) for number in range(3)})
        write_shard(tmp_path / f"classes/n0{shard}.tar", {f"{number}.png": png(rng) for number in range(3)})
    rows = load_dataset(str(tmp_path / "flat"), split="train")
    assert "read as webdataset (2 tar shards of 6 samples, numbered)" in caplog.text
    assert list(rows.features) == ["image", "image_id"] and rows["image_id"][:] == ["00", "01", "02", "10", "11", "12"]
    rows = load_dataset(str(tmp_path / "classes"), split="train")  # one tar per class, as in ImageNet
    assert rows.features["label"].names == ["n00", "n01"] and rows["label"][:] == [0] * 3 + [1] * 3
    write_shard(
        tmp_path / "pairs/a.tar",
        {f"{number}.{side}.png": png(rng) for number in range(3) for side in ("input", "label")},
    )
    rows = load_dataset(str(tmp_path / "pairs"), split="train")
    assert "read as webdataset (1 tar shards of 3 samples, with input, label_image images each)" in caplog.text
    assert list(rows.features) == ["input", "label_image", "image_id"]


def test_a_shard_beside_a_folder_of_its_name(tmp_path):
    rng = np.random.default_rng(11)
    for shard, name in enumerate(("a.tar", "a/b.tar")):
        write_shard(tmp_path / name, sample(rng, 2 * shard) | sample(rng, 2 * shard + 1))
    rows = load_dataset(str(tmp_path), split="train")
    assert rows["image_id"][:] == ["0002", "0003", "0000", "0001"] and rows["width"][:] == [2, 3, 0, 1]


def test_texts_that_are_boxes_and_texts_that_are_captions(tmp_path, caplog):
    """YOLO's labels lie beside their images as captions do: the text distinguishes them."""
    rng = np.random.default_rng(12)
    labels = [b"", b"1 0.5 0.25 0.5 0.5\n", b"0 0.25 0.5 0.5 0.25\n2 0.5 0.5 1 1\n"]
    captions = [b"3 cats, 0.5 dogs", b"", "« 1 0.5 0.25 »".encode()]
    for kind, texts in (("boxes", labels), ("captions", captions)):
        for name in ("a.tar", "b-000.tar.gz"):
            members = {
                f"{number}.{suffix}": content
                for number, text in enumerate(texts)
                for suffix, content in (("png", png(rng, (20, 16))), ("txt", text))
            }
            write_shard(tmp_path / f"{kind}-{name[0]}/{name}", members)
    for name in ("boxes-a", "boxes-b"):
        rows = load_dataset(str(tmp_path / name), split="train")
        assert [len(row["objects"]["bbox"]) for row in rows] == [0, 1, 2]
        assert rows[1]["objects"]["bbox"].tolist() == [[5, 0, 10, 8]]
    for name in ("captions-a", "captions-b"):
        assert load_dataset(str(tmp_path / name), split="train")["caption"][:] == [text.decode() for text in captions]
    named = load_dataset("webdataset", data_dir=str(tmp_path / "boxes-a"), split="train")
    assert named["caption"][:] == [text.decode().strip() for text in labels]


def test_labels_and_captions_as_they_are(tmp_path):
    """Labels with gaps stay as they are, a caption may be empty, and a label may be in json."""
    rng = np.random.default_rng(7)
    write_shard(
        tmp_path / "a/a.tar",
        {
            name: content
            for number in range(3)
            for name, content in {
                f"{number}.png": png(rng),
                f"{number}.cls": b" %d\n" % (number * 4),
                f"{number}.txt": b"x" * number,
            }.items()
        },
    )
    (tmp_path / "a/classes.txt").write_text("too\nfew\n")
    rows = load_dataset(str(tmp_path / "a"), split="train")
    assert rows["label"][:] == [0, 4, 8] and rows.features["label"].names == list("012345678")
    assert rows["caption"][:] == ["", "x", "xx"]
    for shard, name in enumerate(("cat", "ant")):
        write_shard(
            tmp_path / f"b/{shard}.tar",
            {"x/0.png": png(rng), "x/0.json": json.dumps({"label": name, "image": 5}).encode()},
        )
    rows = load_dataset(str(tmp_path / "b"), split="train")
    assert (
        rows.features["label"].names == ["ant", "cat"]
        and rows["label"][:] == [1, 0]
        and rows["json_image"][:] == [5, 5]
    )
    assert rows["image_id"][:] == ["x/0"] * 2


def test_a_chunk_of_many_samples_stays_small():
    paths = Members(pa.table({"image": [f"{number:08}.jpg" for number in range(100_000)]}))
    chunk = pickle.loads(pickle.dumps(paths[500:510]))
    assert [chunk[row] for row in range(len(chunk))] == [[f"{number:08}.jpg"] for number in range(500, 510)]
    assert len(pickle.dumps(paths[500:510])) < 2000


def test_a_shard_that_is_cut_off(shards):
    path = shards / "train-001.tar"
    path.write_bytes(path.read_bytes()[:4096])
    with pytest.raises(DataError, match="train-001.tar"):
        load_dataset(str(shards))


def test_the_example_of_the_card(shards, tmp_path, monkeypatch, root):
    code = re.search(
        r"```python\n(.*?)```", (root / "dataset_scripts/layouts/webdataset/README.md").read_text(), re.DOTALL
    ).group(1)
    (tmp_path / "path/to").mkdir(parents=True)
    shards.rename(tmp_path / "path/to/shards")
    monkeypatch.chdir(tmp_path)
    space = {}
    exec(code, space)
    assert next(iter(space["ds"]["train"]))["image"].shape == (3, 6, 5)


def test_more_text_than_a_column_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST_BYTES", 1000)
    rng = np.random.default_rng(3)
    for part in range(2):
        members = {}
        for number in range(4):
            members |= {f"{part}{number}.png": png(rng), f"{part}{number}.txt": bytes([97 + number]) * 300}
        write_shard(tmp_path / f"set/part-{part:03}.tar", members)
    rows = load_dataset(str(tmp_path / "set"), split="train", transform=None)
    assert rows.features["caption"] == datasets.Value("large_string")
    assert rows["caption"][:] == [letter * 300 for letter in "abcd"] * 2
    write_shard(
        tmp_path / "lists/part-000.tar", {"0.png": png(rng), "0.json": json.dumps({"x": ["y" * 2000]}).encode()}
    )
    with pytest.raises(
        DataError, match=r"lists: the field x has 2,\d+ bytes in lists or objects, .*: load the files in parts"
    ):
        load_dataset(str(tmp_path / "lists"))
