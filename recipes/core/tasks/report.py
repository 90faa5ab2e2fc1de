"""The files that a run writes: pictures to look at, and the same numbers for machines. Main process only."""

import json
import math
import re
import shlex
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import matplotlib
import numpy as np
import PIL.Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from dataset_scripts.core.errors import printable
from dataset_scripts.core.files.replace import new_file, write_file
from dataset_scripts.core.files.system import relative_path
from dataset_scripts.core.formats.markdown import code, markdown
from dataset_scripts.core.look.sheet import ordered_sheet
from recipes.core.data.images import Images
from recipes.core.models.hub import HERE
from recipes.core.models.saved import weights_of
from recipes.core.run.learner import Learner
from recipes.core.tasks.classifier import Classifier
from recipes.core.tasks.evaluation import Evaluation


def save_figure(figure: plt.Figure, path: Path) -> None:
    """Writes a figure as a PNG, and closes it."""
    with new_file(path) as file:
        figure.savefig(file, format="png", dpi=120)
    plt.close(figure)


def plot_loss(axes: plt.Axes, records: list[dict[str, Any]], what: str) -> None:
    """Loss of training, validation and test over epochs."""
    for kind, label, style in (
        ("train", "training", {"linewidth": 1}),
        ("validation", "validation", {"marker": "o", "markersize": 3}),
        ("test", "test", {"marker": "o", "markersize": 3}),
    ):
        if chosen := [record for record in records if record["kind"] == kind]:
            axes.plot([r["epoch"] for r in chosen], [r["loss"] for r in chosen], label=label, **style)
    axes.set(xlabel="epoch", ylabel=what, yscale="log", title="Loss")
    axes.legend()
    axes.grid(alpha=0.3)


def plot_curves(path: Path, records: list[dict[str, Any]]) -> None:
    """Loss and accuracy over epochs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    plot_loss(left, records, "cross-entropy")
    for number, kind in enumerate(("validation", "test"), 1):
        if chosen := [record for record in records if record["kind"] == kind]:
            error = [100 * (1 - record["accuracy"]) for record in chosen]
            right.plot([r["epoch"] for r in chosen], error, marker="o", markersize=3, color=f"C{number}", label=kind)
    right.set(xlabel="epoch", ylabel="wrong images, %", title=f"Test error: {error[-1]:.2f} % at the end")
    right.legend()
    right.set_ylim(bottom=0)
    right.grid(alpha=0.3)
    save_figure(figure, path)


def as_labels(classes: list[str]) -> list[str]:
    """Names of classes as a plot can show them: in one line, and short enough."""
    return [name if len(name) < 60 else f"{name[:60]}…" for name in map(printable, classes)]


def plot_confusion(path: Path, confusion: np.ndarray, classes: list[str]) -> None:
    """The confusion matrix; up to 30 classes, counts are written into it."""
    count, names = len(classes), as_labels(classes)
    side = min(14.0, 3.0 + 0.45 * count)
    figure, axes = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
    share = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    picture = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, label="share of the label's images", shrink=0.8)
    axes.set(xlabel="prediction", ylabel="label", title="Confusion on the test images")
    if count <= 30:
        axes.set_xticks(range(count), names, rotation=90 if max(map(len, names)) > 3 else 0, parse_math=False)
        axes.set_yticks(range(count), names, parse_math=False)
        for row, column in np.argwhere(confusion > 0):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, int(confusion[row, column]), ha="center", va="center", color=colour, fontsize=8)
    save_figure(figure, path)


def save_sheet(
    path: Path,
    columns: dict[str, list[Any]],
    features: dict[str, Any],
    places: list[str],
    heading: str,
    across: int,
    size: int,
) -> None:
    """Writes a picture of images with what is said of them, as PNG.

    Args:
        columns, features: of a dataset, with a column `image` of Pillow images.
        places: what is written below each image.
        across: images in a row.
        size: of each image, in pixels.
    """
    features = {"image": datasets.Image()} | features
    rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    with new_file(path) as file:
        ordered_sheet(rows, places, heading, across, size).save(file, "png")


def plot_mistakes(path: Path, evaluation: Evaluation, images: Images, classes: list[str]) -> None:
    """The misclassified test images with the highest confidence."""
    shown, names = evaluation.mistakes, as_labels(classes)
    wrong = evaluation.count - int(evaluation.confusion.diagonal().sum())
    heading = f"{wrong} of {evaluation.count} test images were misread" + (", the surest first" if wrong else "")
    columns = {
        "image": [PIL.Image.fromarray(images[[row]]["pixels"][0].numpy().squeeze()) for row, *_ in shown],
        "label": [f"{names[label]} read as {names[prediction]}, {sure:.0%}" for _, label, prediction, sure in shown],
    }
    places = [f"row {images.numbers[row]}" for row, *_ in shown]
    save_sheet(path, columns, {"label": datasets.Value("string")}, places, heading, 5, 220)


def command() -> str:
    """The command line of this run, ready to be typed again."""
    script = relative_path(sys.argv[0], ".") or sys.argv[0]
    if script.startswith(".."):  # of an installed package
        return shlex.join(["dataset-scripts", Path(script).stem, *sys.argv[1:]])
    return shlex.join(["accelerate", "launch", script, *sys.argv[1:]])


CARD = """\
---
library_name: pytorch
pipeline_tag: image-classification
tags: [image-classification]
---

