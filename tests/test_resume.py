"""Runs that are killed, stopped or moved to other processes end like undisturbed ones."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed.run

from recipes.core.run import checkpoint

# Everything that could go out of step: augmentation, mixing, an average, momentum, a schedule.
RECIPE = [
    "model.name=resnet8",
    "model.width=8",
    "batch=48",
    "shards=4",
    "epochs=0.4",
    "save_every=96",
    "evaluate_every=0.2",
    "augment.pad=1",
    "augment.mixup=0.4",
    "augment.auto=trivial",
    "optim.ema=300",
    "optim.warmup=200",
]


class Launcher:
    """A training that torchrun starts."""

    def __init__(self, root, folder, *options, processes=1, launcher=(), **variables):
        start = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", *launcher]
        command = [*start, str(root / "recipes/train.py"), *options, f"out={folder}"]
        env = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", **variables}
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, *command], env=env, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait(self, status=0) -> str:
        output, errors = self.process.communicate(timeout=240)
        assert self.process.returncode == status, output[-2000:] + errors[-3000:]
        return output


def reach(run, folder, samples):
    """Waits until there is a checkpoint of this many samples."""
    end = time.monotonic() + 120
    while not any(int(path.name) >= samples for path in checkpoint.find(folder)):
        assert run.poll() is None and time.monotonic() < end
        time.sleep(0.005)


def result(folder):
    """The weights' fingerprint, and the log without what depends on the clock."""
    metrics = json.loads((folder / "metrics.json").read_text())
    clock = ("seconds", "images_per_second", "data_wait", "memory_gb")
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return metrics["weights"], [{key: value for key, value in line.items() if key not in clock} for line in log]


@pytest.fixture(scope="module")
def train(root, run_processes):
    """Runs an undisturbed training; returns what it printed."""

    def run(folder, *options, processes=1):
        return run_processes(processes, root / "recipes/train.py", *options, f"out={folder}").stdout

    return run


@pytest.fixture
def start(root, start_processes):
    """Starts a training that can be killed as a whole."""

    def run(folder, *options, processes=1):
        return start_processes(processes, root / "recipes/train.py", *options, f"out={folder}")

    return run


