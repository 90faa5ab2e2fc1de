"""`on_error="skip"`: among good rows and one row per fault, the good rows stay, and each fault is listed."""

import io
import json
import re
import struct
import tarfile

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
from tfrecord.example_pb2 import BytesList, Example, Feature, Features, FloatList, Int64List
from tfrecord.writer import TFRecordWriter

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.formats import json_stream

GOOD = 3


def png(mode="RGB", size=(40, 30)):
    buffer = io.BytesIO()
    PIL.Image.fromarray(
        np.random.default_rng(1).integers(0, 2, (*size[::-1], 3)[: 3 if mode == "RGB" else 2], np.uint8)
    ).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def check(tmp_path, caplog, write_data):
    """Loads files with `on_error`, and compares the rows that stay and the faults that are listed."""

    def check(layout, files, messages, strip="", **options):
        write_data(files)
        options = {
            "data_dir": str(tmp_path / "data"),
            "split": "train",
            "cache_dir": str(tmp_path / "cache"),
            **options,
        }
        with pytest.raises(DataError):
            load_dataset(layout, **options)
        rows = load_dataset(layout, **options, on_error="skip", transform=None)
        assert [name.removeprefix(strip) for name in rows["image_id"]] == [f"good{number}" for number in range(GOOD)]
        [path] = (tmp_path / "cache").rglob("*.skipped.txt")
        lines = path.read_text().splitlines()
        for message in messages:
            assert len([line for line in lines if re.search(message, line)]) == 1, (message, lines)
        return lines

    return check


def good(number):
    return f"good{number}"


