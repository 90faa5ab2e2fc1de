"""Uncertainty of the numbers: standard errors and bias by the delete-block jackknife, and KID over all pairs."""

from typing import Any

import numpy as np
import torch
from torch_fidelity.metric_kid import kernel_poly, kernel_rbf
from tqdm import tqdm

from recipes.core.fidelity.options import theirs

BLOCKS = 20
ROWS = 1000  # of a block of kernel values
FID_SE = "frechet_inception_distance_se"
FID_UNBIASED = "frechet_inception_distance_unbiased"
KID_EXACT = "kernel_inception_distance_exact"
KID_SE = "kernel_inception_distance_exact_se"


def jackknife(whole: float, without: np.ndarray) -> tuple[float, float]:
    """Standard error and bias from the values without one block each (Quenouille 1956, Tukey 1958)."""
    blocks = len(without)
    se = np.sqrt((blocks - 1) / blocks * np.sum((without - without.mean()) ** 2))
    return float(se), float((blocks - 1) * (without.mean() - whole))


def deal(count: int, blocks: int, seed: int) -> list[np.ndarray]:
    """Splits 0 … count - 1 at random into blocks of nearly equal size: files are often sorted by class."""
    return np.array_split(np.random.RandomState(seed).permutation(count), blocks)


class Moments:
    """Mean and scatter matrix in float64 of features, from which a block can be left out (Chan et al. 1983)."""

    def __init__(self, features: torch.Tensor):
        self.count, self.mean = len(features), features.mean(0)
        centred = features - self.mean
        self.scatter = centred.T @ centred

    def without(self, block: "Moments") -> "Moments":
        """The moments of the rest."""
        rest = object.__new__(Moments)
        rest.count = self.count - block.count
        rest.mean = (self.count * self.mean - block.count * block.mean) / rest.count
        shift = block.mean - rest.mean
        rest.scatter = (
            self.scatter - block.scatter - torch.outer(shift, shift) * (rest.count * block.count / self.count)
        )
        return rest

    @property
    def covariance(self) -> torch.Tensor:
        return self.scatter / (self.count - 1)


def root(features: torch.Tensor, moments: Moments) -> torch.Tensor:
    """A matrix F (r, d) with FᵀF the covariance: the samples themselves if they are few, else by Cholesky."""
    if len(features) <= features.shape[1]:
        return (features - moments.mean) / (moments.count - 1) ** 0.5
    factor, failed = torch.linalg.cholesky_ex(moments.covariance)
    if not failed:
        return factor.T
    values, vectors = torch.linalg.eigh(moments.covariance)  # dimensions that are constant or repeat others
    return values.clamp(min=0).sqrt()[:, None] * vectors.T


def distance(first: torch.Tensor, second: torch.Tensor, one: Moments, two: Moments) -> float:
    """The Fréchet distance as torch-fidelity defines it, but with symmetric matrices: twenty for the cost of ten.

    tr √(S₁S₂) is the sum of the roots of the eigenvalues of F S₂ Fᵀ, where S₁ = FᵀF.
    """
    if min(first.shape) > min(second.shape):
        first, second, one, two = second, first, two, one
    factor = root(first, one)
    trace = torch.linalg.eigvalsh(factor @ two.covariance @ factor.T).clamp(min=0).sqrt().sum()
    return float((one.mean - two.mean).square().sum() + one.covariance.trace() + two.covariance.trace() - 2 * trace)


def frechet(first: torch.Tensor, second: torch.Tensor, options: dict[str, Any]) -> dict[str, float]:
    """Standard error and bias-corrected value of the Fréchet distance of features (n1, d) and (n2, d).

    The distance of finite samples is too large by about c / n; the correction removes this term. With no more
    images than dimensions the bias is of another kind, and no corrected value is given.
    """
    pair = [first.double(), second.double()]
    blocks = min(BLOCKS, min(map(len, pair)) // 2)
    if blocks < 2:
        return {}
    whole = [Moments(features) for features in pair]
    parts = [deal(len(features), blocks, options["rng_seed"] + side) for side, features in enumerate(pair)]
    value, without = distance(*pair, *whole), []
    for number in tqdm(range(blocks), desc="jackknife", unit="block", leave=False, disable=not options["verbose"]):
        rest, moments = [], []
        for features, all_moments, part in zip(pair, whole, parts):
            kept = torch.ones(len(features), dtype=torch.bool)
            kept[part[number]] = False
            rest.append(features[kept] if len(features) <= features.shape[1] + len(part[number]) else features)
            moments.append(all_moments.without(Moments(features[~kept])))
        without.append(distance(*rest, *moments))
    se, bias = jackknife(value, np.array(without))
    enough = min(map(len, pair)) > first.shape[1]
    return {FID_SE: se} | ({FID_UNBIASED: value - bias} if enough else {})


def exact_kid(first: torch.Tensor, second: torch.Tensor, options: dict[str, Any]) -> dict[str, float]:
    """The unbiased squared MMD (Gretton et al. 2012) over all pairs, in float64, and its standard error.

    The kernel is that of KID. It is summed block by block, so memory is bounded; the sums without a block give the
    error.
    """
    pair = [features.double().numpy() for features in (first, second)]
    blocks = min(BLOCKS, min(map(len, pair)) // 2)
    if blocks < 2:
        return {}
    parts = [deal(len(features), blocks, options["rng_seed"] + side) for side, features in enumerate(pair)]
    x, y = ([features[part] for part in dealt] for features, dealt in zip(pair, parts))
    kernel = {"poly": kernel_poly, "rbf": kernel_rbf}[options["kid_kernel"]]
    keywords = theirs(options)
    bar = tqdm(total=2 * blocks * blocks + blocks, desc="all pairs", leave=False, disable=not options["verbose"])
    xx, xy, yy = (np.zeros((blocks, blocks)) for _ in range(3))
    with bar:
        for i in range(blocks):
            for j in range(blocks):
                xy[i, j] = _sum(kernel, x[i], y[j], keywords, same=False)
                if j >= i:
                    xx[i, j] = xx[j, i] = _sum(kernel, x[i], x[j], keywords, same=i == j)
                    yy[i, j] = yy[j, i] = _sum(kernel, y[i], y[j], keywords, same=i == j)
                bar.update(1 + 2 * (j >= i))
    sizes = [np.array([len(block) for block in side]) for side in (x, y)]

    def estimate(kept: np.ndarray) -> float:
        m, n = (int(size[kept].sum()) for size in sizes)
        inside, across = np.ix_(kept, kept), xy[np.ix_(kept, kept)].sum()
        return float(xx[inside].sum() / (m * (m - 1)) + yy[inside].sum() / (n * (n - 1)) - 2 * across / (m * n))

    everything = np.arange(blocks)
    value = estimate(everything)
    se, _ = jackknife(value, np.array([estimate(np.delete(everything, number)) for number in everything]))
    return {KID_EXACT: value, KID_SE: se}


def _sum(kernel: Any, a: np.ndarray, b: np.ndarray, keywords: dict[str, Any], same: bool) -> float:
    """The sum of the kernel over the pairs of two blocks, without pairs of a sample with itself."""
    total = 0.0
    for start in range(0, len(a), ROWS):
        values = kernel(a[start : start + ROWS], b, **keywords)
        total += values.sum()
        if same:
            total -= values[np.arange(len(values)), start + np.arange(len(values))].sum()
    return total
