"""A cached dataset is never returned for other data."""

import importlib
import inspect
import os
import shutil
import sys
from pathlib import Path

import PIL.Image
import pytest

from dataset_scripts import load_dataset
from dataset_scripts.core.load import sources
from dataset_scripts.core.load.script import bundled_names, find_script


@pytest.mark.parametrize("way", ["data_dir", "data_files"])
def test_a_file_of_the_same_size_and_time_is_read_anew(way, tmp_path):
    """`cp --preserve` and archives set the modification time; only the change time of the inode differs."""
    options = {"data_dir": str(tmp_path)} if way == "data_dir" else {"data_files": {"train": str(tmp_path / "*.bmp")}}
    for value in (3, 5):
        PIL.Image.new("L", (4, 4), value).save(tmp_path / "a.bmp")
        os.utime(tmp_path / "a.bmp", (1e9, 1e9))
        assert (
            load_dataset("image_folder", split="train", transform=None, **options)[0]["image"].getpixel((0, 0)) == value
        )


def files_of(module, package):
    """The files of the package whose names a module holds, and so on: what Python's own import has bound."""
    found, todo = {}, [module]
    while todo:
        module = todo.pop()
        path = Path(module.__file__)
        if path in found or not path.is_relative_to(package) or path.name == "__init__.py":
            continue
        found[path] = module
        for value in vars(module).values():
            owner = value if inspect.ismodule(value) else sys.modules.get(getattr(value, "__module__", None) or "")
            if getattr(owner, "__file__", None):
                todo.append(owner)
    return set(found)


@pytest.mark.parametrize("name", bundled_names())
def test_a_cache_depends_on_all_that_a_script_imports(name):
    script = find_script(name)
    bound = files_of(importlib.import_module(script.module_name()), sources.PACKAGE)
    assert bound <= set(script.sources)
    shown = {path.stem for path in script.sources} & {
        "preview",
        "page",
        "sheet",
        "census",
        "card",
        "export",
        "push",
        "cli",
        "loading",
    }
    assert not shown


def test_an_edit_counts_for_what_imports_it(tmp_path, monkeypatch):
    package = tmp_path / "dataset_scripts"
    shutil.copytree(sources.PACKAGE, package, ignore=shutil.ignore_patterns("*.gz", "*.png", "__pycache__"))
    monkeypatch.setattr(sources, "PACKAGE", package)
    for name, code in {
        "corel5k": "WORDS = 1\n",
        "mine": "from dataset_scripts.corel5k.corel5k import WORDS\n",
        "public": "from dataset_scripts import ToTensor as T\n",
        "lazy": "def f():\n    import dataset_scripts.core.look.page\n",
        "all": "import dataset_scripts\n",
    }.items():
        (package / name).mkdir()
        (package / name / f"{name}.py").write_text(code)
    names = ("layouts/coco", "digits", "mine", "public", "lazy", "all")

    def changed_by(*edited):
        before = {name: sources.sources_of(package / name / f"{Path(name).name}.py") for name in names}
        for place in edited:
            (package / place).write_text((package / place).read_text() + "\nEDITED = True\n")
        return {name for name in names if sources.sources_of(package / name / f"{Path(name).name}.py") != before[name]}

    assert changed_by("core/look/page.py") == {"lazy"}
    assert changed_by("corel5k/corel5k.py") == {"mine"}
    assert changed_by("core/image/transforms.py") == {"public", "all"}
    assert changed_by("core/builders/layout.py") == {"layouts/coco", "all"}
    assert changed_by("digits/digits.py") == {"digits"}
    assert changed_by("__init__.py") == {"all"}
