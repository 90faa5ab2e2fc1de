"""A short part of `tests/hour.py`: docs/robustness.md has the results of an hour."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_one_story(root):
    result = subprocess.run(
        [sys.executable, root / "tests/hour.py", "--minutes=0.1", "--stories=1"],
        cwd=root,
        text=True,
        capture_output=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    figures = json.loads(result.stdout)
    assert figures["stories"] == figures["same result"] == 1
