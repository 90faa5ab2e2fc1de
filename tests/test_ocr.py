"""Text in images, in the files of ICDAR, tesseract, TRDG and Kaggle, as they are written there."""

import zipfile

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.layouts.ocr.ocr import matches

SIZE = (640, 360)
QUADS = {  # ICDAR 2015, gt_img_1.txt: a byte order mark, and lines that end in CR LF
    "img_1": "\ufeff377,117,463,117,465,130,378,130,Genaxis Theatre\r\n493,115,519,115,519,131,493,131,[06]\r\n"
    "374,155,409,155,409,170,374,170,###\r\n",
    "img_2": "\ufeff100,10,200,20,198,40,98,30,12, Main St., No 5\r\n",
    "img_3": "\ufeff",
}
RECTANGLES = {  # ICDAR 2013: with commas in the test set, without in the training set
    "img_1": '38, 43, 320, 215, "Tiredness"\n275, 264, 363, 312, "say \\"hi\\""\n17, 264, 26, 271, "2013, 4"\n',
    "img_2": '158 128 411 181 "Footpath"\n443 128 501 169 "To"\n',
}


@pytest.fixture
def write(tmp_path, save_image):
    """Writes images and texts; returns the folder and the pixels."""

    def write(texts, image="images/{}.jpg", text="gt/gt_{}.txt", name="set", size=SIZE):
        pixels = {}
        for stem, content in texts.items():
            path = tmp_path / name / image.format(stem)
            save_image(path, size)
            pixels[stem] = np.asarray(PIL.Image.open(path))
            other = tmp_path / name / text.format(stem)
            other.parent.mkdir(parents=True, exist_ok=True)
            other.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name, pixels

    return write


def check_quads(rows, pixels):
    assert [row["image_id"].rpartition("/")[2] for row in rows] == ["img_1", "img_2", "img_3"]
    for row, stem in zip(rows, pixels):
        assert np.array_equal((row["image"].numpy() * 255).round(), pixels[stem].transpose(2, 0, 1))
    first, second, third = (row["objects"] for row in rows)
    assert first["text"] == ["Genaxis Theatre", "[06]", "###"] and first["ignore"].tolist() == [False, False, True]
    assert first["bbox"].tolist() == [[377, 117, 88, 13], [493, 115, 26, 16], [374, 155, 35, 15]]
    assert first["polygon"][0] == [377, 117, 463, 117, 465, 130, 378, 130] and first["area"][2] == 35 * 15
    assert first["category"].tolist() == [0, 0, 0]
    assert second["text"] == ["12, Main St., No 5"] and second["bbox"].tolist() == [[98, 10, 102, 30]]
    assert third["text"] == [] and third["bbox"].shape == (0, 4) and len(third["ignore"]) == 0


@pytest.mark.parametrize(
    "image, text",
    [
        ("images/{}.jpg", "gt/gt_{}.txt"),
        ("ch4_training_images/{}.jpg", "ch4_training_localization_transcription_gt/gt_{}.txt"),
        ("Images/{}.png", "Labels/{}.txt"),
        ("imgs/{}.jpg", "ann/{}.txt"),
        ("{}.jpg", "gt_{}.txt"),
        ("{}.jpg", "{}.txt"),
    ],
)
def test_quadrilaterals(write, caplog, image, text):
    folder, pixels = write(QUADS, image, text)
    rows = load_dataset(str(folder), split="train")
    assert "read as ocr" in caplog.text
    check_quads(rows, pixels)
    assert rows.features["objects"]["category"].feature.names == ["text"]


