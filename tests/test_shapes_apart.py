"""The layouts with one file of annotations for many images claim their own files, and those of no other layout."""

import importlib
import sys

import pytest

from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.load.detect import detect
from dataset_scripts.core.load.script import bundled_layouts, find_script

OURS = ("bdd", "createml", "csv_boxes", "mot", "openimages", "via")


@pytest.fixture(scope="module")
def examples(root):
    """The examples of fuzzing: target -> Example."""
    sys.path.insert(0, str(root / "tests/fuzz"))
    names = [f"examples{kind}" for kind in ("", "_binary", "_drawn", "_records", "_sets", "_shapes", "_tables")]
    modules = [importlib.import_module(name) for name in names]
    yield modules[0].EXAMPLES
    sys.path.remove(str(root / "tests/fuzz"))


def test_claims(examples, tmp_path):
    layouts = {name: importlib.import_module(find_script(name).module_name()) for name in bundled_layouts()}
    seen = set()
    for target, each in examples.items():
        if each.reader not in layouts:
            continue
        for path, content in each.make().items():
            (tmp_path / target / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / target / path).write_bytes(content)
        files = Files.of(tmp_path / target)
        claims = [name for name in OURS if layouts[name].matches(files)]
        assert claims == [each.reader] * (each.reader in OURS), target
        if each.reader in OURS:
            assert detect(files).name == each.reader
            seen.add(each.reader)
    assert seen == set(OURS)
