"""Hub ids go to `datasets` with the transform attached; code on the Hub is never run. A real HTTP server answers."""

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


@pytest.fixture
def load_in_new_process(run_processes, tmp_path):
    def load(endpoint, repo):
        env = {
            "HF_ENDPOINT": endpoint,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
        }
        (tmp_path / "program.py").write_text(PROGRAM)
        return run_processes(1, tmp_path / "program.py", repo, check=False, **env)

    return load


def test_a_hub_id_gives_tensors(serve, load_in_new_process, tmp_path):
    rows = load_dataset("digits", split="test", transform=None)
    (tmp_path / "repo" / "data").mkdir(parents=True)
    rows.to_parquet(tmp_path / "repo" / "data" / "test-00000-of-00001.parquet")
    result = load_in_new_process(serve(tmp_path / "repo", "ann/digits"), "ann/digits")
    ours = load_dataset("digits", split="test")
    expected = [
        f"(1, 8, 8) {float(ours[7]['image'].sum())} {ours[7]['label']} 359",
        f"(1, 8, 8) {float(ours[0]['image'].sum())} {ours[0]['label']}",
    ]
    assert result.stdout.splitlines() == expected, result.stderr[-3000:]


def test_a_script_on_the_hub_is_not_run(serve, load_in_new_process, tmp_path):
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "trap.py").write_text("print('this code must not run')\n")
    result = load_in_new_process(serve(tmp_path / "repo", "ann/trap"), "ann/trap")
    assert result.returncode != 0 and "must not run" not in result.stdout
    assert "scripts are no longer supported" in result.stderr
