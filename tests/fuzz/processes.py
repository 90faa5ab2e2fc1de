"""Runs executions in child processes that may hang, use up memory or die, and records the faults of each.

A child is forked from this process, which has imported everything, for some hundreds of executions of a target. It
writes the number of each into shared memory before it begins; if it dies, the next child continues after that number.
"""

import base64
import faulthandler
import json
import mmap
import os
import random
import re
import resource
import shutil
import signal
import sys
import time
import traceback
import unicodedata
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dictionary import OUTSIDE, plant
from examples import EXAMPLES, Folder
from mutations import mutate
from parsers import PARSERS
from targets import ALLOWED, Unsound, execute

from dataset_scripts.core.formats import isolated

CPU_SECONDS = 10  # of an execution
WALL_SECONDS = 60  # the limit if the machine is busy or the process waits
MEMORY = 1 << 30  # bytes of memory that an execution may use beyond what the process used before
ADDRESSES = 4 << 30  # bytes of address space that it may request
ROOT = Path(__file__).resolve().parents[2]
OURS = tuple(f"{ROOT / name}{os.sep}" for name in ("dataset_scripts", "recipes"))
FRAME = re.compile(r'File "([^"]+)", line (\d+) in (\S+)')
REACHES = {"socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}
ISOLATED = [sys.executable, "-P", isolated.__file__]  # the process for parsers that may crash
EXAMPLE = -1  # the number of the execution that reads the example as it is
BROKEN = 70  # exit status of a child if this program itself has a fault
TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # marks that turn the order of what is printed
AT, DONE, ROWS, ERRORS, FOUND, MICROSECONDS = range(6)  # what the shared memory holds


class TooSlow(BaseException):
    """An execution took more than `CPU_SECONDS`; parsers that catch any Exception do not catch it."""


@dataclass
class Batch:
    """
    Attributes:
        target: a key of EXAMPLES.
        numbers: of its executions.
        kept: the files of saved findings; the numbers are then indices into this list.
    """

    target: str
    numbers: list[int]
    kept: list[Path] = field(default_factory=list)

    def after(self, place: int) -> "Batch":
        return replace(self, numbers=self.numbers[place:])

    def files(self, seed: int, number: int, example: Folder) -> tuple[Folder, random.Random]:
        """The files that an execution reads, and the source of its choices."""
        # The example as it is goes to its own reader with every seed: some folders could be read in other ways, too.
        rng = random.Random("as it is" if number == EXAMPLE else f"{seed} {self.target} {number}")
        if self.kept:
            kept = json.loads(self.kept[number].read_text())
            rng = random.Random(f"{kept['seed']} {self.target} {kept['execution']}")
            files = {name: zlib.decompress(base64.b64decode(content)) for name, content in kept["files"].items()}
        else:
            files = (
                example if number == EXAMPLE else mutate(example, random.Random(f"{seed} {self.target} {number} files"))
            )
        return files, rng


@dataclass
class Slot:
    """A place for a child: its folder, and the memory that it shares with this process."""

    folder: Path
    batch: Batch | None = None
    pid: int = 0
    counts: memoryview = field(default_factory=lambda: memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q"))


def write(files: Folder, folder: Path) -> None:
    for path, content in files.items():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        except (OSError, ValueError):  # a file and a folder of the same name
            continue


def run(
    seed: int, batches: list[Batch], processes: int, work: Path, said: Callable[[Batch, list[int], list[dict]], None]
) -> None:
    """Runs all batches; `said` is called with the counts and findings of each part of a batch."""
    examples = {target: EXAMPLES[target].make() for target in dict.fromkeys(batch.target for batch in batches)}
    todo = deque(batches)
    slots = [Slot(work / str(number)) for number in range(processes)]
    for slot in slots:
        slot.folder.mkdir()
        plant(slot.folder)
    sys.stdout.flush()
    sys.stderr.flush()
    while todo or any(slot.pid for slot in slots):
        for slot in slots:
            if not slot.pid and todo:
                slot.batch = todo.popleft()
                slot.counts[:6] = memoryview(bytes(48)).cast("q")
                slot.counts[AT] = EXAMPLE - 1
                slot.pid = os.fork()
                if not slot.pid:
                    try:
                        child(seed, slot, examples[slot.batch.target])
                    except BaseException:  # a fault of this program, not of what it tests
                        (slot.folder / "fault").write_text(traceback.format_exc())
                    os._exit(BROKEN)
        pid, status = os.waitpid(-1, os.WNOHANG)
        slot = next((slot for slot in slots if pid and slot.pid == pid), None)
        if slot is None:
            time.sleep(0.005)
            continue
        slot.pid, batch = 0, slot.batch
        findings = list(read_findings(slot, os.waitstatus_to_exitcode(status)))
        counts = list(slot.counts[:6])
        place = batch.numbers.index(counts[AT]) + 1 if counts[AT] in batch.numbers else 0
        if place < len(batch.numbers):
            todo.appendleft(batch.after(place))
        said(batch, counts, findings)


def read_findings(slot: Slot, exitcode: int) -> Iterator[dict]:
    """The findings that a child wrote, and the cause if it died."""
    path, fault = slot.folder / "findings", (slot.folder / "fault").read_text("utf-8", "replace")
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())
        path.unlink()
    if exitcode == BROKEN:
        raise RuntimeError(f"fuzzing itself is wrong:\n{fault}")
    if exitcode:
        kind = (
            "TooSlow"
            if "Timeout (" in fault
            else signal.Signals(-exitcode).name
            if exitcode < 0
            else f"exit {exitcode}"
        )
        frames = [match.groups() for match in FRAME.finditer(fault) if match[1].startswith(OURS)]
        file, line, function = frames[0] if frames else (slot.batch.target, 0, "?")
        slot.counts[FOUND] += 1
        slot.counts[DONE] += 1
        yield finding(slot.batch.target, slot.counts[AT], kind, file, int(line), function, f"{kind}: {fault[:300]}")


def finding(target: str, number: int, kind: str, file: str, line: int, function: str, text: str) -> dict[str, Any]:
    file = os.path.relpath(file, ROOT) if file.startswith(OURS) else file
    return {
        "target": target,
        "execution": number,
        "type": kind,
        "file": file,
        "line": line,
        "function": function,
        "text": text,
    }


def child(seed: int, slot: Slot, example: Folder) -> None:
    """Runs in a child; returns only if this program has a fault."""
    folder, fault = slot.folder / "set", open(slot.folder / "fault", "w")
    out = os.open(slot.folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    faulthandler.enable(fault)
    reached = watch(slot.folder)
    signal.signal(signal.SIGPROF, stop)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ADDRESSES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    target, counts = slot.batch.target, slot.counts
    os.chdir(slot.folder)
    for number in slot.batch.numbers:
        counts[AT] = number
        files, rng = slot.batch.files(seed, number, example)
        if target not in PARSERS:  # parsers take bytes
            for path in (folder, slot.folder / "downloads"):  # also of a child that died
                shutil.rmtree(path, ignore_errors=True)
            folder.mkdir()
            write(files, folder)
            os.chdir(folder)
        start, wrong, error = time.perf_counter(), None, None
        faulthandler.dump_traceback_later(WALL_SECONDS, exit=True, file=fault)
        try:
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            content = b"".join(files[name] for name in sorted(files))
            rows = PARSERS[target](content) if target in PARSERS else execute(target, folder, rng)
            counts[ROWS] += rows
            if number == EXAMPLE and not rows:
                raise Unsound("the example gives no rows")
        except ALLOWED as fine:
            error = fine
            counts[ERRORS] += 1
            wrong = check_message(fine) if number != EXAMPLE else Unsound(f"the example is refused: {fine}")
        except BaseException as strange:
            error = wrong = strange
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
        counts[MICROSECONDS] += int(1e6 * (time.perf_counter() - start))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
        if reached:
            wrong = Unsound(f"reached out of the folder: {reached[0]}")
        elif grown * 1024 > MEMORY and wrong is None:
            wrong = MemoryError(f"touched {grown >> 10} MB")
        if wrong is not None:
            counts[FOUND] += 1
            record(slot.folder / "findings", target, number, wrong, error)
            reached.clear()
        counts[DONE] += 1
        os.chdir(slot.folder)
        if grown * 1024 > MEMORY // 2:  # the next child starts with little memory
            break
    os._exit(0)


def stop(*_: Any) -> None:
    raise TooSlow(f"more than {CPU_SECONDS} s")


def check_message(error: BaseException) -> BaseException | None:
    """Checks that a message is one nonempty line that a terminal shows unchanged."""
    text = str(error)
    odd = any(
        unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(sign) in TURNS
        for sign in text
    )
    return Unsound(f"the message is {text[:200]!r}") if odd or not text.strip() else None


def record(path: Path, target: str, number: int, wrong: BaseException, error: BaseException | None) -> None:
    origin = wrong if wrong.__traceback__ else error
    frames = traceback.extract_tb(origin.__traceback__) if origin else []
    frames = [frame for frame in frames if frame.filename.startswith(OURS)]
    file, line, function = (frames[-1].filename, frames[-1].lineno, frames[-1].name) if frames else (target, 0, "?")
    text = f"{type(wrong).__name__}: {wrong}"[:500]
    with open(path, "a") as file_of_findings:
        file_of_findings.write(
            json.dumps(finding(target, number, type(wrong).__name__, file, line, function, text)) + "\n"
        )


def watch(folder: Path) -> list[str]:
    """From now on, lists what reading a folder never needs: connections of this process, and opening the secrets."""
    reached, outside, inside = [], (str(OUTSIDE), f"{folder}/secret."), f"{folder}/"

    def hook(event: str, args: tuple) -> None:
        if event in REACHES and not (event == "subprocess.Popen" and args[1] == ISOLATED):
            reached.append(f"{event} {args[:2]!r}")
        elif event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], (str, bytes)):
            path = os.path.abspath(os.fsdecode(args[0]))
            writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if path.startswith(outside) or (writes and not path.startswith((inside, "/dev/"))):
                reached.append(f"{event} {path}")

    sys.addaudithook(hook)
    return reached
