"""The files that a run of `recipes/generate.py` writes. Main process only."""

from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from dataset_scripts.core.files.replace import write_file
from recipes.core.tasks.flow_learner import FlowLearner
from recipes.core.tasks.report import draw, plot_loss, save_figure, write_results

CARD = """\
---
library_name: pytorch
tags: [image-generation, flow-matching, class-conditional]
---

# Flow matching on {dataset}

Images of {class_count} classes, from noise. Squared error of the velocity on {test_images:,} test images: {loss:.4f}, after
{samples:,} training images ({seconds:.0f} s on {processes} × {device}).

![samples, one row per class](samples.png)

```python
import torch
from recipes import load_generator

generator, info = load_generator("{here}")
noise, labels = torch.randn(16, {noise_size}), torch.arange(16) % {class_count}
pixels = generator(noise, labels)  # uint8 (16, 3, {size}, {size})
```

| | |
|---|---|
| data | {dataset_code}: {counts}, {class_count} classes; tested on {tested_on} |
| images | {channels} × {size} × {size} |
| model | {model}; {parameters:,} parameters |
| drawing | midpoint rule of {steps} steps, guidance {guidance} |
"""
PICTURES = "[samples.png](samples.png), [curves.png](curves.png)"


def write_run(
    folder: Path, learner: FlowLearner, metrics: dict[str, Any], picture: bytes, records: list[dict[str, Any]]
) -> None:
    """Writes all results of a generator."""
    data, flow = learner.splits.data, learner.config.flow
    own = {"noise_size": data.channels * data.size**2, "steps": flow.steps, "guidance": flow.guidance}
    write_results(folder, learner, metrics, CARD, PICTURES, **own)
    write_file(folder / "samples.png", picture)
    draw(plot_curves, folder / "curves.png", records)


def plot_curves(path: Path, records: list[dict[str, Any]]) -> None:
    """Loss over epochs."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    plot_loss(axes, records, "squared error of the velocity")
    save_figure(figure, path)
