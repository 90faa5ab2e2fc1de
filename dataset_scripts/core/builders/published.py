"""A named set: the files published by its authors, on top of the layout that reads them."""

import copy
import inspect
import re
from collections.abc import Iterable
from fnmatch import translate
from pathlib import Path
from typing import Any, ClassVar

import datasets

from dataset_scripts.core.builders.download import Source, download_all
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.archives import is_archive
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.files.walk import follows

__all__ = ["PublishedSet", "Source"]

logger = printable_logger(__name__)

PACKED = (".gz", ".bz2", ".xz")


class PublishedSet:
    """Comes before a layout in the bases of a named set, whose body declares what was published::

        published = Source.at("https://…/mnist/")

        class Mnist(PublishedSet, Idx):
            SOURCES = (published("train-images-idx3-ubyte.gz", 9912422, "440f…"), …)
            ROWS = {"train": 60_000, "test": 10_000}

    With `data_dir=` the set is read from existing files, as published or unpacked; otherwise the files are
    downloaded and verified. Archives are read in place; a compressed tar becomes a plain one in the cache.

    The folder of `data_dir=` may hold only some splits: those without any of their files are left out, which is logged.

    Attributes:
        SOURCES: the files.
        ROWS: split -> published number of rows; `dataset-scripts verify` compares them.
        PARTS: split -> the files that only it needs, for sets whose splits are in separate files; see `parts`.
        CLASSES: the names of the labels, in order; None if the files give them.
        FEATURES: the columns; None if the files give them.
        OPTIONS: options of the layout that are fixed for this set.
        HOMEPAGE, LICENSE, CITATION: as in `datasets.DatasetInfo`; the licence is an identifier of the Hub.
        present: the splits whose files are in the listing that `index` gets.
        left_out: the splits without rows, once it was read; None before.
    """

    READS_ALL: ClassVar[bool] = False  # the declarations name the files; others beside them do not matter
    SOURCES: ClassVar[tuple[Source, ...]] = ()
    ROWS: ClassVar[dict[str, int]] = {}
    PARTS: ClassVar[dict[str, tuple[str, ...]]] = {}
    CLASSES: ClassVar[list[str] | None] = None
    FEATURES: ClassVar[datasets.Features | None] = None
    OPTIONS: ClassVar[dict[str, Any]] = {}
    HOMEPAGE: ClassVar[str] = ""
    LICENSE: ClassVar[str] = ""
    CITATION: ClassVar[str] = ""
    present: list[str]
    left_out: list[str] | None = None

    def _info(self):
        return datasets.DatasetInfo(
            description=inspect.getdoc(inspect.getmodule(type(self))) or "",
            homepage=self.HOMEPAGE,
            license=self.LICENSE,
            citation=self.CITATION,
            features=self.FEATURES and self.FEATURES.copy(),
        )

    def sources(self) -> tuple[Source, ...]:
        """The files that this configuration needs."""
        return self.SOURCES

    def parts(self) -> dict[str, tuple[str, ...]]:
        """The files that each split of this configuration needs, and no other split: patterns of the ends of paths.

        In a pattern, `*` stands for anything, and `|` is between other forms of the same, of which the first is named in
        messages: "train.zip|train/*". A compressed file ("x.gz") may be there without compression, too.
        """
        return self.PARTS

    def there(self, files: Files) -> list[str]:
        """The splits whose files are in the listing; all if they were downloaded.

        A split of which some files are there is a fault, as a copy that was cut short would lose its rows.

        Raises:
            DataError: there is none; it names the first file that is missing.
        """
        parts = self.parts()
        if not self.config.data_dir:
            return list(parts)
        found, first = [], ""
        for split, patterns in parts.items():
            missing = [pattern for pattern in patterns if not _holds(files.paths, pattern)]
            fault = missing and f"{files.root} holds no {_named(missing[0])}, neither as a file nor in an archive: "
            first = first or (fault and f"{fault}the split {split} needs it, and no other split is there")
            if not missing:
                found.append(split)
            elif len(missing) < len(patterns):
                with self.faults:
                    raise DataError(f"{fault}the split {split} needs it beside its other files")
        if parts and not found:
            raise DataError(first)
        return found

    def _index(self, files: Files):
        self.present = self.there(files)
        features, rows = super()._index(files)
        known = self.present if self.faults.skip else ()  # what is damaged is no row either, but there
        self.left_out = [split for split in self.parts() if split not in rows and split not in known]
        for split in filter(self.ROWS.get, self.left_out):
            folder = self.config.data_dir or files.root
            logger.warning("%s holds no files of the split %s: it is left out", folder, split)
        return features, rows

    def check_split(self, split: Any) -> None:
        """Raises a DataError if a split that the caller asks for is one of the set, but its files were not there.

        Args:
            split: as `datasets` takes it: names with slices, and lists, mappings and sums of them.
        """
        parts, left_out = self.parts(), self.left_out or []
        if self.left_out is None and self.config.on_error != "skip":  # the dataset was built before
            left_out = [name for name in parts if name not in (self.info.splits or {})]
        for name in _split_names(split):
            if name in left_out and self.config.data_dir:
                raise DataError(
                    f"{self.config.data_dir} holds no files of the split {name}: it needs {_named(parts[name][0])}"
                )

    def _split_generators(self, dl_manager):
        self.downloads = Path(dl_manager.download_config.cache_dir or datasets.config.DOWNLOADED_DATASETS_PATH)
        return super()._split_generators(dl_manager)

    def _list(self) -> Files:
        self.config = copy.copy(self.config)  # `datasets` hands one object to all builders of a script
        for option, value in ({"classes": self.CLASSES} | self.OPTIONS).items():
            if hasattr(self.config, option) and getattr(self.config, option) is None:
                setattr(self.config, option, value)
        if self.config.data_files:
            raise DataError(
                f"{self.dataset_name} knows its files: pass data_dir=…, the folder that holds them, not data_files"
            )
        if self.config.data_dir:
            folder = Path(self.config.data_dir)
        else:
            folder = download_all(self.dataset_name, self.sources(), self.downloads)
        files = Files.of(
            folder,
            inflate_to=self.downloads / "inflated",
            skip=self.config.on_error == "skip",
            follow=follows(self.config.links),
        )
        patterns = [pattern for needed in self.parts().values() for pattern in needed]
        is_split = any(f"{folder.name}/*" in pattern.split("|") for pattern in patterns) and folder.is_dir()
        if not is_split or any(_holds(files.paths, pattern) for pattern in patterns):
            return files
        return _from_above(files)  # the folder of a split itself, whose name tells which


