"""Published weights files: fetched once, resumed, verified, and kept where other programs look for them.

A file at a URL is kept in torch.hub's folder, one from the Hub in the Hub's cache. Processes that want the same file wait
for the first of them, and a file that is already there is used without a request.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import torch
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

from dataset_scripts.core.builders.download import Source, download
from dataset_scripts.core.publish.hub import fault_of
from recipes.core.errors import UserError

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth?$")  # torch.hub's convention
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Weights:
    """A weights file on disk.

    Attributes:
        official: its hash is the published one; None if none was published.
    """

    path: Path
    sha256: str
    official: bool | None


def examine(path: Path, expected: str = "") -> Weights:
    """Reads the hash of a file.

    Args:
        expected: the published sha256, or the beginning of it; "" if none was published.
    """
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Weights(path, sha256, sha256.startswith(expected) if expected else None)


@dataclass(frozen=True)
class AtUrl:
    """A weights file at a URL.

    Attributes:
        url: where it is.
        name: what torch.hub calls it on disk.
        sha256: its hash, or the beginning of it; "" if it was not published.
    """

    url: str
    name: str
    sha256: str = ""

    @classmethod
    def named(cls, url: str) -> "AtUrl":
        """A file whose name on disk, and the hash in it, are those in the URL."""
        name = url.rpartition("/")[2]
        in_name = HASH_IN_NAME.search(name)
        return cls(url, name, in_name[1] if in_name else "")

    def obtain(self) -> Weights:
        """The file, found in torch.hub's folder or fetched into it.

        Raises:
            DataError: it could not be fetched; the message has its address and the path where it is expected.
        """
        folder = Path(torch.hub.get_dir(), "checkpoints")
        path = folder / self.name
        by_hand = f"get {self.url} and put it at {path}"
        if not huggingface_hub.constants.HF_HUB_OFFLINE:
            source = Source(self.name, (self.url,), digest=self.sha256 and f"sha256:{self.sha256}" or None)
            download(source, folder, f"Otherwise, {by_hand}")
        elif not path.is_file():
            raise UserError(f"{self.name} is not on this machine, and HF_HUB_OFFLINE is set: unset it, or {by_hand}")
        weights = examine(path, self.sha256)
        if weights.official is False:
            raise UserError(f"{path} is damaged: its sha256 is {weights.sha256}, not {self.sha256}…; {by_hand}")
        return weights


@dataclass(frozen=True)
class OnHub:
    """A weights file of a model on the Hub.

    Attributes:
        repo: USER/NAME.
        revision: the branch, tag or commit; None for main.
        names: possible names of the file; the first that exists is used.
    """

    repo: str
    revision: str | None = None
    names: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")

    def obtain(self) -> Weights:
        """The file, found in the Hub's cache or fetched into it.

        Raises:
            UserError: it could not be fetched; the message has its address and the path where it is expected.
        """
        weights = self._cached()
        if weights is None or weights.official is False:
            weights = self._fetch(again=weights is not None)
        if weights.official is False:
            weights.path.resolve().unlink()
            raise UserError(
                f"{self.repo}: {weights.path.name} arrived damaged, with the sha256 {weights.sha256}: try again"
            )
        return weights

    def _cached(self) -> Weights | None:
        for name in self.names:
            path = huggingface_hub.try_to_load_from_cache(self.repo, name, revision=self.revision)
            if isinstance(path, str):
                return _examine_cached(Path(path))
        return None

    def _fetch(self, again: bool) -> Weights:
        try:
            for name in self.names:
                try:
                    path = huggingface_hub.hf_hub_download(
                        self.repo, name, revision=self.revision, force_download=again
                    )
                except RemoteEntryNotFoundError:
                    continue
                return _examine_cached(Path(path))
        except (*HfHubHTTPError.__bases__, RuntimeError, ValueError) as error:
            constants = huggingface_hub.constants
            place = Path(constants.HF_HUB_CACHE, f"models--{self.repo.replace('/', '--')}")
            raise UserError(
                f"{constants.ENDPOINT}/{self.repo} could not be fetched ({fault_of(error, constants.ENDPOINT)}). "
                f"Otherwise, run `hf download {self.repo} {self.names[0]}` where the Hub can be reached, and copy "
                f"{place.name} to {place}"
            ) from error
        raise UserError(f"{self.repo} on the Hub holds no weights: it has none of {', '.join(self.names)}")


def _examine_cached(path: Path) -> Weights:
    """A file of the Hub's cache, in which a large file is a link to one whose name is its sha256."""
    stored = path.resolve().name
    return examine(path, stored if SHA256.fullmatch(stored) else "")
