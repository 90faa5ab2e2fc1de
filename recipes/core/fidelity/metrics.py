"""ISC, FID, KID and PRC from features, by torch-fidelity's own functions. Main process only."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch_fidelity import KEY_METRIC_F_SCORE, KEY_METRIC_PRECISION, KEY_METRIC_RECALL
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from recipes.core.errors import UserError
from recipes.core.fidelity.options import theirs
from recipes.core.fidelity.precomputed import Precomputed


class Features:
    """The features of one input for one extractor, just computed or precomputed."""

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
            raise UserError(f"{self.name} has {len(features)} image: a covariance needs at least two")
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
            f"{first.name} has features of {len(pair[0]['mu'])} dimensions, but {second.name} of {len(pair[1]['mu'])}"
        )
    for name in ("mu", "sigma"):
        if pair[0][name].dtype != pair[1][name].dtype:  # such as a published file and fresh features
            pair = [statistics | {name: statistics[name].astype(np.float64)} for statistics in pair]
    return fid_statistics_to_metric(*pair, verbose=False)


def kid(first: Features, second: Features, layer: str, options: dict[str, Any]) -> dict[str, float]:
    features = same_width(first, second, layer, "kid")
    smallest = min(map(len, features))
    if smallest < options["kid_subset_size"]:
        raise UserError(
            f"kid_subset_size={options['kid_subset_size']}, but there are {smallest} images: choose a smaller size"
        )
    return kid_features_to_metric(*features, **theirs(options, verbose=False))


def prc(first: Features, second: Features, layer: str, options: dict[str, Any]) -> dict[str, float]:
    """Precision: generated samples near real ones; recall: real samples near generated ones (Kynkäänniemi et al. 2019).

    Like torch-fidelity's `calculate_precision_recall_full`, but without its matrices of all distances.
    """
    generated, real = same_width(first, second, layer, "prc")
    neighbours = options["prc_neighborhood"]
    if min(len(generated), len(real)) <= neighbours:
        raise UserError(f"prc_neighborhood={neighbours} needs at least {neighbours + 1} images in each input")
    tile = options["prc_batch_size"]
    reach, real_reach = (radii(side, neighbours, tile) for side in (generated, real))
    near_generated, near_real = torch.zeros(len(real), dtype=torch.bool), torch.zeros(len(generated), dtype=torch.bool)
    for rows, columns, block in distances(real, generated, tile):
        near_generated[rows] |= (block <= reach[columns]).any(1)
        near_real[columns] |= (block <= real_reach[rows, None]).any(0)
    precision, recall = near_real.float().mean().item(), near_generated.float().mean().item()
    return {
        KEY_METRIC_PRECISION: precision,
        KEY_METRIC_RECALL: recall,
        KEY_METRIC_F_SCORE: 2 * precision * recall / max(1e-5, precision + recall),
    }


def radii(points: torch.Tensor, neighbours: int, tile: int) -> torch.Tensor:
    """The distance (n) of each point to its k-th neighbour, k = `neighbours`; the 0th is the point itself."""
    nearest = points.new_full((len(points), neighbours + 1), torch.inf)
    for rows, _, block in distances(points, points, tile):
        closest = block.topk(min(neighbours + 1, block.shape[1]), largest=False).values
        nearest[rows] = torch.cat([nearest[rows], closest], 1).topk(neighbours + 1, largest=False).values
    return nearest[:, -1]


def distances(points: torch.Tensor, others: torch.Tensor, tile: int) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Distances of points (n, d) to others (m, d) in tiles: the rows, the columns and the distances."""
    # The mode that PyTorch would choose for the whole matrix; it would choose another for a small tile at the end.
    by_product = max(len(points), len(others)) > 25
    mode = "use_mm_for_euclid_dist" if by_product else "donot_use_mm_for_euclid_dist"
    for top in range(0, len(points), tile):
        for left in range(0, len(others), tile):
            rows, columns = slice(top, top + tile), slice(left, left + tile)
            yield rows, columns, torch.cdist(points[rows], others[columns], compute_mode=mode)


def same_width(first: Features, second: Features, layer: str, metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    one, two = first.layer(layer, metric), second.layer(layer, metric)
    if one.shape[1] != two.shape[1]:
        raise UserError(f"{first.name} has features of {one.shape[1]} dimensions, but {second.name} of {two.shape[1]}")
    return (one, two) if one.dtype == two.dtype else (one.double(), two.double())