BOX = {"bbox": [1, 2, 3, 4], "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]], "area": 8, "iscrowd": 0}
COCO = {  # fault in an annotation -> message
    "category": ({"category_id": 9}, "there is no category 9"),
    "no category": ({"category_id": None}, "there is no category None"),
    "true": ({"category_id": True}, "there is no category True"),
    "list": ({"category_id": [1]}, r"there is no category \[1\]"),
    "outside": ({"bbox": [5, 5, 99, 5]}, "reaches out of the image"),
    "huge": ({"bbox": [10**400, 5, 9, 5]}, "bbox is"),
    "nan": ({"bbox": [float("nan"), 5, 9, 5]}, "is not a box in"),
    "inf": ({"bbox": [0, 0, float("inf"), 5]}, "bbox is"),
    "box of words": ({"bbox": ["1", 2, 3, 4]}, r"bbox is \['1', 2"),
    "no box": ({"bbox": None, "segmentation": None}, "bbox is None"),
    "area": ({"area": "large"}, "area is large, not a number"),
    "crowd": ({"iscrowd": "no"}, "iscrowd is no, not 0 or 1"),
    "annotation id of 80 bits": ({"id": 2**80}, "its id is neither text nor a whole number"),
    "polygon far out": ({"segmentation": [[1e9, 0, 0, 1e9, 5, 5]]}, "a polygon reaches further than"),
    "polygon nan": ({"segmentation": [[float("nan"), 0, 0, 5, 5, 5]]}, "invalid segmentation: a polygon"),
    "polygon inf": ({"segmentation": [[0, 0, 0, float("inf"), 5, 5]]}, "a polygon reaches further than"),
    "polygon without end": ({"segmentation": [[0, 0, 39, 29] * 100_000]}, "the border of its polygons is longer"),
    "polygon of words": ({"segmentation": [["1"] * 6]}, "a polygon is made of numbers"),
    "polygon of 5": ({"segmentation": [[1, 2, 3, 4, 5]]}, "at least three points"),
    "counts": ({"segmentation": {"size": [30, 40], "counts": [5, 5]}}, "its counts make 10 pixels, not 1200"),
    "negative counts": (
        {"segmentation": {"size": [30, 40], "counts": [1210, -10]}},
        "its counts are not within 0 to 1200",
    ),
    "counts of words": ({"segmentation": {"size": [30, 40], "counts": ["x"]}}, "its counts are not whole numbers"),
    "no counts": ({"segmentation": {"size": [30, 40], "counts": None}}, "its counts are NoneType"),
    "huge counts": ({"segmentation": {"size": [30, 40], "counts": [10**30]}}, "its counts are not within 0 to 1200"),
    "garbage": ({"segmentation": {"size": [30, 40], "counts": "\x01\x02"}}, "not compressed run lengths"),
    "cut off": (
        {"segmentation": {"size": [30, 40], "counts": "ooooooooo"}},
        "not compressed run lengths, or are cut off",
    ),
    "compressed too few": ({"segmentation": {"size": [30, 40], "counts": "11"}}, "its counts make 2 pixels"),
    "size": ({"segmentation": {"size": [10**6, 10**6], "counts": [10**12]}}, "its size is"),
    "size of words": ({"segmentation": {"size": "ab", "counts": []}}, "a run-length code has a size"),
}
IMAGES = {  # of an image
    "no file": ({"file_name": "gone.png"}, "there is no image gone.png"),
    "no name": ({"file_name": None}, "has no file_name$"),
    "name is a list": ({"file_name": ["x"]}, r"has no file_name, but \['x'\]"),
    "outside": ({"file_name": "../x.png"}, "there is no image ../x.png"),
    "other size": ({"width": 41}, "is 41 x 30 there"),
    "size of words": ({"width": "40"}, "is 40 x 30, which is not a size"),
    "float id": ({"id": 99.5}, r"an image has no id.*99\.5"),
    "bool id": ({"id": True}, "an image has no id.*True"),
    "large id": ({"id": 2**70}, "an image has no id.*11805"),
}


def test_coco(check):
    files = {f"{good(number)}.png": png() for number in range(GOOD)}
    images = [
        {"id": good(number), "file_name": f"{good(number)}.png", "width": 40, "height": 30} for number in range(GOOD)
    ]
    annotations = [{"id": number, "image_id": good(number)} | BOX for number in range(GOOD)]
    for number, (what, (change, _)) in enumerate(COCO.items(), GOOD):
        files[f"{number}.png"] = png()
        images.append({"id": what, "file_name": f"{number}.png", "width": 40, "height": 30})
        annotations.append({"id": number, "image_id": what} | BOX | change)
    for number, (change, _) in enumerate(IMAGES.values()):
        files[f"image{number}.png"] = png()
        images.append({"id": 1000 + number, "file_name": f"image{number}.png", "width": 40, "height": 30} | change)
    images += [5, None, ["x"], {"id": good(0), "file_name": "good0.png"}]
    annotations += [7, {"id": 5} | BOX, {"image_id": 5.0} | BOX, {"image_id": "nowhere"} | BOX]
    categories = [
        {"id": 1, "name": "cat"},
        {"id": 2},
        {"name": "x"},
        {"id": 3, "name": None},
        4,
        {"id": 1, "name": "dog"},
    ]
    files["set.json"] = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    messages = [f"image {what}, annotation .*{message}" for what, (_, message) in COCO.items()]
    messages += [message for _, message in IMAGES.values()]
    messages += [
        "an image has no id.*: 5$",
        "an image has no id.*: None",
        r"an image has no id.*: \['x'\]",
        "image id good0 occurs twice",
    ]
    messages += [
        "an annotation has no image_id.*: 7$",
        "an annotation has no image_id.*'id': 5",
        "an annotation has no image_id.*5.0",
    ]
    messages += [
        "annotations of image nowhere, which",
        "name of category 2 is None",
        "a category has no id",
        "name of category 3 is None",
    ]
    lines = check("coco", files, [*messages[:-3], messages[-3], messages[-1]], masks=True)
    lines = [line for line in lines if "images are in no annotation file" not in line]  # what faulty records mean
    assert len(lines) == len(messages) + 2  # a category that is a number, and one of two names


def test_coco_captions(check):
    files = {f"{name}.png": png() for name in ("good0", "good1", "good2", "none", "list")}
    images = [{"id": name.removesuffix(".png"), "file_name": name} for name in files]
    annotations = [{"image_id": good(number), "caption": "x"} for number in range(GOOD)]
    annotations += [{"image_id": "none"}, {"image_id": "list", "caption": ["x"]}]
    files["captions.json"] = json.dumps({"images": images, "annotations": annotations})
    check("coco", files, ["image none.* its caption is None", r"image list.* its caption is \['x'\]"])


ODD_JSON = {  # what JSON allows and we do not -> message
    "deep": ('{"a": ' + "[" * 40 + "]" * 40 + "}", "nested deeper"),
    "deeper": ('{"a": ' + '[{"]":' * 5000 + "1" + "}]" * 5000 + "}", "nested too deep"),
    "twice": ('{"a": 1, "a": "]}"}', "'a' occurs twice"),
    "half": ('{"a": "\\ud800"}', "surrogates"),
    "digits": ("9" * 5000, "4300 digits"),
    "large": ('{"a": [1e999, "\\"}]"]}', "too large"),
    "key": ('{"\\udc00": 1}', "surrogates"),
    "bytes": ('"\udcff"', "UTF-8"),
}


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_coco_elements_that_are_odd_json(check, monkeypatch, block):
    monkeypatch.setattr(json_stream, "BLOCK", block)
    names = [*map(good, range(GOOD)), *ODD_JSON]
    images = [json.dumps({"id": name, "file_name": f"{name}.png"}) for name in names]
    annotations = [json.dumps({"image_id": good(number)} | BOX) for number in range(GOOD)]
    categories = ['{"id": 1, "name": "cat"}']
    for name, (text, _) in ODD_JSON.items():
        annotations.append(f'{{"x": {text}, "image_id": "{name}"}}')
        images.append(f'{{"id": "x{name}", "x": {text}}}')
        categories.append(text)
    lists = {"info": [ODD_JSON["twice"][0]], "images": images, "annotations": annotations, "categories": categories}
    parts = [f'"{key}":[' + ",\n".join(items) + "]" for key, items in lists.items()]
    text = "{" + ",".join(parts) + "}"
    files = {f"{name}.png": png() for name in names} | {"set.json": text.encode("utf-8", "surrogateescape")}
    lines = check("coco", files, [])
    for name, (_, message) in ODD_JSON.items():
        expected = sum(message == other for _, other in ODD_JSON.values()) * 3 + (name == "twice")
        assert len([line for line in lines if re.search(f"set.json, line \\d+: .*{message}", line)]) == expected, (
            name,
            lines,
        )


def test_json_lists_of_odd_json(check):
    rows = [json.dumps({"name": f"{good(number)}.png", "image_id": good(number)}) for number in range(GOOD)]
    files = {f"{good(number)}.png": png() for number in range(GOOD)}
    texts = [text for text, _ in ODD_JSON.values()]
    files["list.json"] = f"[{','.join([*texts, *rows])}]".encode("utf-8", "surrogateescape")
    assert len(
        check(
            "csv_list", files, [message for _, message in ODD_JSON.values() if message != "surrogates"], label_column=""
        )
    ) == len(ODD_JSON)


def test_json_objects_of_odd_json():
    members = [f'"{name}": {text}' for name, (text, _) in ODD_JSON.items()] + ['"\\ud800": 1', '"good": 2']
    faults = Faults.gathered()
    found = json_stream.records(io.BytesIO(f"{{{','.join(members)}}}".encode("utf-8", "surrogateescape")), "x", faults)
    assert [element[:2] for element in found if element.value is not json_stream.FAULTY] == [("good", 2)]
    assert len(faults.notes) == len(ODD_JSON) + 1


def test_yolo(check):
    lines = {
        "words": ("a cat", "could not convert"),
        "three": ("0 .1 .1", "there are 3 numbers; a box has 5"),
        "class": ("1.5 .1 .1 .1 .1", "class 1.5"),
        "outside": ("0 .9 .9 .5 .5", "reaches out of"),
        "nan": ("0 nan .1 .1 .1", "is not a box in"),
        "large": ("123456 .1 .1 .1 .1", "class 123456"),
        "inf": ("0 inf .1 .1 .1", "reaches out of"),
        "larger": ("1e300 .1 .1 .1 .1", "class 1000"),
        "bytes": (b"\xff\xfe\x00", "not UTF-8"),
    }
    files, messages = {}, []
    for number in range(GOOD):
        files |= {f"images/{good(number)}.png": png(), f"labels/{good(number)}.txt": "0 .5 .5 .1 .1\n"}
    for name, (line, message) in lines.items():
        files |= {f"images/{name}.png": png(), f"labels/{name}.txt": line}
        messages.append(f"labels/{name}.txt.*{message}")
    files |= {"images/twice.png": png(), "images/twice.jpg": png()}
    check(
        "yolo",
        files,
        [*messages, "twice.jpg: another image has this stem", "twice.png: another image has this stem"],
        strip="images/",
    )


def test_voc(check):
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    text = f"<annotation><object><name>cat</name>{box}</object></annotation>"
    wrong = {
        "cut": (text[:-5], "cannot be read as xml"),
        "bytes": (b"\xff\xfe<", "cannot be read as xml"),
        "root": ("<a/>", "holds <a>"),
        "deep": ("<annotation>" + "<a>" * 100_000, "cannot be read as xml"),
        "number": (text.replace("9", "nine"), "xmax is 'nine'"),
        "nan": (text.replace("9", "nan"), "is not a box in"),
        "outside": (text.replace("9", "1e9"), "reaches out of"),
        "name": (text.replace("cat", ""), "object 1 has no name"),
        "box": (text.replace("bndbox", "box"), "has no bndbox"),
        "encoding": ('<?xml version="1.0" encoding="klingon"?>' + text, "cannot be read as xml"),
        "zero": (text + "\0", "cannot be read"),
        "size": (
            text.replace("<object>", "<size><width>inf</width><height>nan</height></size><object>"),
            "size is inf x nan",
        ),
    }
    files = {f"JPEGImages/{good(number)}.png": png() for number in range(GOOD)}
    files |= {f"Annotations/{good(number)}.xml": text for number in range(GOOD)}
    for name, (content, _) in wrong.items():
        files |= {f"JPEGImages/{name}.png": png(), f"Annotations/{name}.xml": content}
    files["Annotations/alone.xml"] = text
    check(
        "voc", files, [*(f"{name}.xml.*{message}" for name, (_, message) in wrong.items()), "there is no image alone"]
    )


def test_csv_list(check):
    faults = ["gone.png,1", '"",1', "good0.png,1", "../good1.png,2", "good0.png", "good1.png,2,3"]
    lines = ["name,image_id", *(f"{good(number)}.png,{good(number)}" for number in range(GOOD)), *faults]
    files = {f"{good(number)}.png": png() for number in range(GOOD)} | {"list.csv": "\n".join(lines) + "\n"}
    messages = [
        "there is no image gone.png",
        "the name of the image is missing",
        "good0.png is listed twice",
        "leads outside",
        "there are 1 values, not 2",
        "there are 3 values, not 2",
    ]
    check("csv_list", files, messages, label_column="")


@pytest.mark.parametrize("name", ["list.jsonl", "list.json"])
def test_json_lists(check, name):
    rows = [{"name": f"{good(number)}.png", "image_id": good(number)} for number in range(GOOD)]
    texts = [json.dumps(row) for row in rows] + [
        '{"name": "gone.png"}',
        "5",
        '{"name": "good0.png", "image_id": 7}',
        '{"name": ["x"]}',
        '{"x": 1}',
    ]
    if name == "list.jsonl":
        texts += [
            "{",
            '{"name": "a", "name": "b"}',
            '{"x": 1e999}',
            '{"y": "\\ud800"}',
            '{"z": ' + "[" * 5000 + "]" * 5000 + "}",
        ]
    files = {f"{good(number)}.png": png() for number in range(GOOD)}
    files[name] = "\n".join(texts) if name == "list.jsonl" else f"[{', '.join(texts)}]"
    messages = [
        "there is no image gone.png",
        "it is a int, not an object",
        "the field image_id is 7, unlike in",
        r"the field name is \['x'\]",
    ]
    messages += ["the name of the image is missing"]
    if name == "list.jsonl":
        messages += [
            "line 9: .*Expecting property",
            "line 10: .*'name' occurs twice",
            "line 11: .*too large",
            "line 12: .*surrogate",
            "line 13: .*nested",
        ]
    check("csv_list", files, messages, label_column="")


def test_mask_pairs(check):
    files = {f"{side}/{good(number)}.png": png("L") for side in ("images", "masks") for number in range(GOOD)}
    files |= {
        "images/size.png": png("L"),
        "masks/size.png": png("L", (9, 9)),
        "images/bytes.png": png("L"),
        "masks/bytes.png": b"x",
    }
    files |= {
        "images/alone.png": png("L"),
        "masks/lost.png": png("L"),
        "images/color.png": png(),
        "masks/color.png": png(),
    }
    messages = [
        "masks/size.png has 9 x 9 pixels",
        "unreadable image .*masks/bytes.png",
        "alone.png has no mask",
        "lost.png has no image",
    ]
    check("mask_pairs", files, [*messages, "masks/color.png holds colours"])


def test_image_pairs(check):
    files = {f"{side}/{good(number)}.png": png() for side in ("low", "high") for number in range(GOOD)}
    files |= {"low/alone.png": png(), "high/lost.png": png(), "low/bytes.png": b"x", "high/bytes.png": png()}
    check(
        "image_pairs",
        files,
        ["alone.png has no target", "lost.png has no input", "unreadable image low/bytes.png|low/bytes.png"],
    )


def test_webdataset(check, tmp_path):
    sound = {number: {"png": png(), "cls": b"1", "json": b'{"x": 1}'} for number in range(GOOD)}
    wrong = {
        "number": ({"cls": b"x"}, "is not the number of a class"),
        "large": ({"cls": b"999999"}, "class 999999 is not below 10000"),
        "json": ({"json": b"{"}, "broken json|broken .json"),
        "list": ({"json": b"[]"}, "list, not an object"),
        "type": ({"json": b'{"x": "y"}'}, "the field x is 'y'"),
        "deep": ({"json": b"[" * 5000}, "nested deeper"),
        "size": ({"json": b'{"x": %d}' % 2**70}, "too large for 64 bits"),
        "missing": ({"cls": None}, "has no .cls"),
        "image": ({"png": b"x"}, "unreadable image"),
        "surrogate": ({"json": b'{"\\udc00": 1}'}, "surrogates"),
    }
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "data/a.tar", "w") as archive:
        members = {good(number): members for number, members in sound.items()}
        members |= {name: sound[0] | change for name, (change, _) in wrong.items()}
        for name, parts in members.items():
            for suffix, content in parts.items():
                if content is not None:
                    info = tarfile.TarInfo(f"{name}.{suffix}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
    check(
        "webdataset",
        {},
        [message if name == "image" else f"sample {name}.*({message})" for name, (_, message) in wrong.items()],
    )


def test_a_yolo_list_that_is_not_utf8(check):
    files = {}
    for number in range(GOOD):
        files |= {f"images/{good(number)}.png": png(), f"labels/{good(number)}.txt": "0 .5 .5 .1 .1\n"}
    files["data.yaml"] = "names: [a]\ntrain: train.txt\n"
    names = [f"images/{good(number)}.png".encode() for number in range(GOOD)]
    files["train.txt"] = b"\n".join([b"images/\xff.png", *names, b"images/\xed\xb0\x80.png"])
    check("yolo", files, ["train.txt, line 1 is not text", "train.txt, line 5 is not text"], strip="images/")


@pytest.mark.parametrize("row", ['"gone.png,x', '"', 'x,"y'])
@pytest.mark.parametrize("place", [0, 1])
def test_a_quote_without_an_end(check, row, place):
    rows = [f"{good(number)}.png,{good(number)}" for number in range(GOOD)]
    files = {f"{good(number)}.png": png() for number in range(GOOD)}
    files["list.csv"] = "\n".join(["name,image_id", *rows[:place], row, *rows[place:]]) + "\n"
    check("csv_list", files, [f"list.csv, line {2 + place}: a quote in it has no end"], label_column="")


def load(tmp_path, layout, **options):
    return load_dataset(
        layout, data_dir=str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"), transform=None, **options
    )


@pytest.mark.parametrize(
    "labels", [np.array([b"a", b"b\xff", b"a", b"\xed\xb0\x80"]), np.array(["a", "\ud800", "a", "\udfff"])]
)
def test_array_labels_that_are_no_text(tmp_path, labels):
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data/a.npz", x=np.zeros((4, 5, 5), np.uint8), y=labels)
    with pytest.raises(DataError, match=r"a.npz\['y'\]: label of image 1: "):
        load(tmp_path, "arrays")
    rows = load(tmp_path, "arrays", on_error="skip")["train"]
    assert rows["label"][:] == [0, 0] and rows.features["label"].names == ["a"]


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.97])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["test.mat", "test_images.mat", "test_labels.mat", "test_32x32.mat"])
def test_a_matlab_file_that_is_cut_off(tmp_path, cut, packed, name):
    (tmp_path / "data").mkdir()
    images, labels = np.random.default_rng(1).integers(0, 255, (32, 32, 3, 6), np.uint8), np.arange(6) % 3 + 1
    for split in ("train", "test"):
        if name in ("test.mat", "test_32x32.mat"):
            parts = {name.replace("test", split): {"X": images, "y": labels}}
        else:
            parts = {f"{split}_images.mat": {"images": images}, f"{split}_labels.mat": {"labels": labels}}
        for part, content in parts.items():
            scipy.io.savemat(tmp_path / "data" / part, content, do_compression=packed)
    path = tmp_path / "data" / name
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    with pytest.raises(DataError, match=name):
        load(tmp_path, "mat")
    splits = load(tmp_path, "mat", on_error="skip")
    assert list(splits) == ["train"] and len(splits["train"]) == 6 and None not in splits["train"]["label"][:]


