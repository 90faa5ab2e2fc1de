"""Names of images in tables: with or without the folder, with or without the suffix."""

import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.files import Files, folder_of, name_of, stem_of, without_suffix
from dataset_scripts.core.splits import split_in

SUFFIX = r"\.[^./]*$"
ODD = r"\\|(^|/)\.\.?(/|$)"  # `..\a.png`, `./a.png`


class Places:
    """The images of a listing, found by the names that tables give them: the end of a path, or all of it."""

    def __init__(self, files: Files):
        self.root, self.images = files.root, files.images
        self.paths = pa.array(files.images, pa.string())

    @cached_property
    def stems(self) -> pa.Array:
        """`a/b/c.png` -> `c`, for every image."""
        return pc.replace_substring_regex(pc.replace_substring_regex(self.paths, "^.*/", ""), SUFFIX, "")

    @cached_property
    def near(self) -> dict[str, str]:
        """Name and stem in lower case -> path; for messages."""
        return {key.lower(): path for path in self.images for key in (name_of(path), stem_of(path))}

    def share(self, names: Sequence[str]) -> float:
        """The share of some names that are those of images."""
        names = [re.sub(r"^(\.\.?/)+", "", name.replace("\\", "/")) for name in names]
        wanted = {key for name in names for key in (name_of(name), stem_of(name))}
        some = self.paths.filter(pc.is_in(self.stems, pa.array(wanted, pa.string()))).to_pylist()
        depths = {name.count("/") for name in names}
        ends = {"/".join(path.split("/")[-depth - 1 :]) for path in some for depth in depths}
        ends |= set(map(without_suffix, ends))
        return sum(name in ends for name in names) / max(1, len(names))

    def find(self, names: pa.Array, table: str, split: str | None) -> tuple[pa.Array, Iterator[tuple[int, str]]]:
        """Finds the image that each name means.

        A name is looked for below the table's own folder before others, and in folders of the table's split before
        folders of no split and of another one: the first of these that has all names, else the one that has most.

        Returns:
            The places in `images` (int32), null where there is a fault, and the faults: row and message.
        """
        self.__dict__.pop("stems", None)  # as large as the table
        plain = self._plain(names, table)
        place, second, most = None, None, -1
        for pool in self._pools(table, split):
            found, also = self._look(plain, pool)
            count = pc.sum(pc.and_(pc.is_valid(found), pc.is_null(also)), min_count=0).as_py()
            if count > most:
                place, second, most = found, also, count
            if most == len(plain):
                break
        numbers = pc.fill_null(place, -1).to_numpy(zero_copy_only=False)
        order = np.argsort(numbers, kind="stable")
        again = np.zeros(len(numbers), bool)
        again[order[1:]] = (np.diff(numbers[order]) == 0) & (numbers[order][1:] >= 0)
        bad = pc.or_(pc.or_(pc.is_null(place), pc.is_valid(second)), pa.array(again))
        faults = (
            (row, self._fault(names[row].as_py(), plain[row].as_py(), place[row].as_py(), second[row].as_py()))
            for row in np.flatnonzero(bad.to_numpy(zero_copy_only=False)).tolist()
        )
        return pc.if_else(bad, None, place), faults

    def _plain(self, names: pa.Array, table: str) -> pa.Array:
        """The names with `/`, and without `.` and `..`, which are meant from the table's folder."""
        odd = pc.fill_null(pc.match_substring_regex(names, ODD), False)
        if not pc.any(odd).as_py():
            return names
        plain = []
        for name in names.filter(odd).to_pylist():
            name = name.replace("\\", "/")
            up = ".." in name.split("/") and not name.startswith("/")
            plain.append(posixpath.normpath(posixpath.join(folder_of(table), name) if up else name))
        return pc.replace_with_mask(names, odd, pa.array(plain, pa.string()))

    def _pools(self, table: str, split: str | None) -> Iterator[pa.Array | None]:
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
                yield pa.array([row for row, path in enumerate(self.images) if folder_of(path) in pool], pa.int32())
        yield None

    def _look(self, names: pa.Array, pool: pa.Array | None) -> tuple[pa.Array, pa.Array]:
        """The images that the names are the end of, by number, and a second one where there is one."""
        paths = self.paths if pool is None else self.paths.take(pool)
        depths, levels = pc.count_substring(names, "/"), pc.count_substring(self.paths, "/")
        place = second = pa.nulls(len(names), pa.int32())
        known = pc.max(levels).as_py()
        for depth in sorted(value for value in pc.unique(depths).to_pylist() if value is not None and value <= known):
            top = pc.indices_nonzero(pc.equal(levels, depth)).cast(pa.int32())  # a whole path is meant before others
            tail = rf"^.*/((?:[^/]*/){{{depth}}}[^/]*)$"
            for part, numbers, suffix in ((self.paths.take(top), top, True), (paths, pool, True), (paths, pool, False)):
                here = pc.fill_null(pc.and_(pc.is_null(place), pc.equal(depths, depth)), False)
                if not pc.any(here).as_py():
                    break
                asked = names if pc.all(here).as_py() else pc.if_else(here, names, None)
                found, also = _join(asked, part, tail, suffix)
                place = pc.coalesce(place, found if numbers is None else numbers.take(found))
                second = pc.coalesce(second, also if numbers is None else numbers.take(also))
        return place, second

    def _fault(self, name: str | None, plain: str | None, place: int | None, second: int | None) -> str:
        if second is not None:
            return f"{name} may be {self.images[place]} or {self.images[second]}: give the whole path"
        if place is not None:
            return f"{name} is listed twice"
        if name is None or not name.strip():
            return "it names no image"
        if plain == ".." or plain.startswith(("../", "/")) or plain[1:2] == ":":
            return f"{name} leads outside of {self.root}"
        near = self.near.get(name_of(plain).lower()) or self.near.get(stem_of(plain).lower())
        return f"there is no image {name}" + (f", but {near}" if near else "")


def _join(names: pa.Array, paths: pa.Array, tail: str, suffix: bool) -> tuple[pa.Array, pa.Array]:
    """The place in `paths` of the first that ends in each name, and of the last where that is another; else null.

    Part by part, since a hash table of all paths would be larger than the table of names.
    """
    first = last = pa.nulls(len(names), pa.int32())
    step = max(1 << 17, len(paths) // 8)
    for start in range(0, len(paths), step):
        ends = pc.replace_substring_regex(paths.slice(start, step), tail, r"\1")
        ends = ends if suffix else pc.replace_substring_regex(ends, SUFFIX, "")
        found = final = pc.add(pc.index_in(names, ends, skip_nulls=True), pa.scalar(start, pa.int32()))
        if pc.count_distinct(ends).as_py() < len(ends):
            backwards = ends.take(pa.array(np.arange(len(ends))[::-1]))
            final = pc.subtract(pa.scalar(start + len(ends) - 1, pa.int32()), pc.index_in(names, backwards, skip_nulls=True))
        first, last = pc.coalesce(first, found), pc.coalesce(final, last)
    return first, pc.if_else(pc.not_equal(first, last), last, None)
