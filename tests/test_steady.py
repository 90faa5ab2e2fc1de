"""A short run of benchmarks/steady.py."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_memory_and_open_files_stay_flat(root):
    # 5 %: in the first epochs, forked workers still copy pages that they share with their parent
    command = [
        sys.executable,
        root / "benchmarks/steady.py",
        "--epochs",
        "30",
        "--images",
        "64",
        "--ways",
        "streamed",
        "--forms",
        "files",
        "tar",
        "tfrecord",
        "--growth",
        "0.05",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
