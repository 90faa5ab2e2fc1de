"""A short run of benchmarks/steady.py."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_memory_and_open_files_stay_flat(root):
    command = [sys.executable, root / "benchmarks/steady.py", "--epochs", "30", "--images", "64", "--ways", "streamed",
               "--forms", "files", "tar", "tfrecord"]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
