"""TFRecord files as the packages tfrecord and protobuf write them, against their reader and what was written."""

import gzip
import io
import random
import re
import shutil
import struct
import sys

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
from tfrecord.example_pb2 import BytesList, Example, Feature, Features, FloatList, Int64List, SequenceExample
from tfrecord.reader import tfrecord_loader
from tfrecord.writer import TFRecordWriter

from dataset_scripts import DataError, ToTensor, load_dataset
from dataset_scripts.core.formats.protobuf import parse_example


def pixels_of(*seed, size=(9, 7), channels=3):
    shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(pixels, kind="PNG", **options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def feature(values):
    values = values if isinstance(values, list) else [values]
    if values and isinstance(values[0], float):
        return Feature(float_list=FloatList(value=values))
    if values and isinstance(values[0], int):
        return Feature(int64_list=Int64List(value=values))
    return Feature(
        bytes_list=BytesList(value=[value.encode() if isinstance(value, str) else value for value in values])
    )


def serialize(row):
    return Example(features=Features(feature={key: feature(value) for key, value in row.items()})).SerializeToString()


def frame(data):
    """A record as the package tfrecord frames it."""
    length = struct.pack("<Q", len(data))
    return length + TFRecordWriter.masked_crc(length) + data + TFRecordWriter.masked_crc(data)


def write(path, rows, packer=open):
    path.parent.mkdir(parents=True, exist_ok=True)
    with packer(path, "wb") as file:
        file.write(b"".join(frame(row if isinstance(row, bytes) else serialize(row)) for row in rows))


NAMES = ["tench", "crane", "gold fish", "crane"]


def slim(split, number):
    """A row of TF-slim: labels from 1, 0 is the background."""
    label = number % 4 + 1
    pixels = pixels_of(len(split), number, size=(5 + number % 3, 8))
    row = {
        "image/encoded": encode(pixels, "BMP" if number % 2 else "PNG"),
        "image/class/label": label,
        "image/class/text": NAMES[label - 1],
        "image/filename": f"{split}_{number}.JPEG",
        "image/height": 8,
        "image/width": 5 + number % 3,
        "image/object/bbox/xmin": [],
    }
    return row, pixels


def write_slim(folder, sizes=(("train", 3, 40), ("validation", 1, 9))):
    made = {}
    for split, shards, count in sizes:
        made[split] = [slim(split, number) for number in range(shards * count)]
        for shard in range(shards):
            rows = [row for row, _ in made[split][shard * count : (shard + 1) * count]]
            write(folder / f"{split}-{shard:05}-of-{shards:05}", rows)
    return made


def check_slim(rows, made):
    for ours, (row, pixels) in zip(rows, made, strict=True):
        assert torch.equal(ours["image"], ToTensor()(pixels)) and ours["label"] == row["image/class/label"]
        assert ours["image_id"] == row["image/filename"] and ours["image_width"] == row["image/width"]


def test_classification_as_of_tf_slim(tmp_path, caplog):
    made = write_slim(tmp_path)
    sets = load_dataset(str(tmp_path))
    assert "read as tfrecord (4 shards of records such as train-00000-of-00003)" in caplog.text
    assert list(sets) == ["train", "validation"]
    for split, rows in sets.items():
        check_slim(rows, made[split])
        assert rows.features["label"].names == ["background", "tench", "crane (2)", "gold fish", "crane (4)"]
        assert "image_class_text" not in rows.features and rows.features["image_height"] == datasets.Value("int64")
    theirs = tfrecord_loader(
        str(tmp_path / "validation-00000-of-00001"),
        None,
        {"image/encoded": "byte", "image/class/label": "int", "image/filename": "byte"},
    )
    ours = sets["validation"].with_format(None).cast_column("image", datasets.Image(decode=False))
    for row, other in zip(ours, theirs, strict=True):
        assert row["image"]["bytes"] == bytes(other["image/encoded"]) and row["label"] == other["image/class/label"][0]
        assert row["image_id"] == bytes(other["image/filename"]).decode()
    (tmp_path / "train-00001-of-00003").unlink()
    check_slim(load_dataset(str(tmp_path), split="train"), made["train"][:40] + made["train"][80:])
    assert "only 2 of 3 shards are there, such as train-00000-of-00003" in caplog.text


def test_processes_streams_archives_and_gzip(tmp_path):
    made = write_slim(tmp_path / "plain")["train"]
    for path in (tmp_path / "plain").iterdir():
        (tmp_path / "gz").mkdir(exist_ok=True)
        (tmp_path / "gz" / path.name).write_bytes(gzip.compress(path.read_bytes()))
    shutil.copytree(tmp_path / "gz", tmp_path / "named")
    for path in (tmp_path / "named").iterdir():
        path.rename(path.with_name(path.name + ".gz"))
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "plain")
    shutil.make_archive(str(tmp_path / "packed"), "gztar", tmp_path / "gz")
    two = load_dataset(str(tmp_path / "plain"), split="train", num_proc=2, cache_dir=str(tmp_path / ".cache"))
    assert len(two.cache_files) == 2
    for folder in ("plain", "gz"):
        stream = load_dataset(str(tmp_path / folder), split="train", streaming=True)
        assert stream.features == two.features and stream.num_shards >= 64
        half = iter(stream)
        next(half)
        rows = list(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2))
        order = {row["image/filename"]: place for place, (row, _) in enumerate(made)}
        for again in (sorted(rows, key=lambda row: order[row["image_id"]]), stream):
            check_slim(again, made)
        assert next(half)["image_id"] == made[1][0]["image/filename"]
    check_slim(two, made)
    for name in ("named", "packed.zip", "packed.tar.gz"):
        check_slim(load_dataset(str(tmp_path / name), split="train"), made)


