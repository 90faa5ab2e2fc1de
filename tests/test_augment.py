"""Augmentation against torchvision's, and its promise: a sample's result depends on that sample alone."""

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from recipes.core.config.tasks import Augment
from recipes.core.data import auto_augment, mixing
from recipes.core.data.augment import Prepare, erase
from recipes.core.data.auto_augment import BINS, NAMES, apply, parameters, strengths
from recipes.core.data.draws import draws_needed
from recipes.core.errors import UserError
from recipes.core.ranks.random_numbers import uniform

VISION = {"trivial": v2.TrivialAugmentWide(), "rand": v2.RandAugment()}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


pytestmark = pytest.mark.usefixtures("one_thread")


def photos(count, channels, size, seed=0):
    """Smooth pictures and noise, some of them flat or with few values."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.integers(0, 256, (count, channels, 5, 5))).float()
    images = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 255)
    images[::3] = torch.from_numpy(rng.integers(0, 256, images[::3].shape)).float()
    images[1::7] = images[1::7] // 128 * 100
    images[2] = 77
    return images.to(torch.uint8)


def batch(count, channels, size, augment, epoch=0):
    images = photos(count, channels, size)
    draws = uniform(np.arange(count), draws_needed(augment), 3, epoch)
    return {
        "pixels": images.permute(0, 2, 3, 1).contiguous(),
        "labels": torch.arange(count) % 5,
        "draws": torch.from_numpy(draws).float(),
    }


@pytest.mark.parametrize("kind", ["trivial", "rand"])
@pytest.mark.parametrize("size", [32, 45])
def test_the_strengths_are_those_of_torchvision(kind, size):
    space = VISION[kind]._AUGMENTATION_SPACE
    assert list(space) == NAMES
    ours = strengths(kind, size)
    for name, (levels, signed) in space.items():
        theirs = levels(BINS, size, size)
        assert (theirs is None) == (name not in ours)
        assert signed == (name in auto_augment.SIGNED)
        if theirs is not None:
            assert ours[name] == [float(level) for level in theirs], name


def ties(values, size):
    """The pixels that come from a point between two pixels, where either is the nearest."""
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    points = torch.stack([values[0] * x + values[1] * y + values[2], values[3] * x + values[4] * y + values[5]])
    return ((points - points.round()).abs() < 1e-4).any(0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["trivial", "rand"])
def test_every_operation_equals_that_of_torchvision(kind, channels, device):
    images, size, moved = photos(9, channels, 33), 33, 0
    for op, name in enumerate(NAMES):
        sides = (0, 1) if name in auto_augment.SIGNED else (0,)
        cases = [(level, turned) for level in range(0, BINS, 2) for turned in sides]
        values = torch.stack([parameters(kind, size)[op, level, turned] for level, turned in cases])
        every = images.repeat(len(cases), 1, 1, 1)
        results = apply(every.to(device), torch.full((len(every),), op), values.repeat_interleave(len(images), 0)).cpu()
        assert results.dtype == torch.uint8 and results.shape == every.shape
        for (level, turned), matrix, ours in zip(cases, values.double(), results.split(len(images))):
            strength = strengths(kind, size).get(name, [0.0] * BINS)[level] * (-1 if turned else 1)
            theirs = VISION[kind]._apply_image_or_video_transform(
                images, name, strength, interpolation=v2.InterpolationMode.NEAREST, fill={torch.Tensor: None}
            )
            if name in auto_augment.GEOMETRIC:
                assert not ((ours != theirs).any(1) & ~ties(matrix, size)).any(), (name, strength)
            else:
                assert (ours.int() - theirs.int()).abs().max() <= 1, (name, strength)
            moved += not torch.equal(ours, images)
    assert moved > 250


def test_equalize_is_pillows():
    images = photos(12, 3, 24)
    ours = apply(images, torch.full((12,), NAMES.index("Equalize")), torch.zeros(12, 6))
    for image, result in zip(images, ours):
        theirs = PIL.ImageOps.equalize(PIL.Image.fromarray(image.permute(1, 2, 0).numpy()))
        assert torch.equal(result, torch.from_numpy(np.array(theirs)).permute(2, 0, 1))


def test_draws_choose_operations_strengths_and_sides_alike():
    count = 40_000
    draws = torch.from_numpy(uniform(np.arange(count), 6, 1)).float()
    ((op, values),) = auto_augment.AutoAugment("trivial").select(draws[:, :3], size=32)
    assert op.bincount(minlength=14).div(count).sub(1 / 14).abs().max() < 0.006
    rotated = values[op == NAMES.index("Rotate")]
    assert len(rotated.unique(dim=0)) == 2 * BINS - 1
    assert abs((rotated[:, 3] > 0).double().mean() - 30 / 62) < 0.04
    first, second = auto_augment.AutoAugment("rand", ops=2, magnitude=9).select(draws, size=32)
    assert abs((first[0] == second[0]).double().mean() - 1 / 14) < 0.006
    rotated = second[1][second[0] == NAMES.index("Rotate")]
    assert rotated[:, 3].unique().tolist() == pytest.approx([-np.sin(np.radians(9)), np.sin(np.radians(9))])
    edge = auto_augment.AutoAugment("trivial").select(torch.ones(1, 3), size=32)  # float32 may round up to 1
    assert next(edge)[0].item() == 13


FULL = Augment(flip=0.5, pad=3, auto="rand", auto_ops=3, auto_magnitude=20, erase=0.5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", [FULL, Augment(flip=0.5, auto="trivial", erase=1.0)], ids=["rand", "trivial"])
def test_a_sample_comes_out_the_same_in_every_batch(augment, channels, device):
    whole = batch(53, channels, 32, augment)
    prepare = Prepare([0.4] * channels, [0.2] * channels, torch.device(device), augment)
    x, labels = prepare(whole)
    assert x.dtype == torch.float32 and x.shape == (53, channels, 32, 32) and torch.equal(labels.cpu(), whole["labels"])
    assert torch.equal(x, prepare(whole)[0])
    for share in (slice(0, None, 2), slice(7, 8), slice(None, None, 5), torch.randperm(53)):
        part = {name: tensor[share] for name, tensor in whole.items()}
        assert torch.equal(prepare(part)[0], x[share])
    other = prepare(batch(53, channels, 32, augment, epoch=1))[0]
    assert (other != x).flatten(1).any(1).float().mean() > 0.9


def test_evaluation_only_scales():
    plain = batch(5, 3, 8, Augment())
    x, _ = Prepare([0.1, 0.2, 0.3], [0.5, 0.6, 0.7], torch.device("cpu"))(plain)
    values = vision.to_dtype(plain["pixels"].permute(0, 3, 1, 2), torch.float32, scale=True)
    torch.testing.assert_close(x, vision.normalize(values, [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]))


def test_flip_shift_and_order():
    augment = Augment(flip=0.5, pad=2)
    plain = batch(64, 1, 8, augment)
    x, _ = Prepare([0.0], [1.0], torch.device("cpu"), augment)(plain)
    for pixels, draws, result in zip(plain["pixels"], plain["draws"].double(), x):
        left, top = int(draws[1] * 5), int(draws[2] * 5)
        padded = np.pad(pixels[..., 0].numpy(), 2)
        expected = padded[top : top + 8, left : left + 8]
        expected = expected[:, ::-1] if draws[0] < 0.5 else expected
        assert torch.equal(result[0], torch.from_numpy(expected / np.float32(255)))


def test_erasing_takes_the_share_it_says():
    draws = torch.from_numpy(uniform(np.arange(4000), 5, 1)).float()
    x = erase(torch.ones(4000, 2, 64, 64), 0.25, draws)
    erased = x[:, 0] == 0
    assert torch.equal(erased, x[:, 1] == 0)
    touched = erased.flatten(1).any(1)
    assert torch.equal(touched, draws[:, 0] < 0.25)
    areas = erased[touched].double().mean((1, 2))
    assert abs(areas.mean() - 0.175) < 0.01 and areas.min() > 0.015 and areas.max() < 0.34
    for mask in erased[touched]:  # one whole rectangle
        assert mask.sum() == mask.any(0).sum() * mask.any(1).sum()
    share = erased[touched].double().mean(0)
    assert share[[0, 0, 63, 63], [0, 63, 0, 63]].min() > 0 and share[32, 32] > 0.3


def test_options_that_cannot_be():
    for bad, message in [
        (Augment(auto="magic"), "augment.auto=magic: choose trivial, rand or null"),
        (Augment(auto="rand", auto_magnitude=31), "augment.auto_magnitude=31"),
        (Augment(auto="rand", auto_ops=0), "augment.auto_ops=0"),
        (Augment(erase=1.5), "augment.erase=1.5"),
        (Augment(mixup=-1.0), "augment.mixup=-1.0"),
    ]:
        with pytest.raises(UserError, match=message.replace(".", r"\.")):
            Prepare([0.5], [0.5], torch.device("cpu"), bad)


def test_pairs_are_the_same_on_every_number_of_processes():
    total, shards = 96, 8
    pairs = []
    for processes in (1, 2, 4, 8):
        for accumulate in (1, 2, 3):
            micro, found = total // processes // accumulate, {}
            for rank in range(processes):
                for part in range(accumulate):
                    first = part * micro
                    for place, other in enumerate(mixing.partners(micro, processes, shards).tolist()):
                        found[(first + place) * processes + rank] = (first + other) * processes + rank
            pairs.append(found)
    assert len(pairs) == 12 and all(found == pairs[0] for found in pairs)
    assert sorted(pairs[0].values()) == list(range(total)) == sorted(pairs[0])
    assert all(pairs[0][other] == one != other for one, other in pairs[0].items())
    with pytest.raises(UserError, match="the 24 images that a process takes at a time must be a multiple of 16"):
        mixing.partners(24, 1, 8)
    with pytest.raises(UserError, match="mixup and cutmix need shards=8 to be a multiple of the 3 processes"):
        mixing.partners(24, 3, 8)


@pytest.mark.parametrize("augment", [Augment(mixup=0.4), Augment(cutmix=1.0), Augment(mixup=0.4, cutmix=1.0)])
def test_mixing_is_that_of_the_papers_and_of_no_rank(augment):
    count, shards = 32, 8
    x, labels = torch.rand(count, 3, 16, 12) + 0.5, torch.arange(count) % 7
    kinds, weights = set(), []
    for position in range(0, 60 * count, count):
        mixed, targets = mixing.mix(x, labels, 7, augment, 5, position, mixing.partners(count, 1, shards))
        partner = mixing.partners(count, 1, shards)
        own = (mixed == x).all(1)  # the image's own pixels, and the partner's
        theirs = (mixed == x[partner]).all(1)
        cut = bool((own | theirs).all())
        kinds.add(cut)
        if cut:
            assert (
                torch.equal(theirs[0], theirs[-1])
                and int(theirs[0].sum()) == theirs[0].any(0).sum() * theirs[0].any(1).sum()
            )
            weight = own[0].double().mean().item()
        else:
            weight = ((mixed - x[partner]) / (x - x[partner]))[(x - x[partner]).abs() > 0.2].median().item()
            torch.testing.assert_close(mixed, weight * x + (1 - weight) * x[partner])
        weights.append(weight)
        expected = torch.zeros(count, 7)
        for row, (label, other) in enumerate(zip(labels.tolist(), labels[partner].tolist())):
            expected[row, label] += weight
            expected[row, other] += 1 - weight
        torch.testing.assert_close(targets, expected, atol=1e-5, rtol=0)
        for processes in (2, 4):  # each rank mixes its own part of the same batch
            for rank in range(processes):
                pairs = mixing.partners(count // processes, processes, shards)
                part = mixing.mix(x[rank::processes], labels[rank::processes], 7, augment, 5, position, pairs)
                assert torch.equal(part[0], mixed[rank::processes]) and torch.equal(part[1], targets[rank::processes])
    assert kinds == {cut for cut, alpha in ((False, augment.mixup), (True, augment.cutmix)) if alpha}
    assert len(set(weights)) > 25 and 0.35 < np.mean(weights) < 0.75
