"""Scripts run from copies: under every name, in every process, and only what was copied."""

import importlib.util
import marshal
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import pytest
from torch.utils.data import DataLoader

from dataset_scripts import TrustError, enable, load_dataset
from dataset_scripts.core.load.script import PACKAGE, find_script

SCRIPT = Path(__file__).with_name("shades.py").read_text()
WITH_HELPER = "from .helper import OFFSET\n" + SCRIPT.replace("SHADE = 1", "SHADE = OFFSET")
NOBODY = 65534
is_root = hasattr(os, "getuid") and os.getuid() == 0


def run(program: str, *args: object, check: bool = True, **options: object) -> subprocess.CompletedProcess:
    """Runs a program in a fresh process."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-c", program, *map(str, args)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, **options)
    assert not check or result.returncode == 0, result.stderr
    return result


def shades(rows) -> list[int]:
    return sorted(row["shade"] for row in rows)


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "stem",
    [
        "cifar-10.1",
        "photos.zip",
        "7",
        "class",
        "my set",
        "größe",
        "__init__",
        "json",
        "datasets",
        "a.b-c..d",
        "x" * 120,
    ],
)
def test_every_name_of_a_script_works(tmp_path, trap, stem, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for other in ("photos", "cifar-10", "helper", "__init__"):  # names that a search of sys.path could find
        trap(tmp_path / f"{other}.py")
    path = tmp_path / "code" / f"{stem}.py"
    put(path, WITH_HELPER.encode())
    put(path.with_name("helper.py"), b"from . import more\nOFFSET = more.OFFSET\n")
    put(path.with_name("more.py"), b"OFFSET = 1\n")
    before = list(sys.path)
    assert shades(load_dataset(str(path), split="train")) == list(range(1, 9))
    with enable():
        assert shades(datasets.load_dataset(str(path), split="train")) == list(range(1, 9))
    builder = find_script(str(path)).builder_class()
    assert pickle.loads(pickle.dumps(builder)) is builder
    assert sys.path == before and not trap.sprung()
    assert builder.__module__.rpartition(".")[2] == stem.replace(".", "-")


def test_two_names_that_differ_in_a_dot_are_two_scripts(tmp_path):
    for name, shade in (("a.b", 1), ("a-b", 2), ("a_b", 3)):
        put(tmp_path / f"{name}.py", SCRIPT.replace("SHADE = 1", f"SHADE = {shade}").encode())
    values = [shades(load_dataset(str(tmp_path / name), split="train"))[0] for name in ("a.b", "a-b", "a_b")]
    assert values == [1, 2, 3]


UNPICKLE = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    builder = pickle.load(file)
print(builder.name, [row["shade"] for row in builder.as_streaming_dataset("train")], *sys.path)
"""


def pickled(path: Path, cache: Path) -> Path:
    """A file with the pickled builder of a script that is copied to a cache of its own."""
    builder = find_script(str(path)).builder_class(str(cache))(cache_dir=str(cache))
    target = cache / "builder.pickle"
    target.write_bytes(pickle.dumps(builder))
    return target


def test_only_what_was_copied_runs_in_other_processes(script, tmp_path, trap):
    cache = tmp_path / "any" / "cache"
    builder = pickled(script, cache)
    copy = next((cache / "scripts").glob("shades_*"))
    script.write_text("an edit, half saved (")
    script.with_name("helper.py").unlink()
    for name in ("__init__", "datasets", "planted", "shades/__init__", "helper/__init__"):
        trap(copy / f"{name}.py")
    for name in ("shades", "helper"):  # the bytecode that Python would read instead, of the same time and size
        stat = (copy / f"{name}.py").stat()
        header = importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, int(stat.st_mtime), stat.st_size)
        code = marshal.dumps(compile(trap.code, "x", "exec"))
        put(Path(importlib.util.cache_from_source(str(copy / f"{name}.py"))), header + code)
    result = run(UNPICKLE, builder)
    assert result.stdout.startswith("shades [1, 2, 3, 4, 5, 6, 7, 8]") and str(cache) not in result.stdout
    assert not trap.sprung()
    module = pickle.loads(builder.read_bytes()).__module__
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{module.rpartition('.')[0]}.planted")
    trap(copy / "helper.py")
    result = run(UNPICKLE, builder, check=False)
    assert "TrustError" in result.stderr and "not what was copied" in result.stderr and not trap.sprung()


