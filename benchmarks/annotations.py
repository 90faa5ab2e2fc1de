"""How much memory large annotation files take, as a multiple of their size: a COCO json, and a csv that names images.

    python benchmarks/annotations.py            # 1,000,000 annotations; prints a table, writes results/annotations.json

Each figure is the peak memory of a new process that reads the file, minus that of one that only imports the package
(and, for the csv, lists its images, which are not on disk), divided by the size of the file. `json.load` and
`pandas.read_csv`, which many readers start with, are measured for comparison.
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
LISTING = (
    "from dataset_scripts.layouts.csv_list.csv_list import CsvList, Files, matches; "
    "files = Files(folder, paths=['labels.csv'] + [f'train/{{number:012}}.jpg' for number in range({0})]); files.images; "
)
VARIANTS = {  # file -> the lines to measure; None is the baseline, which all the others include
    "annotations.json": {
        None: "pass",
        "json.load": "whole = json.load(open(folder + '/annotations.json'))",
        "load_dataset": "rows = dataset_scripts.load_dataset('coco', data_dir=folder, split='train')",
        "load_dataset, streaming": (
            "row = next(iter(dataset_scripts.load_dataset('coco', data_dir=folder, split='train', streaming=True)))"
        ),
    },
    "labels.csv": {
        None: LISTING,
        "pandas.read_csv": LISTING
        + "import pandas; whole = pandas.read_csv(folder + '/labels.csv', dtype={{'id': str}})",
        "csv_list, until rows are read": LISTING
        + (
            "matches(files); builder = CsvList(data_dir=folder); builder.files = files; "
            "splits = builder._split_generators(datasets.DownloadManager())"
        ),
    },
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
            file.write(
                ", " * (number > 0)
                + json.dumps({"id": number, "file_name": f"{number}.png", "width": 64, "height": 48})
            )
        file.write('], "categories": [{"id": 1, "name": "a"}, {"id": 7, "name": "b"}], "annotations": [')
        for number in tqdm(range(images * PER_IMAGE), desc="annotations"):
            points = np.round(rng.uniform(0, 40, 20), 2).tolist()
            annotation = {
                "segmentation": [points],
                "area": points[2] * points[3],
                "iscrowd": 0,
                "image_id": number % images,
                "bbox": points[:2] + [5.25, 6.5],
                "category_id": 1 + 6 * (number % 2),
                "id": number,
            }
            file.write(", " * (number > 0) + json.dumps(annotation))
        file.write("]}")
    return (folder / "annotations.json").stat().st_size


def make_csv(folder: Path, rows: int) -> int:
    """Writes a csv with the names of images in any order, without suffix, a class and a number; returns its size."""
    rng = np.random.default_rng(0)
    values = (
        rng.permutation(rows).tolist(),
        rng.integers(0, 120, rows).tolist(),
        rng.uniform(0, 15, rows).round(2).tolist(),
    )
    with open(folder / "labels.csv", "w") as file:
        file.write("id,breed,age\n")
        for name, breed, age in tqdm(zip(*values), desc="rows", total=rows):
            file.write(f"{name:012},breed_{breed:03}_of_dogs,{age}\n")
    return (folder / "labels.csv").stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=int, default=1_000_000, help="also the rows of the csv")
    arguments = parser.parse_args()
    measured = {}
    with tempfile.TemporaryDirectory() as work:
        folders = {name: Path(work, name.split(".")[0]) for name in VARIANTS}
        for folder in folders.values():
            folder.mkdir()
        make = {"annotations.json": make_coco, "labels.csv": make_csv}
        sizes = {name: make[name](folder, arguments.annotations) for name, folder in folders.items()}
        for name, how in [(name, how) for name, lines in VARIANTS.items() for how in lines]:
            line = VARIANTS[name][how].format(arguments.annotations)
            output = subprocess.run(
                [sys.executable, "-c", PROGRAM.format(line), str(folders[name])],
                env={**os.environ, "HF_HOME": str(Path(work, f"cache {how}")), "HF_HUB_OFFLINE": "1"},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout.split()
            measured[name, how] = {"seconds": float(output[-2]), "bytes": int(output[-1])}
    for name, size in sizes.items():
        base = measured.pop((name, None))["bytes"]
        print(f"\n{name}: {arguments.annotations} annotations, {size / 1e6:.0f} MB\n")
        print("| | peak memory / size of the file | seconds |\n|---|---:|---:|")
        for (file, how), values in measured.items():
            if file == name:
                values["ratio"] = (values["bytes"] - base) / size
                print(f"| {how} | {values['ratio']:.1f} | {values['seconds']:.1f} |")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    content = {"annotations": arguments.annotations, "sizes": sizes}
    content |= {", ".join(key): values for key, values in measured.items()}
    (results / "annotations.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
