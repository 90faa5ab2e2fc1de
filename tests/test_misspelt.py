"""Misspelt names are reported at once, in one line, with a suggestion."""

import re

import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.cli import main


@pytest.mark.parametrize(
    "path", ["./photoss", "../nowhere/photos", "~/no/such/photos", "/no/such/photos", "data/of/photos"]
)
def test_paths_are_not_looked_for_on_the_hub(path, tmp_path, save_image, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "photos/a.png")
    with pytest.raises(
        DataError,
        match=f"^there is no file or folder {re.escape(path)}" + (r": photos\?$" if path == "./photoss" else "$"),
    ):
        load_dataset(path)


def test_splits(tmp_path, save_image, capsys):
    save_image(tmp_path / "photos/a.png")
    with pytest.raises(DataError, match=r"photos: Unknown split \"test\". Should be one of \['train'\]"):
        load_dataset(str(tmp_path / "photos"), split="test")
    assert main(["export", str(tmp_path / "photos"), str(tmp_path / "out"), "--split", "test"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()[-1:]) == 1


def test_the_command_says_what_a_script_raised(tmp_path, capsys):
    (tmp_path / "own.py").write_text(
        "import datasets\n\n\nclass Own(datasets.GeneratorBasedBuilder):\n"
        "    def _info(self):\n        return datasets.DatasetInfo(features=datasets.Features(n=datasets.Value('int64')))\n\n"
        "    def _split_generators(self, _):\n        return [datasets.SplitGenerator('train', {})]\n\n"
        "    def _generate_examples(self):\n        yield 0, {'n': 1 // 0}\n"
    )
    assert main(["export", str(tmp_path / "own.py"), str(tmp_path / "out")]) == 2
    assert "ZeroDivisionError: integer division or modulo by zero" in capsys.readouterr().err


def test_a_folder_is_checked_by_its_card(tmp_path, capsys):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n\n# Photos\n\nOf cats.\n")
    assert main(["check", str(tmp_path)]) in (0, 1)
    assert "Errno" not in capsys.readouterr().err
