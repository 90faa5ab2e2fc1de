"""Run on one or more processes by test_detection.py and test_segmentation.py: evaluates a network that looks at brightness alone.

Arguments: `boxes` or `masks`, the folder of the data, and options as key=value. Prints the numbers as JSON.
"""

import json
import sys

import numpy as np
import torch
from torch import nn

from recipes.core.config.scenes import Detect, Segment
from recipes.core.data.data import find_data, load_scenes
from recipes.core.data.light import PrepareScenes
from recipes.core.data.targets import Boxes, Masks
from recipes.core.options import merge
from recipes.core.ranks.runtime import finish, start
from recipes.core.tasks.detection import evaluate_boxes
from recipes.core.tasks.segmentation import evaluate_masks


class Bright(nn.Module):
    """Finds the bright part of an image, and boxes at random places that depend on its pixels."""

    def forward(self, x, targets=None, seeds=None):
        if targets is not None:
            return x.mean((1, 2, 3)), (targets["categories"] >= 0).sum(1)
        return [self.find(image) for image in x]

    def find(self, image):
        random = np.random.default_rng(int(image.double().abs().sum() * 1e6))
        count = int(random.integers(0, 6))
        corners = np.sort(random.random((count, 2, 2)) * image.shape[-1], 1).reshape(count, 4)
        boxes, labels, scores = corners, random.integers(0, 3, count), random.random(count).round(1)  # with ties
        bright = np.argwhere(image[0].numpy() > 1)
        if len(bright):
            (top, left), (bottom, right) = bright.min(0), bright.max(0) + 1
            boxes = np.concatenate([boxes, [[left, top, right, bottom]]])
            labels, scores = np.append(labels, random.integers(0, 2)), np.append(scores, 0.9)
        order = np.argsort(-scores, kind="stable")
        found = {"boxes": boxes[order], "labels": labels[order], "scores": scores[order]}
        return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in found.items()}


class Shades(nn.Module):
    """The class of a pixel is its brightness: nothing around it matters."""

    def forward(self, x):
        steps = torch.linspace(-2, 2, 4).view(1, 4, 1, 1)
        return -(x[:, :1] - steps).abs()


if __name__ == "__main__":
    kind, path, *words = sys.argv[1:]
    accelerator = start(True, "no", None, 1)
    schema, target = (Detect, Boxes()) if kind == "boxes" else (Segment, Masks())
    config = merge(schema, {}, [f"data.path={path}", "data.mean=0.5", "data.std=0.25", *words])
    splits = load_scenes(find_data(config.data, target), config)
    prepare = PrepareScenes(splits.data.mean, splits.data.std, accelerator.device)
    if kind == "boxes":
        result = evaluate_boxes(accelerator, Bright(), splits.test, prepare, splits.classes, 2)
        said = {"summary": result.coco.summary, "by_class": result.coco.by_class}
    else:
        result = evaluate_masks(
            accelerator, Shades(), splits.test, prepare, len(splits.classes), 2, 0, config.tile, config.overlap
        )
        said = {"confusion": result.confusion.tolist(), "worst": result.worst}
    said |= {"loss": result.loss, "count": result.count, "numbers": result.numbers()}
    if accelerator.is_main_process:
        print(json.dumps(said))
    finish(accelerator)
