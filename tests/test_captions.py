"""Images beside files of captions, against what was written and pandas' reader of json."""

import json
import re
import tarfile
import zipfile

import datasets
import numpy as np
import pandas as pd
import pytest
import torch

from dataset_scripts import DataError, ToTensor, load_dataset
from dataset_scripts.core.builders import layout
from dataset_scripts.core.files.listing import Files
from dataset_scripts.layouts.captions.captions import matches

CAPTIONS = ["a dog, «naïve»", "二匹の猫 🐈", "1girl, solo, 2024", "two\nlines", 'quoted "text", 4 5 6']


def write(folder, save_image, name, caption, suffix=".txt"):
    """Writes an image and its caption; returns the pixels."""
    pixels = save_image(folder / f"{name}.png")
    content = caption if suffix != ".json" else json.dumps(caption)
    (folder / f"{name}{suffix}").write_text(content, encoding="utf-8")
    return pixels


@pytest.mark.parametrize("suffix", [".txt", ".caption", ".TXT"])
@pytest.mark.parametrize("place", ["", "10_cat/", "train/a/b/"])
def test_texts(tmp_path, save_image, caplog, suffix, place):
    pixels = [
        write(tmp_path / place, save_image, f"im.{n}", f" \t{text}\r\n", suffix) for n, text in enumerate(CAPTIONS)
    ]
    rows = load_dataset(str(tmp_path), split="train")
    assert "read as captions (5 of 5 images with a text file of the same name)" in caplog.text
    assert list(rows.features) == ["image", "caption"] and rows["caption"] == CAPTIONS
    assert all(torch.equal(row["image"], ToTensor()(array)) for row, array in zip(rows, pixels, strict=True))


def test_split_folders(tmp_path, save_image):
    for split in ("train", "val", "test"):
        write(tmp_path / split / "deep", save_image, "1", f"of {split}")
    sets = load_dataset(str(tmp_path))
    assert {split: list(rows["caption"]) for split, rows in sets.items()} == {
        "train": ["of train"],
        "validation": ["of val"],
        "test": ["of test"],
    }
    write(tmp_path / "more", save_image, "1", "of none")
    with pytest.raises(
        DataError, match="more/1.png is in no split folder, while others are in train: move it into one"
    ):
        load_dataset(str(tmp_path))


def test_class_folders(tmp_path, save_image, caplog):
    """cats/1.jpg beside cats/1.txt: the folder is the class, as image_folder has it."""
    for split in ("train", "val"):
        for name in ("cats", "dogs/small"):
            write(tmp_path / f"set/{split}/{name}", save_image, "1", f"{name} of {split}")
    save_image(tmp_path / "set/test/9.png")
    (tmp_path / "set/test/9.txt").write_text("any")
    sets = load_dataset(str(tmp_path), transform=None)
    assert sets["train"].features["label"] == datasets.ClassLabel(names=["cats", "dogs/small"])
    for split in ("train", "validation"):
        labels = sets[split].features["label"].int2str(sets[split]["label"][:])
        assert [caption.partition(" ")[0] for caption in sets[split]["caption"]] == labels == ["cats", "dogs/small"]
    assert sets["test"]["label"][:] == [None]
    assert "no image of test is in a class folder: its labels are None" in caplog.text


def test_folders_that_are_no_classes(tmp_path, save_image, caplog):
    for folder in ("shards/00000", "shards/00001", "loose/a", "loose/b", "loose"):
        write(tmp_path / folder, save_image, "1", "text")
    assert "label" not in load_dataset(str(tmp_path / "shards"), split="train").features
    assert "label" not in load_dataset(str(tmp_path / "loose"), split="train").features
    assert "folders are not classes: 1.png is beside them, in none" in caplog.text


def test_a_field_called_label_beside_class_folders(tmp_path, save_image):
    for number, name in enumerate(("cats", "dogs")):
        write(tmp_path / name, save_image, "1", {"caption": name, "label": number}, ".json")
    rows = load_dataset(str(tmp_path), split="train")
    assert rows["json_label"][:] == rows["label"][:] == [0, 1] and rows["caption"][:] == ["cats", "dogs"]


