"""A Hub on loopback for `datasets` and `huggingface_hub`, read-only: one repository, the files of a folder.

    python tests/hub.py FOLDER USER/NAME        prints its address, then serves until it is stopped
"""

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER, REPO = Path(sys.argv[1]), sys.argv[2]
FILES = {str(path.relative_to(FOLDER)): path for path in sorted(FOLDER.rglob("*")) if path.is_file()}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith(f"/datasets/{REPO}/resolve/"):
            name = path.split("/resolve/")[1].split("/", 1)[1]
            if name not in FILES:
                return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
            body = FILES[name].read_bytes()
            tag = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X_Repo_Commit": COMMIT, "Accept_Ranges": "bytes"}
            if wanted := self.headers.get("Range"):
                first, last = wanted.removeprefix("bytes=").split("-")
                part = body[int(first) : int(last or len(body)) + 1]
                span = f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"
                return self.answer(206, part, Content_Range=span, **tag)
            return self.answer(200, body, **tag)
        if path.startswith(f"/api/datasets/{REPO}/tree/"):
            folder = FOLDER / path.split("/tree/")[1].partition("/")[2]
            found = folder.rglob("*") if "recursive=true" in self.path.lower() else folder.glob("*")
            entries = [
                {
                    "type": "directory" if entry.is_dir() else "file",
                    "path": str(entry.relative_to(FOLDER)),
                    "size": 0 if entry.is_dir() else entry.stat().st_size,
                    "oid": hashlib.sha1(str(entry).encode() if entry.is_dir() else entry.read_bytes()).hexdigest(),
                }
                for entry in sorted(found)
            ]
            return self.answer(200, json.dumps(entries).encode(), Content_Type="application/json")
        if path.startswith(f"/api/datasets/{REPO}"):
            siblings = [{"rfilename": name} for name in FILES]
            info = {"id": REPO, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings}
            return self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        self.answer(404, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET

    def log_message(self, *args) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