def record(**values):
    kinds = {
        int: lambda value: Feature(int64_list=Int64List(value=value)),
        float: lambda value: Feature(float_list=FloatList(value=value)),
    }
    features = {}
    for name, value in values.items():
        value = value if isinstance(value, list) else [value]
        features[name.replace("__", "/")] = kinds.get(
            type(value[0]), lambda value: Feature(bytes_list=BytesList(value=value))
        )(value)
    return Example(features=Features(feature=features)).SerializeToString()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "change, message",
    [
        ({"image": 5}, "'image' holds int64, but bytes in (most|the) records"),
        ({"image": b"x"}, "has no image: image holds something else"),
        ({"image": [png(), png()]}, "several images"),
        ({"label": b"cat"}, "'label' holds bytes"),
        ({"label": 1.5}, "'label' holds float"),
        ({"image__source_id": 7}, "'image/source_id' holds int64"),
        ({"label": 1.5, "odd": 7}, "'label' holds float"),
    ],
)
def test_tfrecord(check, first, change, message):
    sound = [{"image": png(), "label": number, "image__source_id": good(number).encode()} for number in range(GOOD)]
    rows = [sound[0] | {"image__source_id": b"odd"} | change]
    data = b"".join(frame(record(**row)) for row in (rows + sound if first else sound + rows))
    assert len(check("tfrecord", {"a.tfrecord": data}, [message])) == 1


