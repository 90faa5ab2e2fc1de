"""Detectors by name: our own and torchvision's; from local weights, whole or of the backbone."""

from collections import OrderedDict
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD
from torchvision.ops import FrozenBatchNorm2d, box_iou

from recipes.core.config.scenes import Detector
from recipes.core.errors import UserError
from recipes.core.models.local import load_local
from recipes.core.models.pyramid import Boxes, Pyramid

PYRAMID = "pyramid"
BACKBONES = ("backbone.body.", "backbone.features.", "backbone.")  # where torchvision's detectors keep a classifier


def build_detector(config: Detector, channels: int, classes: int) -> nn.Module:
    """Builds a detector from images (B, channels, S, S) to boxes; see `Pyramid.forward` for what it takes and returns.

    Args:
        config: `name` is `pyramid` or one of `torchvision.models.list_models(module=torchvision.models.detection)`, which
            take 3 channels.

    Raises:
        UserError: there is no such network, it does not take this number of channels, or the weights do not fit.
    """
    known = torchvision.models.list_models(module=torchvision.models.detection)
    names = [name for name in known if not name.startswith(("keypoint", "mask"))]
    if config.name == PYRAMID:
        model: nn.Module = Pyramid(config, channels, classes)
    elif config.name in names:
        if channels != 3:
            raise UserError(f"model.name={config.name} takes 3 channels, not {channels}: set data.channels=3")
        # FCOS has no class for the background; the others count it as class 0.
        count = classes + (not config.name.startswith("fcos"))
        inner = torchvision.models.get_model(config.name, weights=None, weights_backbone=None, num_classes=count)
        model = OfTorchvision(inner, count - classes)
    else:
        raise UserError(f"there is no model.name={config.name[:200]}: choose {PYRAMID}, {', '.join(names)}")
    if config.weights is not None:
        inner = model.detector if isinstance(model, OfTorchvision) else model
        own = inner.state_dict()
        backbone = next((start for start in BACKBONES if any(name.startswith(start) for name in own)), BACKBONES[-1])
        load_local(inner, config.weights, backbone)
        freeze_statistics(inner)
    return model


class OfTorchvision(nn.Module):
    """A detector of torchvision, with the loss of each image apart, so a batch may be spread over any ranks.

    What an R-CNN draws at random when it learns, the proposals, depends on the image alone.

    Args:
        detector: its own resizing is left out: images come as it should see them.
        first: the number of its first class.
    """

    def __init__(self, detector: nn.Module, first: int):
        super().__init__()
        self.detector, self.first = detector, first
        detector.transform = AsTheyAre()

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """With the names that torchvision gives."""
        return self.detector.state_dict(*args, **options)

    def load_state_dict(self, *args: Any, **options: Any) -> Any:
        return self.detector.load_state_dict(*args, **options)

    def forward(self, x: torch.Tensor, targets: Boxes | None = None, seeds: list[int] | None = None) -> Any:
        """See `Pyramid.forward`.

        Args:
            seeds: of what is drawn for each image, if there are targets.
        """
        if targets is None:
            found = self.detector(list(x))
            return [
                {"boxes": one["boxes"], "scores": one["scores"], "labels": one["labels"] - self.first} for one in found
            ]
        features = self.detector.backbone(x)
        if isinstance(features, torch.Tensor):
            features = OrderedDict([("0", features)])
        sums = []
        for index in range(len(x)):
            usable = (targets["categories"][index] >= 0) & ~targets["crowd"][index]
            target = {
                "boxes": targets["boxes"][index][usable],
                "labels": targets["categories"][index][usable] + self.first,
            }
            if seeds is not None:
                torch.manual_seed(seeds[index])
            own = OrderedDict((name, feature[index : index + 1]) for name, feature in features.items())
            losses = self._losses(ImageList(x[index : index + 1], [tuple(x.shape[-2:])]), own, target)
            sums.append(torch.stack([loss.float() for loss in losses.values()]).sum())
        return torch.stack(sums), None

    def _losses(self, image: ImageList, features: dict[str, torch.Tensor], target: Boxes) -> dict[str, torch.Tensor]:
        """The losses of one image."""
        detector: Any = self.detector
        if hasattr(detector, "roi_heads"):
            parts = (detector.rpn, detector.roi_heads)
            was = [part.training for part in parts]
            for part in parts:
                part.training = True  # this module alone, for evaluation asks for the loss too
            try:
                proposals, losses = detector.rpn(image, features, [target])
                _, more = detector.roi_heads(features, proposals, image.image_sizes, [target])
            finally:
                for part, before in zip(parts, was):
                    part.training = before
            return losses | more
        levels = list(features.values())
        outputs, anchors = detector.head(levels), detector.anchor_generator(image, levels)
        if hasattr(detector, "center_sampling_radius"):
            return detector.compute_loss([target], outputs, anchors, [level[0, 0].numel() for level in levels])
        if isinstance(detector, SSD):
            return detector.compute_loss([target], outputs, anchors, [self._matches(target, anchors[0])])
        return detector.compute_loss([target], outputs, anchors)

    def _matches(self, target: Boxes, anchors: torch.Tensor) -> torch.Tensor:
        """The object of each anchor of an SSD, -1 for none."""
        if not len(target["boxes"]):
            return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
        return self.detector.proposal_matcher(box_iou(target["boxes"], anchors))


class AsTheyAre(nn.Module):
    """Stands in for a detector's own scaling of images."""

    def forward(self, images: list[torch.Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        return ImageList(torch.stack(images), [tuple(image.shape[-2:]) for image in images]), targets

    def postprocess(self, result: Any, *sizes: Any) -> Any:
        return result


def freeze_statistics(model: nn.Module) -> None:
    """Batch normalisation with weights that were learned elsewhere keeps their statistics, as in torchvision's detectors."""
    for module in list(model.modules()):
        for inner, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                frozen = FrozenBatchNorm2d(child.num_features, child.eps)
                frozen.load_state_dict(
                    {key: value for key, value in child.state_dict().items() if key != "num_batches_tracked"}
                )
                setattr(module, inner, frozen)
