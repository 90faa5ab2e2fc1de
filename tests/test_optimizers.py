"""Optimizers against torch's own and against closed forms; one process and two."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from recipes.core.config.tasks import Model, Optim
from recipes.core.errors import UserError
from recipes.core.models.models import build_model
from recipes.core.models.optimizers import build_optimizer, hidden_weights, orthogonalize

NAMES = ["adamw", "sgd", "muon"]


pytestmark = pytest.mark.usefixtures("one_thread")


def small_model(seed=0, **options):
    torch.manual_seed(seed)
    return build_model(Model(name="resnet8", width=8, **options), channels=1, classes=5)


def steps(model, optimizer, numbers):
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        x, labels = torch.randn(16, 1, 8, 8, generator=generator), torch.randint(0, 5, (16,), generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * (1 - number / 10)
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", NAMES)
def test_every_learning_weight_is_in_one_group_and_only_matrices_decay(name):
    model = build_model(Model(name="cifarnet", width=8), channels=3, classes=5)
    optimizer = build_optimizer(model, Optim(name=name, lr=0.1, muon_lr=0.7, weight_decay=0.3))
    names = {parameter: key for key, parameter in model.named_parameters()}
    found = [(names[parameter], group) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(key for key, _ in found) == sorted(key for key, p in model.named_parameters() if p.requires_grad)
    for key, group in found:
        by_muon = name == "muon" and "conv" in key
        assert group["lr"] == group["peak"] == (0.7 if by_muon else 0.1), key
        assert group["weight_decay"] == (0.0 if key.endswith("bias") else 0.3), key


def test_muon_is_for_hidden_matrices():
    model = torchvision.models.mobilenet_v2(num_classes=3)
    hidden = {
        key for key, parameter in model.named_parameters() if any(parameter is other for other in hidden_weights(model))
    }
    assert {model.get_parameter(key).ndim for key in hidden} == {4}
    grouped = [f"{key}.weight" for key, module in model.named_modules() if getattr(module, "groups", 1) > 1]
    assert grouped and not hidden & set(grouped) and len(hidden) + len(grouped) == 52
    with torch.device("meta"):
        model = torchvision.models.vit_b_16()
    hidden = {
        key for key, parameter in model.named_parameters() if any(parameter is other for other in hidden_weights(model))
    }
    first = "encoder.layers.encoder_layer_0."
    parts = {key.removeprefix(first) for key in hidden if key.startswith(first)}
    assert parts == {"self_attention.in_proj_weight", "self_attention.out_proj.weight", "mlp.0.weight", "mlp.3.weight"}
    assert {key for key in hidden if "encoder_layer" not in key} == {"conv_proj.weight"}


def test_adamw_and_sgd_are_torchs():
    for name, theirs in (
        ("adamw", lambda groups: torch.optim.AdamW(groups, lr=0.01)),
        ("sgd", lambda groups: torch.optim.SGD(groups, lr=0.01, momentum=0.8, nesterov=True)),
    ):
        ours, other = small_model(), small_model()
        optimizer = build_optimizer(ours, Optim(name=name, lr=0.01, weight_decay=0.1, momentum=0.8))
        kinds = [[p for p in other.parameters() if (p.ndim > 1) == matrix] for matrix in (True, False)]
        reference = theirs([{"params": kind, "weight_decay": decay} for kind, decay in zip(kinds, (0.1, 0.0))])
        for group in reference.param_groups:
            group["peak"] = 0.01
        steps(ours, optimizer, range(4))
        steps(other, reference, range(4))
        assert all(torch.equal(one, two) for one, two in zip(ours.parameters(), other.parameters()))


@pytest.mark.parametrize("shape", [(64, 64), (32, 288), (200, 40)])
def test_newton_schulz_is_about_the_orthogonal_factor_of_the_svd(shape):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(1)) * 1e-3
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    inner = left.T @ orthogonalize(matrix).double() @ right.T
    strong = values > 0.02 * values[0]  # tiny ones need more than five steps
    assert strong.sum() >= 0.95 * len(values)
    assert inner.diag()[strong].min() > 0.65 and inner.diag()[strong].max() < 1.25
    assert (inner - inner.diag().diag()).abs().max() < 1e-4  # the same singular vectors
    distance = (orthogonalize(matrix).double() - left @ right).norm() / (left @ right).norm()
    assert distance < 0.25
    assert torch.equal(orthogonalize(torch.zeros(*shape)), torch.zeros(*shape))


def test_muon_is_torchs_on_flattened_filters_and_adamw_is_torchs_on_the_rest():
    # torch.optim.Muon takes matrices only, and computes in bfloat16.
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Flatten(), nn.Linear(40, 12), nn.Linear(12, 4))
    optim = Optim(name="muon", lr=0.01, muon_lr=0.05, weight_decay=0.1, momentum=0.95)
    optimizer = build_optimizer(model, optim)
    flat = [nn.Parameter(p.detach().flatten(1).clone()) for p in (model[0].weight, model[2].weight)]
    rest = [model[0].bias, model[2].bias, model[3].weight, model[3].bias]
    copies = [nn.Parameter(p.detach().clone()) for p in rest]
    muon = torch.optim.Muon(flat, lr=0.05, weight_decay=0.1, momentum=0.95)
    groups = [{"params": [p for p in copies if p.ndim > 1], "weight_decay": 0.1}]
    adamw = torch.optim.AdamW([*groups, {"params": [p for p in copies if p.ndim == 1], "weight_decay": 0.0}], lr=0.01)
    start = [p.detach().clone() for p in flat]
    for _ in range(5):
        for parameter, other in zip([model[0].weight, model[2].weight, *rest], [*flat, *copies]):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            other.grad = parameter.grad.view(other.shape).clone()
        for each in (optimizer, muon, adamw):
            each.step()
    for parameter, other, before in zip((model[0].weight, model[2].weight), flat, start):
        moved = (other - before).norm()
        assert (parameter.detach().flatten(1) - other).norm() < 0.02 * moved
    assert all(torch.equal(parameter, other) for parameter, other in zip(rest, copies))


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_state_goes_on_with_the_same_bits(name, tmp_path):
    optim = Optim(name=name, lr=0.02, muon_lr=0.03, weight_decay=0.1)
    whole = small_model()
    optimizer = build_optimizer(whole, optim)
    steps(whole, optimizer, range(3))
    torch.save({"model": whole.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pth")
    steps(whole, optimizer, range(3, 7))

    saved = torch.load(tmp_path / "state.pth", weights_only=True)
    resumed = small_model(seed=1)
    resumed.load_state_dict(saved["model"])
    optimizer = build_optimizer(resumed, Optim(name=name, lr=9.0, muon_lr=9.0, weight_decay=9.0))
    optimizer.load_state_dict(copy.deepcopy(saved["optimizer"]))
    steps(resumed, optimizer, range(3, 7))
    assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), resumed.parameters()))


def test_what_cannot_be():
    with pytest.raises(UserError, match="optim.name=adam: choose adamw, sgd or muon"):
        build_optimizer(small_model(), Optim(name="adam"))
    with pytest.raises(UserError, match="nothing to learn"):
        build_optimizer(small_model().requires_grad_(False), Optim())


SCRIPT = """
import sys
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from recipes.core.config.tasks import Model, Optim
from recipes.core.models.models import build_model
from recipes.core.models.optimizers import build_optimizer