def test_tables_of_long_captions(tmp_path, save_image, monkeypatch):
    """A table holds a bounded number of bytes, of captions as of images: its columns would overflow at 2 GB."""
    monkeypatch.setattr(layout, "TABLE", 5_000)
    texts = [f"{number} " + "é" * 3_000 for number in range(9)]
    for number, text in enumerate(texts):
        write(tmp_path, save_image, f"a{number}", text)
    for number in range(9, 640):  # so that ten rows are read at once
        write(tmp_path, save_image, f"b{number}", "short")
    rows = load_dataset(str(tmp_path), split="train", transform=None)
    assert sorted(rows["caption"])[:9] == texts
    assert max(chunk.nbytes for chunk in rows.data["caption"].chunks) < 5 * 6_100


def test_byte_order_mark(tmp_path, save_image):
    save_image(tmp_path / "1.png")
    (tmp_path / "1.txt").write_bytes("\ufeffüber".encode())
    assert load_dataset(str(tmp_path), split="train")["caption"] == ["über"]


def test_lines_are_captions(tmp_path, save_image):
    write(tmp_path, save_image, "1", "one bird\n\n  two birds \r\nthree")
    write(tmp_path, save_image, "2", "a flower")
    rows = load_dataset(str(tmp_path), split="train", lines=True)
    assert rows.features["captions"] == datasets.List(datasets.Value("string"))
    assert rows["captions"] == [["one bird", "two birds", "three"], ["a flower"]]


def img2dataset(folder, save_image, count=25):
    """The files of img2dataset's output_format="files"; returns the pixels."""
    rng, pixels = np.random.default_rng(1), {}
    for number in range(count):
        name, shard = f"{number:09}", folder / f"{number // 10:05}"
        fields = {
            "caption": f"no {number}",
            "url": f"http://x/{number}",
            "key": name,
            "status": "success",
            "error_message": None,
            "width": int(rng.integers(1, 99)),
            "similarity": [1, 0.25][number % 2],
            "nsfw": bool(rng.integers(2)),
            "exif": "{}",
            "tags": [f"t{number}"] * (number % 3),
            "size": {"w": number, "h": number / 4},
        }
        if number % 4 == 1:
            fields |= {"punsafe": 0.5, "exif": None}
        pixels[name] = write(shard, save_image, name, fields, ".json")
        (shard / f"{name}.txt").write_text(fields["caption"])
    (folder / "00000_stats.json").write_text('{"count": 10}')
    (folder / "00000.parquet").write_bytes(b"PAR1")
    return pixels


def test_img2dataset(tmp_path, save_image, caplog):
    pixels = img2dataset(tmp_path / "data", save_image)
    rows = load_dataset("captions", data_dir=str(tmp_path / "data"), split="train")
    assert "2 other files are of no matter, such as 00000.parquet" in caplog.text
    paths = sorted((tmp_path / "data").glob("0*/*.json"))
    theirs = pd.DataFrame([json.loads(path.read_bytes()) for path in paths]).astype(object)
    theirs = theirs.where(theirs.notna(), None)
    assert set(rows.features) == {"image", *theirs.columns}
    kinds = {"width": "int64", "similarity": "float64", "nsfw": "bool", "exif": "string", "punsafe": "float64"}
    assert all(rows.features[name] == datasets.Value(kind) for name, kind in kinds.items())
    for (_, expected), row in zip(theirs.iterrows(), rows, strict=True):
        image = row.pop("image")
        assert row == expected.to_dict() and torch.equal(image, ToTensor()(pixels[row["key"]]))


@pytest.mark.parametrize("field", ["caption", "text", "prompt"])
def test_json_alone(tmp_path, save_image, caplog, field):
    for number in range(3):
        write(
            tmp_path, save_image, str(number), {field: f"no {number} ", "image": "x.png", "n": 2**62 + number}, ".json"
        )
    rows = load_dataset(str(tmp_path), split="train")
    assert "read as captions (3 of 3 images" in caplog.text
    assert list(rows.features) == ["image", "caption", "json_image", "n"]
    assert rows["caption"] == ["no 0", "no 1", "no 2"] and rows["n"] == [2**62 + number for number in range(3)]


