"""Means and deviations over runs."""

import json
import statistics
import subprocess
import sys

import pytest
import yaml

from recipes.summary import summarize


@pytest.fixture
def runs(tmp_path):
    for seed, accuracy in enumerate((0.98, 0.99, 0.995)):
        folder = tmp_path / f"run-{seed}"
        folder.mkdir()
        metrics = {"accuracy": accuracy, "weights": "abc", "validation": {"loss": seed / 10}, "by_class": [{"f1": 1}]}
        (folder / "metrics.json").write_text(json.dumps(metrics | ({"odd": 1} if seed else {})))
        options = {"seed": seed, "out": str(folder), "optim": {"lr": 0.1}, "batch": 32 if seed else 64}
        (folder / "config.yaml").write_text(yaml.safe_dump(options))
    return sorted(tmp_path.iterdir())


def test_means_and_deviations(root, runs, tmp_path):
    numbers, differing = summarize(runs)
    assert numbers.keys() == {"accuracy", "validation.loss"} and differing == {"batch": ["64", "32", "32"]}
    assert numbers["accuracy"] == (pytest.approx(2.965 / 3), pytest.approx(statistics.stdev([0.98, 0.99, 0.995])))
    assert summarize(runs[1:2])[0]["odd"] == (1, 0.0)
    script = root / "recipes/summary.py"
    said = subprocess.run([sys.executable, script, *runs], capture_output=True, text=True, cwd=root)
    assert "| runs | 3 | |" in said.stdout and "| accuracy | 0.988333 | 0.0076 |" in said.stdout
    assert "batch differs: 64, 32, 32" in said.stdout
    failed = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, cwd=root)
    assert failed.returncode == 1 and failed.stderr.endswith("is not a finished run: it has no metrics.json\n")
