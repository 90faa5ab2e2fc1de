"""Fixtures: a cache of its own, folders of random images, real processes."""

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

# Each of several workers uses its share of the cores, with everything that it starts. With a thread per core in every
# worker, threads would mostly wait for one another.
if (_WORKER := os.environ.get("PYTEST_XDIST_WORKER", "")) and hasattr(os, "sched_setaffinity"):
    _SHARE = sorted(os.sched_getaffinity(0))[int(_WORKER[2:]) :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]
    os.sched_setaffinity(0, _SHARE or os.sched_getaffinity(0))

# While all files are imported, little can be freed, but the collector would look for it a thousand times.
gc.disable()

# Before anything imports huggingface_hub: tests neither see nor touch the cache of the person who runs them.
_CACHE = tempfile.TemporaryDirectory(prefix="dataset-scripts-tests-")
os.environ["HF_HOME"] = _CACHE.name
os.environ["TORCH_HOME"] = f"{_CACHE.name}/torch"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("HF_DATASETS_CACHE", None)

import numpy as np
import PIL.Image
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHADES = ROOT / "tests/shades.py"

# What test files share is a module beside them: `from published_set import PublishedSetCase`.
pytest.register_assert_rewrite("published_set")
sys.path.append(str(ROOT / "tests"))


def pytest_collection_modifyitems(items):
    """Puts the files that take longest first, so that no worker is left alone with one of them at the end.

    These are the files with the most slow tests, and then those that start most processes.
    """
    weight = Counter()
    for item in items:
        weight[item.path] += 10 * bool(item.get_closest_marker("slow")) + ("warm" in item.fixturenames)
    items.sort(key=lambda item: -weight[item.path])


def pytest_collection_finish():
    """Lets the collector pass over what all tests share: it takes half a second, and copies of pages in forks."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers of one test, the same in every run and in any order of the tests."""
    return np.random.default_rng(23)


@pytest.fixture
def save_image():
    """Writes a random image, different for every path, and returns its pixels."""

    def save(path: Path, size: tuple[int, int] = (9, 7), mode: str = "RGB") -> np.ndarray:
        rng = np.random.default_rng(list(str(path).encode()))
        channels = len(PIL.Image.new(mode, (1, 1)).getbands())
        pixels = rng.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8).squeeze(-1 if channels == 1 else ())
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels, mode).save(path)
        return pixels

    return save


@pytest.fixture
def hub(root, tmp_path):
    """Starts a Hub that can be written to; returns its address, the folder of its files and its state."""
    servers = []

    def start(repo: str, kind: str = "dataset"):
        folder, state = tmp_path / "hub", tmp_path / "state"
        command = [sys.executable, root / "tests/hub.py", folder, repo, state, kind]
        servers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return servers[-1].stdout.readline().strip(), folder, state

    yield start
    for server in servers:
        server.terminate()
        server.wait()


@pytest.fixture
def script(tmp_path) -> Path:
    """A script with a helper, alone in its folder."""
    path = tmp_path / "shades" / "shades.py"
    path.parent.mkdir()
    path.write_text("from .helper import OFFSET\n" + SHADES.read_text().replace("SHADE = 1", "SHADE = OFFSET"))
    path.with_name("helper.py").write_text("OFFSET = 1\n")
    return path


@pytest.fixture(scope="module")
def one_thread():
    """For small tensors: on a busy machine, threads would only wait for one another."""
    import torch  # most tests need none

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def trap(tmp_path):
    """Writes code that leaves a mark when it runs: `trap.code`; `trap.sprung()` is whether it has."""
    mark = tmp_path / "mark"

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(write.code + SHADES.read_text())
        return path

    write.code = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n"
    write.sprung = mark.exists
    return write


@pytest.fixture
def write_data(tmp_path):
    """Writes files, bytes or text by name, below `tmp_path / "data"`."""

    def write(files: dict[str, bytes | str]) -> None:
        for name, content in files.items():
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


@pytest.fixture(scope="session")
def warm():
    """A process that has imported the libraries, see tests/warm.py; None if processes cannot be forked."""
    if not hasattr(os, "fork"):
        yield None
        return
    process = subprocess.Popen(
        [sys.executable, ROOT / "tests/warm.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )
    yield process
    process.stdin.close()
    process.wait()


@pytest.fixture(scope="session")
def ask_warm(warm, tmp_path_factory):
    """Asks `warm` to run a Python script on N CPU processes; returns its reply, and the files for what the script prints."""
    if warm is None:
        pytest.skip("processes cannot be forked here")
    folder = tmp_path_factory.mktemp("processes")

    def run(
        processes: int, words: list[str], env: dict[str, str], timeout: float, cwd: Path = ROOT, waits: bool = True
    ):
        place = Path(tempfile.mkdtemp(dir=folder))
        files = {name: place / name for name in ("output", "errors", *(() if waits else ("status",)))}
        for name in ("output", "errors"):
            files[name].touch()
        request = {
            "words": words,
            "processes": processes,
            "env": {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", **env},
            "configured": bool(env),
            "cwd": str(cwd),
            "timeout": timeout,
            **{name: str(path) for name, path in files.items()},
        }
        print(json.dumps(request), file=warm.stdin, flush=True)
        return int(warm.stdout.readline()), files

    return run


@pytest.fixture(scope="session")
def run_processes(request, warm):
    """Runs a Python script on N CPU processes; returns what it printed and its exit status."""

    def run(
        processes: int, script: Path, *args: str, timeout: float = 240, check: bool = True, cwd: Path = ROOT, **env: str
    ):
        words = [str(script), *map(str, args)]
        if warm is None:
            launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
            result = subprocess.run(
                [sys.executable, *(launcher if processes > 1 else []), *words],
                env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", **env},
                capture_output=True,
                text=True,
                timeout=timeout,
                cwd=cwd,
            )
        else:
            status, files = request.getfixturevalue("ask_warm")(processes, words, env, timeout, cwd)
            result = subprocess.CompletedProcess(
                words, status, files["output"].read_text(), files["errors"].read_text()
            )
        assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result

    return run


class Started:
    """A script that runs, see `start_processes`."""

    def __init__(self, pid: int, output: Path, errors: Path, status: Path):
        self.pid, self._output, self._errors, self._status = pid, output, errors, status

    def poll(self) -> int | None:
        """The exit status, or None."""
        return int(self._status.read_text()) if self._status.exists() else None

    def wait(self, timeout: float = 240) -> tuple[int, str, str]:
        """The exit status, and what was printed."""
        end = time.monotonic() + timeout
        while (status := self.poll()) is None:
            assert time.monotonic() < end
            time.sleep(0.005)
        return status, self._output.read_text(), self._errors.read_text()

    def kill(self) -> None:
        """Kills the script and every process that it started."""
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()


@pytest.fixture(scope="module")
def start_processes(ask_warm):
    """Starts a Python script on N CPU processes, in a group of their own; the first of them is the parent of the others."""
    started = []

    def start(processes: int, script: Path, *args: str, **env: str) -> Started:
        pid, files = ask_warm(processes, [str(script), *map(str, args)], env, 240, waits=False)
        started.append(Started(pid, **files))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
