"""Uses scipy in a separate process (`core/formats/isolated.py`), as one wrong byte in a file makes its reader crash."""

from typing import Any

import numpy as np
import scipy.io


def variables(path: str) -> list[tuple[str, list[int], str]]:
    """Name, shape and class of all variables in a file."""
    return [(name, list(map(int, shape)), kind) for name, shape, kind in scipy.io.whosmat(path)]


def value(path: str, name: str) -> Any:
    """A variable that is an array of numbers or text; dtype and shape of any other; None if it does not exist."""
    found = scipy.io.loadmat(path, variable_names=[name]).get(name)
    if isinstance(found, np.ndarray) and found.dtype.kind not in "biufSU":
        return {"dtype": str(found.dtype), "shape": list(found.shape)}
    return found if isinstance(found, np.ndarray) or found is None else {"dtype": type(found).__name__, "shape": []}


def fields(path: str, name: str, keys: list[str]) -> list[list] | None:
    """Fields of a struct array whose values are single numbers or texts, one list for each; None if it is something else."""
    structs = scipy.io.loadmat(path, variable_names=[name]).get(name)
    if structs is None or not set(keys) <= set(structs.dtype.names or ()):
        return None
    columns = [[getattr(value, "size", 0) == 1 and value.item() for value in structs[key].ravel()] for key in keys]
    return columns if all(type(value) in (int, str) for column in columns for value in column) else None
