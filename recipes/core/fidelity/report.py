"""The files that a run writes: the numbers as JSON and as a table, and pictures to look at. Main process only."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from torch_fidelity import KEY_METRIC_FID

from dataset_scripts.core.files.replace import write_file
from recipes.core.errors import UserError
from recipes.core.fidelity.extraction import versions
from recipes.core.fidelity.inputs import Drawn, Images, Input
from recipes.core.fidelity.uncertainty import FID_SE, FID_UNBIASED, KID_EXACT, KID_SE
from recipes.core.run.run_folder import next_free
from recipes.core.tasks.report import save_figure

SHOWN = 8  # nearest and farthest samples
CLOUD = 2000  # points of each cloud
ROWS = {  # name -> keys of value, spread, and what the spread is
    "Inception Score": ("inception_score_mean", "inception_score_std", "std of splits"),
    "Fréchet distance": (KEY_METRIC_FID, FID_SE, "standard error"),
    "Fréchet distance, bias-corrected": (FID_UNBIASED, FID_SE, "standard error"),
    "Kernel distance (KID)": ("kernel_inception_distance_mean", "kernel_inception_distance_std", "std of subsets"),
    "Kernel distance, all pairs": (KID_EXACT, KID_SE, "standard error"),
    "Precision": ("precision", None, ""),
    "Recall": ("recall", None, ""),
    "F-score": ("f_score", None, ""),
    "Perceptual Path Length": ("perceptual_path_length_mean", "perceptual_path_length_std", "std of samples"),
}


def make_folder(out: str | None) -> Path:
    """Makes the folder for the results: `out`, else the next free one of runs/fidelity-1, runs/fidelity-2, …

    Raises:
        UserError: `out` already holds results.
    """
    if out is not None:
        if Path(out, "metrics.json").exists():
            raise UserError(f"--out {out} already holds results: choose another folder, or delete it")
        Path(out).mkdir(parents=True, exist_ok=True)
        return Path(out)
    return next_free("fidelity")


def table(metrics: dict[str, Any]) -> str:
    """The values as a Markdown table."""
    lines = ["| | value | ± | |", "|---|---:|---:|---|"]
    for name, (value, spread, kind) in ROWS.items():
        if value in metrics:
            error = f"{metrics[spread]:.6g}" if spread in metrics else ""
            lines.append(f"| {name} | {metrics[value]:.6g} | {error} | {kind if error else ''} |")
    if "n1" in metrics:
        lines.append(f"\n{metrics['n1']:,} generated and {metrics['n2']:,} real images, {metrics['d']:,} dimensions")
    return "\n".join(lines)


def as_json(metrics: dict[str, Any]) -> str:
    return json.dumps(metrics, indent=4, default=lambda array: array.tolist())


def write(
    folder: Path,
    metrics: dict[str, Any],
    details: dict[str, Any],
    options: dict[str, Any],
    inputs: dict[int, Input],
    features: tuple[torch.Tensor, ...],
) -> None:
    """Writes pictures, then `metrics.json`: a folder that has it is complete."""
    if features:
        plot_clouds(folder / "features.png", *features)
        if isinstance(inputs[1], (Images, Drawn)):
            plot_samples(folder / "samples.png", inputs, features, options)
    write_file(folder / "table.md", table(metrics) + "\n")
    given = {name: str(value) for name, value in options.items() if value not in (None, {}, False)}
    record = {"metrics": metrics, **details, "versions": versions(), "options": given}
    write_file(folder / "metrics.json", as_json(record) + "\n")


def evenly(count: int, wanted: int) -> torch.Tensor:
    return torch.linspace(0, count - 1, min(count, wanted)).round().long()


def plot_clouds(path: Path, generated: torch.Tensor, real: torch.Tensor) -> None:
    """Both sets of features in the plane that holds most of the variance of the real ones."""
    generated, real = (cloud[evenly(len(cloud), CLOUD)].double() for cloud in (generated, real))
    centre = real.mean(0)
    _, spread, axes = torch.linalg.svd(real - centre, full_matrices=False)
    share = spread[:2].square() / spread.square().sum().clamp(min=1e-300)
    figure, axis = plt.subplots(figsize=(7, 6), layout="constrained")
    for cloud, label, colour in ((real, "real (input2)", "C0"), (generated, "generated (input1)", "C1")):
        points = ((cloud - centre) @ axes[:2].T).numpy()
        second = points[:, 1] if points.shape[1] > 1 else np.zeros(len(points))
        axis.scatter(points[:, 0], second, s=6, alpha=0.5, label=label, color=colour, linewidths=0)
    names = [f"component {number + 1} ({value:.0%} of the variance)" for number, value in enumerate(share.tolist())]
    axis.set(title="Features, by the principal components of the real ones", xlabel=names[0])
    axis.set_ylabel(names[1] if len(names) > 1 else "")
    axis.legend()
    axis.grid(alpha=0.3)
    save_figure(figure, path)


def distances_to_nearest(points: torch.Tensor, others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each of the points (n, d), the distance to the nearest of the others (m, d), and its index."""
    rows = max(64, 2**23 // len(others))
    found = [torch.cdist(block.float(), others.float()).min(1) for block in points.split(rows)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def plot_samples(
    path: Path, inputs: dict[int, Input], features: tuple[torch.Tensor, ...], options: dict[str, Any]
) -> None:
    """The generated images that are nearest to a real one and those that are farthest, each above its neighbour."""
    distances, neighbours = distances_to_nearest(*features)
    order = distances.argsort()
    half = min(SHOWN, len(order))
    chosen = {"nearest": order[:half], "farthest": order[-half:].flip(0)}
    beside = isinstance(inputs[2], Images)
    figure, axes = plt.subplots(
        4 if beside else 2, half, figsize=(1.5 * half, 7.5 if beside else 4), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    for group, (name, indices) in enumerate(chosen.items()):
        line = group * (2 if beside else 1)
        for column, index in enumerate(indices.tolist()):
            title = f"{name}\n{distances[index]:.3g}" if column == 0 else f"{distances[index]:.3g}"
            axes[line, column].imshow(picture(inputs[1], index, options))
            axes[line, column].set_title(f"{title}\n#{index}", fontsize=7)
            if beside:
                neighbour = int(neighbours[index])
                axes[line + 1, column].imshow(picture(inputs[2], neighbour, options))
                axes[line + 1, column].set_title(f"real #{neighbour}", fontsize=7)
    figure.suptitle("Generated images by the distance of their features to the nearest real image", fontsize=10)
    save_figure(figure, path)


def picture(source: Images | Drawn, index: int, options: dict[str, Any]) -> np.ndarray:
    """An image as (H, W, 3)."""
    if isinstance(source, Images):
        image = source.items[index]
    else:
        size = min(options["batch_size"], source.count)
        batch = next(source.batches([index // size], size, 0, torch.device("cpu")))
        image = batch[index % size].cpu()
    return image.permute(1, 2, 0).numpy()
