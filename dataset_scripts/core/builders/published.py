"""A named set: the files published by its authors, on top of the layout that reads them."""

import copy
import inspect
from pathlib import Path
from typing import Any, ClassVar

import datasets

from dataset_scripts.core.builders.download import Source, download_all
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.files.walk import follows

__all__ = ["PublishedSet", "Source"]


class PublishedSet:
    """Comes before a layout in the bases of a named set, whose body declares what was published::

        published = Source.at("https://…/mnist/")

        class Mnist(PublishedSet, Idx):
            SOURCES = (published("train-images-idx3-ubyte.gz", 9912422, "440f…"), …)
            ROWS = {"train": 60_000, "test": 10_000}

    With `data_dir=` the set is read from existing files, as published or unpacked; otherwise the files are
    downloaded and verified. Archives are read in place; a compressed tar becomes a plain one in the cache.

    Attributes:
        SOURCES: the files.
        ROWS: split -> published number of rows; `dataset-scripts verify` compares them.
        CLASSES: the names of the labels, in order; None if the files give them.
        FEATURES: the columns; None if the files give them.
        OPTIONS: options of the layout that are fixed for this set.
        HOMEPAGE, LICENSE, CITATION: as in `datasets.DatasetInfo`; the licence is an identifier of the Hub.
    """

    READS_ALL: ClassVar[bool] = False  # the declarations name the files; others beside them do not matter
    SOURCES: ClassVar[tuple[Source, ...]] = ()
    ROWS: ClassVar[dict[str, int]] = {}
    CLASSES: ClassVar[list[str] | None] = None
    FEATURES: ClassVar[datasets.Features | None] = None
    OPTIONS: ClassVar[dict[str, Any]] = {}
    HOMEPAGE: ClassVar[str] = ""
    LICENSE: ClassVar[str] = ""
    CITATION: ClassVar[str] = ""

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
        return Files.of(
            folder,
            inflate_to=self.downloads / "inflated",
            skip=self.config.on_error == "skip",
            follow=follows(self.config.links),
        )
