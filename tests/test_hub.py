"""Hub ids go to `datasets` with the transform attached; code on the Hub is never run. A real HTTP server answers."""

import os
import subprocess
import sys

import pytest

from dataset_scripts import load_dataset

PROGRAM = """
import sys
from dataset_scripts import load_dataset

rows = load_dataset(sys.argv[1], split="test")
print(tuple(rows[7]["image"].shape), float(rows[7]["image"].sum()), rows[7]["label"], len(rows))
row = next(iter(load_dataset(sys.argv[1], split="test", streaming=True)))
print(tuple(row["image"].shape), float(row["image"].sum()), row["label"])
"""


@pytest.fixture
def serve(root):
    servers = []

    def start(folder, repo):
        server = subprocess.Popen(
            [sys.executable, root / "tests/hub.py", folder, repo], stdout=subprocess.PIPE, text=True
        )
        servers.append(server)
        return server.stdout.readline().strip()

    yield start
    for server in servers:
        server.terminate()
        server.wait()


def load_in_new_process(endpoint, repo, home):
    env = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
    }
    return subprocess.run([sys.executable, "-c", PROGRAM, repo], env=env, capture_output=True, text=True, timeout=120)


def test_a_hub_id_gives_tensors(serve, tmp_path):
    rows = load_dataset("digits", split="test", transform=None)
    (tmp_path / "repo" / "data").mkdir(parents=True)
    rows.to_parquet(tmp_path / "repo" / "data" / "test-00000-of-00001.parquet")
    result = load_in_new_process(serve(tmp_path / "repo", "ann/digits"), "ann/digits", tmp_path / "home")
    ours = load_dataset("digits", split="test")
    expected = [
        f"(1, 8, 8) {float(ours[7]['image'].sum())} {ours[7]['label']} 359",
        f"(1, 8, 8) {float(ours[0]['image'].sum())} {ours[0]['label']}",
    ]
    assert result.stdout.splitlines() == expected, result.stderr[-3000:]


def test_a_script_on_the_hub_is_not_run(serve, tmp_path):
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "trap.py").write_text("print('this code must not run')\n")
    result = load_in_new_process(serve(tmp_path / "repo", "ann/trap"), "ann/trap", tmp_path / "home")
    assert result.returncode != 0 and "must not run" not in result.stdout
    assert "scripts are no longer supported" in result.stderr
