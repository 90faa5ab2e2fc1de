"""Several labels of an image, or a number: exact results of a network on any number of ranks."""

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from recipes.core.data.augment import Prepare
from recipes.core.data.deal import deal
from recipes.core.data.images import Images

SURE = 0.5  # probability from which an image is said to have a label


@torch.no_grad()
def outputs_of(
    accelerator: Accelerator, model: nn.Module, images: Images, prepare: Prepare, batch: int, workers: int, flips: bool
) -> np.ndarray:
    """The outputs of a network for all images, float32 (N, K), on every rank and in the order of the rows.

    Whole batches are dealt to the ranks, see `deal`; nothing is padded or repeated.

    Args:
        flips: average over an image and its mirror image.

    Raises:
        RuntimeError: the number of images differs from the size of the set.
    """
    model = accelerator.unwrap_model(model)
    model.eval()
    mine: list[tuple[int, list[float]]] = []
    for rows, item in deal(accelerator, images, batch, workers):
        x, _ = prepare(item)
        with accelerator.autocast():
            found = (model(x).float() + model(x.flip(3)).float()) / 2 if flips else model(x).float()
        mine += zip(rows, found.cpu().tolist())
    gathered = sorted(gather_object(mine))
    if [row for row, _ in gathered] != list(range(len(images))):
        raise RuntimeError(f"evaluated {len(gathered)} images of {len(images)}")
    return np.array([values for _, values in gathered], np.float32)


@dataclass
class ManyLabels:
    """The result of predicting several labels of each image.

    Attributes:
        probabilities: float32 (N, K).
        truth: uint8 (N, K), 1 for the labels that an image has.
    """

    probabilities: np.ndarray
    truth: np.ndarray

    @classmethod
    def of(cls, logits: np.ndarray, truth: np.ndarray) -> "ManyLabels":
        return cls(torch.from_numpy(logits).sigmoid().numpy(), truth)

    @property
    def count(self) -> int:
        return len(self.truth)

    @property
    def loss(self) -> float:
        """The mean binary cross-entropy over images and labels."""
        sure = self.probabilities.astype(np.float64).clip(1e-12, 1 - 1e-12)
        return float(-np.where(self.truth == 1, np.log(sure), np.log1p(-sure)).mean())

    @property
    def said(self) -> np.ndarray:
        """The labels that each image is said to have, bool (N, K)."""
        return self.probabilities >= SURE

    @property
    def mean_ap(self) -> float | None:
        """The mean of the average precision of the labels that some image has; None if none has any."""
        known = [value for value in self._precisions() if value is not None]
        return float(np.mean(known)) if known else None

    @property
    def score(self) -> list[float]:
        return [self.mean_ap or 0.0, -self.loss]

    def _precisions(self) -> list[float | None]:
        return [average_precision(*pair) for pair in zip(self.probabilities.T, self.truth.T)]

    def numbers(self) -> dict[str, float]:
        """The loss; mean average precision; F1 over all labels together and as the mean of the labels; the share of images all of
        whose labels are right."""
        both = (self.said & (self.truth == 1)).sum()
        single = [row["f1"] for row in self.by_class([""] * self.truth.shape[1]) if row["f1"] is not None]
        found = {
            "loss": self.loss,
            "map": self.mean_ap,
            "f1": share(2 * both, self.said.sum() + self.truth.sum()),
            "mean_f1": float(np.mean(single)) if single else None,
            "exact_match": float((self.said == self.truth).all(1).mean()),
        }
        return {name: value for name, value in found.items() if value is not None}

    def columns(self) -> dict[str, str]:
        numbers = self.numbers()
        return {
            "mAP": f"{numbers['map']:.4f}" if "map" in numbers else "-",
            "F1": f"{numbers['f1']:.4f}" if "f1" in numbers else "-",
        }

    def by_class(self, classes: list[str]) -> list[dict]:
        """A row for each label: name, images, average precision, F1, recall and precision; None if nothing can be measured."""
        both = (self.said & (self.truth == 1)).sum(0)
        there, said = self.truth.sum(0, dtype=np.int64), self.said.sum(0)
        return [
            {
                "class": name,
                "images": int(there[place]),
                "ap": precision,
                "f1": share(2 * both[place], there[place] + said[place]),
                "recall": share(both[place], there[place]),
                "precision": share(both[place], said[place]),
            }
            for place, (name, precision) in enumerate(zip(classes, self._precisions()))
        ]


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """The sum of precision times the gain of recall over all thresholds, ties together; None if nothing is there."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1) if len(order) else np.zeros(0, int)
    right = np.cumsum(truth[order], dtype=np.int64)[last]
    if not len(order) or not right[-1]:
        return None
    return float((np.diff(right, prepend=0) / right[-1] * right / (last + 1)).sum())


def share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


@dataclass
class Numbers:
    """The result of predicting a number of each image.

    Attributes:
        found, truth: float32 (N,), in the unit of the data.
        scale: the standard deviation of the training images, by which errors are divided for the loss.
        absolute: the loss is the absolute error, not the squared one.
    """

    found: np.ndarray
    truth: np.ndarray
    scale: float
    absolute: bool

    @property
    def count(self) -> int:
        return len(self.truth)

    @property
    def errors(self) -> np.ndarray:
        return self.found.astype(np.float64) - self.truth

    @property
    def loss(self) -> float:
        errors = self.errors / self.scale
        return float(np.abs(errors).mean() if self.absolute else np.square(errors).mean())

    @property
    def score(self) -> list[float]:
        return [-self.loss]

    def numbers(self) -> dict[str, float]:
        """The loss; the root of the mean squared error and the mean absolute error in the unit of the data; R², the share of the
        variance that is explained."""
        squares = np.square(self.errors).mean()
        variance = self.truth.astype(np.float64).var()
        found = {"loss": self.loss, "rmse": float(np.sqrt(squares)), "mae": float(np.abs(self.errors).mean())}
        return found | ({"r2": float(1 - squares / variance)} if variance else {})

    def columns(self) -> dict[str, str]:
        numbers = self.numbers()
        return {"MAE": f"{numbers['mae']:.4g}", "R²": f"{numbers['r2']:.4f}" if "r2" in numbers else "-"}

    def by_class(self, classes: list[str]) -> list[dict]:
        return []
