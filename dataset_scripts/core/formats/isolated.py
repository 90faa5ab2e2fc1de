"""Runs parsers written in C in a separate process, as damaged files can make them crash, hang or fill the memory.

`call` runs a function of a Python file that imports nothing from this package, so that the process starts in a fraction
of a second. It starts at the first call, stays for the next ones, and ends with its parent. A forked process, such as a
DataLoader worker, starts its own. They talk through plain pipes, which daemonic processes may use, too.

Requests are JSON; replies are JSON or one array, whose bytes follow unchanged.

On every system, a crash ends only that process, and a call that does not answer is ended. Linux also limits processor
time and memory, and macOS the time. Windows limits neither: there, a damaged file may fill the memory, or take WAIT times
as long until the call is given up.
"""

import atexit
import contextlib
import importlib.util
import io
import json
import math
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

try:
    import fcntl
    import resource
except ImportError:  # Windows
    fcntl = resource = None  # type: ignore[assignment] # mypy has no type for a module that may be None

SECONDS = 10  # of CPU time for a call, plus one for each PACE bytes
PACE = 5 << 20
WAIT = 20  # times as long until a call that uses no CPU is given up, as on a disk that does not answer
MEMORY = 1 << 30  # bytes that a call may use in addition to its data; libraries map more than they use
PIPE = 1 << 20  # bytes
KINDS = "biufSU"  # of arrays that can be returned
ENVIRONMENT = {  # keeps memory between blocks of equal size: to give it back would take longer than to decompress them
    "MALLOC_MMAP_THRESHOLD_": str(1 << 28),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 29),
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve a gigabyte, which counts against the limit
}


class Crash(Exception):
    """The process ended, or was ended, before the call had a result."""


class _Child:
    def __init__(self):
        self.late = False
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            bufsize=0,  # so that a fork never copies half a message
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        requests, replies = self.process.stdin, self.process.stdout
        assert isinstance(requests, io.FileIO) and isinstance(replies, io.FileIO)  # without buffers
        self.requests, self.replies = requests, replies
        with contextlib.suppress(OSError, AttributeError):  # only Linux has it
            fcntl.fcntl(replies, fcntl.F_SETPIPE_SZ, PIPE)

    def call(self, request: dict, seconds: float) -> Any:
        patience = threading.Timer(seconds * WAIT, self.give_up)  # Windows waits for sockets, not for pipes
        patience.daemon = True
        patience.start()
        try:
            message = memoryview(json.dumps(request).encode() + b"\n")
            while message:
                message = message[self.requests.write(message) :]
            reply = json.loads(bytes(self.receive(int.from_bytes(self.receive(8), "little"))))
            if "array" not in reply:
                return reply
            dtype, shape, order = reply["array"]
            content = self.receive(math.prod(shape) * np.dtype(dtype).itemsize)
            return np.frombuffer(content, dtype).reshape(shape, order=order) if content else np.empty(shape, dtype)
        except (OSError, EOFError) as error:
            raise Crash(
                f"it gave no answer in {seconds * WAIT:.0f} seconds" if self.late else self.ended(seconds)
            ) from error
        finally:
            patience.cancel()

    def give_up(self) -> None:
        self.late = True
        self.process.kill()

    def receive(self, size: int) -> memoryview:
        content, at = np.empty(size, np.uint8).data, 0
        while at < size:
            count = self.replies.readinto(content[at:])
            if not count:
                raise EOFError
            at += count
        return content

    def ended(self, seconds: float) -> str:
        status = self.process.wait()
        if hasattr(signal, "SIGXCPU") and status == -signal.SIGXCPU:
            return f"it takes longer than {seconds:.0f} seconds"
        return f"it makes the parser crash ({signal.Signals(-status).name if status < 0 else f'status {status}'})"

    def close(self, kill: bool = True) -> None:
        """Ends the process; a fork of this process only closes its copies of the pipes."""
        if kill:
            self.process.kill()
        for pipe in (self.requests, self.replies):
            with contextlib.suppress(OSError):
                pipe.close()
        if kill:
            self.process.wait()


_child: _Child | None = None
_lock = threading.Lock()


