"""Training recipes that are right on any number of processes."""

from recipes.core.export import load_generator, load_model
from recipes.core.hub import push_model

__all__ = ["load_generator", "load_model", "push_model"]