def frame(data):
    length = struct.pack("<Q", len(data))
    return length + TFRecordWriter.masked_crc(length) + data + TFRecordWriter.masked_crc(data)


def test_images_of_a_table(tmp_path):
    depths = [
        {"bytes": content, "path": f"depth{number}.png"} for number, content in enumerate([png(), png()[:60], png()])
    ]
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(png())
    table = {
        "file_name": [f"{number}.png" for number in range(4)],
        "depth": pa.array([*depths, None], datasets.Image().pa_type),
    }
    pq.write_table(pa.table(table), tmp_path / "metadata.parquet")
    cache = tmp_path.with_name(f"{tmp_path.name}_cache")
    rows = load_dataset(str(tmp_path), split="train", on_error="skip", cache_dir=str(cache), transform=None)
    assert [row["depth"] and row["depth"].size for row in rows] == [(40, 30), (40, 30), None]
    [path] = cache.rglob("*.skipped.txt")
    assert "unreadable image" in path.read_text() and "depth1.png" in path.read_text()


def lists_of(name):
    """A named set of three images, with a list that also names one twice, one that is missing and one outside."""
    names = [f"a/{good(number)}" for number in range(GOOD)]
    lines = [*names, "a/gone", names[0], "a/../../../x"]
    if name == "dtd":
        files = {f"images/{path}.jpg": png() for path in names} | {
            f"labels/{part}1.txt": "a/good0.jpg\n" for part in ("val", "test")
        }
        return files | {"labels/train1.txt": "".join(f"{line}.jpg\n" for line in lines)}
    if name == "food101":
        files = {f"images/{path}.jpg": png() for path in names} | {
            "meta/classes.txt": "a\nb\n",
            "meta/test.txt": "a/good0\n",
        }
        return files | {"meta/train.txt": "\n".join([*lines, "c/good1"])}
    files = {f"data/images/{good(number)}.jpg": png() for number in range(GOOD)} | {"data/variants.txt": "a\n"}
    files |= {f"data/images_variant_{part}.txt": "good0 a\n" for part in ("val", "test")}
    return files | {"data/images_variant_train.txt": "".join(f"{line[2:]} a\n" for line in lines) + "good1 c\n"}


