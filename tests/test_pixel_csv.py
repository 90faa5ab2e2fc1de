"""Tables of pixels in the forms of Kaggle, against the arrays that were written."""

import time
import zipfile

import numpy as np
import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.layouts.pixel_csv.pixel_csv import matches

HEADS = {
    "fashion": "label," + ",".join(f"pixel{n}" for n in range(1, 785)),
    "digits": "label," + ",".join(f"pixel{n}" for n in range(784)),
    "quoted": '"label",' + ",".join(f'"pixel{n}"' for n in range(784)),
    "pjreddie": "label," + ",".join(f"{y}x{x}" for y in range(1, 29) for x in range(1, 29)),
    "pandas": ",".join(map(str, range(785))),
    "mangled": ",".join(["0"] + ["0.1"] * 784),  # A_Z Handwritten Data.csv
    "none": None,
}


def make(count, size=(28, 28), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *size), np.uint8), np.arange(count) % 10


def write(path, images, labels, head):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.concatenate([labels[:, None], images.reshape(len(images), -1)], 1) if labels is not None else None
    rows = images.reshape(len(images), -1) if rows is None else rows
    lines = [",".join(map(str, row)) for row in rows.tolist()]
    path.write_text("\n".join(([head] if head else []) + lines) + "\n")


def same(rows, images, labels):
    assert len(rows) == len(images)
    raw = rows.with_format(None)
    for row, image in zip(raw, images):
        assert np.array_equal(np.asarray(row["image"]), image)
    if labels is not None:
        assert rows["label"] == labels.tolist() and rows.features["label"].names == list("0123456789")


@pytest.mark.parametrize("head", HEADS)
def test_heads(tmp_path, caplog, head):
    images, labels = make(20)
    write(tmp_path / "mnist_train.csv", images, labels, HEADS[head])
    write(tmp_path / "mnist_test.csv", images[:11], labels[:11], HEADS[head])
    sets = load_dataset(str(tmp_path))
    assert "read as pixel_csv (2 tables of 784 pixels a row, mnist_test.csv, mnist_train.csv)" in caplog.text
    assert list(sets) == ["train", "test"]
    same(sets["train"], images, labels)
    same(sets["test"], images[:11], labels[:11])


def test_kaggle_digit_recognizer(tmp_path):
    images, labels = make(30)
    write(tmp_path / "train.csv", images, labels, HEADS["digits"])
    write(tmp_path / "test.csv", images, None, HEADS["digits"].removeprefix("label,"))
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n2,0\n")
    sets = load_dataset(str(tmp_path))
    same(sets["train"], images, labels)
    same(sets["test"], images, None)
    assert sets["test"]["label"] == [None] * 30


def test_named_zipped_streamed_and_in_processes(tmp_path):
    images, labels = make(200)
    write(tmp_path / "data/train/a.csv", images, labels, HEADS["fashion"])
    write(tmp_path / "data/test/a.csv", images[:9], labels[:9], HEADS["fashion"])
    same(load_dataset("pixel_csv", data_dir=str(tmp_path / "data"), split="train", num_proc=2), images, labels)
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in (tmp_path / "data").rglob("*.csv"):
            archive.write(path, path.relative_to(tmp_path))
    same(load_dataset(str(tmp_path / "data.zip"), split="train"), images, labels)
    stream = load_dataset(str(tmp_path / "data"), split="test", streaming=True, transform=None)
    assert [np.asarray(row["image"]).tolist() for row in stream] == images[:9].tolist()


