"""Run on several processes by test_fidelity.py: calls `calculate_metrics` with each of the given options, and prints the
results as JSON.

An input `{"classes": C}` is a generator, conditional if C > 0, and `{"items": folder}` a torch Dataset.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import PIL.Image
import torch
import torch_fidelity
from accelerate import Accelerator
from torch import nn
from torch.utils.data import Dataset
from torchvision.transforms.functional import pil_to_tensor

from recipes import fidelity
from recipes.core.fidelity import extraction
from recipes.core.ranks.runtime import finish


def drawn(module: nn.Module, seed: int) -> nn.Module:
    """The module, with normal weights from its own seed."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5
    return module


class Small(torch_fidelity.FeatureExtractorBase):
    """Two convolutions and a classifier of random weights: quick, but as sensitive to the last bit as any."""

    delay = 0.0

    def __init__(self, name, features_list, **options):
        super().__init__(name, features_list)
        body = nn.Sequential(nn.Conv2d(3, 24, 3, 2), nn.GELU(), nn.Conv2d(24, 40, 3, 2), nn.GELU())
        self.body, self.head = drawn(body, 0), drawn(nn.Linear(40, 7), 1)

    def forward(self, images):
        assert images.dtype == torch.uint8
        time.sleep(self.delay)
        pooled = self.body(images.to(self.head.weight.dtype) / 64).mean((2, 3))
        layers = {"pooled": pooled, "logits": self.head(pooled) * 9}
        return tuple(layers[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list():
        return "pooled", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "logits" if metric == "isc" else "pooled"


class Distance(torch_fidelity.SampleSimilarityBase):
    """Mean squared difference of the pixels."""

    def __init__(self, name, **options):
        super().__init__(name)

    def forward(self, first, second):
        return (first.double() - second.double()).square().mean((1, 2, 3))


class Generate(nn.Module):
    """Noise (B, 6), and labels if there are classes, to images (B, 3, 16, 16)."""

    def __init__(self, classes):
        super().__init__()
        self.body = drawn(nn.Linear(6 + classes, 3 * 16 * 16), 2)
        self.classes = classes

    def forward(self, noise, labels=None):
        if self.classes:
            noise = torch.cat((noise, nn.functional.one_hot(labels, self.classes).to(noise.dtype)), 1)
        return (self.body(noise).sigmoid() * 255).to(torch.uint8).view(-1, 3, 16, 16)


class Items(Dataset):
    def __init__(self, folder):
        self.files = sorted(Path(folder).iterdir())

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return pil_to_tensor(PIL.Image.open(self.files[index]).convert("RGB"))


def as_input(value):
    if isinstance(value, dict) and "classes" in value:
        return torch_fidelity.GenerativeModelModuleWrapper(Generate(value["classes"]), 6, "normal", value["classes"])
    return Items(value["items"]) if isinstance(value, dict) else value


torch_fidelity.register_feature_extractor("small", Small)
torch_fidelity.register_sample_similarity("distance", Distance)


def answers(calculate, calls):
    """What `calculate_metrics` returns for each of the calls."""
    results = []
    for call in calls:
        given = {name: as_input(value) if name in ("input1", "input2") else value for name, value in call.items()}
        results.append(calculate(**{"cuda": False, "verbose": False, "feature_extractor": "small"} | given))
    return json.loads(json.dumps(results, default=lambda array: array.tolist()))


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if len(sys.argv) > 2:
        Small.delay, extraction.FLUSH_SECONDS = float(sys.argv[2]), 0.3
    results = answers(fidelity.calculate_metrics, json.loads(sys.argv[1]))
    accelerator = Accelerator()
    if accelerator.is_main_process:
        print(json.dumps(results))
    finish(accelerator)


if __name__ == "__main__":
    main()
