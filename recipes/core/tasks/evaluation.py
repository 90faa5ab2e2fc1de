"""Exact loss, accuracy and calibration of a classifier, on any number of ranks and any number of images."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from recipes.core.data.augment import Prepare
from recipes.core.data.deal import deal
from recipes.core.data.images import Images
from recipes.core.ranks.reduce import reduce_value, sum_once

BINS = 15  # of the calibration error, as in Guo et al. 2017
SHOWN = 25  # mistakes that are kept


@dataclass
class Evaluation:
    """Attributes:
    loss: mean cross-entropy.
    accuracy: share of images whose likeliest class is the label (top-1).
    top5: share of images whose label is among the five likeliest classes; None if there are no more than five.
    ece: expected calibration error: the mean distance of confidence and accuracy over 15 bins of confidence (Guo et
        al. 2017, "On Calibration of Modern Neural Networks").
    count: number of images.
    confusion: int64 (K, K): row = label, column = prediction.
    calibration: float64 (15, 3): images, sum of confidences and right predictions of each bin.
    mistakes: the most confident wrong predictions: (row, label, prediction, probability).
    probabilities: float32 (rows of this rank, K) if `keep` is set, else without rows.
    rows: int64, the rows of this rank, in the order of the probabilities.
    """

    loss: float
    accuracy: float
    top5: float | None
    ece: float
    count: int
    confusion: torch.Tensor
    calibration: torch.Tensor
    mistakes: list[tuple[int, int, int, float]]
    probabilities: np.ndarray
    rows: np.ndarray

    @property
    def score(self) -> list[float]:
        return [self.accuracy, -self.loss]

    def numbers(self) -> dict[str, float]:
        top5 = {} if self.top5 is None else {"top5": self.top5}
        return {"loss": self.loss, "accuracy": self.accuracy, **top5, "ece": self.ece}

    def columns(self) -> dict[str, str]:
        """What the table on the terminal shows, besides the loss."""
        top5 = {} if self.top5 is None else {"top-5": f"{self.top5:.2%}"}
        return {"top-1": f"{self.accuracy:.2%}", **top5}

    def by_class(self, classes: list[str]) -> list[dict]:
        """A row for each class: name, images, recall, precision and F1; None if there is nothing to divide by."""
        right, labels, predicted = self.confusion.diagonal(), self.confusion.sum(1), self.confusion.sum(0)
        return [
            {
                "class": name,
                "images": int(labels[index]),
                "recall": share(right[index], labels[index]),
                "precision": share(right[index], predicted[index]),
                "f1": share(2 * right[index], labels[index] + predicted[index]),
            }
            for index, name in enumerate(classes)
        ]


def share(part: torch.Tensor, whole: torch.Tensor) -> float | None:
    return int(part) / int(whole) if whole else None


@torch.no_grad()
def evaluate(
    accelerator: Accelerator,
    model: nn.Module,
    images: Images,
    prepare: Prepare,
    classes: int,
    batch: int,
    workers: int = 0,
    flips: bool = False,
    keep: bool = False,
) -> Evaluation:
    """Evaluates on all images; every rank gets the result of all.

    Batches are dealt out by `deal`, and sums are added up over ranks. The model is used without its DDP wrapper,
    so no rank waits for another before the end. It is left in evaluation mode.

    Args:
        flips: average the logits of an image and its mirror image.
        keep: keep the probabilities too.

    Raises:
        RuntimeError: the number of images counted differs from the size of the set.
    """
    model = accelerator.unwrap_model(model)
    model.eval()
    sums, top5 = [], torch.zeros(1, dtype=torch.int64)  # the losses of each batch; labels among the likeliest five
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    calibration = torch.zeros(BINS, 3, dtype=torch.float64)
    mistakes, kept, rows = [], [], []
    for indices, item in deal(accelerator, images, batch, workers):
        rows += indices
        x, labels = prepare(item)
        with accelerator.autocast():
            logits = (model(x).float() + model(x.flip(3)).float()) / 2 if flips else model(x)
        logits, labels = logits.float().cpu(), labels.cpu()
        probabilities = logits.softmax(dim=1)
        sure, predicted = probabilities.max(dim=1)
        right = predicted == labels
        sums.append(F.cross_entropy(logits, labels, reduction="none").double().sum().item())
        top5 += (logits.topk(min(5, classes)).indices == labels[:, None]).sum()
        confusion += torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)
        bins = (sure.double() * BINS).ceil().long().sub(1).clamp(0, BINS - 1)  # (0, 1/15], (1/15, 2/15], …
        calibration.index_add_(0, bins, torch.stack([torch.ones_like(sure), sure, right], dim=1).double())
        wrong = (~right).nonzero().flatten().tolist()
        mistakes += [(indices[i], int(labels[i]), int(predicted[i]), float(sure[i])) for i in wrong]
        if keep:
            kept.append(probabilities.numpy())

    confusion = reduce_value(confusion, average=False).cpu()
    count = int(confusion.sum())
    if count != len(images):
        raise RuntimeError(f"evaluated {count} images of {len(images)}")
    calibration = reduce_value(calibration, average=False).cpu()
    surest = sorted(gather_object(sorted(mistakes, key=surest_first)[:SHOWN]), key=surest_first)
    return Evaluation(
        sum_once(sums) / count,
        int(confusion.diagonal().sum()) / count,
        int(reduce_value(top5, average=False)) / count if classes > 5 else None,
        float((calibration[:, 1] - calibration[:, 2]).abs().sum() / count),
        count,
        confusion,
        calibration,
        surest[:SHOWN],
        np.concatenate(kept) if kept else np.empty((0, classes), np.float32),
        np.array(rows, np.int64),
    )


def surest_first(mistake: tuple[int, int, int, float]) -> tuple[float, int]:
    return -mistake[3], mistake[0]