def test_colour_with_the_label_behind(tmp_path):
    """HAM10000's hmnist_28_28_RGB.csv, and its smaller sizes beside it."""
    images, labels = make(12, (28, 28, 3))
    head = ",".join(f"pixel{n:04}" for n in range(2352)) + ",label"
    rows = np.concatenate([images.reshape(12, -1), labels[:, None]], 1)
    (tmp_path / "hmnist_28_28_RGB.csv").write_text(
        "\n".join([head] + [",".join(map(str, row)) for row in rows.tolist()])
    )
    rows = load_dataset(str(tmp_path), split="train")
    assert np.array_equal(np.stack([np.asarray(row["image"]) for row in rows.with_format(None)]), images)
    assert rows["label"] == labels.tolist()
    small = ",".join(f"pixel{n:04}" for n in range(64)) + ",label\n" + ",".join(["7"] * 64) + ",1\n"
    (tmp_path / "hmnist_8_8_L.csv").write_text(small)
    with pytest.raises(DataError, match="holds 2 data sets, hmnist-28-28-RGB, hmnist-8-8-L: choose one"):
        load_dataset(str(tmp_path))
    assert load_dataset("pixel_csv", "hmnist-8-8-L", data_dir=str(tmp_path), split="train")[0]["image"].shape == (
        1,
        8,
        8,
    )


def test_emnist_is_turned_and_mapped(tmp_path, caplog):
    images, labels = make(20)
    write(tmp_path / "emnist-digits-train.csv", images, labels, None)
    write(tmp_path / "emnist-digits-test.csv", images, labels, None)
    (tmp_path / "emnist-digits-mapping.txt").write_text("".join(f"{n} {48 + n}\n" for n in range(10)))
    same(load_dataset(str(tmp_path), split="train"), images.transpose(0, 2, 1), labels)
    assert "turned upright" in caplog.text
    kept = load_dataset("pixel_csv", data_dir=str(tmp_path), split="test", transpose=False)
    same(kept, images, labels)


EMOTIONS = ("Training", "PublicTest", "PrivateTest", "Training")


@pytest.mark.parametrize("head", ["emotion,pixels,Usage", "emotion, Usage, pixels", '"emotion","pixels","Usage"'])
def test_fer2013(tmp_path, head):
    images, labels = make(8, (48, 48))
    labels %= 7
    lines = []
    for place, (image, label) in enumerate(zip(images, labels)):
        pixels, usage = " ".join(map(str, image.ravel())), EMOTIONS[place % 4]
        lines.append(f"{label},{usage},{pixels}" if " " in head else f"{label},{pixels},{usage}")
        lines[-1] = f'{label},"{pixels}","{usage}"' if '"' in head else lines[-1]
    (tmp_path / "fer2013.csv").write_text("\n".join([head, *lines]) + "\n")
    sets = load_dataset(str(tmp_path))
    for split, places in (("train", [0, 3, 4, 7]), ("validation", [1, 5]), ("test", [2, 6])):
        assert sets[split]["label"] == labels[places].tolist()
        raw = [np.asarray(row["image"]) for row in sets[split].with_format(None)]
        assert np.array_equal(np.stack(raw), images[places])


def test_other_columns(tmp_path):
    """UTKFace's age_gender.csv."""
    images, _ = make(3, (48, 48))
    lines = [f"{20 + n},{n / 2},face{n}.jpg,{' '.join(map(str, image.ravel()))}" for n, image in enumerate(images)]
    (tmp_path / "age_gender.csv").write_text("age,score,img_name,pixels\n" + "\n".join(lines))
    rows = load_dataset(str(tmp_path), split="train")
    assert rows["age"] == [20, 21, 22] and rows["score"] == [0, 0.5, 1] and rows["img_name"][2] == "face2.jpg"
    assert {name: feature.dtype for name, feature in rows.features.items() if name != "image"} == {
        "age": "int64",
        "score": "float64",
        "img_name": "string",
    }


