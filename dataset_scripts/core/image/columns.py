"""Image columns that open only the files of their own set, and whose errors name the image."""

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from huggingface_hub.constants import HF_HUB_CACHE

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import is_hidden
from dataset_scripts.core.files.system import relative_path
from dataset_scripts.core.image.decode import decode_image

ARCHIVES = ("zip", "tar", "gzip", "bz2", "xz", "zstd", "lz4")  # protocols of fsspec that open what follows "::"


@dataclass(frozen=True)
class Origin:
    """The places of files that a table may name: a table from elsewhere could name any file on this machine.

    Attributes:
        folders: local folders, by absolute paths.
        addresses: beginnings of the addresses of the set's own files on the Hub.
        anywhere: any file or address may be named: the caller ran the code, which could open it itself.
    """

    folders: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    anywhere: bool = False

    def check(self, path: str) -> None:
        """Checks a path or an address; members of archives are `zip://name::archive`, as fsspec writes them.

        Raises:
            DataError: it is outside, is hidden, or is an address on the web.
        """
        if self.anywhere:
            return
        *wrappers, place = path.split("::")
        are_archives = all(wrapper.partition("://")[0] in ARCHIVES for wrapper in wrappers)
        if "://" in place:
            if not (are_archives and place.startswith(self.addresses or ("\0",)) and ".." not in place.split("/")):
                raise DataError(
                    f"an image is named by the address {path}, and addresses in data are never opened: download it"
                )
            return
        for folder in self.folders if os.path.isabs(place) and are_archives and "\0" not in place else ():
            real = os.path.realpath(place)
            inside = relative_path(real, os.path.realpath(folder))
            if inside is not None and not any(map(is_hidden, inside.split("/"))):  # `..` counts as hidden
                if os.path.exists(real) and not os.path.isfile(real):  # reading a pipe would wait for ever
                    raise DataError(
                        f"an image is named by the path {path}, which is not a file: remove it from the data"
                    )
                return
        raise DataError(
            f"an image is named by the path {path}, and its row does not hold the bytes: only files of the set itself are opened"
        )


class Image(datasets.Image):
    """`datasets.Image`, equal to it and stored like it; it opens no file outside its `origin`, and names what it cannot read."""

    origin = Origin()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, datasets.Image) and (self.mode, self.decode, self.id) == (
            other.mode,
            other.decode,
            other.id,
        )

    __hash__ = None

    def decode_example(self, value: Any, token_per_repo_id: Any = None) -> Any:
        """Decodes an image.

        Raises:
            DataError: naming the image by its path, if it cannot be read or is outside the set.
        """
        if not isinstance(value, dict) or not self.decode:
            return super().decode_example(value, token_per_repo_id)
        path, content = value.get("path"), value.get("bytes")
        if content is None and path is not None:
            self.origin.check(path)
        name = path or ("an image" if content is None else f"of {len(content):,} bytes, whose row has no file name")
        image = decode_image(value, name)
        with reading(f"{name} cannot be converted to the mode {self.mode!r}"):
            return image.convert(self.mode) if self.mode and self.mode != image.mode else image


def has_image(feature: Any) -> bool:
    """Whether a feature is an Image, or a list of them, that decodes."""
    if isinstance(feature, datasets.Image):
        return feature.decode
    inner = getattr(feature, "feature", None)
    return inner is not None and has_image(inner)


def holds_images(feature: Any) -> bool:
    """Whether a feature is an Image, or has one anywhere inside."""
    if isinstance(feature, Mapping):
        return any(map(holds_images, feature.values()))
    return isinstance(feature, datasets.Image) or (inner := item_of(feature)) is not None and holds_images(inner)


def item_of(feature: Any) -> Any:
    """The feature of the items of a list; None of anything else."""
    return feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)


def stored_images(feature: Any, value: Any) -> Iterator[dict]:
    """Return the stored form of each image in a value, such as a row, including images in lists and structs."""
    if value is None:
        return
    if isinstance(feature, datasets.Image):
        yield value
    elif isinstance(feature, Mapping):
        for name in feature.keys() & value.keys():
            yield from stored_images(feature[name], value[name])
    elif isinstance(value, list) and holds_images(feature):
        for item in value:
            yield from stored_images(item_of(feature), item)


def guarded(features: datasets.Features, origin: Origin) -> datasets.Features:
    """Return the same features, with `Image` in place of `datasets.Image` throughout."""

    def guarded_image(feature: datasets.Image) -> Image:
        image = Image(mode=feature.mode, decode=feature.decode, id=feature.id)
        image.origin = origin
        return image

    return with_images(features, guarded_image)


