"""Fashion-MNIST itself, if Debian's copy is available; without it, these tests are skipped.

```
apt-get download dataset-fashion-mnist
dpkg-deb --extract dataset-fashion-mnist_*.deb fashion
FASHION_MNIST=fashion/usr/share/datasets/fashion-mnist python -m pytest tests/test_true_bytes.py
```

Debian compressed the same four files, and left the name and the time of the original out of the gzip headers.
"""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from dataset_scripts import load_dataset
from dataset_scripts.core.load.script import find_script
from dataset_scripts.core.look.verify import verify

FOLDER = os.environ.get("FASHION_MNIST")
SAVED = {"train": 1504176606, "t10k": 1504176627}  # seconds since 1970, of the published files: 31 August 2017
ROWS = {"train": ("train", 60_000), "test": ("t10k", 10_000)}

pytestmark = pytest.mark.skipif(not FOLDER, reason="needs FASHION_MNIST=folder; the docstring says how to get it")


def test_published_digests_after_the_header_is_put_back(tmp_path):
    sources = find_script("fashion_mnist").builder_class().SOURCES
    assert len(sources) == 4
    for source in sources:
        content = Path(FOLDER, source.name).read_bytes()
        assert content[:4] == b"\x1f\x8b\x08\x00"  # gzip, deflate, no name
        header = content[:3] + b"\x08" + struct.pack("<I", SAVED[source.name.partition("-")[0]]) + content[8:10]
        (tmp_path / source.name).write_bytes(header + source.name.removesuffix(".gz").encode() + b"\0" + content[10:])
        source.check(tmp_path / source.name)


def payload(name, header):
    """The bytes of a file behind the header of the IDX format."""
    return np.frombuffer(gzip.decompress(Path(FOLDER, name).read_bytes()), np.uint8, offset=header)


def test_every_pixel_and_label():
    for split, (prefix, rows) in ROWS.items():
        dataset = load_dataset("fashion_mnist", data_dir=FOLDER, split=split, transform=None)
        assert len(dataset) == rows
        found = np.stack([np.asarray(image) for image in dataset["image"]])
        assert np.array_equal(found, payload(f"{prefix}-images-idx3-ubyte.gz", 16).reshape(rows, 28, 28))
        assert np.array_equal(dataset["label"][:], payload(f"{prefix}-labels-idx1-ubyte.gz", 8))


def test_verify():
    """Only the digests of the four files differ."""
    report = verify("fashion_mnist", data_dir=FOLDER)
    assert not report["ok"] and len(report["files"]) == 4
    for name, state in report["files"].items():
        short = len(name.removesuffix(".gz")) + 1  # the name and a zero byte
        size = Path(FOLDER, name).stat().st_size
        assert state.endswith(f"{name}: {size} bytes, but the published file has {size + short}")
    assert report["unreadable"] == []
    for split, (_, rows) in ROWS.items():
        assert report["rows"][split] == {"found": rows, "published": rows}
        assert len(report["classes"][split]) == 10 and set(report["classes"][split].values()) == {rows // 10}
