"""The folder of a run is one that a run has made: nothing that lies elsewhere is deleted or replaced unasked."""

import contextlib
import subprocess
import sys
from dataclasses import replace

import pytest

from recipes.core import checkpoint
from recipes.core.config import Train
from recipes.core.run_folder import MARKER, open_run_folder
from recipes.core.runtime import UserError


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def opened(out, config=Train(), name="digits"):
    with contextlib.ExitStack() as held:
        yield open_run_folder(out, name, config, held)


def users(folder):
    """A folder of somebody's own, with names that a run has, too."""
    for name in ("README.md", "config.json", "model.safetensors", "checkpoints/best.ckpt", "checkpoints/0010/weights.bin"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"mine: {name}")
    return folder


def test_a_users_folder_is_left_alone(tmp_path):
    mine = users(tmp_path / "mine")
    before = contents(mine)
    with pytest.raises(UserError, match=r"is not empty \(README.md\), and no run has made it: .*overwrite=true"), opened(str(mine)):
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
    assert after.pop(MARKER) and after == before


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
import contextlib, sys, time
from recipes.core.config import Train
from recipes.core.run_folder import open_run_folder
with contextlib.ExitStack() as held:
    print(open_run_folder(sys.argv[1] or None, "digits", Train(), held), flush=True)
    time.sleep(60)
"""


def test_two_at_once_do_not_share_a_folder(tmp_path, monkeypatch, root):
    """What is finished is looked at only once the folder is held."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recipes.core.run_folder.PATIENCE", 0.2)
    with subprocess.Popen([sys.executable, "-c", HOLD, "one"], stdout=subprocess.PIPE, text=True, env=_environment(root)) as other:
        assert other.stdout.readline().strip() == "one"
        with pytest.raises(UserError, match="in use by a run that is going on"), opened("one"):
            pass
        other.kill()
    with opened("one") as folder:  # the system has let go of it
        assert folder.name == "one"


def test_runs_started_together_get_folders_of_their_own(tmp_path, root):
    command = [sys.executable, "-c", HOLD, ""]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=_environment(root)) for _ in range(4)]
    try:
        assert len({run.stdout.readline().strip() for run in runs} - {""}) == 4
    finally:
        for run in runs:
            run.kill()
            run.wait()
            run.stdout.close()


def _environment(root):
    import os

    return {**os.environ, "PYTHONPATH": str(root)}
