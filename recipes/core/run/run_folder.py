"""The folder of a run: a new one, or that of an unfinished run of the same command."""

import contextlib
import glob
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from dataset_scripts.core.errors import DataError, printable
from dataset_scripts.core.files.disk import writing
from dataset_scripts.core.files.hold import alone
from dataset_scripts.core.files.replace import write_file
from recipes.core.data.fingerprint import Fingerprint, check_data
from recipes.core.errors import UserError
from recipes.core.foreign import read_json
from recipes.core.options import flat, merge, to_yaml
from recipes.core.ranks.reduce import from_main
from recipes.core.ranks.signals import GRACE
from recipes.core.run import checkpoint

# How a run is carried out, not what it computes: these may differ when a run is resumed.
MAY_CHANGE = {
    "processes",
    "threads",
    "cpu",
    "out",
    "overwrite",
    "keep",
    "save_every",
    "log_with",
    "ddp.bucket_mb",
    "ddp.find_unused",
    "ddp.static_graph",
    "data.workers",
    "data.memory_gb",
    "model.checkpointing",
}
LOCK = ".lock"
MARKER = ".run.json"  # in every folder that a run has made, from its first moment
PATIENCE = GRACE + 10  # seconds: processes of a killed run may outlive it for a while, and hold its folder
SILENT = 1.5  # seconds of waiting before it is reported


class RunFolder:
    """The folder of a run, found or made by the main process, which holds it until it ends, however it ends.

    Args: see `open_run_folder`, whose errors are raised on every rank.
    """

    def __init__(self, out: str | None, name: str, config: Any, data: Fingerprint, found: set[str]):
        self.held = contextlib.ExitStack()
        self.folder: Path = from_main(lambda: open_run_folder(out, name, config, self.held, data, found))

    def close(self) -> None:
        self.held.close()


def open_run_folder(
    out: str | None,
    name: str,
    config: Any,
    held: contextlib.ExitStack,
    data: Fingerprint | None = None,
    found: Collection[str] = (),
) -> Path:
    """Finds the folder of an unfinished run of this configuration, or makes one.

    A folder that no run has made is left alone, unless it is empty or `config.overwrite` is set; then files that are named
    like a run's are replaced, and nothing else is touched.

    Args:
        out: the folder; None takes one of runs/NAME-1, runs/NAME-2, …
        held: receives the lock that holds the folder for this process.
        data: the fingerprint of its data, if known.
        found: the options that were not given, but found in the data.

    Raises:
        UserError: `out` holds other files, a finished run, a run of another configuration, or one that is still
            running; or the data have changed since the run began.
    """
    if out is None:
        return unfinished_or_new(name, config, held, data, found)
    if not out.strip():
        raise UserError("out= names no folder: give one, or leave it out")
    folder = Path(out)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not hold(folder, held):
        raise UserError(f"out={out} is in use by a run that is going on")
    others = sorted(path.name for path in folder.iterdir() if path.name not in (MARKER, LOCK))
    if is_run(folder):
        if (folder / "metrics.json").exists():
            raise UserError(f"out={out} holds a finished run: choose another folder, or delete it")
        if checkpoint.find(folder) and (changed := difference(folder, config, found)):
            raise UserError(
                f"out={out} holds an unfinished run with another {changed}: choose another folder, or delete it"
            )
    elif others and not config.overwrite:
        raise UserError(
            f"out={out} is not empty ({others[0]}), and was not made by a run: choose another folder, or pass "
            "overwrite=true, which replaces files with the names of a run's files"
        )
    mark(folder, name, config, data, found)
    return folder


def unfinished_or_new(
    name: str, config: Any, held: contextlib.ExitStack, data: Fingerprint | None, found: Collection[str]
) -> Path:
    """One of runs/NAME-1, runs/NAME-2, …: the newest that a run of this configuration has not finished, or a new one."""
    runs = Path("runs")
    with writing(runs):
        runs.mkdir(exist_ok=True)
    while True:
        with alone(runs, PATIENCE, runs / LOCK):  # otherwise two runs that start at once would each make a new one
            known = sorted(
                runs.glob(f"{glob.escape(name)}-[0-9]*"), key=lambda path: path.stat().st_mtime, reverse=True
            )
            folder = next((path for path in known if is_run(path) and goes_on(path, config, found)), None)
            if folder is None:
                folder = next_free(name)
                hold(folder, held)
                mark(folder, name, config, data, found)
                return folder
        if not hold(folder, held):
            raise UserError(
                f"{folder} is in use by a run with the same options that is going on: set out=… to start a new run"
            )
        if goes_on(folder, config, found):
            mark(folder, name, config, data, found)
            return folder
        held.close()  # the run was finished in the meantime


def goes_on(folder: Path, config: Any, found: Collection[str]) -> bool:
    """Whether the run of a folder is one of this configuration, and not finished."""
    return not (folder / "metrics.json").exists() and difference(folder, config, found) is None


def is_run(folder: Path) -> bool:
    """Whether a run has made the folder."""
    return (folder / MARKER).is_file()


def mark(folder: Path, name: str, config: Any, data: Fingerprint | None, found: Collection[str]) -> None:
    """Marks a folder as that of a run, and records which one: a second start must see that before any checkpoint.

    Raises:
        UserError: a run began there on other data.
    """
    if data is not None:
        goes_on = bool(checkpoint.find(folder))
        check_data(folder, data, goes_on)
        # Options measured on the data, such as data.mean, also depend on pixels that the fingerprint does not read.
        if goes_on and (changed := difference(folder, config)):
            raise UserError(
                f"{folder} is an unfinished run on other data: {changed}: restore the data, or set out=… to start "
                "a new run"
            )
    write_file(folder / MARKER, json.dumps({"recipe": name, "found": sorted(found)}) + "\n")
    write_file(folder / "config.yaml", to_yaml(config))


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


def hold(folder: Path, held: contextlib.ExitStack) -> bool:
    """Holds a folder until `held` is closed or the process ends; False if another process holds it."""
    for patience in (SILENT, PATIENCE - SILENT):
        try:
            held.enter_context(alone(folder, patience, folder / LOCK))
            return True
        except DataError as error:
            if "another process" not in str(error):
                raise
        if patience == SILENT:
            print(f"waiting for another run to leave {printable(folder)}", file=sys.stderr, flush=True)
    return False


def difference(folder: Path, config: Any, found: Collection[str] = ()) -> str | None:
    """The first option in which the run of a folder differs from `config`: "optim.lr (0.1, now 0.2)".

    Args:
        found: options that follow from the data; those that also did so then are not compared.
    """
    try:
        before = flat(merge(type(config), folder / "config.yaml", []))
    except UserError:
        return "config.yaml (unreadable)"
    now, ignored = flat(config), MAY_CHANGE | (set(found) & found_before(folder))
    for key in now | before:
        if key in ignored:
            continue
        if before.get(key) != now.get(key):
            return f"{key} ({before.get(key)}, now {now.get(key)})"
    return None


def found_before(folder: Path) -> set[str]:
    """The options that the run of a folder found in its data."""
    try:
        found = read_json(folder / MARKER).get("found", [])
    except (OSError, UserError):
        return set()
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()
