"""Communication between the processes."""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState

from recipes.core.errors import UserError
from recipes.core.ranks import environment
from recipes.core.ranks.reduce import from_main, sendable

PATIENCE = timedelta(days=7)  # the others wait while one process computes distances, which takes long


class Ranks:
    """The processes of this run.

    Attributes:
        rank, world: this process, and how many there are.
        main: this process computes the metrics.
        device: where the extractor runs.
    """

    def __init__(self, cuda: bool):
        if fault := environment.fault_of(os.environ):
            raise UserError(fault)
        self.state = PartialState(cpu=not (cuda and torch.accelerator.is_available()))
        self.rank, self.world, self.main = (
            self.state.process_index,
            self.state.num_processes,
            self.state.is_main_process,
        )
        self.device = self.state.device if cuda else torch.device("cpu")
        # Its own group: gloo passes objects without a GPU, and a group's patience is fixed when it is made.
        self.group = dist.new_group(backend="gloo", timeout=PATIENCE) if self.world > 1 else None

    def close(self) -> None:
        if self.group is not None:
            dist.destroy_process_group(self.group)

    def on_main(self, compute: Callable[[], Any]) -> Any:
        """The result of the main process, there; None on the others. An error is raised on all, so none waits for it."""
        return self._where(self.main, compute)

    def _where(self, is_mine: bool, compute: Callable[[], Any]) -> Any:
        """The result on the processes that compute; None on the others, which wait and get an error too."""
        result, error = None, None
        if is_mine:
            try:
                result = compute()
            except Exception as caught:
                error = caught
        self.all_done(error)
        return result

    def share(self, compute: Callable[[], Any]) -> Any:
        """The result of the main process, on every process; an error too."""
        return from_main(compute, self.group)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        if self.world == 1:
            return [value]
        values = [None] * self.world
        dist.all_gather_object(values, value, group=self.group)
        return values

    def wait(self) -> None:
        self.gather(None)

    def all_done(self, error: Exception | None) -> None:
        """Raises the first error of any process on all of them."""
        errors = [other for other in self.gather(error and sendable(error)) if other is not None]
        if error is not None:
            raise error
        if errors:
            raise errors[0]

    def first_of_machine(self, compute: Callable[[], Any]) -> Any:
        """Computes on one process of each machine, then on the others, which find the files that the first has fetched."""
        is_first = self.state.is_local_main_process
        first, other = self._where(is_first, compute), self._where(not is_first, compute)
        return first if is_first else other

    def same(self, value: Any, what: str) -> Any:
        """Checks that all processes have the same value.

        Raises:
            UserError: they differ, which means that machines hold different files.
        """
        for rank, other in enumerate(self.gather(value)):
            if other != value:
                raise UserError(f"{what} of process {rank} and of process {self.rank} differ: {other} and {value}")
        return value


@contextlib.contextmanager
def ranks_of(cuda: bool) -> Iterator[Ranks]:
    """The processes, and a process group that is removed afterwards."""
    ranks = Ranks(cuda)
    yield ranks
    ranks.wait()  # none leaves before all have read the last message
    ranks.close()
