"""Trains an image classifier, on one process or many.

    accelerate launch recipes/train.py                                    # the embedded digits
    accelerate launch recipes/train.py data.path=path/to/photos           # your own folder of class folders
    accelerate launch --config_file accelerate_configs/cpu_2.yaml recipes/train.py
    accelerate launch --config_file accelerate_configs/multi_gpu.yaml recipes/train.py CONFIG.yaml optim.lr=1e-3
    python recipes/train.py --help                                        # all options

A batch is global: any number of processes sees the same samples at the same step, and the learning rate is a
function of the samples seen. The run folder holds the model, the curves, and all numbers.
"""

import contextlib
import math
import sys
import time
from dataclasses import replace

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.utils.data import BatchSampler, DataLoader
from tqdm import tqdm

from recipes.core import report
from recipes.core.config import Train, describe, read_config, to_yaml
from recipes.core.data import load_splits
from recipes.core.evaluation import evaluate
from recipes.core.images import Prepare
from recipes.core.initialization import initialize, verify_equal
from recipes.core.models import build_model, check_input
from recipes.core.random import derive
from recipes.core.reduce import average_buffers, reduce_value
from recipes.core.runtime import UserError, finish, one_line_errors, quiet_other_ranks, start
from recipes.core.sampler import StreamSampler

HEADER = "   epoch      samples   train loss    test loss   accuracy   images/s    seconds"


def learning_rate(samples: float, total: int, peak: float, warmup: int) -> float:
    """Rises in a line over `warmup` samples, then falls as half a cosine to 0 at `total` samples."""
    if samples < warmup:
        return peak * samples / warmup
    return peak * (1 + math.cos(math.pi * (samples - warmup) / max(1, total - warmup))) / 2


