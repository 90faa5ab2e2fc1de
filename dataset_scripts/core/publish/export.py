"""Datasets for people without this package: Parquet files and a card that stock `datasets` loads, from disk or the Hub."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets.table import embed_table_storage
from tqdm import tqdm

from dataset_scripts.core.card.standalone import card_header, own_card, pictures, write_card
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.disk import writing
from dataset_scripts.core.files.replace import new_file, new_folder, recover
from dataset_scripts.core.formats.card_rules import SPLIT
from dataset_scripts.core.image.columns import Origin, check_paths
from dataset_scripts.core.load.loading import load_dataset
from dataset_scripts.core.load.outputs import check_output

logger = printable_logger(__name__)

BATCH = 1024  # rows measured together
WEB = 1_000_000  # bytes that an image known only by its web address counts as
ROW_GROUP = 32_000_000  # bytes that a reader, or a thread that writes, holds at a time
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def export(
    source: Any,
    out: str | os.PathLike,
    *,
    name: str | None = None,
    split: Any = None,
    data_dir: str | None = None,
    image_dir: str | os.PathLike | None = None,
    num_proc: int | None = None,
    max_shard_size: int | str = "500MB",
    overwrite: bool = False,
    **load_kwargs: Any,
) -> Path:
    """Writes a dataset as `out/data/<split>-00000-of-00003.parquet` and a Hub dataset card, `out/README.md`.

    Images are embedded with their stored bytes (a JPEG stays that JPEG), and only the file name of their paths is
    kept. `datasets.load_dataset(out)` gives the same rows without this package; `dataset_scripts.load_dataset(out)`
    gives them as tensors. The same rows give the same bytes, whatever `num_proc`, with one version of pyarrow.

    `out` appears when it is complete, and an earlier export stays until then; a killed process leaves a hidden
    `.<out>.partial` beside it, which the next export to `out` removes.

    The card takes its header and text from the card of the set, your script or your folder, without the text
    between `<!-- package -->` and `<!-- /package -->`, and with the pictures beside it; without one it lists the columns and
    no licence.

    Args:
        source: anything that `load_dataset` takes, or a `datasets.Dataset` or `DatasetDict`; a transform on it is ignored.
        split: only these rows; `"train[:10%]"` is written as `train`, and so is `"train+test"`.
        image_dir: for a Dataset whose rows name their images by path and do not hold the bytes: the folder that must
            contain these images. The paths were chosen by the author of the data, and could point to your files.
        num_proc: processes that load, and threads that write.
        max_shard_size: bytes of a file's values before compression, a number or `"500MB"`, `"2GiB"`; a larger row gets
            its own file, and an image known by its web address counts as 1 MB.
        overwrite: replace an earlier export; any other folder that is not empty is never touched.
        load_kwargs: other arguments of `load_dataset`.

    Returns:
        `out`.

    Raises:
        DataError: `out` must not be replaced, lies in the data, or its disk is full, or the source cannot be read, is streamed, names images
            elsewhere, or has a split without rows.
    """
    limit = _bytes(max_shard_size)
    out = Path(out).expanduser().absolute()
    options = {"name": name, "data_dir": data_dir, "num_proc": num_proc, **load_kwargs}
    if isinstance(source, (str, os.PathLike)):
        check_output(out, source, options)
    recover(out)
    _refuse(out, overwrite)
    parts = _load(source, split, options, image_dir)
    features = _features(parts)
    own = own_card(source, data_dir, load_kwargs.get("trust_script", False), parts)
    with new_folder(out, lambda: _refuse(out, overwrite)) as folder:
        with writing(out):
            (folder / "data").mkdir()
        infos = datasets.splits.SplitDict()
        for part, rows in parts.items():
            size = _write(rows, part, features, folder / "data", limit, num_proc or 1)
            infos.add(datasets.SplitInfo(part, size, len(rows)))
        with writing(out):
            write_card(own, out.name, features, infos, folder)
    return out


def _refuse(out: Path, overwrite: bool) -> None:
    """Raises unless `out` is free, or an earlier export that may be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise DataError(f"{out} is a file: name a folder")
    names = {path.name for path in out.iterdir()}
    card = out / "README.md"
    shown = pictures(card.read_text(encoding="utf-8", errors="replace"), out) if card.is_file() else []
    other = sorted(names - {"README.md", "data"} - {path.name for path in shown})
    if not other and names >= {"README.md", "data"} and "dataset_info" in card_header(card):
        other = sorted(f"data/{path.name}" for path in (out / "data").iterdir() if not path.name.endswith(".parquet"))
    else:
        other = other or sorted(names)
    if other:
        raise DataError(f"{out} is not empty ({other[0]}) and not an earlier export: name another folder")
    if not overwrite:
        raise DataError(f"{out} is an earlier export: name another folder, or pass overwrite=True (--overwrite)")


