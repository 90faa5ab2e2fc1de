"""Downloads from a real HTTP server that breaks off, lies, serves wrong bytes and recovers."""

import hashlib
import multiprocessing
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from dataset_scripts import DataError
from dataset_scripts.core import download as module
from dataset_scripts.core.download import Source, download, download_all

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
            case "lies":  # says it is whole, is not
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
    with pytest.raises(DataError, match="300 bytes, published are 3000000"):
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
        ("wrong", r"its sha256 is [0-9a-f]{64}, published is [0-9a-f]{64}"),
        ("endless", r"\d{7} bytes, published are 3000000"),
    ],
)
def test_one_line_names_the_file_the_url_and_the_way_out(server, tmp_path, path, message):
    with pytest.raises(DataError, match=rf"x.bin could not be downloaded \(http://127.0.0.1:\d+/{path}/x.bin: .*{message}") as caught:
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
