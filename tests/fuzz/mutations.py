"""Damages the files of an example: anywhere, in the structure of their formats, and as files of a folder.

All choices come from one `random.Random`, so that the same state gives the same bytes.
"""

import random
from collections.abc import Callable

from containers import container_of
from dictionary import INTEGERS, TOKENS
from examples import Folder
from texts import TEXTS

MAX_SIZE = 1 << 20  # of a file, beyond which it is not made longer
LARGEST = 4 * MAX_SIZE  # of a file after nested faults
Mutator = Callable[[bytes, random.Random], bytes]


def mutate(files: Folder, rng: random.Random) -> Folder:
    """The files with one to six faults in them."""
    files = dict(files)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3, 6))):
        if rng.random() < 0.15:
            mutate_folder(files, rng)
        elif files:
            path = choose(files, rng)
            try:
                files[path] = mutate_content(files[path], rng, list(files.values()))
            except Exception:  # numbers and depths beyond what Python's own readers and writers take
                files[path] = flip(files[path], rng, [])
            files[path] = files[path][:LARGEST]
    return files


def choose(files: Folder, rng: random.Random) -> str:
    """Chooses a path; each kind of file is equally likely, however many there are of it."""
    kinds: dict[str, list[str]] = {}
    for path in files:
        kinds.setdefault(path.rpartition(".")[2], []).append(path)
    return rng.choice(kinds[rng.choice(list(kinds))])


def mutate_folder(files: Folder, rng: random.Random) -> None:
    """Renames, copies, deletes, empties or swaps files, or adds a stray one."""
    if not files:
        files["stray.txt"] = b"x"
        return
    path, other = rng.choice(list(files)), rng.choice(list(files))
    folder, slash, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    names = [
        name.upper(),
        f"{stem}{dot}{suffix}x",
        f"{name}.{suffix}",
        f".{name}",
        "metadata.csv",
        f"{stem} é\u202e\x1b\n.{suffix}",
        f"{stem}.jpg",
        f"{stem}.txt",
        f"{stem}.json",
        "a" * 200,
        f"-{name}",
        f"{name}\\x",
        f"train/{name}",
        f"\udcff{name}",
    ]
    new = f"{folder}{slash}{rng.choice(names)}"
    match rng.randrange(7):
        case 0:
            files[new] = files.pop(path)
        case 1:
            files[new] = files[path]
        case 2:
            del files[path]
        case 3:
            files[path] = b""
        case 4:
            files[path], files[other] = files[other], files[path]
        case 5:
            files[new] = rng.choice(TOKENS)
        case 6:
            files[path] = rng.choice(TOKENS)


def mutate_content(content: bytes, rng: random.Random, others: list[bytes] = ()) -> bytes:
    """Damages one file: mostly within its format, if that is known, else anywhere."""
    if rng.random() < 0.7:
        if container := container_of(content):
            return container(content, rng, mutate_content)
        if is_text(content):
            return rng.choice(TEXTS)(content, rng)
    return rng.choice(ANYWHERE)(content, rng, others)


def is_text(content: bytes) -> bool:
    try:
        return bool(content) and b"\0" not in content[:4096] and bool(content.decode())
    except UnicodeDecodeError:
        return False


def place(content: bytes, rng: random.Random) -> int:
    """An offset: often in the header, and preferably at a nonzero byte, as some formats consist mostly of zeros."""
    if rng.random() < 0.3:
        return rng.randrange(min(len(content), 64) + 1)
    for _ in range(4):
        found = rng.randrange(len(content) + 1)
        if any(content[found : found + 8]):
            break
    return found


def flip(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    damaged = bytearray(content or b"\0")
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = min(place(content, rng), len(damaged) - 1)
        damaged[at] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def overwrite(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A number of 1 to 8 bytes, in either order, becomes another."""
    size, order = rng.choice((1, 2, 4, 4, 8)), rng.choice(("little", "big"))
    at = place(content, rng) & -rng.choice((1, size))
    old = int.from_bytes(content[at : at + size], order)
    new = rng.choice([rng.choice(INTEGERS), old + rng.choice((-1, 1, 2, -8, 256)), old * 2, -old])
    return content[:at] + (new % (1 << 8 * size)).to_bytes(size, order) + content[at + size :]


def truncate(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    return content[: place(content, rng)]


def remove(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    at = place(content, rng)
    return content[:at] + content[at + rng.choice((1, 4, 16, 512)) :]


def insert(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    at = place(content, rng)
    return content[:at] + rng.choice([rng.choice(TOKENS), rng.randbytes(rng.choice((1, 4, 64)))]) + content[at:]


def repeat(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    start, end = sorted((place(content, rng), place(content, rng)))
    times = min(rng.choice((1, 2, 100)), MAX_SIZE // max(1, end - start))
    return content[:end] + content[start:end] * times + content[end:]


def splice(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Joins the start of this file to the end of another one, or replaces a part with a part of that."""
    other = rng.choice(others) if others else content
    at, start = place(content, rng), place(other, rng)
    part = other[start : start + rng.choice((8, 64, len(other)))]
    return content[:at] + part + content[at + rng.choice((0, len(part))) :]


ANYWHERE = (flip, flip, overwrite, overwrite, truncate, remove, insert, repeat, splice)