def test_a_record_that_starts_like_gzip(tmp_path):
    rest = 0x088B1F - len(serialize({"image": b"\xff\xd8\xff" + b"x" * 500_000}))
    row = serialize({"image": b"\xff\xd8\xff" + b"x" * (500_000 + rest)})
    write(tmp_path / "a.tfrecord", [row])
    assert (tmp_path / "a.tfrecord").read_bytes()[:3] == gzip.compress(b"")[:3]
    rows = (
        load_dataset(str(tmp_path), split="train").with_format(None).cast_column("image", datasets.Image(decode=False))
    )
    assert len(rows[0]["image"]["bytes"]) == 500_003 + rest


LABEL_MAP = """
# a comment
item { name: "/m/01" id: 7 display_name: 'guide dog' }
item {
  id: 90
  name: "cat"
}
item { id: 200 name: "never seen" }
"""


def detection(number, orientation=1):
    """A row of the TF Object Detection API, with boxes of whole pixels, and the expected row."""
    rng = random.Random(number)
    width, height = 30 + number, 20
    pixels = pixels_of(number, size=(width, height))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    boxes = []
    for _ in range(number % 4):
        x, y = rng.randrange(width - 3), rng.randrange(height - 3)
        boxes.append((x, y, rng.randint(1, width - x), rng.randint(1, height - y)))
    labels = [rng.choice([7, 90]) for _ in boxes]
    row = {
        "image/encoded": encode(pixels, "PNG", exif=exif),
        "image/width": width,
        "image/height": height,
        "image/source_id": str(number),
        "image/filename": f"{number}.png",
        "image/object/bbox/xmin": [x / width for x, _, _, _ in boxes],
        "image/object/bbox/ymin": [y / height for _, y, _, _ in boxes],
        "image/object/bbox/xmax": [(x + w) / width for x, _, w, _ in boxes],
        "image/object/bbox/ymax": [(y + h) / height for _, y, _, h in boxes],
        "image/object/class/label": labels,
        "image/object/class/text": [{7: "dog", 90: "cat"}[label] for label in labels],
        "image/object/difficult": [rng.randrange(2) for _ in boxes],
        "image/object/is_crowd": [rng.randrange(2) for _ in boxes],
        "image/object/area": [float(w * h) for _, _, w, h in boxes],
        "image/object/view": ["left"] * len(boxes),
        "image/object/weights": [0.5] * (len(boxes) + 1),
    }
    return row, pixels, boxes