def test_json_where_there_is_no_text(tmp_path, save_image):
    write(tmp_path, save_image, "1", {"text": "of json", "a": 1}, ".json")
    write(tmp_path, save_image, "2", {"text": "of json", "a": 2}, ".json")
    (tmp_path / "2.txt").write_text("of text")
    write(tmp_path, save_image, "3", "only text")
    rows = load_dataset("captions", data_dir=str(tmp_path), split="train")
    assert rows["caption"] == ["of json", "of text", "only text"] and rows["a"] == [1, 2, None]


def test_fields_stay_where_all_have_texts(tmp_path, save_image):
    write(tmp_path, save_image, "1", {"text": "of json"}, ".json")
    (tmp_path / "1.txt").write_text("of text")
    rows = load_dataset("captions", data_dir=str(tmp_path), split="train")
    assert rows["caption"] == ["of text"] and rows["text"] == ["of json"]


WRONG = {  # message -> files
    "b.png has no caption": {"b.png": None},
    "c.txt has no image": {"c.txt": b"c"},
    "d.jpg and d.png are both the image of d: rename or remove one": {"d.jpg": None, "d.png": None, "d.txt": b"d"},
    "E.png has no caption, but there is e.txt, whose name differs in case": {"E.png": None, "e.txt": b"e"},
    "f.caption and f.txt are both the caption of f": {"f.png": None, "f.txt": b"f", "f.caption": b"f"},
    "g.txt is not UTF-8 at byte 7: save it as UTF-8": {"g.png": None, "g.txt": b"\xef\xbb\xbfgr\xc3\xbc\xfc\xdfe"},
    "h.txt is empty": {"h.png": None, "h.txt": b""},
    "i.txt holds no caption": {"i.png": None, "i.txt": b" \n"},
    r"j.json: invalid json: Expecting ',' delimiter: line 2 column 1": {"j.png": None, "j.json": b'{"caption": "j"\n'},
    "k.json holds a list, not an object": {"k.png": None, "k.json": b'["k"]'},
    "l.json: the field size is 'large', unlike in .*/a.json: ": {
        "l.png": None,
        "l.json": b'{"caption": "l", "size": "large"}',
    },
    "m.json holds no caption": {"m.png": None, "m.json": b'{"caption": null}'},
    "n.json: the field id is 9999": {"n.png": None, "n.json": b'{"caption": "n", "id": 99999999999999999999}'},
    "o.json: invalid json: .*surrogates not allowed": {"o.png": None, "o.json": b'{"caption": "\\ud800"}'},
    "p.json: invalid json: it is nested deeper than 32": {"p.png": None, "p.json": b"[" * 100000},
}


def lay_out(folder, save_image, files):
    write(folder, save_image, "a", {"caption": "a", "size": 3}, ".json")
    write(folder, save_image, "a2", "a2")
    for name, content in files.items():
        if content is None:
            save_image(folder / name)
        else:
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("message", WRONG)
def test_wrong_captions_are_named(tmp_path, save_image, message):
    lay_out(tmp_path, save_image, WRONG[message])
    with pytest.raises(DataError, match=message):
        load_dataset("captions", data_dir=str(tmp_path))


def test_wrong_captions_are_skipped(tmp_path, save_image, caplog):
    lay_out(
        tmp_path / "data", save_image, {name: content for files in WRONG.values() for name, content in files.items()}
    )
    options = {"data_dir": str(tmp_path / "data"), "split": "train", "cache_dir": str(tmp_path / "cache")}
    rows = load_dataset("captions", **options, on_error="skip")
    assert rows["caption"] == ["a", "a2"] and rows["size"] == [3, None]
    [path] = (tmp_path / "cache").rglob("*.skipped.txt")
    lines = path.read_text().splitlines()
    for message in [*WRONG, "e.txt has no image, but there is E.png"]:
        assert len([line for line in lines if re.search(message, line)]) == 1, message
    assert len(lines) == len(WRONG) + 1 and f"{len(lines)} skipped, such as" in caplog.text


