"""`load_dataset`: any image dataset in one line, its rows as tensors."""

import contextlib
import difflib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets

from dataset_scripts.core.builders.layout import LayoutBuilder
from dataset_scripts.core.builders.published import PublishedSet
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.disk import disk_fault
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.files.names import shown
from dataset_scripts.core.files.selection import once, without
from dataset_scripts.core.files.walk import check_links, follows
from dataset_scripts.core.formats.dataset_info import check_for_datasets
from dataset_scripts.core.image.columns import Origin, guard, origin_of
from dataset_scripts.core.image.transforms import ToTensor, attach
from dataset_scripts.core.load.detect import detect, is_published
from dataset_scripts.core.load.foreign import check_classes, check_labels, check_sources, check_tables, read_by_datasets
from dataset_scripts.core.load.script import Script, find_script
from dataset_scripts.core.load.stock import hand_over


def load_dataset(
    path: str,
    name: str | None = None,
    data_dir: str | None = None,
    data_files: Any = None,
    split: Any = None,
    cache_dir: str | None = None,
    features: datasets.Features | None = None,
    download_config: datasets.DownloadConfig | None = None,
    download_mode: Any = None,
    verification_mode: Any = None,
    keep_in_memory: bool | None = None,
    save_infos: bool = False,
    revision: Any = None,
    token: bool | str | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    storage_options: dict | None = None,
    *,
    transform: Callable | None = ToTensor(),
    trust_script: bool = False,
    on_error: str = "raise",
    **config_kwargs: Any,
) -> Any:
    """Loads a dataset as `datasets.load_dataset` does, and also from loading scripts and folders of images.

    `path` is tried in this order as:

    1. the name of a script that comes with this package (`"digits"`); a local one of that name is `"./digits"`;
    2. a loading script: `x.py`, a folder `x/` that holds `x/x.py`, or `x` with `x.py` beside it if there is no `x`;
    3. a local folder, archive or file of images, whose layout is detected and logged;
    4. anything that `datasets.load_dataset` takes: a Hub id, `"parquet"`, `"imagefolder"`, an exported folder …

    Code runs from this package, from a `.py` that you name, and from a folder that holds only code and documents; nothing
    from the Hub is ever executed.

    Args:
        transform: called on every row or batch that is read. The default makes each image a float32 tensor
            (C, H, W) in 0..1; None leaves Pillow images; any other callable takes and returns a batch, a dict of
            lists, as in `datasets.Dataset.with_transform`.
        trust_script: also run a script in a folder of data.
        on_error: "raise" stops at the first row that cannot be read; "skip", for the layouts of this package, leaves
            such rows out and lists them in a file that the log names.
        config_kwargs: fields of the script's `BuilderConfig`.

    All other arguments are those of `datasets.load_dataset`.

    Returns:
        A `datasets.Dataset` (`IterableDataset` if `streaming`) for a given `split`, else a dict of them.

    Raises:
        DataError: the path, the data or an option cannot be read as asked.
        TrustError: there is a script in the data that was not asked for, or others can write to the folder of its copies.

    Example:
        >>> ds = load_dataset("digits", split="train")
        >>> ds.num_rows, ds.features["label"].names[:3]
        (1438, ['0', '1', '2'])
        >>> ds[0]["image"].shape, ds[0]["image"].dtype
        (torch.Size([1, 8, 8]), torch.float32)
        >>> load_dataset("digits", split="test", transform=None)[0]["image"].size
        (8, 8)
    """
    with reading("download_mode, verification_mode"):
        datasets.DownloadMode(download_mode or "reuse_dataset_if_exists")
        datasets.VerificationMode(verification_mode or "basic_checks")
    if num_proc is not None and (not isinstance(num_proc, int) or num_proc < 1):
        raise DataError(f"num_proc={num_proc!r} should be a number of processes, 1 or more")
    if transform is not None and not callable(transform):
        raise DataError(f"transform={transform!r} cannot be called: pass a function, or None for Pillow images")
    if num_proc is not None and streaming:
        raise DataError("num_proc builds a dataset in parallel; with streaming=True use DataLoader(num_workers=…)")
    if path == "":
        raise DataError("the path is empty: name a set, a file or a folder, such as '.' for this one")
    # Names that datasets also uses: with data_files they keep its meaning, as code written for it expects.
    script = None if path in ("webdataset", "hdf5") and data_files is not None else find_script(path, trust_script)
    files = None
    with reading(path):  # a name that is too long for the file system
        is_local = script is None and Path(path).expanduser().exists()
    if is_local:
        folder = Path(path).expanduser() / (data_dir or "")
        listed = Files.of(folder, skip=on_error == "skip", follow=follows(config_kwargs.get("links")))
        files = without(once(listed), config_kwargs.get("ignore") or [])
        script = detect(files)
        if script is not None:
            data_dir = str(folder)
    if script is None:
        if files is not None and data_files is None:
            hand_over(files, is_published(files))
        if not is_local and os.path.islink(local := os.path.expanduser(path)):
            raise DataError(
                f"{path} is a link to {os.readlink(local)}, which is not there: restore that, or remove the link"
            )
        if not is_local and _means_a_path(path):
            raise DataError(f"there is no file or folder {path}{_near(path)}")
        if data_dir is not None and Path(path).is_dir():
            check_for_datasets(Path(path))  # it reads the card there, whatever the data_dir
        if on_error != "raise":
            raise DataError(f"on_error={on_error!r} is for the layouts of this package; {path} is read by datasets")
        if data_dir is not None and "://" not in data_dir and Path(data_dir).is_dir():
            check_links(Path(data_dir))
        if is_local or (path in ("parquet", "arrow") and (data_files or data_dir) is not None):
            with read_by_datasets(path, cache_dir):
                found = datasets.load_dataset_builder(
                    path,
                    name,
                    data_dir=data_dir,
                    data_files=data_files,
                    cache_dir=cache_dir,
                    storage_options=storage_options,
                )
                check_tables(found, streaming)
            check_classes(found.config.data_files or {})
        with read_by_datasets(path, cache_dir):
            dataset = datasets.load_dataset(
                path,
                name,
                data_dir=data_dir,
                data_files=data_files,
                split=split,
                cache_dir=cache_dir,
                features=features,
                download_config=download_config,
                download_mode=download_mode,
                verification_mode=verification_mode,
                keep_in_memory=keep_in_memory,
                save_infos=save_infos,
                revision=revision,
                token=token,
                streaming=streaming,
                num_proc=num_proc,
                storage_options=storage_options,
                **config_kwargs,
            )
        origin = origin_of(path, data_dir, data_files)
        check_labels(dataset, path)
        return attach(guard(check_sources(dataset, path, origin), origin), transform)

    if revision is not None:
        raise DataError(
            f"revision={revision!r} names a commit on the Hub, but {path} is the local script {script.path}"
        )
    config_kwargs.pop("trust_remote_code", None)  # what datasets<4 asked for; a local script was named by the caller
    if on_error != "raise":
        config_kwargs["on_error"] = on_error
    # A bundled script leaves its arguments to datasets; what a script of the caller's own raises is its own.
    with read_by_datasets(path, cache_dir) if script.is_bundled else contextlib.nullcontext():
        builder = make_builder(
            script,
            name,
            data_dir,
            files=files,
            data_files=data_files,
            cache_dir=cache_dir,
            features=features,
            token=token,
            storage_options=storage_options,
            **config_kwargs,
        )
    if isinstance(builder, LayoutBuilder):
        builder.is_detected = is_local
    origin = Origin() if isinstance(builder, LayoutBuilder) else Origin(anywhere=True)  # layouts store bytes
    if streaming:
        with _of_a_part(builder, split), read_by_datasets(path) if script.is_bundled else contextlib.nullcontext():
            dataset = builder.as_streaming_dataset(split=split)
        return attach(guard(dataset, origin), transform)
    try:
        builder.download_and_prepare(
            download_config=download_config,
            download_mode=download_mode,
            verification_mode="all_checks" if save_infos else verification_mode,
            num_proc=num_proc,
            storage_options=storage_options,
        )
    except datasets.exceptions.DatasetGenerationError as error:
        if fault := disk_fault(error, builder.cache_dir):
            raise fault from error
        if isinstance(error.__cause__, DataError):  # the line that names the file, without the chain around it
            raise error.__cause__ from None
        raise
    if isinstance(builder, LayoutBuilder):
        Faults.report(builder.skipped_path)
    with _of_a_part(builder, split), read_by_datasets(path, cache_dir):
        dataset = builder.as_dataset(split=split, in_memory=bool(keep_in_memory))
    return attach(guard(dataset, origin), transform)


