"""The files of a run that learned several labels of an image, or a number. Main process only."""

from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from recipes.core.data.several import NUMBER
from recipes.core.tasks.classifier import Classifier
from recipes.core.tasks.outputs import ManyLabels, Numbers
from recipes.core.tasks.report import as_labels, draw, plot_loss, save_figure, write_results

CARD = """\
---
library_name: pytorch
pipeline_tag: image-{tag}
tags: [{tags}]
---

# {model} on {dataset}

{headline}, on {test_images:,} test images, after {samples:,} training images ({seconds:.0f} s on {processes} × {device}).

![curves](curves.png)

```python
from recipes import load_model

model, info = load_model("{here}")  # float32 (B, {channels}, {size}, {size}) to {meaning}
```

| | |
|---|---|
| data | {dataset_code}: {counts}; tested on {tested_on} |
| input | {channels} × {size} × {size}, values in 0..1, minus {mean}, divided by {std} |
| model | {model_code}, {parameters:,} parameters |
| started from | {origin} |
"""


def write_run(
    folder: Path,
    learner: Classifier,
    metrics: dict[str, Any],
    result: ManyLabels | Numbers,
    records: list[dict[str, Any]],
) -> None:
    """Writes all results."""
    splits = learner.splits
    headline = ", ".join(f"{name} {value}" for name, value in result.columns().items())
    if splits.kind == NUMBER:
        meaning = f"(B, 1): the number is output * {learner.scale:g} + {learner.offset:g}"
        own = {"tag": "feature-extraction", "tags": "image-regression"}
        pictures = "[curves.png](curves.png), [numbers.png](numbers.png)"
    else:
        meaning = f"logits (B, {len(splits.classes)}); the probability of each label is its sigmoid"
        own = {"tag": "classification", "tags": "image-classification, multi-label"}
        pictures = "[curves.png](curves.png), [labels.png](labels.png)"
    own |= {"mean": splits.data.mean, "std": splits.data.std, "headline": headline, "meaning": meaning}
    write_results(folder, learner, metrics, CARD, pictures, **own)
    if isinstance(result, Numbers):
        draw(plot_curves, folder / "curves.png", records, "r2", "R²")
        draw(plot_numbers, folder / "numbers.png", result, splits.classes[0])
    else:
        draw(plot_curves, folder / "curves.png", records, "map", "mean average precision")
        draw(plot_labels, folder / "labels.png", result.by_class(splits.classes))


def plot_curves(path: Path, records: list[dict[str, Any]], key: str, name: str) -> None:
    """Loss and score over epochs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    plot_loss(left, records, "loss")
    for number, kind in enumerate(("validation", "test"), 1):
        if points := [(r["epoch"], r[key]) for r in records if r["kind"] == kind and key in r]:
            right.plot(*zip(*points), marker="o", markersize=3, color=f"C{number}", label=kind)
    right.set(xlabel="epoch", ylabel=name, title=name)
    right.legend()
    right.grid(alpha=0.3)
    save_figure(figure, path)


def plot_numbers(path: Path, result: Numbers, name: str) -> None:
    """Predicted over true numbers of the test images."""
    figure, axes = plt.subplots(figsize=(5.5, 5), layout="constrained")
    axes.scatter(result.truth, result.found, s=6, alpha=0.5)
    ends = [min(result.truth.min(), result.found.min()), max(result.truth.max(), result.found.max())]
    axes.plot(ends, ends, color="black", linewidth=1)
    [label] = as_labels([name])
    axes.set_xlabel(f"{label}, in the data", parse_math=False)
    axes.set_ylabel(f"{label}, predicted", parse_math=False)
    axes.set_title(f"{result.count:,} test images: mean absolute error {result.numbers()['mae']:.4g}")
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def plot_labels(path: Path, rows: list[dict[str, Any]]) -> None:
    """Average precision and F1 of each label, of the 40 with the most images."""
    shown = sorted(rows, key=lambda row: -row["images"])[:40][::-1]
    figure, axes = plt.subplots(figsize=(7, 1.2 + 0.28 * len(shown)), layout="constrained")
    for key, name, marker in (("ap", "average precision", "o"), ("f1", "F1 at probability 0.5", "|")):
        points = [(row[key], place) for place, row in enumerate(shown) if row[key] is not None]
        if points:
            axes.plot(*zip(*points), marker, label=name)
    names = [f"{name} ({row['images']})" for name, row in zip(as_labels([row["class"] for row in shown]), shown)]
    axes.set_yticks(range(len(shown)), names, parse_math=False, fontsize=8)
    axes.set(xlim=(0, 1.02), title="Labels of the test images, and how many have them")
    axes.legend(loc="lower left")
    axes.grid(alpha=0.3)
    save_figure(figure, path)
