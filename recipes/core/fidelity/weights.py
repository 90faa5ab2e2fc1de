"""The weights files of the extractors: where they are, and whether they are complete."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch_fidelity import feature_extractor_clip, feature_extractor_inceptionv3, sample_similarity_lpips

from dataset_scripts import DataError
from recipes.core.errors import UserError
from recipes.core.foreign import read_tensors, state_dict
from recipes.core.models.weights import HASH_IN_NAME, AtUrl, Weights, examine


def _table() -> dict[str, AtUrl]:
    torchvision = "https://download.pytorch.org/models/"
    inception, heads = feature_extractor_inceptionv3.URL_INCEPTION_V3, sample_similarity_lpips.URL_VGG16_LPIPS
    table = {
        "inception-v3-compat": AtUrl(inception, inception.rpartition("/")[2], "6726825d"),
        "vgg16": AtUrl.named(f"{torchvision}vgg16-397923af.pth"),
        "lpips-vgg16": AtUrl.named(heads),
        "mobilenet-v2": AtUrl.named(f"{torchvision}mobilenet_v2-b0353104.pth"),
    }
    for name, url in feature_extractor_clip.MODEL_URLS.items():
        sha256 = feature_extractor_clip.MODEL_METADATA[name]["hash"]
        table[name] = AtUrl(url, f"{name}-{sha256}.pt", sha256)
    for size in "sblg":
        stored = f"dinov2_vit{size}14_pretrain.pth"
        table[f"dinov2-vit-{size}-14"] = AtUrl.named(
            f"https://dl.fbaipublicfiles.com/dinov2/dinov2_vit{size}14/{stored}"
        )
    return table


PUBLISHED = _table()


def given_path(name: str, options: dict[str, Any], only: bool) -> Path | None:
    """The file that the options name for an extractor; with `only`, `feature_extractor_weights_path` counts too."""
    path = options["weights"].get(name)
    if path is None and only:
        path = options["feature_extractor_weights_path"]
    return None if path is None else Path(path)


def obtain(name: str, given: Path | None) -> Weights:
    """Finds the weights of an extractor, downloads them if none were given, and checks them.

    Raises:
        UserError: the file is missing, damaged, cannot be fetched, or is not a file of tensors.
    """
    published = PUBLISHED[name]
    if given is None:
        try:
            weights = published.obtain()
        except DataError as error:
            raise UserError(f"the weights of {name}: {error}, or give the file as --weights {name}=FILE") from error
    elif not given.is_file():
        raise UserError(f"the weights of {name}: there is no file {given}")
    else:
        weights = examine(given, published.sha256)
        in_name = HASH_IN_NAME.search(given.name)
        if in_name and not weights.sha256.startswith(in_name[1]):
            raise UserError(
                f"{given} is damaged: its sha256 is {weights.sha256}, not {in_name[1]}…; get it from {published.url}"
            )
    if name not in feature_extractor_clip.MODEL_URLS:  # which are TorchScript, not a dict of tensors
        _check_tensors(weights.path)
    return weights


def _check_tensors(path: Path) -> None:
    """torch-fidelity unpickles weights without protection; a file that passes this check names only tensors.

    Raises:
        UserError: it holds something else.
    """
    state_dict(read_tensors(path, f"{path} is not a dict of tensors as torch.save writes it"), str(path))


@contextlib.contextmanager
def in_hub(files: dict[str, Path]) -> Iterator[None]:
    """Lets torch.hub find files from other places under their published names, for code that only asks the hub.

    Args:
        files: name of the extractor -> its weights.
    """
    hub = Path(torch.hub.get_dir())
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Path(folder, "checkpoints")
        checkpoints.mkdir()
        for name, path in files.items():
            _link(checkpoints / PUBLISHED[name].name, path)
        for entry in hub.iterdir() if hub.is_dir() else ():  # the code of DINOv2, if it is cached
            if entry.name != "checkpoints":
                _link(Path(folder, entry.name), entry)
        torch.hub.set_dir(folder)
        try:
            yield
        finally:
            torch.hub.set_dir(hub)


def _link(place: Path, target: Path) -> None:
    """Makes a file or folder available at another place, too: as a copy if the user may not make links, as on Windows."""
    try:
        place.symlink_to(target.resolve())
    except OSError:
        (shutil.copytree if target.is_dir() else shutil.copy)(target, place)