def test_named_zipped_streamed_and_in_splits(write, tmp_path):
    folder, pixels = write(QUADS)
    check_quads(load_dataset("ocr", data_dir=str(folder), split="train", num_proc=2), pixels)
    check_quads(list(load_dataset("ocr", data_dir=str(folder), split="train", streaming=True)), pixels)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path))
    check_quads(load_dataset(str(tmp_path / "set.zip"), split="train"), pixels)
    for split in ("train", "test"):
        both, pixels = write(QUADS, f"{split}/images/{{}}.jpg", f"{split}/gt/gt_{{}}.txt", "both")
    sets = load_dataset(str(both))
    assert list(sets) == ["train", "test"]
    check_quads(sets["test"], pixels)


def test_rectangles(write):
    folder, _ = write(RECTANGLES)
    first, second = (row["objects"] for row in load_dataset(str(folder), split="train"))
    assert first["text"] == ["Tiredness", 'say "hi"', "2013, 4"] and second["text"] == ["Footpath", "To"]
    assert first["bbox"].tolist() == [[38, 43, 282, 172], [275, 264, 88, 48], [17, 264, 9, 7]]
    assert second["bbox"].tolist() == [[158, 128, 253, 53], [443, 128, 58, 41]]
    assert second["polygon"][1] == [443, 128, 501, 128, 501, 169, 443, 169]


def test_scripts_of_mlt(write):
    lines = "0,1,9,1,9,8,0,8,Latin,hello, you\n10,1,19,1,19,8,10,8,Arabic,###\n"
    folder, _ = write({"tr_img_1": lines})
    objects = load_dataset(str(folder), split="train")[0]["objects"]
    assert objects["script"] == ["Latin", "Arabic"] and objects["text"] == ["hello, you", "###"]


def test_masks_of_words(write):
    folder, _ = write(QUADS)
    row = load_dataset("ocr", data_dir=str(folder), split="train", masks=True)[1]
    drawn = PIL.Image.new("1", SIZE)
    PIL.ImageDraw.Draw(drawn).polygon([100, 10, 200, 20, 198, 40, 98, 30], fill=1)
    assert row["objects"]["mask"].shape == (1, SIZE[1], SIZE[0])
    assert np.count_nonzero(row["objects"]["mask"][0].numpy() != np.asarray(drawn)) < 300


@pytest.mark.parametrize(
    "line, message",
    [
        ("1,2,3,4,5,6,7,word", r"gt/gt_b.txt, line 2: '1,2,3,4,5,6,7,word' has 7 numbers before the text, not the 8"),
        ("600,2,700,2,700,9,600,9,word", r"object 2 \(text\): \[600, 2, 100, 7\] .* reaches out of .*boxes=\"clip\""),
        (b"1,2,9,2,9,9,1,9,caf\xe9", "gt/gt_b.txt: it is not UTF-8 at byte"),
    ],
)
def test_faults_of_words(write, line, message):
    good = "1,2,9,2,9,9,1,9,one\n"
    folder, _ = write({"a": good, "b": good.encode() + (line if isinstance(line, bytes) else line.encode()), "c": good})
    with pytest.raises(DataError, match=message):
        load_dataset(str(folder))
    rows = load_dataset(str(folder), split="train", on_error="skip")
    assert [row["image_id"] for row in rows] == ["images/a", "images/c"]
    if "clip" in message:
        clipped = load_dataset("ocr", data_dir=str(folder), split="train", boxes="clip")[1]["objects"]
        assert clipped["bbox"][1].tolist() == [600, 2, 40, 7]


def test_images_without_words(write):
    folder, _ = write(QUADS)
    (folder / "gt/gt_img_2.txt").unlink()
    with pytest.raises(DataError, match="1 of 3 images have no annotation, such as images/img_2.jpg"):
        load_dataset(str(folder))
    (folder / "gt/gt_img_9.txt").write_text(QUADS["img_1"])
    with pytest.raises(DataError, match="gt_img_9.txt: there is no image img_9"):
        load_dataset(str(folder))


CURVES = {  # 14 points each, but for one of 4
    "0001": (
        [182, 43, 200, 20, 220, 12, 240, 9, 260, 8, 300, 9, 340, 14, 338, 60, 300, 50, 260, 45, 240, 46, 220, 50],
        "OLATHE, KS",
    ),
    "0002": ([10, 10, 90, 12, 88, 30, 9, 28], "###"),
}


