"""Which code runs when a path is loaded, and that nothing else does."""

import os
import sys
from pathlib import Path

import datasets
import pytest

from dataset_scripts import DataError, TrustError, enable, load_dataset
from dataset_scripts.core.files.names import is_hidden
from dataset_scripts.core.load.script import PACKAGE, Script, find_script
from dataset_scripts.core.load.sources import sources_of
from dataset_scripts.core.load.trust import FOLDERS_OF_TOOLS


def shades(rows) -> list[int]:
    return sorted(row["shade"] for row in rows)


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name, content",
    [
        ("train-images-idx3-ubyte", b"\0\0\x08\x03"),  # MNIST
        ("data_batch_1", b"\x80\x02}"),  # CIFAR
        ("train-00000-of-00001", b"\x0a"),  # TFRecord
        ("a.txt", b"one\n"),
        ("requirements.txt", b"numpy\n"),
        ("a.license", b"MIT\n"),
        ("a.pyc", b""),
        ("a.PNG", b"\x89PNG"),
        (".hidden", b"text\n"),
        (".md", b"text\n"),
        (".py", b""),
        ("helper.PY", b""),
        (".hidden/a.md", b"text\n"),
        ("cat/1.md", b"text\n"),
        ("photo.md", b"\xff\xd8\xff\xe0"),
        ("photo.rst", b"text\0"),
        ("README", b"\xff"),
        ("LICENSE/a.md", b"text\n"),
        (".gitignore", b"\x89PNG\0"),
        ("batch.py", b"\x80\x02}"),
        ("rows.py", b"1 2 3\n"),
        ("numbers.py", b"1\0"),
        ("deep.py", b"-" * 100_000 + b"1"),
        ("code.py/a.py", b"a = 1\n"),
        ("__pycache__/a.png", b"\x89PNG"),
        ("__pycache__/a/b.pyc", b""),
        ("__pycache__", b"\0"),
        (".DS_Store", b"\x89PNG"),
        (".DS_Store/a.md", b"text\n"),
        (".git", b"\0"),
        (".pytest_cache", b"text\n"),
    ],
)
def test_a_script_in_a_folder_of_data_is_not_run(tmp_path, trap, name, content):
    path = trap(tmp_path / "set" / "set.py")
    put(path.with_name("README.md"), b"# A set\n")
    put(path.parent / name, content)
    for spelling in (path.parent, f"{path.parent}/."):
        with pytest.raises(TrustError, match="trust_script=True") as error:
            load_dataset(str(spelling))
        assert f"({name.split('/')[0]} is not" in str(error.value) and str(path) in str(error.value)
        assert "load_dataset('image_folder', data_dir=" in str(error.value)  # the data can be loaded without it
    with pytest.raises(TrustError), enable():
        datasets.load_dataset(str(path.parent))
    assert not trap.sprung()
    assert Script(path) == find_script(str(path)) == find_script(str(path.parent), trust_script=True)


@pytest.mark.parametrize(
    "kind", ["link", "broken link", "link to a folder", "pipe", "the script is a link", "__pycache__ link"]
)
def test_what_is_no_plain_file_counts_as_data(tmp_path, trap, kind):
    path = trap(tmp_path / "set" / "set.py")
    code = trap(tmp_path / "elsewhere" / "code.py")
    if kind == "pipe":
        os.mkfifo(path.with_name("a.md"))
    elif kind == "the script is a link":
        path.unlink()
        path.symlink_to(code)
    else:
        target = {"link": code, "broken link": "nowhere.py"}.get(kind, code.parent)
        path.with_name("__pycache__" if "pycache" in kind else "a.py").symlink_to(target)
    with pytest.raises(TrustError):
        find_script(str(path.parent))
    assert find_script(str(path.parent), trust_script=True) is not None


def test_code_and_documents_are_run(script):
    for name in "README.md notes.rst LICENSE LICENCE.md NOTICE CITATION.cff Authors .gitignore .gitattributes".split():
        put(script.with_name(name), "Größe\n".encode())
    for name in (".git/objects/pack", ".pytest_cache/v/a", "__pycache__/shades.cpython-311.pyc"):
        put(script.parent / name, b"\0\xff")
    put(script.with_name(".DS_Store"), b"\0\0\0\1Bud1\0\0")
    assert all(map(is_hidden, FOLDERS_OF_TOOLS))  # nothing in them is read as data either
    put(script.with_name("test_shades.py"), b"# coding: latin-1\nname = '\xe9'\n")
    assert shades(load_dataset(str(script.parent), split="train")) == list(range(1, 9))