# {model} on {dataset}

{accuracy:.2%} of {test_images:,} test images right, cross-entropy {loss:.4f}, after {samples:,} training images
({seconds:.0f} s on {processes} × {device}).

![curves](curves.png)

```python
from recipes import load_model

model, info = load_model("{here}")  # float32 (B, {channels}, {size}, {size}) to logits (B, {class_count})
```

| | |
|---|---|
| data | {dataset_code}: {counts}, {class_count} classes; tested on {tested_on} |
| input | {channels} × {size} × {size}, values in 0..1, minus {mean}, divided by {std} |
| model | {model_code}, {parameters:,} parameters |
| started from | {origin} |
"""
PICTURES = "[confusion.png](confusion.png), [mistakes.png](mistakes.png)"

END = """\
| weights | `model.safetensors`, fingerprint `{weights}` |
| versions | {versions} |

Made by

{fence}
{command}
{fence}

with all options in [config.yaml](config.yaml). The numbers: [metrics.json](metrics.json), [log.jsonl](log.jsonl);
the pictures: {pictures}.

Classes: {classes}
"""


def write_results(
    folder: Path, learner: Learner, metrics: dict[str, Any], card: str, pictures: str, **own: Any
) -> None:
    """Writes weights, card and numbers; pictures come after them. A folder with `metrics.json` holds a finished run.

    Args:
        card: its beginning, up to the table; with placeholders for the metrics, for the facts of every training, and
            for `own`.
        pictures: the links to them.
    """
    splits = learner.splits
    data, typed = splits.data, command()
    write_file(folder / "model.safetensors", weights_of(learner.tested))
    text = (card + END).format(
        **metrics,
        pictures=pictures,
        **own,
        here=HERE,
        model=markdown(learner.name),
        model_code=code(learner.name),
        origin=markdown(learner.origin),
        dataset=markdown(data.path),
        dataset_code=code(data.path),
        counts=splits.counts(),
        tested_on=splits.tested_on(),
        class_count=len(splits.classes),
        classes=", ".join(map(markdown, splits.classes)),
        channels=data.channels,
        size=data.size,
        command=typed,
        fence="`" * max(3, 1 + max(map(len, re.findall("`+", typed)), default=0)),
        versions=", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "accelerate", "datasets")),
    )
    write_file(folder / "README.md", text)
    write_file(folder / "metrics.json", as_json(metrics, indent=2) + "\n")


def draw(plot: Callable[..., None], path: Path, *args: Any) -> None:
    """Draws a picture; no result may depend on it, so a failure is only a warning."""
    try:
        plot(path, *args)
    except Exception as error:
        plt.close("all")
        warnings.warn(printable(f"{path} could not be drawn: {type(error).__name__}: {error}"), stacklevel=2)


def as_json(value: Any, **options: Any) -> str:
    """JSON that every reader accepts: numbers that are not finite, which JSON does not have, become null."""
    return json.dumps(_finite(value), allow_nan=False, **options)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def write_run(
    folder: Path, learner: Classifier, metrics: dict[str, Any], evaluation: Evaluation, records: list[dict[str, Any]]
) -> None:
    """Writes all results of a classifier."""
    splits = learner.splits
    write_results(folder, learner, metrics, CARD, PICTURES, mean=splits.data.mean, std=splits.data.std)
    draw(plot_curves, folder / "curves.png", records)
    draw(plot_confusion, folder / "confusion.png", evaluation.confusion.numpy(), splits.classes)
    draw(plot_mistakes, folder / "mistakes.png", evaluation, splits.test, splits.classes)
