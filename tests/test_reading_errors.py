"""An image that cannot be read is named, however its row is reached; rows of any size fit into tables."""

import io
import multiprocessing
import re
import warnings
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.builders.layout import LayoutBuilder, Rows
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.image.columns import Image
from dataset_scripts.core.image.decode import decode_image
from dataset_scripts.layouts.image_folder.image_folder import ImageFolder


def png(size: int = 16) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.open(io.BytesIO(png(64))).save(buffer, "JPEG")
    return buffer.getvalue()


DAMAGED = {
    "cut.jpg": (jpeg()[:1204], "cut off after 1,204 bytes"),
    "cut.png": (png()[:300], "cut off after 300 bytes"),
    "lfs.png": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
        "a git-lfs pointer.*git lfs pull",
    ),
    "annex.jpg": (b"/annex/objects/MD5E-s4--00.jpg\n", "a git-annex pointer.*git annex get"),
    "page.jpg": (b"\xef\xbb\xbf\n<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
    "drawing.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
    "words.jpg": (b"AccessDenied, says the server", r"not an image: its 29 bytes start with b'AccessDe'"),
    "flipped.png": (png()[:60] + bytes(200) + png()[260:], ""),
}


@pytest.mark.parametrize(
    "content, message",
    [
        (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"><html/>', "an HTML page"),
        (b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>', "an HTML page"),
        (b"<!-- " + b"saved from a mirror " * 100 + b"-->\n<!-- 2 -->\n<HTML>", "an HTML page"),
        (b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>', "a server's error"),
        (b'<?xml version="1.0"?><!-- made by hand --><!DOCTYPE svg PUBLIC "x"><svg/>', "an SVG drawing"),
        (b"version https://hawser.github.com/spec/v1\noid sha256:00\nsize 12345\n", "a git-lfs pointer"),
        (b"../../.git/annex/objects/xX/m1/MD5E-s4--00.jpg/MD5E-s4--00.jpg", "a git-annex pointer"),
        (b".git/annex/objects/xX/m1/MD5E-s4--00.jpg/MD5E-s4--00.jpg", "a git-annex pointer"),
        (b"<!--" * 2000, "not an image"),
    ],
)
def test_what_lies_in_the_place_of_an_image(content, message):
    with pytest.raises(DataError, match=f"unreadable image a.jpg: {message}"):
        decode_image({"bytes": content, "path": "a.jpg"}, "a.jpg")


@pytest.fixture(params=sorted(DAMAGED))
def photos(request, tmp_path):
    """Two good images with a damaged one between them; the folder, and the name and the message of the damaged one."""
    content, message = DAMAGED[request.param]
    for name, data in (("a.png", png()), (request.param, content), ("z.png", png())):
        (tmp_path / "photos/cat").mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos/cat" / name).write_bytes(data)
    return str(tmp_path / "photos"), f"cat/{request.param}: .*{message}"


def test_every_way_to_a_row_names_its_image(photos):
    folder, message = photos
    rows = load_dataset(folder, split="train")
    plain = load_dataset(folder, split="train", transform=None)
    row = next(
        place for place, path in enumerate(sorted(Path(folder).rglob("*.*"))) if path.name not in ("a.png", "z.png")
    )
    ways = [
        lambda: rows[row],
        lambda: rows[:],
        lambda: rows[[row]],
        lambda: list(rows),
        lambda: plain[row],
        lambda: plain["image"][:],
        lambda: list(load_dataset(folder, split="train", streaming=True)),
        lambda: list(load_dataset(folder, split="train", streaming=True, transform=None)),
        lambda: plain.filter(lambda image: True, input_columns="image"),
        lambda: list(torch.utils.data.DataLoader(rows, batch_size=None)),
        lambda: rows.select([row, row])[0],
        lambda: plain.shuffle(seed=1)[:],
        lambda: plain.rename_column("image", "picture")[:],
    ]
    for way in ways:
        with pytest.raises(DataError, match=message) as raised:
            way()
        assert "BytesIO" not in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_name_the_image(context, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(png()[:99])
    for streaming in (False, True):
        rows = load_dataset(str(tmp_path / "photos"), split="train", streaming=streaming)
        workers = multiprocessing.get_context(context)
        loader = torch.utils.data.DataLoader(rows, batch_size=1, num_workers=1, multiprocessing_context=workers)
        with pytest.raises(DataError, match=r"^unreadable image a\.png: cut off after 99 bytes$"):
            list(loader)


def test_sets_that_datasets_reads_name_their_images_too(tmp_path):
    features = datasets.Features(image=datasets.Image(), more=datasets.List(datasets.Image()))
    image = {"bytes": png()[:150], "path": "deep/b.png"}
    values = {"image": [{"bytes": png(), "path": None}], "more": [[{"bytes": png(), "path": None}, image]]}
    schema = features.arrow_schema
    pq.write_table(
        pa.table([pa.array(values[name], schema.field(name).type) for name in values], schema=schema),
        tmp_path / "a.parquet",
    )
    for streaming in (False, True):
        with pytest.raises(DataError, match=r"b\.png: cut off after 150 bytes"):
            list(load_dataset(str(tmp_path), split="train", streaming=streaming))


def test_an_image_over_the_limit_of_pixels_is_named(tmp_path, monkeypatch):
    (tmp_path / "big.png").write_bytes(png(100))
    rows = load_dataset(str(tmp_path), split="train")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(DataError, match=r"big\.png: more than 8,000 pixels, Pillow's limit .*MAX_IMAGE_PIXELS"):
        rows[0]
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 8000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        assert rows[0]["image"].shape == (3, 100, 100)


def test_the_feature_is_that_of_datasets(tmp_path):
    """It compares, prints, joins and is saved as the stock one."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(png())
    rows = load_dataset(str(tmp_path / "photos"), split="train", transform=None)
    stock = datasets.Dataset.from_dict({"image": [png()]}, features=datasets.Features(image=datasets.Image()))
    assert isinstance(rows.features["image"], Image) and repr(rows.features) == repr(stock.features)
    assert rows.features == stock.features and stock.features == rows.features
    assert datasets.Image(mode="L") != rows.features["image"] != datasets.Image(decode=False)
    assert len(datasets.concatenate_datasets([rows, stock])) == len(datasets.concatenate_datasets([stock, rows])) == 2
    rows.save_to_disk(tmp_path / "saved")
    saved = datasets.load_from_disk(tmp_path / "saved")
    assert type(saved.features["image"]) is datasets.Image and saved.features == rows.features
    assert rows.cast_column("image", datasets.Image(mode="L"))[0]["image"].mode == "L"


class Large(LayoutBuilder):
    """Rows of a given number of bytes that are no files."""

    def index(self, files):
        return datasets.Features(image=datasets.Image(), number=datasets.Value("int64")), {
            "train": Rows(list(range(self.COUNT)))
        }

    def read(self, files, sample):
        return {"image": {"bytes": bytes(self.SIZE), "path": None}, "number": sample}


def test_tables_are_cut_by_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("dataset_scripts.core.builders.layout.TABLE", 10_000)
    monkeypatch.setattr("dataset_scripts.core.builders.layout.SINGLE", 10_000)
    for count, size in ((70, 40_000), (1_640, 900), (300, 10)):
        Large.COUNT, Large.SIZE = count, size
        (tmp_path / "photos").mkdir(exist_ok=True)
        builder = Large(cache_dir=str(tmp_path / f"cache{size}"), data_dir=str(tmp_path / "photos"))
        (split,) = builder._split_generators(datasets.StreamingDownloadManager())
        tables = [table for _, table in builder._generate_tables(**split.gen_kwargs)]
        assert max(table.nbytes for table in tables) < 10_000 + size + 20 * LayoutBuilder.CHUNK
        assert pa.concat_tables(tables)["number"].to_pylist() == list(range(count))
        # `datasets` collects tables of one row, and writes them when another table follows.
        for place, table in enumerate(tables):
            assert len(table) != 1 or table.nbytes < 10_000 or len(tables[place + 1]) == 0
        builder.download_and_prepare()
        assert builder.as_dataset("train").with_format("arrow")[:]["number"].to_pylist() == list(range(count))


@pytest.mark.slow
@pytest.mark.parametrize("count, size", [(56, 40_000_000), (240, 9_000_000)])
def test_more_than_two_gigabytes(count, size, tmp_path):
    """Arrow counts the bytes of a column of a table in 31 bits, which 54 images of 40 MB exceed."""
    Large.COUNT, Large.SIZE = count, size
    (tmp_path / "photos").mkdir()
    builder = Large(cache_dir=str(tmp_path / "cache"), data_dir=str(tmp_path / "photos"))
    builder.download_and_prepare()
    rows = builder.as_dataset("train").cast_column("image", datasets.Image(decode=False))
    assert len(rows) == count and all(len(rows[row]["image"]["bytes"]) == size for row in range(0, count, 23))


class Odd(ImageFolder):
    """Fails in every way that code and Arrow can."""

    FAULTS = {
        "1": lambda row: 1 / 0,
        "2": lambda row: row["missing"],
        "3": lambda row: row | {"image": {"bytes": 3.5, "path": None}},
        "4": lambda row: row | {"number": "many"},
        "5": lambda row: row | {"number": 2**70},
        "6": lambda row: {"image": row["image"]},
        "7": lambda row: row | {"image": {"bytes": b"no image", "path": "7.png"}},
        "8": lambda row: row | {"image": 3},
        "9": lambda row: [].pop(),
    }

    def index(self, files):
        features, splits = super().index(files)
        return datasets.Features(features | {"number": datasets.Value("int32")}), splits

    def read(self, files, sample):
        row = super().read(files, sample) | {"number": 5}
        return self.FAULTS.get(Path(sample).stem, lambda row: row)(row)


@pytest.mark.parametrize("streaming", [False, True])
def test_skip_takes_any_exception(streaming, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in "0123456789":
        (tmp_path / f"photos/{name}.png").write_bytes(png())
    builder = Odd(cache_dir=str(tmp_path / "cache"), data_dir=str(tmp_path / "photos"), on_error="skip")
    if streaming:
        rows = list(builder.as_streaming_dataset("train"))
    else:
        builder.download_and_prepare()
        rows = list(builder.as_dataset("train"))
        lines = builder.skipped_path.read_text().splitlines()
        assert sorted(re.search(r"(\d)\.png", line)[1] for line in lines) == list("123456789")
    assert len(rows) == 1 and rows[0]["number"] == 5


@pytest.mark.parametrize("name", sorted(Odd.FAULTS.keys() - {"7"}))
def test_without_skip_any_exception_names_the_row(name, tmp_path):
    (tmp_path / "photos").mkdir()
    for stem in ("0", name, "x"):
        (tmp_path / f"photos/{stem}.png").write_bytes(png())
    builder = Odd(cache_dir=str(tmp_path / "cache"), data_dir=str(tmp_path / "photos"))
    with pytest.raises(DataError, match=rf"photos/{name}\.png: "):
        list(builder.as_streaming_dataset("train"))


def test_a_full_disk_is_the_fault_of_no_row():
    faults = Faults("skip", None)
    with pytest.raises(OSError):
        with faults:
            raise OSError(28, "No space left on device")
