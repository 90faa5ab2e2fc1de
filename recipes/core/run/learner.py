"""Model, average, optimizer and loss: the state that a training step changes and a checkpoint holds."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from recipes.core.config.tasks import Augment
from recipes.core.config.training import Training
from recipes.core.data.augment import Prepare
from recipes.core.data.data import Splits
from recipes.core.errors import UserError
from recipes.core.models.models import train_mode
from recipes.core.models.optimizers import build_optimizer
from recipes.core.models.schedule import ema_decay, learning_rate, update_ema
from recipes.core.models.state import State, collect, restore, restore_statistics
from recipes.core.ranks.initialization import initialize, verify_equal
from recipes.core.ranks.reduce import average_buffers, ordered_mean
from recipes.core.run.gradient import Batch, DataParallel, Losses, Ordered


class Learner(ABC):
    """Builds the configured network with equal weights on every rank, and takes steps.

    A subclass defines the task: the network, the loss of an image, and the description needed to load the model.

    Args:
        total: samples of the whole training.

    Attributes:
        micro: images that a rank reads at a time.
        at_once: images that a rank passes through the model at a time, in training and in tests.
        fingerprint: of the initial weights, equal on all ranks.
        rate: the learning rate of the last step.

    Raises:
        UserError: options that do not fit together, or weights that differ between ranks.
    """

    def __init__(self, accelerator: Accelerator, config: Training, splits: Splits, total: int):
        self.accelerator, self.config, self.splits, self.total, self.rate = accelerator, config, splits, total, 0.0
        world = accelerator.num_processes
        parts = world * config.accumulate
        if config.batch < 1 or config.accumulate < 1 or config.batch % parts:
            raise UserError(
                f"batch={config.batch} does not divide into {world} processes × {config.accumulate} parts "
                f"(accumulate): choose a multiple of {parts}"
            )
        if (config.exact or config.deterministic) and config.ddp.compress != "no":
            raise UserError(f"ddp.compress={config.ddp.compress} cannot hold with exact=true or deterministic=true")
        if config.exact and config.accumulate > 1:
            raise UserError(f"exact=true cuts a batch into shards by itself: leave accumulate={config.accumulate} out")
        self.micro = config.batch // parts
        self.at_once = config.batch // config.shards if config.exact else self.micro
        model = initialize(self.build, config.init.method, config.seed)
        average = copy.deepcopy(model).requires_grad_(False) if config.optim.ema else None
        self.fingerprint = verify_equal(model=model, **({"ema": average} if average is not None else {}))
        self.layout = torch.channels_last if config.channels_last else torch.contiguous_format
        model = model.to(memory_format=self.layout)
        if world > 1 and accelerator.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        train_mode(model)
        check_statistics(model, self.at_once, world)
        self.model, self.average = model, average
        self.best: dict[str, torch.Tensor] | None = None  # the weights that did best on the validation images
        optimizer = build_optimizer(model, config.optim)
        if config.compile:
            model.compile()
        self.gradient: Ordered | DataParallel
        if config.exact:
            self.optimizer = accelerator.prepare(optimizer)
            self.gradient = Ordered(accelerator, model, self.loss, config.batch, config.shards, config.seed)
        else:
            wrapped, self.optimizer = accelerator.prepare(model, optimizer)
            if config.deterministic and world > 2:
                wrapped.register_comm_hook(None, ordered_mean)
            self.gradient = DataParallel(accelerator, wrapped, self.loss, config.accumulate, config.seed)
        self.prepare = self.preparation()

    def preparation(self) -> Any:
        """Turns a batch into the input of the model, with augmentation."""
        data, augment = self.splits.data, Augment(**vars(self.config.augment))
        augment = augment if data.resize == "whole" else replace(augment, pad=0)
        return Prepare(data.mean, data.std, self.accelerator.device, augment)

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the network."""

    @property
    def origin(self) -> str:
        """The weights that the network starts from."""
        return "random weights"

    @abstractmethod
    def build(self) -> nn.Module:
        """The network, on the CPU."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, position: int) -> Losses:
        """Sums and weights of the images of a part of the batch that begins at `position`, see `Losses`."""

    @abstractmethod
    def description(self) -> str:
        """The content of `config.json`: all that is needed to load and use the model."""

    @property
    def tested(self) -> nn.Module:
        """The model that is tested and exported: the average, if there is one."""
        return self.model if self.average is None else self.average

    def step(self, batches: Iterator[Batch], seen: int) -> torch.Tensor:
        """One update, from the batch after `seen` samples; returns sums and weights of this rank's images, float32 (2, B)."""
        optim, batch = self.config.optim, self.config.batch
        factor = learning_rate(seen + batch / 2, self.total, optim.schedule, optim.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self.rate = optim.lr * factor
        if not self.model.training:
            train_mode(self.model)
        losses = self.gradient(batches, seen)
        if optim.clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), optim.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            update_ema(self.average, self.model, ema_decay(seen + batch, batch, optim.ema))
        return losses

    def average_buffers(self) -> None:
        """Makes the running statistics, which each rank collects from its own images, equal on all ranks."""
        average_buffers(self.model)
        if self.average is not None:
            update_ema(self.average, self.model, decay=1.0)

    def remember(self) -> None:
        """Keeps a copy of the weights, which are the best so far."""
        self.best = {name: tensor.cpu().clone() for name, tensor in self.tested.state_dict().items()}

    def recall(self) -> None:
        """Goes back to the weights that `remember` kept."""
        assert self.best is not None  # `remember` was called, maybe before a stop
        self.tested.load_state_dict(self.best)

    def verify(self) -> str:
        """The fingerprint of model and average, after comparing them over all ranks."""
        return verify_equal(model=self.model, **({"ema": self.average} if self.average is not None else {}))

    def state(self) -> State:
        """Everything that the next step depends on; every rank calls it."""
        return collect(self)

    def load_state(self, state: State) -> None:
        """Resumes from a state.

        Raises:
            UserError: the ranks have read different weights.
        """
        restore(self, state)
        self.verify()
        restore_statistics(self, state)


def check_statistics(model: nn.Module, at_once: int, world: int) -> None:
    """Refuses batch normalisation over one image, whose statistics are noise, or undefined if it is one pixel there.

    Raises:
        UserError: with a way out.
    """
    for name, module in model.named_modules():
        images = at_once * (world if isinstance(module, nn.SyncBatchNorm) else 1)
        if isinstance(module, _BatchNorm) and module.training and images == 1:
            raise UserError(
                f"{name} takes batch statistics, but one image at a time goes through the model of a process: choose a larger "
                "batch, a smaller accumulate, fewer processes, or a model without BatchNorm"
            )
