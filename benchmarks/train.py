"""What the recipe costs compared with a bare PyTorch loop, and what a second process gains, in one run.

    python benchmarks/train.py              # prints a table, writes benchmarks/results/train.json

The bare loop trains the same model on the same images in the same order with the same augmentation, and nothing else:
no log, no checkpoints, no checks. Every figure is images per second of the training alone, in a fresh process with one
CPU thread; the variants take turns, and the median of the rounds counts.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = [
    "digits",
    "model.name=resnet14",
    "model.width=16",
    "data.size=16",
    "optim.warmup=0",
    "threads=1",
    "evaluate_every=1000",
    "save_every=100000000",
]
BARE = """\
import sys, time
import torch, torch.nn.functional as F
from torch.utils.data import BatchSampler, DataLoader
from recipes.core.data.augment import Prepare
from recipes.core.config.reading import read_config
from recipes.core.config.tasks import Train
from recipes.core.data.data import find_data, load_splits
from recipes.core.models.models import build_model
from recipes.core.ranks.sampler import StreamSampler
torch.set_num_threads(1)
config, *_ = read_config(Train, sys.argv[1:], "digits")
splits = load_splits(find_data(config.data), config)
steps = int(config.epochs * len(splits.train)) // config.batch
torch.manual_seed(config.seed)
model = build_model(config.model, splits.data.channels, len(splits.classes))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
prepare = Prepare(splits.data.mean, splits.data.std, torch.device("cpu"), config.augment)
sampler = StreamSampler(splits.train, 1, 0, config.seed, 0, steps * config.batch)
loader = DataLoader(splits.train, sampler=BatchSampler(sampler, config.batch, False), batch_size=None)
start = time.perf_counter()
for batch in loader:
    x, labels = prepare(batch)
    loss = F.cross_entropy(model(x), labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print("speed", steps * config.batch / (time.perf_counter() - start))
"""


def measure(variant: str, epochs: float, folder: Path) -> float:
    """Images per second."""
    options = [*OPTIONS, f"epochs={epochs}"]
    out = folder / "run"
    processes = 2 if variant == "2 processes" else 1
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"] if processes == 2 else []
    program = ["-c", BARE, *options] if variant == "bare" else [*launcher, "recipes/train.py", *options, f"out={out}"]
    env = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, *program], cwd=ROOT, env=env, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{variant}: {result.stderr[-2000:]}")
    if variant == "bare":
        return float(re.search(r"speed (\S+)", result.stdout)[1])
    speed = json.loads((out / "metrics.json").read_text())["images_per_second"]
    for path in out.iterdir():
        path.unlink()
    return speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=float, default=6)
    options = parser.parse_args()
    variants = ["bare", "recipe", "2 processes"]
    speeds = {variant: [] for variant in variants}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for variant in variants[number % 3 :] + variants[: number % 3]:
                speeds[variant].append(measure(variant, options.epochs, Path(folder)))
                print(f"round {number + 1}: {variant} {speeds[variant][-1]:,.0f} images/s", flush=True)
    median = {variant: statistics.median(values) for variant, values in speeds.items()}
    ratios = {
        "recipe to bare loop": median["recipe"] / median["bare"],
        "2 processes to 1": median["2 processes"] / median["recipe"],
    }
    for name, ratio in ratios.items():
        print(f"{name:24} {ratio:.3f}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "train.json").write_text(json.dumps({"images_per_second": speeds, "ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    main()