@pytest.mark.parametrize("with_map", [True, False])
def test_boxes_as_of_the_object_detection_api(tmp_path, with_map):
    made = [detection(number) for number in range(12)]
    write(tmp_path / "pets_train.record-00000-of-00002", [row for row, _, _ in made[:7]])
    write(tmp_path / "pets_train.record-00001-of-00002", [row for row, _, _ in made[7:]])
    write(tmp_path / "pets_val.record", [row for row, _, _ in made[:4]])
    if with_map:
        (tmp_path / "label_map.pbtxt").write_text(LABEL_MAP)
    sets = load_dataset(str(tmp_path))
    assert list(sets) == ["train", "validation"] and len(sets["validation"]) == 4
    rows = sets["train"]
    names = ["guide dog", "cat", "never seen"] if with_map else ["dog", "cat"]
    objects = rows.features["objects"]
    assert objects["category"].feature.names == names
    assert set(objects) == {"bbox", "category", "difficult", "iscrowd", "area", "view"}
    assert rows.features["image_object_weights"] == datasets.List(datasets.Value("float32"))
    for number, (ours, (row, pixels, boxes)) in enumerate(zip(rows, made, strict=True)):
        assert torch.equal(ours["image"], ToTensor()(pixels))
        assert ours["image_id"] == str(number) and ours["image_filename"] == f"{number}.png"
        expected = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        assert torch.allclose(ours["objects"]["bbox"].as_subclass(torch.Tensor), expected, atol=1e-4)
        assert ours["objects"]["category"].tolist() == [
            {7: 0, 90: 1}[label] for label in row["image/object/class/label"]
        ]
        for item, key in {"difficult": "difficult", "iscrowd": "is_crowd"}.items():
            assert ours["objects"][item].tolist() == [bool(flag) for flag in row[f"image/object/{key}"]]
        assert ours["objects"]["area"].tolist() == row["image/object/area"]


@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])  # a half turn leaves no trace in the size
def test_boxes_are_turned_with_the_image(tmp_path, orientation):
    row, pixels, boxes = detection(3, orientation)
    write(tmp_path / "a.tfrecord", [row])
    (ours,) = load_dataset(str(tmp_path), split="train")
    for box, (x, y, w, h) in zip(ours["objects"]["bbox"].round().int().tolist(), boxes, strict=True):
        left, top, width, height = box
        cut = ours["image"][:, top : top + height, left : left + width].flatten(1)
        stored = ToTensor()(pixels)[:, y : y + h, x : x + w].flatten(1)
        assert {tuple(pixel) for pixel in cut.T.tolist()} == {tuple(pixel) for pixel in stored.T.tolist()}


def test_tensorflow_datasets(tmp_path, caplog):
    folder = tmp_path / "things" / "1.0.0"
    rows = {
        split: [
            {
                "image": encode(pixels_of(len(split), n)),
                "label": n % 3 if split != "unlabelled" else -1,
                "objects/bbox": [0.0, 1 / 3, 6 / 7, 2 / 3, 1 / 7, 0.0, 2 / 7, 1.0],
                "objects/label": [1, 0],
                "id": n,
            }
            for n in range(4)
        ]
        for split in ("train", "test", "unlabelled")
    }
    for split, part in rows.items():
        write(folder / f"things-{split}.tfrecord-00000-of-00001", part)
    (folder / "features.json").write_text("{}")
    (folder / "dataset_info.json").write_text("{}")
    (folder / "label.labels.txt").write_text("a\nb\nc\nd\n")
    (folder / "objects-label.labels.txt").write_text("wheel\ndoor\n")
    sets = load_dataset(str(folder))
    assert list(sets) == ["train", "test", "unlabelled"]
    assert sets["train"].features["label"].names == list("abcd")
    assert sets["train"].features["objects"]["category"].feature.names == ["wheel", "door"]
    assert sets["test"]["label"][:] == [0, 1, 2, 0] and sets["unlabelled"]["label"][:] == [-1] * 4
    for row in sets["train"]:
        boxes = row["objects"]["bbox"].as_subclass(torch.Tensor)
        assert torch.allclose(boxes, torch.tensor([[3.0, 0, 3, 6], [0, 1, 9, 1]]), atol=1e-5)
        assert row["objects"]["category"].tolist() == [1, 0]
    (folder / "label.labels.txt").write_text("a\nb\n")
    assert load_dataset(str(folder), split="train").features["label"].names == ["a", "b", "2"]
    assert "1 classes of label have no name, such as 2" in caplog.text


