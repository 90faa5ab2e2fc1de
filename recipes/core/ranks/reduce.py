"""Numbers over all ranks."""

import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import gather_object, reduce
from torch import nn


def in_double(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as float64, on its device; on the CPU if it is on the GPU of a Mac, which has no float64."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def reduce_value(value: torch.Tensor | float, average: bool = True) -> torch.Tensor:
    """The mean, or with `average=False` the sum, of `value` over all ranks; every rank gets the same.

    The mean gives each rank the same weight. Ranks with different numbers of samples reduce their sums and counts
    with `average=False` and divide afterwards.

    Args:
        value: a number or a tensor of the same shape on every rank. Numbers become float64.
    """
    state = PartialState()
    tensor = torch.as_tensor(value, dtype=None if isinstance(value, torch.Tensor) else torch.float64)
    if state.num_processes == 1:
        return tensor
    return reduce(tensor.to(state.device), "mean" if average else "sum")


def sum_once(values: list[float]) -> float:
    """The sum of the values of all ranks, rounded once: the same bits in any order, and on any number of ranks."""
    return math.fsum(itertools.chain.from_iterable(gather_object([values])))


def from_main(compute: Callable[[], Any], group: dist.ProcessGroup | None = None) -> Any:
    """The result of the main process, on every rank: the same bits everywhere, and the work done once.

    An error on the main process is an error on the others too, so none waits for it.

    Args:
        group: the process group that passes the result on; None for the usual one.
    """
    state = PartialState()
    result: Any = None
    error: Exception | None = None
    if state.is_main_process:
        try:
            result = compute()
        except Exception as caught:
            error = caught
    if state.num_processes > 1:
        values = [result, error and sendable(error)]
        dist.broadcast_object_list(values, src=0, group=group)
        result, sent = values
        error = error or sent
    if error is not None:
        raise error
    return result


def sendable(error: Exception) -> Exception:
    """The error, or its text if it cannot be sent between processes."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def gather_tensors(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The tensors of all ranks, of equal shape, in the order of the ranks."""
    world = PartialState().num_processes
    if world == 1:
        return [tensor]
    gathered = [torch.empty_like(tensor) for _ in range(world)]
    dist.all_gather(gathered, tensor.contiguous())
    return gathered


def ordered_mean(state: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """A communication hook of DDP that adds gradients up in the order of the ranks.

    The sum of three or more numbers depends on their order, and an all-reduce's order on the position of a gradient in
    its bucket, which DDP changes after the first step.
    """
    gathered = gather_tensors(bucket.buffer())
    total = gathered[0].clone()
    for other in gathered[1:]:
        total.add_(other)
    future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    future.set_result(total.div_(len(gathered)))
    return future


@torch.no_grad()
def average_buffers(model: nn.Module) -> None:
    """Makes the buffers of all ranks equal: the mean of the running statistics that each rank collected."""
    if PartialState().num_processes > 1:
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.copy_(reduce_value(buffer))
