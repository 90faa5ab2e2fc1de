"""Scripts that import modules under the names that they had in version 0.1.0 work as before, with a warning."""

import importlib

import pytest

from dataset_scripts import load_dataset
from dataset_scripts.core.load.sources import sources_of

SCRIPT = """
from dataset_scripts.core.layout import LayoutBuilder
from dataset_scripts.image_folder.image_folder import ImageFolder


class Mine(ImageFolder):
    DATA_DIR = "photos"

assert issubclass(Mine, LayoutBuilder)
"""


@pytest.mark.parametrize(
    "old, new",
    [
        ("dataset_scripts.coco.coco", "dataset_scripts.layouts.coco.coco"),
        ("dataset_scripts.voc.annotation", "dataset_scripts.layouts.voc.annotation"),
        ("dataset_scripts.core.published", "dataset_scripts.core.builders.published"),
        ("dataset_scripts.core.images", "dataset_scripts.core.image.columns"),
    ],
)
def test_an_old_name_is_the_same_module(old, new):
    with pytest.warns(FutureWarning, match=f"{old} is now {new}"):
        module = importlib.import_module(old)
    assert module is importlib.import_module(new) and module.__name__ == module.__spec__.name == new


def test_a_script_of_before_loads(tmp_path, save_image):
    save_image(tmp_path / "mine/photos/cat/1.png")
    script = tmp_path / "mine/mine.py"
    script.write_text(SCRIPT)
    assert load_dataset(str(script), split="train", trust_script=True).features["label"].names == ["cat"]
    names = {path.name for path in sources_of(script)}
    assert {"mine.py", "image_folder.py", "layout.py", "listing.py"} <= names  # its cache depends on what it imports


def test_what_never_was_is_missing():
    for name in ("dataset_scripts.core.nothing", "dataset_scripts.nothing"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)