def test_no_field_is_a_caption(tmp_path, save_image):
    write(tmp_path, save_image, "1", {"shapes": [], "imagePath": "1.png"}, ".json")
    with pytest.raises(DataError, match="1.json has no text in a field caption, text, prompt"):
        load_dataset("captions", data_dir=str(tmp_path))


def test_notes_are_ignored(tmp_path, save_image, caplog):
    write(tmp_path, save_image, "1", "one")
    for name in ("README.txt", "license.txt", "meta_cap.json"):
        (tmp_path / name).write_text("{}")
    assert load_dataset(str(tmp_path), split="train")["caption"] == ["one"]
    assert "3 other files are of no matter, such as README.txt" in caplog.text


def test_other_folders_are_not_taken(tmp_path, save_image):
    boxes = {
        "yolo": "0 0.5 0.5 0.25 1\n17 0.1 1e-05 0.3 0.25\n",
        "segments": "3 0.1 0.2 0.3 0.4 0.5 0.6\n",
        "kitti": "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n",
        "icdar": "38,43,920,43,920,215,38,215,Word\n",
    }
    for name, line in boxes.items():
        for number in range(5):
            write(tmp_path / name, save_image, str(number), line * (number % 3))
        assert matches(Files.of(tmp_path / name)) is None, name
    write(tmp_path / "yolo", save_image, "9", "a bird")
    assert matches(Files.of(tmp_path / "yolo")) == "6 of 6 images with a text file of the same name"
    for number in range(5):
        write(tmp_path / "labelme", save_image, str(number), {"shapes": [], "imagePath": f"{number}.png"}, ".json")
        save_image(tmp_path / "folders/cat" / f"{number}.png")
    (tmp_path / "folders/cat/0.txt").write_text("a note")
    for name in ("labelme", "folders"):
        assert matches(Files.of(tmp_path / name)) is None, name
    write(tmp_path / "shard", save_image, "1", "a bird")
    (tmp_path / "shards").mkdir()
    for name in ("shards/00000.tar", "one.tar"):
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.add(tmp_path / "shard", ".")
    assert matches(Files.of(tmp_path / "shards")) is None and matches(Files.of(tmp_path / "one.tar")) is None
    assert load_dataset("captions", data_dir=str(tmp_path / "one.tar"), split="train")["caption"] == ["a bird"]


def test_num_proc_streaming_and_zip(tmp_path, save_image):
    for number in range(70):
        fields = {"caption": f"no {number}", "even": number % 2 == 0}
        write(tmp_path / "data" / f"{number % 3}", save_image, f"{number:02}", fields, ".json")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in sorted((tmp_path / "data").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path))
    one = load_dataset(str(tmp_path / "data"), split="train", cache_dir=str(tmp_path / ".one"))
    two = load_dataset(str(tmp_path / "data"), split="train", cache_dir=str(tmp_path / ".two"), num_proc=2)
    zipped = load_dataset(str(tmp_path / "data.zip"), split="train")
    stream = load_dataset(str(tmp_path / "data"), split="train", streaming=True)
    assert len(two.cache_files) == 2 and stream.features == one.features
    assert sorted(one["caption"]) == sorted(f"no {number}" for number in range(70))
    for rows in zip(one, two, zipped, stream, strict=True):
        for row in rows:
            assert torch.equal(row["image"], rows[0]["image"]) and row["caption"] == rows[0]["caption"]
            assert row["even"] == (int(row["caption"][3:]) % 2 == 0)


def test_the_example_of_the_card(root, tmp_path, save_image, capsys):
    for number, caption in enumerate(CAPTIONS):
        write(tmp_path, save_image, str(number), caption)
    example = re.findall(
        r"```python\n(.*?)```", (root / "dataset_scripts/layouts/captions/README.md").read_text(), re.DOTALL
    )[1]
    exec(example.replace("path/to/data", str(tmp_path)), {})
    assert capsys.readouterr().out == "".join(f"{[(3, 7, 9)] * 2} {CAPTIONS[n : n + 2]}\n" for n in (0, 2))
