"""Random numbers without state: pure functions of their keys.

Nothing that is drawn here depends on the worker, the rank, or on earlier draws. The mixing function is
splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

import numpy as np
import torch

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(state: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is intended
        state = state + GOLDEN
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))


def derive(*keys: int) -> int:
    """One seed (0 … 2**63 - 1) from several integers; their order matters."""
    state = np.zeros(1, np.uint64)
    for key in keys:
        state = _mix(state ^ np.uint64(key % 2**64))
    return int(state[0] >> np.uint64(1))


def uniform(indices: np.ndarray, count: int, *keys: int) -> np.ndarray:
    """Uniform numbers in [0, 1): row i depends on `keys` and `indices[i]` alone.

    Args:
        indices: the samples, int64 of shape (N,).
        count: how many numbers each gets.

    Returns:
        float64 of shape (N, count).
    """
    start = _mix(np.uint64(derive(*keys)) ^ _mix(indices.astype(np.uint64)))
    with np.errstate(over="ignore"):
        states = _mix(start[:, None] + GOLDEN * np.arange(1, count + 1, dtype=np.uint64)[None, :])
    return (states >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(indices: np.ndarray, count: int, *keys: int) -> np.ndarray:
    """Numbers of the standard normal distribution: row i depends on `keys` and `indices[i]` alone.

    Each is the inverse of the distribution function at one number of `uniform`, moved to the middle of its step of
    2**-53, so none is infinite: they lie in -8.3 … 8.2.

    Args:
        indices: the samples, int64 of shape (N,).
        count: how many numbers each gets.

    Returns:
        float64 of shape (N, count).
    """
    middle = uniform(indices, count, *keys) * (1 - 2.0**-53) + 2.0**-54  # not 1 after rounding
    return torch.special.ndtri(torch.from_numpy(middle)).numpy()


def permutation(size: int, *keys: int) -> np.ndarray:
    """A permutation of 0 … size - 1, int64, that depends on `keys` alone."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(derive(*keys))).numpy()
