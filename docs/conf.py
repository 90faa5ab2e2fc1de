"""The documentation site, built from the pages as they stand in the repository: `make docs`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

project = "dataset_scripts"
author = "the dataset_scripts authors"
root_doc = "docs/index"
include_patterns = [
    "docs/*.rst",
    "docs/*.md",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "dataset_scripts/**/README.md",
]
exclude_patterns = ["dataset_scripts/core/**"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
default_role = "code"  # docstrings write `names` as Markdown does

myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "dataset_scripts"
