"""Downloads from a real HTTP server that breaks off, lies, serves wrong bytes and recovers."""

import contextlib
import hashlib
import multiprocessing
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dataset_scripts import DataError
from dataset_scripts.core.builders import download as module
from dataset_scripts.core.builders.download import Source, download, download_all

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        behaviour = self.path.split("/")[1]
        tries = sum(path == self.path for path, _ in self.server.requests)
        start = int(self.headers["Range"][6:-1]) if "Range" in self.headers and behaviour != "no-resume" else 0
        body, length, status = CONTENT[start:], len(CONTENT) - start, 206 if start else 200
        match behaviour:
            case "missing":
                return self.send_error(404)
            case "busy" if tries < 3:
                return self.send_error(503)
            case "breaks" | "no-resume" if tries < 3:
                body = body[: 1_000_000 + tries]
            case "always-breaks":
                body = body[:100]
            case "wrong":
                body = body[::-1]
            case "lies":  # claims to be complete, but is not
                body, length = body[:2_000_000], 2_000_000
            case "endless":
                body, length = body * 3, 3 * length
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.01)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()


def source(server, *paths, **changes):
    urls = tuple(f"http://127.0.0.1:{server.server_port}/{path}/x.bin" for path in paths)
    sha = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    return Source(**{"name": "x.bin", "urls": urls, "size": len(CONTENT), "digest": sha, **changes})


def test_files_that_lie_together():
    published = Source.at("https://a.org/x/", "https://b.org/get?file=")
    urls = ("https://a.org/x/y.zip", "https://b.org/get?file=y.zip")
    for kind in ("sha256", "md5"):
        digest = hashlib.new(kind, CONTENT).hexdigest()
        assert published("y.zip", 7, digest) == Source("y.zip", urls, 7, f"{kind}:{digest}")


def test_fetched_once_and_found_again(server, tmp_path):
    path = download(source(server, "good"), tmp_path)
    assert path.read_bytes() == CONTENT and path.name == "x.bin"
    assert download(source(server, "good"), tmp_path) == path and len(server.requests) == 1


def test_sets_with_files_of_one_name_stay_apart(server, tmp_path):
    sources = [source(server, "good"), source(server, "busy", name="y.bin")]
    folder = download_all("numbers", sources, tmp_path)
    assert {path.name for path in folder.iterdir()} >= {"x.bin", "y.bin"}
    assert download_all("numbers", [source(server, "breaks")], tmp_path) != folder
    before = len(server.requests)
    assert download_all("numbers", sources, tmp_path) == folder and len(server.requests) == before


def test_a_broken_line_goes_on_where_it_broke(server, tmp_path):
    assert download(source(server, "breaks"), tmp_path).read_bytes() == CONTENT
    assert [bytes_ for _, bytes_ in server.requests] == [None, "bytes=1000001-", "bytes=2000003-"]


def test_a_server_that_cannot_resume_begins_again(server, tmp_path):
    assert download(source(server, "no-resume"), tmp_path).read_bytes() == CONTENT


