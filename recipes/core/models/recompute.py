"""Gradient checkpointing: activations are recomputed in the backward pass instead of kept."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from recipes.core.errors import UserError


def recompute_activations(model: nn.Module, name: str) -> None:
    """Keeps only the input of every block of the model (Chen et al. 2016, "Training Deep Nets with Sublinear Memory
    Cost"): less memory for one more forward pass; gradients and running statistics stay the same.

    A block is a module with submodules in an nn.Sequential. A timm model without batch normalisation defines its own
    blocks, which are used; with batch normalisation it would update the running statistics twice per step.

    Raises:
        UserError: the model, called `name`, has no such blocks.
    """
    if hasattr(model, "set_grad_checkpointing") and not any(
        isinstance(module, _BatchNorm) for module in model.modules()
    ):
        with contextlib.suppress(AssertionError):  # how timm reports that a model has no blocks
            model.set_grad_checkpointing()
            return
    blocks = list(find_blocks(model))
    if not blocks:
        raise UserError(f"model.checkpointing=true: model.name={name} has no blocks to recompute")
    for block in blocks:
        block.forward = Recomputed(block)


def find_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost blocks, in order."""
    for child in module.children():
        has_parts = next(child.children(), None) is not None
        if isinstance(module, nn.Sequential) and has_parts and not isinstance(child, nn.Sequential):
            yield child
        else:
            yield from find_blocks(child)


class Recomputed:
    """Stands in for `block.forward`; names of weights stay, and a deep copy of the block takes a copy of this along."""

    def __init__(self, block: nn.Module):
        self.block, self.forward = block, block.forward
        has_statistics = any(isinstance(module, _BatchNorm) for module in block.modules())
        self.options = {"context_fn": self.contexts} if has_statistics else {}  # which torch.compile does not take

    def __call__(self, *inputs: Any) -> Any:
        return checkpoint(self.forward, *inputs, use_reentrant=False, **self.options)

    def contexts(self) -> tuple[contextlib.AbstractContextManager, contextlib.AbstractContextManager]:
        """Around the first forward pass, and around the second."""
        return contextlib.nullcontext(), self.without_statistics()

    @contextlib.contextmanager
    def without_statistics(self) -> Iterator[None]:
        """The second forward pass normalises by the batch again, but the running statistics have seen it already."""
        norms = [m for m in self.block.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
        before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
        for norm in norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        try:
            yield
        finally:
            for norm, (momentum, count) in zip(norms, before):
                norm.momentum, norm.num_batches_tracked = momentum, count