def _holds(paths: list[str], pattern: str) -> bool:
    """Whether a path of a listing ends as a pattern says; an archive is no file of it, but what it holds."""
    forms = [form for form in pattern.split("|") if not is_archive(form)]
    forms += [form.removesuffix(suffix) for form in forms for suffix in PACKED if form.endswith(suffix)]
    expression = re.compile("|".join(translate(f"*/{form}") for form in forms), re.IGNORECASE)
    return any(expression.match(f"/{path}") for path in paths)


def _from_above(files: Files) -> Files:
    """The listing with the name of its folder in all paths."""
    above = f"{files.root.name}/"
    return Files(
        files.root.parent,
        {above + prefix: archive for prefix, archive in files.mounts.items()},
        [above + path for path in files.paths],
        files.state,
        files.left_out,
        aliases={above + path: above + real for path, real in files.aliases.items()},
    )


def _named(pattern: str) -> str:
    """The form of a pattern that messages name."""
    return pattern.partition("|")[0]


def _split_names(split: Any) -> Iterable[str]:
    """The names of the splits in what a caller asks for: `train` of "train[:10%]+test" and so on."""
    if isinstance(split, datasets.ReadInstruction):
        split = split.to_spec()
    if isinstance(split, dict):
        split = list(split.values())
    if isinstance(split, (list, tuple)):
        return [name for part in split for name in _split_names(part)]
    return re.findall(r"(?:^|\+)\s*(\w+)", str(split))
