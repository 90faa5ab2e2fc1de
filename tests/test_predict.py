"""Predictions: the same rows on any number of processes, those that the test of the run made; damaged images are set aside."""

import json
import shutil

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import torch
from pycocotools.coco import COCO

from dataset_scripts import load_dataset
from recipes import load_model

DATA = ["data.train_split=train[:64]", "data.validation_split=validation[:3]", "data.test_split=test[:7]", "batch=16"]
RECIPES = {
    "train": ["digits", "model.width=8", "epochs=3"],
    "detect": [*DATA, "model.width=8", "model.levels=1", "epochs=8"],
    "segment": [*DATA, "model.width=8", "model.depth=2", "epochs=1"],
}


@pytest.fixture(scope="module")
def runs(root, run_processes, tmp_path_factory):
    """A run of each task."""
    base = tmp_path_factory.mktemp("runs")
    for task, words in RECIPES.items():
        run_processes(1, root / f"recipes/{task}.py", *words, "cpu=true", "threads=1", f"out={base / task}")
    return base


@pytest.fixture
def predict(root, run_processes):
    def run(*words, processes=1, check=True):
        return run_processes(processes, root / "recipes/predict.py", *words, "cpu=true", "threads=1", check=check)

    return run


@pytest.fixture
def photos(tmp_path):
    """Images of several sizes and modes, one of them damaged."""
    rows = load_dataset("digit_scenes", split="test", transform=None)
    for number in range(9):
        image = rows[number]["image"]
        image = image.resize((64 - 3 * number, 50)) if number % 2 else image.convert("RGB")
        (tmp_path / "photos").mkdir(exist_ok=True)
        image.save(tmp_path / f"photos/{number}.png")
    content = (tmp_path / "photos/4.png").read_bytes()
    (tmp_path / "photos/4.png").write_bytes(content[: len(content) // 2])
    return tmp_path / "photos"


@pytest.mark.parametrize("task", RECIPES)
def test_the_same_on_any_number_of_processes(predict, runs, photos, tmp_path, task):
    for processes in (1, 3):
        said = predict(runs / task, photos, "batch=2", f"out={tmp_path / str(processes)}", processes=processes).stdout
        assert "8 images: see" in said and "1 images could not be read, such as unreadable image row 4" in said
    one, three = tmp_path / "1", tmp_path / "3"
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(three)) for path in three.rglob("*") if path.is_file())
    for name in names:
        assert (one / name).read_bytes() == (three / name).read_bytes(), name
    table = pq.read_table(one / "predictions.parquet").to_pydict()
    assert table["row"] == [0, 1, 2, 3, 5, 6, 7, 8] and table["path"][4].endswith("5.png")
    assert (one / "unreadable.csv").read_text().count("\n") == 2
    assert PIL.Image.open(one / "predictions.png").width > 500


def test_labels_are_those_of_the_model(predict, runs, tmp_path):
    predict(runs / "train", "digits", "split=test", f"out={tmp_path / 'said'}")
    table = pq.read_table(tmp_path / "said/predictions.parquet").to_pydict()
    model, info = load_model(runs / "train")
    rows = load_dataset("digits", split="test")[:]
    with torch.no_grad():
        expected = model((torch.stack(rows["image"]) - info["mean"][0]) / info["std"][0]).softmax(1)
    assert table["label"] == [info["labels"][label] for label in expected.argmax(1)]
    assert np.allclose(table["probabilities"], expected.numpy(), atol=1e-5)
    right = np.mean([label == str(truth) for label, truth in zip(table["label"], rows["label"])])
    assert right == pytest.approx(json.loads((runs / "train/metrics.json").read_text())["accuracy"])


def test_boxes_and_masks_are_those_of_the_test(predict, runs, tmp_path):
    rows = load_dataset("digit_scenes", split="test", transform=None).select(range(7))
    for name, image in (("a", rows[0]["image"]), ("b", rows[1]["image"]), ("c", rows[2]["image"])):
        (tmp_path / "files").mkdir(exist_ok=True)
        image.save(tmp_path / f"files/{name}.png")
    (tmp_path / "list.txt").write_text("files/c.png\nfiles/a.png\n")
    predict(runs / "detect", tmp_path / "list.txt", "score=0.05", f"out={tmp_path / 'boxes'}")
    said = json.loads((runs / "detect/predictions.json").read_text())
    coco = COCO(tmp_path / "boxes/predictions.json")
    assert [image["file_name"].rsplit("/")[-1] for image in coco.imgs.values()] == ["c.png", "a.png"]
    for image_id, row in ((1, 2), (2, 0)):
        mine = coco.loadAnns(coco.getAnnIds(image_id))
        theirs = [one for one in said if one["image_id"] == row]
        assert len(mine) == len(theirs) > 0
        assert np.allclose([one["bbox"] for one in mine], [one["bbox"] for one in theirs], atol=1e-3)
    predict(runs / "segment", tmp_path / "files/a.png", f"out={tmp_path / 'masks'}")
    model, info = load_model(runs / "segment")
    x = torch.from_numpy(np.asarray(rows[0]["image"], np.float32))[None, None] / 255
    with torch.no_grad():
        expected = model((x - info["mean"][0]) / info["std"][0])[0].argmax(0)
    [path] = (tmp_path / "masks/masks").iterdir()
    assert (np.asarray(PIL.Image.open(path)) == expected.numpy()).all()


def test_mistakes_get_one_line(predict, runs, photos, tmp_path):
    (tmp_path / "list.txt").write_text("nothing.png\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    copy = shutil.copytree(runs / "train", tmp_path / "copy")
    (copy / "model.safetensors").unlink()
    for words, message in (
        ([runs / "train"], "takes a run folder and the images"),
        ([runs / "train", tmp_path / "nowhere"], "there is no file or folder"),
        ([runs / "train", tmp_path / "list.txt"], "'nothing.png', which does not exist"),
        ([runs / "train", "digits", "split=valid"], "has no split valid, only train, test"),
        ([runs / "train", photos, f"out={tmp_path / 'full'}"], "is not empty"),
        ([copy, photos], "model.safetensors is missing"),
    ):
        result = predict(*words, *([] if "is not" in message else [f"out={tmp_path / 'said'}"]), check=False)
        assert result.returncode == 1 and message in result.stderr.strip().splitlines()[-1], message
        assert not (tmp_path / "said").exists() and (tmp_path / "full/mine.txt").read_text() == "mine"
