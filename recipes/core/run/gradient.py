"""The gradient of a batch: fast with DDP, or the same bits on every number of processes."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils.dataclasses import DDPCommunicationHookType
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from recipes.core.config.training import Ddp
from recipes.core.errors import UserError
from recipes.core.ranks.random_numbers import derive
from recipes.core.ranks.reduce import gather_tensors, in_double, reduce_value

Batch = dict[str, torch.Tensor]
# The losses of a part of a batch: sums, float32 (B,), one per image, and weights (B,), the number of terms in each sum, such as
# its valid pixels; None for 1 each. The loss of the whole batch is the sum of all sums over the sum of all weights: a mean of
# means would give an image of few pixels the gradient of a full one.
Losses = tuple[torch.Tensor, torch.Tensor | None]
Loss = Callable[[nn.Module, Batch, int], Losses]  # of (model, part of a batch, position)


def ddp_options(ddp: Ddp) -> dict[str, Any]:
    """The arguments of `accelerate.DistributedDataParallelKwargs`.

    Raises:
        UserError: there is no such compression.
    """
    hooks = {
        "no": DDPCommunicationHookType.NO,
        "fp16": DDPCommunicationHookType.FP16,
        "bf16": DDPCommunicationHookType.BF16,
    }
    if ddp.compress not in hooks:
        raise UserError(f"ddp.compress={ddp.compress}: choose {', '.join(hooks)}")
    return {
        "bucket_cap_mb": ddp.bucket_mb,
        "find_unused_parameters": ddp.find_unused,
        "static_graph": ddp.static_graph,
        "comm_hook": hooks[ddp.compress],
    }


class DataParallel:
    """Each rank takes its share of the batch in `accumulate` parts; DDP averages the gradients.

    Weights are known only at the end, when all parts have been augmented; then the gradient of the sums is divided.
    """

    def __init__(self, accelerator: Accelerator, model: nn.Module, loss: Loss, accumulate: int, seed: int):
        self.accelerator, self.model, self.loss, self.accumulate, self.seed = accelerator, model, loss, accumulate, seed

    def __call__(self, batches: Iterator[Batch], position: int) -> torch.Tensor:
        """Leaves the gradient of the batch that begins at `position`; returns sums and weights of this rank's images, (2, B)."""
        torch.manual_seed(derive(self.seed, position, self.accelerator.process_index))  # for dropout
        losses = []
        for part in range(self.accumulate):
            last = part == self.accumulate - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                sums, weights = self.loss(self.model, next(batches), position)
                self.accelerator.backward(sums.mean() / self.accumulate if weights is None else sums.sum())
                losses.append(pair(sums, weights))
        of_rank = torch.cat(losses, 1)
        if weights is not None:
            divide_by_weight(self.model.parameters(), of_rank, self.accelerator.num_processes)
        return of_rank


class Ordered:
    """The same bits on every number of processes P that divides the number of shards V.

    Image q of a batch belongs to shard q % V, which is on rank q % P. Every shard goes through the model separately,
    so its arithmetic does not depend on the others; the V gradients are gathered and added up in the order of the
    shards. This sends V / P times as much as DDP, and holds V gradients in memory.

    Raises:
        UserError: P does not divide V, V does not divide the batch, or the model has batch normalisation, whose
            statistics would depend on which shards share a rank.
    """

    def __init__(self, accelerator: Accelerator, model: nn.Module, loss: Loss, batch: int, shards: int, seed: int):
        world = accelerator.num_processes
        if shards % world or batch % shards:
            raise UserError(
                f"exact=true needs batch={batch} to be a multiple of shards={shards}, and shards to be a multiple of "
                f"the {world} processes"
            )
        if accelerator.scaler is not None:
            raise UserError(
                "exact=true cannot hold with precision=fp16, whose loss scale depends on earlier steps: choose bf16 "
                "or no"
            )
        for name, module in model.named_modules():
            if isinstance(module, _NormBase) and module.track_running_stats:
                raise UserError(
                    f"exact=true cannot hold with the batch statistics of {name}: choose a model without BatchNorm"
                )
        self.accelerator, self.model, self.loss, self.seed = accelerator, model, loss, seed
        self.world, self.mine, self.shards = world, shards // world, shards
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def __call__(self, batches: Iterator[Batch], position: int) -> torch.Tensor:
        """Leaves the gradient of the batch that begins at `position`; returns sums and weights of this rank's images, (2, B)."""
        batch, gradients, losses = next(batches), [], []
        for shard in range(self.mine):
            torch.manual_seed(derive(self.seed, position, self.accelerator.process_index + self.world * shard))
            part = {name: tensor[shard :: self.mine] for name, tensor in batch.items()}
            with self.accelerator.autocast():
                sums, weights = self.loss(self.model, part, position)
            loss = sums.mean() / self.shards if weights is None else sums.sum()
            found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            filled = [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters, found)]
            gradients.append(torch.cat([gradient.flatten() for gradient in filled]))
            losses.append(pair(sums, weights))
        total = None
        by_rank = gather_tensors(torch.stack(gradients))
        for shard in range(self.shards):
            gradient = by_rank[shard % self.world][shard // self.world]
            total = gradient.clone() if total is None else total.add_(gradient)
        assert total is not None  # there is at least one shard
        parts = total.split([parameter.numel() for parameter in self.parameters])
        for parameter, part in zip(self.parameters, parts):
            parameter.grad = part.view_as(parameter)
        of_rank = torch.cat(losses, 1)
        if weights is not None:
            divide_by_weight(self.parameters, of_rank)
        return of_rank


def pair(sums: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Sums and weights as float32 (2, B), detached from the graph."""
    return torch.stack([sums.detach(), torch.ones_like(sums) if weights is None else weights.to(sums.dtype)])


def divide_by_weight(parameters: Iterable[nn.Parameter], losses: torch.Tensor, world: int = 1) -> None:
    """Divides the gradient of the sums of a batch, already averaged over `world` ranks, by the weight of the whole batch.

    Weights are counts, whose sum in double precision has the same bits in any order. A batch without any weight has no
    gradient to divide.
    """
    total = float(reduce_value(in_double(losses[1]).sum(), average=False))
    for parameter in parameters:
        if parameter.grad is not None and total:
            parameter.grad.mul_(world / total)
