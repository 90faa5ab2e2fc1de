"""The rows for training, validation and testing: no split misleads, whatever the data and the options."""

import io
import json
import shutil

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.image.decode import Frame, decode_image
from recipes.core.config.data import Data
from recipes.core.data import splits
from recipes.core.data.data import find_data
from recipes.core.data.fingerprint import difference, fingerprint
from recipes.core.data.splits import choose_parts, choose_test
from recipes.core.errors import UserError

TINY = ["model.name=resnet8", "model.width=8", "data.size=8", "batch=8", "optim.lr=0.01"]


@pytest.fixture
def make(tmp_path, save_image):
    """Makes images of classes: {"cat": 12} without splits, {"train": {"cat": 12}, …} with."""

    def write(tree, folder="photos", size=(12, 10)):
        for name, count in tree.items():
            if isinstance(count, dict):
                write(count, f"{folder}/{name}", size)
                continue
            for number in range(count):
                save_image(tmp_path / folder / name / f"{number:03d}.png", size)
        return tmp_path / folder

    return write


@pytest.fixture
def table(tmp_path, save_image):
    """Makes a folder with a table of file names and labels for each split."""

    def write(columns):
        for split, labels in columns.items():
            folder = tmp_path / "table" / split
            for number in range(len(labels)):
                save_image(folder / f"{number}.png")
            lines = [f"{number}.png,{label}" for number, label in enumerate(labels)]
            (folder / "metadata.csv").write_text("\n".join(["file_name,label", *lines]) + "\n")
        return tmp_path / "table"

    return write


def test_without_splits_a_part_of_each_class_is_held_out(make):
    folder = make({"ant": 40, "bee": 11, "cow": 2, "dog": 1})
    parts = choose_parts(Data(path=str(folder)))
    train, test = parts.train, parts.test
    assert np.bincount(test.labels, minlength=4).tolist() == [8, 2, 1, 0]  # 0.2 of each, at least one, never all
    assert np.bincount(train.labels, minlength=4).tolist() == [32, 9, 1, 1]
    assert sorted([*train.indices, *test.indices]) == list(range(54))
    labels = np.array(load_dataset(str(folder), split="train", transform=None)["label"])
    assert (labels[test.indices] == test.labels).all() and (np.array(test.rows["label"]) == test.labels).all()
    assert test.indices.tolist() != sorted(test.indices[:8].tolist()) + [40, 41, 51]  # not the first of each class
    assert any(
        "11 of 54 images of split train, 20% of each class, are held out to test on" in note for note in parts.notes
    )
    assert any("holdout has no images of class dog" in note for note in parts.notes)
    again = choose_parts(Data(path=str(folder)))
    assert again.test.indices.tolist() == test.indices.tolist() and parts.data.holdout == 0.2
    assert len(choose_parts(Data(path=str(folder), holdout=0.5)).test) == 20 + 6 + 1
    # The rows that evaluation takes, from the options that the run has saved.
    held, _, _ = choose_test(parts.data, parts.classes)
    assert held.indices.tolist() == test.indices.tolist() and held.labels.tolist() == test.labels.tolist()


def test_validation_steers_and_test_judges(make):
    tree = {"ant": 4, "bee": 4}
    three = choose_parts(Data(path=str(make({"train": tree, "validation": tree, "test": tree}))))
    assert (three.train.split, three.validation.split, three.test.split) == ("train", "validation", "test")
    two = choose_parts(Data(path=str(make({"train": tree, "test": tree}, "two"))))
    assert two.validation is None and two.test.split == "test"
    held = choose_parts(Data(path=str(make({"train": tree, "test": tree}, "two")), holdout=0.25))
    assert (held.validation.split, len(held.validation), len(held.train), held.test.split) == ("holdout", 2, 6, "test")
    only = choose_parts(Data(path=str(make({"train": tree, "validation": tree}, "only"))))
    assert only.validation is None and only.test.split == "validation" and only.data.test_split == "validation"
    with pytest.raises(
        UserError, match="data.holdout=0.2 has no effect: split validation steers the training and test tests it"
    ):
        choose_parts(Data(path=str(make({"train": tree, "validation": tree, "test": tree})), holdout=0.2))


