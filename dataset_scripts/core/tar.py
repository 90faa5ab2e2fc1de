"""The headers of a tar, read more strictly than tarfile does."""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from dataset_scripts.core.errors import DataError

MAX_HEADER = 1 << 20  # bytes; a long name takes a few thousand


class Member(tarfile.TarInfo):
    """A header of a tar; one that is cut off or damaged is an error, where tarfile takes it for the end."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"it is cut off or damaged: {error}") from error
        if member.size < 0:  # would lead back to it
            raise tarfile.ReadError("it is damaged: a member of less than no bytes")
        if not member.isreg() and member.size > MAX_HEADER:  # is read into memory
            raise tarfile.ReadError(f"it has a header of {member.size} bytes")
        return member


def tar_files(path: Path, archive: tarfile.TarFile, accept: Callable[[str], str | None]) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """The files of a tar that are not hidden, with their paths, each once."""
    seen = set()
    for member in archive:
        archive.members.clear()  # where it would keep them all
        name = accept(member.name)
        if name is None or member.isdir():
            continue
        if name in seen:
            raise DataError(f"{path} holds {name} twice")
        if member.issparse() or member.size < 0:
            raise DataError(f"{path}: {member.name} is stored with holes: pack it without --sparse")
        seen.add(name)
        yield name, member
    if archive.fileobj.read(1 << 20).strip(b"\0"):
        raise DataError(f"{path} goes on behind its end: tars that were joined have to be separate files")
