"""`recipes/generate.py` as a person runs it: the same on any number of processes, samples, mistakes, and fidelity."""

import importlib.util
import json
import os
import re
import shutil
import sys
import time
from dataclasses import fields

import numpy as np
import PIL.Image
import pytest
import torch
import yaml

from dataset_scripts import load_dataset
from recipes import load_generator, load_model
from recipes.core.config.tasks import Generate
from recipes.core.errors import UserError
from recipes.core.models import flow
from recipes.core.options import merge
from recipes.core.run import checkpoint
from recipes.core.tasks.flow_learner import TEST
from recipes.core.tasks.sampling import SAMPLE

# Everything that could go out of step: shifts, hidden labels, an average, momentum, a schedule.
TINY = [
    "model.width=8",
    "batch=48",
    "epochs=0.4",
    "evaluate_every=0.2",
    "save_every=96",
    "augment.pad=1",
    "optim.ema=300",
    "optim.warmup=200",
    "flow.label_dropout=0.3",
    "flow.steps=2",
]
FILES = ".run.json README.md config.json config.yaml curves.png data.json log.jsonl metrics.json model.safetensors pictures samples.png".split()
COMPLETE = 48 * (int(0.4 * 1438) // 48)


@pytest.fixture(scope="module")
def generate(root, run_processes):
    def run(*options, processes=1, check=True):
        return run_processes(processes, root / "recipes/generate.py", *options, check=check)

    return run


@pytest.fixture(scope="module")
def runs(root, generate, start_processes, tmp_path_factory):
    """The folders of three runs of the same options: exact on one process; exact, killed on one and finished on two
    (`stopped` is a copy of what the kill left); and by DDP on two."""
    base = tmp_path_factory.mktemp("runs")
    generate(*TINY, "exact=true", f"out={base / 'exact'}")
    kill_after(192, start_processes, root, base / "moved", *TINY, "exact=true")
    shutil.copytree(base / "moved", base / "stopped")
    assert "going on after" in generate(*TINY, "exact=true", f"out={base / 'moved'}", processes=2).stdout
    generate(*TINY, f"out={base / 'ddp'}", processes=2)
    return base


def kill_after(samples, start_processes, root, folder, *options):
    """Starts a run on one process, and kills it when there is a checkpoint of so many samples."""
    process = start_processes(1, root / "recipes/generate.py", *options, f"out={folder}")
    while not any(int(path.name) >= samples for path in checkpoint.find(folder)):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    assert not (folder / "metrics.json").exists()


def read_log(folder):
    """The log without what depends on the clock."""
    clock = ("seconds", "images_per_second", "data_wait", "memory_gb")
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in clock} for line in log]


@pytest.mark.slow
def test_exact_has_the_same_bits_when_killed_and_moved_to_two_processes(runs):
    exact, moved = runs / "exact", runs / "moved"
    assert read_log(exact) == read_log(moved) and read_log(exact)[-1]["samples"] == COMPLETE
    for name in ("model.safetensors", "samples.png"):
        assert (exact / name).read_bytes() == (moved / name).read_bytes()


def test_two_processes_train_like_one(runs):
    one, two = read_log(runs / "exact"), read_log(runs / "ddp")
    assert len(one) == len(two) == 13  # eleven updates, two tests
    for a, b in zip(one, two):
        assert (a["kind"], a["samples"], a.get("lr")) == (b["kind"], b["samples"], b.get("lr"))
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)