def test_a_run_with_validation_scores_the_test_once(run_processes, root, make, tmp_path):
    tree = {"dark": 10, "light": 10}
    folder = make({"train": tree, "validation": tree, "test": tree})
    for path in folder.rglob("*.png"):
        pixels = np.asarray(PIL.Image.open(path)) // 2
        PIL.Image.fromarray(pixels + (127 if path.parent.name == "light" else 0)).save(path)
    out = tmp_path / "run"
    options = [f"data.path={folder}", *TINY, "epochs=6", "keep_best=true", "patience=2", f"out={out}"]
    run_processes(2, root / "recipes/train.py", *options)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    steering = [line for line in log if line["kind"] == "validation"]
    assert [line["kind"] for line in log].count("test") == 1 and log[-1]["kind"] == "test"
    metrics = json.loads((out / "metrics.json").read_text())
    accuracies = [line["accuracy"] for line in steering]
    best = max(range(len(steering)), key=lambda look: (accuracies[look], -steering[look]["loss"]))
    assert (
        metrics["validation"]["accuracy"] == max(accuracies)
        and metrics["validation"]["samples"] == steering[best]["samples"]
    )
    assert metrics["validation"]["loss"] == steering[best]["loss"]
    ends = [line["samples"] for line in steering if line["samples"] - steering[best]["samples"] >= 2 * 20]
    assert metrics["samples"] == (ends[0] if ends else 120)
    # The weights are those of the best test, not the last: evaluated separately, they give its result.
    run_processes(
        1, root / "recipes/evaluate.py", str(out), "data.test_split=validation", f"out={tmp_path / 'validation'}"
    )
    assert json.loads((tmp_path / "validation/metrics.json").read_text())["accuracy"] == max(accuracies)
    run_processes(1, root / "recipes/evaluate.py", str(out), f"out={tmp_path / 'test'}")
    assert json.loads((tmp_path / "test/metrics.json").read_text())["accuracy"] == metrics["accuracy"]


def test_the_held_out_rows_are_those_that_evaluation_takes(run_processes, root, make, tmp_path):
    folder, out = make({"ant": 20, "bee": 20}), tmp_path / "run"
    run_processes(1, root / "recipes/train.py", f"data.path={folder}", *TINY, "epochs=1", f"out={out}")
    metrics = json.loads((out / "metrics.json").read_text())
    evaluate = root / "recipes/evaluate.py"
    run_processes(2, evaluate, str(out))
    rows = pq.read_table(out / "evaluation/predictions.parquet").to_pydict()
    held = choose_parts(Data(path=str(folder))).test
    assert rows["row"] == held.indices.tolist() and rows["label"] == held.labels.tolist()
    assert json.loads((out / "evaluation/metrics.json").read_text())["accuracy"] == metrics["accuracy"]
    # The same folder given by hand is the same data; a copy of it is not, and holds the training images too.
    (tmp_path / "link").symlink_to(folder)
    run_processes(1, evaluate, str(out), f"data.path={tmp_path / 'link'}", f"out={tmp_path / 'same'}")
    assert pq.read_table(tmp_path / "same/predictions.parquet").to_pydict()["row"] == held.indices.tolist()
    shutil.copytree(folder, tmp_path / "copy")
    other = run_processes(1, evaluate, str(out), f"data.path={tmp_path / 'copy'}", f"out={tmp_path / 'all'}")
    assert (
        "images that the model was trained on: 32 of 32 of its training images that were looked for are in split train"
        in other.stdout
    )
    shutil.copy(folder / "ant/000.png", folder / "ant/999.png")
    changed = run_processes(1, evaluate, str(out), check=False)
    assert changed.returncode == 1 and "has changed since the training (the images)" in changed.stderr


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"train_split": "train[:66%]", "test_split": "train[66%:]"},
            "split train[:66%] has no images of class cow, but train[66%:] has",
        ),
        ({"train_split": "train[:60%]", "test_split": "train[50%:]"}, "share 3 images, rows 15 to 17 of split train"),
        ({"train_split": "train", "test_split": "train"}, "train and train share 30 images"),
        ({"train_split": "train[:20]+train[15:]"}, "train[:20]+train[15:] and train[:20]+train[15:] share 5 images"),
        ({"train_split": "train[30:]"}, "split train[30:] holds no images"),
        ({"train_split": "train[:20]", "test_split": "train[40:50]"}, "split train[40:50] holds no images"),
        (
            {"train_split": "train[:50%]", "validation_split": "train[:1]", "test_split": "train[50%:]"},
            "share 1 images, rows 0 to 0",
        ),
        ({"validation_split": "train[:50%]"}, "leaves nothing to test on"),
        ({"test_split": "tset"}, 'Unknown split "tset"'),
    ],
)
def test_splits_that_would_lie_are_refused(make, options, message):
    folder = make({"ant": 10, "bee": 10, "cow": 10})
    with pytest.raises(UserError) as error:
        choose_parts(Data(path=str(folder), **options))
    assert message in str(error.value)


