"""Run by test_portable.py without what macOS or Windows lacks: reading, writing, locks, parsers. The argument is a folder."""

import subprocess
import sys
import tarfile
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
import scipy.io

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.files.disk import _state
from dataset_scripts.core.files.hold import alone
from dataset_scripts.core.files.replace import new_folder, recover, write_file
from dataset_scripts.core.files.system import peak_memory, usable_cores
from dataset_scripts.core.formats import isolated
from dataset_scripts.core.publish.export import export


def main(folder: Path) -> None:
    assert usable_cores() >= 1 and peak_memory() > 10_000_000
    assert "is full" in _state(str(folder), 28)

    # A folder, a tar, and an export that takes the place of another: the same rows.
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(3):
            PIL.Image.fromarray(rng.integers(0, 256, (6, 5, 3), np.uint8)).save(
                folder / "photos" / name / f"{number}.png"
            )
    (folder / "packed").mkdir()
    with tarfile.open(folder / "packed/photos.tar", "w") as archive:
        archive.add(folder / "photos", "photos")
    rows = load_dataset(str(folder / "photos"), split="train")
    images = [row["image"] for row in rows]
    assert all(
        (one == other["image"]).all() for one, other in zip(images, load_dataset(str(folder / "packed"), split="train"))
    )
    for _ in range(2):
        export(rows, str(folder / "out"), overwrite=True)
    assert all(
        (one == other["image"]).all() for one, other in zip(images, load_dataset(str(folder / "out"), split="train"))
    )
    (folder / "photos/a/0.png").write_bytes(b"damaged")
    (folder / "photos/a/1.png").unlink()
    assert len(load_dataset("image_folder", data_dir=str(folder / "photos"), split="train", on_error="skip")) >= 4

    # Parsers in a process of their own, which crashes and does not reply.
    pixels = rng.integers(0, 256, (12, 6, 5, 3), np.uint8)
    for name in ("hdf5", "mat"):
        (folder / name).mkdir()
    with h5py.File(folder / "hdf5/a.h5", "w") as file:
        file.create_dataset("images", data=pixels, chunks=(4, 6, 5, 3), compression="gzip")
        file["labels"] = np.arange(12)
    scipy.io.savemat(folder / "mat/a.mat", {"images": pixels, "labels": np.arange(12)})
    for name in ("hdf5", "mat"):
        read = load_dataset(name, data_dir=str(folder / name), split="train", transform=None)
        assert all((np.asarray(row["image"]) == array).all() for row, array in zip(read, pixels)) and len(read) == 12
    worker = folder / "worker.py"
    write_file(
        worker, "import os, time\ndef crash(): os._exit(3)\ndef wait(): time.sleep(99)\ndef echo(value): return value\n"
    )
    isolated.SECONDS, isolated.WAIT = 1, 2
    for function, message in (("crash", "crash"), ("wait", "no answer in 2 seconds")):
        try:
            isolated.call(str(worker), function)
            raise AssertionError(function)
        except isolated.Crash as error:
            assert message in str(error), error
        assert isolated.call(str(worker), "echo", 7) == 7

    # A file and a folder are replaced whole; a lock belongs to one process at a time, and is free once that has ended.
    for text in ("one", "two"):
        write_file(folder / "file.txt", text)
        with new_folder(folder / "whole") as made:
            write_file(made / "file.txt", text)
        assert (
            (folder / "whole/file.txt").read_text(encoding="utf-8")
            == (folder / "file.txt").read_text(encoding="utf-8")
            == text
        )
    recover(folder / "whole")
    assert not [path for path in folder.iterdir() if path.name.startswith(".") and not path.name.endswith(".lock")]
    with alone(folder / "held"):
        child = subprocess.run([sys.executable, __file__, "hold", folder / "held"])
        assert child.returncode == 3
    assert subprocess.run([sys.executable, __file__, "hold", folder / "held"]).returncode == 0


def hold(path: Path) -> int:
    try:
        with alone(path, patience=0.1):
            return 0
    except DataError as error:
        return 3 if "is being written by another process" in str(error) else 1


if __name__ == "__main__":
    sys.exit(hold(Path(sys.argv[2])) if sys.argv[1] == "hold" else main(Path(sys.argv[1])))