def test_a_damaged_copy_is_made_anew(script, tmp_path):
    options = {"cache_dir": str(tmp_path / "cache"), "split": "train"}
    program = "import sys, dataset_scripts as d; print(len(d.load_dataset(sys.argv[1], cache_dir=sys.argv[2], split='train')))"
    load_dataset(str(script), **options)
    copy = next((tmp_path / "cache/scripts").glob("shades_*/helper.py"))
    copy.write_text("")
    assert run(program, script, tmp_path / "cache").stdout == "8\n"
    assert copy.read_text() == "OFFSET = 1\n"


def test_names_that_are_no_copies_are_not_found(tmp_path):
    for name in ("x", "x.y", f"{'0' * 64}_zz.x", f"{'0' * 64}_616.x"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"dataset_scripts.core.load.copies.{name}")
    with pytest.raises(TrustError, match="has changed"):
        importlib.import_module(
            f"dataset_scripts.core.load.copies.{'0' * 64}_{os.fsencode(tmp_path / 'no.py').hex()}.no"
        )


@pytest.mark.parametrize("streaming", [False, True])
def test_odd_names_in_workers(tmp_path, streaming):
    path = tmp_path / "class.10-1.py"
    put(path, b"from .helper import OFFSET\n" + SCRIPT.replace("SHADE = 1", "SHADE = OFFSET").encode())
    put(path.with_name("helper.py"), b"OFFSET = 1\n")
    rows = load_dataset(
        str(path), split="train", cache_dir=str(tmp_path / "cache"), streaming=streaming, transform=None
    )
    for context in ("fork", "spawn"):
        loader = DataLoader(rows, batch_size=None, num_workers=2, multiprocessing_context=context)
        assert shades(loader) == list(range(1, 9))
    if not streaming:
        built = load_dataset(str(path), split="train", cache_dir=str(tmp_path / "other"), num_proc=2)
        assert shades(built) == list(range(1, 9))


def test_processes_that_copy_at_once(script, tmp_path):
    program = """
import sys, time
from dataset_scripts.core.load.script import find_script
time.sleep(max(0, float(sys.argv[3]) - time.time()))
print(find_script(sys.argv[1]).builder_class(sys.argv[2]).__module__)
"""
    at = time.time() + 4
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: run(program, script, tmp_path / "cache", at).stdout, range(3)))
    assert len(set(results)) == 1
    assert sorted(path.name for path in (tmp_path / "cache/scripts").glob("*/*")) == ["helper.py", "shades.py"]


@pytest.mark.parametrize("place, mode", [("cache", 0o757), ("cache/scripts", 0o702), ("", 0o777), ("cache", 0o775)])
def test_a_folder_that_others_write_to_gets_no_copy(script, tmp_path, place, mode):
    cache = tmp_path / "home" / "cache"
    (cache / "scripts").mkdir(parents=True, mode=0o700)
    chosen = cache.parent / place
    os.chown(chosen, -1, _foreign_group())
    chosen.chmod(mode)
    link = tmp_path / "link"
    link.symlink_to(cache)
    for cache_dir in (cache, link):
        with pytest.raises(TrustError, match=f"chmod go-w {chosen},.*HF_DATASETS_CACHE"):
            load_dataset(str(script), cache_dir=str(cache_dir))
        with pytest.raises(TrustError), enable():
            datasets.load_dataset(str(script), cache_dir=str(cache_dir))
    assert not list(cache.rglob("*.py"))
    chosen.chmod(mode | 0o1000)
    assert len(load_dataset(str(script), cache_dir=str(cache), split="train")) == 8
    chosen.chmod(0o755)
    assert len(load_dataset(str(script), cache_dir=str(link), split="train")) == 8