def test_any_feature_keeps_its_type(tmp_path):
    photo = [encode(pixels_of(n)) for n in range(4)]
    extreme = [-(2**63), 2**63 - 1, -1, 0]
    rows = [
        {
            "photo": photo[n],
            "image/class/label": [n, 3],
            "number": extreme[n],
            "numbers": extreme[: n + 1],
            "float": n / 8,
            "floats": [n / 8] * n,
            "text": f"größe {n}",
            "texts": ["ä"] * n,
            "raw": bytes([200, n]),
            "raws": [b"\xff"] * n,
            "a/b": n,
            "a_b": -n,
            "image_id": f"x{n}",
            "image/filename": f"f{n}",
        }
        for n in range(4)
    ]
    del rows[2]["number"], rows[1]["text"], rows[0]["raw"]
    write(tmp_path / "x.tfrecords", rows)
    loaded = load_dataset(str(tmp_path), split="train")
    kinds = {
        "number": datasets.Value("int64"),
        "float": datasets.Value("float32"),
        "text": datasets.Value("string"),
        "raw": datasets.Value("binary"),
    }
    for name, kind in kinds.items():
        assert loaded.features[name] == kind and loaded.features[f"{name}s"] == datasets.List(kind)
    assert loaded.features["label"] == datasets.List(datasets.ClassLabel(names=["0", "1", "2", "3"]))
    plain = loaded.with_format(None)
    for n, (ours, row) in enumerate(zip(plain, rows, strict=True)):
        assert np.array_equal(np.asarray(ours["image"]), pixels_of(n)) and ours["label"] == row["image/class/label"]
        for name in (*kinds, "float"):
            assert ours[name] == row.get(name) and ours[f"{name}s"] == row[f"{name}s"]
        assert {ours["a_b"], ours["a_b_"]} == {n, -n}
        assert ours["image_id"] == f"f{n}" and ours["image_id_"] == f"x{n}"


def test_options_and_labels_of_text(tmp_path):
    rows = [
        {"left": encode(pixels_of(n, 0)), "right": encode(pixels_of(n, 1)), "kind": "bc"[n % 2], "label": n}
        for n in range(5)
    ]
    write(tmp_path / "pairs.tfrec", rows)
    with pytest.raises(DataError, match="left, right hold images: choose one with image="):
        load_dataset(str(tmp_path))
    loaded = load_dataset("tfrecord", data_dir=str(tmp_path), image="right", label="kind", split="train")
    assert loaded.features["label"].names == ["b", "c"] and loaded["label"][:] == [0, 1, 0, 1, 0]
    assert list(loaded.features) == ["image", "label", "label_", "left"]
    for n, row in enumerate(loaded):
        assert torch.equal(row["image"], ToTensor()(pixels_of(n, 1))) and torch.equal(
            row["left"], ToTensor()(pixels_of(n, 0))
        )
    with pytest.raises(DataError, match="label='size' is not a feature; the features are kind, label, left, right"):
        load_dataset("tfrecord", data_dir=str(tmp_path), label="size")
    with pytest.raises(DataError, match="image='label' holds int64, not encoded images"):
        load_dataset("tfrecord", data_dir=str(tmp_path), image="label")


