"""The training of a classifier, and of a network that predicts several labels or a number."""

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from recipes.core.config.tasks import Train
from recipes.core.data.augment import Prepare
from recipes.core.data.data import Splits
from recipes.core.data.images import Images
from recipes.core.data.mixing import mix, partners
from recipes.core.data.several import CLASS, LABELS, NUMBER
from recipes.core.errors import UserError
from recipes.core.models.models import build_model, check_input
from recipes.core.models.pretrained import origin
from recipes.core.models.saved import describe_classifier
from recipes.core.run.gradient import Batch, Losses
from recipes.core.run.learner import Learner
from recipes.core.run.log import Result
from recipes.core.tasks.evaluation import evaluate
from recipes.core.tasks.outputs import ManyLabels, Numbers, outputs_of

WHITENED = 5000  # training images that whiten the first layer of a network that has one


class Classifier(Learner):
    """Learns the class of images; or several labels of each; or a number, in units of the training images' standard deviation.

    Args, raises: see `Learner`.

    Attributes:
        offset, scale: mean and standard deviation of the numbers of the training images.
    """

    config: Train

    def __init__(self, accelerator: Accelerator, config: Train, splits: Splits, total: int):
        self.offset, self.scale = spread(splits.train.labels) if splits.kind == NUMBER else (0.0, 1.0)
        self.mixes = config.augment.mixup > 0 or config.augment.cutmix > 0
        if self.mixes and splits.kind != CLASS:
            raise UserError(
                f"augment.mixup={config.augment.mixup} augment.cutmix={config.augment.cutmix} mix classes, but "
                f"data.label={splits.data.label} holds {'numbers' if splits.kind == NUMBER else 'several labels of an image'}"
            )
        if splits.data.balance and splits.kind != CLASS:
            raise UserError(
                f"data.balance=true balances classes, but data.label={splits.data.label} holds {splits.kind}"
            )
        for option, works in (("absolute", splits.kind == NUMBER), ("label_smoothing", splits.kind != NUMBER)):
            if getattr(config.optim, option) and not works:
                raise UserError(
                    f"optim.{option}={getattr(config.optim, option)} has no effect on {splits.kind}: leave it out"
                )
        super().__init__(accelerator, config, splits, total)
        if self.mixes and config.exact:
            self.partner = partners(config.batch // config.shards, config.shards, config.shards)
        elif self.mixes:
            self.partner = partners(self.micro, accelerator.num_processes, config.shards)
        self.weights = class_weights(splits, accelerator.device) if config.optim.class_weights else None

    @property
    def name(self) -> str:
        return self.config.model.name

    @property
    def origin(self) -> str:
        return origin(self.config.model, self.splits.data)

    def build(self) -> nn.Module:
        config, data = self.config.model, self.splits.data
        model = build_model(config, data.channels, len(self.splits.classes))  # a number is its only class
        if hasattr(model, "whiten") and config.weights is None:
            train = self.splits.train
            rows = np.linspace(0, len(train) - 1, min(len(train), WHITENED)).astype(np.int64)
            model.whiten(Prepare(data.mean, data.std, torch.device("cpu"))(train[rows])[0])
        if self.config.compile and config.checkpointing and any(isinstance(m, _BatchNorm) for m in model.modules()):
            raise UserError(
                "compile=true cannot compile what model.checkpointing=true does with BatchNorm: leave one out"
            )
        check_input(model, config.name, data.channels, data.size)
        return model

    def loss(self, model: nn.Module, batch: Batch, position: int) -> Losses:
        config, classes = self.config, len(self.splits.classes)
        x, targets = self.prepare(batch)
        if self.mixes:
            x, targets = mix(x, targets, classes, config.augment, config.seed, position, self.partner)
        logits = model(x.contiguous(memory_format=self.layout)).float()
        smoothing = config.optim.label_smoothing
        if self.splits.kind == NUMBER:
            errors = logits[:, 0] - (targets - self.offset) / self.scale
            return errors.abs() if config.optim.absolute else errors.square(), None
        if self.splits.kind == LABELS:
            wanted = targets.float() * (1 - smoothing) + smoothing / 2
            losses = F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=self.weights, reduction="none")
            return losses.mean(1), None
        return F.cross_entropy(logits, targets, self.weights, reduction="none", label_smoothing=smoothing), None

    def description(self) -> str:
        return describe_classifier(self.config.model, self.splits, self.offset, self.scale, self.config.optim.absolute)


def spread(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of numbers; 1 instead of a standard deviation of 0."""
    values = values.astype(np.float64)
    return float(values.mean()), float(values.std()) or 1.0


def measure(learner: Classifier, images: Images) -> Result:
    """The model of a training on its validation or test images."""
    config, splits, accelerator = learner.config, learner.splits, learner.accelerator
    prepare = Prepare(splits.data.mean, splits.data.std, accelerator.device)
    usual = (accelerator, learner.tested, images, prepare)
    if splits.kind == CLASS:
        classes = len(splits.classes)
        return evaluate(*usual, classes, learner.at_once, config.data.workers, config.test_flips)
    outputs = outputs_of(*usual, learner.at_once, config.data.workers, config.test_flips)
    if splits.kind == LABELS:
        return ManyLabels.of(outputs, images.labels)
    return Numbers(outputs[:, 0] * learner.scale + learner.offset, images.labels, learner.scale, config.optim.absolute)


def class_weights(splits: Splits, device: torch.device) -> torch.Tensor:
    """Weights with which each class counts equally, and whose mean over the training images is 1. Of several labels, the weight
    of an image that has one, with which these count as much as those that lack it.

    Raises:
        UserError: a class has no training images, or a number is learned.
    """
    if splits.kind == NUMBER:
        raise UserError("optim.class_weights=true has no effect on numbers: leave it out")
    if splits.kind == LABELS:
        there = splits.train.labels.sum(0, dtype=np.int64)
        if not there.all():
            missing = splits.classes[int((there == 0).argmax())]
            raise UserError(f"optim.class_weights=true: no training image has the label {missing}")
        return torch.from_numpy((len(splits.train) - there) / there).float().to(device)
    counts = torch.bincount(torch.from_numpy(splits.train.labels), minlength=len(splits.classes))
    if not counts.all():
        missing = splits.classes[int((counts == 0).nonzero()[0])]
        raise UserError(f"optim.class_weights=true: class {missing} has no training images")
    return (counts.sum() / (len(counts) * counts)).float().to(device)
