"""Trained models as files: weights with the names of the architecture's library, and a description."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from recipes.core.config.scenes import Detect, Detector, Segment, Segmenter
from recipes.core.config.tasks import Generate, Model, Unet
from recipes.core.data.data import Splits
from recipes.core.data.several import CLASS, LABELS, NUMBER
from recipes.core.errors import UserError
from recipes.core.foreign import read_json, read_tensors, reading, state_dict
from recipes.core.models import pyramid
from recipes.core.models.detectors import PYRAMID, build_detector
from recipes.core.models.generator import Generator
from recipes.core.models.hub import fetch_model
from recipes.core.models.local import COUNTED
from recipes.core.models.models import MOST_CLASSES, WIDEST, build_model, load_tensors
from recipes.core.models.segmenters import MOST_PATCH, UNET, build_segmenter
from recipes.core.models.state import tested_weights
from recipes.core.models.unet import LIMITS, UNet

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
FLOW = "flow of a U-Net"  # the architecture of what `recipes/generate.py` trains
SEGMENTATION, DETECTION = "segmentation", "detection"
TASKS = (SEGMENTATION, DETECTION, LABELS, NUMBER)  # besides None, for a class of each image
LARGEST_SIDE = 4096  # pixels
MOST_STEPS = 10_000
PYRAMID_SIZES = tuple(pyramid.LIMITS)
UNET_SIZES = ("patch", "width", "depth", "blocks")

Info = dict[str, Any]


def weights_of(model: nn.Module) -> bytes:
    """The content of `model.safetensors`."""
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    )


def describe_classifier(
    model: Model, splits: Splits, offset: float = 0.0, scale: float = 1.0, absolute: bool = False
) -> str:
    """The content of `config.json`: architecture, classes, and the input that it was trained on.

    Args:
        offset, scale: a predicted number is output * scale + offset.
        absolute: its loss is the absolute error.
    """
    task = {} if splits.kind == CLASS else {"task": splits.kind}
    unit = {"offset": offset, "scale": scale, "absolute": absolute} if splits.kind == NUMBER else {}
    return as_json(task | {"architecture": model.name, "width": model.width} | describe_images(splits) | unit)


def describe_generator(config: Generate, splits: Splits) -> str:
    """The content of `config.json`: network, classes, the images that it was trained on, and how to draw."""
    network, drawing = vars(config.model), {"guidance": config.flow.guidance, "steps": config.flow.steps}
    return as_json({"architecture": FLOW} | network | describe_images(splits) | drawing)


def describe_segmenter(config: Segment, splits: Splits) -> str:
    """The content of `config.json`: network, classes, and the images that it was trained on."""
    network = {name: getattr(config.model, name) for name in UNET_SIZES if config.model.name == UNET}
    return as_json({"task": SEGMENTATION, "architecture": config.model.name} | network | describe_images(splits))


def describe_detector(config: Detect, splits: Splits) -> str:
    """The content of `config.json`: network, classes, and the images that it was trained on."""
    network = {name: getattr(config.model, name) for name in PYRAMID_SIZES if config.model.name == PYRAMID}
    return as_json({"task": DETECTION, "architecture": config.model.name} | network | describe_images(splits))


def describe_images(splits: Splits) -> Info:
    names = ("channels", "size", "resize", "mean", "std")
    return {"labels": splits.classes} | {name: getattr(splits.data, name) for name in names}


def as_json(info: Info) -> str:
    return json.dumps(info, indent=2, ensure_ascii=False)


def load_model(path: str | Path, revision: str | None = None) -> tuple[nn.Module, Info]:
    """Loads a network that `recipes/train.py`, `recipes/detect.py` or `recipes/segment.py` wrote.

    The weights of torchvision's and timm's architectures have the names that these libraries give them:
    `torchvision.models.get_model(NAME, num_classes=K).load_state_dict(safetensors.torch.load_file(…))` takes them too.

    Args:
        path: a run folder, a copy of its `model.safetensors` and `config.json`, a checkpoint of a run
            (`runs/digits-1/checkpoints/000000001408`), or, if no such path exists, a model on the Hub.
        revision: the branch, tag or commit on the Hub.

    Returns:
        The model on the CPU in evaluation mode, from float32 (B, C, S, S) to logits: (B, K) of a classifier, (B, K, S, S) of
        a segmentation, from torchvision's networks as `out` of a dict; or to a list of boxes, see `Pyramid.forward`. And its
        description: task ("segmentation", "detection", "labels", "number"; a classifier has none), architecture, labels (the K classes), channels C, size S, resize, and mean and std: the input is
        (pixels - mean) / std, with pixels in 0..1.

    Raises:
        UserError: there is no model there, it is a generator, or it is damaged.
    """

    def build(info: Info) -> nn.Module:
        if info["architecture"] == FLOW:
            raise UserError("it is a generator, which load_generator loads")
        if info.get("task") == SEGMENTATION:
            unet = {name: info[name] for name in UNET_SIZES if name in info}
            return build_segmenter(Segmenter(name=info["architecture"], **unet), info["channels"], len(info["labels"]))
        if info.get("task") == DETECTION:
            sizes = {name: info[name] for name in PYRAMID_SIZES if name in info}
            return build_detector(Detector(name=info["architecture"], **sizes), info["channels"], len(info["labels"]))
        return build_model(Model(name=info["architecture"], width=info["width"]), info["channels"], len(info["labels"]))

    return load(path, revision, build)


def load_generator(path: str | Path, revision: str | None = None) -> tuple[Generator, Info]:
    """Loads a generator that `recipes/generate.py` wrote.

    Args:
        path, revision: as for `load_model`.

    Returns:
        A `Generator` on the CPU in evaluation mode, from noise, float32 (B, C * S * S), and labels, int64 (B,), to uint8
        (B, 3, S, S), as torch-fidelity expects of a generator; and its description: architecture, labels (the K classes),
        channels C, size S, guidance and steps, which may be changed on the generator, and the options of its training.

    Raises:
        UserError: there is no model there, it is a classifier, or it is damaged.
    """

    def build(info: Info) -> nn.Module:
        if info["architecture"] != FLOW:
            raise UserError(f"it is no generator but a {info['architecture']}, which load_model loads")
        unet = Unet(info["width"], info["depth"], info["blocks"])
        return UNet(unet, info["channels"], info["channels"], len(info["labels"]))

    network, info = load(path, revision, build)
    return Generator(
        network, info["channels"], info["size"], info["mean"], info["std"], info["guidance"], info["steps"]
    ), info


def holds_generator(path: Path) -> bool:
    """Whether a path is a run folder of `recipes/generate.py`, a copy of it, or a checkpoint of such a run."""
    try:
        return read_json(run_of(path) / "config.json").get("architecture") == FLOW
    except (OSError, UserError):
        return False


def run_of(path: Path) -> Path:
    """The run folder of a path: the path itself, or the folder of the run if it is a checkpoint."""
    return path.parent.parent if path.parent.name == "checkpoints" else path


def read_info(folder: Path) -> Info:
    """The content of `config.json`, after checking every value.

    Raises:
        FileNotFoundError: there is none.
        UserError: a value is missing, of another type, or unreasonably large.
    """
    path = folder / "config.json"
    info = read_json(path)
    is_flow, task = info.get("architecture") == FLOW, info.get("task")

    def check(name: str, holds: bool, what: str) -> None:
        if not holds:
            said = "is missing" if name not in info else f"{str(info[name])[:100]!r} is not {what}"
            raise UserError(f"{path}: {name} {said}")

    whole = {"channels": 3, "size": LARGEST_SIDE}
    check("task", task in (None, *TASKS), f"one of {', '.join(TASKS)}; a classifier and a generator have none")
    if task == NUMBER:
        for name in ("offset", "scale"):
            value = info.get(name)
            check(name, type(value) in (int, float) and abs(value) < 1e30, "a number")
        check("scale", info["scale"] > 0, "a number above 0")
        check("absolute", type(info.get("absolute")) is bool, "true or false")
    if is_flow:
        whole |= LIMITS | {"steps": MOST_STEPS}
    elif task in (None, LABELS, NUMBER):
        whole["width"] = WIDEST
    elif info.get("architecture") == UNET:
        whole |= LIMITS | {"patch": MOST_PATCH}
    elif info.get("architecture") == PYRAMID:
        whole |= pyramid.LIMITS
    for name, most in whole.items():
        value = info.get(name)
        check(name, type(value) is int and 1 <= value <= most, f"a whole number from 1 to {most:,}")
    check("channels", info["channels"] != 2, "1 or 3")
    name = info.get("architecture")
    check("architecture", isinstance(name, str) and 0 < len(name) <= 200, "a name")
    check("resize", info.get("resize") in ("whole", "crop", "padded", None), "whole, crop or padded")
    labels = info.get("labels")
    is_list = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    check("labels", is_list and 1 <= len(labels) <= MOST_CLASSES, f"a list of 1 to {MOST_CLASSES:,} texts")
    if task == SEGMENTATION:
        check("labels", len(labels) <= 255, "a list of 1 to 255 texts")
    check("labels", task != NUMBER or len(labels) == 1, "the one name of a number")
    for name in ("mean", "std"):
        values = info.get(name)
        is_list = isinstance(values, list) and len(values) in (1, info["channels"]) and all(map(_is_number, values))
        check(name, is_list and (name == "mean" or min(values) > 0), f"a list of {info['channels']} numbers")
        info[name] = [float(value) for value in values]
    if task == SEGMENTATION and info["architecture"] == UNET:
        multiple = info["patch"] * 2 ** (info["depth"] - 1)
        check("size", info["size"] % multiple == 0, f"a multiple of {multiple}, as patch and depth ask")
    if is_flow:
        check("guidance", _is_number(info.get("guidance")), "a number")
        multiple = 2 ** (info["depth"] - 1)
        check("size", info["size"] % multiple == 0, f"a multiple of {multiple}, as depth={info['depth']} asks")
    return info


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e6 < value < 1e6


def load(path: str | Path, revision: str | None, build: Callable[[Info], nn.Module]) -> tuple[nn.Module, Info]:
    """Builds a model from its description, and loads its weights.

    No memory is allocated for sizes in the description before the weights, which take as much, have been read.
    """
    if not Path(path).exists() and HUB_NAME.fullmatch(str(path)):
        path = fetch_model(str(path), revision)
    path = Path(path)
    folder = run_of(path)
    try:
        info = read_info(folder)
        file = path / ("model.safetensors" if folder == path else "state.pt")
        weights = read_tensors(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"{path} is neither a run folder nor a checkpoint of one: {error.filename} is missing"
        ) from error
    if file.suffix == ".pt":
        with reading(file):
            weights = tested_weights(weights)
    weights = state_dict(weights, str(file))
    try:
        with reading("the model cannot be read"):
            check_shapes(build, info, weights)
            model = build(info)
            load_tensors(model, weights)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return model.eval(), info


def check_shapes(build: Callable[[Info], nn.Module], info: Info, weights: dict[str, torch.Tensor]) -> None:
    """Compares the weights with the shapes in the description, without making tensors of those shapes.

    Raises:
        UserError: they differ; the message says where.
    """
    with torch.device("meta"):
        try:
            wanted = build(info).state_dict()
        except (NotImplementedError, RuntimeError) as error:
            if "meta" not in str(error):
                raise
            return  # some networks of timm compute while they are built
    for name, tensor in wanted.items():  # frozen statistics count no batches
        if name.endswith(COUNTED) and name not in weights:
            weights[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
    if odd := sorted(wanted.keys() ^ weights.keys()):
        raise UserError(f"config.json and weights differ: {odd[0][:100]} is in one of them only")
    for name, tensor in wanted.items():
        if tensor.shape != weights[name].shape:
            shapes = f"{list(weights[name].shape)}, not {list(tensor.shape)}"
            raise UserError(f"config.json and weights differ: {name[:100]} is {shapes}")
