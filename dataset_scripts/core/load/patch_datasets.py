"""Opt-in: makes `datasets.load_dataset("path/to/script.py")` work in third-party code."""

import contextlib
import functools
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import datasets
import datasets.load

from dataset_scripts.core.files.listing import folder_state
from dataset_scripts.core.load.script import find_script

# The one name that is replaced, in every module of datasets that has it, and what is needed of it.
FACTORY = "dataset_module_factory"
FACTORY_PARAMETERS = {"path", "data_dir", "cache_dir"}
MODULE_FIELDS = {"module_path", "hash", "builder_kwargs"}


def enable() -> contextlib.ExitStack:
    """Makes `datasets.load_dataset`, and all functions of `datasets` that take the path of a dataset, run local scripts again.

    It stays in force until `disable()`, or the end of a `with`.

    Rows are what the script and `datasets` make of them (Pillow images): third-party code gets what it was
    written for. Everything except a path to a script is handled as before.

    Raises:
        RuntimeError: the installed `datasets` has moved the name that is replaced.

    Example:
        >>> from dataset_scripts.core.load.script import bundled  # where the scripts of this package are
        >>> with enable():
        ...     ds = datasets.load_dataset(str(bundled()["digits"]), split="test")
        >>> ds[0]["image"].size
        (8, 8)
    """
    scope = contextlib.ExitStack()
    factory = getattr(datasets.load, FACTORY, None)
    if hasattr(factory, "replaced"):
        return scope
    module_class = getattr(datasets.load, "DatasetModule", None)
    if (
        factory is None
        or module_class is None
        or not FACTORY_PARAMETERS <= set(inspect.signature(factory).parameters)
        or not MODULE_FIELDS <= set(inspect.signature(module_class).parameters)
    ):
        raise RuntimeError(
            f"enable() does not know datasets {datasets.__version__} (datasets.load.{FACTORY} has changed): "
            "use dataset_scripts.load_dataset instead, which needs no patch"
        )

    @functools.wraps(factory)
    def with_scripts(path: str, *args: Any, **kwargs: Any) -> Any:
        is_path = path.endswith(".py") or "/" in path or os.sep in path  # bare names ("csv") stay what they were
        script = find_script(path) if is_path else None
        if script is None:
            return factory(path, *args, **kwargs)
        data_dir = kwargs.get("data_dir")
        return module_class(
            module_path=script.module_name(kwargs.get("cache_dir")),
            hash=script.identity(folder_state(data_dir) if data_dir and Path(data_dir).exists() else None),
            builder_kwargs={"base_path": str(script.path.parent), "dataset_name": script.name},
        )

    with_scripts.replaced = factory
    _replace(factory, with_scripts)
    scope.callback(disable)
    return scope


def disable() -> None:
    """Restores `datasets`; does nothing if `enable()` is not in force."""
    factory = getattr(datasets.load, FACTORY, None)
    if hasattr(factory, "replaced"):
        _replace(factory, factory.replaced)


def _replace(old: Any, new: Any) -> None:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "datasets" and vars(module).get(FACTORY) is old:
            setattr(module, FACTORY, new)
