"""Requests to stop: a signal, or the loss of the launcher, received at once, even while the main thread waits or computes.

The recipes listen before their imports, which take seconds, so this file imports nothing slow.
"""

import atexit
import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
INTERRUPTED = 75  # exit status of a run that was asked to stop and can be resumed: EX_TEMPFAIL of sysexits.h
AT_ONCE = 128 + signal.SIGINT  # exit status after a second Ctrl-C
ONE_WISH = 1.0  # seconds: signals this close are one request, as a launcher repeats what the terminal has sent
GRACE = 30.0  # seconds in which a process without a launcher must end by itself; torchrun waits as long
ACCELERATE = "ACCELERATE_DYNAMO_MODE"  # a variable that accelerate launch sets for each process, and people do not
LAUNCHED = ("TORCHELASTIC_RUN_ID", ACCELERATE)


class Listener(threading.Thread):
    """Receives the signals of this process, and notices when its launcher is gone.

    Python calls signal handlers in the main thread, between two of its instructions, so never while it waits for another
    rank. This thread reads the numbers of the signals from a socket as soon as they arrive.

    Attributes:
        asked: this process was asked to stop.
        wish: what a request does: "leave" ends the process, "raise" raises a KeyboardInterrupt in the main thread, and
            "note" does nothing, as a loop looks at `asked`. "fail" ends a process that has failed before it reports it:
            the launcher ends all processes once one has failed.
    """

    def __init__(self):
        super().__init__(name="signals", daemon=True)
        self.asked, self.wish, self.raised = False, "leave", False
        self.launcher = os.getppid() if any(name in os.environ for name in LAUNCHED) else None
        self.reader, self.writer = socket.socketpair()
        self.writer.setblocking(False)
        signal.set_wakeup_fd(self.writer.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._handle)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self.wish == "raise" and not self.raised:
            self.raised = True  # only once: nothing interrupts the shutdown
            raise KeyboardInterrupt

    def run(self) -> None:
        pressed = deadline = None
        while True:
            heard = self.reader.recv(4096) if select.select([self.reader], [], [], 1.0)[0] else b""
            now = time.monotonic()
            if set(heard) & set(SIGNALS):
                if self.wish == "leave":
                    leave(INTERRUPTED, STOPPED)
                if self.wish == "fail":
                    leave(1)
                if self.wish == "raise":
                    deadline = deadline or now + GRACE
            if signal.SIGINT in heard:
                if pressed is not None and now - pressed > ONE_WISH:
                    leave(AT_ONCE, "stopped at once")
                pressed = pressed or now
            if self.launcher not in (None, os.getppid()):
                self.launcher, deadline = None, now + GRACE
                signal.raise_signal(signal.SIGTERM)
            if deadline is not None and now > deadline:
                leave(INTERRUPTED, f"ended, because it could not stop within {GRACE:.0f} seconds")


STOPPED = "stopped; the same command starts it again"
_listener: Listener | None = None


def listen() -> Listener:
    """The listener of this process, which the main thread creates."""
    global _listener
    if _listener is None:
        _listener = Listener()
        _listener.start()
        atexit.register(_ignore)
    return _listener


def _ignore() -> None:
    """Ignores signals while the process ends: Python drops its handlers before the process is gone, but not SIG_IGN."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """In this context, a request to stop is a KeyboardInterrupt, in a process that listens; so is any failure it causes."""
    listener = _listener
    if listener is None:
        yield
        return
    listener.wish, failed = "raise", False
    try:
        yield
    except Exception:
        if listener.wish == "raise" and listener.asked:
            raise KeyboardInterrupt from None
        failed = True
        raise
    finally:
        listener.wish = "fail" if failed else "note"


def leave(status: int, message: str = "") -> None:
    """Ends the process without waiting for anything; the main process prints a last line."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # it may be closed, or be writing just now
        sys.stdout.flush()
    if message and int(os.environ.get("RANK", 0)) == 0:
        with contextlib.suppress(OSError):
            os.write(2, f"\n{os.path.basename(sys.argv[0])}: {message}\n".encode())
    os._exit(status)


def _forget() -> None:
    """Restores the default handlers in a forked child, so that signals end it."""
    global _listener
    _listener = None
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Signals wait in this context, and processes started in it ignore them until they `unblock`."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock() -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
