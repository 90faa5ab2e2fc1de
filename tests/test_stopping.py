"""Runs that are asked to stop, by any signal to any process, save and end; nothing outlives its parent."""

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from recipes.core.run import checkpoint

# With data workers.
RECIPE = [
    "model.name=resnet8",
    "model.width=8",
    "data.memory_gb=0",
    "batch=48",
    "epochs=40",
    "evaluate_every=40",
    "save_every=1000000",
]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ACCELERATE = ["-m", "accelerate.commands.launch"]
TWO = ["--config_file", "accelerate_configs/cpu_2.yaml"]


@pytest.fixture
def start(root):
    """Starts Python in a group of its own, as a shell does; ends whatever is left."""
    started, seen = [], []

    def run(*command, **variables):
        env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", **variables}
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=env,
            cwd=root,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    def family(process):
        found = psutil.Process(process.pid).children(recursive=True)
        seen.extend(found)
        return found

    run.family = family
    yield run
    for process in started:
        seen.extend(psutil.Process(process.pid).children(recursive=True) if process.poll() is None else [])
        process.kill()
    for process in seen:
        if process.is_running():
            process.kill()
    for process in started:
        process.communicate()


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def at_work(folder, process):
    """Waits until the training has taken steps."""
    log = folder / "log.jsonl"
    until(lambda: process.poll() is not None or (log.exists() and log.stat().st_size), 120)
    assert process.poll() is None, process.communicate()[1][-3000:]


def lines(errors):
    """The lines on stderr, without progress bars."""
    return [
        line
        for line in re.split(r"[\r\n]+", errors)
        if line.strip() and not re.search(r"\d+%\||it/s|image/s|examples/s", line)
    ]


# ---- a process that listens


LISTENING = """
import ctypes, os, sys, time
from recipes.core.ranks import signals
signals.GRACE = 2.0
listener = signals.listen()
listener.wish = sys.argv[1]
print(os.getpid(), flush=True)
while sys.argv[2] == "stuck":  # in native code that no signal wakes
    mutex = ctypes.create_string_buffer(256)
    ctypes.CDLL(None).pthread_mutex_lock(mutex)
    ctypes.CDLL(None).pthread_mutex_lock(mutex)
end = time.monotonic() + 20
while not listener.asked and time.monotonic() < end:
    time.sleep(0.05)
print("asked" if listener.asked else "not asked", flush=True)
time.sleep(60)
"""


def listening(start, wish, state="awake", **variables):
    process = start("-c", LISTENING, wish, state, **variables)
    assert process.stdout.readline()
    time.sleep(0.2 if state == "stuck" else 0)
    return process


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGUSR1"])
@pytest.mark.parametrize("state", ["awake", "stuck"])
def test_a_signal_before_the_recipe_has_begun_ends_it_in_one_line(start, number, state):
    process = listening(start, "leave", state)
    process.send_signal(getattr(signal, number))
    assert process.wait(5) == 75
    assert lines(process.stderr.read()) == ["-c: stopped; the same command starts it again"]


def test_signals_at_about_the_same_time_are_one_wish_and_a_second_ctrl_c_ends_at_once(start):
    process = listening(start, "note")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "asked\n"
    for number in (signal.SIGINT, signal.SIGTERM):  # the launcher passes on what the terminal has sent to all
        process.send_signal(number)
    time.sleep(1.2)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130 and lines(process.stderr.read()) == ["-c: stopped at once"]


def test_a_second_ctrl_c_ends_a_process_that_hangs(start):
    process = listening(start, "note", "stuck")
    process.send_signal(signal.SIGINT)
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130


def test_what_cannot_break_off_is_ended(start):
    process = listening(start, "raise", "stuck")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 75 and "could not stop within 2 seconds" in process.stderr.read()


LAUNCHER = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', *sys.argv[1:]]); time.sleep(60)"


@pytest.mark.parametrize("launched", [{"ACCELERATE_DYNAMO_MODE": "default"}, {"TORCHELASTIC_RUN_ID": "1"}, {}])
def test_a_process_whose_launcher_is_gone_stops_and_one_that_has_none_goes_on(start, launched):
    launcher = start("-c", LAUNCHER, LISTENING, "note", "awake", **launched)
    process = psutil.Process(int(launcher.stdout.readline()))
    start.family(launcher)
    launcher.kill()
    if launched:
        assert launcher.stdout.readline() == "asked\n"
        until(lambda: not process.is_running(), 10)
    else:
        time.sleep(2.5)
        assert process.is_running()