@pytest.fixture(scope="module")
def uninterrupted(train, tmp_path_factory):
    """The result of the undisturbed exact run on one process."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder, *RECIPE, "exact=true")
    assert not (folder / "checkpoints").exists() and not (folder / ".lock").exists()
    return result(folder)


@pytest.mark.slow
def test_killed_twice_and_moved_to_other_processes(start, train, tmp_path, uninterrupted):
    folder = tmp_path / "run"
    for processes, samples in ((1, 96), (4, 288)):
        run = start(folder, *RECIPE, "exact=true", processes=processes)
        reach(run, folder, samples)
        run.kill()
        assert not (folder / "metrics.json").exists()
    assert "going on after" in train(folder, *RECIPE, "exact=true", processes=2)
    assert result(folder) == uninterrupted  # the same bits, and each line of the log once


@pytest.mark.slow
def test_one_rank_killed_under_a_launcher_that_restarts(root, run_processes, tmp_path, uninterrupted):
    folder = tmp_path / "run"
    launcher = ["--standalone", "--max-restarts=1"]
    # With the default, torchrun sometimes hangs.
    words = [*launcher, "--nproc-per-node=1", root / "recipes/train.py", *RECIPE, f"out={folder}"]
    shared = run_processes(1, Path(torch.distributed.run.__file__), *words, check=False)
    assert "start it with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in shared.stderr and not folder.exists()
    options = {"processes": 2, "launcher": launcher, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    run = Launcher(root, folder, *RECIPE, "exact=true", **options)
    reach(run.process, folder, 192)
    ranks = [
        child
        for child in psutil.Process(run.process.pid).children()
        if any("train.py" in word for word in child.cmdline())
    ]
    ranks[-1].kill()
    assert "going on after" in run.wait()
    assert result(folder) == uninterrupted


@pytest.mark.slow
def test_sigterm_saves_and_says_that_it_can_go_on(start, train, tmp_path, uninterrupted):
    folder = tmp_path / "run"
    run = start(folder, *RECIPE, "exact=true", "save_every=1000000")
    end = time.monotonic() + 120
    while not (folder / "log.jsonl").exists() or (folder / "log.jsonl").read_text().count("\n") < 3:
        assert run.poll() is None and time.monotonic() < end
        time.sleep(0.005)
    os.kill(run.pid, signal.SIGTERM)
    status, said, _ = run.wait()
    assert status == 75 and "run the same command to continue" in said
    assert len(checkpoint.find(folder)) == 1
    status, _, errors = start(folder, *RECIPE, "exact=true", "optim.lr=0.1").wait()
    assert status == 1 and "another optim.lr (0.004, now 0.1)" in errors
    train(folder, *RECIPE, "exact=true")
    weights, log = result(folder)
    assert weights == uninterrupted[0]
    assert [line for line in log if line["kind"] == "test"] == [
        line for line in uninterrupted[1] if line["kind"] == "test"
    ]


@pytest.mark.slow
def test_ddp_goes_on_bit_for_bit(start, train, tmp_path):
    # Three ranks, whose sums depend on their order. The statistics of BatchNorm differ by rank between evaluations.
    processes = 3
    options = [*RECIPE, "deterministic=true", "model.name=cifarnet", "data.size=16", "data.channels=3", "epochs=0.2"]
    options = [option for option in options if not option.startswith(("augment.mixup", "shards"))]
    train(tmp_path / "whole", *options, processes=processes)
    run = start(tmp_path / "killed", *options, processes=processes)
    reach(run, tmp_path / "killed", 96)
    run.kill()
    assert "going on after" in train(tmp_path / "killed", *options, processes=processes)
    assert result(tmp_path / "killed") == result(tmp_path / "whole")


@pytest.mark.slow
def test_two_hosts_are_one_run(root, tmp_path, uninterrupted):
    # Two launchers that meet on the loopback, as on two machines.
    meet = ["--nnodes=2", "--master-addr=127.0.0.1", f"--master-port={random.randint(20000, 40000)}"]
    runs = [
        Launcher(root, tmp_path / "run", *RECIPE, "exact=true", launcher=[*meet, f"--node-rank={node}"])
        for node in (0, 1)
    ]
    outputs = [run.wait() for run in runs]
    assert "equal on 2 of 2 processes" in outputs[0] and "equal on" not in outputs[1]
    assert result(tmp_path / "run") == uninterrupted


def save_forever(folder, size, start):
    for number in range(start, start + 1000):
        checkpoint.save(folder, number, {"x": torch.full((size,), number)}, {"seen": number}, keep=2)
        (folder / "saved").write_text(str(number))


def test_a_kill_while_saving_loses_nothing(tmp_path):
    before, rng = 0, random.Random(5)
    for _ in range(12):
        child = multiprocessing.get_context("fork").Process(target=save_forever, args=(tmp_path, 30_000, before + 1))
        child.start()
        time.sleep(rng.uniform(0.2, 0.6))
        child.kill()
        child.join()
        said = int((tmp_path / "saved").read_text() or 0) if (tmp_path / "saved").exists() else 0
        found = checkpoint.newest(tmp_path)
        if said:
            tensors, progress = checkpoint.load(found)
            assert progress["seen"] >= said and (tensors["x"] == progress["seen"]).all()
            before = progress["seen"]
        for path in checkpoint.find(tmp_path):
            assert checkpoint.is_sound(path)
    assert before > 10


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    for number in (1, 2, 3):
        checkpoint.save(tmp_path, number, {"x": torch.arange(number)}, {"seen": number}, keep=3)
    content = bytearray((tmp_path / "checkpoints/000000000003/state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "checkpoints/000000000003/state.pt").write_bytes(content)
    (tmp_path / "checkpoints/000000000002/progress.json").unlink()
    assert checkpoint.newest(tmp_path).name == "000000000001"
    checkpoint.save(tmp_path, 3, {"x": torch.arange(3)}, {"seen": 3}, keep=2)
    assert [path.name for path in checkpoint.find(tmp_path)] == ["000000000002", "000000000003"]
    assert checkpoint.load(checkpoint.newest(tmp_path))[1] == {"seen": 3}
