"""Numbers over all ranks."""

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import nn


def reduce_value(value: torch.Tensor | float, average: bool = True) -> torch.Tensor:
    """The mean, or with `average=False` the sum, of `value` over all ranks; every rank gets the same.

    The mean gives each rank the same weight. Ranks with different numbers of samples reduce their sums and counts
    with `average=False` and divide after.

    Args:
        value: a number or a tensor of the same shape on every rank. Numbers become float64.
    """
    state = PartialState()
    tensor = torch.as_tensor(value, dtype=None if isinstance(value, torch.Tensor) else torch.float64)
    if state.num_processes == 1:
        return tensor
    return reduce(tensor.to(state.device), "mean" if average else "sum")


@torch.no_grad()
def average_buffers(model: nn.Module) -> None:
    """Makes the buffers of all ranks equal: the mean of running statistics that each rank gathered from its own batches."""
    if PartialState().num_processes > 1:
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.copy_(reduce_value(buffer))
