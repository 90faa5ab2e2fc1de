"""Features on disk: shards while they are computed, then one file."""

import hashlib
import json
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from dataset_scripts.core.files.disk import writing
from dataset_scripts.core.files.replace import tidy, write_file
from recipes.core.errors import UserError

WHOLE = "features.safetensors"


def default_root() -> Path:
    """The cache folder that torch-fidelity also uses."""
    return Path(torch.hub.get_dir()).parent / "fidelity_cache"


class Store:
    """The folder of the features that one key describes.

    Args:
        root: the folder of all caches; every process must see it.
        key: everything that the features depend on. None: the features are stored in `folder`, and not kept.
    """

    def __init__(self, root: Path, key: dict[str, Any] | None, folder: Path | None = None):
        self.key = json.dumps(key, sort_keys=True)
        self.kept = key is not None
        self.folder = folder or root / hashlib.sha256(self.key.encode()).hexdigest()[:32]

    @property
    def complete(self) -> bool:
        return self.kept and (self.folder / WHOLE).is_file()

    def read(self) -> dict[str, torch.Tensor]:
        """The features of all images by layer, (n, d).

        Raises:
            UserError: the file is damaged, or is not the requested one.
        """
        path = self.folder / WHOLE
        try:
            with safe_open(path, "pt") as file:
                if (file.metadata() or {}).get("key") != self.key:
                    raise UserError(f"{path} belongs to other data: delete it")
                return {layer: file.get_tensor(layer) for layer in file.keys()}
        except SafetensorError as error:
            raise UserError(f"{path} is damaged ({error}): delete it") from error

    def batches(self) -> set[int]:
        """The batches whose features are stored."""
        return {number for _, numbers in self._shards() for number in numbers}

    def write(self, features: dict[int, dict[str, torch.Tensor]]) -> None:
        """Stores the features of some batches: number of the batch -> layer -> (B, d)."""
        tensors = {f"{number}/{layer}": value for number, layers in features.items() for layer, value in layers.items()}
        if tensors:
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            _save(tensors, self.folder / f"shard-{uuid.uuid4().hex}.safetensors", self.key)

    def merge(self, batches: int, count: int) -> dict[str, torch.Tensor]:
        """Joins the shards in the order of the batches, stores the result and deletes the shards.

        Raises:
            UserError: batches are missing, because another process wrote them to a folder that this one does not see.
        """
        parts: dict[int, dict[str, torch.Tensor]] = {}
        shards = self._shards()
        for path, _numbers in shards:
            with safe_open(path, "pt") as file:
                for name in file.keys():
                    number, _, layer = name.partition("/")
                    parts.setdefault(int(number), {})[layer] = file.get_tensor(name)
        missing = [number for number in range(batches) if number not in parts]
        if missing:
            raise UserError(
                f"{len(missing)} of {batches} batches are not in {self.folder}: all processes need to see the same "
                "cache_root"
            )
        whole = {layer: torch.cat([parts[number][layer] for number in range(batches)]) for layer in parts[0]}
        for layer, value in whole.items():
            if len(value) != count:
                raise UserError(f"{self.folder} holds {len(value)} features {layer} for {count} images: delete it")
        if self.kept:
            _save(whole, self.folder / WHOLE, self.key)
            for path, _ in shards:
                path.unlink(missing_ok=True)
            tidy(self.folder)
        return whole

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _shards(self) -> list[tuple[Path, set[int]]]:
        shards = []
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            try:
                with safe_open(path, "pt") as file:
                    if (file.metadata() or {}).get("key") == self.key:
                        shards.append((path, {int(name.partition("/")[0]) for name in file.keys()}))
            except SafetensorError:  # cut off by a full disk or a crash of the machine: its batches are computed again
                path.unlink(missing_ok=True)
        return shards


def temporary(root: Path) -> Path:
    """A folder for features that are not kept."""
    root.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="run-", dir=root))


def _save(tensors: dict[str, torch.Tensor], path: Path, key: str) -> None:
    write_file(
        path, safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()}, {"key": key})
    )
