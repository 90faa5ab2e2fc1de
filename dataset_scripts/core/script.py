"""A loading script: where it is, what identifies it, and its builder class."""

import ast
import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets

import dataset_scripts
from dataset_scripts.core.errors import DataError, TrustError
from dataset_scripts.core.files import folder_state, is_hidden

PACKAGE = Path(dataset_scripts.__file__).resolve().parent
CODE_SUFFIXES = ("", ".py", ".pyc", ".md", ".license")  # what may lie beside a script without being data


@functools.cache
def bundled_names() -> tuple[str, ...]:
    """The names of the scripts that come with the package, sorted."""
    return tuple(sorted(path.parent.name for path in PACKAGE.glob("*/*.py") if path.parent.name == path.stem))


@dataclass(frozen=True)
class Script:
    """A loading script on disk.

    Attributes:
        path: the `.py` file, resolved.
    """

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def is_bundled(self) -> bool:
        return self.path.parent.parent == PACKAGE

    def module_name(self, cache_dir: str | None = None) -> str:
        """The name under which every process, a spawned worker too, can import the script.

        A script of the package is imported from there. Any other is copied, with the files that it imports, to a
        folder named after its content: an edited script is a new module, and the bytes that were hashed are the ones
        that run.
        """
        if self.is_bundled:
            return f"dataset_scripts.{self.name}.{self.name}"
        sources = {path.name: path.read_bytes() for path in local_files(self.path)}
        root = Path(os.path.expanduser(cache_dir or datasets.config.HF_DATASETS_CACHE)) / "scripts"
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        package = f"{self.name}_{_digest(*sources.values())[:16]}"
        (root / package).mkdir(mode=0o700, exist_ok=True)
        for name, content in sources.items():
            target = root / package / name
            if not target.exists() or target.read_bytes() != content:
                with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as copy:
                    copy.write(content)
                os.replace(copy.name, target)
        if str(root) not in sys.path:
            sys.path.append(str(root))
            importlib.invalidate_caches()
        return f"{package}.{self.name}"

    def builder_class(self, cache_dir: str | None = None) -> type[datasets.DatasetBuilder]:
        """Runs the script and returns the first dataset builder that it defines.

        Raises:
            DataError: it defines none.
        """
        module = importlib.import_module(self.module_name(cache_dir))
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, datasets.DatasetBuilder) and not inspect.isabstract(value):
                if value.__module__ == module.__name__:
                    return value
        raise DataError(
            f"{self.path} is no loading script: it defines no class derived from datasets.GeneratorBasedBuilder"
        )

    def identity(self, data_state: str | None) -> str:
        """What the cached dataset depends on: the code, the versions and the state of the data files.

        The data are those of `data_dir`, whose listing has the state, and what lies beside the script: the whole folder where the script has one
        of its own (`x/x.py`), else the files next to it. `data_files` are identified by `datasets` itself.
        """
        versions = f"{dataset_scripts.__version__} {datasets.__version__}"
        sources = sorted((PACKAGE / "core").glob("*.py")) + imported_files(self.path)
        parts = [versions.encode()] + [path.read_bytes() for path in sources]
        if self.path.parent.name == self.name:
            parts.append(folder_state(self.path.parent).encode())
        else:
            for path in sorted(self.path.parent.iterdir()):
                if path.is_file() and not is_hidden(path.name) and path.suffix not in CODE_SUFFIXES:
                    parts.append(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
        if data_state is not None:
            parts.append(data_state.encode())
        return _digest(*parts)


def find_script(path: str, trust_script: bool = False) -> Script | None:
    """Finds the script that `path` names: `x.py`, `x` with `x.py` beside it, or a folder `x/` with `x/x.py`.

    A bare name (without a folder) that comes with the package means that script, whatever lies in the working
    folder; write `./name` for a local one. A `.py` found in a folder of data was not named by the caller, and is run
    only with `trust_script`.

    Raises:
        TrustError: such a `.py`, without `trust_script`.
        DataError: a name ending in `.py` that does not exist.
    """
    if path in bundled_names():
        return Script(PACKAGE / path / f"{path}.py")
    local = Path(path).expanduser()
    if local.suffix == ".py":
        if not local.is_file():
            raise DataError(f"there is no script {path}")
        return Script(local.resolve())
    inner = local / f"{local.resolve().name}.py"
    if inner.is_file():
        script = Script(inner.resolve())
        if not (trust_script or script.is_bundled) and holds_data(local):
            raise TrustError(
                f"{path} is a folder of data with a script in it, which is not run unasked: "
                f"name it ({inner}) or pass trust_script=True"
            )
        return script
    if local.name and not local.is_dir():
        beside = local.with_name(local.name + ".py")
        if beside.is_file() and not _is_main(beside):
            return Script(beside.resolve())
    return None


def holds_data(folder: Path) -> bool:
    return any(not is_hidden(path.name) and (path.is_dir() or path.suffix not in CODE_SUFFIXES) for path in folder.iterdir())


def _is_main(path: Path) -> bool:
    """Whether `path` is the program that is running: a `mnist.py` that loads `mnist` does not mean itself."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return main is not None and Path(main).resolve() == path.resolve()


def local_files(script: Path) -> list[Path]:
    """The script and the files that it imports from its own folder (`from .x import y`), each once."""
    return [path for path in imported_files(script) if path.parent == script.parent]


def imported_files(script: Path) -> list[Path]:
    """The script and all that it imports of its own folder and of this package but for `core`, each once.

    Raises:
        DataError: a relative import of something else than a `.py` file in the script's folder.
    """
    found = [script]
    for path in found:
        for imported in _imports(path):
            if imported not in found:
                found.append(imported)
    return found


def _imports(path: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise DataError(f"{path}, line {error.lineno}: {error.msg}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                module = path.parent / f"{name}.py"
                if node.level > 1 or not module.is_file():
                    raise DataError(f"{path}, line {node.lineno}: cannot import {'.' * node.level}{name}: no {module}")
                yield module
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            for name in names:
                if name.startswith("dataset_scripts.") and not name.startswith("dataset_scripts.core"):
                    spec = importlib.util.find_spec(name)
                    if spec is not None and spec.origin is not None:
                        yield Path(spec.origin)


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
