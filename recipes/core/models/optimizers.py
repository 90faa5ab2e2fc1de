"""AdamW, SGD and Muon, with a peak learning rate for every group of parameters."""

from typing import Any

import torch
from torch import nn
from torch.optim.adamw import adamw

from recipes.core.config.training import Optimizer
from recipes.core.errors import UserError
from recipes.core.models.models import find_heads

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's coefficients: steep at 0, so few steps are enough
NEWTON_SCHULZ_STEPS = 5


def build_optimizer(model: nn.Module, optim: Optimizer) -> torch.optim.Optimizer:
    """The optimizer of the trainable parameters, with decay on matrices and filters only, not on biases and norms.

    Args:
        model: before it is wrapped in DDP.
        optim: `adamw`; `sgd` with Nesterov's momentum; or `muon`, which updates the weights of linear and ungrouped
            convolution layers except the head at the rate `muon_lr`, and has AdamW update the rest at `lr`.

    Returns:
        An optimizer whose groups hold "peak": set group["lr"] to group["peak"] times the schedule's factor.

    Raises:
        UserError: there is no such optimizer, or nothing to train.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not learning:
        raise UserError("the model has nothing to learn: all of its weights are frozen")
    hidden = set(hidden_weights(model)) if optim.name == "muon" else set()
    groups = [
        group(
            [p for p in learning if p in hidden], optim.muon_lr, optim.weight_decay, muon=True, momentum=optim.momentum
        ),
        group([p for p in learning if p.ndim > 1 and p not in hidden], optim.lr, optim.weight_decay),
        group([p for p in learning if p.ndim <= 1], optim.lr, 0.0),
    ]
    groups = [group for group in groups if group["params"]]
    if optim.name == "adamw":
        return torch.optim.AdamW(groups)
    if optim.name == "sgd":
        return torch.optim.SGD(groups, momentum=optim.momentum, nesterov=optim.momentum > 0)
    if optim.name == "muon":
        return Muon(groups)
    raise UserError(f"optim.name={optim.name}: choose adamw, sgd or muon")


def group(parameters: list[nn.Parameter], peak: float, weight_decay: float, **options: Any) -> dict[str, Any]:
    return {"params": parameters, "lr": peak, "peak": peak, "weight_decay": weight_decay, **options}


def hidden_weights(model: nn.Module) -> list[nn.Parameter]:
    """The matrices that map features to features, which Muon is made for."""
    heads = set(find_heads(model))
    weights = []
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            weights.append(module.in_proj_weight)
        elif isinstance(module, (nn.Linear, nn.Conv2d)) and getattr(module, "groups", 1) == 1 and name not in heads:
            weights.append(module.weight)
    return weights


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"), and AdamW for the rest.

    The momentum of a weight's gradient is replaced by the nearest orthogonal matrix. A filter (O, I, H, W) counts as a
    matrix (O, I * H * W), which torch.optim.Muon refuses. Every rank computes the whole update from the gradients that
    DDP has made equal. It is computed in float32, not in bfloat16 as in Jordan's code: rounding would make runs on
    different numbers of processes diverge.

    Args:
        groups: dicts of `params`, `lr`, `weight_decay`; those with `muon` true hold weights of two or more dimensions
            and `momentum`.
    """

    def __init__(self, groups: list[dict[str, Any]]):
        super().__init__(groups, {"muon": False, "betas": (0.9, 0.999), "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            (self._muon if group["muon"] else self._adamw)(group, parameters)

    def _muon(self, group: dict[str, Any], parameters: list[nn.Parameter]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            average = state["momentum_buffer"].lerp_(parameter.grad, 1 - group["momentum"])
            update = orthogonalize(parameter.grad.lerp(average, group["momentum"]).flatten(1))  # Nesterov's look ahead
            rows, columns = update.shape
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update.view(parameter.shape), alpha=-group["lr"] * max(1, rows / columns) ** 0.5)

    def _adamw(self, group: dict[str, Any], parameters: list[nn.Parameter]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            parameters,
            [parameter.grad for parameter in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """Sets the singular values of a matrix to about 1 (0.7 … 1.2), unless they are tiny, by Newton-Schulz steps.

    Args:
        matrix: float32 (rows, columns).
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)  # the largest singular value is then at most 1
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
