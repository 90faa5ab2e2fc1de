"""The training of a detector, and exact numbers of its results on any number of ranks."""

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from recipes.core.config.scenes import Detect
from recipes.core.data.deal import deal
from recipes.core.data.light import PrepareScenes
from recipes.core.data.place import Place
from recipes.core.data.scenes import Detected
from recipes.core.models.detectors import PYRAMID, build_detector
from recipes.core.models.local import origin
from recipes.core.models.saved import describe_detector
from recipes.core.ranks.random_numbers import derive
from recipes.core.ranks.reduce import from_main, in_double, reduce_value, sum_once
from recipes.core.run.gradient import Batch, Losses
from recipes.core.run.learner import Learner
from recipes.core.tasks.coco import CocoNumbers, Image, coco_numbers

ANY_SIZE = (2**31, 2**31)  # of an image whose boxes have been compared with it
TRAINING, TEST = 0xDE7, 0xDE5  # set random numbers apart


class DetectLearner(Learner):
    """Learns to find objects.

    Args, raises: see `Learner`.
    """

    config: Detect

    @property
    def name(self) -> str:
        model = self.config.model
        if model.name != PYRAMID:
            return model.name
        return f"pyramid of {model.levels} levels, {model.blocks} blocks, width {model.width}"

    @property
    def origin(self) -> str:
        return origin(self.config.model)

    def build(self) -> nn.Module:
        return build_detector(self.config.model, self.splits.data.channels, len(self.splits.classes))

    def preparation(self) -> PrepareScenes:
        data = self.splits.data
        return PrepareScenes(data.mean, data.std, self.accelerator.device, self.config.augment.light)

    def loss(self, model: nn.Module, batch: Batch, position: int) -> Losses:
        x, targets = self.prepare(batch)
        seeds = [derive(self.config.seed, index, TRAINING) for index in batch["indices"].tolist()]
        return model(x.contiguous(memory_format=self.layout), targets, seeds)

    def description(self) -> str:
        return describe_detector(self.config, self.splits)


@dataclass
class Detection:
    """Attributes:
    loss: the mean of the loss of an image.
    count: number of images.
    coco: COCO's numbers.
    found: what was found in each image, on the main process; elsewhere empty.
    """

    loss: float
    count: int
    coco: CocoNumbers
    found: list[Image]

    @property
    def score(self) -> list[float]:
        return [self.coco.summary["ap"] or 0.0, -self.loss]

    def by_class(self, classes: list[str]) -> list[dict]:
        """A row for each class: name, objects, ap and ap50; None if there is nothing to measure them on."""
        return self.coco.by_class

    def numbers(self) -> dict[str, float]:
        return {"loss": self.loss} | {name: value for name, value in self.coco.summary.items() if value is not None}

    def columns(self) -> dict[str, str]:
        summary = self.coco.summary
        return {
            name: "-" if summary[key] is None else f"{summary[key]:.4f}"
            for name, key in (("AP", "ap"), ("AP50", "ap50"))
        }


@torch.no_grad()
def evaluate_boxes(
    accelerator: Accelerator,
    model: nn.Module,
    scenes: Detected,
    prepare: PrepareScenes,
    classes: list[str],
    batch: int,
    workers: int = 0,
    seed: int = 0,
) -> Detection:
    """Detects the objects of all images; every rank gets the result of all.

    Whole batches are dealt to the ranks, see `deal`, so nothing is padded or repeated. The predictions of all ranks are gathered
    in the order of the rows, and pycocotools measures them on the main process: the same numbers on any number of ranks.

    Raises:
        RuntimeError: the number of images differs from the size of the set.
    """
    model = accelerator.unwrap_model(model)
    model.eval()
    mine: list[Image] = []
    sums: list[float] = []
    weights = 0.0
    for rows, item in deal(accelerator, scenes, batch, workers):
        x, targets = prepare(item)
        with accelerator.autocast():
            results = model(x)
            losses, terms = model(x, targets, [derive(seed, row, TEST) for row in rows])
        sums += in_double(losses).tolist()
        weights += float(len(rows) if terms is None else terms.sum())
        for row, result, size in zip(rows, results, item["sizes"].tolist()):
            mine.append(in_image(row, result, Place.of(*size, scenes.size)))
    count = int(reduce_value(len(mine), average=False))
    if count != len(scenes):
        raise RuntimeError(f"evaluated {count} images of {len(scenes)}")
    found = sorted(gather_object(mine), key=lambda image: image.row)
    coco = from_main(lambda: coco_numbers(truth_of(scenes), found, classes))
    loss = sum_once(sums) / max(1.0, float(reduce_value(weights, average=False)))
    return Detection(loss, count, coco, found if accelerator.is_main_process else [])


def in_image(row: int, result: dict[str, torch.Tensor], place: Place) -> Image:
    """What was found on the canvas, in pixels of the image."""
    boxes = place.move_back(in_double(result["boxes"]).cpu().numpy())
    boxes[:, 2:] -= boxes[:, :2]
    return Image(row, boxes, result["labels"].cpu().numpy(), in_double(result["scores"]).cpu().numpy())


def truth_of(scenes: Detected) -> list[Image]:
    """The objects of all images, with the areas that the data state, or else those of their boxes."""
    column = scenes.data.target
    images = []
    for row in range(len(scenes)):
        stored = scenes.rows[row][column][0].as_py() or {"bbox": [], "category": []}
        _, categories, crowd = scenes.target(stored, ANY_SIZE, scenes.name(row))
        boxes = np.array(stored["bbox"], np.float64).reshape(-1, 4)
        areas = stored.get("area")
        areas = (
            boxes[:, 2] * boxes[:, 3]
            if areas is None or None in areas or len(areas) != len(boxes)
            else np.array(areas, np.float64)
        )
        images.append(Image(row, boxes, categories, None, areas, crowd))
    return images
