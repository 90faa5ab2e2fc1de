"""A dataset for people without this package: Parquet files and a card that stock `datasets` loads, from disk or the Hub."""

import contextlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from datasets.table import embed_table_storage
from filelock import FileLock, Timeout
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from tqdm import tqdm

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files import walk
from dataset_scripts.core.loading import load_dataset
from dataset_scripts.core.script import find_script

logger = logging.getLogger(__name__)

BATCH = 1024  # rows measured together
WEB = 1_000_000  # bytes that an image known only by its web address is taken for
ROW_GROUP = 32_000_000  # bytes that a reader, or a thread that writes, holds at a time
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
TASKS = {"label": "image-classification", "objects": "object-detection", "mask": "image-segmentation",
         "caption": "image-to-text", "captions": "image-to-text"}  # fmt: skip
SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
         (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B")]  # fmt: skip
# What a reader without this package can make nothing of.
PACKAGE_WORDS = re.compile(
    r"dataset[_-]scripts|load_dataset\(|data_dir|comes? with (the|this) package|`(trust_script|on_error)"
    r"|keep them in (a folder|folders) of their own|mirrors? (is|are) tried|in the cache|pickles are read"
)
PLACEHOLDER = "USER/NAME"  # of the repository in the card; `push` knows it

USE = """## Loading

```python
from datasets import load_dataset

ds = load_dataset("{name}")  # or the path of this folder
```

| split | rows | bytes |
|---|---:|---:|
{splits}

The Parquet files hold the {what} themselves; nothing else is needed.
"""
TRANSFORMS = """
Rows hold Pillow images. Transforms are code and do not travel with a dataset, so attach yours after loading:

```python
from torchvision.transforms.functional import pil_to_tensor

ds = ds.with_transform(lambda rows: rows | {{"{image}": [pil_to_tensor(image) for image in rows["{image}"]]}})
```
"""


def export(
    source: Any,
    out: str | os.PathLike,
    *,
    name: str | None = None,
    split: Any = None,
    data_dir: str | None = None,
    num_proc: int | None = None,
    max_shard_size: int | str = "500MB",
    overwrite: bool = False,
    **load_kwargs: Any,
) -> Path:
    """Writes a dataset as `out/data/<split>-00000-of-00003.parquet` and a Hub dataset card, `out/README.md`.

    Images are embedded as the bytes they were stored as (a JPEG stays that JPEG), and of their paths the file name is
    kept. `datasets.load_dataset(out)` gives the same rows without this package; `dataset_scripts.load_dataset(out)`
    gives them as tensors. The same rows give the same bytes, whatever `num_proc`, with one version of pyarrow.

    `out` appears when it is whole; a process that is killed leaves a hidden `.<out>.partial-…` beside it, which the
    next export to `out` removes.

    The card takes its header and text from the set's own card or that of your script or folder, less what is about
    this package; where there is none it says what the columns are, and no licence.

    Args:
        source: what `load_dataset` takes, or a `datasets.Dataset` or `DatasetDict`; a transform on it is left off.
        split: these rows only; `"train[:10%]"` is written as `train`, and `"train+test"` too.
        num_proc: processes that load, and threads that write.
        max_shard_size: bytes of a file's values before compression, a number or `"500MB"`, `"2GiB"`; a larger row stands
            alone, and an image known by its web address counts as 1 MB.
        overwrite: replace an earlier export; any other folder that is not empty is never touched.
        load_kwargs: other arguments of `load_dataset`.

    Returns:
        `out`.

    Raises:
        DataError: `out` is in the way, or the source cannot be read, is streamed, or has a split without rows.
    """
    limit = _bytes(max_shard_size)
    out = Path(out).expanduser().absolute()
    _refuse(out, overwrite)
    options = {"name": name, "data_dir": data_dir, "num_proc": num_proc, **load_kwargs}
    parts = _load(source, split, options)
    features = _features(parts)
    with _whole(out, overwrite) as folder:
        (folder / "data").mkdir()
        infos = datasets.splits.SplitDict()
        for part, rows in parts.items():
            size = _write(rows, part, features, folder / "data", limit, num_proc or 1)
            infos.add(datasets.SplitInfo(part, size, len(rows)))
        own = _own_card(source, data_dir, load_kwargs.get("trust_script", False), parts)
        (folder / "README.md").write_text(_card(own, out.name, features, infos, folder), encoding="utf-8", newline="\n")
    return out


def push(
    source: Any,
    repo_id: str,
    *,
    private: bool = True,
    token: str | None = None,
    revision: str | None = None,
    num_proc: int | None = None,
    commit_message: str = "Upload dataset",
    **export_kwargs: Any,
) -> str:
    """Puts an exported folder, or the export of what `source` loads, on the Hub as the dataset `repo_id`.

    Each file is uploaded by itself and the commit comes last: what a broken upload has sent is not sent again by the
    next call, and readers see the old dataset or the new one, never a mixture (`upload_folder` commits large folders in
    parts). Parquet files in the repository's `data/` that are not of this dataset are removed by that commit, as
    the card's patterns would read them too. Where nothing has changed there is no commit.

    Args:
        source: a folder that `export` wrote, or what `export` takes; that is written to a temporary folder first.
        private: of a repository that does not exist yet; one that exists and is public is refused.
        token: a Hub token that may write; by default the one of `hf auth login` or `HF_TOKEN`.
        revision: the branch, made where it does not exist.
        export_kwargs: arguments of `export`, where there is no folder yet.

    Returns:
        The dataset's address.

    Raises:
        DataError: the folder has no card or holds a script that stops `datasets`, the repository is public, or the Hub
            cannot be reached or says no.
    """
    try:
        huggingface_hub.utils.validate_repo_id(repo_id)
    except HFValidationError as error:
        raise DataError(f"repo_id={repo_id!r} is no name of a dataset, such as 'ann/photos': {error}") from error
    if not (token or huggingface_hub.get_token()):
        raise DataError(f"{repo_id}: writing to the Hub needs a token: `hf auth login`, HF_TOKEN=… or token=…")
    folder = Path(source).expanduser() if isinstance(source, (str, os.PathLike)) else None
    if folder is None or not any(folder.glob("data/*.parquet")):
        with tempfile.TemporaryDirectory() as temporary:
            folder = export(source, Path(temporary, repo_id.split("/")[-1]), num_proc=num_proc, **export_kwargs)
            return push(folder, repo_id, private=private, token=token, revision=revision, commit_message=commit_message)
    if export_kwargs:
        raise DataError(f"{folder} is exported already: {', '.join(export_kwargs)} came too late; leave it out")
    files = {Path(entry.path).relative_to(folder).as_posix(): entry.path for entry in walk(folder)}
    script = repo_id.split("/")[-1] + ".py"
    if script in files:
        raise DataError(f"{folder}/{script}: datasets takes it for a loading script and refuses the dataset; rename it")
    if "README.md" not in files or not _header(folder / "README.md").get("configs"):
        raise DataError(f"{folder} has no card (a README.md whose header has configs): write it with export()")
    api = huggingface_hub.HfApi(token=token)
    try:
        return _upload(api, files, repo_id, private, revision, commit_message)
    except DataError:
        raise
    except (*HfHubHTTPError.__bases__, RuntimeError, ValueError) as error:
        raise DataError(f"{repo_id}: {_reason(error, api.endpoint)}") from error


def _upload(
    api: huggingface_hub.HfApi, files: dict[str, str], repo_id: str, private: bool, revision: str | None, message: str
) -> str:
    url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    repo = {"repo_id": url.repo_id, "repo_type": "dataset"}
    if revision is not None and not revision.startswith("refs/"):
        api.create_branch(**repo, branch=revision, exist_ok=True)
    info = api.repo_info(**repo, revision=revision)
    if private and not info.private:
        raise DataError(f"{url} is public already: pass private=False, or make it private in its settings first")
    if info.private and not private:
        logger.warning("%s is private already and stays so", url)
    there = {sibling.rfilename for sibling in info.siblings}
    script = url.repo_id.split("/")[-1] + ".py"
    if script in there:
        raise DataError(f"{url} holds {script}, for which datasets refuses the dataset: delete it there first")
    card = Path(files["README.md"]).read_text(encoding="utf-8").replace(f'"{PLACEHOLDER}"', f'"{url.repo_id}"')
    additions = [huggingface_hub.CommitOperationAdd("README.md", card.encode())]
    for path, local in tqdm(files.items(), desc=url.repo_id, unit="file"):
        if path != "README.md":
            additions.append(huggingface_hub.CommitOperationAdd(path, local))
            api.preupload_lfs_files(**repo, additions=additions[-1:], revision=revision, free_memory=False)
    stale = sorted(path for path in there - files.keys() if re.fullmatch(r"data/[^/]+\.parquet", path))
    removals = [huggingface_hub.CommitOperationDelete(path) for path in stale]
    api.create_commit(**repo, operations=additions + removals, commit_message=message, revision=revision)
    return str(url)


def _reason(error: Exception, endpoint: str) -> str:
    error = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error  # which file, then why
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it to upload"
    if not isinstance(error, HfHubHTTPError):
        text = " ".join(str(error).split()) or type(error).__name__
        # A failed connection is of the HTTP library's own class, whichever library that is: the first base of HfHubHTTPError.
        return f"{endpoint} cannot be reached: {text}" if isinstance(error, HfHubHTTPError.__bases__[0]) else text
    status = error.response.status_code
    advice = {
        401: "the token is not valid, or no token for this repository: `hf auth login`",
        403: f"the token may not write there: make one with write access at {endpoint}/settings/tokens",
        404: "there is no such repository or branch, or the token may not see it",
    }
    said = (error.server_message or "").splitlines()
    return f"{endpoint} answered {status}{f' ({said[0]})' if said else ''}: {advice.get(status, 'try again')}"


def _refuse(out: Path, overwrite: bool) -> None:
    """Raises unless `out` is free, or an earlier export that may be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise DataError(f"{out} is a file: name a folder")
    names = {path.name for path in out.iterdir()}
    other = sorted(names - {"README.md", "data"})
    if not other and names == {"README.md", "data"} and "dataset_info" in _header(out / "README.md"):
        other = sorted(f"data/{path.name}" for path in (out / "data").iterdir() if not path.name.endswith(".parquet"))
    else:
        other = other or sorted(names)
    if other:
        raise DataError(f"{out} is not empty ({other[0]}) and no earlier export: name another folder")
    if not overwrite:
        raise DataError(f"{out} is an earlier export: name another folder, or pass overwrite=True")


@contextlib.contextmanager
def _whole(out: Path, overwrite: bool) -> Iterator[Path]:
    """A folder that is renamed to `out` at the end of the `with`, and removed where that raises."""
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}.partial-"
    lock = FileLock(out.parent / f".{out.name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise DataError(f"{out} is being written by another process") from None
    try:
        for path in out.parent.iterdir():
            if path.name.startswith(prefix):  # of a process that was killed
                shutil.rmtree(path)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=out.parent) as temporary:
            folder = Path(temporary, "new")
            folder.mkdir()
            yield folder
            _refuse(out, overwrite)
            if out.exists():
                os.rename(out, Path(temporary, "old"))
            os.rename(folder, out)
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _load(source: Any, split: Any, options: dict[str, Any]) -> dict[str, datasets.Dataset]:
    """The splits by the names of their files."""
    if isinstance(source, (str, os.PathLike)):
        refused = sorted({"transform", "streaming"} & options.keys())
        if refused:
            raise DataError(f"export() writes rows as they are stored: leave {refused[0]} out")
        data = load_dataset(os.fspath(source), split=split, transform=None, **options)
    else:
        given = [name for name, value in (options | {"split": split}).items() if value is not None and name != "num_proc"]
        if given:
            raise DataError(f"{given[0]} chooses what is loaded, but source is a {type(source).__name__} already")
        data = source
    parts = {}
    for part in data if isinstance(data, list) else [data]:
        named = part if isinstance(part, dict) else {_split_name(getattr(part, "split", None)): part}
        if parts.keys() & named.keys():
            raise DataError(f"two parts of split={split!r} have the name {next(iter(named))}: export each to its folder")
        parts |= named
    for part, rows in parts.items():
        if not isinstance(rows, datasets.Dataset):
            raise DataError(f"export() takes a path, a datasets.Dataset or a DatasetDict, not {type(rows).__name__}")
        if not len(rows):
            raise DataError(f"the split {part} has no rows, and datasets cannot load an empty one: leave it out")
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
            differing = sorted(name for name in rows.features | features if rows.features.get(name) != features.get(name))
            raise DataError(f"{first} and {part} differ in the column {differing[0]}: a card has one set of columns")
    kinds = set(re.findall(r'"_type": "(\w+)"', json.dumps(features.to_dict())))  # quotes within names are escaped
    foreign = sorted(kinds - set(datasets.features.__all__))
    if foreign:
        raise DataError(f"columns of the type {foreign[0]} can only be read with the code that defines it: cast them first")
    return features


def _bytes(size: int | str) -> int:
    match = re.fullmatch(r"(\d+)\s*([kmg]i?)?b?", str(size).lower())
    if match is None or int(match[1]) == 0:
        raise DataError(f"max_shard_size={size!r}: it is a number of bytes, or one with a unit such as '500MB' or '2GiB'")
    return int(match[1]) * UNITS[match[2] or ""]


def _write(rows: datasets.Dataset, split: str, features: datasets.Features, folder: Path, limit: int, threads: int) -> int:
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
        # Chunks are cut where the content says so, and an upload of changed rows sends only what has changed.
        options = {"use_dictionary": False, "use_content_defined_chunking": True, "write_page_index": True}
        with pq.ParquetWriter(path, schema, **options) as file:
            for first, last in _cuts(sizes[start:stop], ROW_GROUP):
                file.write_table(table(start + first, start + last), row_group_size=last - first)
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
        raise DataError(f"{error.filename or split} cannot be read or written: {error.strerror or error}") from error
    finally:
        pool.shutdown(cancel_futures=True)
    return int(sizes.sum())


def _cuts(sizes: np.ndarray, limit: int) -> list[tuple[int, int]]:
    """Cuts rows of these sizes into runs of at most `limit` bytes, at least a row each."""
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


def _header(card: Path) -> dict[str, Any]:
    """The YAML header of a card; empty where it has none."""
    match = re.match(r"\ufeff?---\s*\n(.*?)\n---\s*(\n|$)", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    try:
        header = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError as error:
        raise DataError(f"{card}: its header is no YAML: {' '.join(str(error).split())}") from error
    return header if isinstance(header, dict) else {}


def _own_card(source: Any, data_dir: str | None, trust_script: bool, parts: dict[str, datasets.Dataset]) -> tuple[dict, str]:
    """Header and text that belong to the data: of the set, the user's script or the folder; empty where there are none."""
    if not isinstance(source, (str, os.PathLike)):
        return {}, ""
    script = find_script(os.fspath(source), trust_script)
    cards = [script.path.parent / "README.md"] if script and script.path.parent.name == script.name else []
    cards += [Path(folder).expanduser() / "README.md" for folder in [data_dir or (None if script else source)] if folder]
    for card in cards:
        if card.is_file() and "layout" not in (_header(card).get("tags") or []):  # a layout's card is about no data
            text = card.read_text(encoding="utf-8", errors="replace")
            return _header(card), re.sub(r"\A\ufeff?---\s*\n.*?\n---\s*(\n|$)", "", text, flags=re.DOTALL)
    if script and not script.is_bundled:
        info = next(iter(parts.values())).info
        said = [info.description, info.homepage, info.license and f"Licence: {info.license}"]
        said += [info.citation and f"```bibtex\n{info.citation.strip()}\n```"]
        if any(said):
            return {}, "\n\n".join([f"# {script.name}", *(text.strip() for text in said if text)])
    return {}, ""


def _card(
    own: tuple[dict, str], name: str, features: datasets.Features, infos: datasets.splits.SplitDict, folder: Path
) -> str:
    """The card of what was written."""
    header, text = own
    download = sum(path.stat().st_size for path in (folder / "data").iterdir())
    total = sum(part.num_bytes for part in infos.values())
    count = sum(part.num_examples for part in infos.values())
    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    info = datasets.DatasetInfo(features=features, splits=infos, download_size=download, dataset_size=total)
    card = huggingface_hub.DatasetCardData(**{str(key): value for key, value in header.items() if key != "dataset_info"})
    card["pretty_name"] = header.get("pretty_name") or name
    if not header and images and (tasks := sorted({TASKS[column] for column in features if column in TASKS})):
        card["task_categories"] = tasks
    card["size_categories"] = [next((size for limit, size in SIZES if count < limit), "n>1T")]
    card["configs"] = [
        {"config_name": "default", "data_files": [{"split": str(part), "path": f"data/{part}-*"} for part in infos]}
    ]
    datasets.info.DatasetInfosDict({"default": info}).to_dataset_card_data(card)
    if not text.strip():
        columns = "\n".join(f"| `{column}` | {_describe(feature)} |" for column, feature in features.items())
        text = f"# {name}\n\n{count:,} rows.\n\n| column | content |\n|---|---|\n{columns}"
    splits = "\n".join(f"| {part} | {item.num_examples:,} | {item.num_bytes:,} |" for part, item in infos.items())
    use = USE.format(name=PLACEHOLDER, splits=splits, what="images" if images else "data")
    use += TRANSFORMS.format(image=images[0]) if images else ""
    text = text.partition(USE.partition("ds =")[0])[0]  # of an export that is exported again
    return f"---\n{card.to_yaml()}\n---\n\n{for_everyone(text)}\n\n{use}"


def _describe(feature: Any) -> str:
    """A column in words."""
    if isinstance(feature, datasets.ClassLabel):
        names = ", ".join(" ".join(name.split()).replace("|", r"\|") for name in feature.names[:10])
        return f"class, {len(feature.names)} of them: {names}{', …' if len(feature.names) > 10 else ''}"
    if isinstance(feature, dict):
        return "; ".join(f"`{name}` {_describe(inner)}" for name, inner in feature.items())
    if hasattr(feature, "feature"):
        return f"list of {_describe(feature.feature)}"
    return feature.dtype if isinstance(feature, datasets.Value) else type(feature).__name__.lower()


def for_everyone(text: str) -> str:
    """A card's text less what is about this package: its code, and the sentences, items and table rows that name it."""
    blocks, fenced = [[]], False
    for line in text.splitlines():
        if line.startswith("```"):
            blocks += [] if fenced else [[]]
            fenced = not fenced
        elif not line.strip() and not fenced:
            blocks.append([])
            continue
        blocks[-1].append(line)
        if line.startswith("```") and not fenced:
            blocks.append([])
    kept: list[str] = []
    for block in map("\n".join, filter(None, blocks)):
        separator = "\n" if re.match(r"[-*|] ?|\d+\. ", block) and not block.startswith("**") else " "
        if PACKAGE_WORDS.search(block):
            parts = re.split(r"\n(?=[-*|]|\d+\. )" if separator == "\n" else r"(?<=[.:!?])\s+(?=[A-Z`*])", block)
            kept_parts = [part for part in parts if not PACKAGE_WORDS.search(part)]
            block = "" if block.startswith("```") else separator.join(kept_parts)
        if block:
            kept.append(re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:|#|mailto:)[^)]*\)", r"\1", block))  # links to files here
        elif kept and re.fullmatch(r"\*\*[^*]+\*\*|.*:", kept[-1], re.DOTALL):  # the last sentence led to it
            kept[-1] = " ".join(re.split(r"(?<=[.!?])\s+", kept[-1])[:-1])
    kept = [block for block in kept if block]
    levels = [len(block) - len(block.lstrip("#")) for block in kept] + [1]
    filled = [level < 2 or not 0 < following <= level for level, following in zip(levels, levels[1:])]  # else a bare heading
    return "\n\n".join(block for block, keep in zip(kept, filled) if keep)
