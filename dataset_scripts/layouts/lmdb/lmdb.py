"""LMDB environments of encoded images, as in LSUN, text recognition (image-000000001, label-000000001) and Caffe."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from dataset_scripts.core.builders.classes import most_classes, numbered_classes
from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.errors import DataError, printable_logger, reading, reason
from dataset_scripts.core.files.faults import readable
from dataset_scripts.core.files.listing import Files, Reader, folder_of, name_of
from dataset_scripts.core.files.splits import SPLITS, split_in
from dataset_scripts.core.formats.protobuf import fields, signed
from dataset_scripts.core.image.decode import encode_image, is_encoded_image
from dataset_scripts.layouts.lmdb.environment import (
    close_environments,
    environments,
    get,
    items,
    open_environment,
    pack,
    trust,
    unpack,
    verified,
)

logger = printable_logger(__name__)

PRECEDENCE = 2
SUFFIXES = (".mdb", ".lmdb")
COUNT = b"num-samples"
NO_ROWS = {COUNT, b"length", b"__len__", b"__keys__", b"meta"}  # keys of metadata
DATUM = {1: "channels", 2: "height", 3: "width", 4: "data", 5: "label", 6: "float_data", 7: "encoded"}
MAX_FIELDS = 1000  # of a Datum


@dataclass
class LmdbConfig(LayoutConfig):
    """Options of `load_dataset("lmdb", data_dir=…)`.

    Attributes:
        drop_labels: do not make classes from the names of environments.
        channels: the order of channels in Caffe's raw pixels: "bgr", as its tools write images, or "rgb".
    """

    drop_labels: bool = False
    channels: str = "bgr"


def matches(files):
    """Files with the header of an LMDB environment."""
    found = environments(files)
    return f"{len(found)} LMDB environments such as {found[0]}" if found else None


class Lmdb(LayoutBuilder):
    BUILDER_CONFIG_CLASS = LmdbConfig

    def index(self, files):
        files.account(files.having(".mdb"))
        if self.config.channels not in ("bgr", "rgb"):
            raise DataError(f"channels={self.config.channels!r} should be 'bgr' or 'rgb'")
        close_environments()  # of a stream that was left halfway, whose file may have changed since
        found = environments(files)
        if not found:
            raise DataError(f"{files.root} holds no LMDB environment")
        try:
            kinds = dict(readable(self.faults, found, lambda path: (path, kind_of(files, path, self.faults.skip))))
            self.paths, self.sound = list(kinds), verified()
            firsts = {kind: path for path, kind in reversed(kinds.items())}
            if len(firsts) > 1:
                listed = ", but ".join(f"{path} holds {kind}" for kind, path in reversed(firsts.items()))
                raise DataError(f"{files.root}: {listed}: load them one by one")
            (self.kind,) = firsts
            return getattr(self, f"_index_{self.kind}")(files)
        finally:
            close_environments()

    def _index_images(self, files: Files) -> tuple[datasets.Features, dict[str, Rows]]:
        """Keys of any form, with encoded images; the names of several environments are classes."""
        features, self.labels = {"image": datasets.Image(), "image_id": datasets.Value("string")}, None
        names = classes_of(self.paths)
        classes = sorted({*names} - {""})
        if len(classes) > 1 and not self.config.drop_labels:
            features["label"] = datasets.ClassLabel(names=classes)
            self.labels = [classes.index(name) if name else None for name in names]
        return datasets.Features(features), self._splits([self._keys(files, path) for path in self.paths])

    def _index_texts(self, files: Files) -> tuple[datasets.Features, dict[str, Rows]]:
        """Pairs of image and text, counted from 1."""
        features = {"image": datasets.Image(), "image_id": datasets.Value("string")}
        counts, self.has_texts = [], False
        for path in self.paths:
            value = get(files, path, COUNT)
            if not value.isdigit():
                raise DataError(f"{files.root}/{path}: num-samples is {value[:40]!r}, not a number")
            entries = open_environment(files, path).stat()["entries"]
            if len(value) > 18 or int(value) >= entries:
                raise DataError(
                    f"{files.root}/{path}: num-samples is {value[:40].decode()}, but it holds only {entries} keys"
                )
            counts.append(int(value))
            others = entries - 1 - counts[-1]
            self.has_texts |= others > 0
            if others > counts[-1]:
                number = others - counts[-1]
                logger.warning("%s/%s: %d keys are neither image nor text, and ignored", files.root, path, number)
        if self.has_texts:
            features["text"] = datasets.Value("string")
        keys = [(b"image-%09d" % number for number in range(1, count + 1)) for count in counts]
        return datasets.Features(features), self._splits(keys)

    def _index_datums(self, files: Files) -> tuple[datasets.Features, dict[str, Rows]]:
        """Caffe's messages of image and label."""
        self.highest = -1
        rows = sum(open_environment(files, path).stat()["entries"] for path in self.paths)
        splits = self._splits([self._labelled_keys(files, path, rows) for path in self.paths])
        label = datasets.ClassLabel(names=numbered_classes(self.highest, rows, files.root))
        features = datasets.Features(image=datasets.Image(), image_id=datasets.Value("string"), label=label)
        return features, splits

    def _labelled_keys(self, files: Files, path: str, rows: int) -> Iterator[bytes]:
        for key, value in items(files, path):
            if key not in NO_ROWS:
                sound = False
                with self.faults:
                    where = f"{files.root}/{path}, key {name_key(key)}"
                    label = parse_datum(value, where).get("label", 0)
                    if label >= most_classes(rows):
                        raise DataError(f"{where} has the label {label}, too large for {rows} rows")
                    self.highest, sound = max(self.highest, label), True
                if sound:
                    yield key

    def _keys(self, files: Files, path: str) -> Iterator[bytes]:
        for key, _ in items(files, path):
            if key not in NO_ROWS:
                yield key

    def _splits(self, keys: list[Iterator[bytes]]) -> dict[str, Rows]:
        splits = {}
        for place, (path, names) in enumerate(zip(self.paths, keys)):
            splits.setdefault(split_in(environment_of(path)) or "train", []).append(pack(names, place))
        return {split: Rows(np.concatenate(samples)) for split, samples in splits.items()}

    def __setstate__(self, state):
        self.__dict__.update(state)
        trust(state.get("sound", {}))  # a worker need not verify environments again

    def _generate_tables(self, chunks, reader):
        yield from super()._generate_tables(chunks, reader)
        close_environments()

    def read(self, files, sample):
        place, key = unpack(sample)
        path = self.paths[place]
        where = f"{files.root}/{path}, key {name_key(key)}"
        content = get(files, path, key)
        if content is None:
            raise DataError(f"{where} is missing")
        row = {"image_id": name_key(key)}
        if self.kind == "datums":
            datum = parse_datum(content, where)
            row["label"] = datum.get("label", 0)
            try:
                content = datum_image(datum, self.config.channels)
            except Exception as error:
                raise DataError(f"{where}: {reason(error)}") from error
        elif self.kind == "texts" and self.has_texts:
            row["text"] = self._text(files, path, key.replace(b"image", b"label"))
        elif self.kind == "images" and self.labels is not None:
            row["label"] = self.labels[place]
        if not is_encoded_image(content):
            raise DataError(f"{where} holds no encoded image: it starts with {bytes(content[:8])!r}")
        return row | {"image": {"bytes": content, "path": f"{environment_of(path)}/{name_key(key)}"}}

    def _text(self, files: Reader, path: str, key: bytes) -> str:
        text, where = get(files, path, key), f"{files.root}/{path}, key {name_key(key)}"
        if text is None:
            raise DataError(f"{where} is missing")
        with reading(f"{where} is not text"):
            return text.decode()


