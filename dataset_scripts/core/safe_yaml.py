"""Yaml of foreign files."""

from typing import Any

import yaml

from dataset_scripts.core.errors import DataError, reading

MAX_DEPTH = 32


def load_yaml(text: str, where: str) -> Any:
    """The value of a yaml text: plain values, lists and dicts.

    Raises:
        DataError: broken yaml, tags of Python, or nesting deeper than MAX_DEPTH; the message begins with `where`.
    """
    depth = deepest = 0
    for character in text:
        depth = max(0, depth + (character in "[{") - (character in "]}"))
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise DataError(f"{where} cannot be read as yaml: it is nested too deep")
    with reading(f"{where} cannot be read as yaml"):
        return yaml.safe_load(text)
