"""Systems other than Linux: what macOS and Windows lack is taken away (`tests/platforms`), and real commands run without it."""

import ast
import os
import subprocess
import sys

import pytest

from recipes.core.config import Generate, Train
from recipes.core.options import describe

SHORT = ["cpu=true", "model.name=resnet8", "model.width=8", "epochs=0.1", "batch=64", "threads=1"]


@pytest.fixture
def run_on(root, tmp_path):
    """Runs Python without what a system lacks, and with the encoding that Windows gives to a pipe."""

    def run(platform, *words, timeout=240, status=0):
        environment = {"PLATFORM": platform, "PYTHONPATH": f"{root / 'tests/platforms'}{os.pathsep}{root}"}
        if platform == "windows":
            environment |= {"PYTHONIOENCODING": "cp1252", "PYTHONWARNDEFAULTENCODING": "1", "PYTHONUTF8": "0"}
        done = subprocess.run([sys.executable, *map(str, words)], cwd=tmp_path, env=os.environ | environment,
                              capture_output=True, text=True, encoding="cp1252", timeout=timeout)  # fmt: skip
        assert done.returncode == status, done.stdout[-2000:] + done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture
def photos(tmp_path, save_image):
    """A folder of classes, one of whose names is in no code page of Windows."""
    for split, count in (("train", 70), ("test", 6)):
        for name in ("数字", "b"):
            for number in range(count):
                save_image(tmp_path / "photos" / split / name / f"{number}.png", size=(8, 8), mode="L")
    return tmp_path / "photos"


@pytest.mark.parametrize("platform", ["macos", "windows"])
def test_a_training_without_what_a_system_lacks(root, run_on, platform, photos, tmp_path):
    workers = ["data.workers=1", "data.memory_gb=0"] if platform == "windows" else []  # which are spawned, not forked
    said = run_on(platform, root / "recipes/train.py", *SHORT, f"data.path={photos}", *workers, "out=run", "evaluate_every=9",
                  "batch=12", "epochs=0.2", "save_every=12")  # fmt: skip
    assert "12 test images right" in said
    assert not list((tmp_path / "run").glob("**/.*.partial")) and (tmp_path / "run/model.safetensors").is_file()
