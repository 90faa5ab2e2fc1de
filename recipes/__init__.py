"""Training recipes that are right on any number of processes."""

from recipes.core.export import load_model

__all__ = ["load_model"]
