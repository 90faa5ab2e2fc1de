"""Foreign model folders, checkpoints, features and configs: any bytes give a result or a line, in bounded memory."""

import json
import os
import pickle
import random
import re
import resource
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from dataset_scripts.core.formats.markdown import markdown
from recipes import load_generator, load_model
from recipes.core.config.reading import read_config
from recipes.core.config.tasks import Model, Train, Unet
from recipes.core.errors import UserError
from recipes.core.fidelity.precomputed import read
from recipes.core.fidelity.weights import _check_tensors
from recipes.core.models.hub import push_model
from recipes.core.models.models import build_model
from recipes.core.models.saved import FLOW, holds_generator
from recipes.core.models.unet import UNet
from recipes.core.options import merge, read_options
from recipes.core.run import checkpoint
from recipes.core.run.log import read_record
from recipes.core.run.run_folder import difference

CLASSIFIER = {
    "architecture": "resnet8",
    "width": 4,
    "labels": ["cat", "dog"],
    "channels": 1,
    "size": 8,
    "resize": "whole",
    "mean": [0.5],
    "std": [0.25],
}
GENERATOR = CLASSIFIER | {"architecture": FLOW, "width": 4, "depth": 2, "blocks": 1, "guidance": 1.5, "steps": 2}


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """Makes an allocation of a size that a file merely states fail."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def write(folder, info, model=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(info if isinstance(info, str) else json.dumps(info))
    if model is not None:
        safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    return folder


@pytest.fixture
def classifier(tmp_path):
    return write(tmp_path / "classifier", CLASSIFIER, build_model(Model(name="resnet8", width=4), 1, 2))


@pytest.fixture
def generator(tmp_path):
    return write(tmp_path / "generator", GENERATOR, UNet(Unet(width=4), 1, 1, 2))


def refusal(call, *args, limit=5.0):
    start = time.perf_counter()
    with pytest.raises(UserError) as error:
        call(*args)
    assert time.perf_counter() - start < limit
    said = str(error.value)
    assert "\n" not in said and "\x1b" not in said and len(said) < 1500 and "weights_only" not in said, said
    return said


def test_sound_folders_load(classifier, generator):
    model, info = load_model(classifier)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 2) and info == CLASSIFIER
    drawn, info = load_generator(generator)
    assert drawn(torch.zeros(2, 64), torch.tensor([0, 1])).shape == (2, 3, 8, 8) and info == GENERATOR
    drawn, _ = load_generator(write(generator, GENERATOR | {"mean": [0], "std": [1]}))  # whole numbers are numbers too
    assert drawn(torch.zeros(2, 64), torch.tensor([0, 1])).dtype == torch.uint8
    assert holds_generator(generator) and not holds_generator(classifier)


ABSURD = [None, True, "4", -1, 0, 1.5, float("nan"), float("inf"), 10**9, 10**400, [], {}, [1], "\x1b[31m\n"]
WRONG = {
    "architecture": [
        *ABSURD,
        "resnet99999998",
        "resnet1208",
        "resnet" + "9" * 10_000,
        "resnet²",
        "resnet٨",
        "../evil",
        "timm/hf-hub:a/b",
        "timm/local-dir:/tmp",
        "timm/resnet50.evil",
        "timm/",
        "quantized_resnet18",
        "fcos_resnet50_fpn",
        "vit_h_14",
    ],
    "width": ABSURD,
    "channels": [*ABSURD, 2, 4],
    "size": ABSURD,
    "labels": [*ABSURD, [[]], ["a", 1], ["a"] * 1_000_001, ["a"] * 1_000_000, "ab", {"a": 1}],
    "mean": [*ABSURD[:-4], "0.5", [None], ["a"], [float("nan")], [float("inf")], [0.1, 0.2], [10**400], [[0.5]]],
    "std": [*ABSURD[:-4], [0], [-1.0], [float("nan")], [1e300], [0.1, 0.2]],
    "resize": [1, "both", [], {}],
}
WRONG_FLOW = {
    "width": [*ABSURD, 3, 5],
    "depth": [*ABSURD, 11, 5],
    "blocks": [*ABSURD, 65],
    "steps": ABSURD,
    "guidance": [None, True, "a", float("nan"), float("inf"), 10**400, []],
    "labels": [["a"] * 1_000_000],
    "size": [7, 10**6],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_description_that_cannot_be(classifier, name):
    for value in WRONG[name]:
        write(classifier, CLASSIFIER | {name: value})
        said = refusal(load_model, classifier)
        assert str(classifier) in said, said
    write(classifier, {key: value for key, value in CLASSIFIER.items() if key != name})
    if name != "resize":
        refusal(load_model, classifier)


@pytest.mark.parametrize("name", WRONG_FLOW)
def test_a_description_of_a_generator_that_cannot_be(generator, name):
    for value in WRONG_FLOW[name]:
        write(generator, GENERATOR | {name: value})
        assert str(generator) in refusal(load_generator, generator)


def test_descriptions_that_are_no_json(classifier):
    for text in (
        "",
        "null",
        "[]",
        "[" * 100_000,
        '{"a": ' * 100_000,
        "{",
        '"\\ud800"',
        "9" * 10_000,
        '{"size": ' + "9" * 5000 + "}",
        "{}",
        "\0",
        '{"labels": 1e999}',
    ):
        write(classifier, text)
        assert "config.json" in refusal(load_model, classifier)
        assert not holds_generator(classifier)
    (classifier / "config.json").write_bytes(b"\xff\xfe{}")
    assert "it is not UTF-8 at byte 0" in refusal(load_model, classifier)
    (classifier / "config.json").unlink()
    os.mkfifo(classifier / "config.json")
    assert "config.json is not a file" in refusal(load_model, classifier)
    assert not holds_generator(classifier)
    with open(classifier / "large.json", "wb") as file:
        file.truncate(10**9)
    os.replace(classifier / "large.json", classifier / "config.json")
    assert "config.json has more than 50,000,000 bytes" in refusal(load_model, classifier)


def test_weights_that_disagree_with_the_description(classifier, generator):
    for change in (
        {"width": 4096},
        {"labels": ["a"] * 100_000},
        {"architecture": "resnet1202"},
        {"architecture": "cifarnet", "width": 4096},
        {"architecture": "vit_h_14", "channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3},
    ):
        write(classifier, CLASSIFIER | change)
        assert "config.json and weights differ" in refusal(load_model, classifier, limit=20)
    for change in ({"width": 1024}, {"depth": 3, "blocks": 64}, {"labels": ["a"] * 100_000}):
        write(generator, GENERATOR | change)
        assert "config.json and weights differ" in refusal(load_generator, generator, limit=20)
    write(classifier, CLASSIFIER)
    good = (classifier / "model.safetensors").read_bytes()
    header = b'{"stem.weight":{"dtype":"F32","shape":[999999999,999999999],"data_offsets":[0,4]}}'
    for content in (
        b"",
        b"\0" * 8,
        b"\xff" * 100,
        good[:-1],
        good[:20],
        good + b"\0",
        len(header).to_bytes(8, "little") + header + b"\0" * 4,
    ):
        (classifier / "model.safetensors").write_bytes(content)
        assert str(classifier) in refusal(load_model, classifier)


class Exploit:
    def __reduce__(self):
        return print, ("code of a weights file was run",)


def checkpoints(folder):
    """Files from torch.save that are not checkpoints."""
    state = build_model(Model(name="resnet8", width=4), 1, 2).state_dict()
    torch.save({"ema": None, "model": state}, folder / "good.pt")
    good = (folder / "good.pt").read_bytes()
    for name, value in {
        "code": {"model": Exploit()},
        "list": [state],
        "none": None,
        "text": "a",
        "missing": {"ema": None},
        "numbers": {"model": {"a": 1}, "ema": 0},
        "keys": {"model": {1: torch.ones(1)}, "ema": None},
        "view": {"model": {"a": torch.zeros(1).expand(10**12)}, "ema": None},
        "sparse": {"model": {"a": torch.eye(3).to_sparse()}, "ema": None},
        "meta": {"model": {"a": torch.empty(10**12, device="meta")}, "ema": None},
        "complex": {"model": {key: value.to(torch.complex64)[..., None] for key, value in state.items()}, "ema": None},
    }.items():
        torch.save(value, folder / f"{name}.pt")
    torch.save({"model": state, "ema": None}, folder / "old.pt", _use_new_zipfile_serialization=False)
    (folder / "empty.pt").write_bytes(b"")
    (folder / "cut.pt").write_bytes(good[: len(good) // 2])
    (folder / "old cut.pt").write_bytes((folder / "old.pt").read_bytes()[:-100])
    (folder / "pickle.pt").write_bytes(pickle.dumps(Exploit()))
    (folder / "bytes.pt").write_bytes(os.urandom(1000))
    with zipfile.ZipFile(folder / "packed.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"0" * 100_000_000)
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), folder / "script.pt")
    return {path.stem: path for path in sorted(folder.glob("*.pt"))}


def test_checkpoints_that_are_none(classifier, tmp_path, capfd):
    place = classifier / "checkpoints/000000000001"
    place.mkdir(parents=True)
    for name, path in checkpoints(tmp_path).items():
        (place / "state.pt").write_bytes(path.read_bytes())
        (place / "progress.json").write_text("{}")
        if name in ("good", "old"):
            load_model(place)
            checkpoint.load(place)
            continue
        said = refusal(load_model, place)
        assert str(place) in said, (name, said)
        assert "which is code" in said or name != "code", (name, said)
        os.rename(path, path.with_suffix(".pth"))
        said = refusal(build_model, Model(name="resnet8", width=4, weights=str(path.with_suffix(".pth"))), 1, 2)
        assert said.startswith(f"model.weights={path.with_suffix('.pth')}"), (name, said)
        if name not in ("missing", "sparse", "view", "meta", "complex", "keys", "numbers", "text", "none", "list"):
            assert "state.pt cannot be read" in refusal(checkpoint.load, place)
            assert "is not a dict of tensors" in refusal(_check_tensors, path.with_suffix(".pth"))
    assert "was run" not in "".join(capfd.readouterr())


def test_a_manifest_lists_the_two_files_and_nothing_else(tmp_path):
    checkpoint.save(tmp_path, 1, {"a": torch.ones(1)}, {"seen": 1}, keep=2)
    (place,) = checkpoint.find(tmp_path)
    assert checkpoint.is_sound(place) and checkpoint.load(place)[1] == {"seen": 1}
    manifest = json.loads((place / "manifest.json").read_text())
    os.mkfifo(tmp_path / "pipe")
    for change in ({"../../pipe": "0"}, {"/dev/zero": "0"}, {"\0": ""}, {"state.pt": None}, {"state.pt": []}):
        (place / "manifest.json").write_text(json.dumps(manifest | change))
        assert not checkpoint.is_sound(place)
    for text in ("", "{}", "[]", "null", "[" * 100_000, '{"state.pt": "' + manifest["state.pt"] + '"}', "\0"):
        (place / "manifest.json").write_text(text)
        assert not checkpoint.is_sound(place)


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def stated(path, header, content=b"\0" * 64):
    """An .npz with one array and any header."""
    text = header.encode() + b" " * (118 - len(header) - 1) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("features.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content)
    return path


def test_features_and_statistics_that_cannot_be(tmp_path):
    path, rows = tmp_path / "features.npz", np.ones((4, 3))
    assert read(npz(path, features=rows)).arrays["features"].dtype == torch.float64
    for kind in (">f4", "<f2", "f8", np.longdouble):
        assert read(npz(path, features=rows.astype(kind))).arrays["features"].sum() == 12
    assert read(npz(path, a=np.zeros((2, 3, 4), np.uint8))) is None and read(npz(path, a=np.array(["x"]))) is None
    for arrays in (
        {"a": np.zeros((0, 3))},
        {"a": np.zeros((3, 0))},
        {"a": rows * np.nan},
        {"a": rows * np.inf},
        {"a": rows * 1e200},
        {"mu": np.ones(3)},
        {"sigma": rows},
        {"mu": np.ones(3), "sigma": rows},
        {"mu": np.ones((3, 1)), "sigma": np.eye(3)},
        {"mu": np.ones(0), "sigma": np.ones((0, 0))},
    ):
        assert str(path) in refusal(read, npz(path, **arrays))
    for shape in ("(100000000000,)", "(10, -1)", "(999999, 999999)", "(1" + "0" * 30 + ", 1)"):
        header = "{'descr': '<f8', 'fortran_order': False, 'shape': " + shape + ", }"
        assert str(path) in refusal(read, stated(path, header))
    for header in (
        "[" * 100,
        "{'descr': '<f8'}",
        "__import__('os').system('id')",
        "{'descr': 'x', 'fortran_order': 1, 'shape': (1,)}",
    ):
        assert str(path) in refusal(read, stated(path, header))
    np.savez(path, a=np.array([Exploit()], dtype=object), b=rows)
    assert list(read(path).arrays) == ["b"]  # an object would have to be unpickled, so it is left out
    np.savez_compressed(path, a=np.zeros((10_000, 10_000)))
    assert "for which the file is too small" in refusal(read, path)
    good = npz(path, features=rows).read_bytes()
    for content in (
        b"",
        b"PK",
        good[:100],
        good[:-10],
        pickle.dumps(Exploit()),
        os.urandom(500),
        good.replace(b"\0\0\xf0?", b"\0\0\xf0@", 1),
    ):
        path.write_bytes(content)
        assert str(path) in refusal(read, path)
    weights = tmp_path / "features.safetensors"
    safetensors.torch.save_file({"a": torch.ones(4, 3, dtype=torch.bfloat16)}, weights)
    assert read(weights).arrays["a"].dtype == torch.float32
    weights.write_bytes(b"\xff" * 100)
    assert str(weights) in refusal(read, weights)


BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)


def test_configs_that_cannot_be(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    path = tmp_path / "my.yaml"
    for text in (
        "data: {path: '${oc.env:SECRET}'}",
        "data: ${oc.env:SECRET}",
        "epochs: ${batch}",
        "log_with: ['${oc.env:SECRET}']",
        BOMB,
        "a: &a [*a]",
        "batch: " + "9" * 10_000,
        "[" * 100_000,
        "- a",
        "a",
        "a: [",
        "\0",
        "batch: 0",
        "epochs: .nan",
        "optim: {lr: .inf}",
        "seed: 99999999999999999999",
        "data: {mean: [.nan]}",
        "data: 1",
        "1: 2",
        "? [a]\n: b",
        "batch: !!python/object/apply:os.getcwd []",
        "batch: 1\nbatch: 2",
        "accumulate: -1",
        "data: {size: 0}",
        "model: null",
        "batch: [1]",
        "data: {path: 2020-13-45, size: a}",
        "ddp: {bucket_mb: 0}",
    ):
        path.write_text(text)
        said = refusal(read_config, Train, [str(path)], "digits")
        assert "hunter2" not in said and str(path) in said, (text, said)
    for content in (b"\xff\xfea", bytes(range(256))):
        path.write_bytes(content)
        assert str(path) in refusal(read_config, Train, [str(path)], "digits")
    for option in (
        "data.path=${oc.env:SECRET}",
        "batch=0",
        "epochs=nan",
        "a=[[[",
        "batch=" + "9" * 10_000,
        "a=" + "[" * 5000,
        "batch=0x" + "f" * 5000,
        "data=1",
        "data.mean=[.inf]",
        "a.b.c=1",
        "batch=\x1b[31m",
    ):
        assert "hunter2" not in refusal(merge, Train, {}, [option])
    path.write_text("data: {path: 2020-01-01, mean: [1e-1]}\noptim: {lr: 1e-3}\nepochs: 3\n")
    config, *_ = read_config(Train, [str(path)], "digits")
    assert (config.data.path, config.data.mean, config.optim.lr, config.epochs) == ("2020-01-01", [0.1], 0.001, 3.0)
    for text in ("- a", BOMB, "a: [", "data: '${oc.env:SECRET}'"):
        (tmp_path / "config.yaml").write_text(text)
        assert "hunter2" not in str(difference(tmp_path, Train()))
    assert read_options(path)["optim"] == {"lr": "1e-3"}


def test_logs_that_are_cut():
    assert read_record('{"kind": "train"}\n', Path("log.jsonl"), 1) == {"kind": "train"}
    for line in ('{"kind": "tra', "", "1", "null", "[" * 100_000, "\x1b[31m"):
        assert "log.jsonl, line 7" in refusal(read_record, line, Path("log.jsonl"), 7)


def test_commands_end_in_one_line(root, run_processes, classifier, tmp_path):
    """The programs themselves report the errors."""
    write(classifier, CLASSIFIER | {"labels": "ab", "architecture": "a\n\x1b[31mb"})
    (classifier / "config.yaml").write_text("data: {path: '${oc.env:SECRET}'}\n")
    words = [root / "recipes/evaluate.py", classifier, "cpu=true"]
    result = run_processes(1, *words, check=False, cwd=tmp_path, SECRET="hunter2")
    (line,) = [line for line in result.stderr.splitlines() if "error" in line]
    assert (
        result.returncode == 1 and "Traceback" not in result.stderr and "\x1b" not in line and str(classifier) in line
    ), result.stderr
    assert "hunter2" not in result.stderr


def test_push_takes_no_file_from_elsewhere(classifier, tmp_path):
    (tmp_path / "secret").write_text("mine")
    (classifier / "README.md").write_bytes(b"# A\n")
    (classifier / "more.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="more.txt is a link to .*secret, outside of the folder"):
        push_model(classifier, "ann/model", token="hf_x")
    (classifier / "more.txt").unlink()
    (classifier / "README.md").write_bytes(b"\xff")
    with pytest.raises(UserError, match="README.md: it is not UTF-8"):
        push_model(classifier, "ann/model", token="hf_x")


@pytest.mark.slow
def test_names_do_not_lead_out_of_the_card_of_a_run(root, run_processes, save_image, tmp_path):
    names = ["![](http:evil)", "<script>", "$x^$", "a|b", "a`b", "-->"]
    for name in names:
        for part, count in (("train", 4), ("test", 1)):
            for number in range(count):
                save_image(tmp_path / "[photos](x)" / part / name / f"{number}.png", (8, 8))
    options = [
        "digits",
        f"data.path={tmp_path / '[photos](x)'}",
        "batch=8",
        "epochs=1",
        "cpu=true",
        "model.name=resnet8",
        "model.width=4",
        f"out={tmp_path / 'run'}",
        "augment.pad=0",
    ]
    run_processes(1, root / "recipes/train.py", *options)
    text = (tmp_path / "run/README.md").read_text()
    body = re.sub("(?ms)^```.*?^```", "", text)
    for name in names:
        assert markdown(name) in body
    bare = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", body)
    assert not re.search(r"!\[\]|<script|-->|\]\(x\)", bare) and (tmp_path / "run/mistakes.png").exists()
    assert load_model(tmp_path / "run")[1]["labels"] == sorted(names)


def test_random_damage(classifier, tmp_path):
    """Any byte of any file of a model folder."""
    rng = random.Random(0)
    folder = tmp_path / "damaged"
    folder.mkdir()
    files = {name: (classifier / name).read_bytes() for name in ("config.json", "model.safetensors")}
    torch.save({"ema": None, "model": load_model(classifier)[0].state_dict()}, tmp_path / "state.pt")
    place = folder / "checkpoints/000000000001"
    place.mkdir(parents=True)
    files["checkpoints/000000000001/state.pt"] = (tmp_path / "state.pt").read_bytes()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for _ in range(150):
        name = rng.choice(list(files))
        damaged = bytearray(files[name])
        for _ in range(rng.choice([1, 3, 20])):
            damaged[min(int(rng.expovariate(1 / 300)), len(damaged) - 1)] = rng.randrange(256)
        (folder / name).write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
        for path in (folder, place):
            try:
                load_model(path)
            except UserError as error:
                assert "\n" not in str(error) and "weights_only" not in str(error)
        (folder / name).write_bytes(files[name])