def _foreign_group() -> int:
    """A group that is not this user's own: any if it is root, else another of theirs."""
    groups = [NOBODY] if is_root else [group for group in os.getgroups() if group != os.getgid()]
    return groups[0] if groups else pytest.skip("needs a user of two groups")


def test_the_own_group_may_write(script, tmp_path):
    import grp
    import pwd

    user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(os.getgid())
    if group.gr_name != user.pw_name or set(group.gr_mem) - {user.pw_name}:
        pytest.skip("needs a user with a group of his own")
    (tmp_path / "cache/scripts").mkdir(parents=True)
    (tmp_path / "cache").chmod(0o775)
    (tmp_path / "cache/scripts").chmod(0o770)
    assert len(load_dataset(str(script), cache_dir=str(tmp_path / "cache"), split="train")) == 8


@pytest.mark.skipif(not is_root, reason="only root can give folders away")
@pytest.mark.parametrize("place", ["", "cache", "cache/scripts", "cache/scripts/shades"])
def test_a_folder_of_another_user_gets_no_copy(script, tmp_path, place):
    cache = tmp_path / "home" / "cache"
    (cache / "scripts").mkdir(parents=True)
    if place.endswith("shades"):
        load_dataset(str(script), cache_dir=str(cache))
        chosen = next((cache / "scripts").glob("shades_*"))
    else:
        chosen = cache.parent / place
    os.chown(chosen, NOBODY, -1)
    with pytest.raises(TrustError, match=f"{chosen},.* belongs to another user"):
        load_dataset(str(script), cache_dir=str(cache))


AS_SOMEBODY = """
import os, sys, grp, pwd
from dataset_scripts import DataError, TrustError
from dataset_scripts.core.load.script import find_script
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for path in sys.argv[2:]:
    try:
        script = find_script(path)
        print(script and script.builder_class(sys.argv[1]).__name__)
    except (DataError, TrustError) as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def open_path():
    """A temporary folder that other users can enter; pytest's are closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_what_cannot_be_read_or_written(open_path):
    script = open_path / "mine" / "shades.py"
    put(script, WITH_HELPER.encode())
    put(script.with_name("helper.py"), b"OFFSET = 1\n")
    folders = {name: open_path / name / "shades" for name in ("closed", "unlisted", "no_script", "no_document")}
    for folder in folders.values():
        put(folder / "shades.py", SCRIPT.encode())
        put(folder / "README.md", b"# Shades\n")
    folders["closed"].chmod(0)
    folders["unlisted"].chmod(0o311)
    (folders["no_script"] / "shades.py").chmod(0)
    (folders["no_document"] / "README.md").chmod(0)
    cache = open_path / "cache"
    (cache / "scripts").mkdir(parents=True)
    if is_root:
        os.chown(cache / "scripts", NOBODY, NOBODY)
    cache.chmod(0o755)

    def results(*paths: Path) -> list[str]:
        return run(AS_SOMEBODY, cache, *paths).stdout.splitlines()

    closed, inside, unlisted, unreadable, document, copied = results(
        folders["closed"], folders["closed"] / "shades.py", *list(folders.values())[1:], script
    )
    assert closed.startswith("DataError") and inside.startswith("DataError") and unlisted.startswith("DataError")
    assert unreadable.startswith("DataError") and "shades.py: Permission denied" in unreadable
    assert document.startswith("TrustError") and "README.md is not" in document
    assert copied == "Shades"
    for place in [*(cache / "scripts").iterdir(), cache / "scripts"]:
        place.chmod(0o555)
    assert results(script) == ["Shades"]  # a read-only cache that has the copy
    script.write_text(script.read_text() + "\n")
    (refused,) = results(script)
    assert refused.startswith("DataError") and "pass another cache_dir" in refused and "Permission denied" in refused
