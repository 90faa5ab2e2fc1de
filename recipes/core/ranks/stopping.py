"""Stopping a training between two steps, the same ones on all ranks; and data workers that leave stopping to their parent."""

import atexit
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from recipes.core.ranks.signals import SIGNALS, blocked, listen, unblock


class Interruption:
    """The request to stop, on which all ranks agree at the same step. Once this exists, a request interrupts nothing.

    At each step a reduction tells the ranks whether one of them was asked; its result is read a step later, so none waits
    for it.
    """

    def __init__(self):
        self.listener = listen()
        self.listener.wish = "note"
        self.pending: tuple[torch.Tensor, dist.Work] | None = None

    def agreed(self) -> bool:
        """Whether to stop; the same on every rank that calls this at the same steps."""
        state = PartialState()
        if state.num_processes == 1:
            return self.listener.asked
        before = self.result()
        flag = torch.tensor([int(self.listener.asked)], device=state.device)
        self.pending = (flag, dist.all_reduce(flag, dist.ReduceOp.MAX, async_op=True))
        return before

    def result(self) -> bool:
        """The result of the last reduction, after waiting for it."""
        if self.pending is None:
            return False
        flag, work = self.pending
        work.wait()
        return bool(flag)


class Loader(DataLoader):
    """A DataLoader whose workers survive a signal to the whole group, so this process can save, but never outlive it."""

    def __init__(self, dataset: Dataset, **options: Any):
        super().__init__(dataset, worker_init_fn=follow_parent, **options)

    def check_worker_number_rationality(self) -> None:
        """Does not compare the workers with the cores, as DataLoader does: the log shows how long training waits for data."""

    def __iter__(self) -> _BaseDataLoaderIter:
        with blocked():  # torch gives a new worker a handler of its own, before it calls `follow_parent`
            return super().__iter__()


def follow_parent(worker: int) -> None:
    """Makes a worker ignore the signals that ask to stop, and ends it with its parent, however the parent ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    unblock()
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


@atexit.register  # before multiprocessing's own, which ends workers by SIGTERM and then waits for them
def _end_workers() -> None:
    workers = [process for process in multiprocessing.active_children() if process.daemon]
    if workers and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would call a killed worker an error
    for process in workers:
        with contextlib.suppress(OSError):
            process.kill()
