"""Whether a set is what was published: digests, row counts, classes, and every image."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from dataset_scripts.core.builders.download import downloads_folder
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import name_of, walk
from dataset_scripts.core.image.columns import holds_images, item_of, stored_images, with_images
from dataset_scripts.core.image.decode import decode_image
from dataset_scripts.core.load.loading import load_dataset, make_builder
from dataset_scripts.core.load.script import find_script

NOT_HERE = "not here"
MEMORY = 64 << 20  # bytes of the images that are read at once


def verify(
    path: str, name: str | None = None, data_dir: str | None = None, num_proc: int | None = None
) -> dict[str, Any]:
    """Checks a set from its files to its pixels.

    Returns:
        `files`: published file -> "ok", "not here" (its unpacked content is read) or what is wrong; `rows`: split ->
        found and published number; `missing`: the splits that are not here; `classes`: split -> class -> rows; `unreadable`: the images that do not decode, one
        line each; `ok`: whether everything is right.

    Raises:
        DataError: the set cannot be read at all.
    """
    files, published, sources = {}, {}, ()
    with reading(path):
        script = find_script(path)
        if script is not None:
            builder = make_builder(script, name, data_dir)
            if isinstance(builder, PublishedSet):
                published, sources = builder.ROWS, builder.sources()
                downloads = Path(builder._cache_downloaded_dir or datasets.config.DOWNLOADED_DATASETS_PATH)
                folder = (
                    Path(data_dir).expanduser()
                    if data_dir
                    else downloads_folder(builder.dataset_name, sources, downloads)
                )
                files = {source.name: _state(source, folder) for source in tqdm(sources, desc="digests")}
        sets = load_dataset(path, name, data_dir=data_dir, num_proc=num_proc, transform=None)
    for source in sources:
        if files[source.name] == NOT_HERE:  # perhaps it was downloaded now
            files[source.name] = _state(source, folder)
    unreadable, classes = [], {}
    for split, rows in sets.items():
        images = datasets.Features({name: inner for name, inner in rows.features.items() if holds_images(inner)})
        raw = rows.cast(with_images(rows.features, lambda _: datasets.Image(decode=False)))
        with reading(path):
            found = raw.map(
                _faults,
                with_indices=True,
                batched=True,
                batch_size=_batch_size(raw, images),
                num_proc=num_proc,
                fn_kwargs={"images": images, "split": split},
                remove_columns=raw.column_names,
                features=datasets.Features({"fault": datasets.Value("string")}),
                keep_in_memory=True,
                load_from_cache_file=False,
                desc=f"decoding {split}",
            )
        unreadable += [fault for fault in found["fault"] if fault is not None]
        label = rows.features.get("label")
        if isinstance(label, datasets.ClassLabel):
            count = Counter(rows.select_columns("label")[:]["label"])
            classes[split] = {name: count[number] for number, name in enumerate(label.names)}
    counts = {
        split: {"found": len(sets[split]) if split in sets else 0, "published": published.get(split)}
        for split in dict.fromkeys([*published, *sets])
    }
    wrong_rows = any(row["published"] not in (None, row["found"]) for row in counts.values())
    sound = not unreadable and not wrong_rows and all(state in ("ok", NOT_HERE) for state in files.values())
    return {
        "path": path,
        "files": files,
        "rows": counts,
        "missing": [split for split in counts if split not in sets],
        "classes": classes,
        "unreadable": unreadable,
        "ok": sound,
    }


def _state(source: Source, folder: Path) -> str:
    """Compares every file with the name of a published one, wherever it is in a folder, byte by byte."""
    if not folder.exists():
        return NOT_HERE
    files = [folder] if folder.is_file() else [entry.path for entry in walk(folder)]
    paths = [Path(path) for path in files if name_of(str(path)) == source.name]
    try:
        for path in paths:
            source.check(path)
    except DataError as error:
        return str(error)
    return "ok" if paths else NOT_HERE


def _batch_size(rows: datasets.Dataset, images: datasets.Features) -> int:
    """Rows that are in memory at once: 64, or fewer if the largest images would take more than MEMORY."""
    sizes = [_largest(rows.data[column], feature) for column, feature in images.items()]
    return max(1, min(64, MEMORY // max(1, sum(sizes))))


def _largest(column: pa.ChunkedArray, feature: Any) -> int:
    """The most bytes that the images of a value may have."""
    if isinstance(feature, datasets.Image):
        return pc.max(pc.binary_length(pc.struct_field(column, "bytes"))).as_py() or 0
    if isinstance(feature, Mapping):
        parts = {name: inner for name, inner in feature.items() if holds_images(inner)}
        return sum(_largest(pc.struct_field(column, name), inner) for name, inner in parts.items())
    items = pc.max(pc.list_value_length(column)).as_py() or 0
    return items * _largest(pc.list_flatten(column), item_of(feature)) if items else 0


def _faults(batch: dict, indices: list[int], images: datasets.Features, split: str) -> dict[str, list[str | None]]:
    faults = []
    for place, index in enumerate(indices):
        faults.append(None)
        for image in stored_images(images, {column: batch[column][place] for column in images}):
            try:
                with reading(f"unreadable image {split}, row {index}"):
                    decode_image(image, f"{split}, row {index}").load()
            except DataError as error:
                faults[-1] = str(error)
    return {"fault": faults}
