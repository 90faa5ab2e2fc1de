"""The weights files of the extractors: where they are, and whether they are whole."""

import contextlib
import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch_fidelity import feature_extractor_clip, feature_extractor_inceptionv3, sample_similarity_lpips

from recipes.core.foreign import read_tensors, state_dict
from recipes.core.runtime import UserError


@dataclass(frozen=True)
class Published:
    """A weights file that can be downloaded.

    Attributes:
        url: where it is.
        name: what torch.hub calls it on disk.
        sha256: its hash, or how that begins; "" if it was not published.
        script: it is TorchScript, not a dict of tensors.
        download: fetch it where it is missing; else it has to be given.
    """

    url: str
    name: str
    sha256: str = ""
    script: bool = False
    download: bool = True


def _table() -> dict[str, Published]:
    torchvision = "https://download.pytorch.org/models/"
    inception, heads = feature_extractor_inceptionv3.URL_INCEPTION_V3, sample_similarity_lpips.URL_VGG16_LPIPS
    table = {
        "inception-v3-compat": Published(inception, inception.rpartition("/")[2], "6726825d"),
        "vgg16": Published(f"{torchvision}vgg16-397923af.pth", "vgg16-397923af.pth", "397923af"),
        "lpips-vgg16": Published(heads, heads.rpartition("/")[2]),
        "mobilenet-v2": Published(
            f"{torchvision}mobilenet_v2-b0353104.pth", "mobilenet_v2-b0353104.pth", "b0353104", download=False
        ),
    }
    for name, url in feature_extractor_clip.MODEL_URLS.items():
        sha256 = feature_extractor_clip.MODEL_METADATA[name]["hash"]
        table[name] = Published(url, f"{name}-{sha256}.pt", sha256, script=True)
    for size in "sblg":
        stored = f"dinov2_vit{size}14_pretrain.pth"
        table[f"dinov2-vit-{size}-14"] = Published(
            f"https://dl.fbaipublicfiles.com/dinov2/dinov2_vit{size}14/{stored}", stored
        )
    return table


PUBLISHED = _table()
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth?$")  # torch.hub's convention


@dataclass(frozen=True)
class Weights:
    """A weights file on disk, checked.

    Attributes:
        official: its hash is the published one; None if none was published.
    """

    path: Path
    sha256: str
    official: bool | None


def given_path(name: str, options: dict[str, Any], only: bool) -> Path | None:
    """The file that the options name for an extractor; with `only`, `feature_extractor_weights_path` is meant too."""
    path = options["weights"].get(name)
    if path is None and only:
        path = options["feature_extractor_weights_path"]
    return None if path is None else Path(path)


def obtain(name: str, given: Path | None) -> Weights:
    """Finds the weights of an extractor, downloads them where nothing was given, and checks them.

    Raises:
        UserError: the file is missing, damaged, cannot be fetched, or is not a file of tensors.
    """
    published = PUBLISHED[name]
    path = given or Path(torch.hub.get_dir(), "checkpoints", published.name)
    if given is not None and not given.is_file():
        raise UserError(f"the weights of {name}: there is no file {given}")
    if not path.is_file():
        help_ = f"get {published.url} and give it as --weights {name}={published.name}"
        if not published.download:
            raise UserError(f"{name} needs its weights (sha256 {published.sha256}…): {help_}")
        _download(name, published, path, help_)
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    in_name = HASH_IN_NAME.search(path.name)
    expected = in_name[1] if in_name else published.sha256 if given is None else ""
    if not sha256.startswith(expected):
        raise UserError(f"{path} is damaged: its sha256 is {sha256}, not {expected}…; fetch it again from {published.url}")
    if not published.script:
        _check_tensors(path)
    official = sha256.startswith(published.sha256) if published.sha256 else None
    return Weights(path, sha256, official)


def _download(name: str, published: Published, path: Path, help_: str) -> None:
    print(f"downloading the weights of {name} from {published.url} to {path}", file=sys.stderr, flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        prefix = published.sha256[:8] or None
        torch.hub.download_url_to_file(published.url, str(path), prefix, progress=sys.stderr.isatty())
    except Exception as error:  # URLError, HTTPException, RuntimeError of a wrong hash, …
        raise UserError(f"the weights of {name} cannot be downloaded ({error}): {help_}") from error


def _check_tensors(path: Path) -> None:
    """torch-fidelity unpickles weights without a guard; a file that passes here names nothing but tensors.

    Raises:
        UserError: it holds something else.
    """
    state_dict(read_tensors(path, f"{path} is not a dict of tensors as torch.save writes it"), str(path))


@contextlib.contextmanager
def in_hub(files: dict[str, Path]) -> Iterator[None]:
    """Lets torch.hub find files of other places under their published names, for code that asks the hub only.

    Args:
        files: name of the extractor -> its weights.
    """
    hub = Path(torch.hub.get_dir())
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Path(folder, "checkpoints")
        checkpoints.mkdir()
        for name, path in files.items():
            _link(checkpoints / PUBLISHED[name].name, path)
        for entry in hub.iterdir() if hub.is_dir() else ():  # the code of DINOv2, where it is cached
            if entry.name != "checkpoints":
                _link(Path(folder, entry.name), entry)
        torch.hub.set_dir(folder)
        try:
            yield
        finally:
            torch.hub.set_dir(hub)


def _link(place: Path, target: Path) -> None:
    """Makes a file or folder stand at another place, too: as a copy if this user may make no links, as on Windows."""
    try:
        place.symlink_to(target.resolve())
    except OSError:
        (shutil.copytree if target.is_dir() else shutil.copy)(target, place)
