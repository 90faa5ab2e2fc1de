"""Runs Python scripts in forks of a process that has imported the libraries, which takes longer than a test.

conftest.py starts it, and requests each launch with a line of JSON on stdin: `words`, the script and its arguments;
`processes`, how many ranks; `env`, `cwd` and `timeout` in seconds; `output` and `errors`, the files for what they print. The
reply is a line with the exit status, 124 after the timeout. As with torchrun, one rank that fails ends the others.
"""

import json
import os
import runpy
import signal
import socket
import sys
import time

import accelerate  # noqa: F401
import datasets  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import pandas  # noqa: F401
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


def serve() -> str | None:
    """Starts the requested launches; returns the script to run in the forks, and None at the end."""
    for line in sys.stdin:
        launch = json.loads(line)
        if (pid := os.fork()) == 0:
            return lead(launch)
        end, status = time.monotonic() + launch["timeout"], None
        while status is None:
            done, code = os.waitpid(pid, os.WNOHANG)
            if done:
                status = os.waitstatus_to_exitcode(code)
            elif time.monotonic() > end:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                status = 124
            else:
                time.sleep(0.005)
        print(status, flush=True)
    return None


if __name__ == "__main__":
    if script := serve():
        runpy.run_path(script, run_name="__main__")