def test_letters_and_sizes(tmp_path):
    images, _ = make(4, (20, 28))
    letters = ["b", "a", "c", "a"]
    head = "letter," + ",".join(f"pixel{n}" for n in range(560))
    lines = [f"{letter},{','.join(map(str, image.ravel()))}" for letter, image in zip(letters, images)]
    (tmp_path / "train.csv").write_text("\n".join([head, *lines]))
    with pytest.raises(DataError, match=r"train.csv: 560 pixels are no square: pass size=\(height, width\)"):
        load_dataset(str(tmp_path))
    rows = load_dataset("pixel_csv", data_dir=str(tmp_path), split="train", size=(20, 28))
    assert rows.features["label"].names == ["a", "b", "c"] and rows["label"] == [1, 0, 2, 0]
    assert np.array_equal(np.asarray(rows.with_format(None)[2]["image"]), images[2])
    with pytest.raises(DataError, match=r"560 pixels are not size=\(20, 20\), in grey or in colour"):
        load_dataset("pixel_csv", data_dir=str(tmp_path), size=(20, 20))
    with pytest.raises(DataError, match="size=5 is not"):
        load_dataset("pixel_csv", data_dir=str(tmp_path), size=5)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda fields: [*fields[:5], "256", *fields[6:]],
            "mnist_train.csv, row 3: pixel 4 is '256', not a whole number",
        ),
        (
            lambda fields: [*fields[:5], "-1", *fields[6:]],
            "mnist_train.csv, row 3: pixel 4 is '-1', not a whole number",
        ),
        (lambda fields: [*fields[:5], "x", *fields[6:]], "mnist_train.csv, row 3: pixel 4 is 'x', not a whole number"),
        (lambda fields: [*fields[:5], "0.5", *fields[6:]], "mnist_train.csv, row 3: pixel 4 is '0.5', not a whole"),
        (lambda fields: fields[:-1], "mnist_train.csv, row 3: it has 783 pixels, others 784"),
        (lambda fields: [*fields, "0"], "mnist_train.csv, row 3: it has 785 pixels, others 784"),
    ],
)
def test_faults(tmp_path, change, message):
    images, labels = make(20)
    path = tmp_path / "mnist_train.csv"
    write(path, images, labels, HEADS["digits"])
    lines = path.read_text().splitlines()
    lines[3] = ",".join(change(lines[3].split(",")))
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path))
    rows = load_dataset(str(tmp_path), split="train", on_error="skip")
    same(rows, np.delete(images, 2, 0), np.delete(labels, 2))


def test_faults_of_labels_and_splits(tmp_path):
    images, labels = make(20)
    path = tmp_path / "mnist_train.csv"
    write(path, images, labels, HEADS["digits"])
    good = path.read_text().splitlines()
    for word, message in (("", "row 3: it has no label"), ("x", "row 3: the label x is no number, as others are")):
        path.write_text("\n".join([*good[:3], word + "," + good[3].partition(",")[2], *good[4:]]))
        with pytest.raises(DataError, match=message):
            load_dataset(str(tmp_path))
    path.unlink()
    (tmp_path / "fer.csv").write_text(f"emotion,pixels,Usage\n0,{'7 ' * 64},Training\n1,{'7 ' * 64},Other\n")
    with pytest.raises(DataError, match="fer.csv, row 2: Other is not the name of a split"):
        load_dataset(str(tmp_path))


def test_other_tables_are_not_taken(tmp_path):
    for number, text in enumerate(
        (
            "id,label\n1.png,0\n",
            ",".join(f"x{n}" for n in range(20)) + "\n" + ",".join(["1"] * 20) + "\n",
            "\n".join(",".join(f"{n * 0.5}" for n in range(785)) for _ in range(3)),
            "name,caption,pixels\na,b,c\n",
            "\n".join(",".join(["1"] * 785) for _ in range(3)).replace("1", "1.5"),
            "",
        )
    ):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/a.csv").write_text(text)
        assert matches(Files.of(tmp_path / f"{number}")) is None, text[:60]


def test_a_large_table_takes_seconds(tmp_path):
    images, labels = make(20_000)
    write(tmp_path / "mnist_train.csv", images, labels, HEADS["digits"])
    start = time.process_time()
    rows = load_dataset(str(tmp_path), split="train")
    assert time.process_time() - start < 10 and len(rows) == 20_000
    assert np.array_equal(np.asarray(rows.with_format(None)[19_999]["image"]), images[-1])
