"""The output of a running training: log.jsonl, trackers, and a table on the terminal."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from tqdm import tqdm

from dataset_scripts.core.errors import printable
from dataset_scripts.core.files import system
from dataset_scripts.core.files.disk import writing
from dataset_scripts.core.files.replace import write_file
from recipes.core.config.training import Training
from recipes.core.errors import UserError
from recipes.core.foreign import read_text, reading
from recipes.core.options import flat
from recipes.core.run.learner import Learner


class Result(Protocol):
    """The result of testing a model.

    Attributes:
        loss: the mean over the images.
        count: number of images.
        score: greater is better; later numbers decide between equal first ones.
    """

    loss: float
    count: int

    @property
    def score(self) -> list[float]: ...

    def numbers(self) -> dict[str, float]:
        """For the log and `metrics.json`, the loss among them."""

    def columns(self) -> dict[str, str]:
        """What the table on the terminal shows, besides the loss."""


BEGIN_AGAIN = "delete the folder's checkpoints to begin again"


def read_record(line: str, path: Path, number: int) -> dict[str, Any]:
    """A line of `log.jsonl`; a UserError if it is truncated."""
    with reading(f"{path}, line {number}: {BEGIN_AGAIN}"):
        record = json.loads(line)
    if not isinstance(record, dict):
        raise UserError(f"{path}, line {number} is not a record: {BEGIN_AGAIN}")
    return record


class Log:
    """`log.jsonl`, one JSON object per line, on disk as soon as it is written; and accelerate's trackers.

    Args:
        path: the file. The main process writes it; the others count.
        count: lines to keep when a run is resumed; later ones will be written again.
    """

    def __init__(self, accelerator: Accelerator, path: Path, count: int, name: str, config: Training):
        self.accelerator, self.path, self.count = accelerator, path, count
        self.records: list[dict[str, Any]] = []
        if accelerator.log_with:
            accelerator.project_configuration.logging_dir = str(path.parent)
            options = flat(config).items()
            plain = {key: value if isinstance(value, (int, float, str, bool)) else str(value) for key, value in options}
            accelerator.init_trackers(name, plain)
        if not accelerator.is_main_process:
            return
        kept = read_text(path).splitlines(keepends=True)[:count] if count else []
        self.records = [read_record(line, path, number) for number, line in enumerate(kept, 1)]
        if len(kept) < count:
            raise UserError(
                f"{path} is truncated: it has {len(kept)} lines, but the checkpoint counts {count}: {BEGIN_AGAIN}"
            )
        if count:
            write_file(path, "".join(kept))
        with writing(path):
            self.file = open(path, "a" if count else "w", encoding="utf-8")

    def write(self, kind: str, samples: int, epoch: float, **values: float) -> None:
        self.count += 1
        self.accelerator.log({f"{kind}/{name}": value for name, value in values.items()}, step=samples)
        if self.accelerator.is_main_process:
            record = {"kind": kind, "samples": samples, "epoch": epoch, **values}
            self.records.append(record)
            with writing(self.path):
                self.file.write(json.dumps(record) + "\n")
                self.file.flush()


class Timed:
    """Passes batches on, and counts the seconds spent waiting for them."""

    def __init__(self, batches: Iterable[Any]):
        self.batches, self.waited = iter(batches), 0.0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        start = time.perf_counter()
        batch = next(self.batches)
        self.waited += time.perf_counter() - start
        return batch


@dataclass
class Speed:
    """The time that `images` took: seconds of training, those of them waiting for data, and the images left."""

    images: int
    seconds: float
    waited: float
    left: int

    @property
    def per_second(self) -> float:
        return self.images / self.seconds

    def numbers(self) -> dict[str, float]:
        """Images per second, the share of the time that the main process waited for data, and its memory at its peak."""
        return {
            "images_per_second": round(self.per_second, 1),
            "data_wait": round(self.waited / self.seconds, 4),
            "memory_gb": round(peak_memory() / 1e9, 3),
        }


def peak_memory() -> int:
    """The peak memory of this process in bytes: on its GPU if it has one, else in main memory."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else system.peak_memory()


def plan(learner: Learner, steps: int) -> str:
    """The plan of the run, in a few lines."""
    config, splits = learner.config, learner.splits
    data, world = splits.data, learner.accelerator.num_processes
    parameters = sum(parameter.numel() for parameter in learner.model.parameters())
    mode = "exact" if config.exact else "DDP" if world > 1 else "one process"
    return (
        f"data       {printable(data.path)}: {splits.counts()}, {len(splits.classes)} classes\n"
        + "".join(f"           {printable(note)}\n" for note in splits.notes)
        + f"input      {data.channels} × {data.size} × {data.size} ({data.resize}), mean {data.mean}, std {data.std}\n"
        f"model      {learner.name}, {parameters:,} parameters\n"
        f"start      {printable(learner.origin)}\n"
        f"weights    {learner.fingerprint}, equal on {world} of {world} processes (init.method={config.init.method})\n"
        f"device     {world} × {learner.accelerator.device.type}, CPU threads {config.threads}, "
        f"precision {config.precision}, {mode}\n"
        f"batch      {config.batch} = {world} processes × {config.accumulate} parts × {learner.micro}, {steps:,} updates of "
        f"{steps * config.batch / len(splits.train):.2f} epochs\n"
    )


def announce(learner: Learner, steps: int, folder: Path, found: Path | None) -> None:
    """Prints the plan of the run, and writes the description of the model to `config.json`."""
    write_file(folder / "config.json", learner.description())
    goes_on = f", going on after {int(found.name):,} images" if found else ""
    print(f"{plan(learner, steps)}folder     {printable(folder)}{goes_on}\n", flush=True)


class Table:
    """A line on the terminal for each test, under the names of the columns."""

    def __init__(self, kind: str):
        self.kind, self.begun = kind, False

    def write(self, epoch: float, seen: int, train_loss: float, result: Result, speed: Speed) -> None:
        numbers = speed.numbers()
        columns = {
            "epoch": f"{epoch:.2f}",
            "images": f"{seen:,}",
            "train loss": f"{train_loss:.4f}",
            f"{self.kind} loss": f"{result.loss:.4f}",
            **result.columns(),
            "images/s": f"{speed.per_second:,.0f}",
            "waiting": f"{numbers['data_wait']:.1%}",
            "memory GB": f"{numbers['memory_gb']:.2f}",
            "minutes left": f"{speed.left / speed.per_second / 60:.1f}",
        }
        for line in (columns.values(),) if self.begun else (columns.keys(), columns.values()):
            tqdm.write("".join(cell.rjust(max(11, len(name) + 3)) for name, cell in zip(columns, line)))
        self.begun = True
