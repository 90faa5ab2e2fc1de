"""The code of a script: its file, and all that it imports from its folder and this package, directly or not, read once."""

import ast
import functools
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.load.moved import PACKAGE, new_name


def sources_of(script: Path) -> dict[Path, bytes]:
    """Read the script and, recursively, what it imports from its own folder (`from .x import y`) and from this package.

    A package's `__init__.py` counts only for names that it defines itself; an imported name is followed to its origin.

    Returns:
        Path -> content, the script first; the content is what was parsed, whatever happens to the file later.

    Raises:
        DataError: a file cannot be read or is not Python, or a relative import is of something other than a `.py` file in
            the script's folder.
    """
    sources, found = {}, [script]
    for path in found:
        with reading(path):
            sources[path] = path.read_bytes()
        imported = (file for statement in _imports(sources[path], path) for file in _imported_by(path, statement))
        found += [file for file in dict.fromkeys(imported) if file not in found]
    return sources


def parse(source: bytes, path: Path) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        DataError: it does not compile.
    """
    with reading(path):
        try:
            tree = ast.parse(source, filename=str(path))
            # This finds what the parser lets pass: `return` outside a function.
            compile(tree, str(path), "exec", dont_inherit=True)
        except MemoryError as error:
            raise RecursionError from error  # the parser's stack is full, not the memory
    return tree


def digest(parts: Iterable[bytes]) -> str:
    """The sha256, in hex, of some parts and their boundaries."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()


@functools.lru_cache(maxsize=256)
def _imports(source: bytes, path: Path) -> list[ast.Import | ast.ImportFrom]:
    """The import statements of a file."""
    tree = ast.parse(source) if path.is_relative_to(PACKAGE) else parse(source, path)  # a module of ours compiles
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def _imported_by(path: Path, node: ast.Import | ast.ImportFrom) -> Iterator[Path]:
    """The files that an import statement reads, from the folder of its file or this package."""
    if isinstance(node, ast.ImportFrom) and node.level:
        for name in [node.module] if node.module else [alias.name for alias in node.names]:
            module, beside = path.parent / f"{name}.py", node.level == 1 and "." not in name
            if not beside or not os.path.isfile(module):
                fault = f"there is no {module}" if beside else "a script can import .py files of its own folder only"
                raise DataError(f"{path}, line {node.lineno}: cannot import {'.' * node.level}{name}: {fault}")
            yield module
    elif isinstance(node, ast.Import):
        yield from filter(None, (_module(alias.name) for alias in node.names))
    else:
        for alias in node.names:
            yield from _of_name(node.module, alias.name)


def _of_name(module: str, name: str) -> Iterator[Path]:
    """The file that `from module import name` takes the name from, if it is of this package."""
    path = _module(f"{module}.{name}") or _module(module)
    if path is not None and path.name == "__init__.py":
        for node in _imports(path.read_bytes(), path):
            for alias in node.names:
                if isinstance(node, ast.ImportFrom) and name == (alias.asname or alias.name):
                    yield from _of_name(node.module, alias.name)
                    return
    if path is not None:
        yield path


def _module(name: str) -> Path | None:
    """The file of a module or package, if it is this package or in it."""
    top, *parts = (new_name(name) or name).split(".")
    path = PACKAGE.joinpath(*parts)
    places = (path / "__init__.py", path.with_suffix(".py")) if top == PACKAGE.name else ()
    return next((place for place in places if place.is_file()), None)
