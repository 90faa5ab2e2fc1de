"""The content of a dataset in numbers: one pass over all images, in any number of processes."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.errors import DataError, reason
from dataset_scripts.core.image.decode import decode_image
from dataset_scripts.core.image.roles import CLASSES, Roles, as_list, item_feature, name_of_class, stored
from dataset_scripts.core.look.duplicates import DISTANCE, THUMBNAIL, digest, near_groups, perceptual_hash
from dataset_scripts.core.look.sheet import Group

BINS = 24  # of a histogram
FREQUENT = 50  # sizes that are reported
BATCH = 128  # rows that a process takes at a time
MEASURES = datasets.Features(
    {
        "row": datasets.Value("int64"),
        "error": datasets.Value("string"),
        "width": datasets.Value("int32"),
        "height": datasets.Value("int32"),
        "mode": datasets.Value("string"),
        "bytes": datasets.Value("int64"),
        "digest": datasets.Value("binary"),
        "hash": datasets.Value("uint64"),
        "thumbnail": datasets.Value("binary"),
    }
)


def report(
    datasets_by_split: Mapping[str, datasets.Dataset], num_proc: int | None = None, distance: int = DISTANCE
) -> dict[str, Any]:
    """Counts rows, classes and boxes, measures every image, and finds duplicates within and between splits.

    Args:
        datasets_by_split: split -> dataset, all with the same columns. If there are several image columns, the one called
            `image`, else the first, is measured.
        num_proc: processes; the numbers do not depend on it.
        distance: bits in which the hashes of near duplicates may differ, see `duplicates.near_groups`.

    Returns:
        A dict of plain numbers, strings, lists and dicts, ready for json:

        | key                                 | value                                                               |
        |-------------------------------------|---------------------------------------------------------------------|
        | `rows`                              | split -> number                                                     |
        | `column`                            | the column of images                                                |
        | `unreadable`                        | a dict of `split`, `row` and `error` for each                       |
        | `classes`                           | column, `names`, `counts` (split -> one each), `unlabelled`         |
        | `objects`                           | `categories`, `boxes` (split -> one each), `images_without`         |
        | `width` `height` `bytes` `aspect`   | min, median and max, counts by bins (`edges` and `counts`)          |
        | `total_bytes`                       | of all images as they are stored                                    |
        | `modes` `sizes`                     | mode or "width x height" -> split -> number, the 50 most frequent   |
        | `different_sizes`                   | number                                                              |
        | `duplicates` `overlaps` `conflicts` | groups of rows, see below                                           |

        A group is a dict of split -> row numbers. `duplicates["exact"]` are equal in mode, size and pixels (sha256),
        `duplicates["near"]` are similar but not all equal; `overlaps` are groups shared by several splits, and
        `conflicts` exact duplicates with different classes. `classes` and `objects` are None if there are none.

    Raises:
        DataError: no column of images, a stream, or splits with different columns.
    """
    if not datasets_by_split:
        raise DataError("there is no split to look at")
    roles = {split: Roles.of(dataset) for split, dataset in datasets_by_split.items()}
    first = next(iter(roles.values()))
    for split, other in roles.items():
        if other.measured != first.measured:
            raise DataError(f"the split {split} has different columns than the first one: {', '.join(other.features)}")
    measured = {
        split: measure(dataset, split, first.images[0], num_proc) for split, dataset in datasets_by_split.items()
    }
    good = {split: table.filter(pc.is_null(table["error"])) for split, table in measured.items()}
    images = pa.concat_tables(good.values()).combine_chunks()
    width, height = images["width"].to_numpy(), images["height"].to_numpy()
    split_of = np.repeat(np.array(list(good), object), [len(table) for table in good.values()])
    exact, near = find_duplicates(images, distance)
    where = list(zip(split_of.tolist(), images["row"].to_pylist()))
    exact, near = ([_by_split(where[place] for place in group) for group in groups] for groups in (exact, near))
    sizes = _tally(split_of, [f"{w} x {h}" for w, h in zip(width.tolist(), height.tolist())])
    classes = count_classes(datasets_by_split, first)
    return {
        "rows": {split: len(dataset) for split, dataset in datasets_by_split.items()},
        "column": first.images[0],
        "unreadable": [
            {"split": split, "row": row, "error": error}
            for split, table in measured.items()
            for row, error in zip(
                *table.filter(pc.is_valid(table["error"])).select(["row", "error"]).to_pydict().values()
            )
        ],
        "classes": classes,
        "objects": count_objects(datasets_by_split, first),
        "width": spread(width),
        "height": spread(height),
        "aspect": spread(width / height),
        "bytes": spread(images["bytes"].to_numpy()),
        "total_bytes": int(images["bytes"].to_numpy().sum()),
        "modes": _tally(split_of, images["mode"].to_pylist()),
        "sizes": dict(list(sizes.items())[:FREQUENT]),
        "different_sizes": len(sizes),
        "duplicates": {"exact": exact, "near": near, "distance": distance},
        "overlaps": {"exact": _shared(exact), "near": _shared(near)},
        "conflicts": _conflicts(datasets_by_split, exact, classes["column"]) if classes else [],
    }


def measure(dataset: datasets.Dataset, split: str, column: str, num_proc: int | None) -> pa.Table:
    """Decodes every image once: a table of MEASURES, one row per image."""
    if not len(dataset):
        return MEASURES.arrow_schema.empty_table()
    return stored(dataset, [column]).map(
        _measure_batch,
        batched=True,
        batch_size=BATCH,
        with_indices=True,
        fn_kwargs={"split": split},
        features=MEASURES,
        remove_columns=[column],
        num_proc=num_proc,
        keep_in_memory=True,
        load_from_cache_file=False,
        desc=f"images of {split}",
    )[:]


def _measure_batch(table: pa.Table, indices: list[int], split: str) -> dict[str, list]:
    rows = []
    for row, scalar in zip(indices, table.column(0)):
        for value in as_list(scalar.as_py()):
            found = dict.fromkeys(MEASURES) | {"row": row}
            rows.append(found)
            try:
                image = decode_image(value, f"{split} row {row}")
            except DataError as error:
                found["error"] = reason(error)
                continue
            content, path = value.get("bytes"), value.get("path")
            size = len(content) if content is not None else os.path.getsize(path) if os.path.exists(path) else 0
            found |= {
                "width": image.width,
                "height": image.height,
                "mode": image.mode,
                "bytes": size,
                "digest": digest(image),
            }
            found["hash"], found["thumbnail"] = perceptual_hash(image)
    return {name: [row[name] for row in rows] for name in MEASURES}


def find_duplicates(images: pa.Table, distance: int) -> tuple[list[list[int]], list[list[int]]]:
    """Groups of equal images, and of similar ones that are not all equal; row numbers of the table, in ascending order."""
    same = images["digest"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, first, same = np.unique(same, return_index=True, return_inverse=True)
    known = [place for place in first.tolist() if images["thumbnail"][place].as_py()]  # the others are of a single tone
    thumbnails = np.frombuffer(b"".join(images["thumbnail"][place].as_py() for place in known), np.uint8).reshape(
        -1, THUMBNAIL
    )
    label = first.copy()
    known = np.array(known, int)
    label[same[known]] = known[near_groups(images["hash"].to_numpy()[known], thumbnails, distance)]
    mixed = np.isin(label, [group for group, count in Counter(label.tolist()).items() if count > 1])
    near = [group for group in _groups(label[same]) if mixed[same[group[0]]]]
    return [group for group in _groups(same) if len(group) > 1], near


def _groups(label: np.ndarray) -> list[list[int]]:
    """Places of equal label, the groups in the order of their first place."""
    order = np.argsort(label, kind="stable")
    cuts = np.flatnonzero(np.diff(label[order])) + 1
    return sorted(group.tolist() for group in np.split(order, cuts) if len(group) > 1)


def _shared(groups: list[Group]) -> list[Group]:
    """The groups that several splits share."""
    return [group for group in groups if len(group) > 1]


def _by_split(places: Iterable[tuple[str, int]]) -> Group:
    group = {}
    for split, row in places:
        group.setdefault(split, []).append(row)
    return group


def _tally(split_of: np.ndarray, values: list[str]) -> dict[str, dict[str, int]]:
    """value -> split -> number, the most frequent value first."""
    counts = {value: {} for value, _ in sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))}
    for (split, value), number in Counter(zip(split_of.tolist(), values)).items():
        counts[value][split] = number
    return counts


def spread(values: np.ndarray) -> dict[str, Any]:
    """Least, median and greatest value, and counts in bins of equal width; all None or empty without values."""
    if not len(values):
        return {"min": None, "median": None, "max": None, "edges": [], "counts": []}
    counts, edges = np.histogram(values, BINS)
    low, high = values.min().item(), values.max().item()
    return {
        "min": low,
        "median": float(np.median(values)),
        "max": high,
        "edges": edges.tolist(),
        "counts": counts.tolist(),
    }


def count_classes(splits: Mapping[str, datasets.Dataset], roles: Roles) -> dict[str, Any] | None:
    """Rows of each class by split, of the first column of labels."""
    if not roles.labels:
        return None
    column = roles.labels[0]
    names, counts, unlabelled = _count_values(
        item_feature(roles.features[column]),
        {split: stored(dataset, [column])[:][column] for split, dataset in splits.items()},
    )
    if len(names) > CLASSES:
        return None
    return {"column": column, "names": names, "counts": counts, "unlabelled": unlabelled}


def count_objects(splits: Mapping[str, datasets.Dataset], roles: Roles) -> dict[str, Any] | None:
    """Boxes of each category by split, and images without one."""
    if roles.categories is None:
        return None
    tables = {split: stored(dataset, ["objects"])[:] for split, dataset in splits.items()}
    lists = {split: pc.struct_field(table["objects"], "category") for split, table in tables.items()}
    names, boxes, unlabelled = _count_values(roles.categories, lists)
    lengths = {split: pc.fill_null(pc.list_value_length(each), 0) for split, each in lists.items()}
    without = {split: int((length.to_numpy() == 0).sum()) for split, length in lengths.items()}
    return {"categories": names, "boxes": boxes, "unlabelled": unlabelled, "images_without": without}


def _count_values(
    feature: Any, columns: dict[str, pa.ChunkedArray]
) -> tuple[list[str], dict[str, list[int]], dict[str, int]]:
    """Names of classes, and how often each occurs in each split; and rows without one, such as -1 of a ClassLabel."""
    found = {}
    for split, column in columns.items():
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            column = pc.list_flatten(column)
        found[split] = {item["values"]: item["counts"] for item in pc.value_counts(column.combine_chunks()).to_pylist()}
    if isinstance(feature, datasets.ClassLabel):
        values = list(range(feature.num_classes))
    else:
        values = sorted({value for counts in found.values() for value in counts if value is not None})
    counts = {split: [numbers.get(value, 0) for value in values] for split, numbers in found.items()}
    rest = {split: sum(numbers.values()) - sum(counts[split]) for split, numbers in found.items()}
    return [name_of_class(feature, value) for value in values], counts, rest


def _conflicts(splits: Mapping[str, datasets.Dataset], groups: list[Group], column: str) -> list[Group]:
    """The groups whose rows are of different classes."""
    labels = {split: stored(dataset, [column])[:][column] for split, dataset in splits.items()}
    return [
        group
        for group in groups
        if len({str(labels[split][row].as_py()) for split, rows in group.items() for row in rows}) > 1
    ]
