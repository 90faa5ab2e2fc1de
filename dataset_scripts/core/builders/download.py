"""Published files: fetched once, resumed, tried on every mirror, and verified before anything reads them.

A file in the cache is trusted as long as its size and times are those recorded in a hidden file beside it when its digest
was last compared. Otherwise it is compared again, and fetched again if it differs. Changes on disk that leave size and
times alone are found by `dataset-scripts verify`, which reads every byte.
"""

import contextlib
import hashlib
import http.client
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import datasets
from filelock import FileLock
from tqdm import tqdm

from dataset_scripts.core.builders.source import Source
from dataset_scripts.core.errors import DataError, is_disk_fault, printable_logger, reading, reason

__all__ = ["Source", "download", "download_all", "downloads_folder"]

logger = printable_logger(__name__)

BLOCK = 1 << 20
TRIES = 3  # per mirror, for temporary faults: a broken connection, a busy server
TIMEOUT = 30  # seconds without a byte
PERIOD = 60  # seconds in which a server has to begin its answer, and then to send LEAST bytes each time
LEAST = 1 << 16
PAUSE = 1.0  # seconds before the second try; doubled for the third
BY_HAND = "If you have it already, pass data_dir='folder/with/it'"


def download_all(name: str, sources: Sequence[Source], downloads: Path) -> Path:
    """Fetches the files of a set into a separate folder below `downloads`.

    The name of the folder depends on the URLs too, which keeps apart sets with equal file names, and a set that moved.

    Raises:
        DataError: a file could not be fetched.
    """
    folder = downloads_folder(name, sources, downloads)
    for source in sources:
        download(source, folder)
    return folder


def downloads_folder(name: str, sources: Sequence[Source], downloads: Path) -> Path:
    """Where `download_all` keeps the files of a set."""
    key = hashlib.sha256("\n".join(url for source in sources for url in (source.name, *source.urls)).encode())
    return downloads / f"{name}-{key.hexdigest()[:16]}"


