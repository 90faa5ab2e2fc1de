"""A Hub on loopback for `datasets` and `huggingface_hub`: one repository, whose files are those of a folder.

    python tests/hub.py FOLDER USER/NAME            prints its address, then serves until it is stopped; read-only
    python tests/hub.py FOLDER USER/NAME STATE      can be written to, with the token `hf_write`
    python tests/hub.py FOLDER USER/NAME STATE model    the same, of a model

The folder STATE has `log` (a line per request that writes), `reads` (one per request that reads a file, and its range),
`objects/` (what was uploaded, by sha256), `repo.json` (once the repository exists) and `branches/` (all but main). If
the file `STATE/hold` exists, an upload hangs; if `STATE/cut` exists, the next file breaks off in the middle; and if
`STATE/wrong` exists, files have other bytes than they should.
"""

import base64
import hashlib
import json
import shutil
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER, REPO = Path(sys.argv[1]), sys.argv[2]
STATE = Path(sys.argv[3]) if len(sys.argv) > 3 else None
KIND = sys.argv[4] if len(sys.argv) > 4 else "dataset"
WEB, API = ("" if KIND == "model" else "/datasets") + f"/{REPO}", f"/api/{KIND}s/{REPO}"


def files_of(revision: str) -> dict[str, Path]:
    folder = STATE / "branches" / revision if STATE and (STATE / "branches" / revision).is_dir() else FOLDER
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def commit_of(files: dict[str, Path]) -> str:
    return hashlib.sha1(b"".join(name.encode() + path.read_bytes() for name, path in files.items())).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes | dict | list = b"", cut: int | None = None, **headers: str) -> None:
        if not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content_Type": "application/json", **headers}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        repo = json.loads((STATE / "repo.json").read_text()) if STATE and (STATE / "repo.json").exists() else {}
        hidden = STATE and (not repo or (repo["private"] and self.token not in ("hf_write", "hf_read")))
        if hidden or not path.startswith((f"{WEB}/", API)):
            return self.answer(404, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        if "/resolve/" in path:
            revision, _, name = path.split("/resolve/")[1].partition("/")
            files = files_of(revision)
            commit = commit_of(files)
            if name not in files:
                return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            body, wanted = files[name].read_bytes(), self.headers.get("Range")
            if STATE:
                self.log(f"{name} {wanted or ''}", b"", "reads")
            tag = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X_Repo_Commit": commit, "Accept_Ranges": "bytes"}
            if STATE and (STATE / "wrong").exists():
                body = body[::-1]
            if STATE and self.command == "GET" and (STATE / "cut").exists():
                (STATE / "cut").unlink()
                self.answer(200, body, cut=len(body) // 2, **tag)
                return self.connection.close()
            if wanted:
                first, last = wanted.removeprefix("bytes=").split("-")
                part = body[int(first) : int(last or len(body)) + 1]
                span = f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"
                return self.answer(206, part, Content_Range=span, **tag)
            return self.answer(200, body, **tag)
        if "/tree/" in path:
            revision, _, below = path.split("/tree/")[1].partition("/")
            files = {name: file for name, file in files_of(revision).items() if name.startswith(below and below + "/")}
            folders = {parent.as_posix() for name in files for parent in Path(name).parents} - {".", below}
            entries = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": git_hash(file.read_bytes())}
                for name, file in files.items()
            ] + [
                {"type": "directory", "path": name, "size": 0, "oid": git_hash(name.encode())}
                for name in sorted(folders)
            ]
            if "recursive=true" not in self.path.lower():
                entries = [entry for entry in entries if Path(entry["path"]).parent == Path(below)]
            return self.answer(200, entries)
        files = files_of(path.partition("/revision/")[2] or "main")
        siblings = [{"rfilename": name} for name in files]
        info = {"id": REPO, "sha": commit_of(files), "tags": [], "downloads": 0, "likes": 0, "siblings": siblings}
        self.answer(200, info | {"private": repo.get("private", False)})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if STATE is None or self.token != "hf_write":
            known = self.token == "hf_read"
            message = "You don't have the rights to write" if known else "Invalid username or password."
            return self.answer(403 if known else 401, {"error": message})
        path = self.path.split("?")[0]
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        self.log(path, body if path.endswith("/create") else b"")
        if path == "/api/repos/create":
            wanted = json.loads(body)
            if f"{wanted['organization']}/{wanted['name']}" != REPO:
                return self.answer(404, {"error": "no such organization"})
            url = f"http://{self.headers['Host']}{WEB}"
            if (STATE / "repo.json").exists():
                return self.answer(409, {"error": "You already created this repo", "url": url})
            private = wanted.get("private") or wanted.get("visibility") == "private"
            (STATE / "repo.json").write_text(json.dumps({"private": bool(private)}))
            return self.answer(200, {"url": url})
        if path.startswith(f"{API}/branch/"):
            folder = STATE / "branches" / path.split("/branch/")[1]
            if folder.is_dir():
                return self.answer(409, {"error": "branch exists"})
            shutil.copytree(FOLDER, folder)
            return self.answer(201, {})
        if path.startswith(f"{API}/preupload/"):
            return self.answer(200, {"files": [self.mode(item["path"], path) for item in json.loads(body)["files"]]})
        if path == f"{WEB}.git/info/lfs/objects/batch":
            objects = json.loads(body)["objects"]
            for item in objects:
                if not (STATE / "objects" / item["oid"]).exists():
                    item["actions"] = {"upload": {"href": f"http://{self.headers['Host']}/objects/{item['oid']}"}}
            return self.answer(
                200, {"transfer": "basic", "objects": objects}, Content_Type="application/vnd.git-lfs+json"
            )
        if path.startswith(f"{API}/commit/"):
            return self.commit(path.split("/commit/")[1], [json.loads(line) for line in body.splitlines()])
        self.answer(404, {"error": f"no {path} here"})

    def do_PUT(self) -> None:
        name = self.path.split("/objects/")[1].split("?")[0]
        self.log(self.path, b"")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        while (STATE / "hold").exists() and any((STATE / "objects").iterdir()):  # the first one passes
            time.sleep(0.05)
        if hashlib.sha256(body).hexdigest() != name:
            return self.answer(422, {"error": "wrong bytes"})
        (STATE / "objects" / name).write_bytes(body)
        self.answer(200)

    def mode(self, name: str, path: str) -> dict:
        large = name.endswith((".parquet", ".safetensors"))
        there = files_of(path.split("/preupload/")[1]).get(name)
        oid = there and (hashlib.sha256(there.read_bytes()).hexdigest() if large else git_hash(there.read_bytes()))
        return {"path": name, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    def commit(self, revision: str, lines: list[dict]) -> None:
        folder = STATE / "branches" / revision if (STATE / "branches" / revision).is_dir() else FOLDER
        for line in lines[1:]:
            value = line["value"]
            target = folder / value["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            if line["key"] == "file":
                target.write_bytes(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                shutil.copyfile(STATE / "objects" / value["oid"], target)
            elif line["key"] == "deletedFile":
                target.unlink()
        oid = commit_of(files_of(revision))
        url = f"http://{self.headers['Host']}{WEB}/commit/{oid}"
        self.answer(200, {"success": True, "commitOid": oid, "commitUrl": url})

    def log(self, path: str, body: bytes, name: str = "log") -> None:
        with open(STATE / name, "a") as file:
            file.write(f"{self.command} {path} {body.decode()}".strip() + "\n")

    def log_message(self, *args) -> None:
        pass


if __name__ == "__main__":
    if STATE is not None:
        for part in (FOLDER, STATE / "objects", STATE / "branches"):
            part.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
