"""Images that a generator draws, from the noise that torch-fidelity would give it."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch_fidelity import GenerativeModelBase, GenerativeModelModuleWrapper, GenerativeModelONNX
from torch_fidelity.registry import NOISE_SOURCE_REGISTRY

from dataset_scripts.core.errors import reading
from recipes.core.errors import UserError
from recipes.core.fidelity.extractors import hash_of
from recipes.core.models.saved import holds_generator, load_generator


@dataclass
class Generator:
    """A generator, and how many images it is to draw.

    Attributes:
        model: takes noise (B, z_size), and labels (B) if it has classes; returns uint8 (B, 3, H, W).
        count: number of images.
        seed: of the noise.
        identity: a hash of its file; None for a module in memory, whose code cannot be hashed.
    """

    model: GenerativeModelBase
    count: int
    seed: int
    identity: str | None

    def draw(self, numbers: Sequence[int], batch_size: int, device: torch.device) -> Iterator[torch.Tensor]:
        """The images of the batches `numbers`, in ascending order.

        The noise of all earlier batches is drawn too, which costs little. A batch then has the same noise on any process,
        and the noise is torch-fidelity's.
        """
        self.model.to(device)
        random = np.random.RandomState(self.seed)
        wanted = set(numbers)
        for number, start in enumerate(range(0, self.count, batch_size)):
            size = min(batch_size, self.count - start)
            inputs = [NOISE_SOURCE_REGISTRY[self.model.z_type](random, (size, self.model.z_size))]
            if self.model.num_classes:
                labels = random.randint(low=0, high=self.model.num_classes, size=(size,), dtype=np.int64)
                inputs.append(torch.from_numpy(labels))
            if number in wanted:
                yield self.run(*(value.to(device) for value in inputs))

    @torch.no_grad()
    def run(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Calls the model, and checks what it returns.

        Raises:
            UserError: it returns anything but a uint8 tensor of shape (B, 3, H, W).
        """
        images = self.model(*inputs)
        if not isinstance(images, torch.Tensor) or images.ndim != 4 or len(images) != len(inputs[0]):
            shape = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
            raise UserError(
                f"the generator returns {shape} for {len(inputs[0])} samples: it must return uint8 (B, 3, H, W)"
            )
        return images


def find_generator(value: Any, slot: int, options: dict[str, Any]) -> Generator | None:
    """The generator for an input, if it is one.

    Args:
        value: a GenerativeModelBase, a module (with `input1_model_z_size`), or a file: .pth of TorchScript, or .onnx; or
            a run folder of `recipes/generate.py`, or a checkpoint of such a run.

    Raises:
        UserError: the size of the noise or the number of samples is missing, or options contradict the noise of a run.
    """
    z_type, z_size, classes, count = (
        options[f"input{slot}_model_{name}"] for name in ("z_type", "z_size", "num_classes", "num_samples")
    )
    path = Path(value) if isinstance(value, (str, Path)) else None
    is_file = path is not None and path.suffix in (".pth", ".pt", ".onnx") and path.is_file()
    is_run = path is not None and path.is_dir() and holds_generator(path)
    if not (is_file or is_run) and not isinstance(value, nn.Module):
        return None
    if not is_run and not isinstance(value, GenerativeModelBase) and (z_size is None or z_size < 1):
        raise UserError(f"input{slot} is a generator: set input{slot}_model_z_size, the size of its noise")
    if count is None or count < 1:
        raise UserError(f"input{slot} is a generator: set input{slot}_model_num_samples, the number of images to draw")
    if is_run:
        return of_run(path, slot, options)
    if not is_file:
        wrapped = isinstance(value, GenerativeModelBase)
        model = value if wrapped else GenerativeModelModuleWrapper(value, z_size, z_type, classes)
        return Generator(model, count, options["rng_seed"], None)
    identity = hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix == ".onnx":
        model = GenerativeModelONNX(str(path), z_size, z_type, classes)
    else:
        with reading(f"{path} is not TorchScript: save a generator with torch.jit.save"):
            module = torch.jit.load(path, map_location="cpu")
        model = GenerativeModelModuleWrapper(module, z_size, z_type, classes)
    return Generator(model, count, options["rng_seed"], f"{identity} {z_type} {z_size} {classes} {options['rng_seed']}")


def of_run(path: Path, slot: int, options: dict[str, Any]) -> Generator:
    """The generator that `recipes/generate.py` trained; its description defines its noise and classes."""
    module, info = load_generator(path)
    own = {"z_type": "normal", "z_size": module.noise_size, "num_classes": len(info["labels"])}
    for name, value in own.items():
        given = options[f"input{slot}_model_{name}"]
        if given not in (None, 0, value):
            raise UserError(f"input{slot}_model_{name}={given}, but {path} has {value}: leave it out")
    model = GenerativeModelModuleWrapper(module, *(own[name] for name in ("z_size", "z_type", "num_classes")))
    identity = f"{hash_of(module)} {info} {options['rng_seed']}"
    return Generator(model, options[f"input{slot}_model_num_samples"], options["rng_seed"], identity)
