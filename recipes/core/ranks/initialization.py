"""The same initial weights on every rank, and a check that they are equal."""

import hashlib
from collections.abc import Callable, Mapping

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, gather_object, set_seed
from torch import nn

from recipes.core.errors import UserError


def initialize(build: Callable[[], nn.Module], method: str, seed: int) -> nn.Module:
    """Builds a model that starts from the same weights on every rank.

    Args:
        build: makes the model, on the CPU.
        method: "seed" draws the weights from the same seed on every rank; "broadcast" has rank 0 draw them and send
            every parameter and buffer to the others.
        seed: what the weights depend on.

    Returns:
        The model, on this rank's device.
    """
    state = PartialState()
    if method == "seed":
        set_seed(seed)
        return build().to(state.device)
    if method == "broadcast":
        set_seed(seed, device_specific=True)
        model = build().to(state.device)
        with torch.no_grad():
            for tensor in model.state_dict(keep_vars=True).values():
                tensor.data.copy_(broadcast(tensor.data, from_process=0))
        return model
    raise UserError(f"init.method={method}: choose seed or broadcast")


def fingerprints(models: Mapping[str, nn.Module]) -> dict[str, str]:
    """The sha256 of every parameter and buffer, by its full name."""
    return {
        f"{prefix}.{name}": hashlib.sha256(
            tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
        ).hexdigest()
        for prefix, model in models.items()
        for name, tensor in model.state_dict().items()
    }


def verify_equal(**models: nn.Module) -> str:
    """Compares every parameter and buffer of the models over all ranks.

    Returns:
        One fingerprint for all: 12 hexadecimal digits.

    Raises:
        UserError: weights differ; on every rank, the message names the first tensor that differs and the ranks.
    """
    mine = fingerprints(models)
    ranks: list[dict[str, str]] = gather_object([mine])
    for rank, other in enumerate(ranks):
        if other.keys() != ranks[0].keys():
            name = sorted(other.keys() ^ ranks[0].keys())[0]
            raise UserError(f"weights differ: {name} exists only on rank 0 or only on rank {rank}")
    for name, digest in ranks[0].items():
        for rank, other in enumerate(ranks):
            if other[name] != digest:
                raise UserError(
                    f"weights differ: {name} is {digest[:12]} on rank 0 and {other[name][:12]} on rank {rank}"
                )
    return hashlib.sha256("".join(mine.values()).encode()).hexdigest()[:12]