def test_what_was_there_is_used_by_the_next_call(server, tmp_path):
    with pytest.raises(DataError, match="300 bytes, but the published file has 3000000"):
        download(source(server, "always-breaks"), tmp_path)
    (partial,) = tmp_path.rglob("*.incomplete")
    assert partial.read_bytes() == CONTENT[:300]
    moved = source(server, "always-breaks", "good")
    assert download(moved, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/good/x.bin", "bytes=600-") and not list(tmp_path.rglob("*.incomplete"))


def test_a_length_that_is_a_lie_is_found_out(server, tmp_path):
    assert download(source(server, "lies"), tmp_path).read_bytes() == CONTENT
    assert [bytes_ for _, bytes_ in server.requests] == [None, "bytes=2000000-"]


@pytest.mark.parametrize("first", ["missing", "wrong", "lies", "endless", "always-breaks"])
def test_the_mirror_helps(server, tmp_path, first):
    assert download(source(server, first, "good"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "path, message",
    [
        ("missing", "HTTP 404 Not Found"),
        ("wrong", r"its sha256 is [0-9a-f]{64}, but that of the published file is [0-9a-f]{64}"),
        ("endless", r"\d{7} bytes, but the published file has 3000000"),
    ],
)
def test_one_line_names_the_file_the_url_and_the_way_out(server, tmp_path, path, message):
    with pytest.raises(
        DataError, match=rf"x.bin could not be downloaded \(http://127.0.0.1:\d+/{path}/x.bin: .*{message}"
    ) as caught:
        download(source(server, path), tmp_path)
    assert "pass data_dir=" in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("x.bin"))


def test_no_network_and_no_url(server, tmp_path):
    gone = Source("x.bin", ("http://127.0.0.1:9/x.bin", "http://name.invalid/x.bin"))
    with pytest.raises(DataError, match="127.0.0.1:9/x.bin: .*refused.*; http://name.invalid/x.bin: "):
        download(gone, tmp_path)
    with pytest.raises(DataError, match="x.bin has to be fetched by hand"):
        download(Source("x.bin", ()), tmp_path)


def test_md5_and_nothing_to_check(server, tmp_path):
    md5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
    assert download(source(server, "good", digest=md5, size=None), tmp_path / "a").read_bytes() == CONTENT
    with pytest.raises(DataError, match="its md5 is"):
        download(source(server, "good", digest="md5:" + "0" * 32), tmp_path / "b")


def fetch(arguments):
    return download(*arguments).stat().st_size


def test_processes_wait_for_one(server, tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(fetch, [(source(server, "good"), tmp_path)] * 4) == [len(CONTENT)] * 4
    assert len(server.requests) == 1


HEAD = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {  # what servers, proxies and broken connections send
    "nothing": b"",
    "no-http": b"\x16\x03\x01\x00\xff\xfe" * 3,
    "bad-status": b"HTTP/1.1 abc OK\r\n\r\n",
    "half-a-header": HEAD + b"Content-Le",
    "long-line": HEAD + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
    "many-headers": HEAD + b"X: x\r\n" * 200 + b"\r\n",
    "bad-length": HEAD + b"Content-Length: many\r\n\r\n" + CONTENT[:50],
    "negative-length": HEAD + b"Content-Length: -5\r\n\r\n" + CONTENT[:50],
    "short": HEAD + b"Content-Length: 3000000\r\n\r\n" + CONTENT[:50],
    "bad-chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "cut-chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\nabc",
    "negative-chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc",
    "empty": b"HTTP/1.1 204 No Content\r\n\r\n",
    "bad-redirect": b"HTTP/1.1 302 Found\r\nLocation: http://[::1/x\r\nContent-Length: 0\r\n\r\n",
    "odd-redirect": b"HTTP/1.1 302 Found\r\nLocation: http://\xe9\x00 x:99999999/\r\nContent-Length: 0\r\n\r\n",
    "to-a-file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    "to-ftp": b"HTTP/1.1 301 Moved\r\nLocation: ftp://127.0.0.1/x.bin\r\nContent-Length: 0\r\n\r\n",
    "round": b"HTTP/1.1 302 Found\r\nLocation: /round/x.bin\r\nContent-Length: 0\r\n\r\n",
    "no-range": b"HTTP/1.1 206 Partial Content\r\nContent-Length: 50\r\n\r\n" + CONTENT[:50],
    "other-range": b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 7-56/3000000\r\nContent-Length: 50\r\n\r\n"
    + CONTENT[:50],
    "other-size": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-49/50\r\nContent-Length: 50\r\n\r\n"
    + CONTENT[:50],
    "short-range": b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-49/3000000\r\nContent-Length: 50\r\n\r\n"
    + CONTENT[:50],
    "short-without-length": b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-2999999/3000000\r\n\r\n" + CONTENT[:50],
    "short-of-unknown": b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-99/*\r\n\r\n" + CONTENT[:50],
    "two-lengths": b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-9/3000000\r\nContent-Length: 50\r\n\r\n"
    + CONTENT[:50],
    "odd-digits": HEAD + "Content-Length: ²\r\n\r\n".encode("latin-1"),
    "silent": None,
    "drips": [HEAD + b"Content-Length: 3000000\r\n\r\n"],
    "drips-a-header": [HEAD],
}


@pytest.fixture
def raw_server(monkeypatch):
    """Sends the bytes in ANSWERS unchanged."""
    monkeypatch.setattr(module, "PAUSE", 0.01)
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    monkeypatch.setattr(module, "PERIOD", 0.4)
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(line):
        with line, contextlib.suppress(OSError):
            line.settimeout(5)
            path = line.recv(65536).split(b" ")[1].decode()
            answer = ANSWERS[path.split("/")[1]]
            if answer is None:
                time.sleep(0.5)
            elif isinstance(answer, list):  # a byte at a time, for longer than anybody waits
                line.sendall(answer[0])
                for _ in range(200):
                    line.sendall(b"x")
                    time.sleep(0.05)
            else:
                line.sendall(answer)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=listener.accept()[:1], daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield SimpleNamespace(server_port=listener.getsockname()[1])
    listener.close()


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("known", [True, False])
def test_whatever_a_server_answers_the_mirror_is_tried(server, raw_server, tmp_path, answer, known):
    """With a published digest, and with nothing to compare, when the file must at least be complete."""
    good, bad = source(server, "good"), source(raw_server, answer)
    changes = {} if known else {"size": None, "digest": None}
    if known or answer not in ("bad-length", "negative-length", "other-size"):  # then whatever arrives is the file
        message = rf"x.bin could not be downloaded \(http://127.0.0.1:\d+/{answer}/x.bin: .*\)\. If you have"
        with pytest.raises(DataError, match=message) as caught:
            download(source(raw_server, answer, **changes), tmp_path / "a")
        assert len(str(caught.value)) < 1000 and not (tmp_path / "a/x.bin").exists()
        both = source(server, "good", **changes | {"urls": bad.urls + good.urls})
        assert download(both, tmp_path / "b").read_bytes() == CONTENT


def test_a_server_that_sends_a_byte_at_a_time_is_given_up(raw_server, tmp_path):
    for answer, message in (
        ("drips", r"it sent \d+ bytes in 0.4 seconds"),
        ("drips-a-header", "did not begin to answer"),
    ):
        with pytest.raises(DataError, match=message):
            download(source(raw_server, answer), tmp_path / answer)
    assert (tmp_path / "drips/x.bin.incomplete").stat().st_size > 0  # a mirror goes on there


def test_other_schemes_are_refused(tmp_path):
    (tmp_path / "x.bin").write_bytes(CONTENT)
    for url in (f"file://{tmp_path}/x.bin", "ftp://127.0.0.1/x.bin", "data:,x", "x.bin"):
        with pytest.raises(DataError, match="which is neither http nor https"):
            download(Source("x.bin", (url,)), tmp_path / "cache")


@pytest.mark.parametrize("behaviour", ["other-range", "no-range", "other-size"])
def test_a_server_that_answers_another_range_does_not_mix_up_the_file(server, raw_server, tmp_path, behaviour):
    tmp_path.joinpath("x.bin.incomplete").write_bytes(CONTENT[:1000])
    urls = source(raw_server, behaviour).urls + source(server, "good").urls
    assert download(source(server, "good", urls=urls), tmp_path).read_bytes() == CONTENT


def test_what_a_bad_mirror_left_does_not_spoil_a_good_one(server, tmp_path):
    tmp_path.joinpath("x.bin.incomplete").write_bytes(bytes(1000))
    assert download(source(server, "good"), tmp_path).read_bytes() == CONTENT
    assert [bytes_ for _, bytes_ in server.requests] == ["bytes=1000-", None]


def flip(path):
    with open(path, "r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 1]))


def test_a_file_that_changed_in_the_cache_is_fetched_again(server, tmp_path, caplog):
    wanted = source(server, "good")
    path = download(wanted, tmp_path)
    for harm in (flip, lambda path: os.truncate(path, 1000), Path.unlink):
        before, times = len(server.requests), path.stat()
        harm(path)
        if path.exists():
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert (
            download(wanted, tmp_path) == path and path.read_bytes() == CONTENT and len(server.requests) == before + 1
        )
    assert caplog.text.count("is no longer what was published: it is fetched again") == 2
    flip(path)
    with pytest.raises(DataError, match="x.bin could not be downloaded"):
        download(source(server, "missing"), tmp_path)


def test_a_verified_file_is_not_read_each_time(server, tmp_path):
    """A file that was touched, but is the same, is not fetched again; older caches have no notes."""
    wanted = source(server, "good")
    path = download(wanted, tmp_path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns))  # the next reading sets the time of access
    (tmp_path / ".x.bin.verified").unlink()
    assert download(wanted, tmp_path) == path and len(server.requests) == 1 and (tmp_path / ".x.bin.verified").exists()
    if path.stat().st_atime_ns == 0:
        pytest.skip("the file system keeps no times of access")
    os.utime(path, ns=(0, path.stat().st_mtime_ns))
    download(wanted, tmp_path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns))
    (tmp_path / ".x.bin.verified").write_bytes(b"\xff\xfe")
    assert download(wanted, tmp_path) == path and len(server.requests) == 1
    status = path.stat()
    assert download(wanted, tmp_path) == path and path.stat() == status


def test_a_full_disk_is_one_line(server, tmp_path):
    os.symlink("/dev/full", tmp_path / "x.bin.incomplete")
    with pytest.raises(DataError, match=rf"^x.bin cannot be kept in {tmp_path}: the disk is full$"):
        download(source(server, "good", "good"), tmp_path)
    assert len(server.requests) == 1  # neither another attempt nor a mirror helps
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="x.bin cannot be kept in .*/file/sub: Not a directory"):
        download(source(server, "good"), tmp_path / "file/sub")