@contextlib.contextmanager
def _of_a_part(builder: datasets.DatasetBuilder, split: Any) -> Iterator[None]:
    """Says which file is missing if a split of a named set can't be had because its files are not there."""
    try:
        yield
    except Exception:
        if isinstance(builder, PublishedSet) and split is not None:
            builder.check_split(split)
        raise


def _means_a_path(path: str) -> bool:
    """Whether a path cannot be the name of a set on the Hub, which has one slash at most."""
    return path.startswith((".", "/", "~")) or (
        path.count("/") > 1 and "://" not in path and not path.startswith("buckets/")
    )


def _near(path: str) -> str:
    wanted = Path(path).expanduser()
    with contextlib.suppress(OSError):
        close = difflib.get_close_matches(wanted.name, os.listdir(wanted.parent), 1, 0.75)
        return f": {wanted.with_name(close[0])}?" if close else ""
    return ""


def make_builder(
    script: Script,
    name: str | None = None,
    data_dir: str | None = None,
    *,
    files: Files | None = None,
    data_files: Any = None,
    cache_dir: str | None = None,
    features: datasets.Features | None = None,
    token: bool | str | None = None,
    storage_options: dict | None = None,
    **config_kwargs: Any,
) -> datasets.DatasetBuilder:
    """The script's builder, with a separate cache for this code and this state of the data.

    Args:
        files: the listing of `data_dir`, if there is one already.

    All others are those of `load_dataset`.
    """
    builder_class = script.builder_class(cache_dir)
    if data_dir is None and data_files is None and getattr(builder_class, "DATA_DIR", None):
        data_dir = str(script.path.parent / builder_class.DATA_DIR)
    if data_dir is not None and "://" not in data_dir:
        folder = Path(data_dir).expanduser()
        if not folder.exists():
            raise DataError(f"data_dir={data_dir!r} does not exist")
        data_dir = str(folder.resolve())
        if shown(data_dir) != data_dir:
            raise DataError(f"the name {data_dir} is not UTF-8, in which datasets records it: rename the folder")
        follow = follows(config_kwargs.get("links"))
        files = files or Files.of(folder, skip=config_kwargs.get("on_error") == "skip", follow=follow)
    if "on_error" in config_kwargs and not hasattr(builder_class.BUILDER_CONFIG_CLASS, "on_error"):
        raise DataError(
            f"{script.path} has no option on_error: only the layouts of this package, and sets that they read, have it"
        )
    has_names = bool(builder_class.BUILDER_CONFIGS) or getattr(builder_class, "CHOOSES_BY_NAME", False)
    if name not in (None, "default") and script.is_bundled and not has_names:
        raise DataError(
            f"name={name!r} has no effect: {script.name} has no configurations to choose from; leave it out"
        )
    # Relative data_files start, as in datasets, at the data or the working folder; those of other scripts at their own.
    base_path = (data_dir or os.getcwd()) if issubclass(builder_class, LayoutBuilder) else str(script.path.parent)
    make = functools.partial(
        builder_class,
        cache_dir=cache_dir,
        dataset_name=script.name,
        config_name=name,
        base_path=base_path,
        data_dir=data_dir,
        data_files=data_files,
        features=features,
        token=token,
        storage_options=storage_options,
        **config_kwargs,
    )
    state = files.state if files else ""
    builder = make(hash=script.identity(state or None))
    if builder.config.data_files:  # patterns that the builder has resolved; `datasets` knows files by mtime alone
        state += _state_of(path for paths in builder.config.data_files.values() for path in paths)
        builder = make(hash=script.identity(state))
    if isinstance(builder, LayoutBuilder):
        builder.files = files
    return builder


def _state_of(paths: Iterable[str]) -> str:
    """Sizes and times of local files."""
    stats = [(path, os.stat(path)) for path in paths if "://" not in path]
    return "".join(f"\n{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}" for path, stat in stats)