def test_labels_that_texts_do_not_name(tmp_path, caplog):
    rows = [
        {"image": encode(pixels_of(n)), "image/class/label": n % 2, "image/class/text": f"no {n}"} for n in range(4)
    ]
    write(tmp_path / "a" / "x.tfrecord", rows)
    loaded = load_dataset(str(tmp_path / "a"), split="train")
    assert loaded.features["label"].names == ["0", "1"] and loaded["image_class_text"][:] == [
        f"no {n}" for n in range(4)
    ]
    assert "image/class/label 0 is called no 0 and no 2" in caplog.text
    (tmp_path / "a" / "labels.txt").write_text("0:roses\n1:tulips\n")
    assert load_dataset(str(tmp_path / "a"), split="train").features["label"].names == ["roses", "tulips"]
    (tmp_path / "a" / "b").mkdir()
    (tmp_path / "a" / "b" / "labels.txt").write_text("0:roses\n1:daisies\n")
    with pytest.raises(DataError, match="/labels.txt names different classes than b/labels.txt: remove one"):
        load_dataset(str(tmp_path / "a"))
    write(tmp_path / "b" / "x.tfrecord", [{"image": encode(pixels_of(1)), "label": -5}])
    assert load_dataset(str(tmp_path / "b"), split="train").features["label"] == datasets.Value("int64")