def test_steering_holds_out_what_there_is_no_split_for(make):
    alone = make({"ant": 20, "bee": 20})
    parts = choose_parts(Data(path=str(alone)), steered=True)
    rows = [set(part.indices) for part in (parts.train, parts.validation, parts.test)]
    assert [len(each) for each in rows] == [26, 6, 8] and len(set.union(*rows)) == 40
    assert rows[2] == set(choose_parts(Data(path=str(alone))).test.indices)  # the test is the same, steered or not
    tree = {"ant": 10, "bee": 10}
    parts = choose_parts(Data(path=str(make({"train": tree, "test": tree}, "two"))), steered=True)
    assert (len(parts.train), len(parts.validation), parts.test.split) == (16, 4, "test")


def test_training_on_the_test_split_tests_on_another(make):
    folder = make({"train": {"ant": 5, "bee": 5}, "test": {"ant": 5, "bee": 5}})
    parts = choose_parts(Data(path=str(folder), train_split="test"))
    assert parts.test.split == "holdout" and set(parts.test.indices).isdisjoint(parts.train.indices)


def test_hidden_labels(table):
    labels = ["0", "1", "2"] * 4
    folder = table({"train": labels, "validation": labels, "test": ["-1"] * 5})
    parts = choose_parts(Data(path=str(folder)))
    assert parts.classes == ["0", "1", "2"] and parts.test.split == "validation"
    assert "the images of split test have no labels, and are not used" in parts.notes
    with pytest.raises(
        UserError, match="labels of split test are hidden or missing; set data.test_split .* or data.holdout=0.2"
    ):
        choose_parts(Data(path=str(folder), test_split="test"))
    with pytest.raises(UserError, match="labels of split test are hidden or missing"):
        choose_test(Data(path=str(folder), test_split="test"), parts.classes)
    assert choose_test(Data(path=str(folder)), parts.classes)[0].split == "validation"


def test_a_label_that_is_missing_is_named(table):
    with pytest.raises(
        UserError, match=r"split train: row 3 has no label in column label \(1 of 6 have none; -1 counts as hidden\)"
    ):
        choose_parts(Data(path=str(table({"train": ["0", "1", "0", "-1", "1", "1"]}))))


def test_several_labels_of_an_image_are_no_class(table):
    with pytest.raises(UserError, match="the class 'cat dog' looks like 2 labels of one image"):
        choose_parts(Data(path=str(table({"train": ["cat", "dog", "cat dog", "polar bear"] * 2}))))
    shutil.rmtree(table({"train": []}))
    assert "polar bear" in choose_parts(Data(path=str(table({"train": ["cat", "dog", "polar bear"] * 3})))).classes


def test_the_same_images_in_both_splits(make):
    folder = make({"train": {"ant": 10, "bee": 10}, "test": {"ant": 6, "bee": 6}})
    shutil.copy(folder / "train/bee/004.png", folder / "test/bee/001.png")
    note = next(note for note in find_data(Data(path=str(folder))).notes if "byte for byte" in note)
    assert note == (
        "1 of 12 test images that were compared are also training images, byte for byte (row 7 is row 14 of train)"
    )
    for path in (folder / "test").rglob("*.png"):
        shutil.copy(folder / "train" / path.relative_to(folder / "test"), path)
    with pytest.raises(UserError, match="12 of 12 test images .* are also training images"):
        find_data(Data(path=str(folder)))


def test_every_header_is_looked_at(make, save_image):
    # Once, only 1024 images were checked: a wide one in colour after so many grey squares became a grey square.
    folder = make({"ant": 600, "bee": 600}, size=(8, 8))
    for path in folder.rglob("*.png"):
        PIL.Image.open(path).convert("L").save(path)
    found = find_data(Data(path=str(folder))).data
    assert (found.size, found.channels, found.resize) == (8, 1, "whole")
    save_image(folder / "bee" / "598.png", size=(30, 8))
    found = find_data(Data(path=str(folder))).data
    assert (found.size, found.channels, found.resize) == (8, 3, "crop")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA"])
