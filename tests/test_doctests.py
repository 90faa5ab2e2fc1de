"""The examples in docstrings of the package run, and give what they show."""

import doctest
import importlib

import pytest

import dataset_scripts

PUBLIC = ("load_dataset", "ToTensor", "enable", "pad_collate", "detection_collate")


def modules_with_examples(root):
    for half in ("dataset_scripts", "recipes"):
        for path in sorted((root / half).rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                yield ".".join(path.relative_to(root).with_suffix("").parts)


def test_examples(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = list(modules_with_examples(root))
    assert len(names) > 3
    for name in names:
        failed, tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
        assert tried and not failed, name


@pytest.mark.parametrize("name", PUBLIC)
def test_what_the_readme_shows_has_an_example(name):
    assert ">>> " in getattr(dataset_scripts, name).__doc__