@pytest.mark.parametrize("name", ["dtd", "food101", "fgvc_aircraft"])
def test_lists_of_named_sets(tmp_path, name):
    for path, content in lists_of(name).items():
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    options = {
        "data_dir": str(tmp_path / "data"),
        "split": "train",
        "cache_dir": str(tmp_path / "cache"),
        "transform": None,
    }
    with pytest.raises(DataError, match="there is no image|belongs to no class|is not in"):
        load_dataset(name, **options)
    rows = load_dataset(name, **options, on_error="skip")
    assert len(rows) == GOOD and rows["label"][:] == [0] * GOOD
    [path] = (tmp_path / "cache").rglob("*.skipped.txt")
    for message in ("there is no image", "is listed twice", "leads outside of"):
        assert re.search(message, path.read_text())


PPM = b"P6 8 8 255 " + bytes(192)
SIGNS = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
FACES = "2\n1 1 4 3 0 0 0 0 0 0\n1 1 4 3 0 0 0 0 0 0\n"


def photos(*names):
    return {name: png("RGB", (8, 8)) for name in names}


def celeba(**lists):
    names = [f"{number}.jpg" for number in range(6)]
    texts = {
        "list_eval_partition.txt": "".join(f"{name} {part}\n" for name, part in zip(names, "000012")),
        "list_attr_celeba.txt": "6\nBald Male\n" + "".join(f"{name} -1 1\n" for name in names),
        "identity_CelebA.txt": "".join(f"{name} 7\n" for name in names),
        "list_landmarks_align_celeba.txt": "6\na b c d e f g h i j\n"
        + "".join(f"{name}{' 1 2' * 5}\n" for name in names),
    }
    for name, change in lists.items():
        file = next(file for file in texts if name in file)
        texts[file] = texts[file].replace(*change)
    return "celeba", photos(*(f"img_align_celeba/{name}" for name in names)) | texts


