"""TrivialAugment and RandAugment for a batch of uint8 images at once, on their device.

The operations, their order and their strengths are torchvision's (`TrivialAugmentWide`, `RandAugment`), with nearest
neighbours, and black pixels outside the image.
"""

import functools
import math
from collections.abc import Iterator

import torch

from recipes.core.data import pixel_ops
from recipes.core.data.draws import PER_OP

BINS = 31  # strengths of an operation, from none to the most
OPS = {
    "Identity": pixel_ops.identity,
    "ShearX": pixel_ops.warp,
    "ShearY": pixel_ops.warp,
    "TranslateX": pixel_ops.warp,
    "TranslateY": pixel_ops.warp,
    "Rotate": pixel_ops.warp,
    "Brightness": pixel_ops.brightness,
    "Color": pixel_ops.colour,
    "Contrast": pixel_ops.contrast,
    "Sharpness": pixel_ops.sharpness,
    "Posterize": pixel_ops.posterize,
    "Solarize": pixel_ops.solarize,
    "AutoContrast": pixel_ops.auto_contrast,
    "Equalize": pixel_ops.equalize,
}
NAMES = list(OPS)
GEOMETRIC, SIGNED = NAMES[1:6], NAMES[1:10]
FUNCTIONS = list(dict.fromkeys(OPS.values()))
FUNCTION_OF = torch.tensor([FUNCTIONS.index(function) for function in OPS.values()])


class AutoAugment:
    """Changes each image by operations selected by its own random numbers.

    Args:
        kind: "trivial" does one operation of random strength (Müller and Hutter 2021, "TrivialAugment: Tuning-free Yet
            State-of-the-Art Data Augmentation", the wide space); "rand" does `ops` operations of one strength (Cubuk et
            al. 2019, "RandAugment: Practical automated data augmentation with a reduced search space").
        ops, magnitude: for "rand": the number of operations, and their strength (0 … 30).
    """

    def __init__(self, kind: str, ops: int = 2, magnitude: int = 9):
        self.kind, self.magnitude = kind, magnitude
        self.ops = 1 if kind == "trivial" else ops

    def __call__(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Returns new images.

        Args:
            images: uint8 (B, C, S, S), grey or RGB.
            draws: (B, PER_OP * ops) in [0, 1]; on the CPU, so that sorting by operation makes no device wait.
        """
        for op, values in self.select(draws, images.shape[-1]):
            images = apply(images, op, values)
        return images

    def select(self, draws: torch.Tensor, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yields `op` and `values` of `apply` for each round of operations."""
        table = parameters(self.kind, size)
        for which, strength, side in draws.view(len(draws), self.ops, PER_OP).permute(1, 2, 0):
            op = (which * len(OPS)).long().clamp_(max=len(OPS) - 1)
            level = (strength * BINS).long().clamp_(max=BINS - 1)
            if self.kind == "rand":
                level = torch.full_like(level, self.magnitude)
            yield op, table[op, level, (side < 0.5).long()]


def strengths(kind: str, size: int) -> dict[str, list[float]]:
    """The BINS strengths of every operation that has one, for images of `size` pixels."""
    wide = kind == "trivial"
    shear = torch.linspace(0.0, 0.99 if wide else 0.3, BINS).tolist()  # pixels per pixel
    translate = torch.linspace(0.0, 32.0 if wide else size * 150 / 331, BINS).tolist()  # pixels
    rotate = torch.linspace(0.0, 135.0 if wide else 30.0, BINS).tolist()  # degrees
    change = torch.linspace(0.0, 0.99 if wide else 0.9, BINS).tolist()  # added to or subtracted from a factor of 1
    bits = [8 - round(level * (6 if wide else 4) / (BINS - 1)) for level in range(BINS)]  # that are kept
    threshold = torch.linspace(1.0, 0.0, BINS).tolist()  # share of the brightest value, above which pixels are inverted
    steps = [shear, shear, translate, translate, rotate, change, change, change, change, bits, threshold]
    return dict(zip(NAMES[1:12], steps, strict=True))


@functools.cache
def parameters(kind: str, size: int) -> torch.Tensor:
    """The parameters of the operations: float32 (OPS, BINS, 2, 6), where the third index is 1 for the opposite sign.

    The six numbers are the matrix of a geometric operation; other operations use the first one. It is a table because sines
    and cosines may differ in the last bit depending on their position in a vector.
    """
    table = torch.zeros(len(OPS), BINS, 2, 6)
    for op, levels in strengths(kind, size).items():
        for level, strength in enumerate(levels):
            for turned in (0, 1):
                value = -strength if turned and op in SIGNED else strength
                row = matrix(op, value, size) if op in GEOMETRIC else [1 + value if op in SIGNED else value] + [0.0] * 5
                table[NAMES.index(op), level, turned] = torch.tensor(row)
    return table


def matrix(op: str, value: float, size: int) -> list[float]:
    """(a, b, c, d, e, f): the pixel at (x, y) comes from (ax + by + c, dx + ey + f), in pixels from the corner."""
    cos, sin, centre = math.cos(math.radians(value)), math.sin(math.radians(value)), size / 2
    return {
        "ShearX": [1.0, value, 0.0, 0.0, 1.0, 0.0],
        "ShearY": [1.0, 0.0, 0.0, value, 1.0, 0.0],
        "TranslateX": [1.0, 0.0, -int(value), 0.0, 1.0, 0.0],
        "TranslateY": [1.0, 0.0, 0.0, 0.0, 1.0, -int(value)],
        "Rotate": [cos, -sin, (1 - cos + sin) * centre, sin, cos, (1 - sin - cos) * centre],  # counter-clockwise
    }[op]


def apply(images: torch.Tensor, op: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Applies to image i the operation NAMES[op[i]] with the numbers values[i], sorted so that each runs once.

    Args:
        images: uint8 (B, C, S, S).
        op: int64 (B,), on the CPU.
        values: float32 (B, 6), rows of `parameters`, on the CPU.
    """
    function = FUNCTION_OF[op]
    order = function.argsort(stable=True)
    place = order.argsort()
    counts = function.bincount(minlength=len(FUNCTIONS)).tolist()
    order, place, values = (tensor.to(images.device, non_blocking=True) for tensor in (order, place, values[order]))
    parts = zip(FUNCTIONS, images[order].split(counts), values.split(counts))
    return torch.cat([run(part, numbers) for run, part, numbers in parts if len(part)])[place]
