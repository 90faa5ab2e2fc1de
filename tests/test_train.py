"""`recipes/train.py` as a person runs it: results, run folder, and one line for every mistake."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch
import yaml

from dataset_scripts import load_dataset
from recipes.core.config.tasks import Model
from recipes.core.models.models import build_model

FILES = ".run.json README.md config.json config.yaml confusion.png curves.png data.json log.jsonl metrics.json mistakes.png model.safetensors".split()
SHORT = ["model.name=resnet8", "model.width=8", "optim.name=sgd", "optim.lr=0.02", "batch=24", "accumulate=2"]


@pytest.fixture
def train(root, run_processes):
    def run(*options, processes=1, check=True):
        return run_processes(processes, root / "recipes/train.py", *options, check=check)

    return run


def read_log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def photos(tmp_path, save_image):
    """Two classes of photos of different size, 24 to train on and 9 to test on."""
    for split, count in (("train", 12), ("test", 4)):
        for name in ("dark", "light"):
            for number in range(count + (split == "test" and name == "dark")):
                path = tmp_path / "photos" / split / name / f"{number}.png"
                pixels = save_image(path, size=(20 + number, 28))
                PIL.Image.fromarray(pixels // 2 + (0 if name == "dark" else 127)).save(path)
    return tmp_path / "photos"


def test_two_processes_train_like_one(train, tmp_path):
    # On 2 processes, in 2 parts each, and with the other way of initialisation: the same samples at every step.
    one = train(*SHORT, "epochs=0.6", f"out={tmp_path / 'one'}")
    two = train(*SHORT, "epochs=0.6", "init.method=broadcast", f"out={tmp_path / 'two'}", processes=2)
    logs = [read_log(tmp_path / name) for name in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 36
    for a, b in zip(*logs):
        assert (a["kind"], a["samples"], a.get("lr")) == (b["kind"], b["samples"], b.get("lr"))
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    for name, result in (("one", one), ("two", two)):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == FILES
        assert "equal on 1 of 1" in result.stdout if name == "one" else "equal on 2 of 2" in result.stdout
    metrics = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two")]
    assert metrics[0]["accuracy"] == pytest.approx(metrics[1]["accuracy"], abs=1e-9)
    assert [m["processes"] for m in metrics] == [1, 2]


def test_the_run_folder_says_all(train, tmp_path):
    train(*SHORT, "epochs=0.3", f"out={tmp_path / 'run'}")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    # The numbers follow from the files alone: the saved weights, on the dataset read by hand.
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    model = build_model(Model("resnet8", 8), channels=1, classes=10).eval()
    model.load_state_dict(safetensors.torch.load_file(tmp_path / "run" / "model.safetensors"))
    rows = load_dataset("digits", split="test")[:]
    x = (torch.stack(rows["image"]) - config["data"]["mean"][0]) / config["data"]["std"][0]
    with torch.no_grad():
        logits = model(x)
    labels = torch.tensor(rows["label"])
    assert metrics["accuracy"] == pytest.approx((logits.argmax(1) == labels).double().mean().item(), abs=1e-9)
    assert metrics["loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), abs=1e-4)
    pixels = torch.stack(load_dataset("digits", split="train")[:]["image"])
    assert config["data"]["mean"][0] == pytest.approx(pixels.mean().item(), abs=0.01)
    assert config["data"]["std"][0] == pytest.approx(pixels.std().item(), abs=0.01)
    for name in ("curves.png", "confusion.png", "mistakes.png"):
        assert PIL.Image.open(tmp_path / "run" / name).size[0] > 400
    card = (tmp_path / "run" / "README.md").read_text()
    assert (
        f"out={tmp_path / 'run'}" in card
        and yaml.safe_load(card.split("---")[1])["pipeline_tag"] == "image-classification"
    )
    again = train(*SHORT, f"out={tmp_path / 'run'}", check=False)
    assert again.returncode == 1 and "holds a finished run" in again.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_photos_of_different_size_with_a_torchvision_model(train, photos, tmp_path, workers):
    options = [
        f"data.path={photos}",
        f"data.workers={workers}",
        "model.name=mobilenet_v3_small",
        "data.size=32",
        "batch=8",
    ]
    train(*options, "augment.flip=0.5", "epochs=2", f"out={tmp_path / 'run'}")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"]
    assert (config["size"], config["channels"], config["resize"], config["label"]) == (32, 3, "crop", "label")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test_images"] == 9


def test_workers_do_not_change_the_result(train, photos, tmp_path):
    for workers in (0, 2):
        options = [f"data.path={photos}", f"data.workers={workers}", "data.size=16", "batch=8", "augment.flip=0.5"]
        train(*SHORT, *options, "epochs=2", f"out={tmp_path / str(workers)}")
        # Workers that the garbage collector ends would each be waited for 10 seconds, after the results are written.
        assert time.time() - (tmp_path / str(workers) / "metrics.json").stat().st_mtime < 8
    assert [r["loss"] for r in read_log(tmp_path / "0")] == [r["loss"] for r in read_log(tmp_path / "2")]


def test_a_script_with_other_columns(train, tmp_path):
    script = tmp_path / "noise.py"
    script.write_text(
        "import datasets\nimport numpy as np\n\n\nclass Noise(datasets.GeneratorBasedBuilder):\n"
        "    def _info(self):\n"
        "        return datasets.DatasetInfo(features=datasets.Features(\n"
        "            {'img': datasets.Image(), 'kind': datasets.Value('string')}))\n\n"
        "    def _split_generators(self, dl_manager):\n"
        "        return [datasets.SplitGenerator('train', {'ids': list(range(40))})]\n\n"
        "    def _generate_examples(self, ids):\n"
        "        for i in ids:\n"
        "            yield i, {'img': np.full((8, 8), i, np.uint8), 'kind': 'ab'[i % 2]}\n"
    )
    options = [
        f"data.path={script}",
        "data.train_split=train[:30]",
        "data.test_split=train[30:]",
        "epochs=1",
        "batch=10",
    ]
    missing = train(*options, check=False)
    assert missing.returncode == 1 and "no label column (only img, kind): set data.label" in missing.stderr
    train(*options, "data.label=kind", f"out={tmp_path / 'run'}")
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"]["image"] == "img"


def one_line(result) -> str:
    """The one line of an error: no traceback of ours, status 1."""
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("train.py: error")]
    assert len(lines) == 1, result.stderr[-3000:]
    return lines[0]


@pytest.mark.parametrize(
    "options, message",
    [
        (["data.path=/no/such/place"], "/no/such/place"),
        (["optim.lrr=3"], "there is no option optim.lrr: optim.lr=…?"),
        (["optim.lr=fast"], "optim.lr=fast should be a number, above 0"),
        (["nothing"], "no config nothing: give a yaml file, or one of cifar10_fast"),
        (["batch=30", "accumulate=4"], "batch=30 does not divide into 1 processes × 4 parts"),
        (["model.name=resnet9"], "no model.name=resnet9"),
        (["model.name=vit_b_16", "data.channels=3"], "does not take images of 8 × 8"),
        (["data.train_split=tain"], 'Unknown split "tain"'),
        (["data.image=label"], "data.image=label holds no images"),
        (["data.label=digit"], "there is no such column, only image, label"),
        (["optim.lr=1e30", "epochs=1"], "the loss is nan after"),
        (["processes=2"], "processes=2, but the launcher started 1"),
        (["precision=fp16"], "precision=fp16 needs a GPU"),
    ],
)
def test_mistakes_get_one_line(train, tmp_path, options, message):
    result = train(f"out={tmp_path / 'run'}", *options, check=False)
    assert message in one_line(result)
    assert "Traceback" not in result.stderr


def test_data_without_images_labels_or_sound_files(train, tmp_path, save_image, photos):
    save_image(tmp_path / "heap" / "1.png")
    assert "no label column (only image)" in one_line(train(f"data.path={tmp_path / 'heap'}", check=False))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("no image\n")
    assert "no image column (only text)" in one_line(train(f"data.path={tmp_path / 'text'}", check=False))
    broken = photos / "train" / "light" / "5.png"
    broken.write_bytes(broken.read_bytes()[:200])
    for workers in (0, 2):
        result = train(
            f"data.path={photos}", f"data.workers={workers}", "batch=8", f"out={tmp_path / 'run'}", check=False
        )
        assert "(train/light/5.png)" in one_line(result)


def test_a_full_disk_is_named(train, tmp_path):
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    assert f"{tmp_path / 'log.jsonl'} cannot be written: the disk of /dev" in one_line(
        train(f"out={tmp_path}", "overwrite=true", check=False)
    )


def test_an_error_on_one_of_two_processes_ends_both(train, photos, tmp_path):
    # Both ranks read some training images to find their size; one of the others, which a single rank reads, is broken.
    for path in sorted((photos / "train").rglob("*.png")):
        pixels = np.asarray(PIL.Image.open(path))
        for copy in range(60):
            PIL.Image.fromarray(pixels).save(path.with_name(f"{path.stem}-{copy}.png"))
    names = sorted(path.relative_to(photos) for path in (photos / "train").rglob("*.png"))
    assert len(names) == 1464
    probed = set(np.linspace(0, 1463, 1024).round().astype(int).tolist())
    broken = photos / names[next(row for row in range(1464) if row not in probed)]
    broken.write_bytes(broken.read_bytes()[:200])
    options = [f"data.path={photos}", "data.size=16", "batch=8", "model.name=resnet8", "data.workers=0", "epochs=1"]
    result = train(*options, f"out={tmp_path / 'run'}", processes=2, check=False)
    assert str(broken.relative_to(photos)) in one_line(result) and "[rank " in one_line(result)
    assert 'recipes/train.py", line' not in result.stderr  # no traceback of ours; the launcher adds its own


def test_every_option_is_read_somewhere(root):
    sources = "".join(path.read_text() for path in (root / "recipes").rglob("*.py") if path.name != "config.py")
    from dataclasses import fields, is_dataclass

    from recipes.core.config.tasks import Train

    for field in fields(Train):
        inner = fields(field.default_factory) if is_dataclass(field.default_factory) else []
        for name in [field.name, *(part.name for part in inner)]:
            assert f".{name}" in sources, f"nothing reads the option {name}"


def accelerate_launch(root, *options):
    command = [sys.executable, "-m", "accelerate.commands.launch", *options]
    return subprocess.run(command, cwd=root, env={**os.environ}, capture_output=True, text=True, timeout=240)


def test_launching_as_the_readme_says(root, tmp_path):
    options = ["recipes/train.py", *SHORT, "epochs=0.1"]
    two = accelerate_launch(root, "--config_file", "accelerate_configs/cpu_2.yaml", *options, f"out={tmp_path / 'two'}")
    assert two.returncode == 0 and "equal on 2 of 2 processes" in two.stdout, two.stderr[-3000:]
    one = accelerate_launch(root, "--config_file", "accelerate_configs/cpu.yaml", *options, f"out={tmp_path / 'one'}")
    assert one.returncode == 0 and "equal on 1 of 1 processes" in one.stdout, one.stderr[-3000:]


def test_a_launch_that_gives_other_processes_than_asked_is_refused(root, tmp_path):
    silent = accelerate_launch(root, "--cpu", "--num_processes", "2", "recipes/train.py", f"out={tmp_path / 'run'}")
    assert silent.returncode == 1 and "was asked for several processes but started one" in silent.stderr
    assert not (tmp_path / "run").exists()


def test_a_dry_run_shows_the_plan_and_writes_nothing(train, tmp_path):
    done = train(*SHORT, "--epochs", "0.1", "--dry-run", f"out={tmp_path / 'run'}", processes=2)
    assert "digits: 1,438 training and 359 test images, 10 classes" in done.stdout and "5 updates" in done.stdout
    assert "equal on 2 of 2 processes" in done.stdout and done.stdout.count("a dry run") == 1
    assert not list(tmp_path.iterdir())
