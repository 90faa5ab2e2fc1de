"""Runs Python scripts in forks of a process that has imported the libraries, which takes longer than a test.

conftest.py starts it, and requests each launch with a line of JSON on stdin: `words`, the script and its arguments;
`processes`, how many ranks; `env`, `cwd` and `timeout` in seconds; `output` and `errors`, the files for what they print;
`configured`, whether `env` differs in variables that datasets, huggingface_hub or accelerate read when they are imported,
so that the fork has to import them. The reply is a line with the exit status, 124 after the timeout. With `status`, a file
that is to hold it, the reply is the process id at once. As with torchrun, one rank that fails ends the others.
"""

import json
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Iterable
from typing import TextIO

import matplotlib.pyplot  # noqa: F401
import pandas  # noqa: F401
import pyarrow.dataset  # noqa: F401
import torch
import torch_fidelity  # noqa: F401
import torchvision  # noqa: F401

REST = 0.5  # seconds for the other ranks to report their errors, once one rank has failed


def begin(launch: dict) -> None:
    """Makes this process look like one that was started by a command."""
    os.setsid()
    for descriptor, path in ((0, os.devnull), (1, launch["output"]), (2, launch["errors"])):
        flags = os.O_RDWR if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(path, flags), descriptor)
    os.environ.clear()
    os.environ.update(launch["env"])
    os.chdir(launch["cwd"])
    sys.argv = launch["words"]
    sys.path[0] = os.path.dirname(sys.argv[0])


def lead(launch: dict) -> str | None:
    """Starts the ranks and waits for them; in a rank, returns the script to run."""
    begin(launch)
    if launch["processes"] == 1:
        return sys.argv[0]
    meeting = socket.create_server(("127.0.0.1", 0))
    world = str(launch["processes"])
    ranks = {}
    for rank in map(str, range(launch["processes"])):
        if (pid := os.fork()) == 0:
            os.environ.update(
                RANK=rank,
                LOCAL_RANK=rank,
                WORLD_SIZE=world,
                LOCAL_WORLD_SIZE=world,
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(meeting.getsockname()[1]),
                TORCHELASTIC_RUN_ID="none",
                TORCHELASTIC_USE_AGENT_STORE="True",
            )
            return sys.argv[0]
        ranks[pid] = rank
    store = torch.distributed.TCPStore(
        "127.0.0.1", meeting.getsockname()[1], is_master=True, wait_for_workers=False, master_listen_fd=meeting.detach()
    )
    failed = False
    while ranks:
        pid, status = os.wait()
        ranks.pop(pid)
        if status and not failed:
            failed = True
            time.sleep(REST)
            for other in ranks:
                os.kill(other, signal.SIGTERM)
    del store
    os._exit(int(failed))


def wait(pid: int, timeout: float) -> int:
    """The exit status of a launch, which is ended after the timeout."""
    end = time.monotonic() + timeout
    while True:
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(code)
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return 124
        time.sleep(0.005)


class Heir:
    """A fork of this process that imports the rest, and serves what does not depend on variables."""

    def __init__(self):
        to_read, self.to_write = os.pipe()
        from_read, from_write = os.pipe()
        self.is_here = os.fork() == 0
        if self.is_here:
            os.close(self.to_write)
            os.close(from_read)
            import accelerate  # noqa: F401
            import datasets  # noqa: F401
        else:
            os.close(to_read)
            os.close(from_write)
        self.requests = os.fdopen(to_read if self.is_here else self.to_write, "r" if self.is_here else "w")
        self.replies = os.fdopen(from_write if self.is_here else from_read, "w" if self.is_here else "r")

    def ask(self, line: str) -> str:
        print(line, end="", file=self.requests, flush=True)
        return self.replies.readline()


def serve(requests: Iterable[str], replies: TextIO, is_heir: bool = False) -> str | None:
    """Starts the requested launches; returns the script to run in the forks, and None at the end."""
    heir = None
    for line in requests:
        launch = json.loads(line)
        if not launch["configured"] and not is_heir:
            heir = heir or Heir()
            if heir.is_here:
                return serve(iter([line, *()]), heir.replies, True) or serve(heir.requests, heir.replies, True)
            replies.write(heir.ask(line))
        elif "status" in launch:
            pass
        replies.flush()
    return None
