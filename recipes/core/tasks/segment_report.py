"""The files that a run of `recipes/segment.py` writes. Main process only."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt

from recipes.core.data.place import Place
from recipes.core.data.scenes import IGNORED
from recipes.core.models.segmenters import logits_of
from recipes.core.tasks.report import as_labels, draw, plot_confusion, plot_loss, save_figure, write_results
from recipes.core.tasks.segmentation import Segmentation, SegmentLearner, ids_of

CARD = """\
---
library_name: pytorch
pipeline_tag: image-segmentation
tags: [image-segmentation, semantic-segmentation]
---

# {model} on {dataset}

Mean IoU {mean_iou:.4f}, {pixel_accuracy:.2%} of the pixels of {test_images:,} test images right, after {samples:,} training
images ({seconds:.0f} s on {processes} × {device}).

![the images with the most mistakes](predictions.png)

```python
from recipes import load_model

model, info = load_model("{here}")  # float32 (B, {channels}, {size}, {size}) to logits (B, {class_count}, {size}, {size})
```

| | |
|---|---|
| data | {dataset_code}: {counts}, {class_count} classes; tested on {tested_on} |
| input | {channels} × {size} × {size}: the longer side scaled to {size}, values in 0..1, minus {mean}, divided by {std} |
| model | {model_code}, {parameters:,} parameters |
| started from | {origin} |
"""
PICTURES = "[predictions.png](predictions.png), [curves.png](curves.png), [confusion.png](confusion.png)"
SHADE = 0.55  # of the colour of a class, over the image


def write_run(
    folder: Path, learner: SegmentLearner, metrics: dict[str, Any], result: Segmentation, records: list[dict[str, Any]]
) -> None:
    """Writes all results of a segmentation."""
    splits = learner.splits
    write_results(folder, learner, metrics, CARD, PICTURES, mean=splits.data.mean, std=splits.data.std)
    draw(plot_curves, folder / "curves.png", records)
    draw(plot_confusion, folder / "confusion.png", result.confusion.numpy(), splits.classes)
    draw(plot_predictions, folder / "predictions.png", learner, result)


def plot_curves(path: Path, records: list[dict[str, Any]]) -> None:
    """Loss and mean IoU over epochs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    plot_loss(left, records, "cross-entropy of a pixel")
    for number, kind in enumerate(("validation", "test"), 1):
        if chosen := [record for record in records if record["kind"] == kind]:
            scores = [record["mean_iou"] for record in chosen]
            right.plot([r["epoch"] for r in chosen], scores, marker="o", markersize=3, color=f"C{number}", label=kind)
    right.set(xlabel="epoch", ylabel="mean IoU", title=f"Mean IoU: {scores[-1]:.4f} at the end", ylim=(0, 1))
    right.legend()
    right.grid(alpha=0.3)
    save_figure(figure, path)


def plot_predictions(path: Path, learner: SegmentLearner, result: Segmentation) -> None:
    """The test images with the most wrong pixels: the image, its mask, and the prediction."""
    splits, shown = learner.splits, result.worst[:5]
    colors, names = palette(len(splits.classes)), as_labels(splits.classes)
    figure, axes = plt.subplots(len(shown), 3, figsize=(9, 0.8 + 2.9 * len(shown)), squeeze=False, layout="constrained")
    there: set[int] = set()
    for row, (index, share) in zip(axes, shown):
        image, ids = splits.test.read(index)
        found = predicted(learner, index, Place.of(image.width, image.height, splits.test.size))
        there |= set(np.unique(ids).tolist()) | set(np.unique(found).tolist())
        pixels = np.asarray(image.convert("RGB"), np.float32) / 255
        said = f"row {splits.test.numbers[index]}: {share:.1%} of the pixels are wrong"
        for axis, picture, title in zip(
            row, (pixels, overlay(pixels, ids, colors), overlay(pixels, found, colors)), (said, "mask", "prediction")
        ):
            axis.imshow(picture, interpolation="nearest")
            axis.set_title(title, fontsize=9)
            axis.axis("off")
    classes = sorted(there - {IGNORED})[:20]
    patches = [plt.Rectangle((0, 0), 1, 1, facecolor=colors[one]) for one in classes]
    legend = figure.legend(patches, [names[one] for one in classes], loc="outside lower center", ncols=6, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    save_figure(figure, path)


@torch.no_grad()
def predicted(learner: SegmentLearner, index: int, place: Place) -> np.ndarray:
    """The likeliest class of each pixel of a test image, int64 (H, W)."""
    x, _ = learner.prepare(learner.splits.test[[index]])
    return ids_of(logits_of(learner.tested.eval()(x))[0], place)


def palette(classes: int) -> np.ndarray:
    """A colour of each class, float64 (K, 3) in 0..1; class 0, often the background, is dark."""
    hues = plt.get_cmap("hsv")((np.arange(classes) * 0.618) % 1)[:, :3]  # neighbours are far apart
    hues[0] = 0.15
    return hues


def overlay(pixels: np.ndarray, ids: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) under the colours of its ids; pixels without a class stay as they are."""
    counted = (ids != IGNORED)[..., None]
    shades = colors[np.where(ids == IGNORED, 0, ids)]
    return np.where(counted, (1 - SHADE) * pixels + SHADE * shades, pixels).clip(0, 1)