def kind_of(files: Files, path: str, skip: bool = False) -> str:
    """The kind of an environment, by its first value, or the first readable one: "images", "texts" with images, or "datums"."""
    if get(files, path, COUNT) is not None:
        return "texts"
    fault = None
    for key, value in items(files, path):
        if key in NO_ROWS:
            continue
        if is_encoded_image(value):
            return "images"
        where = f"{files.root}/{path}, key {name_key(key)}"
        try:
            parse_datum(value, where)
        except DataError:
            start = bytes(value[:8])
            fault = fault or DataError(
                f"{where} holds neither an encoded image nor Caffe's Datum: it starts with {start!r}"
            )
            if not skip:
                raise fault from None
            continue
        return "datums"
    raise fault or DataError(f"{files.root}/{path} holds no images")


def environment_of(path: str) -> str:
    """`a/train_lmdb/data.mdb` -> `a/train_lmdb`, `a/train.lmdb` -> itself."""
    return folder_of(path) if name_of(path) == "data.mdb" else path


def classes_of(paths: list[str]) -> list[str]:
    """The class in the name of each environment, "" for none: `bedroom_train_lmdb` -> `bedroom`.

    If all are named like splits, the folders above them are used: `bedroom/train` -> `bedroom`.
    """
    parts = [environment_of(path).split("/") for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = [re.split(r"[_\-. ]+", part[-depth]) if depth <= len(part) else [] for part in parts]
        names = ["_".join(word for word in words if word.lower() not in {*SPLITS, "lmdb", "mdb"}) for words in names]
        if any(re.search("[a-zA-Z]", name) for name in names):
            return names
    return [""] * len(paths)


def name_key(key: bytes) -> str:
    """A key as text: itself, in hexadecimal digits if it is not text."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return key.hex()
    return text if text.isprintable() else key.hex()


def parse_datum(content: bytes | memoryview, where: str) -> dict[str, Any]:
    """The fields of a Datum (caffe.proto) by name; `data` is not copied.

    Raises:
        DataError: it is not a Datum.
    """
    datum = {}
    with reading(f"{where} is not a Datum with pixels"):
        for place, (number, _, value) in enumerate(fields(memoryview(content))):
            datum[DATUM[number]] = value
            if place > MAX_FIELDS:
                raise ValueError(f"it has more than {MAX_FIELDS} fields")
        if not datum.get("encoded") and len(datum["data"]) != datum["channels"] * datum["height"] * datum["width"]:
            raise ValueError(f"{len(datum['data'])} bytes do not fit its shape")
        if "label" in datum:
            datum["label"] = signed(datum["label"])
            if datum["label"] < 0:
                raise ValueError(f"its label is {datum['label']}, which is negative")
    return datum


def datum_image(datum: dict[str, Any], channels: str) -> bytes:
    """The encoded image of a Datum; raw pixels, uint8 (C, H, W), are encoded without loss."""
    if datum.get("encoded"):
        return bytes(datum["data"])
    pixels = np.frombuffer(datum["data"], np.uint8).reshape([datum[side] for side in ("channels", "height", "width")])
    pixels = pixels.transpose(1, 2, 0)
    return encode_image(pixels[:, :, ::-1] if channels == "bgr" and pixels.shape[2] == 3 else pixels)