def curve_xml(name, points, text):
    pts = "".join(f'<pts x="{x}" y="{y}" />' for x, y in zip(points[::2], points[1::2]))
    segs = ",".join(map(str, points))
    box = f'<box height="115" left="182" top="43" width="237"><label>{text}</label><segs>{segs}</segs>{pts}</box>'
    return f'<Annotations>\n  <image file="{name}.jpg">\n    {box}\n  </image>\n</Annotations>'


@pytest.fixture
def ctw(tmp_path, save_image):
    """CTW1500 as its authors pack it: xml for training, text with three more zeros for the test."""
    folder = tmp_path / "ctw1500"
    for path in ("ctw1500_train_labels", "gt_ctw1500"):
        (folder / path).mkdir(parents=True)
    for number, (name, (points, text)) in enumerate(CURVES.items(), 1001):
        save_image(folder / f"train_images/{name}.jpg", SIZE)
        save_image(folder / f"test_images/{number}.jpg", SIZE)
        (folder / f"ctw1500_train_labels/{name}.xml").write_text(curve_xml(name, points, text))
        (folder / f"gt_ctw1500/000{number}.txt").write_text(f"{','.join(map(str, points))},####{text}\n")
    return folder


def test_curves(ctw):
    sets = load_dataset(str(ctw), transform=None)
    assert list(sets) == ["train", "test"]
    for rows in sets.values():
        assert [row["objects"]["polygon"] for row in rows] == [[points] for points, _ in CURVES.values()]
        assert [row["objects"]["text"] for row in rows] == [[text] for _, text in CURVES.values()]
        assert [row["objects"]["ignore"] for row in rows] == [[False], [True]]
        points = np.array(CURVES["0001"][0]).reshape(-1, 2)
        assert rows[0]["objects"]["bbox"] == [[*points.min(0), *np.ptp(points, 0)]]
    assert [row["image_id"] for row in sets["test"]] == ["test_images/1001", "test_images/1002"]


