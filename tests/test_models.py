"""Models against those of torchvision and timm: weights, heads, linear probes, recomputed activations."""

import copy
import pickle
import sys

import pytest
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from recipes.core.config.tasks import Model
from recipes.core.errors import UserError
from recipes.core.models.models import build_model, check_input, find_heads, train_mode
from recipes.core.models.networks import CifarNet
from recipes.core.models.recompute import find_blocks

pytestmark = pytest.mark.usefixtures("one_thread")


def randomize(model, seed=1):
    """Draws weights and running statistics as in a trained model, so that nothing has its initial value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.add_(noise * 0.2 if "running" in name else (noise - 0.5) * 0.05)
    return model.eval()


def save(model, path):
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


@torch.no_grad()
def logits(model, channels=3, size=64):
    x = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(9))
    return model.eval()(x)


@pytest.mark.parametrize(
    "name, suffix", [("mobilenet_v2", ".pth"), ("resnet18", ".safetensors"), ("squeezenet1_1", ".pth")]
)
def test_weights_of_torchvision(tmp_path, name, suffix):
    theirs = randomize(torchvision.models.get_model(name, num_classes=7))
    path = save(theirs, tmp_path / f"weights{suffix}")
    ours = build_model(Model(name=name, weights=path), channels=3, classes=7)
    assert torch.equal(logits(ours), logits(theirs))
    # Another number of classes: everything but the head.
    ours = build_model(Model(name=name, weights=path), channels=3, classes=5)
    (head,) = find_heads(ours)
    fresh = [key for key, value in ours.state_dict().items() if not torch.equal(value, theirs.state_dict()[key])]
    assert fresh == [f"{head}.weight", f"{head}.bias"] and logits(ours).shape == (2, 5)
    replaced = ours.get_submodule(head)
    replaced.weight = theirs.get_submodule(head).weight
    replaced.bias = theirs.get_submodule(head).bias
    assert torch.equal(logits(ours), logits(theirs))


def test_weights_with_the_old_names_of_densenet(tmp_path):
    theirs = randomize(torchvision.models.densenet121(num_classes=4))
    old = {
        name.replace("norm1", "norm.1").replace("conv2", "conv.2"): value for name, value in theirs.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.conv.2.weight" in old
    torch.save(old, tmp_path / "old.pth")
    ours = build_model(Model(name="densenet121", weights=str(tmp_path / "old.pth")), channels=3, classes=4)
    assert torch.equal(logits(ours), logits(theirs))


@pytest.mark.parametrize(
    "name, size", [("resnet10t", 64), ("vit_tiny_patch16_224", 224), ("deit_tiny_distilled_patch16_224", 224)]
)
def test_weights_of_timm(tmp_path, name, size):
    theirs = randomize(timm.create_model(name, num_classes=6, in_chans=1))
    path = save(theirs, tmp_path / "model.safetensors")
    ours = build_model(Model(name=f"timm/{name}", weights=path), channels=1, classes=6)
    assert torch.equal(logits(ours, 1, size), logits(theirs, 1, size))
    ours = build_model(Model(name=f"timm/{name}", weights=path, train="head"), channels=1, classes=3)
    assert logits(ours, 1, size).shape == (2, 3)
    learning = {key.rpartition(".")[0] for key, parameter in ours.named_parameters() if parameter.requires_grad}
    assert learning == set(find_heads(ours)) == ({"fc"} if "resnet" in name else {"head", "head_dist"} & learning)


def test_our_weights(tmp_path):
    for name in ("resnet8", "cifarnet"):
        theirs = randomize(build_model(Model(name=name, width=8), channels=1, classes=4))
        path = save(theirs, tmp_path / f"{name}.safetensors")
        ours = build_model(Model(name=name, width=8, weights=path), channels=1, classes=4)
        assert torch.equal(logits(ours, 1, 16), logits(theirs, 1, 16))


def test_weights_that_do_not_fit(tmp_path):
    model = build_model(Model(name="resnet8", width=8), channels=3, classes=4)
    state = model.state_dict()

    def refusal(content, channels=3, name="weights.pth", **options):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(UserError) as error:
            build_model(Model(name="resnet8", width=8, weights=str(path), **options), channels=channels, classes=4)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
        return str(error.value)

    assert "stem.weight is [8, 3, 3, 3], not [8, 1, 3, 3]" in refusal(state, channels=1)
    assert "norm.bias is missing" in refusal({name: value for name, value in state.items() if name != "norm.bias"})
    assert "extra.weight is left over" in refusal({**state, "extra.weight": torch.ones(1)})
    assert "head.weight is [4, 31], not [4, 32]" in refusal({**state, "head.weight": torch.ones(4, 31)})
    assert "head.bias is missing" in refusal({name: value for name, value in state.items() if name != "head.bias"})
    assert "and 19 more" in refusal({"a": torch.ones(1)})
    assert "more than a state dict" in refusal({"model": state, "epoch": 3})
    assert "no safetensors or PyTorch weights" in refusal(b"\x00" * 999)
    assert "no safetensors or PyTorch weights" in refusal(b"not weights", name="weights.safetensors")
    assert "no safetensors or PyTorch weights" in refusal(pickle.dumps(Exploit(), protocol=2))
    with pytest.raises(UserError, match="nowhere.pth is not a file; no weights are published for resnet8"):
        build_model(Model(name="resnet8", width=8, weights=str(tmp_path / "nowhere.pth")), channels=3, classes=4)


class Exploit:
    def __reduce__(self):
        return sys.exit, ("code from a weights file was run",)


def test_names_and_options_that_cannot_be(monkeypatch):
    def refusal(channels=3, **options):
        with pytest.raises(UserError) as error, torch.device("meta"):
            build_model(Model(**options), channels=channels, classes=4)
        return str(error.value)

    assert "resnet50" in refusal(name="resnet55")
    assert "set data.channels=3" in refusal(name="resnet18", channels=1)
    assert "vit_tiny_patch16_224" in refusal(name="timm/vit_tiny_patch16_22")
    assert "model.train=half: choose all or head" in refusal(name="resnet8", train="half")
    assert "set model.weights" in refusal(name="resnet8", train="head")
    for name in ("vgg11", "alexnet", "timm/vgg11"):
        assert "has no blocks to recompute" in refusal(name=name, checkpointing=True)
    monkeypatch.setitem(sys.modules, "timm", None)  # as Python marks a module that cannot be imported
    assert "pip install 'dataset_scripts[timm]'" in refusal(name="timm/resnet10t")
    with pytest.raises(UserError, match=r"cifarnet does not take images of 4 × 4 \(data.size\)"):
        check_input(build_model(Model(name="cifarnet"), 3, 10), "cifarnet", 3, 4)


FAMILIES = """alexnet convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 maxvit_t mnasnet0_5 mobilenet_v2
    mobilenet_v3_small resnet18 shufflenet_v2_x0_5 squeezenet1_0 swin_t swin_v2_t vgg11 vit_b_16"""


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
def test_the_head_of_every_family_of_torchvision_is_found():
    with torch.device("meta"):
        models = {name: build_model(Model(name=name), channels=3, classes=17) for name in FAMILIES.split()}
    models["regnet_y_400mf"] = build_model(Model(name="regnet_y_400mf"), channels=3, classes=17)
    for name, model in models.items():
        (head,) = (model.get_submodule(head) for head in find_heads(model))
        assert (head.out_features if isinstance(head, nn.Linear) else head.out_channels) == 17, name


def test_a_linear_probe_learns_its_head_on_fixed_features(tmp_path):
    theirs = randomize(torchvision.models.mobilenet_v2(num_classes=9))
    config = Model(name="mobilenet_v2", weights=save(theirs, tmp_path / "weights.pth"), train="head")
    model = build_model(config, channels=3, classes=4)
    before = copy.deepcopy(model.state_dict())
    train_mode(model)
    model.classifier[0].p = 0.0  # dropout, the one thing here that is random
    x, labels = torch.randn(6, 3, 48, 48), torch.tensor([0, 1, 2, 3, 0, 1])
    F.cross_entropy(model(x), labels).backward()
    with torch.no_grad():
        features = theirs.features(x).mean((2, 3))
    head = nn.Linear(1280, 4)
    head.load_state_dict({"weight": before["classifier.1.weight"], "bias": before["classifier.1.bias"]})
    F.cross_entropy(head(features), labels).backward()
    torch.testing.assert_close(model.classifier[1].weight.grad, head.weight.grad)
    torch.testing.assert_close(model.classifier[1].bias.grad, head.bias.grad)
    assert sum(parameter.grad is not None for parameter in model.parameters()) == 2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())  # statistics too
    model = build_model(Model(name="mobilenet_v2"), channels=3, classes=4).eval()
    train_mode(model)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    "name, size",
    [("resnet14", 16), ("cifarnet", 16), ("resnet18", 40), ("mobilenet_v2", 40)]
    + [("timm/convnext_atto", 64), ("timm/efficientnet_lite0", 48)],
)
def test_recomputed_activations_change_nothing_but_memory(name, size):
    plain = randomize(build_model(Model(name=name), channels=3, classes=5))
    model = build_model(Model(name=name, checkpointing=True), channels=3, classes=5)
    model.load_state_dict(plain.state_dict())
    other = randomize(copy.deepcopy(model), seed=2)  # as for an average of the weights
    x = torch.randn(4, 3, size, size)
    kept, results = [], []
    for each in (plain, model):
        held = 0

        def pack(tensor):
            nonlocal held
            held += tensor.numel() if tensor.grad_fn is not None else 0
            return tensor

        torch.manual_seed(0)  # for dropout
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = F.cross_entropy(each.train()(x), torch.arange(4), reduction="sum")
        kept.append(held)
        loss.backward()
        results.append(loss)
    assert torch.equal(*results) and kept[1] < 0.6 * kept[0]
    assert list(plain.state_dict()) == list(model.state_dict())
    for (key, one), two in zip(plain.named_parameters(), model.parameters()):
        assert (one.grad is None) == (two.grad is None), key
        if one.grad is not None:
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-5, atol=1e-7, msg=key)
    for (key, one), two in zip(plain.named_buffers(), model.buffers()):  # running statistics have moved once
        assert torch.equal(one, two), key
    with torch.no_grad():
        assert torch.equal(plain.eval()(x), model.eval()(x)) and not torch.equal(other.eval()(x), model(x))
    copied = copy.deepcopy(plain)
    copied.load_state_dict(other.state_dict())
    with torch.no_grad():
        assert torch.equal(copied.eval()(x), other(x))


def test_blocks_are_whole_residual_blocks():
    found = list(find_blocks(torchvision.models.mobilenet_v3_small()))
    assert {type(block).__name__ for block in found} == {"InvertedResidual"} and len(found) == 11
    assert len(list(find_blocks(torchvision.models.convnext_tiny()))) == 18


def test_whitening():
    generator = torch.Generator().manual_seed(0)
    for channels in (1, 3):
        images = F.interpolate(torch.randn(400, channels, 6, 6, generator=generator), (17, 17), mode="bilinear")
        images = images + 0.5 * images.mean(1, keepdim=True) + 0.1 * torch.randn(images.shape, generator=generator)
        model = CifarNet(channels, classes=10, width=8)
        model.whiten(images)
        filters = model.stem.weight.detach()
        responses = F.conv2d(images, filters[: 4 * channels]).transpose(0, 1).flatten(1).double()
        torch.testing.assert_close(
            responses @ responses.T / responses.shape[1], torch.eye(4 * channels).double(), atol=0.06, rtol=0
        )
        assert torch.equal(filters[4 * channels :], -filters[: 4 * channels])
        again = CifarNet(channels, classes=10, width=8)
        again.whiten(images)
        assert torch.equal(again.stem.weight, model.stem.weight)


def test_cifarnet_begins_as_it_says():
    model = build_model(Model(name="cifarnet", width=64), channels=3, classes=10)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert frozen == {"stem.weight", *(f"{name}.weight" for name in norms)} and len(norms) == 6
    assert [group.conv2.out_channels for group in model.groups] == [64, 256, 256]
    x = torch.randn(2, 24, 9, 9)
    torch.testing.assert_close(model.groups[0].conv1(x)[:, :24], x)  # a partial identity
    norm = model.groups[0].norm1.train()
    norm(torch.full((4, 64, 2, 2), 5.0))
    assert norm.running_mean.unique().tolist() == pytest.approx([2.0])  # 0.6 of the past
    outputs = []
    model.head.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    result = logits(model, size=32)
    assert torch.equal(result, outputs[0] / 9)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(2.0e6, rel=0.05)
