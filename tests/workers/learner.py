"""Run on one or more processes by test_learner.py: takes some steps for each of several configurations, and prints JSON
on the main process.

Each argument is a JSON object: `options` of train.py, `steps`, `uniform`, which makes the head zero, so that all
classes are equally likely, and `test`, which tests after the last step.
"""

import json
import sys
from pathlib import Path

import torch
from torch.utils.data import BatchSampler, DataLoader

from recipes.core.config.tasks import Train
from recipes.core.data.data import find_data, load_splits
from recipes.core.errors import UserError
from recipes.core.options import merge
from recipes.core.ranks.reduce import gather_tensors
from recipes.core.ranks.runtime import finish, start
from recipes.core.ranks.sampler import StreamSampler
from recipes.core.run.gradient import ddp_options
from recipes.core.tasks.classifier import Classifier
from recipes.train import test

cases = [json.loads(argument) for argument in sys.argv[1:]]
first = merge(Train, {}, cases[0]["options"])
accelerator = start(True, first.precision, None, 1, ddp=ddp_options(first.ddp))
rank, world = accelerator.process_index, accelerator.num_processes
splits, report = {}, []
for case in cases:
    config = merge(Train, {}, case["options"])
    key = repr((config.data, config.augment))
    splits[key] = splits.get(key) or load_splits(find_data(config.data), config)
    total = config.batch * 1000
    try:
        learner = Classifier(accelerator, config, splits[key], total)
    except UserError as error:
        report.append({"error": str(error)})
        continue
    if case.get("uniform"):
        with torch.no_grad():
            for tensor in list(learner.model.parameters())[-2:]:
                tensor.zero_()
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    sampler = StreamSampler(splits[key].train, world, rank, config.seed, stop=total)
    sizes = set()
    hook = learner.model.register_forward_pre_hook(
        lambda module, inputs, sizes=sizes: sizes.add((module.training, len(inputs[0])))
    )
    batches = iter(DataLoader(splits[key].train, sampler=BatchSampler(sampler, learner.micro, False), batch_size=None))
    losses = []
    for step in range(case["steps"]):
        mine, _ = learner.step(batches, step * config.batch)
        losses.append(torch.stack(gather_tensors(mine), 1).flatten().tolist())  # in the order of the stream
    state, labels = learner.model.state_dict(), torch.from_numpy(splits[key].train.labels)
    order = list(StreamSampler(splits[key].train, 1, 0, config.seed, stop=total))[: config.batch]
    tested = test(learner, splits[key].test, Path(), 0).numbers() if case.get("test") else None
    hook.remove()
    report.append(
        {
            "losses": losses,
            "tested": tested,
            "sizes": {
                mode: max(size for training, size in sizes if training == (mode == "training"))
                for mode in ("training", "test")[: 1 + bool(tested)]
            },
            "changes": {name: (state[name] - tensor).double().norm().item() for name, tensor in before.items()},
            "weights": learner.verify(),
            "dtypes": sorted({str(tensor.dtype) for tensor in state.values()}),
            "labels": labels[order].tolist(),
            "counts": torch.bincount(labels).tolist(),
        }
    )
    learner.model = learner.gradient = learner.optimizer = None
    accelerator.free_memory()
if rank == 0:
    print(json.dumps(report))
finish(accelerator)
