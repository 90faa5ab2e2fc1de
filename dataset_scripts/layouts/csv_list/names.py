"""Names of images in tables: with or without the folder, with or without the suffix."""

import itertools
import posixpath
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.builders.tables import path_array
from dataset_scripts.core.files.listing import (
    IMAGE_SUFFIXES,
    Files,
    folder_of,
    is_image,
    name_of,
    stem_of,
    without_suffix,
)
from dataset_scripts.core.files.splits import split_in
from dataset_scripts.core.formats.fields import short

ENDINGS = "|".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
SUFFIX = r"\.[^./]*$"
ODD = r"\\|(^|/)\.\.?(/|$)"  # `..\a.png`, `./a.png`
PART = 1 << 15  # images that are looked up at once: a hash table of all would be larger than the table of names
ROWS = 1 << 18  # names that are looked up at once, to limit the memory that it takes


class Fit(NamedTuple):
    """How the names of a table have to be read.

    Attributes:
        drop: how many folders in front are those of another machine: `/home/me/set/1.jpg`.
        any_suffix: the files have another suffix.
        any_case: the files differ in case.
    """

    drop: int = 0
    any_suffix: bool = False
    any_case: bool = False

    def read(self, name: str) -> str:
        """A name, as it is compared."""
        name = name.split("/", self.drop)[-1] if name.count("/") >= self.drop else name
        name = without_suffix(name) if self.any_suffix and is_image(name) else name
        return name.lower() if self.any_case else name

    def read_all(self, names: pa.Array) -> pa.Array:
        """The names of a column, as they are compared."""
        if self.drop:
            names = pc.replace_substring_regex(names, f"^(?:[^/]*/){{{self.drop}}}", "")
        if self.any_suffix:
            names = pc.replace_substring_regex(names, rf"(?i)\.(?:{ENDINGS})$", "")
        return pc.utf8_lower(names) if self.any_case else names

    def __str__(self) -> str:
        """What is different, for the log; "" for nothing."""
        said = [f"without {self.drop} folder{'s' * (self.drop > 1)} in front"] if self.drop else []
        said += ["with another suffix"] if self.any_suffix else []
        said += ["in any case"] if self.any_case else []
        return ", ".join(said)


def clean(name: str) -> str:
    """A name with `/`, without `./` in front, and without blanks around it."""
    return re.sub(r"^(\.\.?/)+", "", name.strip().replace("\\", "/"))


