"""ISC, FID, KID and PRC from features, by torch-fidelity's own functions. Main process only."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch_fidelity import KEY_METRIC_F_SCORE, KEY_METRIC_PRECISION, KEY_METRIC_RECALL
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from recipes.core.runtime import UserError
from recipes.fidelity_core.options import theirs
from recipes.fidelity_core.precomputed import Precomputed

BLOCK_BYTES = 4 * 2**20  # of float32 distances
COLUMNS = 512  # of a block that are computed at a time


class Features:
    """The features of one input for one extractor, computed just now or before."""

    def __init__(self, name: str, source: dict[str, torch.Tensor] | Precomputed):
        self.name, self.source = name, source

    def layer(self, layer: str, metric: str) -> torch.Tensor:
        """Features (n, d).

        Raises:
            UserError: there are none.
        """
        return self.source.features(layer, metric) if isinstance(self.source, Precomputed) else self.source[layer]

    def statistics(self, layer: str) -> dict[str, np.ndarray]:
        """`mu` (d) and `sigma` (d, d)."""
        given = self.source.statistics() if isinstance(self.source, Precomputed) else None
        if given is not None:
            return given
        features = self.layer(layer, "fid")
        if len(features) < 2:
            raise UserError(f"{self.name} has {len(features)} image: a covariance needs two at least")
        return fid_features_to_statistics(features)


def isc(first: Features, layer: str, options: dict[str, Any]) -> dict[str, float]:
    features = first.layer(layer, "isc")
    if len(features) < options["isc_splits"]:
        raise UserError(f"{first.name} has {len(features)} images, fewer than isc_splits={options['isc_splits']}")
    return isc_features_to_metric(features, options["isc_splits"], options["samples_shuffle"], options["rng_seed"])


def fid(first: Features, second: Features, layer: str) -> dict[str, float]:
    pair = [first.statistics(layer), second.statistics(layer)]
    if pair[0]["mu"].shape != pair[1]["mu"].shape:
        raise UserError(
            f"{first.name} has features of {len(pair[0]['mu'])} dimensions, {second.name} of {len(pair[1]['mu'])}"
        )
    for name in ("mu", "sigma"):
        if pair[0][name].dtype != pair[1][name].dtype:  # a published file beside features of today
            pair = [statistics | {name: statistics[name].astype(np.float64)} for statistics in pair]
    return fid_statistics_to_metric(*pair, verbose=False)


def kid(first: Features, second: Features, layer: str, options: dict[str, Any]) -> dict[str, float]:
    features = same_width(first, second, layer, "kid")
    smallest = min(map(len, features))
    if smallest < options["kid_subset_size"]:
        raise UserError(f"kid_subset_size={options['kid_subset_size']}, but there are {smallest} images: choose less")
    return kid_features_to_metric(*features, **theirs(options, verbose=False))


def prc(first: Features, second: Features, layer: str, options: dict[str, Any]) -> dict[str, float]:
    """Precision: generated samples near real ones; recall: real samples near generated ones (Kynkäänniemi et al. 2019).

    As `calculate_precision_recall_full` of torch-fidelity, but without its matrices of all distances.
    """
    generated, real = same_width(first, second, layer, "prc")
    neighbours, most = options["prc_neighborhood"], max(len(generated), len(real))
    if min(len(generated), len(real)) <= neighbours:
        raise UserError(f"prc_neighborhood={neighbours} needs {neighbours + 1} images in each input at least")
    rows = options["prc_batch_size"] or max(64, BLOCK_BYTES // 4 // most)
    reach, real_reach = (
        torch.cat([block.kthvalue(neighbours + 1).values for block in distances(side, side, rows)])
        for side in (generated, real)
    )
    near_generated, near_real = [], torch.zeros(len(generated), dtype=torch.bool)
    for block, limits in zip(distances(real, generated, rows), real_reach.split(rows), strict=True):
        near_generated.append((block <= reach).any(1))
        near_real |= (block <= limits[:, None]).any(0)
    precision, recall = near_real.float().mean().item(), torch.cat(near_generated).float().mean().item()
    return {
        KEY_METRIC_PRECISION: precision,
        KEY_METRIC_RECALL: recall,
        KEY_METRIC_F_SCORE: 2 * precision * recall / max(1e-5, precision + recall),
    }


def distances(points: torch.Tensor, others: torch.Tensor, rows: int) -> Iterator[torch.Tensor]:
    """Distances of points (n, d) to all others (m, d), in blocks of rows (rows, m) that are overwritten."""
    buffer = torch.empty(min(rows, len(points)), len(others), dtype=points.dtype)
    for part in points.split(rows):
        block = buffer[: len(part)]
        for start in range(0, len(others), COLUMNS):
            block[:, start : start + COLUMNS] = torch.cdist(part, others[start : start + COLUMNS])
        yield block


def same_width(first: Features, second: Features, layer: str, metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    one, two = first.layer(layer, metric), second.layer(layer, metric)
    if one.shape[1] != two.shape[1]:
        raise UserError(f"{first.name} has features of {one.shape[1]} dimensions, {second.name} of {two.shape[1]}")
    return (one, two) if one.dtype == two.dtype else (one.double(), two.double())