def pets(line):
    names = [f"Abyssinian_{number}" for number in range(4)]
    files = photos(*(f"images/{name}.jpg" for name in names))
    files |= {f"annotations/trimaps/{name}.png": png("L", (8, 8)) for name in names}
    lines = "".join(f"{name} 1 1 1\n" for name in names[:3])
    return "oxford_iiit_pet", files | {
        "annotations/test.txt": "Abyssinian_3 1 1 1\n",
        "annotations/trainval.txt": lines + line,
    }


def tiny(line):
    files = photos(
        *(f"val/images/{number}.JPEG" for number in range(4)), "train/n1/images/a.JPEG", "test/images/b.JPEG"
    )
    lines = "".join(f"{number}.JPEG\tn1\t0\t0\t8\t8\n" for number in range(3))
    return "tiny_imagenet", files | {
        "wnids.txt": "n1\n",
        "words.txt": "n1\ta\n",
        "val/val_annotations.txt": lines + line,
    }


def signs(line):
    files = {f"GTSRB/Final_Test/Images/{number}.ppm": PPM for number in range(4)}
    lines = "".join(f"{number}.ppm;8;8;1;1;6;6;3\n" for number in range(3))
    return "gtsrb", files | {"GTSRB/GT-final_test.csv": SIGNS + lines + line}


