"""Published files: fetched once, resumed, tried on every mirror, and verified before anything reads them."""

import hashlib
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
from filelock import FileLock
from tqdm import tqdm

from dataset_scripts.core.errors import DataError

BLOCK = 1 << 20
TRIES = 3  # of each mirror, for what may pass: a broken line, a busy server
TIMEOUT = 30  # seconds without a byte
PAUSE = 1.0  # seconds before the second try; doubled for the third


@dataclass(frozen=True)
class Source:
    """A file as its authors publish it.

    Attributes:
        name: the file name, which says what it is (`train-images-idx3-ubyte.gz`).
        urls: where it lies; the first is tried first, the others are mirrors. None of them: it has to be fetched by hand.
        size: bytes.
        digest: "sha256:…" or "md5:…" of the content, in hexadecimal digits.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    digest: str | None = None

    @classmethod
    def at(cls, *bases: str) -> Callable[[str, int, str], "Source"]:
        """For files that lie together: `Source.at("https://a.org/", "https://mirror.org/")("train.zip", 143812152, "284f…")`.

        The function that it returns takes the name, which is appended to each of `bases`, the size in bytes, and the
        sha256 or md5 in hexadecimal digits, which their number tells apart.
        """

        def published(name: str, size: int, digest: str) -> Source:
            kind = {64: "sha256", 32: "md5"}[len(digest)]
            return cls(name, tuple(base + name for base in bases), size, f"{kind}:{digest}")

        return published

    def check(self, path: Path) -> None:
        """Compares size and digest of a file.

        Raises:
            DataError: they differ; with both values.
        """
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            raise DataError(f"{path}: {size} bytes, published are {self.size}")
        if self.digest is not None:
            kind, _, expected = self.digest.partition(":")
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, kind).hexdigest()
            if found != expected:
                raise DataError(f"{path}: its {kind} is {found}, published is {expected}")


def download_all(name: str, sources: Sequence[Source], downloads: Path) -> Path:
    """Fetches the files of a set into a folder of their own below `downloads`.

    The folder is named by the URLs too, so that sets with files of equal names, and a set that moved, stay apart.

    Raises:
        DataError: a file could not be had.
    """
    key = hashlib.sha256("\n".join(url for source in sources for url in (source.name, *source.urls)).encode())
    folder = downloads / f"{name}-{key.hexdigest()[:16]}"
    for source in sources:
        download(source, folder)
    return folder


def download(source: Source, folder: Path) -> Path:
    """Fetches a file into a folder, or finds it there. Processes that want the same file wait for one.

    A file has its name in the cache only when it is whole and verified. What came before a break is kept, and the next
    call goes on from there.

    Raises:
        DataError: it could not be had; names the file, each URL with what went wrong, and the way by hand.
    """
    path = folder / source.name
    if path.exists():
        return path
    if not source.urls:
        raise DataError(f"{source.name} has to be fetched by hand, as its card says: then pass data_dir='folder/with/it'")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if path.exists():
            return path
        partial = folder / f"{source.name}.incomplete"
        faults = []
        for url in source.urls:
            try:
                _from(url, source, partial)
                os.replace(partial, path)
                return path
            except (OSError, DataError) as error:
                faults.append(f"{url}: {_reason(error)}")
    raise DataError(
        f"{source.name} could not be downloaded ({'; '.join(faults)}). Where you have it already, pass data_dir='folder/with/it'"
    )


def _from(url: str, source: Source, partial: Path) -> None:
    """Completes `partial` from one URL and verifies it."""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE * attempt)
        try:
            _read(url, source, partial)
            source.check(partial)
            return
        except DataError:
            if source.size is not None and partial.exists() and partial.stat().st_size < source.size:
                if attempt < TRIES - 1:
                    continue  # a half file: the next try goes on from its end
                raise
            partial.unlink(missing_ok=True)  # wrong bytes: nothing of them is of use
            raise
        except urllib.error.HTTPError as error:
            if error.code == 416:  # more is there than the server has
                partial.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise
            if attempt == TRIES - 1:
                raise
        except OSError:
            if attempt == TRIES - 1:
                raise


def _read(url: str, source: Source, partial: Path) -> None:
    start = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": f"dataset_scripts (datasets {datasets.__version__})", "Accept-Encoding": "identity"}
    if start and start == source.size:
        return
    if start:
        headers["Range"] = f"bytes={start}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
        if response.status != 206:  # the server does not resume
            start = 0
        total = source.size or start + int(response.headers.get("Content-Length") or 0) or None
        with (
            open(partial, "r+b" if start else "wb") as file,
            tqdm(desc=source.name, total=total, initial=start, unit="B", unit_scale=True) as bar,
        ):
            file.seek(start)
            while block := response.read(BLOCK):
                file.write(block)
                bar.update(len(block))
                if source.size is not None and file.tell() > source.size:
                    break  # never fill the disk with what cannot be right
            file.truncate()
            file.flush()
            os.fsync(file.fileno())


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return str(getattr(error, "reason", error) or type(error).__name__)
