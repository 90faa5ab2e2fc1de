"""Feature extractors: torch-fidelity's, with weights from files and in true float64, and MobileNetV2."""

import hashlib
import inspect
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode
from torch_fidelity import FeatureExtractorBase, register_feature_extractor
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY
from torch_fidelity.utils import DEFAULT_FEATURE_EXTRACTOR, create_feature_extractor

from recipes.core.errors import UserError
from recipes.core.fidelity import resizing
from recipes.core.fidelity.options import theirs
from recipes.core.fidelity.weights import Weights, in_hub

LAYERED = ("isc", "fid", "kid", "prc")


class FeatureExtractorMobileNetV2(FeatureExtractorBase):
    """torchvision's MobileNetV2 (Sandler et al. 2018), from a local file of its weights.

    Takes uint8 (B, 3, H, W), scales it to 224 x 224 (bilinear, antialiased) and normalises it as torchvision does for
    ImageNet. Layers: `1280`, the pooled features, and `logits`, of the 1000 classes. For runs without a network: the
    values compare with each other, not with those of Inception.
    """

    def __init__(
        self, name, features_list, feature_extractor_weights_path=None, feature_extractor_internal_dtype=None, **options
    ):
        super().__init__(name, features_list)
        self.model = torchvision.models.mobilenet_v2()
        self.model.load_state_dict(torch.load(feature_extractor_weights_path, map_location="cpu", weights_only=True))
        self.feature_extractor_internal_dtype = torch.float32
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be uint8 (B, 3, H, W), not {images.dtype} {tuple(images.shape)}")
        x = F.interpolate(images.to(self.mean.dtype), (224, 224), mode="bilinear", antialias=True)
        pooled = self.model.features((x - self.mean) / self.std).mean((2, 3))
        layers = {"1280": pooled}
        if "logits" in self.features_list:
            layers["logits"] = self.model.classifier(pooled)
        return tuple(layers[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list():
        return "1280", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "logits" if metric == "isc" else "1280"

    @staticmethod
    def can_be_compiled():
        return True


if "mobilenet-v2" not in FEATURE_EXTRACTORS_REGISTRY:
    register_feature_extractor("mobilenet-v2", FeatureExtractorMobileNetV2)


class _KeepFloat64(TorchFunctionMode):
    """Keeps float64 in extractors that round their result to float32."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.to and args[1:] == (torch.float32,) and args[0].dtype == torch.float64:
            return args[0]
        return function(*args, **(kwargs or {}))


def plan(options: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The extractors that the metrics need, and the layer for each metric: extractor -> metric -> layer.

    Raises:
        UserError: an extractor or a layer that does not exist.
    """
    extractors: dict[str, dict[str, str]] = {}
    for metric in LAYERED:
        if options[metric]:
            name = options["feature_extractor"] or DEFAULT_FEATURE_EXTRACTOR[metric]
            if name not in FEATURE_EXTRACTORS_REGISTRY:
                raise UserError(f"feature_extractor={name}: choose one of {', '.join(FEATURE_EXTRACTORS_REGISTRY)}")
            registered = FEATURE_EXTRACTORS_REGISTRY[name]
            layer = options[f"feature_layer_{metric}"] or registered.get_default_feature_layer_for_metric(metric)
            if layer not in registered.get_provided_features_list():
                raise UserError(
                    f"feature_layer_{metric}={layer}: {name} has {', '.join(registered.get_provided_features_list())}"
                )
            extractors.setdefault(name, {})[metric] = layer
    return extractors


def build(name: str, layers: list[str], options: dict[str, Any], weights: Weights | None) -> FeatureExtractorBase:
    """Builds an extractor on the CPU, for evaluation.

    Args:
        weights: its checked file; None for an extractor that is not torch-fidelity's, which loads its own.
    """
    resizing.install()
    hub = name.startswith("dinov2")  # it cannot take a path
    changed = {"verbose": False, "feature_extractor_compile": False}
    if weights is not None:
        changed["feature_extractor_weights_path"] = None if hub else str(weights.path)
    with in_hub({name: weights.path} if hub else {}):
        try:
            extractor = create_feature_extractor(name, layers, **theirs(options, cuda=False, **changed))
        except (RuntimeError, KeyError) as error:
            if weights is None:
                raise
            reason = str(error).splitlines()[0]
            raise UserError(f"{weights.path} does not hold the weights of {name}: {reason}") from error
    if options["feature_extractor_internal_dtype"] == "float64":
        extractor.double()
        extractor.feature_extractor_internal_dtype = torch.float64  # its own option of that name means float32
    if options["feature_extractor_compile"]:
        extractor.compile()
    return extractor


@torch.no_grad()
def run(extractor: FeatureExtractorBase, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """The features of a batch by layer, (B, d) on the CPU; float64 if the extractor computes in it.

    Raises:
        UserError: the extractor does not take these images, or does not return one row for each.
    """
    try:
        if getattr(extractor, "feature_extractor_internal_dtype", None) == torch.float64:
            with _KeepFloat64():
                features = extractor(images)
        else:
            features = extractor(images)
    except (ValueError, AssertionError) as error:
        raise UserError(
            f"{extractor.get_name()} does not take {images.dtype} {tuple(images.shape)}: {error}"
        ) from error
    layers = {layer: value.cpu() for layer, value in extractor.convert_features_tuple_to_dict(features).items()}
    for layer, value in layers.items():
        if value.ndim != 2 or len(value) != len(images):
            raise UserError(
                f"{extractor.get_name()} returns {layer} of shape {tuple(value.shape)} for {len(images)} images"
            )
    return layers


def hash_of(module: nn.Module) -> str:
    """sha256 of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def identity(extractor: FeatureExtractorBase) -> str | None:
    """A hash of weights, settings and code; None if the code cannot be found."""
    simple = (str, int, float, tuple, torch.dtype)
    settings = sorted((name, repr(value)) for name, value in vars(extractor).items() if isinstance(value, simple))
    try:
        code = Path(inspect.getsourcefile(type(extractor))).read_bytes()
    except (TypeError, OSError):
        return None
    return hashlib.sha256(f"{hash_of(extractor)} {settings}\n".encode() + code).hexdigest()