# ---- data workers


WORKERS = """
import multiprocessing, os, signal, sys, time
import torch
from recipes.core.ranks.stopping import Loader

class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 100_000
    def __getitem__(self, index):
        return index

if __name__ == "__main__":
    batches = iter(Loader(Numbers(), batch_size=2, num_workers=2))
    workers = [process.pid for process in multiprocessing.active_children()]
    for pid in workers:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # in their first moment
            os.kill(pid, number)
    print(*workers, flush=True)
    for _ in range(1000):
        next(batches)
    print("read", flush=True)
    time.sleep(60) if sys.argv[1] == "wait" else None
    if sys.argv[1] == "raise":
        raise ValueError("the iterator is alive in this frame")
    os._exit(3)
"""


@pytest.mark.parametrize("end", ["wait", "leave", "raise"])
def test_workers_outlive_signals_and_end_with_their_parent(start, tmp_path, end):
    (tmp_path / "workers.py").write_text(WORKERS)
    parent = start(tmp_path / "workers.py", end)
    workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    start.family(parent) if parent.poll() is None else None
    assert len(workers) == 2 and parent.stdout.readline() == "read\n", parent.stderr.read()
    if end == "wait":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            for worker in workers:
                worker.send_signal(number)
        time.sleep(0.5)
        assert all(worker.is_running() for worker in workers)
        parent.kill()
    assert parent.wait(15) == {"wait": -signal.SIGKILL, "leave": 3, "raise": 1}[end]
    until(lambda: not any(worker.is_running() for worker in workers), 3)
    errors = parent.stderr.read()
    assert "killed by signal" not in errors and ("ValueError" in errors) == (end == "raise")


# ---- trainings, by the commands that people type


COMMANDS = {
    "python": ["recipes/train.py"],
    "accelerate": [*ACCELERATE, "recipes/train.py"],
    "accelerate, two": [*ACCELERATE, *TWO, "recipes/train.py"],
    "torchrun": [*TORCHRUN, "recipes/train.py"],
}
slow = pytest.mark.slow


@pytest.mark.parametrize(
    "command, number, target",
    [
        ("python", "SIGTERM", "group"),
        ("accelerate", "SIGKILL", "launcher"),
        pytest.param("accelerate", "SIGINT", "group", marks=slow),
        pytest.param("accelerate, two", "SIGKILL", "launcher", marks=slow),
        pytest.param("torchrun", "SIGUSR1", "launcher", marks=slow),
        pytest.param("torchrun", "SIGTERM", "a rank", marks=slow),
        pytest.param("torchrun", "SIGTERM", "every process", marks=slow),
    ],
)
def test_a_run_saves_and_all_its_processes_end(start, tmp_path, command, number, target):
    run = start(*COMMANDS[command], *RECIPE, f"out={tmp_path / 'run'}")
    at_work(tmp_path / "run", run)
    family = start.family(run)
    number = getattr(signal, number)
    if target == "a rank":
        family[0].send_signal(number)
    elif target == "launcher":
        run.send_signal(number)
    else:
        os.killpg(run.pid, number)
    if target == "every process":  # as a batch system does
        for process in family:
            process.send_signal(number)
    until(lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family), 30)
    output, errors = run.communicate(timeout=10)
    assert output.count("run the same command to continue") == 1
    assert len(checkpoint.find(tmp_path / "run")) == 1 and not (tmp_path / "run/metrics.json").exists()
    assert "recipes/" not in "".join(line for line in errors.splitlines() if 'File "' in line)  # no traceback of ours
    if command == "python":
        assert run.returncode == 75 and lines(errors) == []


@pytest.mark.slow
def test_the_same_command_goes_on_where_the_killed_one_was(start, tmp_path):
    command = [*ACCELERATE, "recipes/train.py", *RECIPE, f"out={tmp_path / 'run'}"]
    run = start(*command)
    at_work(tmp_path / "run", run)
    orphans = start.family(run)
    run.kill()
    again = start(*command)  # waits for the orphans
    assert any("going on after" in line for line in again.stdout), again.stderr.read()[-3000:]
    assert not any(process.is_running() for process in orphans)
    start.family(again)
