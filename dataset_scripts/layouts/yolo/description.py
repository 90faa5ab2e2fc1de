"""The description of a YOLO set: a yaml in Ultralytics' format, or darknet's .data with lists and names."""

import codecs
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files, folder_of, folders_of, is_image, stem_of
from dataset_scripts.core.files.splits import SPLITS
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.safe_yaml import load_yaml
from dataset_scripts.layouts.yolo.label import read_text

logger = printable_logger(__name__)

KEYS = {"train": "train", "val": "validation", "valid": "validation", "test": "test"}
_LONGEST = 4096  # characters of a path
_PEEK = 1 << 16  # bytes of a file that show what it is
_FIRST = re.compile(rb"^(names|nc|classes|train|val|valid|test)\s*[:=]", re.MULTILINE)


def descriptions(files: Files) -> list[str]:
    """The files that name classes and splits; if there are none, those that name classes."""
    found: dict[bool, list[str]] = {True: [], False: []}
    for path in files.having(".yaml", ".yml", ".data"):
        keys = said_keys(files, path)
        if keys & {"names", "nc", "classes"}:
            found[bool(keys & KEYS.keys())].append(path)
    return found[True] or found[False]


def said_keys(files: Files, path: str) -> set[str]:
    """The keys of a description that say something of classes and splits."""
    with files.open(path) as file:
        return {key.decode() for key in _FIRST.findall(file.read(_PEEK))}


def split_lists(files: Files) -> dict[str, str]:
    """The lists that are named like splits, whose lines name images: split -> path; as darknet has them, without a yaml."""
    found: dict[str, str] = {}
    for path in files.having(".txt"):
        split = KEYS.get(stem_of(path).lower()) or SPLITS.get(stem_of(path).lower())
        if split is None or split in found:
            continue
        with files.open(path) as file:
            lines = file.read(_PEEK).decode("utf-8", "replace").splitlines()
        if lines and all(is_image(line.strip()) for line in lines[:20] if line.strip()):
            found[split] = path
    return found


