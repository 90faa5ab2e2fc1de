"""Replacements for numbers and words: extremes, wrong types, and names that would reach out of the folder."""

import os
import pickle
import socket
import struct
import tempfile
from pathlib import Path

from examples import encode, pixels

# Outside every folder that is read, at the same place in every run: no row may ever contain any of it.
OUTSIDE = Path(tempfile.gettempdir()).resolve() / "dataset-scripts-fuzz-outside"
SECRET = b"SECRET-5b1f0c3e9a"
PORT = 47653  # on this machine; nothing may ever connect to it

_URL = f"http://127.0.0.1:{PORT}/secret.png"
PATHS = [
    str(OUTSIDE / "secret.png"),
    str(OUTSIDE / "secret.txt"),
    "../secret.png",
    "../secret.txt",
    "../../etc/passwd",
    "..",
    f"file://{OUTSIDE}/secret.png",
    _URL,
    f"s3://127.0.0.1:{PORT}/a",
    "~/secret.png",
    "C:\\secret.png",
    "..\\secret.png",
    f"zip://a.png::{_URL}",
    "/dev/zero",
    "/",
    ".",
    "",
    "a" * 5000,
    "\\\\127.0.0.1\\a\\b.png",
]
INTEGERS = [
    0,
    -1,
    1,
    2,
    127,
    128,
    255,
    256,
    65535,
    65536,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32 - 1,
    2**32,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63),
    2**64 - 1,
    10**6,
    10**9,
    10**30,
]
FLOATS = [0.5, -0.0, 1e-320, 1e308, -1e39, float("nan"), float("inf"), -float("inf")]
STRINGS = [
    *PATHS,
    "nan",
    "inf",
    "-1",
    "0x10",
    "1e999",
    "9" * 30,
    "٣",
    "é",
    "\u202egnp",
    "\ufeff",
    "\0",
    "\x1b[2J",
    "\ud800",
    "a\nb",
    "a/b",
    "train",
    "test",
    "validation",
    "null",
    "true",
    "2020-13-45",
    "label",
    "image",
    "file_name",
    "{}",
    "%s",
    "{0.__class__}",
]
SCALARS = [*INTEGERS, *FLOATS, *STRINGS, None, True, False, [], {}]


class _Opens:
    """Opens the secret and calls the server if code that trusts it unpickles it."""

    def __init__(self, call, *args):
        self.call = call, args

    def __reduce__(self):
        return self.call


PICKLES = [
    pickle.dumps(_Opens(open, str(OUTSIDE / "secret.txt")), 2),
    pickle.dumps({"data": _Opens(os.listdir, str(OUTSIDE))}, 2),
    pickle.dumps(_Opens(os.getenv, "HOME"), 0),
]
_BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {y} "{f"&{x};" * 10}">' for x, y in zip("abcdefgh", "bcdefghi")
)
SNIPPETS = [  # of text formats
    f'<!DOCTYPE a [<!ENTITY x SYSTEM "{OUTSIDE}/secret.txt">]>',
    f'<!DOCTYPE a SYSTEM "{_URL}">',
    f"{_BOMB}]>",
    "&x;",
    "&i;",
    "!!python/object/apply:os.getcwd []",
    "!!binary x",
    "&a [*a, *a]",
    "*b",
    "<<: *c",
    "2020-99-99",
    "!!float x",
    "- - - -",
    "[" * 3000,
    "{" * 3000,
    "[" * 100_000,
    '{"a":' * 20_000,
    "<a>" * 5000,
    '"',
    "'",
    "---\n",
    "\t",
    "\r",
    "\0",
    "\ufeff",
    "NaN",
    "-Infinity",
    "1e400",
    "#",
    ":",
    ",,",
    ";",
    "|",
    "\\u0000",
    "\\ud800",
    "".join(
        f"{y}: &{y} [{', '.join([f'*{x}'] * 9)}]\n" if x else f"{y}: &{y} [x]\n"
        for x, y in zip(["", *"abcdefgh"], "abcdefghi")
    ),
]
_IMAGE = encode(pixels(99))
_HUGE = _IMAGE[:16] + struct.pack(">II", 60_000, 60_000) + _IMAGE[24:]
TOKENS = [
    *(token.encode("utf-8", "surrogatepass") for token in (*SNIPPETS, *STRINGS)),
    *PICKLES,
    _IMAGE,
    _HUGE,
    *(struct.pack(code, value) for code in ("<f", "<d") for value in (float("nan"), float("inf"), 1e30)),
    *(value.to_bytes(8, order) for value in (0, 1, 2**31, 2**32, 2**63, 2**64 - 1) for order in ("little", "big")),
    bytes(64),
    b"\xff" * 64,
    b"PK\3\4",
    b"\x1f\x8b\x08",
    b"\x93NUMPY\1\0",
    b"\x89HDF\r\n\x1a\n",
    b"MZ",
    b"\x80\4",
    b"PAR1",
]


def plant(*folders: Path) -> None:
    """Writes the secrets, an image and a text, outside and into other folders."""
    OUTSIDE.mkdir(mode=0o700, exist_ok=True)
    for folder in (OUTSIDE, *folders):
        for name, content in (("secret.png", _IMAGE + SECRET), ("secret.txt", SECRET + b"\n")):
            (folder / name).write_bytes(content)


def listen() -> socket.socket:
    """A server that nothing should call; several runs may listen at once."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "SO_REUSEPORT"):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind(("127.0.0.1", PORT))
    server.listen(16)
    server.setblocking(False)
    return server