def build_optimizer(model: nn.Module, name: str, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW or SGD, with weight decay on matrices and kernels only, not on biases and normalisation."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
    raise UserError(f"optim.name={name}: choose adamw or sgd")


def share_of_batch(batch: int, processes: int, accumulate: int) -> int:
    """Images that one process puts through the model at a time."""
    if batch < 1 or accumulate < 1 or batch % (processes * accumulate):
        raise UserError(
            f"batch={batch} does not divide into {processes} processes × {accumulate} parts (accumulate): "
            f"choose a multiple of {processes * accumulate}"
        )
    return batch // (processes * accumulate)


def train(accelerator: Accelerator, config: Train, name: str) -> None:
    """Trains, evaluates after every epoch, and writes the run folder."""
    main, world = accelerator.is_main_process, accelerator.num_processes
    micro = share_of_batch(config.batch, world, config.accumulate)
    splits = load_splits(config.data, config.augment, config.seed)
    data, size = splits.data, len(splits.train)
    config = replace(config, data=data)
    steps = int(config.epochs * size) // config.batch
    if steps < 1:
        raise UserError(f"epochs={config.epochs} of {size} images are less than one batch={config.batch}")
    total = steps * config.batch

    model = initialize(
        lambda: build_model(config.model.name, data.channels, len(splits.classes), config.model.width),
        config.init.method,
        config.seed,
    )
    check_input(model, config.model.name, data.channels, data.size)
    fingerprint = verify_equal(model=model)
    if config.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if world > 1 and accelerator.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    optimizer = build_optimizer(model, config.optim.name, config.optim.lr, config.optim.weight_decay)
    model, optimizer = accelerator.prepare(model, optimizer)

    folder = report.make_run_folder(config.out, name) if main else None
    folder = broadcast_object_list([folder])[0]
    log = report.Log(folder / "log.jsonl") if main else None
    if main:
        report.write_file(folder / "config.yaml", to_yaml(config))
        print(
            f"data       {data.path}: {size:,} training and {len(splits.test):,} test images, {len(splits.classes)} classes\n"
            f"input      {data.channels} × {data.size} × {data.size} ({data.resize}), mean {data.mean}, std {data.std}\n"
            f"model      {config.model.name}, {sum(p.numel() for p in model.parameters()):,} parameters\n"
            f"weights    {fingerprint}, equal on {world} of {world} processes (init.method={config.init.method})\n"
            f"device     {world} × {accelerator.device.type}, precision {accelerator.mixed_precision}\n"
            f"batch      {config.batch} = {world} processes × {config.accumulate} parts × {micro}, {steps:,} updates\n"
            f"folder     {folder}\n\n{HEADER}",
            flush=True,
        )

    pad = config.augment.pad if data.resize == "whole" else 0
    prepare = Prepare(data.mean, data.std, accelerator.device, config.augment.flip, pad)
    prepare_test = Prepare(data.mean, data.std, accelerator.device)
    sampler = StreamSampler(splits.train, world, accelerator.process_index, config.seed, start=0, stop=total)
    loader = DataLoader(
        splits.train,
        sampler=BatchSampler(sampler, micro, drop_last=False),
        batch_size=None,
        num_workers=0 if splits.train.in_memory else data.workers,
        pin_memory=accelerator.device.type == "cuda",
    )
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    log_every = max(1, steps // 200)
    losses: list[torch.Tensor] = []  # of this process, since the last line of the log
    epoch_sums = torch.zeros(2, dtype=torch.float64)  # loss and samples of the epoch, over all processes
    seen, training_time, began = 0, 0.0, time.perf_counter()
    mark = began
    batches = iter(loader)
    model.train()
    for step in tqdm(range(steps), desc="train", unit="batch", disable=not main, leave=False, dynamic_ncols=True):
        rate = learning_rate(seen + config.batch / 2, total, config.optim.lr, config.optim.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(derive(config.seed, seen, accelerator.process_index))  # for dropout
        for part in range(config.accumulate):
            last = part == config.accumulate - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(model):
                x, labels = prepare(next(batches))
                logits = model(x.contiguous(memory_format=layout))
                loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
                accelerator.backward(loss / config.accumulate)
                losses.append(loss.detach())
        optimizer.step()
        optimizer.zero_grad()
        seen += config.batch

        ends_epoch = step == steps - 1 or seen // size > (seen - config.batch) // size
        if not ends_epoch and (step + 1) % log_every:
            continue
        mine = torch.stack(losses).double().cpu() * micro
        sums = reduce_value(torch.stack([mine.sum(), torch.tensor(float(len(losses) * micro))]), average=False).cpu()
        losses.clear()
        epoch_sums += sums
        mean = float(sums[0] / sums[1])
        training_time += time.perf_counter() - mark
        if not math.isfinite(mean):
            raise UserError(f"the loss is {mean} after {seen} samples: lower optim.lr={config.optim.lr}, or raise optim.warmup")
        if main:
            log.write(kind="train", samples=seen, epoch=seen / size, loss=mean, lr=rate, seconds=training_time)
        if ends_epoch:
            average_buffers(accelerator.unwrap_model(model))
            result = evaluate(accelerator, model, splits.test, prepare_test, len(splits.classes), config.batch, data.workers)
            train_loss = float(epoch_sums[0] / epoch_sums[1])
            epoch_sums.zero_()
            if main:
                log.write(kind="test", samples=seen, epoch=seen / size, loss=result.loss, accuracy=result.accuracy)
                tqdm.write(
                    f"{seen / size:8.2f} {seen:12,} {train_loss:12.4f} {result.loss:12.4f} {result.accuracy:10.2%} "
                    f"{seen / training_time:10,.0f} {time.perf_counter() - began:10.1f}"
                )
        mark = time.perf_counter()

    model = accelerator.unwrap_model(model)
    fingerprint = verify_equal(model=model)
    if main:
        metrics = {
            "accuracy": result.accuracy,
            "loss": result.loss,
            "train_loss": train_loss,
            "test_images": result.count,
            "samples": seen,
            "seconds": round(time.perf_counter() - began, 2),
            "images_per_second": round(seen / training_time, 1),
            "processes": world,
            "device": torch.cuda.get_device_name() if accelerator.device.type == "cuda" else accelerator.device.type,
            "parameters": sum(p.numel() for p in model.parameters()),
            "weights": fingerprint,
            "accuracy_by_class": {
                name: int(row[index]) / int(row.sum()) if row.sum() else None
                for index, (name, row) in enumerate(zip(splits.classes, result.confusion))
            },
        }
        report.write_run(folder, model, config, metrics, result, log.records, splits)
        print(f"\n{result.accuracy:.2%} of {result.count:,} test images right: see {folder}/curves.png")


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(f"{__doc__}\nOptions and their defaults (meanings: recipes/core/config.py):\n\n{describe(Train)}")
        return
    with one_line_errors("train.py"):
        config, name = read_config(Train, sys.argv[1:], default="digits")
        accelerator = start(config.cpu, config.precision, config.processes, config.threads)
        quiet_other_ranks()
        train(accelerator, config, name)
        finish(accelerator)


if __name__ == "__main__":
    main()