@pytest.mark.parametrize("orientation", [1, 6])
def test_masks(tmp_path, orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    masks = [pixels_of(n, 7, channels=1) for n in range(3)]
    rows = []
    for n, mask in enumerate(masks):
        palette = PIL.Image.fromarray(mask, "P")
        palette.putpalette(random.Random(n).randbytes(768))
        buffer = io.BytesIO()
        palette.save(buffer, "PNG")
        rows.append(
            {"image/encoded": encode(pixels_of(n), exif=exif), "image/segmentation/class/encoded": buffer.getvalue()}
        )
    write(tmp_path / "train.tfrecord", rows)
    loaded = load_dataset(str(tmp_path), split="train")
    assert list(loaded.features) == ["image", "mask"]
    for n, row in enumerate(loaded):
        turn = (lambda array: np.rot90(array, -1)) if orientation == 6 else (lambda array: array)
        assert torch.equal(row["image"].as_subclass(torch.Tensor), ToTensor()(np.ascontiguousarray(turn(pixels_of(n)))))
        assert np.array_equal(row["mask"].numpy(), turn(masks[n]))
    write(
        tmp_path / "train.tfrecord",
        [{"image": encode(pixels_of(1)), "mask": encode(pixels_of(1, size=(4, 4), channels=1))}],
    )
    with pytest.raises(DataError, match="train.tfrecord, record 1: its mask has 4 x 4 pixels, but its image has 9 x 7"):
        load_dataset(str(tmp_path))
    write(tmp_path / "train.tfrecord", [{"image": encode(pixels_of(1)), "mask": encode(pixels_of(2))}])
    with pytest.raises(DataError, match="train.tfrecord, record 1: its mask holds colours, not ids"):
        load_dataset(str(tmp_path))


def test_what_is_no_tfrecord(tmp_path, save_image, caplog):
    save_image(tmp_path / "a" / "cat" / "1.png")
    (tmp_path / "a" / "train-00000-of-00002").write_text("some lines of text that are no records\n" * 9)
    assert list(load_dataset(str(tmp_path / "a"), split="train").features) == ["image", "label"]
    with pytest.raises(DataError, match="train-00000-of-00002, record 1: .* wrong: it is not a TFRecord file"):
        load_dataset("tfrecord", data_dir=str(tmp_path / "a"))
    with pytest.raises(DataError, match="holds no file called like a TFRecord shard"):
        load_dataset("tfrecord", data_dir=str(tmp_path / "a" / "cat"))
    write(tmp_path / "b" / "1-of.tfrecord", [{"image": encode(pixels_of(1))}])
    write(tmp_path / "b" / "0.tfrecord", [])
    (tmp_path / "b" / "notes.txt").write_text("x")
    assert len(load_dataset(str(tmp_path / "b"), split="train")) == 1
    assert "1 other files ignored, such as notes.txt" in caplog.text and "0.tfrecord holds no records" in caplog.text


GOOD = {"image": encode(pixels_of(1)), "label": 1}
BOX = {
    f"image/object/bbox/{side}": [value] for side, value in {"xmin": 0.1, "ymin": 0.1, "xmax": 0.5, "ymax": 0.5}.items()
}


@pytest.mark.parametrize(
    "row, message",
    [
        ({"label": 1}, "record 2 has no image: image is not there"),
        ({**GOOD, "image": []}, "record 2 has no image: image is not there"),
        ({**GOOD, "image": b"no image"}, "record 2 has no image: image holds something else"),
        ({**GOOD, "label": 1.5}, "record 2: feature 'label' holds float, but int64 in the records before it"),
        (
            SequenceExample(
                context=Features(feature={}), feature_lists={"feature_list": {"a": {}}}
            ).SerializeToString(),
            "record 2 is not a tf.train.Example: it is a SequenceExample",
        ),
        (b"hello", "record 2 is not a tf.train.Example: "),
        (b"\x0a\x0c\x0a\x0a\x0a\x01x\x12\x05\x0a\x03\x12\x01a", "record 2: feature 'x' is not a list of bytes"),
        (
            b"\x0a\x0a\x0a\x08\x0a\x01x\x12\x03\x22\x01\x00",
            "feature 'x' is of kind 4, which is not bytes, float or int64",
        ),
        (
            {**GOOD, **BOX, "image/object/bbox/xmax": [0.5, 0.6]},
            "record 2: .* don't agree: 1 xmin, 1 ymin, 2 xmax, 1 ymax",
        ),
        (
            {**GOOD, **BOX, "image/object/bbox/xmax": [1.5]},
            "record 2, object 1: .* reaches out of the image of 9 x 7 pixels",
        ),
        ({**GOOD, **BOX, "image/object/bbox/xmax": [0.0]}, "record 2, object 1: .* is not a box"),
        ({**GOOD, "objects/bbox": [0.1, 0.2, 0.3]}, "record 2: objects/bbox holds 3 numbers, not four per box"),
        (
            {**GOOD, **BOX, "image/object/class/label": [1, 2]},
            "record 2: it has 1 boxes, but 2 of image/object/class/label",
        ),
    ],
)
def test_faulty_records_are_named_and_skipped(tmp_path, caplog, row, message):
    write(tmp_path / "a.tfrecord", [GOOD, row, GOOD])
    with pytest.raises(
        DataError, match=f"a.tfrecord, {message}" if message.startswith("record") else message
    ) as caught:
        load_dataset(str(tmp_path))
    assert str(caught.value).count("record 2") == 1
    rows = load_dataset(str(tmp_path), split="train", on_error="skip")
    assert len(rows) == 2 and rows["label"][:] == [1, 1]
    listed = open(re.search(r"listed in (\S+\.skipped\.txt)", caplog.text)[1]).read()
    assert "1 skipped, such as" in caplog.text and listed.count("\n") == 1 and re.search(message, listed)


@pytest.mark.parametrize("packer", [open, gzip.open])
def test_damaged_files_are_named(tmp_path, packer):
    good = [frame(serialize(GOOD)) for _ in range(3)]
    size = len(good[0])

    def load(content, **options):
        with packer(tmp_path / "a.tfrecord", "wb") as file:
            file.write(content)
        return load_dataset("tfrecord", data_dir=str(tmp_path), **options)

    whole = b"".join(good)
    for place in (size + 12, size + 60, 2 * size - 1):  # the message, the image, the checksum
        changed = bytearray(whole)
        changed[place] ^= 64
        with pytest.raises(DataError, match="a.tfrecord, record 2: the checksum of the data is wrong"):
            load(bytes(changed))
        assert len(load(bytes(changed), split="train", on_error="skip")) == 2
    changed = bytearray(whole)
    changed[size + 1] ^= 64
    with pytest.raises(
        DataError, match="record 2: the checksum of its length is wrong: no record after it can be found"
    ):
        load(bytes(changed))
    assert len(load(bytes(changed), split="train", on_error="skip")) == 1
    for cut in (size + 5, size + 12, 2 * size - 30, 2 * size - 2):
        with pytest.raises(DataError, match="record 2: the file is cut off there"):
            load(whole[:cut])
    for length in (1 << 40, (1 << 64) - 1):  # lengths with a true checksum
        head = struct.pack("<Q", length)
        with pytest.raises(DataError, match="a.tfrecord.* (cut off|damaged after record)"):
            load(whole + head + TFRecordWriter.masked_crc(head) + b"x" * 100)
    with pytest.raises(DataError, match="has no record that can be read"):
        load(b"")


def test_gzip_that_is_cut_off(tmp_path):
    whole = gzip.compress(b"".join(frame(serialize({"image": encode(pixels_of(n))})) for n in range(40)))
    (tmp_path / "a.tfrecord.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a.tfrecord.gz is damaged after record \d+: Compressed file ended"):
        load_dataset(str(tmp_path))
    (tmp_path / "a.tfrecord.gz").write_bytes(whole[:5])
    with pytest.raises(DataError, match="is damaged after record 0|is not a TFRecord file|cut off"):
        load_dataset("tfrecord", data_dir=str(tmp_path))


def test_messages_against_protobuf():
    """Random messages, and each of them damaged: the same features, or a ValueError."""
    rng = random.Random(0)
    makers = [
        lambda: rng.randbytes(rng.choice([0, 3, 200])),
        lambda: struct.unpack("<f", struct.pack("<f", rng.gauss(0, 9)))[0],
        lambda: rng.choice([0, 1, -1, 127, 128, 2**63 - 1, -(2**63), rng.randrange(10**12)]),
    ]
    refused = 0
    for _ in range(300):
        row = {
            f"k{n}é" * n: [make() for _ in range(rng.randrange(5))] for n in range(5) for make in [rng.choice(makers)]
        }
        data = serialize(row)
        features = parse_example(memoryview(data))
        for name, values in row.items():
            assert [bytes(v) if isinstance(v, memoryview) else v for v in features.pop(name).values()] == values
        assert not features
        broken = bytearray(data)
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        try:
            for found in parse_example(memoryview(bytes(broken[: rng.randrange(len(broken)) + 1]))).values():
                found.values()
        except ValueError:
            refused += 1
    assert refused > 50


def test_lists_that_are_not_packed():
    ints = Feature(int64_list=Int64List(value=[1, -5, 300])).SerializeToString()
    assert ints[2:4] == b"\x0a\x0d"  # packed
    loose = b"\x08\x01\x08" + ints[5:15] + b"\x08" + ints[15:]
    floats = b"".join(b"\x0d" + struct.pack("<f", value) for value in (0.5, -2.0))
    entries = {"i": b"\x1a" + bytes([len(loose)]) + loose, "f": b"\x12" + bytes([len(floats)]) + floats}
    data = b"".join(
        b"\x0a" + bytes([len(value) + 5]) + b"\x0a\x01" + name.encode() + b"\x12" + bytes([len(value)]) + value
        for name, value in entries.items()
    )
    data = b"\x0a" + bytes([len(data)]) + data
    theirs = Example.FromString(data).features.feature
    ours = parse_example(memoryview(data))
    assert ours["i"].values() == list(theirs["i"].int64_list.value) == [1, -5, 300]
    assert ours["f"].values() == list(theirs["f"].float_list.value) == [0.5, -2.0]


def test_the_card(tmp_path, root, monkeypatch):
    write_slim(tmp_path / "path/to/imagenet")
    write(tmp_path / "path/to/pets/pets_train.record", [detection(number)[0] for number in range(4)])
    rows = [{"photo": encode(pixels_of(n)), "depth": encode(pixels_of(n, 1)), "kind": "ab"[n]} for n in range(2)]
    write(tmp_path / "path/to/mine/all.tfrecord", rows)
    monkeypatch.chdir(tmp_path)
    code = re.search(
        r"```python\n(.*?)```", (root / "dataset_scripts/layouts/tfrecord/README.md").read_text(), re.DOTALL
    )[1]
    exec(code, scope := {})
    assert scope["ds"]["train"].features["label"].names == ["a", "b"]


def test_without_the_package(tmp_path, monkeypatch):
    write(tmp_path / "a.tfrecord", [GOOD])
    monkeypatch.setitem(sys.modules, "google_crc32c", None)  # as if it were not installed
    with pytest.raises(DataError, match=r"need google-crc32c: pip install 'dataset_scripts\[tfrecord\]'"):
        load_dataset(str(tmp_path))
