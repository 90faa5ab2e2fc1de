"""Runs Python scripts in forks of a process that has imported the libraries, which takes longer than a test.

conftest.py starts it, and requests each launch with a line of JSON on stdin: `words`, the script and its arguments;
`processes`, how many ranks; `env`, `cwd` and `timeout` in seconds; `output` and `errors`, the files for what they print;
`configured`, whether `env` differs in variables that datasets, huggingface_hub or accelerate read when they are imported,
so that the fork has to import them. The reply is a line with the exit status, 124 after the timeout. With `status`, a file
that is to hold it, the reply is the process id at once. As with torchrun, one rank that fails ends the others.
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys
import time
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


def start(launch: dict, replies: TextIO) -> str | None:
    """Starts a launch and replies; in the fork that runs the script, returns it."""
    if "status" not in launch:
        if (pid := os.fork()) == 0:
            return lead(launch)
        print(wait(pid, launch["timeout"]), file=replies, flush=True)
    elif os.fork() == 0:
        if (pid := os.fork()) == 0:
            return lead(launch)
        print(pid, file=replies, flush=True)
        status = wait(pid, launch["timeout"])
        with open(f"{launch['status']}.new", "w") as file:
            file.write(str(status))
        os.replace(file.name, launch["status"])
        os._exit(0)
    return None


def serve(requests: TextIO, replies: TextIO, rest: tuple[TextIO, TextIO] | None = None) -> str | None:
    """Starts the requested launches; returns the script to run in the forks, and None at the end.

    Args:
        rest: how to reach the process that has imported everything, which serves what needs no new imports.
    """
    gc.freeze()  # in forks, the collector passes over the libraries, whose pages it would copy
    for line in requests:
        launch = json.loads(line)
        if rest and not launch["configured"]:
            print(line, end="", file=rest[0], flush=True)
            print(rest[1].readline(), end="", file=replies, flush=True)
        elif script := start(launch, replies):
            return script
    return None


def serve_all() -> str | None:
    """Serves with two processes, one of which imports the rest."""
    (requests, to_rest), (from_rest, replies) = os.pipe(), os.pipe()
    if os.fork() == 0:
        os.close(to_rest)  # so that the requests end with the other process
        import accelerate  # noqa: F401
        import datasets  # noqa: F401

        return serve(os.fdopen(requests), os.fdopen(replies, "w"))
    return serve(sys.stdin, sys.stdout, (os.fdopen(to_rest, "w"), os.fdopen(from_rest)))


if __name__ == "__main__":
    if script := serve_all():
        runpy.run_path(script, run_name="__main__")
