"""`PublishedSetCase`: the tests that every named set has, on small files in the published form; and how to write such files."""

import hashlib
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard
from torchvision.transforms.functional import to_tensor

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.builders import download
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.load.loading import make_builder
from dataset_scripts.core.load.script import PACKAGE, find_script
from dataset_scripts.core.look.verify import verify


class PublishedSetCase:
    """A subclass states a set's files and the rows that another reader finds in them, and gets the tests below:

    ```python
    class TestMnist(PublishedSetCase):
        name = "mnist"
        forms = ("published", "MNIST/raw")

        def write(self, folder, rng):
            for file in ("train-images-idx3-ubyte.gz", …):
                write_file(folder / "published" / file, …)

        def expected(self, folder, part):
            return torchvision.datasets.MNIST(folder, train=part == "train")
    ```

    Each test has new files, of a new generator. What only this set promises is a test method of the subclass; it has the
    first configuration unless it sets `self.config`.

    Attributes:
        name: the set.
        configs: its configurations that are tested.
        downloads: those of them that have files of their own, for which verification and download are tested; by default
            the first.
        splits: split -> what `expected` is asked for, which is the other reader's name of it.
        forms: what is read, below the folder that was written: "published" holds the published files, others the same
            data unpacked, or an archive itself.
        ordered: whether the rows are in the order of the other reader; else they are found by their pixels.
        by_hand: why the files cannot be downloaded, for sets without URLs.
        parts: split -> patterns of the files and folders that it alone needs, in the form `loose`.
        loose: the form in which the splits are in separate files.
        inseparable: why the splits are not in separate files.
    """

    name: ClassVar[str]
    configs: ClassVar[tuple[str, ...]] = ("default",)
    downloads: ClassVar[tuple[str, ...]] = ()
    splits: ClassVar[dict[str, str]] = {"train": "train", "test": "test"}
    forms: ClassVar[tuple[str, ...]] = ("published",)
    ordered: ClassVar[bool] = True
    by_hand: ClassVar[str] = ""
    parts: ClassVar[dict[str, list[str]]] = {}
    loose: ClassVar[str] = "published"
    inseparable: ClassVar[str] = ""

    def write(self, folder: Path, rng: np.random.Generator) -> None:
        """Writes the published files into `folder / "published"`, and what `forms` and the other reader need beside it."""
        raise NotImplementedError

    def expected(self, folder: Path, part: str) -> Sequence:
        """The rows of a split: pairs of image and label, or a dict with all columns in order; see `assert_same`."""
        raise NotImplementedError

    def classes(self, folder: Path) -> list[str] | None:
        """The names of the classes, unless they are only on the card."""
        return None

    def pytest_generate_tests(self, metafunc):
        test = metafunc.function.__name__
        if test in vars(PublishedSetCase):
            configs = self.configs if test in ("test_rows", "test_card") else self.downloads or self.configs[:1]
            if len(self.configs) > 1:
                metafunc.parametrize("configured", configs, indirect=True)
        if "form" in metafunc.fixturenames:
            metafunc.parametrize("form", self.forms)

    @pytest.fixture(autouse=True)
    def configured(self, request):
        """Chooses the configuration of a test."""
        self.config = getattr(request, "param", self.configs[0])

    @pytest.fixture
    def folder(self, configured, tmp_path, rng):
        """The files of the set, for this test alone."""
        self.write(tmp_path, rng)
        return tmp_path

    @pytest.fixture
    def requests(self, folder, monkeypatch):
        """Declares that the set consists of the files that were written, on a server; returns the names that it was asked."""
        requests = []

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *_):
                requests.append(self.path.removeprefix("/"))

        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder / "published")))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        at = f"http://127.0.0.1:{server.server_port}/"
        sources = []
        for source in self.builder().sources():
            content = self.published(folder, source).read_bytes()
            urls = tuple(at + source.name for _ in source.urls[:1])
            sources.append(replace(source, urls=urls, size=len(content), digest=sha256(content)))
        rows = {split: len(self.expected(folder, part)) for split, part in self.splits.items()}
        self.declare(monkeypatch, sources, rows)
        monkeypatch.setattr(download, "PAUSE", 0.01)
        yield requests
        server.shutdown()
        server.server_close()

    @pytest.fixture
    def changed(self, folder, requests, monkeypatch):
        """Declares that a byte of the last file was another one; returns the name of the file."""
        *others, last = self.builder().sources()
        content = bytearray(self.published(folder, last).read_bytes())
        content[len(content) // 2] ^= 1
        self.declare(monkeypatch, [*others, replace(last, digest=sha256(content))], self.builder().ROWS)
        return last.name

    def test_rows(self, folder, form):
        sets = self.load(folder / form)
        assert list(sets) == list(self.splits)
        for split, part in self.splits.items():
            self.assert_rows(sets[split], self.expected(folder, part))

    def test_card(self, folder):
        card = DatasetCard.load(PACKAGE / self.name / "README.md")
        info = DatasetInfosDict.from_dataset_card_data(card.data)[self.config]
        sets, classes = self.load(folder / "published"), self.classes(folder)
        assert list(sets) == list(info.splits)
        assert info.features or classes, "a card that does not name the classes needs a case that does"
        for rows in sets.values():
            assert info.features is None or rows.features == info.features
            assert classes is None or class_names(rows.features) == classes

    def test_verify(self, folder, requests):
        report = verify(self.name, self.config, str(folder / "published"))
        assert report["files"] == {source.name: "ok" for source in self.builder().sources()}
        counts = {split: len(self.expected(folder, part)) for split, part in self.splits.items()}
        assert report["rows"] == {split: {"found": rows, "published": rows} for split, rows in counts.items()}
        assert report["ok"]

    def test_verify_reports_a_changed_byte(self, folder, changed):
        report = verify(self.name, self.config, str(folder / "published"))
        assert "its sha256 is" in report["files"].pop(changed)
        assert set(report["files"].values()) <= {"ok"}
        assert not report["ok"]

    def test_download(self, folder, requests):
        names = [source.name for source in self.builder().sources()]
        if self.by_hand:
            with pytest.raises(DataError, match=f"{names[0]} has to be fetched by hand.*data_dir="):
                self.load(None, cache_dir=str(folder / "cache"))
            return
        sets = self.load(None, cache_dir=str(folder / "cache"))
        assert requests == names
        for split, part in self.splits.items():
            self.assert_rows(sets[split], self.expected(folder, part))

    def test_download_refuses_a_changed_byte(self, folder, changed):
        if self.by_hand:
            pytest.skip(self.by_hand)
        with pytest.raises(DataError, match=f"{changed} could not be downloaded .*its sha256 is .*pass data_dir="):
            self.load(None, cache_dir=str(folder / "cache"))

    def test_a_part(self, folder, caplog):
        """Each split alone, and all others without it, as before; the log and the error name what is missing."""
        if self.inseparable:
            assert not self.parts and not self.builder().parts()
        if self.inseparable or len(self.splits) < 2:
            pytest.skip(self.inseparable or "there is one split")
        whole = self.load(folder / self.loose)
        parts = [[split] for split in self.splits]
        parts += [[other for other in self.splits if other != split] for split in self.splits if len(self.splits) > 2]
        for kept in parts:
            gone = [split for split in self.splits if split not in kept]
            data = self.without(folder, *gone)
            caplog.clear()
            sets = self.load(data)
            for split in gone:
                assert caplog.text.count(f"{data} holds no files of the split {split}: it is left out") == 1
            assert caplog.text.count(": it is left out") == len(gone)
            assert list(sets) == kept
            for split, rows in sets.items():
                assert rows.features == whole[split].features
                self.assert_rows(rows, self.expected(folder, self.splits[split]))
            (split, *_), (other, *_) = gone, kept
            part = datasets.ReadInstruction(split, to=10, unit="%")
            for asked in (split, f"{split}[:10%]", [other, split], f"{other}+{split}", {"here": split}, part):
                with pytest.raises(DataError, match=f"{data} holds no files of the split {split}: it needs "):
                    self.load(data, split=asked)
            with pytest.raises(DataError, match=f"{data} holds no files of the split {split}: it needs "):
                self.load(data, split=split, streaming=True)
            assert len(self.load(data, split=f"{other}[:1]")) == 1

    def test_without_any_split(self, folder):
        if self.inseparable or len(self.splits) < 2:
            pytest.skip(self.inseparable or "there is one split")
        data, (first, *_) = self.without(folder, *self.splits), self.builder().parts()
        self.assert_refused(data, f"holds no .*: the split {first} needs it, and no other split is there")

    def test_verify_without_a_split(self, folder, requests):
        if self.inseparable or len(self.splits) < 2:
            pytest.skip(self.inseparable or "there is one split")
        gone, *others = self.splits
        report = verify(self.name, self.config, str(self.without(folder, gone)))
        assert report["missing"] == [gone] and report["rows"][gone]["found"] == 0
        assert all(report["rows"][split]["found"] == report["rows"][split]["published"] for split in others)
        assert not report["ok"]

    def without(self, folder: Path, *splits: str) -> Path:
        """A copy of the files without those of some splits."""
        data = folder / f"without_{'_'.join(splits)}"
        shutil.copytree(folder / self.loose, data)
        for split in splits:
            paths = [path for pattern in self.parts[split] for path in data.rglob(pattern)]
            assert paths
            for path in paths:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return data

    def load(self, data_dir: Path | None, **options):
        return load_dataset(self.name, self.config, data_dir=data_dir and str(data_dir), **options)

    def assert_refused(self, data_dir: Path, message: str) -> None:
        with pytest.raises(DataError, match=message):
            self.load(data_dir)

    def builder(self, config: str | None = None) -> PublishedSet:
        return make_builder(find_script(self.name), config or self.config)

    def declare(self, monkeypatch, sources: list[Source], rows: dict[str, int]) -> None:
        """Replaces what the set says about its files, whatever the configuration."""
        builder = type(self.builder())
        monkeypatch.setattr(builder, "sources", lambda self: tuple(sources))
        monkeypatch.setattr(builder, "ROWS", property(lambda self: rows, lambda self, value: None))

    def published(self, folder: Path, source: Source) -> Path:
        """The file of a source, which may be in a folder of its own."""
        (path,) = (folder / "published").rglob(source.name)
        return path

    def assert_rows(self, rows: datasets.Dataset, expected: Sequence) -> None:
        """All rows are as another reader has them."""
        expected = [expected[number] for number in range(len(expected))]
        expected = [row if isinstance(row, dict) else dict(zip(("image", "label"), row)) for row in expected]
        found = list(rows)
        assert len(found) == len(expected) > 0
        assert rows.column_names == list(expected[0])
        if not self.ordered:
            by_pixels = {pixels(to_tensor(row["image"])): row for row in expected}
            assert {pixels(row["image"]) for row in found} == by_pixels.keys() and len(by_pixels) == len(found)
            expected = [by_pixels[pixels(row["image"])] for row in found]
        features = rows.features  # a copy each time
        for row, wanted in zip(found, expected):
            for column, value in wanted.items():
                assert_same(row[column], value, features[column])


def assert_same(found: Any, expected: Any, feature: Any) -> None:
    """A value of a row is the expected one: a photo as a Pillow image, a mask as an array, a class as number or name."""
    if isinstance(expected, PIL.Image.Image):
        assert torch.equal(found, to_tensor(expected))
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value, feature.get(key))
    elif isinstance(feature, datasets.Image) and expected is not None:
        assert not found.is_floating_point() and np.array_equal(found, expected)
    elif isinstance(feature, datasets.ClassLabel) and isinstance(expected, str):
        assert feature.int2str(int(found)) == expected
    elif isinstance(getattr(feature, "feature", None), (datasets.ClassLabel, datasets.Image)):
        assert len(found) == len(expected)
        for item, value in zip(found, expected):
            assert_same(item, value, feature.feature)
    elif isinstance(found, (np.ndarray, torch.Tensor)) or isinstance(expected, (np.ndarray, torch.Tensor)):
        assert np.shape(found) == np.shape(expected)
        assert np.allclose(found, expected, rtol=1e-6, atol=1e-5)
    else:
        assert found == expected