@pytest.mark.parametrize("kind", ["tiff", "webp", "png", "jpeg", "bmp", "gif", "ppm"])
def test_headers_of_all_formats(kind, mode):
    """The header of every image that decodes is read, from the table's own bytes."""
    content = io.BytesIO()
    rng = np.random.default_rng(0)
    for number in range(20):
        pixels = PIL.Image.fromarray(rng.integers(0, 256, (16 + number, 24, 3), dtype=np.uint8)).convert(mode)
        content = io.BytesIO()
        try:
            pixels.save(content, kind)
        except (OSError, ValueError):
            pytest.skip(f"{kind} holds no {mode}")
        stored = pa.array([{"bytes": content.getvalue(), "path": None}])[0]
        assert Frame.of_stored(stored, "row 0").size == decode_image(stored.as_py(), "row 0").size == (24, 16 + number)


def test_images_in_files_of_their_own_are_compared_too(make):
    folder = make({"train": {"ant": 10, "bee": 10}, "test": {"ant": 6, "bee": 6}})
    data = Data(path="imagefolder", data_dir=str(folder))
    before = fingerprint(choose_parts(data))
    for path in (folder / "test").rglob("*.png"):
        shutil.copy(folder / "train" / path.relative_to(folder / "test"), path)
    with pytest.raises(UserError, match="12 of 12 test images .* are also training images"):
        find_data(data)
    assert difference(before, fingerprint(choose_parts(data)))[0] == "the test images"


def test_classes_that_differ_in_a_saved_dataset(tmp_path):
    splits = {}
    for split, names in (("train", ["cat", "dog"]), ("test", ["dog", "cat"])):
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
        images = [PIL.Image.new("L", (8, 8), 20 * number) for number in range(4)]
        splits[split] = datasets.Dataset.from_dict({"image": images, "label": ["cat", "dog"] * 2}, features)
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="the classes of column label are"):
        load_dataset(str(tmp_path / "saved"))


def test_hidden_labels_that_are_empty(tmp_path):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    (tmp_path / "d").mkdir()
    for split, labels in (("train", ["cat", "dog"]), ("test", ["", ""])):
        images = [PIL.Image.new("L", (8, 8), 20 * number) for number in range(2)]
        datasets.Dataset.from_dict({"image": images, "label": labels}, features).to_parquet(
            tmp_path / f"d/{split}.parquet"
        )
    with pytest.raises(UserError, match="split test has the class '', which the training split lacks: it has cat, dog"):
        choose_parts(Data(path=str(tmp_path / "d")))


def test_held_out_rows_of_data_that_have_a_test_split_now(make):
    folder = make({"ant": 10, "bee": 10})
    parts = choose_parts(Data(path=str(folder)))
    shutil.rmtree(folder)
    make({"train": {"ant": 10, "bee": 10}, "test": {"ant": 2, "bee": 2}})
    with pytest.raises(
        UserError, match="has a split test now, which did not exist during the training: set data.test_split=test"
    ):
        choose_test(parts.data, parts.classes)


def test_class_names_that_differ_between_tables(tmp_path):
    # datasets reads the numbers of every file by the names of the first.
    for split, names in (("train", ["cat", "dog"]), ("test", ["dog", "cat"])):
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
        images = [PIL.Image.new("L", (8, 8), 20 * number) for number in range(4)]
        (tmp_path / "data").mkdir(exist_ok=True)
        datasets.Dataset.from_dict({"image": images, "label": ["cat", "dog"] * 2}, features).to_parquet(
            tmp_path / f"data/{split}.parquet"
        )
    with pytest.raises(
        DataError,
        match="test.parquet: the classes of column label are dog, cat, and those of .*train.parquet are cat, dog",
    ):
        load_dataset(str(tmp_path / "data"))
    files = {split: str(tmp_path / f"data/{split}.parquet") for split in ("train", "test")}
    with pytest.raises(DataError, match="the classes of column label are dog, cat"):
        load_dataset("parquet", data_files=files)
    assert load_dataset("parquet", data_files={"test": files["test"]}, split="test").features["label"].names == [
        "dog",
        "cat",
    ]


def test_a_fingerprint_sees_every_change(make, save_image):
    folder = make({"train": {"ant": 8, "bee": 8}, "test": {"ant": 8, "bee": 8}})

    def found():
        return fingerprint(choose_parts(Data(path=str(folder))))

    before = found()
    assert difference(before, found()) is None
    (folder / "train/ant/000.png").rename(folder / "train/bee/aaa.png")
    assert difference(before, found())[0] == "the labels of the training images"
    (folder / "train/bee/aaa.png").unlink()
    assert difference(before, found()) == ("the number of images of the training images", 16, 15)
    shutil.copy(folder / "train/ant/001.png", folder / "train/ant/000.png")
    assert difference(before, found())[0] == "the training images"
    save_image(folder / "test/cow/0.png")
    (folder / "train/cow").mkdir()
    save_image(folder / "train/cow/0.png")
    assert difference(before, found())[0] in (
        "the number of images of the training images",
        "the names of the classes of the training images",
    )


