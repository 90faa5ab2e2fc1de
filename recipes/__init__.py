"""Training recipes that are correct on any number of processes."""

import importlib
import os
import sys
from typing import Any

# Python puts the folder of the running program first in sys.path: `import evaluate` or `import core` would find ours.
_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if not entry or os.path.abspath(entry) != _HERE]

_HOMES = {"load_generator": "saved", "load_model": "saved", "push_model": "hub"}
__all__ = ["load_generator", "load_model", "push_model"]


def __getattr__(name: str) -> Any:
    """Imports on demand: the recipes listen for signals before importing torch, which takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"recipes.core.models.{_HOMES[name]}"), name)