def _load(source: Any, split: Any, options: dict[str, Any], image_dir: Any) -> dict[str, datasets.Dataset]:
    """The splits by the names of their files."""
    if isinstance(source, (str, os.PathLike)):
        refused = sorted({"transform", "streaming"} & options.keys())
        if refused:
            raise DataError(f"export() writes rows as they are stored: leave {refused[0]} out")
        if image_dir is not None:
            raise DataError(
                "image_dir is for a Dataset that you made: data that load_dataset reads name their own files only"
            )
        data = load_dataset(os.fspath(source), split=split, transform=None, **options)
    else:
        given = [
            name for name, value in (options | {"split": split}).items() if value is not None and name != "num_proc"
        ]
        if given:
            raise DataError(f"{given[0]} chooses what is loaded, but source is a {type(source).__name__} already")
        data = source
    parts = {}
    for part in data if isinstance(data, list) else [data]:
        named = part if isinstance(part, dict) else {_split_name(getattr(part, "split", None)): part}
        if parts.keys() & named.keys():
            raise DataError(
                f"two parts of split={split!r} have the name {next(iter(named))}: export each to its own folder"
            )
        parts |= named
    for part, rows in parts.items():
        if not SPLIT.fullmatch(str(part)):  # it becomes the name of a file
            raise DataError(f"{part!r} cannot name a split: use letters, digits, _ and single dots")
        if not isinstance(rows, datasets.Dataset):
            raise DataError(f"export() takes a path, a datasets.Dataset or a DatasetDict, not {type(rows).__name__}")
        if not len(rows):
            raise DataError(f"the split {part} has no rows, and datasets cannot load an empty one: leave it out")
        if data is source:
            origin = Origin((os.path.abspath(os.path.expanduser(image_dir)),) if image_dir else ())
            try:
                check_paths({name: rows.data.column(name) for name in rows.features}, rows.features, origin)
            except DataError as error:
                raise DataError(f"{error}; if they are yours, pass image_dir=…, the folder that they lie in") from None
    return parts


def _split_name(split: Any) -> str:
    match = re.fullmatch(r"(\w+(?:\.\w+)*)(?:\[.*\])?", str(split)) if split is not None else None
    return match[1] if match else "train"


def _features(parts: dict[str, datasets.Dataset]) -> datasets.Features:
    """The columns of all splits."""
    first = next(iter(parts))
    features = parts[first].features
    for part, rows in parts.items():
        if rows.features != features:
            differing = sorted(
                name for name in rows.features | features if rows.features.get(name) != features.get(name)
            )
            raise DataError(f"{first} and {part} differ in the column {differing[0]}: a card has one set of columns")
    kinds = set(re.findall(r'"_type": "(\w+)"', json.dumps(features.to_dict())))  # quotes within names are escaped
    foreign = sorted(kinds - set(datasets.features.__all__))
    if foreign:
        raise DataError(
            f"columns of the type {foreign[0]} can only be read with the code that defines it: cast them first"
        )
    return features


