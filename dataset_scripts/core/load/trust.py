"""Whether a folder holds only code, and whether only its owner can write to it."""

import os
from pathlib import Path

from dataset_scripts.core.errors import DataError, TrustError
from dataset_scripts.core.load.sources import parse

DOCUMENT_SUFFIXES = (".md", ".rst")
DOCUMENT_NAMES = ("authors", "changelog", "citation.cff", "copying", "licence", "license", "notice", "readme")
TEXTS_OF_TOOLS = (".git", ".gitattributes", ".gitignore")  # .git is a line of text in a worktree
FOLDERS_OF_TOOLS = (".git", ".pytest_cache", "__pycache__")  # which listings leave out, so that nothing in them is data
FINDER = b"\0\0\0\1Bud1"  # how macOS begins its .DS_Store


def is_document(name: str) -> bool:
    """Whether a file is a document by its name: `README.md`, `LICENSE`."""
    return Path(name).suffix.lower() in DOCUMENT_SUFFIXES or name.lower() in DOCUMENT_NAMES


def first_data(folder: Path) -> str | None:
    """The first entry of a script's folder that is neither code nor a document, even if hidden; None if there is none.

    The script itself is code by its name; all others must be what their names claim: Python that parses, UTF-8 text. What
    a document says is not judged. The folders of git, pytest and Python are excepted, as no listing enters them.
    An entry that cannot be read, a link, a special file and a folder count as data.
    """
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
        return next((entry.name for entry in entries if not _is_code(entry, f"{folder.resolve().name}.py")), None)
    except OSError as error:
        return str(error.filename or folder)


def _is_code(entry: os.DirEntry, script: str) -> bool:
    if entry.is_symlink():
        return False
    if entry.is_dir():
        return entry.name in FOLDERS_OF_TOOLS and (
            entry.name != "__pycache__"
            or all(
                path.suffix == ".pyc" and path.is_file() and not path.is_symlink()
                for path in Path(entry.path).iterdir()
            )
        )
    if not entry.is_file():
        return False
    if entry.name == ".DS_Store":
        with open(entry.path, "rb") as file:
            return file.read(len(FINDER)) == FINDER
    if Path(entry.name).suffix == ".py":
        return entry.name == script or _is_python(Path(entry.path))
    return (is_document(entry.name) or entry.name in TEXTS_OF_TOOLS) and _is_text(Path(entry.path))


def _is_python(path: Path) -> bool:
    try:
        parse(path.read_bytes(), path)
    except DataError:
        return False
    return True


def _is_text(path: Path) -> bool:
    content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content


def refuse_writable_by_others(folder: Path) -> None:
    """Checks that nobody except this user and root can change the content of a folder, links resolved.

    The folder belongs to this user, each of its parents to this user or root. Others may write to one only if it has the
    sticky bit, as /tmp has; its group, too, if that is the user's own. Nothing is checked on systems without such users.

    Raises:
        TrustError: somebody else can.
        OSError: there is no such folder.
    """
    if not hasattr(os, "getuid"):
        return
    folder, user, instead = folder.resolve(strict=True), os.geteuid(), "pass another cache_dir or set HF_DATASETS_CACHE"
    for place in (folder, *folder.parents):
        status = place.stat()
        if status.st_uid != user and (place == folder or status.st_uid != 0):
            raise TrustError(
                f"{place}, where code is copied to and run from, belongs to another user (uid {status.st_uid}): {instead}"
            )
        sticky = status.st_mode & 0o1000
        if not sticky and (status.st_mode & 0o002 or status.st_mode & 0o020 and not _is_private(status.st_gid, user)):
            raise TrustError(
                f"other users can write to {place}, so that code that is copied to and run from {folder} may be theirs: "
                f"chmod go-w {place}, or {instead}"
            )


def _is_private(group: int, user: int) -> bool:
    """Whether a group is a user's own: it is called like the user, who is alone in it."""
    import grp  # neither exists on Windows
    import pwd

    try:
        account, members = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    return account.pw_gid == group and members.gr_name == account.pw_name and set(members.gr_mem) <= {account.pw_name}