@pytest.mark.parametrize(
    "path, old, new, message",
    [
        ("gt_ctw1500/0001001.txt", "182,", "", "line 1: .* has 23 numbers before ####, not x and y of each point"),
        ("gt_ctw1500/0001001.txt", "####", "", "line 1: .* has more numbers than the 8 of a quadrilateral: .*####"),
        ("ctw1500_train_labels/0001.xml", "<segs>182,", "<segs>", "box 1: its segs are .*, not x and y of each point"),
        ("ctw1500_train_labels/0001.xml", "0001.jpg", "0002.jpg", "0001.jpg by its own name, and about 0002.jpg by"),
        ("ctw1500_train_labels/0001.xml", "</box>", "", "ctw1500_train_labels/0001.xml: mismatched tag"),
    ],
)
def test_faults_of_curves(ctw, path, old, new, message):
    (ctw / path).write_text((ctw / path).read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        load_dataset(str(ctw))
    assert sum(map(len, load_dataset("ocr", data_dir=str(ctw), on_error="skip").values())) == 3


LINES = {"0001": "The quick brown", "0002": "fox, jumps", "0003": "über \u201cdie\u201d Ölkanne", "0004": "42"}


def check_lines(rows, pixels, texts):
    assert {row["image_id"].rpartition("/")[2]: row["text"] for row in rows} == texts
    for row in rows:
        assert np.array_equal(
            (row["image"].numpy() * 255).round(), pixels[row["image_id"].rpartition("/")[2]].transpose(2, 0, 1)
        )


def test_tesseract(write, caplog):
    folder, pixels = write({key: f"{text}\n" for key, text in LINES.items()}, "{}.png", "{}.gt.txt", size=(30, 9))
    (folder / "0001.box").write_text("T 0 0 3 9 0\n")
    (folder / "0001.lstmf").write_bytes(b"\0\1")
    check_lines(load_dataset(str(folder), split="train"), pixels, LINES)
    assert "read as ocr (4 of 4 images with their text in .gt.txt)" in caplog.text
    check_lines(load_dataset("ocr", data_dir=str(folder), split="train", num_proc=2), pixels, LINES)
    (folder / "0002.gt.txt").write_text("\n")
    with pytest.raises(DataError, match="0002.gt.txt holds no text"):
        load_dataset(str(folder))
    assert len(load_dataset(str(folder), split="train", on_error="skip")) == 3
    (folder / "0002.gt.txt").unlink()
    with pytest.raises(DataError, match="1 of 4 images have no annotation, such as 0002.png"):
        load_dataset(str(folder))


def test_ocropus(write, save_image):
    folder, pixels = write(LINES, "book/0001/{}.bin.png", "book/0001/{}.gt.txt", size=(30, 9))
    rows = load_dataset(str(folder), split="train")
    assert rows["text"] == list(LINES.values()) and rows["image_id"][0] == "book/0001/0001.bin"
    for key in LINES:
        save_image(folder / f"book/0001/{key}.png", (30, 9))
    rows = load_dataset(str(folder), split="train")
    assert rows["image_id"][0] == "book/0001/0001" and rows["text"] == list(LINES.values())


@pytest.mark.parametrize(
    "name, line",
    [
        ("labels.txt", "{}.png\t{}"),
        ("labels.txt", "{}.png {}"),
        ("gt.txt", 'images/{}.png, "{}"'),
        ("gt.txt", "images/{}.png\t{}"),
        ("rec_gt_train.txt", "data/images/{}.png\t{}"),
        ("words.csv", '{}.png,"{}"'),
        ("train.csv", '{}.png,"{}"'),
        ("words.tsv", "{}.png\t{}"),
    ],
)
def test_lists(write, caplog, name, line):
    folder, pixels = write(dict.fromkeys(LINES, ""), "images/{}.png", "x", size=(30, 9))
    (folder / "x").unlink()
    lines = [line.format(key, text) for key, text in LINES.items()]
    if name.endswith("sv"):
        mark = "," if name.endswith("csv") else "\t"
        lines.insert(0, mark.join(["FILENAME", "IDENTITY"] if name == "train.csv" else ["filename", "words"]))
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = load_dataset(str(folder), split="train")
    assert f"read as ocr (4 images, transcribed in {name})" in caplog.text
    check_lines(rows, pixels, LINES)


def test_splits_of_lists(write):
    folder, pixels = write(dict.fromkeys(LINES, ""), "images/{}.png", "x", size=(30, 9))
    (folder / "x").unlink()
    for split, keys in (("train", ["0001", "0002", "0003"]), ("val", ["0004"])):
        (folder / f"gt_{split}.txt").write_text("".join(f"{key}.png\t{LINES[key]} x\n" for key in keys))
    sets = load_dataset(str(folder))
    assert list(sets) == ["train", "validation"] and sets["validation"]["text"] == ["42 x"]
    for path in folder.glob("gt_*"):
        path.unlink()
    for split, keys in (("train_v2/train", ["0001", "0002", "0003"]), ("test_v2/test", ["0004"])):  # as on Kaggle
        for key in keys:
            (folder / split).mkdir(parents=True, exist_ok=True)
            (folder / f"images/{key}.png").rename(folder / f"{split}/{key}.png")
        rows = "".join(f"{key}.png,{LINES[key] if key != '0002' else ''}\n" for key in keys)
        (folder / f"written_name_{split[:-3].partition('_')[0]}_v2.csv").write_text(
            "FILENAME,IDENTITY\n" + rows.replace("42", "X")
        )
    sets = load_dataset("ocr", data_dir=str(folder))
    assert sets["train"]["text"][1] is None and sets["test"]["text"] == ["X"]


def test_faults_of_lists(write):
    folder, _ = write(dict.fromkeys(LINES, ""), "images/{}.png", "x", size=(30, 9))
    (folder / "x").unlink()

    def refuse(lines, message, count):
        (folder / "labels.txt").write_bytes(lines if isinstance(lines, bytes) else lines.encode())
        with pytest.raises(DataError, match=message):
            load_dataset(str(folder))
        assert len(load_dataset(str(folder), split="train", on_error="skip")) == count

    refuse(
        "0001.png\ta b\n0002.png\tc d\n0003.png\te f\n0009.png\tg\n",
        "labels.txt, line 4: there is no image 0009.png",
        3,
    )
    refuse(
        "0001.png\ta b\n0002.png\tc d\n0003.png\te f\n0001.png\tg\n", "labels.txt, line 4: 0001.png is listed twice", 3
    )
    refuse(
        "0001.png\ta b\n0002.png\tc d\n0003.png\te f\n0004.png\n",
        "line 4: '0004.png' is not the name of an image and",
        3,
    )
    refuse(b"0001.png\ta b\n0002.png\tc d\n0003.png\te f\n0004.png\t\xff\n", "line 4: it is not UTF-8 at byte", 3)
    refuse(
        "0001.png\ta b\n0002.png\tc d\n0003.png\te f\n", "1 of 4 images have no annotation, such as images/0004.png", 3
    )


def test_a_list_of_any_name(write):
    folder, pixels = write(dict.fromkeys(LINES, ""), "images/{}.png", "x", size=(30, 9))
    (folder / "x").unlink()
    (folder / "all.txt").write_text("".join(f"{key}.png\t{text}\n" for key, text in LINES.items()))
    rows = load_dataset("ocr", data_dir=str(folder), annotations="all.txt", split="train")
    check_lines(rows, pixels, LINES)
    (folder / "all.txt").unlink()
    (folder / "all.csv").write_text("id,said\n" + "".join(f'{key},"{text}"\n' for key, text in LINES.items()))
    rows = load_dataset("ocr", data_dir=str(folder), text_column="said", split="train")
    check_lines(rows, pixels, LINES)


def test_other_files_are_not_taken(tmp_path, save_image):
    """Classes, captions, boxes of objects and class lists belong to other layouts."""
    words = "cat dog cat dog".split()
    for number, texts in enumerate(
        (
            {"labels.txt": "".join(f"{n}.png {word}\n" for n, word in enumerate(words))},
            {"labels.txt": "".join(f"{n}.png {n}\n" for n in range(4))},
            {"labels.txt": "".join(f"{n} class{n}\n" for n in range(4))},
            {"train.txt": "".join(f"{n}.png word{n}\n" for n in range(4))},
            {"captions.txt": "".join(f"{n}.png\tA dog number {n}\n" for n in range(4))},
            {"train.csv": "id,label\n" + "".join(f"{n}.png,{word}\n" for n, word in enumerate(words))},
            {"train.csv": "image,caption\n" + "".join(f"{n}.png,dog {n}\n" for n in range(4))},
            {f"{n}.txt": f"A dog, number {n}" for n in range(4)},
            {f"{n}.txt": "0 0.5 0.5 0.1 0.1\n" for n in range(4)},
            {f"{n}.txt": "1 1 5 1 5 5 1 5 plane 0\n" for n in range(4)},
            {f"{n}.txt": "1,1,5,5,cat\n" for n in range(4)},
            {f"{n}.txt": "684,8,273,116,0,0,0,0\n" for n in range(4)},
            {"gt.txt": "1,1,912,484,97,109,0,7,1\n2,1,912,484,97,109,0,7,1\n"},
        )
    ):
        folder = tmp_path / str(number)
        for n in range(4):
            save_image(folder / f"{n}.png", (20, 10))
        for name, text in texts.items():
            (folder / name).write_text(text)
        assert matches(Files.of(folder)) is None, texts
