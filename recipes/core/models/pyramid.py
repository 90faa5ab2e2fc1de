"""Our own detector: boxes without anchors, from a small pyramid of features."""

import torch
import torch.nn.functional as F
import torchvision.ops
from torch import nn

from recipes.core.config.scenes import Detector
from recipes.core.errors import UserError
from recipes.core.models.networks import Block, groups

LIMITS = {"width": 1024, "blocks": 64, "levels": 6}
STRIDE = 4  # pixels between the places of the finest level; each next one has half as many
RANGE = 8  # strides: how far the sides of a box may be from a place that is responsible for it
RADIUS = 1.5  # strides: how far from the centre of a box a place may be
PRIOR = 0.01  # of an object at a place, before the training
CANDIDATES = 1000  # places of an image that may become boxes
OVERLAP = 0.6  # IoU of two boxes of a class, from which the weaker one is left out

Boxes = dict[str, torch.Tensor]


class Pyramid(nn.Module):
    """A detector without anchors (Tian et al. 2019, "FCOS: Fully Convolutional One-Stage Object Detection") on our residual
    blocks, with a pyramid of features (Lin et al. 2017, "Feature Pyramid Networks for Object Detection").

    Every place of a level predicts the classes of the object around it, the distances to its four sides, and how central it
    is. Group normalisation makes the result of an image independent of its batch, and nothing is drawn at random.

    Args:
        config: `width` channels at half the resolution, 2 and 4 times as many below; `blocks` for each resolution;
            `levels` of the pyramid, with strides of 4, 8, … pixels.
        channels: of the images.
        classes: K.

    Raises:
        UserError: an option is less than 1 or unreasonably large.
    """

    def __init__(self, config: Detector, channels: int, classes: int):
        super().__init__()
        for name, most in LIMITS.items():
            if not 1 <= getattr(config, name) <= most:
                raise UserError(f"model.{name}={getattr(config, name)} must be 1 to {most:,}")
        self.classes, self.strides = classes, [STRIDE * 2**level for level in range(config.levels)]
        widths = [config.width * min(2**stage, 4) for stage in range(config.levels + 1)]
        wide = widths[-1]
        self.stem = nn.Conv2d(channels, widths[0], 3, stride=2, padding=1, bias=False)
        self.stages, inputs = nn.ModuleList(), widths[0]
        for stage, width in enumerate(widths):
            first = Block(inputs, width, stride=2 if stage else 1)
            self.stages.append(nn.Sequential(first, *(Block(width, width, 1) for _ in range(config.blocks - 1))))
            inputs = width
        self.across = nn.ModuleList(nn.Conv2d(width, wide, 1) for width in widths[1:])
        self.smooth = nn.ModuleList(nn.Conv2d(wide, wide, 3, padding=1) for _ in widths[1:])
        self.towers = nn.ModuleList(nn.Sequential(*_tower(wide), *_tower(wide)) for _ in range(2))
        self.classify = nn.Conv2d(wide, classes, 3, padding=1)
        self.measure = nn.Conv2d(wide, 5, 3, padding=1)  # left, top, right, bottom, centrality
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for head in (self.classify, self.measure):
            nn.init.normal_(head.weight, std=0.01)
        nn.init.constant_(self.classify.bias, -torch.log(torch.tensor((1 - PRIOR) / PRIOR)).item())

    def forward(self, x: torch.Tensor, targets: Boxes | None = None, seeds: object = None) -> object:
        """Boxes, or, with targets, sums and weights of the loss.

        Args:
            x: float32 (B, C, S, S).
            targets: `boxes`, `categories` and `crowd`, as in the items of `Detected`.

        Returns:
            A list of B dicts, as torchvision's detectors return: `boxes`, float32 (N, 4), left, top, right, bottom in pixels;
            `scores`, float32 (N,), the highest first; `labels`, int64 (N,), 0 … K - 1. Or, with targets, sums float32 (B,) and
            weights int64 (B,), the places that are responsible for an object, at least 1.
        """
        if targets is not None:
            return self._losses(*self._predict(x), targets)
        return [_choose(*found) for found in zip(*self.dense(x))]

    def dense(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The boxes of all places, float32 (B, L, 4), and the scores of their classes, float32 (B, L, K)."""
        logits, distances, central, places, strides = self._predict(x)
        boxes = _boxes(places, distances * strides[:, None]).clamp(0, x.shape[-1])
        return boxes, (logits.sigmoid() * central.sigmoid()[..., None]).sqrt()

    def _predict(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Of all levels: logits (B, L, K), distances (B, L, 4) in strides, centrality (B, L), places (L, 2), strides (L,)."""
        x, features = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        levels: list[torch.Tensor] = []
        for across, feature in reversed(list(zip(self.across, features[1:]))):
            level = across(F.relu(feature))
            if levels:
                level = level + F.interpolate(levels[-1], size=level.shape[-2:], mode="nearest")
            levels.append(level)
        found: list[list[torch.Tensor]] = [[], [], [], [], []]
        for smooth, level, stride in zip(self.smooth, levels[::-1], self.strides):
            level = smooth(level)
            classified, measured = self.towers[0](level), self.towers[1](level)
            logits, numbers = self.classify(classified).float(), self.measure(measured).float()
            rows, columns = (torch.arange(count, device=x.device) for count in level.shape[-2:])
            grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).reshape(-1, 2)
            found[0].append(logits.flatten(2).transpose(1, 2))
            found[1].append(numbers[:, :4].flatten(2).transpose(1, 2).clamp(max=10).exp())
            found[2].append(numbers[:, 4].flatten(1))
            found[3].append((grid + 0.5) * stride)
            found[4].append(torch.full((len(grid),), float(stride), device=x.device))
        return (*(torch.cat(parts, 1) for parts in found[:3]), torch.cat(found[3]), torch.cat(found[4]))

    def _losses(
        self,
        logits: torch.Tensor,
        distances: torch.Tensor,
        central: torch.Tensor,
        places: torch.Tensor,
        strides: torch.Tensor,
        targets: Boxes,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        chosen, ignored = assign(places, strides, self.strides[-1], targets)
        count, size = chosen.shape
        responsible = chosen >= 0
        at = chosen.clamp(min=0)
        wanted = targets["categories"].gather(1, at) if targets["boxes"].shape[1] else torch.zeros_like(at)
        truth = F.one_hot(wanted.clamp(min=0), self.classes).to(logits.dtype) * responsible[..., None]
        focal = torchvision.ops.sigmoid_focal_loss(logits, truth, reduction="none").sum(2)
        sums = (focal * ~ignored).sum(1)
        image, place = responsible.nonzero(as_tuple=True)
        if len(image):
            boxes = targets["boxes"][image, chosen[image, place]]
            found = _boxes(places[place], distances[image, place] * strides[place, None])
            overlap = torchvision.ops.generalized_box_iou_loss(found, boxes, reduction="none")
            sides = _distances(places[place], boxes)
            ratios = [sides[:, one::2].amin(1) / sides[:, one::2].amax(1) for one in (0, 1)]
            middle = (ratios[0] * ratios[1]).clamp(min=0).sqrt()
            missed = F.binary_cross_entropy_with_logits(central[image, place], middle, reduction="none")
            sums = sums.index_add(0, image, overlap + missed)
        return sums, responsible.sum(1).clamp(min=1)


def _tower(width: int) -> list[nn.Module]:
    return [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(groups(width), width), nn.ReLU()]


def _boxes(places: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
    """Boxes (…, 4) around places (…, 2), from the distances to left, top, right and bottom."""
    return torch.cat([places - distances[..., :2], places + distances[..., 2:]], -1)


def _distances(places: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    return torch.cat([places - boxes[..., :2], boxes[..., 2:] - places], -1)


def assign(
    places: torch.Tensor, strides: torch.Tensor, coarsest: int, targets: Boxes
) -> tuple[torch.Tensor, torch.Tensor]:
    """The object that each place is responsible for: the smallest one of the right size whose centre is close.

    Returns:
        The number of the object, int64 (B, L), -1 for none; and whether a place is inside of a crowd and not responsible for
        anything, bool (B, L), so nothing is learned there.
    """
    boxes, usable = targets["boxes"], (targets["categories"] >= 0) & ~targets["crowd"]
    count, most = boxes.shape[:2]
    if not most:
        nothing = torch.full((count, len(places)), -1, dtype=torch.int64, device=boxes.device)
        return nothing, torch.zeros_like(nothing, dtype=torch.bool)
    if count > 1:  # one image at a time: of many boxes, all at once take gigabytes
        parts = [
            assign(places, strides, coarsest, {name: part[i : i + 1] for name, part in targets.items()})
            for i in range(count)
        ]
        return torch.cat([chosen for chosen, _ in parts]), torch.cat([apart for _, apart in parts])
    sides = _distances(places[None, :, None], boxes[:, None])  # (1, L, M, 4)
    inside, far = sides.amin(3) > 0, sides.amax(3)
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    near = (places[None, :, None] - centres[:, None]).abs().amax(3) < RADIUS * strides[None, :, None]
    low, high = strides * (RANGE / 2), strides * RANGE
    low, high = torch.where(strides == strides.min(), 0, low), torch.where(strides == coarsest, torch.inf, high)
    fits = (far > low[None, :, None]) & (far <= high[None, :, None])
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(2)[:, None]
    areas = areas.expand(-1, len(places), -1).masked_fill(~(inside & near & fits & usable[:, None]), torch.inf)
    smallest, chosen = areas.min(2)
    chosen = chosen.masked_fill(smallest.isinf(), -1)
    crowd = (inside & (targets["crowd"] & (targets["categories"] >= 0))[:, None]).any(2)
    return chosen, crowd & (chosen < 0)


def _choose(boxes: torch.Tensor, scores: torch.Tensor, least: float = 0.05, most: int = 100) -> Boxes:
    """The boxes of an image, from those of all its places (L, 4) with scores (L, K): the most likely ones that do not repeat
    each other."""
    likely = (scores > least).nonzero()
    values = scores[likely[:, 0], likely[:, 1]]
    values, order = values.sort(descending=True, stable=True)
    values, likely = values[:CANDIDATES], likely[order[:CANDIDATES]]
    kept = torchvision.ops.batched_nms(boxes[likely[:, 0]], values, likely[:, 1], OVERLAP)[:most]
    return {"boxes": boxes[likely[kept, 0]], "scores": values[kept], "labels": likely[kept, 1]}