def test_a_fingerprint_sees_images_that_it_does_not_read(make, save_image):
    folder = make({"train": {"ant": 300}, "test": {"ant": 2}})
    before = fingerprint(choose_parts(Data(path=str(folder))))
    save_image(folder / "train/ant/001.png", size=(13, 10))  # none of the 64 whose bytes are read
    assert difference(before, fingerprint(choose_parts(Data(path=str(folder)))))[0] == "the training images"


def test_ranks_with_different_data_stop(run_processes, root, make, tmp_path):
    first = make({"train": {"ant": 8, "bee": 8}, "test": {"ant": 4, "bee": 4}}, "0/photos")
    shutil.copytree(first, tmp_path / "1/photos")
    script = tmp_path / "train.py"
    script.write_text(
        "import os, runpy, sys\n"
        f"os.chdir(os.path.join({str(tmp_path)!r}, os.environ['RANK']))\n"
        f"runpy.run_path({str(root / 'recipes/train.py')!r}, run_name='__main__')\n"
    )
    options = ["data.path=photos", *TINY, "epochs=1", f"out={tmp_path / 'run'}"]
    (tmp_path / "1/photos/train/ant/000.png").rename(tmp_path / "1/photos/train/bee/zzz.png")
    differs = run_processes(2, script, *options, check=False)
    assert differs.returncode == 1
    assert "the ranks have different data: the labels of the training images (rank 1 has" in differs.stderr
    (tmp_path / "1/photos/test/bee/000.png").unlink()
    (tmp_path / "1/photos/train/bee/zzz.png").rename(tmp_path / "1/photos/train/ant/000.png")
    fewer = run_processes(2, script, *options, check=False)
    assert "the number of images of the test images (rank 1 has 7, another 8)" in fewer.stderr
    assert not (tmp_path / "run").exists()


def test_data_that_changed_since_a_run_began(run_processes, root, make, tmp_path):
    folder = make({"train": {"ant": 16, "bee": 16}, "test": {"ant": 4, "bee": 4}})
    options = [f"data.path={folder}", *TINY, "epochs=2", "save_every=8", f"out={tmp_path / 'run'}"]
    killed = (
        "import os\nimport recipes.core.run.checkpoint as c\nsave = c.save\n"
        "def once(*args, **kwargs):\n    save(*args, **kwargs)\n    os._exit(9)\nc.save = once\n"
        f"import runpy\nrunpy.run_path({str(root / 'recipes/train.py')!r}, run_name='__main__')\n"
    )
    (tmp_path / "killed.py").write_text(killed)
    assert run_processes(1, tmp_path / "killed.py", *options, check=False).returncode == 9
    first, other = folder / "train/ant/000.png", folder / "train/bee/000.png"
    content = first.read_bytes(), other.read_bytes()
    first.write_bytes(content[1])
    other.write_bytes(content[0])
    result = run_processes(1, root / "recipes/train.py", *options, check=False)
    assert result.returncode == 1
    assert "is an unfinished run on other data: the training images changed since it began" in result.stderr
    first.write_bytes(content[0])
    other.write_bytes(content[1])
    result = run_processes(1, root / "recipes/train.py", *options)
    assert "going on after 8 images" in result.stdout


def test_images_without_labels_train_a_generator(run_processes, root, make, tmp_path):
    folder = make({"heap": 40}, size=(8, 8)) / "heap"
    out = tmp_path / "run"
    small = ["model.width=8", "model.depth=1", "model.blocks=1", "flow.steps=1"]
    options = [f"data.path={folder}", *small, "epochs=1", "batch=8", "optim.warmup=0", f"out={out}"]
    run_processes(1, root / "recipes/generate.py", *options)
    assert json.loads((out / "config.json").read_text())["labels"] == ["image"]
    assert json.loads((out / "metrics.json").read_text())["test_images"] == 8
    assert safetensors.torch.load_file(out / "model.safetensors")
    refused = run_processes(
        1, root / "recipes/generate.py", *options[:-1], "flow.guidance=3", f"out={tmp_path / 'no'}", check=False
    )
    assert "flow.guidance=3.0 has no effect: the images are of one class" in refused.stderr


def test_a_hold_out_needs_a_class_of_two(make):
    with pytest.raises(UserError, match="no class has two images"):
        choose_parts(Data(path=str(make({"ant": 1, "bee": 1}))))
    assert splits.HOLDOUT == 0.2