def with_images(features: datasets.Features, make: Callable[[datasets.Image], datasets.Image]) -> datasets.Features:
    """Return the same features, with what `make` makes of an Image in its place, also in lists and structs."""
    return datasets.Features({name: _with_images(feature, make) for name, feature in features.items()})


def _with_images(feature: Any, make: Callable[[datasets.Image], datasets.Image]) -> Any:
    if isinstance(feature, datasets.Image):
        return make(feature)
    if isinstance(feature, Mapping):
        return {name: _with_images(inner, make) for name, inner in feature.items()}
    if isinstance(feature, list):
        return [_with_images(inner, make) for inner in feature]
    if isinstance(feature, (datasets.List, datasets.LargeList)):
        inner = _with_images(feature.feature, make)
        return datasets.List(inner, feature.length) if isinstance(feature, datasets.List) else datasets.LargeList(inner)
    return feature


def parts_of(dataset: Any) -> list:
    """Return the datasets in the result of `load_dataset`: one, or those of a dict or list of splits."""
    return list(dataset.values()) if isinstance(dataset, dict) else dataset if isinstance(dataset, list) else [dataset]


def guard(dataset: Any, origin: Origin) -> Any:
    """Restricts the image columns of a Dataset, an IterableDataset or a dict or list of them to files of `origin`.

    Raises:
        DataError: a Dataset names other files; a stream raises it when it is read.
    """
    for part in parts_of(dataset):
        if part.features is None:
            continue
        if isinstance(part, datasets.Dataset):
            check_paths({name: part.data.column(name) for name in part.features}, part.features, origin)
        part.info.features = guarded(part.features, origin)
    return dataset


def check_paths(columns: Mapping[str, pa.ChunkedArray | pa.Array], features: Mapping[str, Any], origin: Origin) -> None:
    """Checks the files that columns of images, audio, video and the like name without holding their bytes.

    Raises:
        DataError: one is outside `origin`; the message names its column.
    """
    for name, feature in ({} if origin.anywhere else features).items():
        column = columns[name]
        for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
            for paths in _paths_alone(chunk, feature):
                for path in paths.to_pylist():
                    try:
                        origin.check(path)
                    except DataError as error:
                        raise DataError(f"column {name}: {error}") from None


def _paths_alone(array: pa.Array, feature: Any) -> Iterator[pa.Array]:
    """The paths of values without bytes."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if hasattr(feature, "decode_example"):
        if pa.types.is_struct(array.type) and {"bytes", "path"} <= {field.name for field in array.type}:
            content, paths = pc.struct_field(array, "bytes"), pc.struct_field(array, "path")
            if content.null_count:
                alone = pc.and_(pc.is_null(content), pc.is_valid(paths))
                if pc.any(alone).as_py():
                    yield paths.filter(alone)
        elif pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            yield array.drop_null().cast(pa.string())
    elif isinstance(feature, Mapping):
        for field, part in zip(array.type, array.flatten()) if pa.types.is_struct(array.type) else ():
            if field.name in feature:
                yield from _paths_alone(part, feature[field.name])
    else:
        inner = item_of(feature)
        if inner is not None and hasattr(array, "flatten"):
            yield from _paths_alone(array.flatten(), inner)


def origin_of(path: str, data_dir: str | None, data_files: Any) -> Origin:
    """Return the place of the files of a set that `datasets` reads itself: the folder, or the repository on the Hub."""
    local = os.path.expanduser(path)
    if os.path.isdir(local):
        return Origin((os.path.abspath(os.path.join(local, data_dir or "")),))
    if data_dir is not None and "://" not in data_dir:
        return Origin((os.path.abspath(os.path.expanduser(data_dir)),))
    if path.endswith("folder") and data_files is not None:  # imagefolder names the files that the caller gave it
        return Origin(tuple(sorted({_stem(str(pattern)) for pattern in _patterns(data_files)})))
    repository = path.removeprefix("hf://datasets/").partition("@")[0]
    if posixpath.basename(repository) and "://" not in repository:
        folder = os.path.join(HF_HUB_CACHE, f"datasets--{repository.replace('/', '--')}")
        return Origin((folder,), (f"hf://datasets/{repository}@", f"hf://datasets/{repository}/"))
    return Origin()


def _patterns(data_files: Any) -> Iterator[Any]:
    if isinstance(data_files, Mapping):
        for value in data_files.values():
            yield from _patterns(value)
    elif isinstance(data_files, (list, tuple)):
        for value in data_files:
            yield from _patterns(value)
    else:
        yield data_files


def _stem(pattern: str) -> str:
    """The folder that a pattern of files begins with: `photos/*/x.png` -> `photos`."""
    fixed = pattern.partition("*")[0].partition("?")[0].partition("[")[0]
    return os.path.abspath(os.path.expanduser(fixed if fixed.endswith("/") else os.path.dirname(fixed)))
