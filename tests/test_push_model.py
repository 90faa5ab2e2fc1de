"""A trained model pushed to a real HTTP server, by the command, and loaded from there."""

import json
import shutil

import pytest
import torch

from recipes import load_model

LOAD = """
import sys
import torch
from recipes import load_model

model, info = load_model(sys.argv[1], *sys.argv[2:])
torch.manual_seed(0)
print(info["labels"], model(torch.randn(4, 1, 8, 8)).flatten().tolist())
"""


@pytest.fixture(scope="module")
def run(root, run_processes, tmp_path_factory):
    """A finished run of the digits, with a checkpoint left and an evaluation, which are no part of the model."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    options = ["digits", "epochs=0.2", "model.width=4", "optim.warmup=0", f"out={folder}"]
    run_processes(1, root / "recipes/train.py", *options)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/state.pt").write_text("large")
    return folder


def at(endpoint, home, token="hf_write"):
    return {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": token,
    }


@pytest.fixture
def push(root, run_processes):
    """Runs push.py in the environment of a person who has a token."""

    def run(*words, **env):
        return run_processes(1, root / "recipes/push.py", *words, check=False, **env)

    return run


def test_push_and_load(run, hub, push, run_processes, tmp_path):
    endpoint, folder, state = hub("ann/digits", "model")
    result = push(run, "ann/digits", **at(endpoint, tmp_path / "home"))
    assert result.stdout.splitlines() == [f"{endpoint}/ann/digits"], result.stderr[-3000:]
    assert json.loads((state / "repo.json").read_text()) == {"private": True}
    names = {path.name for path in run.iterdir() if path.is_file()}
    assert (
        {path.name for path in folder.iterdir()}
        == names - {".run.json"}
        >= {"README.md", "config.json", "model.safetensors", "curves.png"}
    )
    card = (folder / "README.md").read_text()
    assert 'load_model("ann/digits")' in card
    assert card.replace("ann/digits", "path/to/this/folder") == (run / "README.md").read_text()
    assert all((folder / name).read_bytes() == (run / name).read_bytes() for name in names - {"README.md", ".run.json"})

    (tmp_path / "load.py").write_text(LOAD)

    def load(*arguments):
        env = at(endpoint, tmp_path / "reader", "hf_read")
        return run_processes(1, tmp_path / "load.py", *arguments, check=False, cwd=tmp_path, **env)

    model, info = load_model(run)
    torch.manual_seed(0)
    loaded = load("ann/digits")
    assert loaded.stdout == f"{info['labels']} {model(torch.randn(4, 1, 8, 8)).flatten().tolist()}\n", loaded.stderr[
        -3000:
    ]
    assert "ann/other is neither a folder here nor a model on the Hub: " in load("ann/other").stderr

    # Again: nothing is sent. To a branch: it is made, and main stays.
    (state / "log").unlink()
    again = push(run, "ann/digits", **at(endpoint, tmp_path / "home"))
    assert again.returncode == 0 and "/commit/" not in (state / "log").read_text()
    branch = push(run, "ann/digits", "revision=v2", **at(endpoint, tmp_path / "home"))
    assert branch.returncode == 0 and (state / "branches/v2/model.safetensors").exists()
    assert load("ann/digits", "v2").stdout == loaded.stdout


def test_push_refuses_and_says_why(run, hub, push, tmp_path):
    endpoint, folder, state = hub("ann/digits", "model")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run, unfinished)
    (unfinished / "model.safetensors").unlink()
    for words, token, message in [
        (
            (unfinished, "ann/digits"),
            "hf_write",
            f"push.py: error: {unfinished} is not the folder of a finished run: model.saf",
        ),
        ((run, "ann/digits"), "hf_read", f"push.py: error: ann/digits: {endpoint} answered 403"),
        ((run, "a/b/c"), "hf_write", "push.py: error: repo_id='a/b/c' is not the name of a model"),
        ((run,), "hf_write", "push.py: error: push.py takes a run folder and USER/NAME"),
    ]:
        result = push(*words, **at(endpoint, tmp_path / "home", token))
        assert result.returncode == 1 and result.stderr.splitlines()[-1].startswith(message), result.stderr[-2000:]
    (state / "repo.json").write_text('{"private": false}')
    refused = push(run, "ann/digits", **at(endpoint, tmp_path / "home")).stderr.splitlines()[-1]
    assert refused.startswith(f"push.py: error: {endpoint}/ann/digits is public already: pass private=False")
    assert not any(folder.iterdir())
    public = push(run, "ann/digits", "private=false", **at(endpoint, tmp_path / "home"))
    assert public.returncode == 0 and (folder / "model.safetensors").exists()
