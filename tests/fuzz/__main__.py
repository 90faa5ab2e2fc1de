"""Fuzzes all code that reads foreign files: `python tests/fuzz --executions 100000`. See docs/robustness.md.

The exit status is 1 if there are findings. One execution, for a debugger:
`python tests/fuzz --target coco_masks --seed 0 --execution 12345`.
"""

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

BATCH = 100  # executions per child process
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
sys.dont_write_bytecode = True
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=10_000, help="of all targets together")
    parser.add_argument(
        "--target", action="append", help="a target, or the beginning of several names; may be given again"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--execution", type=int, help="run this one here, with its traceback; -1 is the example as it is"
    )
    parser.add_argument(
        "--replay", type=Path, nargs="*", help="run findings that were kept, by default all, and nothing else"
    )
    parser.add_argument("--write", type=Path, help="with --execution: leave its files in this folder, unread")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, default=HERE / "results/fuzz.json")
    parser.add_argument("--add", action="store_true", help="to the numbers that --results has, of other seeds")
    parser.add_argument("--keep", action="store_true", help="keep the files of new findings under tests/fuzz/findings")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/robustness.md")
    parser.add_argument("--list", action="store_true", help="names of the targets")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        return run(args, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run(args: argparse.Namespace, work: Path) -> int:
    from targets import TARGETS, prepare

    targets = [target for target in TARGETS if target.startswith(tuple(args.target or [""]))]
    if args.list or not targets:
        print("\n".join(TARGETS))
        return 0 if args.list else 2
    quiet()
    if args.execution is not None and args.write:
        from examples import EXAMPLES
        from processes import Batch, write

        write(Batch(targets[0], []).files(args.seed, args.execution, EXAMPLES[targets[0]].make())[0], args.write)
        return 0
    prepare(work)
    if args.execution is not None:
        return run_one(args, targets[0], work)
    from dictionary import listen
    from parsers import PARSERS
    from processes import EXAMPLE, Batch
    from processes import run as run_all
    from report import KEPT, Report

    share, batches = args.executions // len(targets), []
    if args.replay is not None:
        paths = args.replay or sorted(KEPT.glob("*/*.json"))
        for target in targets:
            kept = [path.resolve() for path in paths if path.parent.name == target]
            batches += [Batch(target, list(range(len(kept))), kept)] if kept else []
    else:
        parts = []
        for target in targets:
            size = BATCH * (20 if target in PARSERS else 1)
            starts = range(EXAMPLE, share, size)
            parts += [
                (turn, Batch(target, list(range(start, min(share, start + size))))) for turn, start in enumerate(starts)
            ]
        # In turns, so that progress reports cover all targets.
        batches = [batch for _, batch in sorted(parts, key=lambda part: part[0])]
    with listen() as server:
        earlier = json.loads(args.results.read_text()) if args.add and args.results.exists() else None
        report = Report(targets, sum(len(batch.numbers) for batch in batches), args.seed, server, earlier)
        began = time.perf_counter()
        try:
            run_all(args.seed, batches, args.processes, work, report.add)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            print("stopped: what follows is about the executions until now", file=sys.stderr)
        report.finish(time.perf_counter() - began)
    print(report.table())
    report.save(args.results)
    if args.write_docs:
        report.write_docs()
    if args.keep:
        report.keep()
    return 1 if report.findings else 0


def run_one(args: argparse.Namespace, target: str, work: Path) -> int:
    """One execution in this process."""
    from dictionary import plant
    from examples import EXAMPLES
    from processes import Batch, check_message, watch, write
    from targets import ALLOWED, execute

    files, rng = Batch(target, []).files(args.seed, args.execution, EXAMPLES[target].make())
    folder = work / "set"
    plant(work)
    folder.mkdir()
    write(files, folder)
    os.chdir(folder)
    reached = watch(work)
    try:
        said = f"{execute(target, folder, rng)} rows"
    except ALLOWED as error:
        said = f"{type(error).__name__}: {error}"
        if check_message(error):
            reached.append(f"the message {str(error)!r}")
    except BaseException:
        said = ""
        traceback.print_exc()
    finally:
        os.chdir(HERE)
    print("\n".join(filter(None, [said, *reached])))
    return 1 if reached or not said else 0


def quiet() -> None:
    import datasets
    import pyarrow
    import torch

    torch.set_num_threads(1)
    pyarrow.set_cpu_count(1)
    datasets.disable_progress_bars()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")


if __name__ == "__main__":
    sys.exit(main())
