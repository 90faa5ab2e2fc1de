"""The batches of a rank, for evaluation."""

from collections.abc import Iterator

import torch
from accelerate import Accelerator

from recipes.core.data.images import Images
from recipes.core.data.scenes import Scenes
from recipes.core.ranks.stopping import Loader


def deal(
    accelerator: Accelerator, images: Images | Scenes, batch: int, workers: int
) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
    """The batches of this rank, and their rows.

    The set is cut into batches of fixed content, and batch b goes to rank b modulo P. Nothing is padded or repeated, and
    some ranks may get no batch.
    """
    starts = range(accelerator.process_index * batch, len(images), accelerator.num_processes * batch)
    mine = [list(range(start, min(start + batch, len(images)))) for start in starts]
    loader = Loader(images, sampler=mine, batch_size=None, num_workers=0 if images.in_memory else workers)
    return zip(mine, loader)