def test_the_run_folder_says_all(runs):
    folder = runs / "exact"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    metrics, config = (
        json.loads((folder / "metrics.json").read_text()),
        yaml.safe_load((folder / "config.yaml").read_text()),
    )
    assert config["data"]["mean"] == config["data"]["std"] == [0.5]
    # The loss follows from the files alone: the saved weights, on the test split read by hand, and the noise by row.
    generator, info = load_generator(folder)
    rows = load_dataset("digits", split="test")[:]
    x, labels = torch.stack(rows["image"]) * 2 - 1, torch.tensor(rows["label"])
    noise = flow.draw_noise(np.arange(len(x)), (1, 8, 8), 0, TEST)
    times = torch.from_numpy(flow.uniform(np.arange(len(x)), 1, 0, TEST, flow.TIME)).float()
    place = (1 - times[..., None, None]) * noise + times[..., None, None] * x
    with torch.no_grad():
        error = generator.network(place, times[:, 0], labels) - (x - noise)
    assert metrics["loss"] == pytest.approx(error.square().mean().item(), rel=1e-5)
    assert metrics["test_images"] == 359 and metrics["samples"] == COMPLETE
    card = (folder / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1].replace("path/to/this/folder", str(folder))
    names = {}
    exec(code, names)  # the code in the card
    assert names["pixels"].shape == (16, 3, 8, 8) and names["pixels"].dtype == torch.uint8
    assert info["labels"] == list("0123456789") and yaml.safe_load(card.split("---")[1])["library_name"] == "pytorch"
    pictures = sorted(path.name for path in (folder / "pictures").iterdir())
    assert pictures == ["000000000288.png", f"{COMPLETE:012d}.png"]


@pytest.mark.slow
def test_samples_are_files_by_number_whoever_draws_them(generate, runs, tmp_path):
    folder = runs / "exact"
    said = generate("sample", folder, "count=53", "batch=8", f"out={tmp_path / 'one'}").stdout
    generate("sample", folder, "count=53", "batch=8", f"out={tmp_path / 'two'}", processes=2)
    names = [f"{number:06d}.png" for number in range(53)]
    assert "53 images of 10 classes" in said
    for name in [*names, "metadata.csv"]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert len(list((tmp_path / "one").iterdir())) == len(list((tmp_path / "two").iterdir())) == 54
    rows = load_dataset(str(tmp_path / "one"), split="train")[:]
    assert rows["label"] == [number % 10 for number in range(53)]
    # Each is what the generator makes of the noise of its number, whatever else is in its batch.
    generator, _ = load_generator(folder)
    noise = flow.draw_noise(np.arange(53), (64,), 0, SAMPLE)
    pixels = generator(noise, torch.arange(53) % 10)
    stored = torch.stack(rows["image"]) * 255
    assert torch.equal(pixels[:, :1], pixels[:, 2:]) and (pixels[:, :1] - stored).abs().max() <= 1
    # A row per class, enlarged 8 times, with a pixel in between.
    picture = np.asarray(PIL.Image.open(folder / "samples.png"))
    for number in (0, 13, 52):
        column, row = divmod(number, 10)
        top, left = 8 * (1 + 9 * row), 8 * (1 + 9 * column)
        part = picture[top : top + 64 : 8, left : left + 64 : 8].astype(float)
        assert np.abs(part - pixels[number, 0].numpy()).max() <= 1


