"""Names of images in tables: with or without the folder, with or without the suffix."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.files import Files, folder_of, stem_of
from dataset_scripts.core.splits import split_in

SAMPLE = 200  # names that tell which folder they are relative to


class Places:
    """The images of a listing, found by the names that tables give them."""

    def __init__(self, files: Files):
        self.root, self.images = files.root, files.images
        self.paths = pa.array(files.images, pa.string())
        self.stems = pc.replace_substring_regex(self.paths, r"\.[^./]*$", "")
        counts = pc.value_counts(self.stems)
        self.shared = counts.field("values").filter(pc.greater(counts.field("counts"), 1))  # stems of two images
        self.names = frozenset(files.images) | frozenset(path.rpartition(".")[0] for path in files.images)
        folders = {""}
        for folder in set(map(folder_of, files.images)):
            while folder:
                folders.add(folder)
                folder = folder_of(folder)
        self.folders = sorted(folders)

    def hits(self, names: Sequence[str]) -> dict[str, int]:
        """How many of the names exist below each folder."""
        return {folder: sum(self.has(folder, name) for name in names) for folder in self.folders}

    def bases(self, names: Sequence[str], split: str | None) -> list[str]:
        """The folders that names are relative to: the one that holds all of them, else those that hold some.

        A folder of another split than the table's is none of them.
        """
        hits = {folder: count for folder, count in self.hits(names).items() if count}
        fitting = {folder: count for folder, count in hits.items() if split is None or split_in(folder) in (None, split)}
        hits = fitting or hits
        whole = [folder for folder, count in hits.items() if count == len(names)]
        named = [folder for folder in whole if split is not None and split_in(folder) == split]
        return named or whole or sorted(hits, key=hits.get, reverse=True)

    def share(self, names: Sequence[str], split: str | None) -> float:
        """The share of names that are images below one of those folders."""
        some = [name.replace("\\", "/").removeprefix("./") for name in names[:SAMPLE]]
        bases = self.bases(some, split)
        return sum(any(self.has(base, name) for base in bases) for name in some) / max(1, len(some))

    def has(self, base: str, name: str) -> bool:
        return (f"{base}/{name}" if base else name) in self.names

    def find(self, names: pa.Array, split: str | None) -> tuple[pa.Array, list[tuple[int, str]]]:
        """The path that each name means, null where there is a fault, and the faults: row and message."""
        odd = pc.any(pc.match_substring_regex(pc.fill_null(names, ""), r"\\|^\./")).as_py()
        plain = pc.replace_substring_regex(pc.replace_substring(names, "\\", "/"), r"^\./", "") if odd else names
        some = plain.take(pa.array(range(0, len(plain), max(1, len(plain) // SAMPLE)))).drop_null().to_pylist()
        place, twice = pa.nulls(len(plain), pa.int32()), {}
        for base in self.bases(some, split):
            full = pc.binary_join_element_wise(base, plain, "/") if base else plain
            exact = pc.index_in(full, self.paths)
            found = pc.coalesce(exact, pc.index_in(full, self.stems))
            if len(self.shared):
                for row in _rows(pc.and_(pc.is_null(exact), pc.is_in(full, self.shared))):
                    first = found[row].as_py()
                    twice[row] = (first, pc.index(self.stems, self.stems[first], first + 1).as_py())
            both = pc.and_(pc.is_valid(place), pc.and_(pc.is_valid(found), pc.fill_null(pc.not_equal(place, found), False)))
            for row in _rows(both):
                twice.setdefault(row, (place[row].as_py(), found[row].as_py()))
            place = pc.coalesce(place, found)
        faults = [
            (row, f"{names[row]} may be {self.paths[first]} or {self.paths[second]}: give the whole path")
            for row, (first, second) in twice.items()
        ]
        return self._check(names, place, faults)

    def _check(self, names: pa.Array, place: pa.Array, faults: list[tuple[int, str]]) -> tuple[pa.Array, list[tuple[int, str]]]:
        for row in _rows(pc.is_null(place)):
            name = names[row].as_py()
            if name is None or not name.strip():
                faults.append((row, "it names no image"))
            elif ".." in name.split("/") or name.startswith("/") or name[1:2] == ":":
                faults.append((row, f"{name} leads outside of {self.root}"))
            else:
                near = next((path for path in self.images if path.lower().endswith((name.lower(), f"/{stem_of(name)}.".lower()))), None)
                faults.append((row, f"there is no image {name}" + (f", but {near}" if near else "")))
        numbers = pc.fill_null(place, -1).to_numpy(zero_copy_only=False)
        order = np.argsort(numbers, kind="stable")
        again = order[1:][(np.diff(numbers[order]) == 0) & (numbers[order][1:] >= 0)]
        faults += [(row, f"{names[row].as_py()} is listed twice") for row in again.tolist()]
        if faults:
            kept = np.ones(len(names), bool)
            kept[[row for row, _ in faults]] = False
            place = pc.if_else(pa.array(kept), place, None)
        return self.paths.take(place), sorted(faults)


def _rows(mask: pa.Array) -> list[int]:
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist()
