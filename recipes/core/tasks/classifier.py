"""The training of a classifier: network, augmentation, mixing and cross-entropy."""

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from recipes.core.config.tasks import Train
from recipes.core.data.augment import Prepare
from recipes.core.data.data import Splits
from recipes.core.data.mixing import mix, partners
from recipes.core.errors import UserError
from recipes.core.models.models import build_model, check_input
from recipes.core.models.pretrained import origin
from recipes.core.models.saved import describe_classifier
from recipes.core.run.gradient import Batch, Losses
from recipes.core.run.learner import Learner

WHITENED = 5000  # training images that whiten the first layer of a network that has one


class Classifier(Learner):
    """Learns to classify images.

    Args, raises: see `Learner`.
    """

    config: Train

    def __init__(self, accelerator: Accelerator, config: Train, splits: Splits, total: int):
        super().__init__(accelerator, config, splits, total)
        self.mixes = config.augment.mixup > 0 or config.augment.cutmix > 0
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
        model = build_model(config, data.channels, len(self.splits.classes))
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
        return F.cross_entropy(logits, targets, self.weights, reduction="none", label_smoothing=smoothing), None

    def description(self) -> str:
        return describe_classifier(self.config.model, self.splits)


def class_weights(splits: Splits, device: torch.device) -> torch.Tensor:
    """Weights with which each class counts equally, and whose mean over the training images is 1.

    Raises:
        UserError: a class has no training images.
    """
    counts = torch.bincount(torch.from_numpy(splits.train.labels), minlength=len(splits.classes))
    if not counts.all():
        missing = splits.classes[int((counts == 0).nonzero()[0])]
        raise UserError(f"optim.class_weights=true: class {missing} has no training images")
    return (counts.sum() / (len(counts) * counts)).float().to(device)
