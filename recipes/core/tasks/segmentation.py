"""The training of a network that classifies every pixel, and exact numbers of its results on any number of ranks."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from recipes.core.config.scenes import Segment
from recipes.core.data.deal import deal
from recipes.core.data.light import PrepareScenes
from recipes.core.data.place import Place
from recipes.core.data.scenes import IGNORED, Scenes, Segmented
from recipes.core.errors import UserError
from recipes.core.models.local import origin
from recipes.core.models.models import check_input
from recipes.core.models.saved import describe_segmenter
from recipes.core.models.segmenters import UNET, build_segmenter, logits_of
from recipes.core.ranks.reduce import in_double, reduce_value, sum_once
from recipes.core.run.gradient import Batch, Losses
from recipes.core.run.learner import Learner

SHOWN = 12  # images with the most wrong pixels, which are kept
FEW = 512  # training masks from which class weights are measured


class SegmentLearner(Learner):
    """Learns the class of every pixel.

    Args, raises: see `Learner`; also a UserError for an input that the network does not take.
    """

    config: Segment

    @property
    def name(self) -> str:
        model = self.config.model
        if model.name != UNET:
            return model.name
        return f"U-Net, patch {model.patch}, {model.depth} resolutions × {model.blocks} blocks, width {model.width}"

    @property
    def origin(self) -> str:
        return origin(self.config.model)

    def build(self) -> nn.Module:
        data, config = self.splits.data, self.config.model
        part = config.patch * 2 ** (config.depth - 1)
        if config.name == UNET and data.size % part:
            raise UserError(
                f"data.size={data.size} is not a multiple of {part}, as model.patch={config.patch} and "
                f"model.depth={config.depth} need: set data.size={-(-data.size // part) * part}"
            )
        model = build_segmenter(config, data.channels, len(self.splits.classes))
        for size in {data.size, self.config.tile or data.size}:
            check_input(model, config.name, data.channels, size)
        return model

    def preparation(self) -> PrepareScenes:
        data = self.splits.data
        weights = (
            pixel_weights(self.splits.train, len(self.splits.classes)) if self.config.optim.class_weights else None
        )
        self.weights = weights if weights is None else weights.to(self.accelerator.device)
        return PrepareScenes(data.mean, data.std, self.accelerator.device, self.config.augment.light)

    def loss(self, model: nn.Module, batch: Batch, position: int) -> Losses:
        """Sums over the pixels that have a class, and their number."""
        x, targets = self.prepare(batch)
        masks = targets["masks"].long()
        logits = logits_of(model(x.contiguous(memory_format=self.layout)))
        sums = F.cross_entropy(logits, masks, self.weights, ignore_index=IGNORED, reduction="none").sum((1, 2))
        counts = (masks != IGNORED).sum((1, 2))
        if self.config.optim.dice:
            sums = sums + self.config.optim.dice * counts * dice_loss(logits, masks)
        return sums, counts

    def description(self) -> str:
        return describe_segmenter(self.config, self.splits)


def dice_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """1 - Dice of each image, float32 (B,), the mean over the classes that are in it (Milletari et al. 2016, "V-Net").

    Args:
        logits: float32 (B, K, S, S).
        masks: int64 (B, S, S), IGNORED for pixels that do not count.
    """
    counted = (masks != IGNORED).unsqueeze(1)
    truth = F.one_hot(masks.masked_fill(masks == IGNORED, 0), logits.shape[1]).permute(0, 3, 1, 2) * counted
    guess = logits.softmax(1) * counted
    both, all_pixels = (guess * truth).sum((2, 3)), (guess + truth).sum((2, 3))
    present = truth.sum((2, 3)) > 0
    scores = torch.where(present, 2 * both / all_pixels.clamp(min=1e-6), 0)
    return 1 - scores.sum(1) / present.sum(1).clamp(min=1)


def pixel_weights(train: Segmented, classes: int) -> torch.Tensor:
    """Weights with which the pixels of each class count equally, and whose mean over pixels is 1, float32 (K,).

    Raises:
        UserError: a class has no pixels in the training masks that were counted.
    """
    counts = np.zeros(classes, np.int64)
    for row in np.unique(np.linspace(0, len(train) - 1, FEW).round().astype(np.int64)).tolist():
        ids = train.read(row)[1]
        counts += np.bincount(ids[ids != IGNORED], minlength=classes)
    if not counts.all():
        raise UserError(
            f"optim.class_weights=true: no pixel has the class {int((counts == 0).argmax())} in {FEW} training masks"
        )
    return torch.from_numpy(counts.sum() / (classes * counts)).float()


@dataclass
class Segmentation:
    """Attributes:
    loss: the mean cross-entropy over the pixels that have a class, on the canvas.
    count: number of images.
    confusion: int64 (K, K) pixels at the size of the images: row = label, column = prediction.
    worst: the images with the largest share of wrong pixels: (row, share).
    """

    loss: float
    count: int
    confusion: torch.Tensor
    worst: list[tuple[int, float]]

    @property
    def iou(self) -> torch.Tensor:
        """Intersection over union of each class, float64 (K,), NaN for one that is neither there nor predicted."""
        right = self.confusion.diagonal().double()
        return right / (self.confusion.sum(0) + self.confusion.sum(1) - right)

    @property
    def mean_iou(self) -> float:
        """The mean over the classes that are there or predicted."""
        return float(self.iou[~self.iou.isnan()].mean()) if self.confusion.any() else 0.0

    @property
    def accuracy(self) -> float:
        """The share of pixels that are right."""
        return int(self.confusion.diagonal().sum()) / max(1, int(self.confusion.sum()))

    @property
    def score(self) -> list[float]:
        return [self.mean_iou, -self.loss]

    def numbers(self) -> dict[str, float]:
        return {"loss": self.loss, "mean_iou": self.mean_iou, "pixel_accuracy": self.accuracy}

    def columns(self) -> dict[str, str]:
        return {"mean IoU": f"{self.mean_iou:.4f}", "pixels": f"{self.accuracy:.2%}"}

    def by_class(self, classes: list[str]) -> list[dict]:
        """A row for each class: name, pixels, IoU, Dice, recall and precision; None if there is nothing to divide by."""
        right, labels, predicted = self.confusion.diagonal(), self.confusion.sum(1), self.confusion.sum(0)

        def share(part: torch.Tensor, whole: torch.Tensor) -> float | None:
            return int(part) / int(whole) if whole else None

        return [
            {
                "class": name,
                "pixels": int(labels[index]),
                "iou": share(right[index], labels[index] + predicted[index] - right[index]),
                "dice": share(2 * right[index], labels[index] + predicted[index]),
                "recall": share(right[index], labels[index]),
                "precision": share(right[index], predicted[index]),
            }
            for index, name in enumerate(classes)
        ]


@torch.no_grad()
def evaluate_masks(
    accelerator: Accelerator,
    model: nn.Module,
    scenes: Scenes,
    prepare: PrepareScenes,
    classes: int,
    batch: int,
    workers: int = 0,
    tile: int | None = None,
    overlap: float = 0.5,
) -> Segmentation:
    """Classifies every pixel of all images at their own size; every rank gets the result of all.

    Whole batches are dealt to the ranks, see `deal`, and pixels are counted in whole numbers, so the result is the same
    on any number of ranks. Each pixel of each image counts once.

    Args:
        tile, overlap: see `predict_ids`.

    Raises:
        RuntimeError: the number of images counted differs from the size of the set.
    """
    model = accelerator.unwrap_model(model)
    model.eval()
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    sums, pixels, mine, wrong = [], 0, 0, []
    for rows, item in deal(accelerator, scenes, batch, workers):
        x, targets = prepare(item)
        with accelerator.autocast():
            logits = logits_of(model(x))
        masks = targets["masks"].long()
        losses = F.cross_entropy(logits, masks, ignore_index=IGNORED, reduction="none").sum((1, 2))
        sums += in_double(losses).tolist()
        pixels += int((masks != IGNORED).sum())
        for slot, row in enumerate(rows):
            image, ids = scenes.read(row)
            if tile is None:
                found = ids_of(logits[slot], Place.of(image.width, image.height, scenes.size))
            else:
                found = predict_ids(accelerator, model, np.asarray(image), prepare, tile, overlap)
            counted = ids != IGNORED
            counts = np.bincount(ids[counted].astype(np.int64) * classes + found[counted], minlength=classes**2)
            confusion += torch.from_numpy(counts.reshape(classes, classes))
            wrong.append((row, float((ids != found)[counted].mean()) if counted.any() else 0.0))
            mine += 1
    count = int(reduce_value(mine, average=False))
    if count != len(scenes):
        raise RuntimeError(f"evaluated {count} images of {len(scenes)}")
    worst = sorted(gather_object(sorted(wrong, key=worst_first)[:SHOWN]), key=worst_first)
    return Segmentation(
        sum_once(sums) / max(1.0, float(reduce_value(float(pixels), average=False))),
        count,
        reduce_value(confusion, average=False).cpu(),
        worst[:SHOWN],
    )


def worst_first(one: tuple[int, float]) -> tuple[float, int]:
    return -one[1], one[0]


def ids_of(logits: torch.Tensor, place: Place) -> np.ndarray:
    """The likeliest class of each pixel of an image, int64 (H, W), from logits (K, S, S) on the canvas."""
    part = logits[None, :, : place.high, : place.wide]
    if (place.wide, place.high) != (place.width, place.height):
        part = F.interpolate(part, (place.height, place.width), mode="bilinear", align_corners=False)
    return part[0].argmax(0).cpu().numpy()


def predict_ids(
    accelerator: Accelerator, model: nn.Module, pixels: np.ndarray, prepare: PrepareScenes, tile: int, overlap: float
) -> np.ndarray:
    """The likeliest class of each pixel of an image at its own scale, int64 (H, W), from overlapping windows.

    Each pixel is decided by the window whose centre is closest to it, so it counts once, whatever the overlap.

    Args:
        pixels: uint8 (H, W) or (H, W, C).
        tile: pixels per side of a window; a smaller image is one window, with padding.
        overlap: the share of a window that its neighbour sees too, 0 to below 1.
    """
    height, width = pixels.shape[:2]
    found = np.zeros((height, width), np.int64)
    tops, lefts = starts(height, tile, overlap), starts(width, tile, overlap)
    fill = (255 * prepare.mean).round().flatten().tolist()
    for top, (first, last) in zip(tops, borders(tops, tile, height)):
        for left, (begin, end) in zip(lefts, borders(lefts, tile, width)):
            window = np.empty((1, tile, tile, len(fill)), np.uint8)
            window[:] = fill
            seen = pixels[top : top + tile, left : left + tile].reshape(min(tile, height), min(tile, width), -1)
            window[0, : seen.shape[0], : seen.shape[1]] = seen
            x, _ = prepare({"pixels": torch.from_numpy(window)})
            with accelerator.autocast():
                ids = logits_of(model(x))[0].argmax(0).cpu().numpy()
            found[first:last, begin:end] = ids[first - top : last - top, begin - left : end - left]
    return found


def starts(length: int, tile: int, overlap: float) -> list[int]:
    """Where windows begin, so that they cover a length and two neighbours share at least `overlap` of a window."""
    if length <= tile:
        return [0]
    count = 1 + -(-(length - tile) // max(1, int(tile * (1 - overlap))))
    return [round(place) for place in np.linspace(0, length - tile, count).tolist()]


def borders(begins: list[int], tile: int, length: int) -> list[tuple[int, int]]:
    """The pixels that each window decides: those whose closest centre is its own."""
    middles = [(one + other + tile) // 2 for one, other in zip(begins, begins[1:])]
    return list(zip([0, *middles], [*middles, length]))
