"""Starts a recipe with accelerate's launcher, passes signals on to its processes, and ends with their status.

`accelerate launch -m recipes.train` starts the same processes. But its launcher ends with status 1 whatever their
status is, is killed by a signal without passing it on, and prints its own traceback below an error.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import psutil
import torch
from accelerate.commands.config.config_args import default_config_file
from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from recipes.core.errors import UserError
from recipes.core.ranks.signals import INTERRUPTED, SIGNALS, STOPPED, leave

CONFIGS = Path(__file__).resolve().parents[3] / "accelerate_configs"  # beside `recipes`, installed or not
OPTIONS = {
    "config_file": "of `accelerate config`, or the name of one that comes with the recipes",
    "num_processes": "over all machines; default: that of the config file, else one per GPU, or one without a GPU",
    "num_machines": "how many machines start this command",
    "machine_rank": "which of them this is, from 0",
    "main_process_ip": "the address of machine 0",
    "main_process_port": "a free port of machine 0",
    "gpu_ids": "such as 0,1; default: all",
}


def launch(recipe: str, words: list[str]) -> int:
    """Runs `recipes/RECIPE.py` until it ends; returns its exit status, or 128 + n if signal n ended one of its processes.

    Args:
        words: options of the launcher, `OPTIONS`, and the arguments of the recipe.

    Raises:
        UserError: there is no such launch config, or the launcher refuses the options.
    """
    parser = argparse.ArgumentParser(
        f"dataset-scripts {recipe}", add_help=False, allow_abbrev=False, usage="%(prog)s [OPTIONS] …"
    )
    group = parser.add_argument_group("options of the launcher")
    for name, meaning in OPTIONS.items():
        group.add_argument(f"--{name}", f"--{name}".replace("_", "-"), dest=name, help=meaning)
    chosen, rest = parser.parse_known_args(words)
    if {"-h", "--help"} & set(rest):
        print(parser.format_help(), flush=True)
        return subprocess.run([sys.executable, "-m", f"recipes.{recipe}", "--help"]).returncode
    given = {name: value for name, value in vars(chosen).items() if value is not None}
    configured = "config_file" in given or os.path.isfile(default_config_file)
    # The recipes set their threads themselves, but accelerate warns without a number, which a config cannot give.
    flags = {"num_cpu_threads_per_process": os.environ.get("OMP_NUM_THREADS", "1")}
    flags |= given if configured else defaults(given) | given
    if "config_file" in given:
        flags["config_file"] = str(find_config(given["config_file"]))
    arguments = launch_command_parser().parse_args(
        [*(f"--{name}={value}" for name, value in flags.items()), "--module", f"recipes.{recipe}", *rest]
    )
    if not configured and arguments.num_processes > 1:
        arguments.multi_gpu = True  # which means "start them with torchrun", and needs no GPU
    return run(arguments)


def defaults(given: dict[str, str]) -> dict[str, str]:
    """Options that accelerate would warn about if not given; and any free port, as two runs may share a machine."""
    devices = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    alone = {} if "num_machines" in given else {"num_machines": "1", "main_process_port": "0"}
    return {"num_processes": str(max(1, devices)), "mixed_precision": "no", "dynamo_backend": "no", **alone}


def find_config(name: str) -> Path:
    """The file of a launch config.

    Raises:
        UserError: there is none.
    """
    for path in (Path(name), CONFIGS / f"{name}.yaml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
    raise UserError(f"there is no launch config {name}: give a yaml file, or one of {known}")


def run(arguments: argparse.Namespace) -> int:
    """Runs accelerate's launcher in this process; signals are passed on to the training processes."""
    # Otherwise torchrun's agent ends them 30 seconds after a signal. Before torch 2.10, which added the variable, it
    # still does.
    os.environ["PET_SIGNALS_TO_HANDLE"] = "SIGHUP"
    # These report each exit status, which `launch` does.
    for name in ("multiprocessing.api", "agent.server.api"):
        logging.getLogger(f"torch.distributed.elastic.{name}").setLevel(logging.CRITICAL)
    passed = set()

    def pass_on(number: int, frame: FrameType | None) -> None:
        passed.add(number)
        processes = psutil.Process().children()
        if not processes:
            leave(INTERRUPTED, STOPPED)
        for process in processes:
            process.send_signal(number)

    signal.set_wakeup_fd(-1)  # the listener from the start of the program gets no more signals
    for number in SIGNALS:
        signal.signal(number, pass_on)
    try:
        launch_command(arguments)
    except subprocess.CalledProcessError as error:
        status = error.returncode
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
    except SignalException:
        status = INTERRUPTED
    except ValueError as error:  # from the launcher, for options that contradict each other
        raise UserError(error) from None
    else:
        return 0
    finally:
        for number in SIGNALS:  # the run has ended: a signal that comes now changes nothing
            signal.signal(number, signal.SIG_IGN)
    if -status in passed:  # the process had not begun to listen
        leave(INTERRUPTED, STOPPED)
    if status < 0:
        print(f"a process of the run was ended by {signal.Signals(-status).name}", file=sys.stderr)
    return status if status >= 0 else 128 - status
