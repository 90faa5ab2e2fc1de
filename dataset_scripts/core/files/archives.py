"""zip and tar archives, read in place: nothing is unpacked to disk."""

from pathlib import Path

from dataset_scripts.core.errors import reading
from dataset_scripts.core.files.archive import MAX_RATIO, MAX_SMALL, ArchiveReader
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.tar import TarReader, TarStreamReader
from dataset_scripts.core.files.zip import ZipReader

__all__ = [
    "MAX_RATIO",
    "MAX_SMALL",
    "SUFFIXES",
    "TAR_STREAMS",
    "ArchiveReader",
    "TarReader",
    "TarStreamReader",
    "ZipReader",
    "archive_stem",
    "is_archive",
    "open_archive",
]

TAR_STREAMS = {  # suffix -> compression, as pyarrow names it
    ".tar": None,
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
    ".tar.zst": "zstd",
    ".tzst": "zstd",
    ".tar.xz": "xz",
    ".txz": "xz",
}
SUFFIXES = (".zip", *TAR_STREAMS)


def is_archive(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def archive_stem(name: str) -> str:
    """`a/b.tar.gz` -> `a/b`; the name itself if it is not an archive."""
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def open_archive(path: Path, inflate_to: Path | None = None, faults: Faults | None = None) -> "ArchiveReader":
    """Lists an archive.

    Args:
        inflate_to: a folder for the plain tar that a compressed one is turned into, to read members in any order.
        faults: the context in which the fault of a single member is raised, or one that ends the listing after others; None
            raises it.

    Raises:
        DataError: it is damaged, encrypted, or a member leads outside, is a bomb, or links to something that does not exist.
    """
    suffix = path.name[len(archive_stem(path.name)) :].lower()
    with reading(f"{path} cannot be read"):
        if suffix == ".zip":
            return ZipReader(path, faults)
        compression = TAR_STREAMS[suffix]
        if compression is None:
            return TarReader(path, faults)
        stream = TarStreamReader(path, compression, faults)
        return stream if inflate_to is None else TarReader(stream.inflate(inflate_to), faults)