@dataclass
class Description:
    """A description, read.

    Attributes:
        files: the listing.
        source: the file; "" if there is none.
        said: its keys.
        is_chosen: a list chooses images of the set, so that others may lie beside them.
    """

    files: Files
    source: str = ""
    said: dict[str, Any] = field(default_factory=dict)
    is_chosen: bool = False

    @classmethod
    def of(cls, files: Files, source: str | None) -> "Description":
        """Reads `source`; None reads the only description in the data."""
        found = descriptions(files) if source is None else [source]
        if len(found) > 1:
            raise DataError(f"{files.root}: {', '.join(found)} each describe a set: choose one with data=…")
        if not found:
            return cls(files)
        if found[0] not in files.names:
            raise DataError(f"{files.root} has no file {found[0]}")
        text = read_text(files, found[0])
        if found[0].lower().endswith(".data"):
            pairs = [line.split("=", 1) for line in text.splitlines() if "=" in line]
            return cls(files, found[0], {key.strip(): value.strip() for key, value in pairs})
        said = load_yaml(text, f"{files.root}/{found[0]}")
        if not isinstance(said, dict):
            raise DataError(f"{files.root}/{found[0]} holds no keys such as names and train")
        for key in ("path", "nc", "classes"):
            value = said.get(key)
            if not (value is None or isinstance(value, str) or (type(value) is int and 0 <= value < 1 << 31)):
                raise DataError(f"{files.root}/{found[0]}: {key} is neither text nor a number")
        return cls(files, found[0], said)

    @property
    def where(self) -> str:
        return f"{self.files.root}/{self.source}"

    def splits(self, faults: Faults) -> dict[str, list[str]]:
        """The images of each split; empty if the description names none."""
        files, splits, folders = self.files, {}, folders_of(self.files.paths)
        base = str(self.said.get("path") or "")
        home = folder_of(self.source)
        named = (base, posixpath.basename(base))
        base = next((place for name in named if name and (place := find(name, [home, ""], folders.__contains__))), home)
        if not self.said:
            lists = split_lists(files)
            return {split: self._listed(path, [folder_of(path), ""], faults) for split, path in lists.items()}
        for key, split in KEYS.items():
            entries = self.said.get(key) or []
            entries = [entries] if isinstance(entries, str) else entries
            if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
                raise DataError(
                    f"{self.where}: {key} is not the path of a folder or of a list of images, nor a list of paths"
                )
            paths, listed = [], set()
            for entry in entries:
                found = find(entry, [base, home, ""], lambda place: place in folders or place in files.names)
                images = []
                if found in folders:
                    images = [path for path in files.images if path.startswith(f"{found}/" if found else "")]
                elif found is not None:
                    images = self._listed(found, [posixpath.dirname(found), base], faults)
                if not images:
                    logger.warning("%s: %s: there are no images in %s", self.where, key, short(entry))
                if not listed.isdisjoint(images):
                    raise DataError(f"{self.where}: {key} names images twice")
                listed.update(images)
                paths += images
            if paths:
                splits[split] = list(dict.fromkeys(splits.get(split, []) + paths))
        if any(self.said.get(key) for key in KEYS) and not splits:
            raise DataError(f"{self.where}: there are no images in the places that it names")
        return splits

    def _listed(self, source: str, folders: list[str], faults: Faults) -> list[str]:
        """The images in a list, one path per line."""
        self.is_chosen = True
        images, listed = frozenset(self.files.images), set()
        content = self.files.read(source, empty=True).removeprefix(codecs.BOM_UTF8)
        for number, line in enumerate(content.splitlines(), 1):
            where = f"{self.files.root}/{source}, line {number}"
            with faults:
                with reading(f"{where} is not text"):
                    name = line.decode().strip()
                if name:
                    path = find(name, folders, images.__contains__)
                    if path is None:
                        raise DataError(f"{where}: there is no image {short(name)} in {self.files.root}")
                    if path in listed:
                        raise DataError(f"{where}: {name} is listed twice")
                    listed.add(path)
        return sorted(listed)

    def names(self) -> list[str] | None:
        """The classes: from the description, else from classes.txt or a .names file; None if nothing names them."""
        names, count = self.said.get("names"), self.said.get("nc", self.said.get("classes"))
        if isinstance(names, str):
            path = find(names, [folder_of(self.source), ""], self.files.names.__contains__)
            if path is None:
                raise DataError(f"{self.where}: there is no {short(names)} in {self.files.root}")
            names = self._lines(path)
        elif not self.said:
            lists = self.files.having("classes.txt", ".names")
            if not lists:
                return None
            names = self._lines(lists[0])
            if other := next((path for path in lists if self._lines(path) != names), None):
                raise DataError(f"{self.files.root}: {lists[0]} and {other} name different classes")
        if isinstance(names, dict):
            if set(names) != set(range(len(names))) or not all(type(number) is int for number in names):
                raise DataError(f"{self.where}: the ids in names are not 0 to {len(names) - 1}")
            names = [names[number] for number in range(len(names))]
        if names is None and re.fullmatch(r"\d{1,5}", str(count)):
            names = list(range(int(count)))
        if not isinstance(names, list) or not names:
            raise DataError(f"{self.where}: names is not a list of classes")
        for number, name in enumerate(names):
            if isinstance(name, bool) or not isinstance(name, (str, int, float)):
                raise DataError(f"{self.where}: name {number} is a {type(name).__name__} in yaml: put it in quotes")
        if count is not None and str(count) != str(len(names)):
            raise DataError(f"{self.where}: there are {count} classes, but {len(names)} names")
        if len(set(map(str, names))) < len(names):
            raise DataError(f"{self.where}: two classes have the same name: pass classes=[…]")
        return [str(name) for name in names]

    def sources(self) -> list[str]:
        """The files that describe the set: the description, lists of images, names of classes."""
        files = self.files
        said = [value for value in self.said.values() if isinstance(value, str)]
        folders = [folder_of(self.source), ""]
        named = [path for value in said if (path := find(value, folders, files.names.__contains__))]
        return [
            *filter(None, [self.source]),
            *named,
            *split_lists(files).values(),
            *files.having("classes.txt", ".names"),
        ]

    def _lines(self, path: str) -> list[str]:
        return [line.strip() for line in read_text(self.files, path).splitlines() if line.strip()]

    def keypoints(self) -> tuple[int, int] | None:
        """`kpt_shape`: the number of keypoints, and of numbers for each (2 or 3)."""
        shape = self.said.get("kpt_shape")
        if shape is None:
            return None
        if (
            not isinstance(shape, list)
            or len(shape) != 2
            or type(shape[0]) is not int
            or shape[0] < 1
            or shape[1] not in (2, 3)
        ):
            raise DataError(f"{self.where}: kpt_shape is not [how many, 2 or 3]")
        return shape[0], shape[1]


def find(name: str, folders: list[str], there: Callable[[str], bool]) -> str | None:
    """The path in the listing ("" is the root) of a name in a description or a list; None if it is not `there`."""
    return next(filter(there, _places(name.replace("\\", "/"), folders)), None) if len(name) <= _LONGEST else None


def _places(name: str, folders: list[str]) -> Iterator[str]:
    """The places where a path may be: first relative to `folders`.

    Then without its leading folders, which may belong to another machine (/content/set/train) or another working
    folder (data/obj.names), or without one `..`: Roboflow's ../train/images means train/images.
    """
    for folder in folders:
        path = posixpath.normpath(posixpath.join(folder, name))
        yield "" if path == "." else path
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." not in parts:
        yield from ("/".join(parts[start:]) for start in range(len(parts)))
    elif ".." not in parts[1:]:
        yield "/".join(parts[1:])