def pixels(image: torch.Tensor) -> bytes:
    return image.numpy().tobytes()


def class_names(features: datasets.Features) -> list[str]:
    """The names of the labels, or of what is in the boxes."""
    return (features["label"] if "label" in features else features["objects"]["category"].feature).names


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def unchecked(reader: type) -> type:
    """A reader of torchvision without its comparison of digests: the content here is random."""
    changes = dict.fromkeys(("_check_integrity", "_check_exists"), lambda self: True)
    if hasattr(reader, "meta"):
        changes["meta"] = reader.meta | {"md5": None}
    return type(reader.__name__, (reader,), changes)


def named(reader: Any, names: list[str]) -> list[tuple[PIL.Image.Image, str]]:
    """The images of a reader with the names of their classes, where its numbers are others."""
    return [(image, names[label]) for image, label in (reader[number] for number in range(len(reader)))]


def write_file(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_image(path: Path, rng: np.random.Generator, width: int = 9, height: int = 7) -> None:
    """A random image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)


def pack(archive: Path, folder: Path, *names: str) -> None:
    """Files and folders of a folder as an archive, of the kind that its name says."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for top in (folder / name for name in names):
                for path in (top, *sorted(top.rglob("*"))):
                    file.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as file:
            for name in names:
                file.add(folder / name, name)