accelerator = Accelerator(cpu=True)
rank, world, out = accelerator.process_index, accelerator.num_processes, sys.argv[1]
for name in ("adamw", "sgd", "muon"):
    torch.manual_seed(0)
    model = build_model(Model(name="resnet8", width=8), channels=1, classes=5)
    optimizer = build_optimizer(model, Optim(name=name, lr=0.02, momentum=0.9))
    model, optimizer = accelerator.prepare(model, optimizer)
    for step in range(5):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * (1 - step / 10)
        generator = torch.Generator().manual_seed(step)
        x, labels = torch.randn(16, 1, 8, 8, generator=generator), torch.randint(0, 5, (16,), generator=generator)
        accelerator.backward(F.cross_entropy(model(x[rank::world]), labels[rank::world]))
        optimizer.step()
        optimizer.zero_grad()
    torch.save(accelerator.unwrap_model(model).state_dict(), f"{out}/{name}-{rank}-{world}.pth")
    accelerator.free_memory()
    del model, optimizer
accelerator.end_training()
"""


def test_two_processes_update_like_one(tmp_path, run_processes):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    for processes in (1, 2):
        run_processes(processes, script, tmp_path)
    for name in NAMES:
        one, first, second = (torch.load(tmp_path / f"{name}-{which}.pth") for which in ("0-1", "0-2", "1-2"))
        for key, value in one.items():
            assert torch.equal(first[key], second[key]), key
            torch.testing.assert_close(first[key], value, atol=2e-5, rtol=0, msg=f"{name} {key}")
