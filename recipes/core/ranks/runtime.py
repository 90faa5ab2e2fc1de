"""Processes: starting them correctly, and ending them all with one clear line."""

import contextlib
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs, LoggerType, ProjectConfiguration, parse_flag_from_env

from dataset_scripts import DataError, TrustError
from dataset_scripts.core.errors import printable
from dataset_scripts.core.files.disk import disk_fault
from dataset_scripts.core.files.system import print_every_character, usable_cores
from recipes.core.errors import UserError
from recipes.core.ranks import environment, signals

EXPECTED = (UserError, DataError, TrustError, OSError, torch.OutOfMemoryError, datasets.exceptions.DatasetsError)
PRECISIONS = ("no", "bf16", "fp16")
# What gloo and NCCL report when the process at the other end is gone.
LOST_PEER = re.compile(
    "closed by peer|reset by peer|connection refused|remote process exited|broken pipe", re.IGNORECASE
)


def start(
    cpu: bool,
    precision: str | None,
    processes: int | None,
    threads: int | None,
    deterministic: bool = False,
    log_with: Sequence[str] = (),
    ddp: dict[str, Any] | None = None,
) -> Accelerator:
    """Starts accelerate, and refuses a launch that did not start the requested processes.

    Args:
        cpu: do not use an accelerator; a machine without one never does.
        precision: "no", "bf16" or "fp16"; None takes the launcher's choice.
        processes: the required number of processes, or None.
        threads: CPU threads of each process, which the bits of a sum depend on; None divides the cores if on the CPU.
        deterministic: refuse operations whose result differs from run to run.
        log_with: trackers of accelerate ("tensorboard", "trackio", "wandb", …).
        ddp: arguments of `accelerate.DistributedDataParallelKwargs`.

    Raises:
        UserError: the number of processes that the launcher states differs from accelerate's or from `processes`, the
            environment would change the arithmetic, or a tracker is unknown or not installed.
    """
    if fault := environment.fault_of(os.environ):
        raise UserError(fault)
    if precision is None and (precision := os.environ.get("ACCELERATE_MIXED_PRECISION") or "no") not in PRECISIONS:
        raise UserError(
            f"the launcher's mixed_precision is {precision}: set it to no, bf16 or fp16, or pass precision=…"
        )
    cpu = cpu or parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    if cpu and precision == "fp16":
        raise UserError("precision=fp16 needs a GPU: choose no or bf16")
    if lost_processes():
        raise UserError(
            "accelerate launch was asked for several processes but started one: use --config_file "
            "accelerate_configs/cpu_2.yaml, or --multi_gpu; if one is intended, unset MASTER_PORT"
        )
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0
    # https://github.com/pytorch/pytorch/issues/135712
    if restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise UserError(
            "a launcher with restarts hands the addresses of killed processes to their successors, which may hang: "
            "start it with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 and --rdzv_backend=c10d"
        )
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        torch.use_deterministic_algorithms(True)
    known = LoggerType.list()
    if unknown := next((name for name in log_with if name not in known), None):
        raise UserError(f"log_with={unknown}: choose from {', '.join(known)}")
    # Buffers are equal on all ranks, or local to a rank; sending them in each forward pass could hang an evaluation.
    warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)  # accelerate passes it by its old name
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=precision,
        log_with=list(log_with) or None,
        project_config=ProjectConfiguration(logging_dir="runs") if log_with else None,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, **(ddp or {}))],
    )
    started = {str(getattr(tracker, "value", tracker)) for tracker in accelerator.log_with}
    if missing := next((name for name in log_with if name not in started), None):
        raise UserError(f"log_with={missing} needs a package that is not installed: pip install {missing}")
    if cpu and accelerator.device.type != "cpu":
        raise UserError(
            f"ACCELERATE_TORCH_DEVICE={accelerator.device}, but the run must use the CPU: unset one of them"
        )
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world != accelerator.num_processes:
        raise UserError(f"the launcher started {world} processes, but accelerate sees {accelerator.num_processes}")
    if processes not in (None, accelerator.num_processes):
        raise UserError(f"processes={processes}, but the launcher started {accelerator.num_processes}")
    if threads is None and accelerator.device.type == "cpu":  # regardless of OMP_NUM_THREADS, which launchers set
        threads = max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    if threads is not None:
        torch.set_num_threads(threads)
    return accelerator


def lost_processes() -> bool:
    """Whether `accelerate launch` was asked for several processes but silently started one.

    It does so if neither its options nor its config specify how to start them (`--multi_gpu`, MULTI_GPU), but still sets
    a rendezvous address. Processes started by torchrun or MPI know their number.
    """
    known = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    return (
        signals.ACCELERATE in os.environ
        and "MASTER_PORT" in os.environ
        and not any(name in os.environ for name in known)
    )


def finish(accelerator: Accelerator) -> None:
    """Ends all processes together; call it when the caller no longer holds a prepared model.

    The threads of gloo live as long as a DDP model, and one that is still running when the interpreter ends
    aborts its process.
    """
    accelerator.wait_for_everyone()  # a rank that leaves early takes the connection from the others
    accelerator.free_memory()
    accelerator.end_training()


@contextlib.contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Ends the process with one line and exit status 1 for an error that the user can act on, or 75 for a request to stop.

    A process that fails takes the others with it: the launcher stops them. To report a fault of all ranks only once,
    the others give the main process a moment to report it.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    print_every_character()
    try:
        with signals.raising():
            yield
    except KeyboardInterrupt:
        signals.leave(signals.INTERRUPTED, signals.STOPPED)
    except EXPECTED as error:
        if rank != 0:
            time.sleep(3.0)
        cause = str(disk_fault(error, os.getcwd()) or error).strip()
        if cause.startswith("Caught "):  # DataLoader puts the traceback of a worker into the message
            cause = cause.splitlines()[-1].split(": ", 1)[-1]
        message = f"{program}: error{f' [rank {rank}]' if world > 1 else ''}: {printable(cause)}"
    except RuntimeError as error:
        full = disk_fault(error, os.getcwd())  # native code raises a RuntimeError if the disk is full
        if full is None and (world == 1 or not LOST_PEER.search(str(error))):
            raise
        stopped = f"rank {rank} stops, because another process has stopped"
        message = f"{program}: {f'error: {full}' if full else stopped}"
    else:
        return
    # The line may follow the progress bar of another process. Not sys.exit: a clean shutdown would wait for ranks
    # that wait for this one.
    print("\n" * (world > 1) + message, file=sys.stderr, flush=True)
    os._exit(1)


def quiet_other_ranks() -> None:
    """Leaves progress bars and messages of the libraries to the main process."""
    if not PartialState().is_main_process:
        import logging

        datasets.disable_progress_bars()
        logging.getLogger("dataset_scripts").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
