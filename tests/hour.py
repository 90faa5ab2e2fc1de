"""An hour of training as it happens to people: started, stopped, killed and gone on with at random, by the README's commands.

    python tests/hour.py --minutes 60 --seed 0

Each story is one run of `recipes/train.py` with `exact=true` in a folder of its own. Until it has finished, it is started
by a command drawn at random, on one process or two, and something drawn at random happens to it: a signal to the launcher,
to one of its processes or to all, a kill, the same command given a second time, an evaluation of its newest checkpoint while the
run is paused. After each start no process may be left. In the end weights, log and numbers have to be those of a run that
nothing happened to. Every evaluation of the same weights, on one process or two, has to give the same numbers, those of a
finished run its own. Prints what happened as JSON; exit status 0 if every story ended so, else 1.
"""

import argparse
import collections
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
RECIPE = [
    "digits",
    "exact=true",
    "model.width=8",
    "epochs=6",
    "save_every=256",
    "evaluate_every=0.5",
    "optim.ema=300",
    "augment.mixup=0.4",
    "augment.auto=trivial",
    "data.holdout=0.1",
    "keep_best=true",
]
COMMANDS = {
    "accelerate launch": [BIN / "accelerate", "launch", "recipes/train.py"],
    "accelerate launch, two processes": [
        BIN / "accelerate",
        "launch",
        "--config_file",
        "accelerate_configs/cpu_2.yaml",
        "recipes/train.py",
    ],
    "python": [sys.executable, "recipes/train.py"],
    "torchrun": [BIN / "torchrun", "--standalone", "--nproc-per-node=2", "recipes/train.py"],
    "dataset-scripts train": [BIN / "dataset-scripts", "train"],
}
EVALUATIONS = {
    "one process": [BIN / "accelerate", "launch", "recipes/evaluate.py"],
    "two processes": [
        BIN / "accelerate",
        "launch",
        "--config_file",
        "accelerate_configs/cpu_2.yaml",
        "recipes/evaluate.py",
    ],
}
STOPPING = (
    "TERM to the launcher",
    "INT to all",
    "TERM to all",
    "USR1 to a process",
    "KILL of the launcher",
    "KILL of a process",
    "KILL of all",
)
GOES_ON = ("nothing", "the same command again", "evaluation")  # what does not stop a run
NUMBERS = ("loss", "accuracy", "top5", "ece", "by_class")
CLOCK = ("seconds", "images_per_second", "data_wait", "memory_gb")
GONE = 180  # seconds within which all processes have to be gone, also on a busy machine, where imports take a minute
SAYS_SO = ("python", "dataset-scripts train")  # commands that end with the status of the run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stories", type=int, default=10**6)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        began = time.monotonic()
        run = Start("python", whole)
        assert run.wait() == 0, run.errors()
        hour = Hour(
            rng=random.Random(given.seed),
            end=time.monotonic() + 60 * given.minutes,
            alone=time.monotonic() - began,
            wanted=digest(whole),
            numbers={"finished": json.loads((whole / "metrics.json").read_text())},
        )
        faults, stories = [], 0
        while time.monotonic() < hour.end and stories < given.stories:
            stories += 1
            faults += tell(hour, Path(folder, str(stories)))
    figures = {
        "minutes": given.minutes,
        "seed": given.seed,
        "stories": stories,
        "hash": hour.wanted,
        **hour.counts,
        "faults": faults,
    }
    print(json.dumps(figures, indent=2))
    return 1 if faults else 0


@dataclass(frozen=True)
class Hour:
    """What the stories have in common."""

    rng: random.Random
    end: float
    alone: float  # seconds that an undisturbed run takes
    wanted: str  # its digest
    numbers: dict[str, dict]  # of each checkpoint, by name, and of the finished run, as first evaluated
    counts: collections.Counter = field(default_factory=collections.Counter)


