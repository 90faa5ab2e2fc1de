"""Flow matching against closed forms: noise, loss, guidance, and the way from noise to data."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from recipes.core.config.tasks import Unet
from recipes.core.models import flow
from recipes.core.models.generator import Generator
from recipes.core.models.unet import UNet
from recipes.core.ranks.random_numbers import normal


def test_normal_numbers():
    numbers = normal(np.arange(4000), 50, 3)
    assert scipy.stats.kstest(numbers.ravel(), "norm").pvalue > 0.001
    assert scipy.stats.kstest(numbers.sum(1) / 50**0.5, "norm").pvalue > 0.001  # columns do not depend on each other
    assert scipy.stats.kstest(numbers.sum(0) / 4000**0.5, "norm").pvalue > 0.001
    order = np.random.default_rng(0).permutation(4000)
    cut = np.concatenate([normal(part, 50, 3) for part in np.array_split(order, 37)])
    assert np.array_equal(cut, numbers[order])  # however a batch is cut
    assert np.array_equal(normal(np.arange(9), 7, 3), numbers[:9, :7])
    other = normal(np.arange(4000), 50, 4)
    assert abs(np.corrcoef(other.ravel(), numbers.ravel())[0, 1]) < 4 / 200_000**0.5


def gaussian(mean, std):
    """The closed-form velocity from N(0, 1) to N(mean, std²): what (x - z) is on average, given (1 - t) z + t x."""

    def velocity(places, times, labels=None):
        t = times.view(-1, *[1] * (places.ndim - 1)).to(places)
        slope = (std**2 * t - (1 - t)) / ((1 - t) ** 2 + std**2 * t**2)
        return mean + slope * (places - t * mean)

    return velocity


def test_following_has_second_order():
    start = torch.from_numpy(normal(np.arange(50), 3, 8))
    exact = start * math.exp(math.e - 1)  # the end of x' = x exp(t)
    ends = [flow.follow(lambda x, t: x * t.exp()[:, None], start, steps) for steps in (20, 40, 80)]
    errors = [(end - exact).abs().max().item() for end in ends]
    assert all(before / after == pytest.approx(4, rel=0.1) for before, after in zip(errors, errors[1:])), errors


def test_following_a_flow_reaches_its_distribution():
    mean, std = torch.tensor([[-1.5, 0.3, 2.0]], dtype=torch.float64), 0.4
    noise = torch.from_numpy(normal(np.arange(20_000), 3, 8))
    reached = [flow.follow(gaussian(mean, std), noise, steps) for steps in (8, 16, 32)]
    # Between normal distributions it is linear; so simple a flow is followed with more than second order.
    errors = [(end - (mean + std * noise)).abs().max().item() for end in reached]
    assert all(before / after > 4 for before, after in zip(errors, errors[1:])) and errors[-1] < 1e-4
    assert torch.allclose(reached[-1].mean(0), mean[0], atol=4 * std / 20_000**0.5)
    assert torch.allclose(reached[-1].std(0), torch.full((3,), std, dtype=torch.float64), rtol=4 / 40_000**0.5)


def test_the_loss_is_that_of_the_closed_form():
    # Given its place, x - z has the variance s² / ((1 - t)² + s² t²); its mean over all t is s π / 2.
    mean, std = 0.7, 0.5
    indices = np.arange(3000)
    x = mean + std * flow.draw_noise(indices, (1, 8, 8), 99)
    labels = torch.zeros(len(x), dtype=torch.int64)
    losses = flow.flow_losses(gaussian(mean, std), x, labels, indices, 5)
    assert losses.mean().item() == pytest.approx(std * math.pi / 2, abs=4 * losses.std().item() / 3000**0.5)
    worse = flow.flow_losses(lambda *at: 0.9 * gaussian(mean, std)(*at), x, labels, indices, 5)
    assert worse.mean() > losses.mean()
    parts = [slice(0, 7), slice(7, 1000), slice(1000, 3000)]
    cut = [flow.flow_losses(gaussian(mean, std), x[part], labels[part], indices[part], 5) for part in parts]
    assert torch.equal(torch.cat(cut), losses)


def test_hidden_labels():
    labels, indices = torch.arange(20_000) % 10, np.arange(20_000)
    hidden = flow.hide_labels(labels, indices, 0.1, 10, 6)
    share = (hidden == 10).double().mean().item()
    assert abs(share - 0.1) < 4 * math.sqrt(0.1 * 0.9 / 20_000) and torch.equal(
        hidden[hidden < 10], labels[hidden < 10]
    )
    assert torch.equal(flow.hide_labels(labels[5:9], indices[5:9], 0.1, 10, 6), hidden[5:9])
    assert torch.equal(flow.hide_labels(labels, indices, 0.0, 10, 6), labels)


@pytest.fixture
def network():
    """A U-Net of three resolutions for colour images of 20 pixels and 4 classes, whose blocks have left their start at
    zero; in float64."""
    torch.manual_seed(0)
    model = UNet(Unet(width=8, depth=3, blocks=2), 3, 3, 4).double().eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def test_guidance_goes_from_no_class_to_the_class_and_beyond(network):
    x, times, labels = torch.randn(6, 3, 20, 20).double(), torch.rand(6).double(), torch.arange(6) % 4
    with torch.no_grad():
        told, hidden = (network(x, times, label) for label in (labels, torch.full((6,), 4)))
        for guidance in (0.0, 0.5, 1, 4.0):
            found = flow.guided(network, labels, guidance)(x, times)
            assert torch.allclose(found, (1 - guidance) * hidden + guidance * told, atol=1e-12)
    assert (told - hidden).abs().max() > 1e-3


def test_a_velocity_depends_on_time_class_and_its_own_image_alone(network):
    x, times, labels = torch.randn(4, 3, 20, 20).double(), torch.rand(4).double(), torch.arange(4)
    with torch.no_grad():
        velocity = network(x, times, labels)
        assert velocity.shape == x.shape
        assert torch.allclose(network(x[2:3], times[2:3], labels[2:3]), velocity[2:3], atol=1e-12)
        assert (network(x, times.flip(0), labels) - velocity).abs().max() > 1e-3
        assert (network(x, times, labels.flip(0)) - velocity).abs().max() > 1e-3


def test_a_generator_makes_pixels_of_what_the_flow_reaches():
    class Straight(torch.nn.Module):
        """Carries noise to the values of a class, at a constant velocity: the end is exact in one step."""

        classes = 2

        def forward(self, x, times, labels):
            target = torch.tensor([[-1.0, 0.0, 1.0], [0.5, 3.0, -3.0]])[labels].view(-1, 3, 1, 1)
            return (target - x) / (1 - times.view(-1, 1, 1, 1))

    for steps in (1, 5):
        generator = Generator(Straight(), 3, 4, [0.5, 0.25, 0.5], [0.5, 0.25, 0.5], 1, steps)
        pixels = generator(torch.randn(2, 48), torch.tensor([0, 1]))
        assert pixels.shape == (2, 3, 4, 4) and pixels.dtype == torch.uint8
        expected = torch.tensor([[0, 64, 255], [191, 255, 0]], dtype=torch.uint8)
        assert torch.equal(pixels, expected.view(2, 3, 1, 1).expand(2, 3, 4, 4))
