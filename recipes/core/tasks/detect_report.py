"""The files that a run of `recipes/detect.py` writes. Main process only."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from dataset_scripts.core.files.replace import write_file
from dataset_scripts.core.image.objects import object_features
from recipes.core.data.scenes import Detected
from recipes.core.tasks.coco import CocoNumbers, Image, annotations
from recipes.core.tasks.detection import Detection, DetectLearner, truth_of
from recipes.core.tasks.report import as_json, as_labels, draw, plot_loss, save_figure, save_sheet, write_results

CARD = """\
---
library_name: pytorch
pipeline_tag: object-detection
tags: [object-detection]
---

# {model} on {dataset}

COCO's average precision: {headline}, on {test_images:,} test images, after {samples:,} training images ({seconds:.0f} s on
{processes} × {device}).

![the images with the most mistakes: truth and prediction](predictions.png)

```python
from recipes import load_model

model, info = load_model("{here}")  # float32 (B, {channels}, {size}, {size}) to B dicts of boxes, scores and labels
```

| | |
|---|---|
| data | {dataset_code}: {counts}, {class_count} classes; tested on {tested_on} |
| input | {channels} × {size} × {size}: the longer side scaled to {size}, values in 0..1, minus {mean}, divided by {std} |
| model | {model_code}, {parameters:,} parameters |
| started from | {origin} |
| predictions | [predictions.json](predictions.json), in the form of COCO's results: image_id is the row, category_id is 1 for the first class |
"""
PICTURES = "[predictions.png](predictions.png), [curves.png](curves.png), [precision.png](precision.png)"
SHOWN = 8  # images
LIKELY = 0.5  # score of the boxes that are shown
SAME = 0.5  # IoU of a box with the object that it shows


def write_run(
    folder: Path, learner: DetectLearner, metrics: dict[str, Any], result: Detection, records: list[dict[str, Any]]
) -> None:
    """Writes all results of a detector."""
    splits = learner.splits
    headline = ", ".join(f"{name} {value}" for name, value in result.columns().items())
    own = {"mean": splits.data.mean, "std": splits.data.std, "headline": headline}
    write_results(folder, learner, metrics, CARD, PICTURES, **own)
    write_file(folder / "predictions.json", results_json(result.found))
    draw(plot_curves, folder / "curves.png", records)
    draw(plot_precision, folder / "precision.png", result.coco, splits.classes)
    draw(plot_predictions, folder / "predictions.png", splits.test, result.found, splits.classes)


def results_json(found: list[Image]) -> str:
    """Detections in the form of COCO's results, which pycocotools and FiftyOne read."""
    keys = ("image_id", "category_id", "bbox", "score")
    return as_json([{key: one[key] for key in keys} for one in annotations(found)]) + "\n"


def plot_curves(path: Path, records: list[dict[str, Any]]) -> None:
    """Loss and average precision over epochs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    plot_loss(left, records, "loss of an object")
    for number, kind in enumerate(("validation", "test"), 1):
        chosen = [record for record in records if record["kind"] == kind]
        for key, style in (("ap", "-"), ("ap50", ":")):
            if points := [(record["epoch"], record[key]) for record in chosen if key in record]:
                label = f"{kind}, {'AP' if key == 'ap' else 'AP50'}"
                right.plot(*zip(*points), style, marker="o", markersize=3, color=f"C{number}", label=label)
    right.set(xlabel="epoch", ylabel="average precision", ylim=(0, 1), title="COCO's average precision")
    right.legend()
    right.grid(alpha=0.3)
    save_figure(figure, path)


def plot_precision(path: Path, numbers: CocoNumbers, classes: list[str]) -> None:
    """Precision over recall at IoU 0.5, of up to 20 classes."""
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    recall = np.linspace(0, 1, numbers.curves.shape[1])
    lines, texts = [], []
    for row, curve, name in list(zip(numbers.by_class, numbers.curves, as_labels(classes)))[:20]:
        if row["ap50"] is not None:
            lines += axes.plot(recall, curve, linewidth=1)
            texts.append(f"{name}: {row['ap50']:.3f}")
    axes.set(
        xlabel="recall", ylabel="precision", title="Precision at IoU 0.5, by class", xlim=(0, 1.01), ylim=(0, 1.02)
    )
    for text in axes.legend(lines, texts, fontsize=8, ncols=2).get_texts():
        text.set_parse_math(False)
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def plot_predictions(path: Path, scenes: Detected, found: list[Image], classes: list[str]) -> None:
    """The test images with the most mistakes: their objects, and what was found."""
    by_row = {image.row: likely(image) for image in found}
    wrong = [(mistakes(image, by_row[image.row]), image) for image in truth_of(scenes)]
    columns: dict[str, list[Any]] = {"image": [], "objects": []}
    places = []
    for count, image in sorted(wrong, key=lambda one: (-one[0], one[1].row))[:SHOWN]:
        for one, place in ((image, f"row {scenes.numbers[image.row]}"), (by_row[image.row], f"{count} mistakes")):
            columns["image"].append(scenes.read(image.row)[0])
            columns["objects"].append({"bbox": one.boxes.tolist(), "category": one.categories.tolist()})
            places.append(place)
    heading = (
        f"Test images with the most mistakes: left their objects, right what was found with a score above {LIKELY}"
    )
    save_sheet(path, columns, {"objects": object_features(classes)}, places, heading, 4, 306)


def likely(image: Image) -> Image:
    """The boxes whose score is high enough to be shown."""
    chosen = image.scores >= LIKELY
    return Image(image.row, image.boxes[chosen], image.categories[chosen], image.scores[chosen])


def mistakes(truth: Image, found: Image) -> int:
    """Objects that were not found with their class, and boxes without an object; crowds count neither way."""
    real = ~truth.crowd
    left, right = truth.boxes[real], found.boxes
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum((left[:, :2] + left[:, 2:])[:, None], (right[:, :2] + right[:, 2:])[None])
    both = np.prod((high - low).clip(0), 2)
    either = np.prod(left[:, 2:], 1)[:, None] + np.prod(right[:, 2:], 1)[None] - both
    same = (both / np.maximum(either, 1e-9) >= SAME) & (truth.categories[real][:, None] == found.categories[None])
    return int((~same.any(1)).sum() + (~same.any(0)).sum())
