"""Trains an image classifier, on one process or many.

    accelerate launch recipes/train.py                                    # the embedded digits
    accelerate launch recipes/train.py data.path=path/to/photos           # your own folder of class folders
    accelerate launch --config_file accelerate_configs/cpu_2.yaml recipes/train.py
    accelerate launch --config_file accelerate_configs/multi_gpu.yaml recipes/train.py CONFIG.yaml optim.lr=1e-3
    python recipes/train.py --help                                        # all options

A batch is global: any number of processes sees the same samples at the same step, and the learning rate is a
function of the samples seen. A run that was stopped or killed goes on where it was when the same command is given
again. The run folder holds the model, the curves, and all numbers.
"""

import shutil
import sys
import time
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch.utils.data import BatchSampler, DataLoader
from tqdm import tqdm

from recipes.core import checkpoint, report
from recipes.core.augment import Prepare
from recipes.core.config import Train, describe, read_config
from recipes.core.data import load_splits
from recipes.core.evaluation import evaluate
from recipes.core.learner import Learner
from recipes.core.log import Log, Speed, Timed, announce, table_row
from recipes.core.reduce import reduce_value
from recipes.core.run_folder import RunFolder
from recipes.core.runtime import INTERRUPTED, Interruption, UserError, finish, one_line_errors, quiet_other_ranks, start
from recipes.core.sampler import StreamSampler
from recipes.core.step import ddp_options


def train(accelerator: Accelerator, config: Train, name: str) -> bool:
    """Trains, evaluates and writes the run folder; False where the run was asked to stop before its end."""
    main, rank, world = accelerator.is_main_process, accelerator.process_index, accelerator.num_processes
    splits = load_splits(config.data, config.augment, config.seed)
    config = replace(config, data=splits.data, precision=accelerator.mixed_precision)
    size, batch = len(splits.train), config.batch
    steps = int(config.epochs * size) // batch
    if steps < 1:
        raise UserError(f"epochs={config.epochs} of {size} images are less than one batch={batch}")
    total = steps * batch

    learner = Learner(accelerator, config, splits, total)
    run = RunFolder(config.out, name, config)
    progress = {"seen": 0, "sums": [0.0, 0.0], "records": 0, "training": 0.0, "elapsed": 0.0}
    found = checkpoint.newest(run.folder)
    if found is not None:
        state, progress = checkpoint.load(found)
        learner.load_state(state)
    log = Log(accelerator, run.folder / "log.jsonl", progress["records"], name, config)
    if main:
        announce(config, splits, learner, steps, run.folder, found)

    first = seen = progress["seen"]
    sampler = StreamSampler(splits.train, world, rank, config.seed, start=seen, stop=total)
    loader = DataLoader(
        splits.train,
        sampler=BatchSampler(sampler, learner.micro, drop_last=False),
        batch_size=None,
        num_workers=0 if splits.train.in_memory else config.data.workers,
        pin_memory=accelerator.device.type == "cuda",
    )
    batches = Timed(loader)
    prepare_test = Prepare(splits.data.mean, splits.data.std, accelerator.device)
    log_every, save_every = max(1, steps // 200) * batch, config.save_every or size
    evaluate_every = max(1, round(config.evaluate_every * size))
    losses: list[torch.Tensor] = []  # of this process, since the last line of the log
    sums = torch.tensor(progress["sums"], dtype=torch.float64)  # loss and images of all, since the last evaluation
    training, began = progress["training"], time.perf_counter() - progress["elapsed"]
    interruption, stop, mark = Interruption(), False, time.perf_counter()
    bar = tqdm(initial=seen, total=total, desc="train", unit="image", disable=not main, leave=False, dynamic_ncols=True)
    with bar:
        while seen < total and not stop:
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
            mine = torch.cat(losses).double()
            losses.clear()
            recent = reduce_value(torch.stack([mine.sum(), mine.new_tensor(len(mine))]), average=False).cpu()
            sums += recent
            training += time.perf_counter() - mark
            if not torch.isfinite(recent).all():
                raise UserError(
                    f"the loss is nan after {seen} samples: lower optim.lr={config.optim.lr}, or raise optim.warmup"
                )
            log.write("train", seen, seen / size, loss=float(recent[0] / recent[1]), lr=learner.rate, seconds=training)
            if tests:
                learner.average_buffers()
                result = evaluate(accelerator, learner.tested, splits.test, prepare_test, len(splits.classes), batch,
                                  config.data.workers, config.test_flips)  # fmt: skip
                train_loss = float(sums[0] / sums[1])
                sums.zero_()
                speed = Speed(seen - first, training - progress["training"], batches.waited, total - seen)
                log.write("test", seen, seen / size, **result.numbers(), **speed.numbers())
                if main:
                    tqdm.write(table_row(seen, size, train_loss, result, speed))
            if saves:
                state = learner.state()
                now = {"seen": seen, "sums": sums.tolist(), "records": log.count, "training": training}
                if main:
                    checkpoint.save(run.folder, seen, state, now | {"elapsed": time.perf_counter() - began}, config.keep)
            mark = time.perf_counter()
    interruption.result()  # nothing is left on the wire

    if stop:
        if main:
            print(f"\nstopped after {seen:,} of {total:,} samples, which are saved: the same command goes on ({run.folder})")
        return False
    fingerprint = learner.verify()
    if main:
        metrics = {
            **result.numbers(),
            "train_loss": train_loss,
            "test_images": result.count,
            "samples": seen,
            "seconds": round(time.perf_counter() - began, 2),
            **speed.numbers(),
            "processes": world,
            "device": torch.cuda.get_device_name() if accelerator.device.type == "cuda" else accelerator.device.type,
            "parameters": sum(parameter.numel() for parameter in learner.model.parameters()),
            "weights": fingerprint,
            "by_class": result.by_class(splits.classes),
        }
        report.write_run(run.folder, learner.tested, config, metrics, result, log.records, splits)
        shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
        print(f"\n{result.accuracy:.2%} of {result.count:,} test images right: see {run.folder}/curves.png")
    run.close()
    return True


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(f"{__doc__}\nOptions and their defaults (meanings: recipes/core/config.py):\n\n{describe(Train)}")
        return
    with one_line_errors("train.py"):
        config, name = read_config(Train, sys.argv[1:], default="digits")
        accelerator = start(
            config.cpu,
            config.precision,
            config.processes,
            config.threads or (1 if config.exact else None),  # how a sum is cut over threads is a part of its bits
            config.deterministic or config.exact,
            config.log_with,
            ddp_options(config.ddp),
        )
        quiet_other_ranks()
        finished = train(accelerator, config, name)
        finish(accelerator)
    if not finished:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
