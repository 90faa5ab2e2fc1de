"""The findings of fuzzing that were kept, and some new executions of every target; `make fuzz` runs many."""

import json
import subprocess
import sys

import pytest


@pytest.fixture
def fuzz(root, run_processes, tmp_path):
    """Runs the command, checks that it finds nothing, and returns its results."""

    def run(*args):
        results = tmp_path / "results.json"
        words = ["--processes", "2", "--results", results, *args]
        done = run_processes(1, root / "tests/fuzz/__main__.py", *words, check=False)
        assert done.returncode in (0, 1) and results.exists(), done.stderr[-3000:]
        content = json.loads(results.read_text())
        found = [f"{item['file']}:{item['line']}: {item['text']}\n  {item['command']}" for item in content["findings"]]
        assert not found, "\n".join(found)
        return content

    return run


def test_findings_that_were_kept(root, fuzz):
    kept = len(list(root.glob("tests/fuzz/findings/*/*.json")))
    assert fuzz("--replay")["targets"][-1]["executions"] == kept


def test_new_executions(fuzz):
    """Every example gives rows, and nothing that is done to it gives more than an error in one line."""
    targets = fuzz("--executions", "1000")["targets"][:-1]
    assert len(targets) > 60 and all(target["executions"] > 5 for target in targets)


def test_an_execution_is_a_function_of_its_number(root, run_processes, tmp_path):
    """In a fork, and in a new process, in which hashes of text are others."""
    words = [root / "tests/fuzz/__main__.py", "--target", "coco_masks", "--execution", "7", "--write"]
    run_processes(1, *words, tmp_path / "one")
    subprocess.run([sys.executable, *words, tmp_path / "two"], check=True, timeout=120)
    one, two = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two and len(one) > 1
