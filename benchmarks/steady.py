"""Whether memory and open files stay flat over many epochs, of a loader with two workers that live as long as it does.

    python benchmarks/steady.py               # 50 epochs; prints a table, writes benchmarks/results/steady.json
    python benchmarks/steady.py --epochs 20 --forms tar --ways streamed

The same images are read as files, from a zip, a tar and a TFRecord; built once and then read from the cache of
`datasets`, and streamed, which reads the files anew in every epoch. Each variant runs in a process of its own. After
each epoch, the PSS (a page that n processes share counts 1/n for each) and the open files of this process and its
workers are added up. USS, the memory that is not shared, is also shown: it grows as forked workers touch pages that
they shared with their parent.

The exit status is 1 if PSS at the end is more than 2 % higher than after the first fifth of the epochs, or if more
files are open.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import psutil
from tqdm import tqdm

FORMS = ("files", "zip", "tar", "tfrecord")
WAYS = ("built", "streamed")


def make(folder: Path, form: str, images: int) -> None:
    """Writes JPEG files of 64 x 48 pixels of two classes, in one of the forms."""
    from tfrecord.writer import TFRecordWriter

    rng, members = np.random.default_rng(0), {}
    for number in range(images):
        buffer = io.BytesIO()
        PIL.Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((64, 48)).save(buffer, "JPEG")
        members[f"class_{number % 2}/{number:04}.jpg"] = buffer.getvalue()
    folder.mkdir(parents=True)
    if form == "files":
        for name, content in members.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
    elif form == "zip":
        with zipfile.ZipFile(folder / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    elif form == "tar":
        with tarfile.open(folder / "photos.tar", "w") as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        writer = TFRecordWriter(str(folder / "train.tfrecord"))
        for number, content in enumerate(members.values()):
            writer.write({"image/encoded": (content, "byte"), "image/class/label": (number % 2, "int")})
        writer.close()


def measure(folder: str, way: str, epochs: int, images: int) -> None:
    """Reads the folder for some epochs, and prints after each the bytes and open files of all processes."""
    import torch
    from torch.utils.data import DataLoader

    from dataset_scripts import load_dataset

    torch.set_num_threads(1)
    rows = load_dataset(folder, split="train", streaming=way == "streamed")
    loader = DataLoader(rows, 16, num_workers=2, persistent_workers=True)
    for _ in range(epochs):
        count = sum(len(batch["image"]) for batch in loader)
        if count != images:
            raise SystemExit(f"read {count} rows of {images}")
        processes = [psutil.Process(), *psutil.Process().children()]
        memory = [process.memory_full_info() for process in processes]
        uss, pss = (sum(getattr(part, kind) for part in memory) for kind in ("uss", "pss"))
        files = sum(process.num_fds() for process in processes)
        print(json.dumps({"uss": uss, "pss": pss, "files": files}), flush=True)


def growth(values: list[int]) -> float:
    """The share by which the median of the last fifth exceeds that of the second fifth."""
    part = max(1, len(values) // 5)
    return statistics.median(values[-part:]) / statistics.median(values[part : 2 * part]) - 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--growth", type=float, default=0.02, help="growth of memory that still counts as flat")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(*args.measure, args.epochs, args.images)
        return 0
    found, flat = {}, True
    with tempfile.TemporaryDirectory() as work:
        for form in args.forms:
            make(Path(work, form), form, args.images)
        for form, way in tqdm([(form, way) for form in args.forms for way in args.ways], desc="variants"):
            command = [
                sys.executable,
                __file__,
                "--measure",
                str(Path(work, form)),
                way,
                "--epochs",
                str(args.epochs),
                "--images",
                str(args.images),
            ]
            env = {**os.environ, "HF_HOME": str(Path(work, f"cache {form}")), "HF_HUB_OFFLINE": "1"}
            run = subprocess.run(command, env=env, capture_output=True, text=True)
            if run.returncode:
                raise SystemExit(f"{form}, {way}: {run.stderr[-2000:]}")
            found[f"{form}, {way}"] = [json.loads(line) for line in run.stdout.splitlines()]
    print(f"{args.epochs} epochs of {args.images} images, 2 workers\n")
    print("| | USS, MB | growth | PSS, MB | growth | open files | more |\n|---|---:|---:|---:|---:|---:|---:|")
    for name, epochs in found.items():
        uss, pss, files = ([epoch[key] for epoch in epochs] for key in ("uss", "pss", "files"))
        more = files[-1] - files[max(1, len(files) // 5)]
        flat &= growth(pss) <= args.growth and more <= 0
        memory = " | ".join(f"{values[-1] / 1e6:.0f} | {growth(values):+.1%}" for values in (uss, pss))
        print(f"| {name} | {memory} | {files[-1]} | {more:+} |")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "steady.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
