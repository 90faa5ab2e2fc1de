"""How fast generated images are measured, compared with torch-fidelity in the same run.

    python benchmarks/fidelity.py             # prints a table, writes benchmarks/results/fidelity.json
    python benchmarks/fidelity.py --images 64 --samples 2000 --dimensions 512

Extraction: the same images, the same Inception with random weights, and one thread per process; every figure is from a
process of its own, without its imports. Metrics: random features, one thread, and the peak memory beyond that of the
features.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

ROOT = Path(__file__).resolve().parent.parent
START = """\
import json, resource, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np, torch, torch_fidelity
from accelerate import Accelerator, PartialState
from recipes import fidelity
from recipes.core.ranks.runtime import finish
from recipes.core.fidelity import metrics
from recipes.core.fidelity.precomputed import Precomputed
torch.set_num_threads(1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
cpu = lambda: time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
"""
EXTRACT = """\
given = json.loads(sys.argv[1])
PartialState(cpu=True)
begin, used = time.perf_counter(), cpu()
values = {}.calculate_metrics(**given)
seconds = time.perf_counter() - begin
if PartialState().is_main_process:
    print(json.dumps([seconds, cpu() - used, 0, values]), flush=True)
finish(Accelerator(cpu=True))
"""
MEASURE = """\
count, width = json.loads(sys.argv[1])
random = torch.Generator().manual_seed(0)
x, y = (torch.randn(count, width, generator=random).relu_() for _ in range(2))
first, second = (metrics.Features(name, Precomputed(name, {{"layer": side}})) for name, side in (("x", x), ("y", y)))
options = fidelity.complete({{"input1": "x", "input2": "y", "fid": True, "verbose": False}})
if {warm!r}:
    s = [np.cov(side.numpy(), rowvar=False) for side in (x, y)]
before = peak()
begin, used = time.perf_counter(), cpu()
values = {line}
print(json.dumps([time.perf_counter() - begin, cpu() - used, peak() - before, None if {warm!r} else values]), flush=True)
"""
THEIRS = "torch_fidelity.metric_{0}.{0}_features_to_metric(x, y, verbose=False)"
LINES = {
    ("Fréchet distance", "one eigvals"): ("np.linalg.eigvals(s[0].dot(s[1]))", True),
    ("Fréchet distance", "ours"): ('metrics.fid(first, second, "layer")', False),
    ("KID", "torch-fidelity"): (THEIRS.format("kid"), False),
    ("KID", "ours"): ('metrics.kid(first, second, "layer", options)', False),
    ("precision and recall", "torch-fidelity"): (THEIRS.format("prc"), False),
    ("precision and recall", "ours"): ('metrics.prc(first, second, "layer", options)', False),
}


def run(program: str, argument: str, processes: int = 1) -> list:
    """Seconds, CPU seconds of the main process, MB and values that the program prints."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(program)
        script.flush()
        launcher = (
            ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
        )
        result = subprocess.run(
            [sys.executable, *launcher, script.name, argument],
            env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
    if result.returncode:
        raise SystemExit(result.stderr[-3000:])
    return json.loads(result.stdout.splitlines()[-1])


class RandomInception(FeatureExtractorInceptionV3):
    """Inception with the weights that PyTorch initialises."""

    def load_state_dict(self, *args):
        pass


def extraction(folder: Path, count: int) -> dict:
    """Seconds of ISC, nearly all of which is extraction."""
    random = np.random.default_rng(0)
    images = folder / "images"
    images.mkdir()
    for number in range(count):
        PIL.Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(images / f"{number:05}.png")
    weights = folder / "inception.pth"
    torch.save({}, weights)
    torch.save(RandomInception("inception-v3-compat", ["2048"], str(weights)).state_dict(), weights)
    given = {"input1": str(images), "isc": True, "cuda": False, "verbose": False, "cache": False, "batch_size": 16}
    argument = json.dumps(given | {"feature_extractor_weights_path": str(weights), "cache_root": str(folder / "cache")})
    cached = json.dumps(json.loads(argument) | {"cache": True})
    figures = {}
    for name, module, processes, call in (
        ("torch-fidelity", "torch_fidelity", 1, argument),
        ("ours", "fidelity", 1, argument),
        ("ours, 2 processes", "fidelity", 2, argument),
        ("ours, first to be cached", "fidelity", 1, cached),
        ("ours, from the cache", "fidelity", 1, cached),
    ):
        figures["extraction", name] = run(START + EXTRACT.format(module), call, processes)
        print(f"extraction, {name}: {figures['extraction', name][0]:.2f} s", flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=2048)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        figures = extraction(Path(work), arguments.images)
    for (what, how), (line, warm) in LINES.items():
        program = START + MEASURE.format(line=line, warm=warm)
        figures[what, how] = run(program, json.dumps([arguments.samples, arguments.dimensions]))
        print(f"{what}, {how}: {figures[what, how][0]:.2f} s, {figures[what, how][2]:.0f} MB", flush=True)
    first = {}
    print("\n| | | seconds | CPU seconds | times as fast | MB | values |\n|---|---|---:|---:|---:|---:|---|")
    for (what, how), (seconds, used, megabytes, values) in figures.items():
        base = first.setdefault(what, (seconds, values))
        same = "" if values is None or base[1] is None else "equal" if values == base[1] else "DIFFERENT"
        print(f"| {what} | {how} | {seconds:.2f} | {used:.2f} | {base[0] / seconds:.2f} | {megabytes:.0f} | {same} |")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    record = {"arguments": vars(arguments), "figures": {", ".join(key): value[:3] for key, value in figures.items()}}
    (results / "fidelity.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
