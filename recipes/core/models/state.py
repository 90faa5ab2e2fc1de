"""The layout of `state.pt` in a checkpoint: all tensors that the next step of a training depends on."""

from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

State = dict[str, Any]


class Trained(Protocol):
    """The parts of a learner that a checkpoint holds.

    Attributes:
        average: of the weights, if there is one.
        best: the weights that did best on the validation images, if they are kept.
    """

    accelerator: Accelerator
    model: nn.Module
    average: nn.Module | None
    optimizer: torch.optim.Optimizer
    best: dict[str, torch.Tensor] | None


def collect(learner: Trained) -> State:
    """The state; every rank calls it, as running statistics differ by rank."""
    scaler = learner.accelerator.scaler
    return {
        "model": learner.model.state_dict(),
        "ema": None if learner.average is None else learner.average.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "scaler": None if scaler is None else scaler.state_dict(),
        "best": learner.best,
        "buffers": gather_object([{name: buffer.cpu() for name, buffer in learner.model.named_buffers()}]),
    }


def restore(learner: Trained, state: State) -> None:
    """Puts a state back, the same on all ranks; `restore_statistics` follows."""
    learner.model.load_state_dict(state["model"])
    if learner.average is not None:
        learner.average.load_state_dict(state["ema"])
    learner.optimizer.load_state_dict(state["optimizer"])
    if learner.accelerator.scaler is not None:
        learner.accelerator.scaler.load_state_dict(state["scaler"])
    learner.best = state["best"]


def restore_statistics(learner: Trained, state: State) -> None:
    """Puts the running statistics of each rank back; on a different number of ranks, the mean of the stored ones."""
    accelerator, ranks = learner.accelerator, state["buffers"]
    for name, buffer in learner.model.named_buffers():
        if len(ranks) == accelerator.num_processes:
            buffer.copy_(ranks[accelerator.process_index][name])
        elif buffer.is_floating_point():
            buffer.copy_(torch.stack([rank[name] for rank in ranks]).mean(0))


def tested_weights(state: State) -> dict[str, torch.Tensor]:
    """The weights that are tested and exported: the average, if there is one."""
    return state["ema"] or state["model"]
