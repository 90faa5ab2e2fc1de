"""The documentation: generated pages are up to date, links lead somewhere, and the examples run."""

import ast
import re
import runpy
import subprocess
import sys

import pytest

from dataset_scripts.core.load.script import bundled_layouts, bundled_names

PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]


@pytest.mark.parametrize("name", ["catalogue", "options"])
def test_pages_that_are_made_are_up_to_date(root, name):
    page = runpy.run_path(str(root / f"docs/{name}.py"))["text"]()
    assert (root / f"docs/{name}.md").read_text(encoding="utf-8") == page, f"run python docs/{name}.py"


def test_every_page_is_reached_from_the_readme(root):
    readme = (root / "README.md").read_text(encoding="utf-8")
    for page in (root / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in readme, page.name


def test_the_readme_counts_what_there_is(root):
    readme = (root / "README.md").read_text(encoding="utf-8")
    layouts, sets = map(int, re.search(r"all (\d+) layouts and (\d+)\s+named sets", readme).groups())
    assert layouts == len(bundled_layouts()) and layouts + sets == len(bundled_names())


def test_links_lead_somewhere(root):
    pages = [*(root / name for name in PAGES), *(root / "docs").glob("*.md"), *(root / "dataset_scripts").rglob("*.md")]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([\w-]+))?\)", text):
            place = page.parent / target if target else page
            assert place.exists(), (page.name, target)
            if anchor:
                heads = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, (
                    page.name,
                    anchor,
                )


def test_the_files_that_pages_name_are_there(root):
    """Paths in the tour of the code, from `core/…` or from the packages of the half that a section is about."""
    names = set(re.findall(r"`((?:\w+/)+\w+\.py)`", (root / "docs/architecture.md").read_text(encoding="utf-8")))
    homes = [root, root / "dataset_scripts", root / "dataset_scripts/core", root / "recipes/core"]
    assert len(names) > 25
    assert not [name for name in names if not any((home / name).is_file() for home in homes)]


def test_a_layout_as_the_guide_says(root, tmp_path, save_image):
    """The example loads data, as a script and, in a copy of the package, as a layout that is detected."""
    code = re.search(r"```python\n(.*?)```", (root / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    assert ast.get_docstring(ast.parse(code))
    for number, word in enumerate(("cat", "dog", "cat")):
        save_image(tmp_path / f"data/{number}.png")
        (tmp_path / f"data/{number}.label").write_text(f"{word}\n")
    package = tmp_path / "copy/dataset_scripts"
    package.parent.mkdir()
    subprocess.run(["cp", "-r", root / "dataset_scripts", package], check=True)
    (package / "layouts/stamps").mkdir()
    (package / "layouts/stamps/stamps.py").write_text(code, encoding="utf-8")
    program = (
        "import sys; from dataset_scripts import load_dataset; rows = load_dataset(sys.argv[1], split='train');"
        "print([rows.features['label'].names[label] for label in rows['label']], rows[2]['image'].shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "data")], cwd=package.parent, capture_output=True, text=True
    )
    assert done.stdout == "['cat', 'dog', 'cat'] torch.Size([3, 7, 9])\n", done.stderr
    assert "read as stamps (3 of 3 images with a label file)" in done.stderr
