"""One execution: a folder is read as a user would read it, and the result is checked.

Rows, a DataError, a TrustError and, from recipes, a UserError are allowed. Anything else is raised, unchanged or as
`Unsound`.
"""

import copy
import functools
import importlib
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import examples_binary
import examples_drawn
import examples_records
import examples_sets
import examples_shapes
import examples_tables
import pyarrow as pa
from dictionary import SECRET
from examples import EXAMPLES
from parsers import PARSERS

from dataset_scripts import DataError, ToTensor, TrustError
from dataset_scripts.core.card.check import check_card
from dataset_scripts.core.card.standalone import card_header
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.image.decode import Frame, decode_image
from dataset_scripts.core.load import detect as layouts
from dataset_scripts.core.load.detect import detect
from dataset_scripts.core.load.script import bundled_names, find_script
from recipes.core.config import reading, tasks
from recipes.core.errors import UserError
from recipes.core.fidelity import precomputed
from recipes.core.models.saved import load_generator, load_model
from recipes.core.options import to_yaml
from recipes.core.run import checkpoint

ALLOWED = (DataError, TrustError, UserError)
FILLED = (
    examples_binary,
    examples_drawn,
    examples_records,
    examples_sets,
    examples_shapes,
    examples_tables,
)  # which add to EXAMPLES
TARGETS = tuple(EXAMPLES)
LARGE = 1 << 20  # pixels; larger images are not decoded
SAMPLE = 4  # tables per split whose rows are decoded; all tables are read
# These do not change during a run.
layouts.declared, layouts.find_script = map(functools.cache, (layouts.declared, find_script))


class Unsound(AssertionError):
    """Rows, or an error, that should not be."""


@functools.cache
def template(reader: str, name: str | None) -> datasets.DatasetBuilder:
    """A builder of a script, to be copied: making one takes longer than reading a small folder."""
    return find_script(reader).builder_class()(config_name=name, hash="0", data_dir="/", base_path="/")


def prepare(work: Path) -> None:
    """Imports every script, so that no execution is slower than the others."""
    datasets.config.HF_DATASETS_CACHE = work / "cache"
    for target in EXAMPLES.values():
        if target.reader not in OTHERS and target.reader not in PARSERS:
            template(target.reader, target.config)
    for name in bundled_names():
        importlib.import_module(find_script(name).module_name())


def execute(target: str, folder: Path, rng: random.Random) -> int:
    """Reads a folder; the number of its rows."""
    reader, _, name = EXAMPLES[target]
    if target in PARSERS:
        return PARSERS[target](b"".join(path.read_bytes() for path in files_in(folder)))
    if reader in OTHERS:
        return OTHERS[reader](folder)
    on_error = rng.choice(("raise", "raise", "skip"))
    files = Files.of(folder)
    found, fault = None, None
    try:
        found = detect(files)
    except ALLOWED as error:
        fault = error
    if rng.random() < 0.25:  # as `load_dataset(folder)` does
        if fault:
            raise fault
        if found is not None:
            reader, name = found.name, None
    return read_all(reader, name, folder, files, on_error)


def read_all(reader: str, name: str | None, folder: Path, files: Files, on_error: str) -> int:
    """Builds all rows of all splits, without the cache of `datasets`."""
    builder = copy.copy(template(reader, name))
    builder.config = replace(copy.copy(builder.config), data_dir=str(folder), on_error=on_error)
    builder.info, builder.files = builder._info(), files
    manager = SimpleNamespace(is_streaming=True, download_config=SimpleNamespace(cache_dir=folder.parent / "downloads"))
    count = 0
    for split in builder._split_generators(manager):
        for number, (_, table) in enumerate(builder._generate_tables(**split.gen_kwargs)):
            count += len(table)
            check_inside(table)
            if number < SAMPLE:
                check_rows(table, builder.info.features, on_error)
    return count


def check_inside(table: pa.Table) -> None:
    """Checks that the rows hold nothing from outside the folder."""
    for column in table.columns:
        for chunk in column.chunks:
            if any(buffer is not None and SECRET in memoryview(buffer).tobytes() for buffer in chunk.buffers()):
                raise Unsound("a row holds what lies outside of the folder")


def check_rows(table: pa.Table, features: datasets.Features, on_error: str) -> None:
    """Checks that the rows match the features, down to the tensors."""
    transform = ToTensor(
        columns=tuple(name for name, feature in features.items() if isinstance(feature, datasets.Image))
    )
    raw = datasets.Features(features | dict.fromkeys(transform.columns, datasets.Image(decode=False)))
    for row in table.slice(0, 8).to_pylist():
        row = raw.decode_example(row)
        images = {name: row[name] for name in transform.columns if row[name] is not None}
        try:
            if all(is_small(value["bytes"]) for value in images.values()):
                transform(row | {name: decode_image(value, name) for name, value in images.items()})
        except DataError as error:
            if on_error == "skip":
                raise Unsound(f'on_error="skip" left a damaged image: {error}') from error
            raise


def is_small(content: bytes) -> bool:
    width, height = Frame.of(content, "image").size
    return width * height <= LARGE


def read_card(folder: Path) -> int:
    count = 0
    for path in files_in(folder):
        check_card(path)
        card_header(path)
        detect(Files.of(folder))
        count += 1
    return count


def read_stock(folder: Path) -> int:
    """Reads a folder as `datasets` does: checks that it is left to `datasets`, and the content of its Parquet files."""
    if detect(Files.of(folder)) is None:
        return 1
    return read_all("image_folder", None, folder, Files.of(folder), "raise")


def read_config(folder: Path) -> int:
    options = (
        (folder / "options.txt").read_text("utf-8", "replace").split() if (folder / "options.txt").is_file() else []
    )
    for path in folder.glob("*.yaml"):
        options = [option for option in options if "=" in option]
        read, *_ = reading.read_config(tasks.Train, [str(path), *options], "digits")
        to_yaml(read)
    return 1


def read_model(folder: Path) -> int:
    errors = []
    for load in (load_model, load_generator):
        try:
            load(folder)
        except ALLOWED as error:
            errors.append(error)
    if len(errors) == 2:
        raise errors[0]
    return 1


def read_checkpoint(folder: Path) -> int:
    found = checkpoint.find(folder)
    for path in found:
        if checkpoint.is_sound(path):
            checkpoint.load(path)
    for path in found:  # a manifest may be made to fit
        if (path / "state.pt").is_file() and (path / "progress.json").is_file():
            checkpoint.load(path)
    return len(found)


def read_features(folder: Path) -> int:
    count = 0
    for path in files_in(folder):
        if path.suffix in (".npz", ".safetensors") and (found := precomputed.read(path)) is not None:
            count += 1
            if found.statistics() is None:
                found.features("2048", "kid")
    return count


def read_images(folder: Path) -> int:
    count, fault = 0, None
    for path in files_in(folder):
        content = path.read_bytes()
        for read in (Frame.of, lambda content, name: ToTensor()(decode_image({"bytes": content, "path": name}, name))):
            try:
                if is_small(content):
                    read(content, path.name)
                    count += 1
            except DataError as error:
                fault = error
    if fault:
        raise fault
    return count


def files_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


OTHERS: dict[str, Callable[[Path], Any]] = {
    "card": read_card,
    "stock": read_stock,
    "config": read_config,
    "model": read_model,
    "checkpoint": read_checkpoint,
    "features": read_features,
    "images": read_images,
}
