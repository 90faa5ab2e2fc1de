"""Copies of scripts, and the import of exactly what was copied.

A script runs from a copy, so editing it does not break workers that start later. Its modules are called
`dataset_scripts.core.load.copies.<sha256 of the sources>_<path of the copied script, in hex>.<name>`: a process that unpickles
an object of the script imports this module first, and with it the finder below, which finds all that it needs in the name.
It reads the sources, compares their digest and compiles the bytes that it compared. No other file of the folder, no
`.pyc` and no `sys.path` is involved.
"""

import contextlib
import functools
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

import datasets

from dataset_scripts.core.errors import DataError, TrustError, reading
from dataset_scripts.core.files.disk import disk_fault
from dataset_scripts.core.load.sources import digest, sources_of
from dataset_scripts.core.load.trust import refuse_writable_by_others

__path__: list[str] = []  # a module with submodules, of which none is found on disk
PREFIX = f"{__name__}."
PACKAGE_NAME = re.compile(r"[0-9a-f]{64}_([0-9a-f]{2})+")


def copied_module(script: Path, sources: dict[Path, bytes], cache_dir: str | None) -> str:
    """Copies a script to `cache_dir/scripts`, and returns the name under which any process can import the copy.

    Args:
        script: the `.py` file.
        sources: of the script, as `sources_of` returns them.
        cache_dir: if it is None, or on another machine, the cache of `datasets` is used.

    Raises:
        DataError: the copy cannot be written.
        TrustError: others can write to the folder of the copies.
    """
    files = {path.name: content for path, content in sources.items() if path.parent == script.parent}
    identity = _digest(files)
    if cache_dir is None or "://" in str(cache_dir):
        cache_dir = datasets.config.HF_DATASETS_CACHE
    root = Path(os.path.expanduser(cache_dir)) / "scripts"
    folder = root / f"{script.stem[:40]}_{identity[:16]}"
    where = f"{script} cannot be copied to {folder} (pass another cache_dir or set HF_DATASETS_CACHE)"
    with reading(where), _naming_disks(folder):
        for place in (root, folder):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_writable_by_others(place)
        folder = folder.resolve()
        for name, content in files.items():
            _write(folder / name, content)
    return f"{PREFIX}{identity}_{os.fsencode(folder / script.name).hex()}.{_module(script)}"


@contextlib.contextmanager
def _naming_disks(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if fault := disk_fault(error, folder):
            raise fault from error
        raise


def _write(path: Path, content: bytes) -> None:
    """Writes a file in one step, unless it already has that content; other processes may do the same at the same time."""
    if path.exists() and path.read_bytes() == content:
        return
    file = tempfile.NamedTemporaryFile(dir=path.parent, delete=False)
    try:
        with file:
            file.write(content)
        os.replace(file.name, path)
    except BaseException:
        os.unlink(file.name)
        raise


def _digest(files: dict[str, bytes]) -> str:
    return digest(part for name, content in sorted(files.items()) for part in (os.fsencode(name), content))


def _module(path: Path) -> str:
    """The last part of a module's name, which must not contain a dot; no import statement can name one with a dash."""
    return path.stem.replace(".", "-")


@functools.cache
def _checked(package: str) -> dict[str, tuple[Path, bytes]]:
    """Module -> file and source of a copied script, read from the copy that the package's name states.

    Raises:
        TrustError: it differs from what was copied.
    """
    identity, _, place = package.partition("_")
    script = Path(os.fsdecode(bytes.fromhex(place)))
    try:
        files = {path: content for path, content in sources_of(script).items() if path.parent == script.parent}
    except DataError as error:
        raise TrustError(f"the copy of a script has changed, load the dataset again: {error}") from error
    if _digest({path.name: content for path, content in files.items()}) != identity:
        raise TrustError(f"{script} or a file beside it is not what was copied there: load the dataset again")
    return {_module(path): (path, content) for path, content in files.items()}


class CopyFinder(MetaPathFinder, Loader):
    """Finds the modules of copied scripts, and runs the sources that `_checked` returns."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if not name.startswith(PREFIX):
            return None
        package, _, module = name.removeprefix(PREFIX).partition(".")
        files = _checked(package) if PACKAGE_NAME.fullmatch(package) else {}
        if files and not module:
            return ModuleSpec(name, self, is_package=True)
        if module not in files:  # no other finder is asked
            raise ModuleNotFoundError(f"{name} is not among the copied files of a script", name=name)
        return spec_from_file_location(name, files[module][0], loader=self)

    def exec_module(self, module: ModuleType) -> None:
        package, _, name = module.__name__.removeprefix(PREFIX).partition(".")
        if name:
            path, source = _checked(package)[name]
            exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))


sys.meta_path.insert(0, CopyFinder())
