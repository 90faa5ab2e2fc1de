"""What a run of `recipes/generate.py` leaves behind. Main process only."""

import json
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from recipes.core.export import weights_of
from recipes.core.files import write_file
from recipes.core.flow_learner import FlowLearner
from recipes.core.hub import HERE
from recipes.core.report import command, plot_loss, versions

CARD = """\
---
library_name: pytorch
tags: [image-generation, flow-matching, class-conditional]
---

# Flow matching on {dataset}

Images of {class_count} classes, from noise. Squared error of the velocity on {test_images:,} test images: {loss:.4f}, after
{samples:,} training images ({seconds:.0f} s on {processes} × {device}).

![samples, a row a class](samples.png)

```python
import torch
from recipes import load_generator

generator, info = load_generator("{here}")
noise, labels = torch.randn(16, {noise_size}), torch.arange(16) % {class_count}
pixels = generator(noise, labels)  # uint8 (16, 3, {size}, {size})
```

| | |
|---|---|
| data | `{dataset}`, {train_images:,} training and {test_images:,} test images, {class_count} classes |
| images | {channels} × {size} × {size} |
| model | {model}; {parameters:,} parameters |
| drawing | midpoint rule of {steps} steps, guidance {guidance} |
| weights | `model.safetensors`, fingerprint `{weights}` |
| versions | {versions} |

Made by

```
{command}
```

with all options in [config.yaml](config.yaml). The numbers: [metrics.json](metrics.json), [log.jsonl](log.jsonl);
the loss: [curves.png](curves.png).

Classes: {classes}
"""


def write_run(
    folder: Path, learner: FlowLearner, metrics: dict[str, Any], picture: bytes, records: list[dict[str, Any]]
) -> None:
    """Writes all results; `metrics.json` comes last, so a folder that has it is complete."""
    splits, flow = learner.splits, learner.config.flow
    data = splits.data
    write_file(folder / "model.safetensors", weights_of(learner.tested))
    write_file(folder / "samples.png", picture)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    plot_loss(axes, records, "squared error of the velocity")
    figure.savefig(folder / "curves.png", dpi=120)
    plt.close(figure)
    card = CARD.format(
        **metrics,
        here=HERE,
        model=learner.name,
        dataset=data.path,
        train_images=len(splits.train),
        class_count=len(splits.classes),
        classes=", ".join(splits.classes),
        channels=data.channels,
        size=data.size,
        noise_size=data.channels * data.size**2,
        steps=flow.steps,
        guidance=flow.guidance,
        command=command(),
        versions=versions(),
    )
    write_file(folder / "README.md", card)
    write_file(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
