"""The folder of a run: a new one, or that of the unfinished run which the same command began."""

from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dataset_scripts.core.disk import writing
from recipes.core import checkpoint
from recipes.core.options import flat, merge
from recipes.core.reduce import from_main
from recipes.core.runtime import UserError

# How a run is carried out, not what it computes: these may differ when a run goes on.
MAY_CHANGE = {"processes", "threads", "cpu", "out", "keep", "save_every", "accumulate", "log_with", "ddp", "data.workers",
              "data.memory_gb", "model.checkpointing"}  # fmt: skip
PATIENCE = 10  # seconds: worker processes outlive a killed run by some, and hold its folder


class RunFolder:
    """The folder of a run, found or made by the main process, which holds it until it ends, however it ends.

    Args: as `open_run_folder`, which raises what is wrong; on every rank.
    """

    def __init__(self, out: str | None, name: str, config: Any):
        self.held: FileLock | None = None

        def find() -> Path:
            folder, self.held = open_run_folder(out, name, config)
            return folder

        self.folder: Path = from_main(find)

    def close(self) -> None:
        if self.held is not None:
            Path(self.held.lock_file).unlink()
            self.held.release()


def open_run_folder(out: str | None, name: str, config: Any) -> tuple[Path, FileLock]:
    """Finds the folder of an unfinished run of this configuration, or makes one.

    Args:
        out: the folder; None takes one of runs/NAME-1, runs/NAME-2, …

    Returns:
        The folder, and the lock that holds it for this process.

    Raises:
        UserError: `out` holds a finished run, a run of another configuration, or one that is still going on.
    """
    if out is not None:
        folder = Path(out)
        if (folder / "metrics.json").exists():
            raise UserError(f"out={out} holds a finished run: choose another folder, or delete it")
        if checkpoint.find(folder) and (changed := difference(folder, config)):
            raise UserError(f"out={out} holds an unfinished run with another {changed}: choose another folder, or delete it")
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        held = lock(folder, PATIENCE)
        if held is None:
            raise UserError(f"out={out} is in use by a run that is going on")
        return folder, held
    runs = sorted(Path("runs").glob(f"{name}-[0-9]*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in runs:
        unfinished = checkpoint.find(folder) and not (folder / "metrics.json").exists()
        if unfinished and difference(folder, config) is None and (held := lock(folder, PATIENCE)):
            return folder, held
    folder = next_free(name)
    return folder, lock(folder, PATIENCE)


def next_free(name: str) -> Path:
    """Makes the next free folder of runs/NAME-1, runs/NAME-2, …"""
    number = 1
    while True:
        folder = Path("runs") / f"{name}-{number}"
        with writing(folder):
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                number += 1


def lock(folder: Path, timeout: float) -> FileLock | None:
    """Holds a folder; None where another process holds it for longer than `timeout` seconds."""
    held = FileLock(folder / ".lock")
    with writing(folder):
        try:
            held.acquire(timeout=timeout)
        except Timeout:
            return None
    return held


def difference(folder: Path, config: Any) -> str | None:
    """The first option in which the run of a folder differs from `config`: "optim.lr (0.1, now 0.2)"."""
    try:
        before = flat(merge(type(config), folder / "config.yaml", []))
    except UserError:
        return "config.yaml (unreadable)"
    now = flat(config)
    for key in now | before:
        if key in MAY_CHANGE or key.split(".")[0] in MAY_CHANGE:
            continue
        if before.get(key) != now.get(key):
            return f"{key} ({before.get(key)}, now {now.get(key)})"
    return None