def _bytes(size: int | str) -> int:
    match = re.fullmatch(r"(\d+)\s*([kmg]i?)?b?", str(size).lower())
    if match is None or int(match[1]) == 0:
        raise DataError(
            f"max_shard_size={size!r} should be a number of bytes, or one with a unit such as '500MB' or '2GiB'"
        )
    return int(match[1]) * UNITS[match[2] or ""]


def _write(
    rows: datasets.Dataset, split: str, features: datasets.Features, folder: Path, limit: int, threads: int
) -> int:
    """Writes a split; returns its bytes before compression."""
    rows, schema = rows.with_format("arrow"), features.arrow_schema

    def measure(start: int) -> np.ndarray:
        columns = rows[start : start + BATCH].columns
        return sum(np.concatenate([_row_bytes(chunk) for chunk in column.chunks]) for column in columns)

    def table(start: int, stop: int) -> pa.Table:
        part = rows[start:stop].select(schema.names).replace_schema_metadata(schema.metadata)
        return embed_table_storage(part).combine_chunks()

    def write(shard: int) -> None:
        start, stop = shards[shard]
        path = folder / f"{split}-{shard:05d}-of-{len(shards):05d}.parquet"
        # The content decides where chunks are cut, so that an upload of changed rows sends only what has changed.
        options = {"use_dictionary": False, "use_content_defined_chunking": True, "write_page_index": True}
        with new_file(path) as output, pq.ParquetWriter(output, schema, **options) as file:
            for first, last in _cuts(sizes[start:stop], ROW_GROUP):
                file.write_table(table(start + first, start + last), row_group_size=last - first)
                output.check()
                bar.update(int(sizes[start + first : start + last].sum()))

    pool = ThreadPoolExecutor(threads)
    try:
        starts = range(0, len(rows), BATCH)
        measured = list(tqdm(pool.map(measure, starts), desc=f"{split}: sizes", total=len(starts), leave=False))
        sizes = np.concatenate(measured)
        shards = _cuts(sizes, limit)
        with tqdm(desc=split, total=int(sizes.sum()), unit="B", unit_scale=True) as bar:
            for _ in pool.map(write, range(len(shards))):
                pass
    except OSError as error:
        raise DataError(f"{error.filename or split} cannot be read: {error.strerror or error}") from error
    finally:
        pool.shutdown(cancel_futures=True)
    return int(sizes.sum())


def _cuts(sizes: np.ndarray, limit: int) -> list[tuple[int, int]]:
    """Cuts rows of these sizes into runs of at most `limit` bytes, with at least one row each."""
    ends, cuts, start = np.cumsum(sizes), [], 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + limit, side="right")))
        cuts.append((start, stop))
        start = stop
    return cuts


def _row_bytes(array: pa.Array) -> np.ndarray:
    """Bytes of each row's values once images are embedded; unlike `nbytes` they do not depend on how a table was cut."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _row_bytes(array.storage)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return _row_bytes(array.cast(pa.large_binary()))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        ends = np.concatenate([[0], np.cumsum(_row_bytes(array.flatten()))]).astype(np.int64)
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        stops = np.cumsum(lengths)
        return ends[stops] - ends[stops - lengths]
    if pa.types.is_struct(kind):
        fields = {kind.field(place).name: pc.struct_field(array, [place]) for place in range(kind.num_fields)}
        if fields.keys() == {"bytes", "path"}:
            sizes = _row_bytes(fields["bytes"])
            outside = pc.and_(pc.is_null(fields["bytes"]), pc.is_valid(fields["path"]))
            for row in np.flatnonzero(outside.to_numpy(zero_copy_only=False)):
                path = fields["path"][row].as_py()
                sizes[row] = WEB if "://" in path else os.stat(path).st_size
            return sizes
        return sum(map(_row_bytes, fields.values()))
    if kind in (pa.binary(), pa.large_binary(), pa.string(), pa.large_string()):
        return pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.full(len(array), 0 if pa.types.is_null(kind) else max(1, kind.bit_width // 8), np.int64)
