"""Whether a set is what was published: digests, row counts, classes, and every image."""

from collections import Counter
from pathlib import Path
from typing import Any

import datasets
from tqdm import tqdm

from dataset_scripts.core.decode import decode_image
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.loading import load_dataset, make_builder
from dataset_scripts.core.published import PublishedSet, Source
from dataset_scripts.core.script import find_script


def verify(path: str, name: str | None = None, data_dir: str | None = None, num_proc: int | None = None) -> dict[str, Any]:
    """Checks a set from its files to its pixels.

    Returns:
        `files`: published file -> "ok", "not here" (what was unpacked of it is read) or what is wrong; `rows`: split ->
        found and published number; `classes`: split -> class -> rows; `unreadable`: the images that do not decode, a
        line each; `ok`: whether all of it holds.

    Raises:
        DataError: the set cannot be read at all.
    """
    files, published = {}, {}
    script = find_script(path)
    if script is not None:
        builder = make_builder(script, name, data_dir, None, None, None, None, None, {})
        if isinstance(builder, PublishedSet):
            published = builder.ROWS
            files = {source.name: _state(source, data_dir) for source in tqdm(builder.sources(), desc="digests")}
    sets = load_dataset(path, name, data_dir=data_dir, num_proc=num_proc, transform=None)
    unreadable, classes = [], {}
    for split, rows in sets.items():
        images = [column for column, feature in rows.features.items() if isinstance(feature, datasets.Image)]
        raw = rows.cast(datasets.Features(rows.features | {column: datasets.Image(decode=False) for column in images}))
        found = raw.map(_faults, with_indices=True, batched=True, batch_size=64, num_proc=num_proc, desc=f"decoding {split}",
                        fn_kwargs={"columns": images, "split": split}, remove_columns=raw.column_names,
                        features=datasets.Features({"fault": datasets.Value("string")}))  # fmt: skip
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
    sound = not unreadable and not wrong_rows and all(state in ("ok", "not here") for state in files.values())
    return {"path": path, "files": files, "rows": counts, "classes": classes, "unreadable": unreadable, "ok": sound}


def _state(source: Source, data_dir: str | None) -> str:
    if data_dir is None:
        return "ok"  # a download is verified before it is read
    path = next(iter(sorted(Path(data_dir).expanduser().rglob(source.name))), None)
    if path is None:
        return "not here"
    try:
        source.check(path)
    except DataError as error:
        return str(error)
    return "ok"


def _faults(batch: dict, indices: list[int], columns: list[str], split: str) -> dict[str, list[str | None]]:
    faults = []
    for place, index in enumerate(indices):
        faults.append(None)
        for column in columns:
            try:
                if batch[column][place] is not None:
                    decode_image(batch[column][place], f"{split}, row {index}").load()
            except (DataError, OSError) as error:
                faults[-1] = str(error)
    return {"fault": faults}
