"""Run on one or more processes by test_gradient.py: prints the gradient of a batch of weighted images as JSON.

Arguments: a file with `pixels`, `masks` and the weights of a convolution that judges each pixel; and `ordered` for the exact
gradient, or the number of parts into which DDP cuts the images of a rank.
"""

import json
import sys

import torch
import torch.nn.functional as F
from torch import nn

from recipes.core.ranks.reduce import gather_tensors
from recipes.core.ranks.runtime import finish, start
from recipes.core.run.gradient import DataParallel, Ordered

content = torch.load(sys.argv[1])
accelerator = start(True, "no", None, 1, deterministic=True)
rank, world = accelerator.process_index, accelerator.num_processes
model = nn.Conv2d(3, 4, 3, padding=1)
model.load_state_dict(content["model"])
mine = {name: content[name][rank::world] for name in ("pixels", "masks")}


def loss(model, batch, position):
    each = F.cross_entropy(model(batch["pixels"]), batch["masks"], reduction="none", ignore_index=255)
    return each.sum((1, 2)), (batch["masks"] != 255).sum((1, 2))


if sys.argv[2] == "ordered":
    step, parts = Ordered(accelerator, model, loss, len(content["pixels"]), 8, 0), 1
else:
    parts = int(sys.argv[2])
    step = DataParallel(accelerator, accelerator.prepare(model), loss, parts, 0)
size = len(mine["pixels"]) // parts
batches = [{name: tensor[size * part :][:size] for name, tensor in mine.items()} for part in range(parts)]
losses = torch.cat(gather_tensors(step(iter(batches), 0)), 1)
if rank == 0:
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    print(json.dumps({"gradient": gradient.tolist(), "losses": losses.double().sum(1).tolist()}))
finish(accelerator)