@pytest.fixture(scope="module")
def program(root):
    """The module of the program, for tests on one process."""
    spec = importlib.util.spec_from_file_location("generate", root / "recipes/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_samples_of_a_class_guidance_and_a_checkpoint(program, runs, tmp_path):
    path = checkpoint.newest(runs / "stopped")
    options = ["count=9", "label=7", "guidance=3", "steps=5", "seed=4", f"out={tmp_path / 'sevens'}"]
    program.sample(str(path), merge(program.Sample, {}, options))
    rows = load_dataset(str(tmp_path / "sevens"), split="train")[:]
    generator, _ = load_generator(path)
    average = torch.load(path / "state.pt", weights_only=True)["ema"]
    assert all(torch.equal(tensor, average[name]) for name, tensor in generator.network.state_dict().items())
    generator.guidance, generator.steps = 3.0, 5
    pixels = generator(flow.draw_noise(np.arange(9), (64,), 4, SAMPLE), torch.full((9,), 7))
    assert (pixels[:, :1] - torch.stack(rows["image"]) * 255).abs().max() <= 1
    with pytest.raises(UserError, match="is not empty"):
        program.sample(str(path), merge(program.Sample, {}, options))


@pytest.mark.parametrize(
    "options, message",
    [
        (["sample"], "generate.py sample takes one run folder or checkpoint"),
        (["sample", "RUN", "label=ten"], "label=ten: RUN draws 0, 1, 2"),
        (["sample", "RUN", "count=0"], "count=0 should be a whole number, at least 1 (images)"),
        (["model.depth=5"], "data.size=8 cannot be halved 4 times (model.depth=5): set data.size=16"),
        (["model.width=5"], "model.width=5 must be even"),
        (["flow.label_dropout=2"], "flow.label_dropout=2 should be a number, from 0 to 1 (share of"),
        (["optim.class_weights=true"], "there is no option optim.class_weights (there are optim.name"),
    ],
)
def test_mistakes_get_one_line(program, runs, monkeypatch, capsys, tmp_path, options, message):
    run = str(runs / "exact")
    options = [run if option == "RUN" else option for option in options]
    monkeypatch.setattr(sys, "argv", ["generate.py", *options, f"out={tmp_path / 'out'}"])
    monkeypatch.setattr(os, "_exit", sys.exit)  # which would end this process
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 1
    assert f"generate.py: error: {message.replace('RUN', run)}" in capsys.readouterr().err


def test_a_generator_is_no_classifier(runs):
    with pytest.raises(UserError, match="is a generator, which load_generator loads"):
        load_model(runs / "exact")


@pytest.fixture
def torch_fidelity(root, monkeypatch):
    """The package, with what it needs from old NumPy, and, during the test, the small extractor of its worker."""
    package = pytest.importorskip("torch_fidelity")
    registry = package.registry
    for names, name in (
        (registry.FEATURE_EXTRACTORS_REGISTRY, "small"),
        (registry.SAMPLE_SIMILARITY_REGISTRY, "distance"),
    ):
        monkeypatch.setitem(names, name, None)  # so that it is restored at the end
        del names[name]
    spec = importlib.util.spec_from_file_location("generate_fidelity_worker", root / "tests/workers/fidelity.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # where the cache looks for the code of the extractor
    spec.loader.exec_module(module)
    monkeypatch.setattr(np, "int", int, raising=False)
    return package


@pytest.mark.filterwarnings("ignore:.*mostly bias")
def test_fidelity_of_a_run_is_that_of_torch_fidelity(torch_fidelity, runs, tmp_path):
    from recipes import fidelity

    folder = tmp_path / "real"
    folder.mkdir()
    for number, image in enumerate(load_dataset("digits", split="test[:60]", transform=None)["image"]):
        image.resize((16, 16)).save(folder / f"{number}.png")
    torch.set_num_threads(1)
    options = {
        "isc": True,
        "fid": True,
        "kid": True,
        "prc": True,
        "ppl": True,
        "ppl_sample_similarity": "distance",
        "ppl_epsilon": 1e-2,
        "ppl_discard_percentile_lower": None,
        "ppl_discard_percentile_higher": None,
        "feature_extractor": "small",
        "kid_subset_size": 20,
        "isc_splits": 2,
        "batch_size": 10,
        "cuda": False,
        "verbose": False,
        "cache_root": str(tmp_path / "cache"),
        "input1_model_num_samples": 37,
        "input2": str(folder),
    }
    module, _ = load_generator(runs / "exact")
    wrapped = torch_fidelity.GenerativeModelModuleWrapper(module, 64, "normal", 10)
    theirs = torch_fidelity.calculate_metrics(input1=wrapped, input1_model_num_classes=10, **options | {"cache": False})
    for _ in range(2):  # computed, then from the cache
        assert fidelity.calculate_metrics(input1=str(runs / "exact"), **options) == theirs
    assert set(theirs) > {"inception_score_mean", "frechet_inception_distance", "perceptual_path_length_mean"}
    assert len(list((tmp_path / "cache").glob("*/features.safetensors"))) == 2
    with pytest.raises(UserError, match="input1_model_z_size=63, but .* has 64"):
        fidelity.calculate_metrics(input1=str(runs / "exact"), input1_model_z_size=63, **options)
    with pytest.raises(UserError, match="set input1_model_num_samples"):
        fidelity.calculate_metrics(input1=str(runs / "exact"), **options | {"input1_model_num_samples": None})


def test_every_option_is_read_somewhere(root):
    sources = "".join(path.read_text() for path in (root / "recipes").rglob("*.py") if path.name != "config.py")
    for option in fields(Generate):
        inner = fields(option.default_factory()) if option.name in ("model", "optim", "flow", "augment") else []
        for name in [option.name, *(part.name for part in inner)]:
            assert re.search(rf"\.{name}\b", sources), name
