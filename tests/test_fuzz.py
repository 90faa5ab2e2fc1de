"""The findings of fuzzing that were kept, and some new executions of every target; `make fuzz` runs many."""

import json
import subprocess
import sys


def fuzz(root, results, *args):
    """Runs the command, checks that it finds nothing, and returns its results."""
    command = [sys.executable, root / "tests/fuzz", "--processes", "2", "--results", results, *args]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode in (0, 1) and results.exists(), run.stderr[-3000:]
    content = json.loads(results.read_text())
    found = [f"{item['file']}:{item['line']}: {item['text']}\n  {item['command']}" for item in content["findings"]]
    assert not found, "\n".join(found)
    return content


def test_findings_that_were_kept(root, tmp_path):
    kept = len(list(root.glob("tests/fuzz/findings/*/*.json")))
    assert fuzz(root, tmp_path / "results.json", "--replay")["targets"][-1]["executions"] == kept


def test_new_executions(root, tmp_path):
    """Every example gives rows, and nothing that is done to it gives more than an error in one line."""
    targets = fuzz(root, tmp_path / "results.json", "--executions", "1000")["targets"][:-1]
    assert len(targets) > 60 and all(target["executions"] > 5 for target in targets)


def test_an_execution_is_a_function_of_its_number(root, tmp_path):
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        command = [sys.executable, root / "tests/fuzz", "--target", "coco_masks", "--execution", "7", "--write", folder]
        subprocess.run(command, check=True, timeout=120)
        written.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert written[0] == written[1] and len(written[0]) > 1
