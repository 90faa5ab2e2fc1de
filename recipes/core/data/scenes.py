"""Batches of whole images on a square canvas, with their boxes or masks."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.image.decode import decode_image
from dataset_scripts.core.image.objects import TOLERANCE
from recipes.core.config.data import SceneData
from recipes.core.config.scenes import Moves
from recipes.core.data.draws import SCENE
from recipes.core.data.images import to_8_bits
from recipes.core.data.place import Place
from recipes.core.data.splits import Part
from recipes.core.errors import UserError
from recipes.core.ranks.random_numbers import uniform

IGNORED = 255  # the id of pixels that belong to no class: in the masks of a batch, and, unless data.ignore says otherwise, in files
FIRST = 64  # images from which the memory for all is estimated
CROWD = (
    "iscrowd",
    "ignore",
    "difficult",
)  # any of these sets an object apart: not learned, and neither right nor wrong if found


class Scenes(Dataset):
    """Reads batches: `scenes[[i, j, …]]` decodes rows i, j, … and places each on a canvas of `data.size` pixels.

    An index e * N + i means row i in epoch e, see `StreamSampler`. The longer side of an image is as long as the canvas, unless
    `moves` change it; what is left free of it has the colour `data.mean`.

    Args:
        part: the rows, N of them.
        data: with everything that was found filled in.
        moves: None for evaluation.
        seed: the random numbers depend on it, on the epoch and on the row.

    Attributes:
        numbers: the row numbers for the user, int (N,).
        memory: the decoded images and targets, if all fit into `data.memory_gb`.

    Items:
        A dict of `indices`, int64 (B,), as they were given; `pixels`, uint8 (B, S, S, C); `draws`, float32 (B, D) in [0, 1);
        `sizes`, int64 (B, 2), width and height of each image; and what `targets` adds.

    Raises:
        DataError: an image or a target cannot be read; the message names it.
    """

    def __init__(self, part: Part, data: SceneData, moves: Moves | None = None, seed: int = 0, progress: bool = False):
        assert data.size and data.channels and data.mean  # `find_data` and `load_scenes` have filled them in
        self.rows = part.rows.select_columns([data.image, data.target]).with_format("arrow")
        self.numbers = np.arange(len(part)) if part.indices is None else part.indices
        self.data, self.moves, self.seed = data, moves, seed
        self.size, self.channels, self.fill = data.size, data.channels, round(255 * sum(data.mean) / len(data.mean))
        self.memory: list[tuple[PIL.Image.Image, Any]] | None = None
        if (first := [self._read(row) for row in range(min(FIRST, len(self)))]) and self._fits(first):
            rest = tqdm(
                range(len(first), len(self)), desc="decode", unit="image", leave=False, delay=1, disable=not progress
            )
            self.memory = first + [self._read(row) for row in rest]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def in_memory(self) -> bool:
        return self.memory is not None

    def name(self, row: int) -> str:
        """How messages call a row."""
        return f"row {self.numbers[row]}"

    def __getitem__(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        indices = np.array(indices, dtype=np.int64)
        epochs, rows = np.divmod(indices, len(self))
        draws = np.empty((len(rows), SCENE))
        for epoch in np.unique(epochs):
            draws[epochs == epoch] = uniform(rows[epochs == epoch], SCENE, self.seed, int(epoch))
        pixels = np.empty((len(rows), self.size, self.size, self.channels), np.uint8)
        places, targets = [], []
        for slot, row in enumerate(rows.tolist()):
            image, target = self.read(row)
            place = Place.of(image.width, image.height, self.size, self.moves, draws[slot])
            pixels[slot] = place.paint(image, self.fill).reshape(self.size, self.size, self.channels)
            places.append(place)
            targets.append(target)
        return {
            "indices": torch.from_numpy(indices),
            "pixels": torch.from_numpy(pixels),
            "draws": torch.from_numpy(draws).float(),
            "sizes": torch.tensor([(place.width, place.height) for place in places]).view(-1, 2),
            **self.targets(targets, places, rows),
        }

    def read(self, row: int) -> tuple[PIL.Image.Image, Any]:
        """The image, grey or RGB, and its target, as they are stored."""
        return self._read(row) if self.memory is None else self.memory[row]

    def _read(self, row: int) -> tuple[PIL.Image.Image, Any]:
        stored, name = self.rows[row], self.name(row)
        image = decode_image(stored[self.data.image][0].as_py(), name)
        return to_8_bits(image, self.channels, name), self.target(stored[self.data.target][0].as_py(), image.size, name)

    def _fits(self, first: list[tuple[PIL.Image.Image, Any]]) -> bool:
        size = sum(image.width * image.height * (self.channels + 1) for image, _ in first) / len(first)
        return size * len(self) <= self.data.memory_gb * 1e9

    @abstractmethod
    def target(self, stored: Any, size: tuple[int, int], name: str) -> Any:
        """The target of an image of `size` (width, height), from what its row holds."""

    @abstractmethod
    def targets(self, targets: list[Any], places: list[Place], rows: np.ndarray) -> dict[str, torch.Tensor]:
        """The targets of a batch, on the canvas."""


class Segmented(Scenes):
    """Images with masks of class ids.

    Items also have `masks`, uint8 (B, S, S): ids of K classes, IGNORED for pixels without a class and for padding.
    """

    def target(self, stored: Any, size: tuple[int, int], name: str) -> np.ndarray:
        """Ids uint8 (H, W), IGNORED for pixels without a class."""
        ids = np.asarray(decode_image(stored, f"{name}, column {self.data.target}"))
        if ids.ndim != 2 or ids.shape != size[::-1]:
            raise DataError(f"{name}: the mask is {ids.shape}, and its image {size[::-1]} (rows, columns)")
        outside = ids == self.data.ignore if self.data.ignore is not None else np.zeros(ids.shape, bool)
        if (beyond := ids[~outside].max(initial=0)) >= (self.data.classes or IGNORED):
            raise UserError(
                f"{self.data.path}, {name}: the mask has the id {beyond}, but there are {self.data.classes} classes: set "
                "data.classes to their number, or data.ignore to the id of pixels without a class"
            )
        return np.where(outside, IGNORED, ids).astype(np.uint8)

    def targets(self, targets: list[np.ndarray], places: list[Place], rows: np.ndarray) -> dict[str, torch.Tensor]:
        painted = [place.paint(PIL.Image.fromarray(ids), IGNORED, smooth=False) for place, ids in zip(places, targets)]
        return {"masks": torch.from_numpy(np.stack(painted))}


class Detected(Scenes):
    """Images with boxes.

    Items also have `boxes`, float32 (B, M, 4): left, top, right, bottom in pixels of the canvas; `categories`, int64 (B, M);
    and `crowd`, bool (B, M), objects that are not to be learned. M is the most that an image of the batch has; other
    images are filled up with boxes of category -1.
    """

    VISIBLE = 0.25  # of its area: a box of which less is left on the canvas is no object any more

    def target(self, stored: Any, size: tuple[int, int], name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes float64 (N, 4), left, top, right, bottom in pixels of the image; categories int64 (N,); crowd, bool (N,)."""
        stored = stored or {"bbox": [], "category": []}
        boxes = np.array(stored["bbox"], np.float64).reshape(-1, 4)
        categories = np.array(stored["category"], np.int64)
        if len(boxes) != len(categories):
            raise DataError(f"{name}: {len(boxes)} boxes, but {len(categories)} categories")
        crowd = np.zeros(len(boxes), bool)
        for flag in CROWD:
            if stored.get(flag) is not None:
                crowd |= np.array(stored[flag], bool)
        boxes[:, 2:] += boxes[:, :2]
        if not np.isfinite(boxes).all():
            raise DataError(f"{name}: a box is not finite")
        if (boxes[:, :2] < -TOLERANCE).any() or (boxes[:, 2:] > np.array(size) + TOLERANCE).any():
            raise DataError(
                f"{name}: a box reaches out of the image of {size[0]} x {size[1]} pixels; boxes are x, y, width, height in pixels"
            )
        return boxes, categories, crowd | (boxes[:, 2:] <= boxes[:, :2]).any(1)

    def targets(
        self, targets: list[tuple[np.ndarray, np.ndarray, np.ndarray]], places: list[Place], rows: np.ndarray
    ) -> dict[str, torch.Tensor]:
        most = max((len(boxes) for boxes, _, _ in targets), default=0)
        boxes = np.zeros((len(targets), most, 4), np.float32)
        categories = np.full((len(targets), most), -1, np.int64)
        crowd = np.zeros((len(targets), most), bool)
        for slot, (place, (given, kinds, apart)) in enumerate(zip(places, targets)):
            moved, share = place.move_boxes(given)
            seen = np.flatnonzero(share >= self.VISIBLE)
            boxes[slot, : len(seen)], categories[slot, : len(seen)] = moved[seen], kinds[seen]
            crowd[slot, : len(seen)] = apart[seen]
        return {
            "boxes": torch.from_numpy(boxes),
            "categories": torch.from_numpy(categories),
            "crowd": torch.from_numpy(crowd),
        }
