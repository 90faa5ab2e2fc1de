"""A published file: where it is, and how it is verified."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dataset_scripts.core.errors import DataError, reading


@dataclass(frozen=True)
class Source:
    """A file as its authors publish it.

    Attributes:
        name: the file name, which shows what it is (`train-images-idx3-ubyte.gz`).
        urls: where it is; the first is tried first, the others are mirrors. If empty, it must be downloaded manually.
        size: bytes.
        digest: "sha256:…" or "md5:…" of the content, in hexadecimal digits; or its beginning, if no more was published.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    digest: str | None = None

    @classmethod
    def at(cls, *bases: str) -> Callable[[str, int, str], "Source"]:
        """For files in one place: `Source.at("https://a.org/", "https://mirror.org/")("train.zip", 143812152, "284f…")`.

        The function that it returns takes the name, which is appended to each of `bases`, the size in bytes, and the
        sha256 or md5 in hexadecimal digits, which are distinguished by their length.
        """

        def published(name: str, size: int, digest: str) -> Source:
            kind = {64: "sha256", 32: "md5"}[len(digest)]
            return cls(name, tuple(base + name for base in bases), size, f"{kind}:{digest}")

        return published

    def check(self, path: Path) -> None:
        """Compares size and digest of a file.

        Raises:
            DataError: they differ; the message has both values.
        """
        with reading(path):
            size = path.stat().st_size
            if self.size is not None and size != self.size:
                raise DataError(f"{path} has {size} bytes, but the published file has {self.size}")
            if self.digest is not None:
                kind, _, expected = self.digest.partition(":")
                with open(path, "rb") as file:
                    found = hashlib.file_digest(file, kind).hexdigest()
                if not found.startswith(expected):
                    raise DataError(f"{path}: its {kind} is {found}, but that of the published file is {expected}")
