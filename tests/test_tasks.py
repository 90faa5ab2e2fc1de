"""What holds for a training of any task: the same on any number of processes, after a kill, and from its files alone."""

import importlib
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml

from recipes import load_model
from recipes.core.config.reading import read_config
from recipes.core.data.data import find_data, load_scenes
from recipes.core.run import checkpoint

pytestmark = pytest.mark.slow
DATA = ["data.train_split=train[:64]", "data.validation_split=validation[:6]", "data.test_split=test[:7]"]
TINY = [
    *DATA,
    "batch=16",
    "epochs=3",
    "evaluate_every=3",
    "save_every=32",
    "augment.zoom=1.2",
    "augment.flip=0.5",
    "optim.warmup=0",
]
EXACT = ["exact=true", "shards=4"]
TASKS = {"detect": ["model.width=8", "model.levels=2"], "segment": ["model.width=8", "model.depth=2", "optim.dice=0.5"]}
FILES = {
    "detect": ".run.json README.md config.json config.yaml curves.png data.json log.jsonl metrics.json model.safetensors precision.png "
    "predictions.json predictions.png",
    "segment": ".run.json README.md config.json config.yaml confusion.png curves.png data.json log.jsonl metrics.json model.safetensors "
    "predictions.png",
}
SCORE = {"detect": "ap", "segment": "mean_iou"}


@pytest.fixture(scope="module", params=TASKS)
def runs(request, root, run_processes, tmp_path_factory):
    """The name of a task, and runs of it: on one process; on two; exact on one, on four, and killed on one and moved to two."""
    task, base = request.param, tmp_path_factory.mktemp(request.param)
    script, words = root / f"recipes/{task}.py", [*TINY, *TASKS[task], "cpu=true", "threads=1"]
    run_processes(1, script, *words, f"out={base / 'one'}")
    run_processes(2, script, *words, f"out={base / 'two'}")
    run_processes(1, script, *words, *EXACT, f"out={base / 'exact'}")
    run_processes(4, script, *words, *EXACT, f"out={base / 'four'}")
    command = [sys.executable, script, *words, *EXACT, f"out={base / 'moved'}"]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not any(int(path.name) >= 96 for path in checkpoint.find(base / "moved")):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    again = run_processes(2, script, *words, *EXACT, f"out={base / 'moved'}")
    assert "going on after" in again.stdout
    return task, base


def read_log(folder):
    """The log without what depends on the clock."""
    clock = ("seconds", "images_per_second", "data_wait", "memory_gb")
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in clock} for line in log]


def test_two_processes_train_like_one(runs):
    task, base = runs
    one, two = read_log(base / "one"), read_log(base / "two")
    assert len(one) == len(two) == 12 + 1 + 1  # updates, a validation, the test
    for a, b in zip(one, two):
        assert (a["kind"], a["samples"], a.get("lr")) == (b["kind"], b["samples"], b.get("lr"))
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4, abs=1e-5)


def test_exact_has_the_same_bits_on_four_processes_and_after_a_kill(runs):
    task, base = runs
    for other in ("four", "moved"):
        assert read_log(base / "exact") == read_log(base / other)
        assert (base / "exact/model.safetensors").read_bytes() == (base / other / "model.safetensors").read_bytes()


def test_the_run_folder_says_all(runs):
    task, base = runs
    folder = base / "one"
    assert " ".join(sorted(path.name for path in folder.iterdir())) == FILES[task]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test_images"] == 7 and metrics["validation"]["images"] == 6 and 0 <= metrics[SCORE[task]] <= 1
    assert len(metrics["by_class"]) == (10 if task == "detect" else 11)
    card = (folder / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "pytorch"
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1].replace("path/to/this/folder", str(folder))
    names = {}
    exec(code, names)
    assert names["info"]["task"] == {"detect": "detection", "segment": "segmentation"}[task]


def test_a_loaded_model_finds_what_the_run_found(root, runs):
    """By the description in config.json alone."""
    task, base = runs
    model, info = load_model(base / "one")
    recipe = importlib.import_module(f"recipes.{task}").TASK
    config = read_config(recipe.schema, [*TINY, *TASKS[task]], recipe.default, recipe.suffix).config
    scenes = load_scenes(find_data(config.data, recipe.target), config).test
    assert (scenes.size, info["resize"]) == (info["size"], "padded")
    pixels = scenes[list(range(7))]["pixels"].permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        output = model((pixels - info["mean"][0]) / info["std"][0])
    if task == "segment":
        found = output.argmax(1).numpy()
        truth = np.stack([scenes.read(row)[1] for row in range(7)])
        share = json.loads((base / "one/metrics.json").read_text())["pixel_accuracy"]
        assert (found == truth).mean() == pytest.approx(share, abs=1e-9)
    else:
        said = json.loads((base / "one/predictions.json").read_text())
        boxes = [one["bbox"] for one in said if one["image_id"] == 3]
        mine = output[3]["boxes"].numpy()
        assert len(boxes) == len(mine)
        assert np.allclose(np.array(boxes).reshape(-1, 4)[:, 2:], mine[:, 2:] - mine[:, :2], atol=1e-3)


def test_padding_changes_nothing(runs):
    """An image is found alone as it is in a batch, and whatever its neighbours are."""
    task, base = runs
    model, info = load_model(base / "one")
    x = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together, alone = model(x), model(x[1:2])
    if task == "segment":
        assert torch.allclose(together[1], alone[0], atol=1e-5)
    else:
        assert torch.allclose(together[1]["boxes"], alone[0]["boxes"], atol=1e-3)
        assert torch.equal(together[1]["labels"], alone[0]["labels"])


def test_evaluation_finds_the_numbers_of_the_run(root, run_processes, runs, tmp_path):
    task, base = runs
    script, metrics = root / "recipes/evaluate.py", json.loads((base / "one/metrics.json").read_text())
    for processes in (1, 3):
        out = tmp_path / str(processes)
        run_processes(processes, script, base / "one", "cpu=true", "threads=1", "batch=2", f"out={out}")
        found = json.loads((out / "metrics.json").read_text())
        assert found["images"] == 7 and found["split"] == "test[:7]"
        for name in (SCORE[task], "loss"):
            assert found[name] == pytest.approx(metrics[name], rel=1e-4)
    one, three = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in "13")
    assert one == three
    refused = run_processes(1, script, base / "one", "flips=true", check=False).stderr.strip().splitlines()[-1]
    assert f"flips=True has no effect on a run of {task}.py" in refused
    other = run_processes(1, script, base / "one", "data.path=digits", "cpu=true", check=False).stderr
    assert f"no {'objects' if task == 'detect' else 'mask'} column" in other


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "options, message",
    [
        (["data.path=digits"], "set data.target, or use recipes/train.py"),
        (["model.name=resnet18"], "there is no model.name=resnet18"),
        (["augment.zoom=0.5"], "augment.zoom=0.5 should be a number, from 1"),
        (["batch=7", "exact=true"], "batch=7"),
        (["data.size=64", "model.weights=nothing.pth"], "model.weights=nothing.pth is not a file"),
    ],
)
def test_mistakes_get_one_line(root, run_processes, tmp_path, task, options, message):
    words = [*DATA, "cpu=true", f"out={tmp_path / 'run'}", *options]
    words = [word for word in words if not (options[0] == "data.path=digits" and word.startswith("data.v"))]
    result = run_processes(1, root / f"recipes/{task}.py", *words, check=False)
    assert result.returncode == 1 and message in result.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()