def download(source: Source, folder: Path, by_hand: str = BY_HAND) -> Path:
    """Fetches a file into a folder, or finds it there. Processes that want the same file wait for one of them.

    A file gets its final name in the cache only when it is complete and verified. An interrupted download is kept, and the
    next call resumes it.

    Args:
        by_hand: the instructions in the message if nothing can be fetched.

    Raises:
        DataError: it could not be fetched; names the file, each URL with what went wrong, and how to get it manually.
    """
    path = folder / source.name
    if _is_good(path, source):
        return path
    if not source.urls:
        raise DataError(
            f"{source.name} has to be fetched by hand, as its card says: then pass data_dir='folder/with/it'"
        )
    partial, faults = folder / f"{source.name}.incomplete", []
    with contextlib.ExitStack() as stack:
        with reading(f"{source.name} cannot be kept in {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder / ".lock"))
        if _is_good(path, source):
            return path
        if path.exists():
            logger.warning("%s is no longer what was published: it is fetched again", path)
        for url in source.urls:
            try:
                _from(url, source, partial)
            except DataError as error:
                if is_disk_fault(error.__cause__):
                    raise DataError(f"{source.name} cannot be kept in {folder}: {reason(error.__cause__)}") from error
                faults.append(str(error))
                continue
            with reading(f"{source.name} cannot be kept in {folder}"):
                os.replace(partial, path)
            _note(path, source)
            return path
    raise DataError(f"{source.name} could not be downloaded ({'; '.join(faults)}). {by_hand}")


def _is_good(path: Path, source: Source) -> bool:
    """Whether a file in the cache is the published one; its digest is computed only if the file was touched."""
    if not path.is_file():
        return False
    try:
        if _stamp_path(path).read_text(encoding="utf-8") == _stamp(path, source):
            return True
    except (OSError, UnicodeDecodeError):
        pass  # none yet, or none that can be read: the bytes decide
    try:
        source.check(path)
    except DataError:
        return False
    _note(path, source)
    return True


def _stamp_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.verified")


def _stamp(path: Path, source: Source) -> str:
    status = path.stat()
    return f"{source.size} {source.digest} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n"


def _note(path: Path, source: Source) -> None:
    """Records that a file was verified; in a read-only folder it is verified each time."""
    with contextlib.suppress(OSError):
        _stamp_path(path).write_text(_stamp(path, source), encoding="utf-8")


class Refused(DataError):
    """An error that a second try would not change."""


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to where a file lies, but only by HTTP: never to a file of this machine."""

    def redirect_request(self, request, response, code, message, headers, url):
        _check_scheme(url, f"{request.full_url}: it leads to {url}")
        return super().redirect_request(request, response, code, message, headers, url)


def _check_scheme(url: str, where: str) -> None:
    if not url.lower().startswith(("http://", "https://")):
        raise Refused(f"{where}, which is neither http nor https")


def _from(url: str, source: Source, partial: Path) -> None:
    """Completes `partial` from one URL and verifies it.

    Raises:
        DataError: it could not be fetched there; if the disk is full, that is the cause.
    """
    _check_scheme(url, url)
    for attempt in range(TRIES):
        time.sleep(PAUSE * attempt)
        again, resumed = attempt < TRIES - 1, partial.exists()
        try:
            with reading(url):  # http.client raises anything on what a server may send
                _read(url, source, partial)
        except Refused:
            raise
        except DataError as error:
            if again and not is_disk_fault(error.__cause__):
                continue
            raise
        try:
            return source.check(partial)
        except DataError as error:
            short = source.size is not None and partial.stat().st_size < source.size
            if not short:  # wrong bytes: none of them are usable
                partial.unlink()
            if not (again and (short or resumed)):  # the next try resumes at the end, or starts over
                raise DataError(f"{url}: {error}") from error


def _read(url: str, source: Source, partial: Path) -> None:
    """Appends to `partial` what it lacks, or writes it from the start if the server or the source cannot resume."""
    if source.digest is None:  # nothing would tell that it began as another file
        partial.unlink(missing_ok=True)
    start = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": f"dataset_scripts (datasets {datasets.__version__})", "Accept-Encoding": "identity"}
    if start and start == source.size:
        return
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = _opened(urllib.request.Request(url, headers=headers))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the partial file is larger than the server's
            partial.unlink(missing_ok=True)
        passing = error.code >= 500 or error.code in (408, 416, 429)
        raise (DataError if passing else Refused)(f"{url}: HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise (error.reason if isinstance(error.reason, Exception) else error) from None
    with response:
        start, end = _range_of(response, url, source, start, partial)
        _write(response, source, partial, start, end)


def _opened(request: urllib.request.Request) -> http.client.HTTPResponse:
    """The answer of a server, of which no byte of the content is read yet; in a thread, which a server may keep waiting."""
    result: list[http.client.HTTPResponse | Exception] = []

    def work() -> None:
        try:
            result.append(urllib.request.build_opener(Redirects).open(request, timeout=TIMEOUT))
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PERIOD)
    if not result:
        raise TimeoutError(f"it did not begin to answer in {PERIOD} seconds")
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


def _range_of(
    response: http.client.HTTPResponse, url: str, source: Source, start: int, partial: Path
) -> tuple[int, int | None]:
    """Return the position in the file where a response begins, and where the file ends, if the server says so.

    Raises:
        DataError: it is not the requested part.
    """
    told = response.headers.get("Content-Length", "")
    length = int(told) if re.fullmatch("[0-9]+", told) and not response.chunked else None
    if response.status == 200:  # all of it: the server does not resume
        return 0, length
    told = response.headers.get("Content-Range", "").strip()
    match = re.fullmatch(r"bytes ([0-9]{1,20})-([0-9]{1,20})/([0-9]{1,20}|\*)", told)
    if (
        response.status != 206
        or not match
        or int(match[1]) != start
        or match[3] not in ("*", str(source.size or match[3]))
        or (source.size is None and length not in (None, int(match[2]) + 1 - start))
    ):
        partial.unlink(missing_ok=True)  # the next try asks for all of it
        raise DataError(f"{url}: asked for what follows byte {start:,}, the server answered {response.status} {told}")
    return start, int(match[2]) + 1 if match[3] == "*" else int(match[3])


def _write(response: http.client.HTTPResponse, source: Source, partial: Path, start: int, end: int | None) -> None:
    total = source.size or end
    with (
        open(partial, "r+b" if start else "wb") as file,
        tqdm(desc=source.name, total=total, initial=start, unit="B", unit_scale=True) as bar,
    ):
        file.seek(start)
        place, due = start, time.monotonic() + PERIOD
        while block := response.read1(BLOCK):  # what has come, for a server may send a byte at a time
            file.write(block)
            bar.update(len(block))
            if total is not None and file.tell() > total:
                break  # never fill the disk with what cannot be right
            if time.monotonic() > due:
                if file.tell() - place < LEAST:
                    raise TimeoutError(f"it sent {file.tell() - place:,} bytes in {PERIOD} seconds")
                place, due = file.tell(), time.monotonic() + PERIOD
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
        if source.size is None and (not file.tell() or file.tell() != (end or file.tell())):
            raise EOFError(f"it ended after {file.tell() - start:,} of {(end or start + 1) - start:,} bytes")
