"""The same script files under datasets 3.6, the last version that ran scripts itself: the same rows as today's.

python -m venv /tmp/datasets3
/tmp/datasets3/bin/pip install 'datasets==3.6.*' torch torchvision pillow filelock tqdm defusedxml pyyaml pycocotools
DATASETS3=/tmp/datasets3/bin/python python -m pytest tests/test_compat.py
"""

import gzip
import hashlib
import inspect
import json
import os
import struct
import subprocess

import numpy as np
import pytest

from dataset_scripts import load_dataset
from dataset_scripts.core.load.script import bundled


def fingerprint(rows):
    """The columns and every row as text: pixels by mode, size and digest, everything else by value."""

    def plain(value):
        if hasattr(value, "tobytes"):
            return [value.mode, value.size, hashlib.sha256(value.tobytes()).hexdigest()]
        if isinstance(value, dict):
            return {key: plain(item) for key, item in sorted(value.items())}
        return [plain(item) for item in value] if isinstance(value, list) else value

    names = getattr(rows.features.get("label"), "names", None)
    return [f"{list(rows.features)} {names}", *(repr(plain(row)) for row in rows)]


# Run by the other Python: the code that people wrote for scripts from the Hub.
PROGRAM = f"""
import hashlib, json, sys
import datasets

{inspect.getsource(fingerprint)}

assert datasets.__version__.startswith("3.6."), datasets.__version__
for path, options in json.load(sys.stdin):
    # Of MNIST there is a part here, and datasets 3 compares rows with the card.
    loaded = datasets.load_dataset(path, trust_remote_code=True, verification_mode="no_checks", **options)
    print(json.dumps({{split: fingerprint(rows) for split, rows in loaded.items()}}))
"""


def write_mnist(folder, save_image):
    rng = np.random.default_rng(1)
    for prefix, count in (("train", 30), ("t10k", 20)):
        with gzip.open(folder / f"{prefix}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">HBBIII", 0, 8, 3, count, 28, 28) + rng.bytes(count * 784))
        with gzip.open(folder / f"{prefix}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">HBBI", 0, 8, 1, count) + bytes(number * 7 % 10 for number in range(count)))


def write_image_folder(folder, save_image):
    for split in ("train", "test"):
        for number in range(6):
            save_image(
                folder / split / ("cat", "dog")[number % 2] / f"{number}.png",
                (9 + number, 7),
                ("RGB", "L")[number // 3],
            )


def write_arrays(folder, save_image):
    rng = np.random.default_rng(2)
    np.savez(folder / "data.npz", images=rng.integers(0, 256, (8, 5, 6, 3), np.uint8), labels=rng.integers(0, 3, 8))


def write_coco(folder, save_image):
    """Boxes and polygons, none on the last image."""
    rng = np.random.default_rng(3)
    images = [{"id": number, "file_name": f"{number}.png", "width": 30, "height": 20} for number in range(4)]
    objects = []
    for number in range(9):
        x, y, width, height = (rng.uniform((1, 1, 4, 4), (15, 10, 14, 9))).tolist()
        shape = [x, y, x + width, y, x + width, y + height]
        objects.append(
            {
                "id": number,
                "image_id": number % 3,
                "category_id": number % 2 + 1,
                "bbox": [x, y, width, height],
                "segmentation": [shape],
                "area": width * height / 2,
                "iscrowd": 0,
            }
        )
    for image in images:
        save_image(folder / "train" / image["file_name"], (30, 20))
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    described = {"images": images, "annotations": objects, "categories": categories}
    (folder / "annotations").mkdir()
    (folder / "annotations/instances_train.json").write_text(json.dumps(described))


def write_voc(folder, save_image):
    """A person with parts, a list of objects inside an object, and one without parts."""
    box = "<bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox>"
    (folder / "Annotations").mkdir()
    for name, part in (("a", f"<part><name>head</name>{box.format(4, 6)}</part>" * 2), ("b", "")):
        save_image(folder / f"JPEGImages/{name}.jpg", (30, 20))
        (folder / f"Annotations/{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><size><width>30</width><height>20</height><depth>3</depth></size>"
            f"<object><name>person</name>{box.format(3, 12)}{part}</object></annotation>"
        )


def test_the_same_rows(tmp_path, root, save_image):
    python = os.environ.get("DATASETS3")
    if not python:
        pytest.skip(
            "datasets 3.6 is not at hand: DATASETS3=path/to/python, of an environment as the top of this file makes"
        )
    sets = {"digits": {}}
    for write in (write_image_folder, write_mnist, write_arrays, write_coco, write_voc):
        name = write.__name__.removeprefix("write_")
        (tmp_path / name).mkdir()
        write(tmp_path / name, save_image)
        sets[name] = {"data_dir": str(tmp_path / name)}
    calls = [
        (name, options | mode | {"cache_dir": str(tmp_path / f"cache{number}")})
        for name, options in sets.items()
        for number, mode in enumerate(({}, {"num_proc": 2}, {"streaming": True}))
    ]
    result = subprocess.run(
        [python, "-c", PROGRAM],
        input=json.dumps([(str(bundled()[name].parent), options) for name, options in calls]),
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "HF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    for (name, options), line in zip(calls, result.stdout.splitlines(), strict=True):
        rows = load_dataset(name, transform=None, data_dir=options.get("data_dir"))
        assert json.loads(line) == {split: fingerprint(part) for split, part in rows.items()}, (name, options)
        assert all(len(part) > 1 for part in rows.values()), name