def call(file: str, function: str, *arguments: Any, size: int = 0) -> Any:
    """Calls a function of a Python file with arguments that JSON can hold; returns an array, or what JSON can hold.

    Args:
        file: the Python file; it imports nothing from this package.
        size: bytes of the data that the call handles; they add to its limits of time and memory.

    Raises:
        Crash: it took too long, or the process died.
        ImportError: the file imports a library that is not installed.
        ValueError: what the function raised, in words.
    """
    global _child
    seconds = SECONDS + size / PACE
    request = {
        "file": file,
        "function": function,
        "arguments": arguments,
        "seconds": seconds,
        "memory": MEMORY + 3 * size,
    }
    with _lock:
        if _child is None:
            _child = _Child()
        try:
            reply = _child.call(request, seconds)
        except BaseException:  # also an interrupt: a late answer must not be taken for that of the next call
            _child.close()
            _child = None
            raise
    if isinstance(reply, np.ndarray):
        return reply
    if "missing" in reply:
        raise ImportError(reply["missing"])
    if "error" in reply:
        raise ValueError(reply["error"])
    return reply["value"]


def _forked() -> None:
    global _child, _lock
    _lock = threading.Lock()
    if _child is not None:
        _child.close(kill=False)
        _child.process.returncode = 0  # it is not a child of this process
        _child = None


def _end() -> None:
    global _child
    if _child is not None:
        _child.close()
        _child = None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)
atexit.register(_end)


class Shared:
    """Memory that the other process can also reach, as a file called `path`."""

    def __init__(self, size: int):
        if hasattr(os, "memfd_create"):
            self.file = open(os.memfd_create("shared"), "w+b", buffering=0)
            self.path = f"/proc/{os.getpid()}/fd/{self.file.fileno()}"
        else:  # a file that another process can open by name, which Windows refuses for a NamedTemporaryFile
            descriptor, self.path = tempfile.mkstemp()
            self.file = open(descriptor, "w+b", buffering=0)
            weakref.finalize(self, _delete, self.path, os.getpid())
        self.file.truncate(size)
        self.map = mmap.mmap(self.file.fileno(), size)


_left: set[str] = set()  # files of Shared that Windows did not delete, as they were open


def _delete(path: str, process: int) -> None:
    if process == os.getpid():  # not in a fork of the process whose file it is
        _left.add(path)
    for left in list(_left):
        with contextlib.suppress(OSError):
            os.unlink(left)
            _left.discard(left)


def reachable(files: Any, path: str) -> tuple[str, Shared | None]:
    """The path by which the other process opens a file of a listing, and what must be kept until then: a copy in memory
    if the file is in an archive, else None.
    """
    if files.locate(path)[0] is None:
        return os.path.abspath(files.local(path)), None
    content = files.read(path)
    copy = Shared(len(content))
    copy.map[:] = content
    return copy.path, copy


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answers calls until there are no more."""
    modules: dict[str, ModuleType] = {}
    for line in requests:
        request = json.loads(line)
        try:
            module = modules.get(request["file"]) or modules.setdefault(request["file"], _load(request["file"]))
            _limit(request["seconds"], request["memory"])
            header, content = _packed(getattr(module, request["function"])(*request["arguments"]))
            message = json.dumps(header)
        except ImportError as error:
            message, content = json.dumps({"missing": str(error)}), b""
        except MemoryError:
            message, content = json.dumps({"error": "it asks for more memory than it may have"}), b""
        except Exception as error:
            message, content = json.dumps({"error": f"{error}"[:1000] or type(error).__name__}), b""
        replies.write(len(message).to_bytes(8, "little") + message.encode())  # JSON is ASCII here
        replies.write(content)
        replies.flush()


def _packed(result: Any) -> tuple[dict, Any]:
    if not isinstance(result, np.ndarray):
        return {"value": result}, b""
    if result.dtype.kind not in KINDS:
        raise ValueError(f"it holds {result.dtype}, not numbers or text")
    order = "F" if result.flags.f_contiguous and not result.flags.c_contiguous else "C"
    content = np.ascontiguousarray(result.T if order == "F" else result).reshape(-1)
    return {"array": [result.dtype.str, result.shape, order]}, content.view(np.uint8) if content.size else b""


def _load(file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"isolated_{os.path.basename(file)[:-3]}", file)
    assert spec is not None and spec.loader is not None  # as its name ends in .py
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _limit(seconds: float, memory: int) -> None:
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _set(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds))
    with contextlib.suppress(OSError, ValueError):  # macOS does not limit it
        with open("/proc/self/statm", encoding="ascii") as file:
            mapped = int(file.read().split()[0]) * resource.getpagesize()
        _set(resource.RLIMIT_AS, mapped + memory)


def _set(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    channel = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not reach the pipe
    for name in {"SIGINT", "SIGTERM", "SIGUSR1"} & set(dir(signal)):
        signal.signal(getattr(signal, name), signal.SIG_IGN)  # the parent process decides
    serve(sys.stdin.buffer, open(channel, "wb"))
