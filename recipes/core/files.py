"""Files that are whole or not there."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def write_file(path: Path, content: bytes | str) -> None:
    """Writes a file whole or not at all, and to the disk before it takes its name."""
    partial = path.with_name(f".{path.name}.partial")
    with naming(path), open(partial, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Makes an error of the disk say which file it was; Python leaves that out when a write fails."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
