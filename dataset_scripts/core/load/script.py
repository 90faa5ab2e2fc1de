"""A loading script: where it is, what identifies it, and its builder class."""

import functools
import importlib
import inspect
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import datasets

import dataset_scripts
from dataset_scripts.core.errors import DataError, TrustError, reading
from dataset_scripts.core.files.listing import folder_state, is_hidden
from dataset_scripts.core.load.copies import copied_module
from dataset_scripts.core.load.sources import PACKAGE, digest, sources_of
from dataset_scripts.core.load.trust import first_data, is_document


@functools.cache
def bundled() -> dict[str, Path]:
    """The scripts that come with the package, by name, sorted: named sets, and the layouts."""
    found = [*PACKAGE.glob("*/*.py"), *PACKAGE.glob("layouts/*/*.py")]
    return {path.stem: path for path in sorted(found, key=lambda path: path.stem) if path.parent.name == path.stem}


def bundled_names() -> tuple[str, ...]:
    return tuple(bundled())


def bundled_layouts() -> dict[str, Path]:
    """Those of the bundled scripts that read a layout."""
    return {name: path for name, path in bundled().items() if path.is_relative_to(PACKAGE / "layouts")}


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
        return self.path == bundled().get(self.name)

    @functools.cached_property
    def sources(self) -> dict[Path, bytes]:
        """Its code, read once: the code that runs also identifies the cached dataset. See `sources_of`."""
        return sources_of(self.path)

    def module_name(self, cache_dir: str | None = None) -> str:
        """The name under which every process, even a spawned worker, can import the script: in the package, or a copy.

        Raises:
            DataError: it cannot be read, is not Python, imports a missing module, or cannot be copied to `cache_dir`.
            TrustError: others can write to the folder of the copies.
        """
        if self.path.is_relative_to(PACKAGE):
            return ".".join([PACKAGE.name, *self.path.relative_to(PACKAGE).with_suffix("").parts])
        return copied_module(self.path, self.sources, cache_dir)

    def builder_class(self, cache_dir: str | None = None) -> type[datasets.DatasetBuilder]:
        """Runs the script and returns the first dataset builder that it defines.

        Raises:
            DataError: it defines none, or cannot be imported, see `module_name`.
            TrustError: see `module_name`.
            Exception: whatever the script itself raises.
        """
        module = importlib.import_module(self.module_name(cache_dir))
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, datasets.DatasetBuilder) and not inspect.isabstract(value):
                if value.__module__ == module.__name__:
                    return value
        raise DataError(
            f"{self.path} is not a loading script: it defines no class derived from datasets.GeneratorBasedBuilder"
        )

    def identity(self, data_state: str | None) -> str:
        """Everything that the cached dataset depends on: the code, the versions and the state of the data files.

        The data are those of `data_dir`, whose listing has the state, and those beside the script: the whole folder if
        the script has its own (`x/x.py`), else the files next to it that are neither code nor documents.
        For `data_files`, `datasets` adds their names, and the caller their sizes and times in `data_state`.

        Raises:
            DataError: the code or the folder of the script cannot be read.
        """
        parts = [f"{dataset_scripts.__version__} {datasets.__version__}".encode()]
        parts += self.sources.values()
        with reading(self.path.parent):
            if self.path.parent.name == self.name:
                parts.append(folder_state(self.path.parent).encode())
            else:
                for path in sorted(self.path.parent.iterdir()):
                    if path.is_file() and not (
                        is_hidden(path.name) or path.suffix in (".py", ".pyc") or is_document(path.name)
                    ):
                        status = path.stat()
                        parts.append(
                            os.fsencode(path.name)
                            + f" {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}".encode()
                        )
        if data_state is not None:
            parts.append(data_state.encode())
        return digest(parts)


def find_script(path: str, trust_script: bool = False) -> Script | None:
    """Finds the script that `path` names: `x.py`, a folder `x/` with `x/x.py`, or `x` with `x.py` beside it and no `x`.

    A bare name (without a folder) that comes with the package means that script, whatever is in the working
    folder; write `./name` for a local one. A `.py` found in a folder was not named by the caller, and is run only
    if everything else there is code or documents.

    Raises:
        TrustError: such a `.py` in a folder of data, without `trust_script`.
        DataError: a name ending in `.py` that is not a file, a folder that cannot be read, or an impossible file name.
    """
    if path in bundled():
        return Script(bundled()[path])
    with reading(path):
        local = Path(path).expanduser()
        resolved = local.resolve()
        exists = local.exists() or local.is_symlink()
        if local.suffix == ".py" and local.is_file():
            return Script(resolved)
    if local.suffix == ".py":
        state = "is a folder" if local.is_dir() else "leads nowhere" if local.is_symlink() else "is not a file"
        raise DataError(f"there is no script {path}: it {state if exists else 'does not exist'}")
    if not exists:
        beside = local.with_name(f"{local.name}.py")
        return Script(beside.resolve()) if os.path.isfile(beside) and not _is_main(beside) else None
    if not local.is_dir():
        return None
    if not os.access(local, os.R_OK | os.X_OK):
        raise DataError(f"{path} cannot be read: you lack the permission to list or to enter the folder")
    inner = local / f"{resolved.name}.py"
    if not os.path.isfile(inner):
        return None
    script = Script(inner.resolve())
    if not (trust_script or script.is_bundled) and (data := first_data(local)) is not None:
        raise TrustError(
            f"{path} is a folder of data ({data} is not code or a document), and a script in such a folder runs only if you "
            f"ask for it: name the script ({inner}) or pass trust_script=True. To read the data without running it, name "
            "their layout, such as load_dataset('image_folder', data_dir=…)"
        )
    return script


def _is_main(path: Path) -> bool:
    """Whether `path` is the program that is running: a `mnist.py` that loads `mnist` does not mean itself."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return main is not None and Path(main).resolve() == path.resolve()
