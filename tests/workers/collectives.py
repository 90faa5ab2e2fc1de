"""Run on several processes by test_distributed.py: every check is made on every rank."""

import json
import os
import sys
from pathlib import Path

import datasets
import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from recipes.core.config.tasks import Model
from recipes.core.data.augment import Prepare
from recipes.core.data.images import Images
from recipes.core.errors import UserError
from recipes.core.models.models import build_model
from recipes.core.ranks.initialization import initialize, verify_equal
from recipes.core.ranks.reduce import average_buffers, reduce_value
from recipes.core.ranks.runtime import finish
from recipes.core.ranks.sampler import StreamSampler
from recipes.core.tasks.evaluation import evaluate

accelerator = Accelerator(cpu=True)
rank, world = accelerator.process_index, accelerator.num_processes
torch.set_num_threads(1)
report = {}

# reduce_value: mean and sum, of numbers and tensors
assert float(reduce_value(rank + 1.0)) == (world + 1) / 2
assert float(reduce_value(rank + 1.0, average=False)) == world * (world + 1) / 2
assert reduce_value(torch.tensor([rank, 1]), average=False).tolist() == [world * (world - 1) / 2, world]


# initial weights: both methods agree over ranks; broadcast also where each rank draws its own
def build():
    return nn.Sequential(build_model(Model("resnet8", 8), 1, 10), nn.BatchNorm1d(10))


for method in ("seed", "broadcast"):
    report[method] = verify_equal(model=initialize(build, method, seed=3))
try:
    initialize(build, "hope", seed=3)
    raise AssertionError("an unknown method must be refused")
except UserError:
    pass

# one wrong bit on one rank is caught on every rank, and named
for name in ("0.blocks.1.conv2.weight", "1.running_var", "1.num_batches_tracked"):
    model = initialize(build, "seed", seed=3)
    if rank == world - 1:
        model.state_dict()[name].view(-1)[-1] += 1
    try:
        verify_equal(model=model)
        caught = "nothing"
    except UserError as error:
        caught = str(error)
    assert world == 1 or f"model.{name} is" in caught and f"on rank {world - 1}" in caught, caught

# running statistics are averaged
model = nn.BatchNorm1d(1)
model.running_mean.fill_(rank)
average_buffers(model)
assert float(model.running_mean) == (world - 1) / 2

# the part of the stream that each rank reads; the test joins the ranks
sampler = StreamSampler(range(10), world, rank, seed=5, start=0, stop=24)
mine = torch.tensor(list(sampler))
assert len(mine) == len(sampler) == 24 // world
report["stream"] = accelerator.gather(mine.view(-1, 1)).view(world, -1).T.flatten().tolist()

# exact evaluation of any number of images
torch.manual_seed(0)
model = initialize(lambda: build_model(Model("resnet8", 8), 3, 4), "seed", seed=1)
model = accelerator.prepare(model)
rng = np.random.default_rng(0)
for count in json.loads(sys.argv[1]):
    pixels = [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(count)]
    rows = datasets.Dataset.from_dict({"image": pixels}, features=datasets.Features({"image": datasets.Image()}))
    images = Images(rows, "image", rng.integers(0, 4, count), size=8, channels=3, crop=False)
    prepare = Prepare([0.5] * 3, [0.25] * 3, accelerator.device)
    result = evaluate(accelerator, model, images, prepare, classes=4, batch=2)
    surest = [list(mistake) for mistake in result.mistakes]
    report[f"evaluate {count}"] = [result.loss, result.accuracy, result.count, result.confusion.tolist(), surest]

if accelerator.is_main_process:
    print(json.dumps(report))

# no gloo thread is left: one that outlives the interpreter aborts its process
del model
finish(accelerator)
threads = [Path(f"/proc/self/task/{thread}/comm").read_text() for thread in os.listdir("/proc/self/task")]
assert not any("gloo" in thread for thread in threads), threads
