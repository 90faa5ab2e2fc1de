"""`verify` against sets whose files are as published, rotted, doubled or gone."""

import gzip
import hashlib
import os
import threading
import tracemalloc
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.builders import download as module
from dataset_scripts.core.builders.source import Source
from dataset_scripts.core.look.verify import MEMORY, _state, verify

SCRIPT = """
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.layouts.idx.idx import Idx

class Small(PublishedSet, Idx):
    SOURCES = ({sources})
    ROWS = {{"train": 20}}
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def sha256(path):
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A script of a published set, on a server of its own; returns the script and the folder that is served."""
    monkeypatch.setattr(module, "PAUSE", 0.01)
    served = tmp_path / "served"
    served.mkdir()
    # Different in each run, as the cache is shared.
    pixels = np.random.default_rng(os.getpid()).integers(0, 256, (20, 6, 5), np.uint8)
    for name, array, magic in (("images-idx3", pixels, 3), ("labels-idx1", np.arange(20, dtype=np.uint8) % 10, 1)):
        header = bytes([0, 0, 8, magic]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
        (served / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/"
    sources = [
        f'Source("{path.name}", ("{base}{path.name}",), {path.stat().st_size}, "{sha256(path)}")'
        for path in sorted(served.iterdir())
    ]
    script = tmp_path / "small.py"
    script.write_text(SCRIPT.format(sources=", ".join(sources)))
    yield str(script), served
    server.shutdown()


def flip(path):
    """Flips a bit and keeps the time, as a failing disk does."""
    content, times = bytearray(path.read_bytes()), path.stat()
    content[-9] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def downloaded(name):
    return max(Path(datasets.config.DOWNLOADED_DATASETS_PATH).rglob(name), key=lambda path: path.stat().st_mtime)


def test_downloads_are_read(small):
    script, _ = small
    report = verify(script)
    assert report["ok"] and set(report["files"].values()) == {"ok"}
    assert report["rows"] == {"train": {"found": 20, "published": 20}}
    path = downloaded("train-images-idx3-ubyte.gz")
    flip(path)
    report = verify(script)  # the rows come from the cache, and are right
    assert (
        not report["ok"] and "its sha256 is" in report["files"][path.name] and str(path) in report["files"][path.name]
    )
    assert report["files"]["train-labels-idx1-ubyte.gz"] == "ok"
    path.unlink()
    report = verify(script)
    assert report["ok"] and report["files"][path.name] == "not here"


def test_every_file_of_a_name_is_read(small, tmp_path):
    script, served = small
    assert verify(script, data_dir=str(served))["ok"]
    name = "train-labels-idx1-ubyte.gz"
    second = tmp_path / "served/z-old" / name  # sorted after the first
    second.parent.mkdir()
    second.write_bytes((served / name).read_bytes())
    flip(second)
    source = Source(name, (), (served / name).stat().st_size, sha256(served / name))
    assert str(second) in _state(source, served)
    assert _state(source, served / name) == "ok" and _state(source, tmp_path / "gone") == "not here"


@pytest.mark.parametrize("path", ["gone", "a.zip", "link", "x" * 300, "x\0y"])
def test_what_cannot_be_read_is_a_data_error(tmp_path, path):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    os.symlink("link", tmp_path / "link")
    with pytest.raises(DataError):
        verify(str(tmp_path / path))
    with pytest.raises(DataError):
        verify("mnist", data_dir=str(tmp_path / path))


def test_damaged_images_are_listed(tmp_path, save_image):
    for number in range(4):
        save_image(tmp_path / f"cat/{number}.png", (40, 30))
    (tmp_path / "cat/1.png").write_bytes((tmp_path / "cat/1.png").read_bytes()[:-60])
    (tmp_path / "cat/2.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    report = verify(str(tmp_path))
    assert not report["ok"] and len(report["unreadable"]) == 2 and "row 1" in report["unreadable"][0]


def test_images_in_lists_and_structs_are_looked_at(tmp_path, save_image):
    save_image(tmp_path / "a.png", (40, 30))
    good = {"bytes": (tmp_path / "a.png").read_bytes(), "path": "a.png"}
    bad = {"bytes": good["bytes"][:60], "path": "bad.png"}
    image, listed = datasets.Image(), datasets.List(datasets.Image())
    kinds = {"views": (listed, [good, bad]), "pair": ({"left": image}, {"left": bad})}
    kinds |= {"frames": (datasets.List({"frame": image, "time": datasets.Value("int64")}), [{"frame": bad, "time": 1}])}
    for name, (feature, value) in kinds.items():
        features = datasets.Features({"image": image, name: feature})
        rows = [{"image": good, name: None}, {"image": good, name: value}]
        folder = tmp_path / name
        folder.mkdir()
        datasets.Dataset.from_list(rows, features=features).to_parquet(folder / "train.parquet")
        report = verify(str(folder))
        assert len(report["unreadable"]) == 1 and "row 1 (bad.png)" in report["unreadable"][0] and not report["ok"]


def test_few_large_images_are_in_memory(tmp_path):
    (tmp_path / "cat").mkdir()
    rng = np.random.default_rng(0)
    for number in range(20):  # of 12 MB each
        PIL.Image.fromarray(rng.integers(0, 256, (2000, 2000, 3), np.uint8)).save(tmp_path / f"cat/{number}.bmp")
    load_dataset(str(tmp_path), split="train")
    tracemalloc.start()
    assert verify(str(tmp_path))["ok"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * MEMORY < 20 * 12_000_000
