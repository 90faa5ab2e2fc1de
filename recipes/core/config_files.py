"""Configurations in files: read as plain values, and what no configuration may hold."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dataset_scripts.core.safe_yaml import compose_yaml
from recipes.core.foreign import read_text, reading
from recipes.core.runtime import UserError

# Numbers that are at least 1, if they are given.
COUNTS = {"size", "batch", "accumulate", "shards", "keep", "save_every", "processes", "threads", "bucket_mb"}


def read_options(path: Path) -> dict[str, Any]:
    """The keys of a yaml file, as plain values.

    Raises:
        OSError: it cannot be opened.
        UserError: it is not YAML with keys, asks for much more than its size, or has an interpolation.
    """
    text = read_text(path)
    with reading(path):
        compose_yaml(text, path)
        said = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    if not isinstance(said, dict):
        raise UserError(f"{path} holds no keys: write such as 'batch: 64', one a line")
    refuse_interpolations(said, str(path))
    return said


def refuse_interpolations(value: Any, where: str) -> None:
    """Raises a UserError if a text refers to something else by `${…}`."""
    if isinstance(value, str) and "${" in value:
        raise UserError(f"{where}: {value[:100]!r} refers to something else, which is not looked up: write the value")
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else []):
        refuse_interpolations(inner, f"{where} {key}"[:200])


def check_numbers(config: Any, above: str = "") -> None:
    """Raises a UserError for numbers that are not finite, do not fit 64 bits, or are counts of less than 1."""
    for item in dataclasses.fields(config):
        value, name = getattr(config, item.name), f"{above}{item.name}"
        if dataclasses.is_dataclass(value):
            check_numbers(value, f"{name}.")
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"config {name}: {number} is not a number that can be used")
            if isinstance(number, int) and not -(2**63) <= number < 2**63:
                raise UserError(f"config {name}: a number of {number.bit_length():,} bits is too large")
        if item.name in COUNTS and value is not None and value < 1:
            raise UserError(f"config {name}: {value} is less than 1")
