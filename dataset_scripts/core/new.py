"""Writes a first script for data on disk, for the user to edit."""

import keyword
import re
from pathlib import Path

from dataset_scripts.core.card.write import new_card
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.files.replace import new_folder, scratch, write_file
from dataset_scripts.core.files.system import relative_path
from dataset_scripts.core.load.detect import detect
from dataset_scripts.core.load.loading import load_dataset
from dataset_scripts.core.load.script import bundled_names

SCRIPT = '''\
"""{title}: say in a sentence what the images show and where they come from."""

from {module} import {base}


class {name}({base}):
    DATA_DIR = {data!r}  # relative to this file
    # Override index() to change splits, names and columns, and read() to change how a row is read.
'''
TEST = '''\
"""{title} is what it was when this test was written: change the numbers when you change the data."""

from pathlib import Path

import pytest

from dataset_scripts import load_dataset

ROWS = {rows!r}
COLUMNS = {columns!r}


@pytest.fixture(scope="module")
def sets():
    return load_dataset(str(Path(__file__).parent))


def test_splits_and_columns(sets):
    assert {{split: len(rows) for split, rows in sets.items()}} == ROWS
    assert all(list(rows.features) == COLUMNS for rows in sets.values())


def test_rows_are_tensors(sets):
    for rows in sets.values():
        for index in (0, len(rows) - 1):
            image = rows[index]["image"]
            assert image.ndim == 3 and image.min() >= 0 and image.max() <= 1
'''


def new_script(folder: Path, data: Path) -> Path:
    """Looks at data and writes a script, a card and a test that read it.

    Args:
        folder: the folder of the script, which gives it its name.
        data: the folder, archive or file of images.

    Returns:
        The script.

    Raises:
        DataError: the folder exists or cannot be written, its name is not a Python name or is taken, or no layout fits the data.
    """
    name = folder.name
    if not name.isidentifier() or keyword.iskeyword(name) or name in bundled_names():
        raise DataError(
            f"{name!r} cannot name a script: use letters, digits and _, and not a name that comes with the package"
        )
    _refuse(folder)
    if not data.exists():
        raise DataError(f"there is no {data}")
    files = Files.of(data)
    layout = detect(files)
    if layout is None:
        raise DataError(f"{data} fits no layout of this package; `dataset-scripts list` shows them")
    sets = load_dataset(layout.name, data_dir=str(data), transform=None)
    features = next(iter(sets.values())).features
    relative = relative_path(data.resolve(), folder.resolve()) or str(data.resolve())
    values = {
        "title": re.sub(r"_+", " ", name).strip().capitalize(),
        "name": "".join(part.capitalize() for part in name.split("_")) or "NewSet",
        "module": layout.module_name(),
        "base": layout.builder_class().__name__,
        "data": relative,
    }
    rows = {split: len(part) for split, part in sets.items()}
    script, test = SCRIPT.format(**values), TEST.format(**values, rows=rows, columns=list(features))
    with new_folder(folder, lambda: _refuse(folder)) as made:
        with scratch(made / name) as draft:  # the card is that of a script of this name, which has none yet
            write_file(draft / f"{name}.py", SCRIPT.format(**values | {"data": str(data.resolve())}))
            card = new_card(str(draft / f"{name}.py"))
        for file, text in ((f"{name}.py", script), ("README.md", card), (f"test_{name}.py", test)):
            write_file(made / file, text)
    return folder / f"{name}.py"


def _refuse(folder: Path) -> None:
    if folder.exists():
        raise DataError(f"{folder} exists already: remove it, or choose another name")