def faces(text):
    names = [f"0--Parade/{number}.jpg" for number in range(4)]
    lines = "".join(f"{name}\n{FACES}" for name in names[:2]) + text + f"{names[3]}\n{FACES}"
    return "wider_face", photos(*(f"WIDER_val/images/{name}" for name in names)) | {"wider_face_val_bbx_gt.txt": lines}


@pytest.mark.parametrize(
    "data, split, message",
    [
        (celeba(eval=("3.jpg 0", "3.jpg x")), "train", "eval_partition.txt, line 4: '3.jpg x' is not the name"),
        (celeba(eval=("3.jpg 0", "3.jpg 7")), "train", "eval_partition.txt, line 4: the numbers are 0 or 1 or 2"),
        (celeba(attr=("3.jpg -1", "3.jpg 0")), "train", "attr_celeba.txt, line 6: the numbers are -1 or 1"),
        (celeba(attr=("3.jpg -1", "3.jpg")), "train", "attr_celeba.txt, line 6: '3.jpg 1' is not the name"),
        (celeba(attr=("3.jpg -1", "2.jpg -1")), "train", "attr_celeba.txt, line 6: 2.jpg is listed twice"),
        (celeba(identity=("3.jpg 7", f"3.jpg {10**20}")), "train", "identity_CelebA.txt, line 4: '3.jpg 1000"),
        (celeba(landmarks=("3.jpg 1", "3.jpg é")), "train", "landmarks_align_celeba.txt, line 6: '3.jpg é"),
        (pets("junk line\n"), "train", "trainval.txt, row 4: 'junk line' is not a name and three numbers"),
        (pets("Abyssinian_9 2 1 1\n"), "train", "trainval.txt, row 4: .*Abyssinian is class 1 elsewhere"),
        (pets("junk_9 1 1 1\n"), "train", "trainval.txt, row 4: .*class 1 is Abyssinian elsewhere"),
        (
            pets("x\nAbyssinian_9 1 1 1\n"),
            "train",
            "trainval.txt, row (4: 'x' is not|5: there is no image Abyssinian_9)",
        ),
        (tiny("junk line\n"), "validation", "val_annotations.txt, line 4: 'junk line' has no tab"),
        (tiny("3.JPEG\tn7\n"), "validation", "val_annotations.txt, line 4: the class n7 is not in wnids.txt"),
        (signs("3.ppm;a\n"), "test", "GT-final_test.csv, line 5: "),
        (signs("3.ppm;8;8;1;1;6;6;99\n"), "test", "GT-final_test.csv, line 5: ClassId 99 is not"),
        (signs('"3.ppm;8;8;1;1;6;6;3\n'), "test", 'GT-final_test.csv, line 5: "3.ppm is not there'),
        (faces("0--Parade/2.jpg\nfour\n"), "validation", "gt.txt, line 10: four is not the number of faces"),
        (faces("0--Parade/2.jpg\n5\n"), "validation", "gt.txt, line 10: 5 is not the number of faces"),
        (faces("0--Parade/2.jpg\n0\n"), "validation", "gt.txt, line 10: (0|a count of 0)"),
        (faces("junk\n"), "validation", "gt.txt, line 10: 0--Parade/3.jpg is not the number"),
    ],
)
def test_a_line_of_a_list_of_a_named_set(tmp_path, write_data, data, split, message):
    name, files = data
    write_data(files)
    options = {"data_dir": str(tmp_path / "data"), "cache_dir": str(tmp_path / "cache"), "transform": None}
    with pytest.raises(DataError, match=message):
        load_dataset(name, **options)
    assert len(load_dataset(name, split=split, **options, on_error="skip")) == GOOD
    [path] = (tmp_path / "cache").rglob("*.skipped.txt")
    assert re.search(message, path.read_text())
