"""Uncompressed copies in the cache, of files that are to be read in any order."""

import math
from pathlib import Path
from typing import Protocol

from dataset_scripts.core.files.disk import writing
from dataset_scripts.core.files.hold import alone, beside
from dataset_scripts.core.files.replace import new_file

BLOCK = 1 << 20  # bytes


class Source(Protocol):
    """A stream that is read from front to end."""

    def read(self, size: int, /) -> bytes: ...


def inflate(packed: Path, stream: Source, folder: Path, suffix: str, limit: int | None = None) -> Path:
    """Writes the content of a compressed file once; the copy, named by size and times, is reused until the file is touched.

    Args:
        packed: the compressed file.
        stream: its uncompressed content.
        folder: the folder of the copy.
        suffix: the end of the copy's name.
        limit: the largest size of the copy in bytes; None for any.

    Raises:
        ValueError: it is larger.
        DataError: the disk is full.
    """
    stat = packed.stat()
    path = folder / f"{packed.name[-100:]}-{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ctime_ns}{suffix}"
    if path.exists():
        return path
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
    with alone(path, patience=math.inf, lock=beside(path, "waiting")):  # ranks that want the same file wait for one
        if not path.exists():
            with new_file(path) as file:
                while block := stream.read(BLOCK):
                    file.write(block)
                    file.check()
                    if limit is not None and file.tell() > limit:
                        raise ValueError(
                            f"it grows from {stat.st_size:,} to more than {limit:,} bytes, which no image does"
                        )
    return path
