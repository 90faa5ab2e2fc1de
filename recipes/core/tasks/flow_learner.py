"""The training of a generator by flow matching, and the loss on images that it has not seen."""

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn

from recipes.core.config.tasks import Generate
from recipes.core.data.augment import Prepare
from recipes.core.data.deal import deal
from recipes.core.data.images import Images
from recipes.core.errors import UserError
from recipes.core.models.flow import flow_losses, hide_labels
from recipes.core.models.saved import describe_generator
from recipes.core.models.unet import UNet
from recipes.core.ranks.reduce import in_double, reduce_value, sum_once
from recipes.core.run.gradient import Batch, Losses
from recipes.core.run.learner import Learner

TRAINING, TEST = 0x7EA, 0x7E5  # set random numbers apart


class FlowLearner(Learner):
    """Learns the velocity from noise to the images of each class.

    The noise and the time of a training image depend on the seed, the epoch and its row.

    Args, raises: see `Learner`; also a UserError for invalid options of `model` and `flow`.
    """

    config: Generate

    @property
    def name(self) -> str:
        model = self.config.model
        return f"U-Net, {model.depth} resolutions × {model.blocks} blocks, width {model.width}"

    def build(self) -> nn.Module:
        model, flow, data = self.config.model, self.config.flow, self.splits.data
        if model.depth < 1 or model.blocks < 1 or model.width < 4 or model.width % 2:
            raise UserError(
                f"model.width={model.width} must be even and at least 4, and model.depth and model.blocks at least 1"
            )
        if not 0 <= flow.label_dropout <= 1 or flow.steps < 1:
            raise UserError(
                f"flow.label_dropout={flow.label_dropout} must be 0 … 1, and flow.steps={flow.steps} at least 1"
            )
        part = 2 ** (model.depth - 1)
        if data.size % part:
            raise UserError(
                f"data.size={data.size} cannot be halved {model.depth - 1} times (model.depth={model.depth}): "
                f"set data.size={max(1, round(data.size / part)) * part}"
            )
        return UNet(model, data.channels, data.channels, len(self.splits.classes))

    def loss(self, model: nn.Module, batch: Batch, position: int) -> Losses:
        x, labels = self.prepare(batch)
        indices, seed = batch["indices"].numpy(), self.config.seed
        labels = hide_labels(labels, indices, self.config.flow.label_dropout, len(self.splits.classes), seed, TRAINING)
        return flow_losses(model, x.contiguous(memory_format=self.layout), labels, indices, seed, TRAINING), None

    def description(self) -> str:
        return describe_generator(self.config, self.splits)


@dataclass
class FlowResult:
    """Attributes:
    loss: the mean squared error of the velocity, given the class, at one time and noise for each image.
    count: number of images.
    """

    loss: float
    count: int

    @property
    def score(self) -> list[float]:
        return [-self.loss]

    def numbers(self) -> dict[str, float]:
        return {"loss": self.loss}

    def columns(self) -> dict[str, str]:
        return {}


@torch.no_grad()
def evaluate_flow(
    accelerator: Accelerator, network: nn.Module, images: Images, prepare: Prepare, batch: int, workers: int, seed: int
) -> FlowResult:
    """The loss on all images, on every rank; noise and times depend on `seed` and the row, so they stay the same.

    Raises:
        RuntimeError: the number of images counted differs from the size of the set.
    """
    network = accelerator.unwrap_model(network)
    network.eval()
    sums, mine = [], 0
    for rows, item in deal(accelerator, images, batch, workers):
        x, labels = prepare(item)
        with accelerator.autocast():
            losses = flow_losses(network, x, labels, item["indices"].numpy(), seed, TEST)
        sums.append(in_double(losses).sum().item())
        mine += len(rows)
    count = int(reduce_value(mine, average=False))
    if count != len(images):
        raise RuntimeError(f"evaluated {count} images of {len(images)}")
    return FlowResult(sum_once(sums) / count, count)
