"""The code of a script: its file, and all that it imports of its own folder and of this package, read once."""

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import dataset_scripts
from dataset_scripts.core.errors import DataError, reading

PACKAGE = Path(dataset_scripts.__file__).resolve().parent


def sources_of(script: Path) -> dict[Path, bytes]:
    """The script and, recursively, what it imports of its own folder (`from .x import y`) and of this package but for `core`.

    Returns:
        Path -> content, the script first; the content is what was parsed, whatever becomes of the file.

    Raises:
        DataError: a file cannot be read or is not Python, or a relative import is of something else than a `.py` file in
            the script's folder.
    """
    sources, found = {}, [script]
    for path in found:
        with reading(path):
            sources[path] = path.read_bytes()
        found += [imported for imported in dict.fromkeys(_imports(path, parse(sources[path], path))) if imported not in found]
    return sources


def parse(source: bytes, path: Path) -> ast.Module:
    """The syntax tree of a file that compiles.

    Raises:
        DataError: it does not.
    """
    with reading(path):
        try:
            tree = ast.parse(source, filename=str(path))
            compile(tree, str(path), "exec", dont_inherit=True)  # finds what the parser lets pass: `return` outside a function
        except MemoryError as error:
            raise RecursionError from error  # the parser's stack is full, not the memory
    return tree


def digest(parts: Iterable[bytes]) -> str:
    """The sha256, in hex, of some parts and of where each ends."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()


def _imports(path: Path, tree: ast.Module) -> Iterator[Path]:
    """The files that one file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            for name in [node.module] if node.module else [alias.name for alias in node.names]:
                module, beside = path.parent / f"{name}.py", node.level == 1 and "." not in name
                if not beside or not os.path.isfile(module):
                    fault = f"there is no {module}" if beside else "a script can import .py files of its own folder only"
                    raise DataError(f"{path}, line {node.lineno}: cannot import {'.' * node.level}{name}: {fault}")
                yield module
        elif isinstance(node, ast.Import):
            yield from _of_package(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _of_package([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])


def _of_package(names: Iterable[str]) -> Iterator[Path]:
    """The files of those modules that are this package's; all of `core` counts for every script anyway."""
    for name in names:
        top, *parts = name.split(".")
        path = PACKAGE.joinpath(*parts).with_suffix(".py")
        if top == PACKAGE.name and parts and parts[0] != "core" and path.is_file():
            yield path
