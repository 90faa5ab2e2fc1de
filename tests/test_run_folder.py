"""A run only uses folders made by a run: nothing else is deleted or replaced unless requested."""

import contextlib
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from recipes.core.config.tasks import Train
from recipes.core.errors import UserError
from recipes.core.run import checkpoint
from recipes.core.run.run_folder import MARKER, open_run_folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def opened(out, config=Train(), name="digits"):
    with contextlib.ExitStack() as held:
        yield open_run_folder(out, name, config, held)


def users(folder):
    """A user's own folder, with file names that a run also has."""
    for name in (
        "README.md",
        "config.json",
        "model.safetensors",
        "checkpoints/best.ckpt",
        "checkpoints/0010/weights.bin",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"mine: {name}")
    return folder


def test_a_users_folder_is_left_alone(tmp_path):
    mine = users(tmp_path / "mine")
    before = contents(mine)
    with (
        pytest.raises(UserError, match=r"is not empty \(README.md\), and was not made by a run: .*overwrite=true"),
        opened(str(mine)),
    ):
        pass
    assert contents(mine) == before


@pytest.mark.parametrize("out", ["", " "])
def test_no_name_is_no_folder(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="names no folder"), opened(out):
        pass
    assert not list(tmp_path.iterdir())


def test_overwriting_touches_only_what_a_run_writes(tmp_path):
    mine = users(tmp_path / "mine")
    before = contents(mine)
    with opened(str(mine), replace(Train(), overwrite=True)) as folder:
        checkpoint.save(folder, 64, {"model": {}}, {"seen": 64}, keep=1)
        checkpoint.save(folder, 128, {"model": {}}, {"seen": 128}, keep=1)
        assert [path.name for path in checkpoint.find(folder)] == ["000000000128"]
        checkpoint.remove_all(folder)
    after = contents(mine)
    assert after.pop(MARKER) and after.pop("config.yaml") and after == before


def test_a_run_marks_its_folder_and_is_known_by_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in (None, "new", "new"):
        with opened(out) as folder:
            assert (folder / MARKER).is_file()
    (folder / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="holds a finished run"), opened("new"):
        pass
    with pytest.raises(UserError, match="holds a finished run"), opened("new", replace(Train(), overwrite=True)):
        pass


HOLD = """
import contextlib, os, sys, time
from recipes.core.run import run_folder
from recipes.core.config.tasks import Train
from recipes.core.errors import UserError
run_folder.PATIENCE = 2
print("ready", flush=True)
while not os.path.exists("go"):
    pass
with contextlib.ExitStack() as held:
    try:
        print(run_folder.open_run_folder(sys.argv[1] or None, "digits", Train(), held), flush=True)
    except UserError as error:
        sys.exit(f"refused: {error}")
    time.sleep(60)
"""


@contextlib.contextmanager
def holding(root, *outs):
    """Processes that open a folder each, at the same instant, and hold it."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, out],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(root),
        )
        for out in outs
    ]
    try:
        assert [run.stdout.readline() for run in runs] == ["ready\n"] * len(runs)
        Path("go").touch()
        yield runs
    finally:
        for run in runs:
            run.kill()
            run.communicate()


def test_two_at_once_do_not_share_a_folder(tmp_path, monkeypatch, root):
    """Whether a run is finished is checked only once the folder is held."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recipes.core.run.run_folder.PATIENCE", 1.6)
    with holding(root, "one") as (other,):
        assert other.stdout.readline().strip() == "one"
        with pytest.raises(UserError, match="in use by a run that is going on"), opened("one"):
            pass
        other.kill()
        with opened("one") as folder:  # the system has released the lock
            assert folder.name == "one"


def test_a_run_of_the_same_options_is_not_begun_beside_one_that_lives(tmp_path, monkeypatch, root, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recipes.core.run.run_folder.PATIENCE", 1.6)
    with holding(root, "") as (first,):
        assert first.stdout.readline().strip() == "runs/digits-1"  # it has no checkpoint yet
        with (
            pytest.raises(UserError, match="runs/digits-1 is in use by a run with the same options.*out="),
            opened(None),
        ):
            pass
        assert capsys.readouterr().err == "waiting for another run to leave runs/digits-1\n"
        with opened(None, replace(Train(), seed=1)) as other:  # another run does not interfere
            assert other.name == "digits-2"
        first.kill()
        with opened(None) as folder:  # killed before its first checkpoint, it begins again in its own folder
            assert folder.name == "digits-1"
    (folder / "metrics.json").write_text("{}")
    with opened(None) as folder:
        assert folder.name == "digits-3"
    assert sorted(path.name for path in Path("runs").iterdir()) == ["digits-1", "digits-2", "digits-3"]


def test_of_the_same_command_given_several_times_at_once_one_run_begins(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    with holding(root, "", "") as runs:
        end = time.monotonic() + 60
        while sum(run.poll() is not None for run in runs) < 1 and time.monotonic() < end:
            time.sleep(0.1)
        refused = [run.communicate()[1] for run in runs if run.poll() is not None]
        assert len(refused) == 1 and all("refused: runs/digits-1 is in use" in errors for errors in refused)
    assert [path.name for path in Path("runs").iterdir() if path.name != ".lock"] == ["digits-1"]


def _environment(root):
    import os

    return {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