def test_a_fault_of_the_script_itself_is_no_question_of_trust(script):
    script.write_text("class :\n")
    with pytest.raises(DataError, match=r"shades.py: .*line 1"):
        load_dataset(str(script.parent))


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "words", "photos.zip", "broken", "folder"])
def test_data_win_over_a_script_beside_them(tmp_path, trap, name):
    trap(tmp_path / f"{name}.py")
    assert find_script(str(tmp_path / name)).path == tmp_path / f"{name}.py"
    data = tmp_path / name
    if name == "broken":
        data.symlink_to("nowhere")
    elif name == "folder":
        data.mkdir()
    else:
        data.write_bytes(b"data")
    assert find_script(str(data)) is None
    assert find_script(f"{data}.py").path == tmp_path / f"{name}.py"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"name = '\xe9'\n", "utf-8"),
        (b"\xff\xfea\0", "."),
        (b"a = 1\0\n", "null"),
        (b"-" * 100_000 + b"1", "nested too deep"),
        (b"+".join([b"1"] * 100_000), "nested too deep"),
        (b"(" * 500 + b")" * 500, "nested"),
        (b"# coding: nope\n", "nope"),
        (b"return 1\n", "outside function"),
        (b"from .absent import x\n", r"line 1: cannot import \.absent: there is no "),
        (b"\nfrom . import absent\n", r"line 2: cannot import \.absent: there is no "),
        (b"from .a.b import x\n", r"line 1: cannot import \.a\.b"),
        (b"from ..a import x\n", r"line 1: cannot import \.\.a"),
        (b"from .long" + b"g" * 300 + b" import x\n", "there is no"),
        (b"", "is not a loading script"),
    ],
)
def test_what_is_no_script(tmp_path, content, message):
    path = tmp_path / "odd.py"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        find_script(str(path)).builder_class()
    assert str(error.value).startswith(str(path))
    if b"import" in content or b"(" in content or len(content) > 1000:
        with pytest.raises(DataError, match=message):
            find_script(str(path)).identity(None)


@pytest.mark.parametrize(
    "name",
    [
        "folder.py",
        "broken.py",
        "loop.py",
        "loop",
        "pipe.py",
        "nul\0",
        "nul\0.py",
        "n" * 300,
        "n" * 300 + ".py",
        "n/" * 4000,
        "\ud800.py",
    ],
)
def test_names_that_lead_to_no_script(tmp_path, name):
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "broken.py").symlink_to("nowhere")
    for loop in ("loop", "loop.py"):
        (tmp_path / loop).symlink_to(loop)
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(DataError):
        find_script(f"{tmp_path}/{name}")


def test_a_folder_with_the_longest_name_is_data(tmp_path):
    (tmp_path / ("n" * 255)).mkdir()
    assert find_script(str(tmp_path / ("n" * 255))) is None


def test_errors_of_the_running_script_are_its_own(tmp_path):
    path = tmp_path / "failing.py"
    for line, error in (
        ("1 / 0", ZeroDivisionError),
        ("import no_such_module", ModuleNotFoundError),
        ("open('')", OSError),
    ):
        path.write_text(line)
        with pytest.raises(error) as raised:
            load_dataset(str(path))
        assert not isinstance(raised.value, DataError)


def test_the_identity_follows_code_and_data_beside_the_script(tmp_path):
    path = tmp_path / "code" / "reader.py"
    put(
        path,
        b"from .helper import x\nfrom dataset_scripts.layouts.voc import voc\nimport dataset_scripts.layouts.coco.coco\n",
    )
    put(path.with_name("helper.py"), b"x = 1\n")
    followed = {source.name for source in sources_of(path)}
    assert {"reader.py", "helper.py", "voc.py", "annotation.py", "coco.py"} <= followed
    states = [find_script(str(path)).identity(None)]
    for name, content in (
        ("helper.py", b"x = 2\n"),
        ("images-idx3-ubyte", b"1"),
        ("images-idx3-ubyte", b"22"),
        ("a.txt", b""),
    ):
        put(path.with_name(name), content)
        states.append(find_script(str(path)).identity(None))
    assert len(set(states)) == len(states)
    for name in ("README.md", "LICENSE", "other.py", ".hidden"):
        put(path.with_name(name), b"a = 1\n")
        assert find_script(str(path)).identity(None) == states[-1]


def test_what_runs_is_what_the_cache_is_known_by(script):
    """An edit between the two must not file the rows of the old code under the new."""
    script = script.rename(script.with_name("reader.py"))  # not in a folder of its own, where times count too
    found, before = find_script(str(script)), find_script(str(script)).identity(None)
    builder = found.builder_class()
    script.with_name("helper.py").write_text("OFFSET = 50\n")
    assert sys.modules[builder.__module__].SHADE == 1 and found.identity(None) == before
    assert find_script(str(script)).identity(None) != before


@pytest.mark.parametrize("name", ["layouts/voc/annotation.py", "core/load/loading.py", "layouts/coco/sources.py"])
def test_a_file_of_the_package_that_is_no_set(name):
    with pytest.raises(DataError, match="is not a loading script"):
        find_script(str(PACKAGE / name)).builder_class()
    assert not find_script(str(PACKAGE / name)).is_bundled
