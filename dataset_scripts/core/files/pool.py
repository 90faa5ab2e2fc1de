"""Files that stay open between reads: only some of them, as thousands of archives would exceed the open-file limit."""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dataset_scripts.core.files.system import after_fork_in_child

LIMIT = 32  # files that stay open in a process


class Pool:
    """Lends each owner its open file, to one thread at a time; the files that were used least recently are closed.

    An owner that asks while its file is lent gets another one. A file whose owner is gone is closed, and so is one
    whose use raised an error, as its position is unknown.
    """

    def __init__(self, limit: int = LIMIT):
        self.limit = limit
        self.forget()

    def forget(self) -> None:
        """Drops all files: a forked process must not move the positions that it shares with its parent."""
        self.lock = threading.Lock()
        # owner -> file, the least recently used first
        self.idle: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    @contextmanager
    def lend(self, owner: Any, open_file: Callable[[], Any]) -> Iterator[Any]:
        """The owner's file, opened by `open_file` unless it is open; it must have a `close()`."""
        with self.lock:
            file = self.idle.pop(owner, None)
        if file is None:
            file = open_file()
        try:
            yield file
        except BaseException:
            file.close()
            raise
        surplus = []
        with self.lock:
            surplus.append(self.idle.pop(owner, None))
            self.idle[owner] = file
            while len(self.idle) > self.limit:
                surplus.append(self.idle.pop(next(self.idle.keys()), None))
        for other in filter(None, surplus):
            other.close()


POOL = Pool()
after_fork_in_child(POOL.forget)
