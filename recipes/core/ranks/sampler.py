"""The order of samples, and their distribution over ranks."""

from collections.abc import Iterator, Sized

import numpy as np
from torch.utils.data import DistributedSampler

from recipes.core.ranks.random_numbers import permutation


class StreamSampler(DistributedSampler):
    """A DistributedSampler over an endless stream: one permutation of the dataset after another.

    Position p of the stream is in epoch e = p // N and holds sample i = permutation(N, seed, e)[p % N]. It is given
    out as the index e * N + i, which encodes both, so an augmentation can depend on the epoch. Rank r of P takes
    the positions p with p % P == r: any P ranks that read B / P indices each read the same global batch of B samples,
    no sample is repeated or left out within an epoch, and a batch may cross from one epoch into the next.

    Args:
        dataset: something with a length.
        num_replicas, rank: P and r.
        seed: what the permutations depend on.
        start: the first position, counted over all ranks.
        stop: the position to stop before; None ends with the epoch of `start`.
        classes: int64 (N,), the class of each sample, to have all of them equally often, see `balanced`; None for every sample
            once an epoch.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int,
        rank: int,
        seed: int = 0,
        start: int = 0,
        stop: int | None = None,
        classes: np.ndarray | None = None,
    ):
        super().__init__(
            dataset,  # type: ignore[arg-type] # torch only asks for its length
            num_replicas=num_replicas,
            rank=rank,
            shuffle=True,
            seed=seed,
        )
        self.size = len(dataset)
        self.start = start
        self.stop = stop
        self.classes = classes

    def set_epoch(self, epoch: int) -> None:
        """Starts at the beginning of this epoch."""
        super().set_epoch(epoch)
        self.start = epoch * self.size

    def _range(self) -> range:
        stop = self.stop if self.stop is not None else (self.start // self.size + 1) * self.size
        first = self.start + (self.rank - self.start) % self.num_replicas
        return range(first, stop, self.num_replicas)

    def __len__(self) -> int:
        return len(self._range())

    def __iter__(self) -> Iterator[int]:
        size, epoch, order = self.size, 0, None
        for position in self._range():
            if order is None or position // size != epoch:
                epoch = position // size
                if self.classes is None:
                    order = permutation(size, self.seed, epoch)
                else:
                    order = balanced(self.classes, self.seed, epoch)
            yield epoch * size + int(order[position % size])


def balanced(classes: np.ndarray, *keys: int) -> np.ndarray:
    """As many samples as there are, int64 (N,), in an order that depends on `keys` alone: each class is there equally often, give
    or take one, and its samples equally often within it, give or take one.
    """
    present = np.unique(classes)
    share, more = divmod(len(classes), len(present))
    chosen = []
    for place, number in enumerate(permutation(len(present), *keys, 0).tolist()):
        members = np.flatnonzero(classes == present[number])
        wanted = share + (place < more)
        rounds = range(-(-wanted // len(members)))
        order = [permutation(len(members), *keys, 1, number, time) for time in rounds]
        chosen.append(members[np.concatenate(order)[:wanted]] if order else members[:0])
    together = np.concatenate(chosen)
    return together[permutation(len(together), *keys, 2)]