class Places:
    """The images of a listing, found by the names that tables give them: the end of a path, or all of it."""

    def __init__(self, files: Files):
        self.root, self.images, self.fit = files.root, files.images, Fit()

    @cached_property
    def levels(self) -> np.ndarray:
        """The number of folders above each image (int16)."""
        return np.fromiter((path.count("/") for path in self.images), np.int16, len(self.images))

    @cached_property
    def near(self) -> dict[str, str]:
        """Name and stem in lower case -> path; for messages."""
        return {key.lower(): path for path in self.images for key in (name_of(path), stem_of(path))}

    def fits(self, columns: Mapping[Hashable, Sequence[str]]) -> dict[Hashable, tuple["Fit", float]]:
        """How some names of each column have to be read to be those of images, and the share of them that are.

        The plainest way by which most names are found counts, else the one that finds the most. All in one pass over
        the paths.
        """
        plain = {key: [clean(name) for name in names] for key, names in columns.items()}
        wanted = {key.lower() for names in plain.values() for name in names for key in (name_of(name), stem_of(name))}
        tails = set()
        for path in self.images if wanted else ():
            if stem_of(path).lower() in wanted or name_of(path).lower() in wanted:
                parts = path.split("/")
                tails.update("/".join(parts[start:]) for start in range(len(parts)))
        tails |= set(map(without_suffix, tails))
        lower = {tail.lower() for tail in tails}
        return {key: self._fit(names, tails, lower) for key, names in plain.items()}

    def _fit(self, names: list[str], tails: set[str], lower: set[str]) -> tuple["Fit", float]:
        best, most = Fit(), 0.0
        for any_case, any_suffix in itertools.product((False, True), repeat=2):
            for drop in range(1 + max((name.count("/") for name in names), default=0)):
                fit = Fit(drop, any_suffix, any_case)
                known = lower if any_case else tails
                hits = sum(fit.read(name) in known for name in names)
                whole = {said for name in names if is_image(name) and (said := fit.read(name)) in known}
                share = max(hits / max(1, len(names)), len(whole) / max(1, len(self.images)))
                if share > most:
                    best, most = fit, min(1.0, share)
                if most > 0.5:
                    return best, most
        return best, most

    def find(
        self, names: pa.Array, table: str, split: str | pa.Array | None, fit: Fit
    ) -> tuple[pa.Array, Iterator[tuple[int, str]]]:
        """Finds the image that each name stands for.

        A name is looked up first below the table's own folder, and in folders of its split before folders of no split
        and of another split: in the first of these that has all names of the split, else in the one with the most.

        Args:
            table: path of the table.
            split: of all names, or of each.
            fit: how to read the names.

        Returns:
            The places in `images` (int32), null if there is a fault, and the faults: row and message.
        """
        self.fit = fit
        plain = fit.read_all(self._plain(names, table))
        if isinstance(split, pa.Array):
            place, second = np.empty((2, len(names)), np.int32)
            for word in split.unique():
                rows = pc.equal(split, word).to_numpy(zero_copy_only=False)
                place[rows], second[rows] = self._in_pools(plain.filter(pa.array(rows)), table, word.as_py())
        else:
            place, second = self._in_pools(plain, table, split)
        rows = np.flatnonzero(place >= 0).astype(np.int32)
        named = place[rows]
        first = np.empty(len(self.images), np.int32)
        first[named[::-1]] = rows[::-1]
        bad = (place < 0) | (second >= 0)
        bad[rows] |= first[named] != rows
        faults = (
            (row, self._fault(names[row].as_py(), plain[row].as_py(), place[row], second[row]))
            for row in np.flatnonzero(bad).tolist()
        )
        return pa.array(place, mask=bad), faults

    def _plain(self, names: pa.Array, table: str) -> pa.Array:
        """The names with `/`, and without `.` and `..`, which are relative to the table's folder."""
        odd = pc.fill_null(pc.match_substring_regex(names, ODD), False)
        if not pc.any(odd).as_py():
            return names
        plain = []
        for name in names.filter(odd).to_pylist():
            name = name.replace("\\", "/")
            up = ".." in name.split("/") and not name.startswith("/")
            plain.append(posixpath.normpath(posixpath.join(folder_of(table), name) if up else name))
        return pc.replace_with_mask(names, odd, pa.array(plain, pa.string()))

    def _in_pools(self, names: pa.Array, table: str, split: str | None) -> tuple[np.ndarray, np.ndarray]:
        """What `_look` finds in the first pool that has the most names."""
        best, most = None, -1
        for pool in self._pools(table, split):
            place, second = self._look(names, pool)
            count = np.count_nonzero((place >= 0) & (second < 0))
            if count > most:
                best, most = (place, second), count
            if most == len(names):
                break
        return best

    def _pools(self, table: str, split: str | None) -> Iterator[np.ndarray | None]:
        """Numbers of images among which to look, the likely ones first; None for all."""
        folders = {folder: split_in(folder) for folder in set(map(folder_of, self.images))}
        home = folder_of(table)
        below = {folder for folder in folders if home and f"{folder}/".startswith(f"{home}/")}
        own = {folder for folder, said in folders.items() if split is not None and said == split}
        free = {folder for folder, said in folders.items() if said in (None, split)} if split is not None else set()
        tried = [set(), set(folders)]
        for pool in (below & own, below & free, below, own, free):
            if pool not in tried:
                tried.append(pool)
                yield np.fromiter((row for row, path in enumerate(self.images) if folder_of(path) in pool), np.int32)
        yield None

    def _look(self, names: pa.Array, pool: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The number of the image whose path ends in each name, and of a second such image; -1 without one (int32)."""
        place, second = np.empty((2, len(names)), np.int32)
        for start in range(0, len(names), ROWS):
            rows = slice(start, start + ROWS)
            place[rows], second[rows] = self._look_at(names[rows], pool)
        return place, second

    def _look_at(self, names: pa.Array, pool: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        place, second = np.full((2, len(names)), -1, np.int32)
        depths = pc.fill_null(pc.count_substring(names, "/"), -1).to_numpy().astype(np.int16)
        dots = pc.fill_null(pc.match_substring(names, "."), False).to_numpy(zero_copy_only=False)
        for depth in sorted(set(np.unique(depths).tolist()) & set(range(self.levels.max() + 1))):
            top = np.flatnonzero(self.levels == depth).astype(np.int32)  # a whole path takes precedence
            for numbers, suffix in ((top, True), (pool, True), (pool, False)):
                rows = (place < 0) & (depths == depth) & (dots if suffix else True)
                if rows.any():
                    asked = names if rows.all() else names.filter(pa.array(rows))
                    place[rows], second[rows] = self._join(asked, numbers, depth, suffix)
        return place, second

    def _join(
        self, names: pa.Array, numbers: np.ndarray | None, depth: int, suffix: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The first of some images whose path ends in each name, and the last if that is another one; else -1."""
        first, last = np.full((2, len(names)), -1, np.int32)
        count = len(self.images) if numbers is None else len(numbers)
        step = max(PART, count // 32)
        for start in range(0, count, step):
            part = np.arange(start, min(count, start + step)) if numbers is None else numbers[start : start + step]
            paths = (self.images[number] for number in part.tolist())
            ends = path_array(["/".join(path.rsplit("/", depth + 1)[-depth - 1 :]) for path in paths])
            ends = pc.utf8_lower(ends) if self.fit.any_case else ends
            ends = ends if suffix else pc.replace_substring_regex(ends, SUFFIX, "")
            rows, found = _places(names, ends)
            last[rows] = part[found]
            # Whether an end occurs twice; count_distinct would take twice the memory.
            if (pc.index_in(ends, ends).to_numpy() != np.arange(len(ends))).any():
                last[rows] = part[len(ends) - 1 - _places(names, ends.take(pa.array(np.arange(len(ends))[::-1])))[1]]
            new = first[rows] < 0
            first[rows[new]] = part[found[new]]
            pa.default_memory_pool().release_unused()  # else it keeps the memory of each part
        last[last == first] = -1
        return first, last

    def _fault(self, name: str | None, plain: str | None, place: int, second: int) -> str:
        if second >= 0:
            return f"{short(name)} may be {self.images[place]} or {self.images[second]}: write the whole path"
        if place >= 0:
            return f"{short(name)} is listed twice"
        if name is None or not name.strip():
            return "the name of the image is missing"
        if plain == ".." or plain.startswith(("../", "/")) or plain[1:2] == ":":
            return f"{short(name)} leads outside of {self.root}"
        near = self.near.get(name_of(plain).lower()) or self.near.get(stem_of(plain).lower())
        return f"there is no image {short(name)}" + (f", but there is {near}" if near else "")


def _places(names: pa.Array, ends: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The rows whose names are in `ends`, and the first place of each there."""
    found = pc.fill_null(pc.index_in(names, ends, skip_nulls=True), -1).to_numpy()
    rows = np.flatnonzero(found >= 0)
    return rows, found[rows]
