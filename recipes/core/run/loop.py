"""The training loop for any task: batches, steps, log, tests, checkpoints, and how it ends."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import BatchSampler
from tqdm import tqdm

from dataset_scripts.core.errors import reading
from recipes.core.config.training import Training
from recipes.core.data.data import Splits
from recipes.core.data.images import Images
from recipes.core.errors import UserError
from recipes.core.ranks.reduce import in_double, reduce_value
from recipes.core.ranks.runtime import quiet_other_ranks, start
from recipes.core.ranks.sampler import StreamSampler
from recipes.core.ranks.stopping import Interruption, Loader
from recipes.core.run import checkpoint
from recipes.core.run.gradient import ddp_options
from recipes.core.run.learner import Learner
from recipes.core.run.log import Log, Result, Speed, Table, Timed, announce, plan
from recipes.core.run.run_folder import RunFolder

Test = Callable[[Learner, Images, Path, int], Result]  # (learner, images, run folder, samples seen); on every rank
Write = Callable[[Learner, Path, dict[str, Any], Result, list[dict[str, Any]]], str]  # (…, metrics, result, log)


@dataclass
class Progress:
    """The progress of a run: the content of a checkpoint besides tensors, as json and in this order.

    Attributes:
        seen: samples.
        sums: sums and weights of the losses of all ranks, since the last test.
        records: lines of the log.
        training, elapsed: seconds of steps, and of all.
        best: the best test on the validation images: score, samples seen before it, numbers.
    """

    seen: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])
    records: int = 0
    training: float = 0.0
    best: dict[str, Any] = field(default_factory=dict)
    elapsed: float = 0.0

    @classmethod
    def of(cls, saved: dict[str, Any]) -> "Progress":
        """The content of a checkpoint, each value converted to its type: a damaged one raises here, not in the training."""
        return cls(
            seen=int(saved["seen"]),
            sums=list(saved["sums"]),
            records=int(saved["records"]),
            training=float(saved["training"]),
            best=dict(saved["best"]),
            elapsed=float(saved["elapsed"]),
        )


def start_training(config: Training) -> Accelerator:
    """Starts the processes with the options of a training."""
    accelerator = start(
        config.cpu,
        config.precision,
        config.processes,
        config.threads or (1 if config.exact else None),  # the bits of a sum depend on how it is split over threads
        config.deterministic or config.exact,
        config.log_with,
        ddp_options(config.ddp),
    )
    quiet_other_ranks()
    return accelerator


def train(
    accelerator: Accelerator,
    config: Training,
    name: str,
    splits: Splits,
    learn: type[Learner],
    test: Test,
    write: Write,
) -> bool:
    """Trains, tests and writes the run folder; resumes a run of this configuration that was stopped or killed.

    Args:
        name: of the configuration, for the run folder.
        learn: makes the learner of the task.
        test: measures `learner.tested` on the validation images, every `config.evaluate_every` epochs, and on the test images
            at the end. Without validation images, the test images are used throughout.
        write: writes the results of the finished run, on the main process alone, and returns a last line to print.

    Returns:
        False if the run was asked to stop before its end.

    Raises:
        UserError: there is less than one batch, the loss is not finite, the data changed since the run began, or
            `learn` or `RunFolder` raises it.
    """
    main, rank, world = accelerator.is_main_process, accelerator.process_index, accelerator.num_processes
    open_options = {f"data.{name}" for name, value in vars(config.data).items() if value is None}
    config = replace(config, data=splits.data, precision=accelerator.mixed_precision, threads=torch.get_num_threads())
    size, batch = len(splits.train), config.batch
    steps = int(config.epochs * size) // batch
    if steps < 1:
        raise UserError(f"epochs={config.epochs} of {size} images is less than one batch={batch}")
    total = steps * batch
    steering = splits.validation or splits.test
    kind = "test" if splits.validation is None else "validation"

    learner = learn(accelerator, config, splits, total)
    if config.dry_run:
        if main:
            print(f"{plan(learner, steps)}\na dry run: nothing was trained or written; leave dry_run out to train")
        return True
    run = RunFolder(config.out, name, config, splits.fingerprint, open_options)
    progress = Progress()
    found = checkpoint.newest(run.folder)
    if found is not None:
        with reading(found):
            state, saved = checkpoint.load(found)
            progress = Progress.of(saved)
            learner.load_state(state)
    log = Log(accelerator, run.folder / "log.jsonl", progress.records, name, config)
    if main:
        announce(learner, steps, run.folder, found)

    first = seen = progress.seen
    classes = splits.train.labels if getattr(splits.data, "balance", False) else None
    sampler = StreamSampler(splits.train, world, rank, config.seed, start=seen, stop=total, classes=classes)
    loader = Loader(
        splits.train,
        sampler=BatchSampler(sampler, learner.micro, drop_last=False),
        batch_size=None,
        num_workers=0 if splits.train.in_memory else config.data.workers,
        pin_memory=accelerator.device.type == "cuda",
    )
    batches, table = Timed(loader), Table(kind)
    log_every, save_every = max(1, steps // 200) * batch, config.save_every or size
    evaluate_every = max(1, round(config.evaluate_every * size))
    losses: list[torch.Tensor] = []  # sums and weights of this process, since the last line of the log
    sums = torch.tensor(progress.sums, dtype=torch.float64)  # sums and weights of all, since the last test
    training, began, best = progress.training, time.perf_counter() - progress.elapsed, progress.best
    interruption, stop, ended, mark = Interruption(), False, False, time.perf_counter()
    often = 0.1 if sys.stderr.isatty() else 60.0  # seconds: in a log file, each update of the bar is a new line
    bar = tqdm(
        initial=seen,
        total=total,
        desc="train",
        unit="image",
        disable=not main,
        leave=False,
        dynamic_ncols=True,
        mininterval=often,
    )
    with bar:
        while seen < total and not stop and not ended:
            losses.append(learner.step(batches, seen))
            seen += batch
            bar.update(batch)
            logs, tests, saves = (
                seen // every > (seen - batch) // every for every in (log_every, evaluate_every, save_every)
            )
            stop = interruption.agreed() and seen < total
            tests, saves = tests or seen == total, (saves or stop) and seen < total
            if not (logs or tests or saves):
                continue
            recent = reduce_value(in_double(torch.cat(losses, 1)).sum(1), average=False).cpu()
            losses.clear()
            sums += recent
            training += time.perf_counter() - mark
            if not torch.isfinite(recent).all():
                raise UserError(
                    f"the loss is nan after {seen} samples: lower optim.lr={config.optim.lr}, or raise optim.warmup"
                )
            log.write("train", seen, seen / size, loss=float(recent[0] / recent[1]), lr=learner.rate, seconds=training)
            if tests:
                learner.average_buffers()
                result = test(learner, steering, run.folder, seen)
                if not math.isfinite(result.loss):  # due to the last step, after which no training loss is computed
                    raise UserError(
                        f"the {kind} loss is {result.loss} after {seen} samples: lower optim.lr={config.optim.lr}"
                    )
                if splits.validation is not None and (not best or result.score > best["score"]):
                    best = {"score": result.score, "samples": seen, **result.numbers()}
                    if config.keep_best:
                        learner.remember()
                if config.patience is not None and seen < total and seen - best["samples"] >= config.patience * size:
                    ended, saves, stop = True, False, False
                train_loss = float(sums[0] / sums[1])
                sums.zero_()
                speed = Speed(seen - first, training - progress.training, batches.waited, total - seen)
                log.write(kind, seen, seen / size, **result.numbers(), **speed.numbers())
                if main:
                    table.write(seen / size, seen, train_loss, result, speed)
            if saves:
                state = learner.state()
                now = Progress(seen, sums.tolist(), log.count, training, best, time.perf_counter() - began)
                if main:
                    checkpoint.save(run.folder, seen, state, vars(now), config.keep)
            mark = time.perf_counter()
    interruption.result()  # no communication is left pending
    # Data workers end here. Left to the garbage collector, which closes their queues before it tells them to end, each
    # would be waited for 10 seconds.
    del loader, batches

    if stop:
        if main:
            print(
                f"\nstopped after {seen:,} of {total:,} samples, which are saved: run the same command to continue "
                f"({run.folder})"
            )
        return False
    steered = {}
    if splits.validation is not None:
        steered = {
            "validation": {"images": result.count, **{key: value for key, value in best.items() if key != "score"}}
        }
        if main and ended:
            print(f"\nended early: {config.patience:g} epochs brought no improvement since {best['samples']:,} images")
        if main and config.keep_best:
            print(f"\nkept the weights after {best['samples']:,} images, which were best on the validation images")
        if config.keep_best:
            learner.recall()
        result = test(learner, splits.test, run.folder, seen)
        log.write("test", seen, seen / size, **result.numbers())
    fingerprint = learner.verify()
    if main:
        metrics = {
            **result.numbers(),
            **steered,
            "train_loss": train_loss,
            "test_images": result.count,
            "samples": seen,
            "seconds": round(time.perf_counter() - began, 2),
            **speed.numbers(),
            "processes": world,
            "device": torch.cuda.get_device_name() if accelerator.device.type == "cuda" else accelerator.device.type,
            "parameters": sum(parameter.numel() for parameter in learner.model.parameters()),
            "weights": fingerprint,
        }
        last = write(learner, run.folder, metrics, result, log.records)
        checkpoint.remove_all(run.folder)
        print(f"\n{last}")
    run.close()
    return True
