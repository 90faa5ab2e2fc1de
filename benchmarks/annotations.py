"""How much memory a large COCO file takes, as a multiple of its size.

    python benchmarks/annotations.py            # 1,000,000 annotations; prints a table, writes results/annotations.json

The peak memory of a new process that loads the set, less that of one that only imports the package, over the size of
the json file. `json.load`, which many readers begin with, stands beside it.
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
from tqdm import tqdm

PER_IMAGE = 200
VARIANTS = {
    "nothing": "pass",
    "json.load": "whole = json.load(open(folder + '/annotations.json'))",
    "load_dataset": "rows = dataset_scripts.load_dataset('coco', data_dir=folder, split='train')",
    "load_dataset, streaming": "row = next(iter(dataset_scripts.load_dataset('coco', data_dir=folder, split='train', streaming=True)))",
}
PROGRAM = """\
import json, os, resource, sys, time
import datasets, dataset_scripts
datasets.disable_progress_bars()
folder = sys.argv[1]
start = time.perf_counter()
{}
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
os._exit(0)
"""


def make_coco(folder: Path, annotations: int) -> int:
    """Writes images and annotations with polygons of ten points; returns the size of the json in bytes."""
    rng = np.random.default_rng(0)
    images = annotations // PER_IMAGE
    PIL.Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(folder / "0.png")
    content = (folder / "0.png").read_bytes()
    with open(folder / "annotations.json", "w") as file:
        file.write('{"images": [')
        for number in range(images):
            (folder / f"{number}.png").write_bytes(content)
            file.write(", " * (number > 0) + json.dumps({"id": number, "file_name": f"{number}.png", "width": 64, "height": 48}))
        file.write('], "categories": [{"id": 1, "name": "a"}, {"id": 7, "name": "b"}], "annotations": [')
        for number in tqdm(range(images * PER_IMAGE), desc="annotations"):
            points = np.round(rng.uniform(0, 40, 20), 2).tolist()
            annotation = {
                "segmentation": [points], "area": points[2] * points[3], "iscrowd": 0, "image_id": number % images,
                "bbox": points[:2] + [5.25, 6.5], "category_id": 1 + 6 * (number % 2), "id": number,
            }  # fmt: skip
            file.write(", " * (number > 0) + json.dumps(annotation))
        file.write("]}")
    return (folder / "annotations.json").stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work, "coco")
        folder.mkdir()
        size = make_coco(folder, arguments.annotations)
        measured = {}
        for name, line in VARIANTS.items():
            output = subprocess.run(
                [sys.executable, "-c", PROGRAM.format(line), str(folder)],
                env={**os.environ, "HF_HOME": str(Path(work, name)), "HF_HUB_OFFLINE": "1"},
                stdout=subprocess.PIPE, text=True, check=True,
            ).stdout.split()  # fmt: skip
            measured[name] = {"seconds": float(output[-2]), "bytes": int(output[-1])}
    base = measured.pop("nothing")["bytes"]
    print(f"{arguments.annotations} annotations, {size / 1e6:.0f} MB of json\n")
    print("| | peak memory / size of the json | seconds |\n|---|---:|---:|")
    for name, values in measured.items():
        values["ratio"] = (values["bytes"] - base) / size
        print(f"| {name} | {values['ratio']:.1f} | {values['seconds']:.1f} |")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "annotations.json").write_text(json.dumps({"annotations": arguments.annotations, "size": size, **measured}, indent=2) + "\n")


if __name__ == "__main__":
    main()