class Start:
    """One start of the run, as a person types it."""

    def __init__(self, command: str, out: Path, *options: str):
        self.command, self.output = command, tempfile.TemporaryFile("w+")
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        words = [str(word) for word in (*COMMANDS[command], *RECIPE, f"out={out}", *options)]
        self.process = subprocess.Popen(
            words, cwd=ROOT, env=env, stdout=self.output, stderr=self.output, start_new_session=True
        )
        self.known = {self.process.pid: psutil.Process(self.process.pid)}

    def family(self) -> list[psutil.Process]:
        """All processes that the start has led to, as far as they live."""
        for process in list(self.known.values()):
            with contextlib.suppress(psutil.NoSuchProcess):
                self.known |= {child.pid: child for child in process.children(recursive=True)}
        return list(filter(is_alive, self.known.values()))

    def trainers(self) -> list[psutil.Process]:
        found = []
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                launches = any(
                    "accelerate" in word or "torchrun" in word or "dataset-scripts" in word for word in words[:4]
                )
                if any("train" in word for word in words) and not launches:
                    found.append(process)
        return found

    def wait(self, seconds: float = 300) -> int | None:
        """The status, after the command has ended by itself; None if it has not."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            self.family()
            time.sleep(0.05)
        return self.process.poll()

    def is_gone(self) -> bool:
        deadline = time.monotonic() + GONE
        while self.family() and time.monotonic() < deadline:
            time.sleep(0.1)
        return not self.family()

    def errors(self) -> str:
        self.output.seek(0)
        return self.output.read()[-4000:]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tell(hour: Hour, out: Path) -> list[str]:
    """One story; what went wrong in it."""
    rng, counts, end = hour.rng, hour.counts, hour.end
    faults, history = [], []
    while not (out / "metrics.json").is_file():
        if time.monotonic() > end + 600:
            return [*faults, f"{out.name}: no end after {history}"]
        command = rng.choice(list(COMMANDS))
        is_late = len(history) > 12 or time.monotonic() > end
        event = rng.choice(
            GOES_ON if is_late else STOPPING + GOES_ON + 2 * ("evaluation",) if rng.random() < 0.5 else STOPPING
        )
        history.append(f"{command}: {event}")
        counts[f"start: {command}"] += 1
        counts[f"event: {event}"] += 1
        run = Start(command, out)
        if event == "nothing":
            run.wait()
        elif (
            run.wait(rng.uniform(0.2, 0.9) * hour.alone) is None
        ):  # often after the training has begun, sometimes before
            faults += [f"{out.name}: {fault} after {history}" for fault in happen(hour, event, run, out)]
        if run.wait(600 if event in GOES_ON else GONE) is None:
            faults.append(f"{out.name}: the command still runs after {history}")
            for process in run.family():
                process.kill()
        if not run.is_gone():
            faults.append(f"{out.name}: processes are left after {history}: {run.family()}")
            for process in run.family():
                process.kill()
        status, said = run.process.returncode, run.errors()
        asked = event.startswith(("TERM", "INT", "USR1"))
        if status == 2 or (status not in (0, 75) and (event in GOES_ON or (asked and command in SAYS_SO))):
            return [*faults, f"{out.name}: status {status} after {history}: {said}"]
        if "Traceback" in said and command in SAYS_SO:
            faults.append(f"{out.name}: a traceback after {history}: {said}")
        counts[f"status {status}"] += 1
        counts["went on from a checkpoint"] += "going on after" in said
    counts["starts"] += len(history)
    if digest(out) != hour.wanted:
        faults.append(f"{out.name}: another result after {history}")
    counts["same result"] += digest(out) == hour.wanted
    return faults + evaluate(hour, out, "finished")


def happen(hour: Hour, event: str, run: Start, out: Path) -> list[str]:
    """Does to a run what is drawn; what was wrong in its answer."""
    family, trainers = run.family(), run.trainers()
    with contextlib.suppress(psutil.NoSuchProcess):
        if event == "TERM to the launcher":
            run.process.send_signal(signal.SIGTERM)
        elif event in ("INT to all", "TERM to all"):
            os.killpg(run.process.pid, signal.SIGINT if event.startswith("INT") else signal.SIGTERM)
        elif event == "USR1 to a process" and trainers:
            hour.rng.choice(trainers).send_signal(signal.SIGUSR1)
        elif event == "KILL of the launcher":
            run.process.kill()
        elif event == "KILL of a process" and trainers:
            hour.rng.choice(trainers).kill()
        elif event == "KILL of all":
            for process in family:
                process.kill()
        elif event == "the same command again":
            second = Start(run.command, out)
            status = second.wait()
            said = second.errors()
            if status != 0 and "in use by a run that is going on" not in said and "holds a finished run" not in said:
                return [f"the second command said {said}"]
        elif event == "evaluation":
            return evaluate_paused(hour, run, out)
    return []


def evaluate_paused(hour: Hour, run: Start, out: Path) -> list[str]:
    """Evaluates the newest checkpoint, as soon as there is one. The run is paused, as it would soon delete the checkpoint."""
    faults: list[str] = []
    while run.process.poll() is None:
        stopped = run.family()
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        found = sorted((out / "checkpoints").glob("[0-9]*"))
        if found:
            faults = evaluate(hour, found[-1], found[-1].name)
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        if found:
            break
        time.sleep(0.1)
    return faults


def evaluate(hour: Hour, weights: Path, name: str) -> list[str]:
    """Evaluates weights on one process or two; what is wrong with the numbers, compared with those known by this name."""
    processes = hour.rng.choice(list(EVALUATIONS))
    with tempfile.TemporaryDirectory() as folder:
        words = [*EVALUATIONS[processes], weights, f"out={folder}/evaluation"]
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        result = subprocess.run(list(map(str, words)), cwd=ROOT, env=env, capture_output=True, text=True)
        if result.returncode:
            return [f"the evaluation of {name} on {processes} said {result.stderr[-2000:]}"]
        found = json.loads(Path(folder, "evaluation", "metrics.json").read_text())
    hour.counts[f"evaluations of a {'finished run' if name == 'finished' else 'checkpoint'}, {processes}"] += 1
    known = hour.numbers.setdefault(name, found)
    if differing := [key for key in NUMBERS if found[key] != known[key]]:
        return [f"{name} evaluated on {processes}: {[(key, found[key], known[key]) for key in differing]}"]
    return []


def digest(folder: Path) -> str:
    """Weights, numbers and log, without what depends on the clock and on the number of processes."""
    numbers = json.loads((folder / "metrics.json").read_text())
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for record in (numbers, *log):
        for key in (*CLOCK, "processes"):
            record.pop(key, None)
    said = json.dumps([numbers, log]).encode() + (folder / "model.safetensors").read_bytes()
    return hashlib.sha256(said).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
