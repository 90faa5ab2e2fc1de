"""Exact loss and accuracy of a classifier, on any number of ranks and any number of images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from torch.utils.data import DataLoader

from recipes.core.images import Images, Prepare
from recipes.core.reduce import reduce_value


@dataclass
class Evaluation:
    """Attributes:
    loss: mean cross-entropy.
    accuracy: share of images whose likeliest class is the label.
    count: number of images.
    confusion: int64 (K, K): row = label, column = prediction.
    mistakes: the wrong predictions that were surest: (row, label, prediction, probability).
    """

    loss: float
    accuracy: float
    count: int
    confusion: torch.Tensor
    mistakes: list[tuple[int, int, int, float]]


@torch.no_grad()
def evaluate(
    accelerator: Accelerator, model: nn.Module, images: Images, prepare: Prepare, classes: int, batch: int, workers: int = 0
) -> Evaluation:
    """Evaluates on all images; every rank gets the result of all.

    The set is cut into batches of fixed content, batch b goes to rank b modulo P, and sums are added up over ranks.
    Nothing is padded or repeated, a rank may have nothing to do, and the model is used without its DDP wrapper, so
    that no rank waits for another before the end.

    Raises:
        RuntimeError: the number of images that were counted is not that of the set.
    """
    model = accelerator.unwrap_model(model)
    was_training = model.training
    model.eval()
    starts = range(accelerator.process_index * batch, len(images), accelerator.num_processes * batch)
    mine = [list(range(start, min(start + batch, len(images)))) for start in starts]
    loader = DataLoader(images, sampler=mine, batch_size=None, num_workers=0 if images.in_memory else workers)
    loss = torch.zeros((), dtype=torch.float64)
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    mistakes = []
    for indices, item in zip(mine, loader):
        x, labels = prepare(item)
        with accelerator.autocast():
            logits = model(x)
        logits, labels = logits.float().cpu(), labels.cpu()
        loss += F.cross_entropy(logits, labels, reduction="none").double().sum()
        sure, predicted = logits.softmax(dim=1).max(dim=1)
        confusion += torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)
        wrong = (predicted != labels).nonzero().flatten().tolist()
        mistakes += [(indices[i], int(labels[i]), int(predicted[i]), float(sure[i])) for i in wrong]
    model.train(was_training)

    loss = float(reduce_value(loss, average=False))
    confusion = reduce_value(confusion, average=False).cpu()
    count = int(confusion.sum())
    if count != len(images):
        raise RuntimeError(f"evaluated {count} images of {len(images)}")
    surest = sorted(gather_object(sorted(mistakes, key=lambda mistake: -mistake[3])[:25]), key=lambda mistake: -mistake[3])
    return Evaluation(loss / count, int(confusion.diagonal().sum()) / count, count, confusion, surest[:25])
