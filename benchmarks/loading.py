"""How fast folders become datasets, compared with stock `imagefolder` in the same run.

    python benchmarks/loading.py              # prints a table, writes benchmarks/results/loading.json
    python benchmarks/loading.py --files 2000

Both read a folder of class folders with small JPEG files: built with one and two processes, loaded again from the
cache, and streamed up to the first batch. Every figure is the time of a fresh process, without its imports; files
are in the page cache. The order of the variants changes from round to round, and the median counts.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image
from tqdm import tqdm

STOCK = "from datasets import load_dataset; rows = {}load_dataset('imagefolder', data_dir=folder, split='train'{}){}"
OURS = "from dataset_scripts import load_dataset; rows = {}load_dataset(folder, split='train'{}){}"
BUILD, STREAM = ("", "", ""), ("list(", ", streaming=True", ".take(64))")
VARIANTS = {  # (what, how) -> the line to measure
    ("build", "stock"): STOCK.format(*BUILD),
    ("build", "ours"): OURS.format(*BUILD),
    ("build", "ours, 2 processes"): OURS.format("", ", num_proc=2", ""),
    ("load again", "stock"): STOCK.format(*BUILD),
    ("load again", "ours"): OURS.format(*BUILD),
    ("stream a first batch of 64", "stock"): STOCK.format(*STREAM),
    ("stream a first batch of 64", "ours"): OURS.format(*STREAM),
}
PROGRAM = """\
import os, sys, time
import datasets, torch, dataset_scripts
datasets.disable_progress_bars()
folder = sys.argv[1]
start = time.perf_counter()
{}
print(time.perf_counter() - start, len(rows), flush=True)
os._exit(0)
"""


def make_folder(folder: Path, files: int) -> None:
    """Writes JPEG files of 64 x 48 pixels into ten class folders."""
    rng = np.random.default_rng(0)
    for number in tqdm(range(files), desc="files"):
        buffer = io.BytesIO()
        small = PIL.Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        small.resize((64, 48)).save(buffer, "JPEG")
        path = folder / f"class_{number % 10}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())


def measure(variant: tuple[str, str], folder: Path, cache: Path, files: int) -> float:
    """Seconds that the variant takes in a new process."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(VARIANTS[variant]), str(folder)],
        env={**os.environ, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise SystemExit(f"{variant}: {result.stderr[-2000:]}")
    seconds, rows = result.stdout.split()[-2:]
    if int(rows) != (64 if variant[0].startswith("stream") else files):
        raise SystemExit(f"{variant} returned {rows} rows of {files}")
    return float(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    times = {variant: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work, "photos")
        make_folder(folder, arguments.files)
        for number in tqdm(range(arguments.rounds), desc="rounds"):
            order = list(VARIANTS)[:: 1 if number % 2 == 0 else -1]
            order.sort(key=lambda variant: variant[0] == "load again")  # after the build that filled their cache
            for variant in order:
                what, how = variant
                cache = Path(work, f"{number} {how}{' stream' * what.startswith('stream')}")
                times[variant].append(measure(variant, folder, cache, arguments.files))
    median = {variant: statistics.median(values) for variant, values in times.items()}
    print(f"{arguments.files} files, median of {arguments.rounds} rounds\n")
    print("| | | seconds | times as fast as stock |\n|---|---|---:|---:|")
    for (what, how), seconds in median.items():
        print(f"| {what} | {how} | {seconds:.2f} | {median[what, 'stock'] / seconds:.1f} |")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "loading.json").write_text(
        json.dumps({"files": arguments.files, "seconds": {", ".join(k): v for k, v in times.items()}}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
