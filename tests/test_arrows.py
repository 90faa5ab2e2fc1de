"""Imports run one way: a package imports only those below it, and no script is imported by name."""

import ast

import pytest

# From the ground up. A package imports packages listed before it, and its own files.
FLOORS = {
    "dataset_scripts/core": [
        "errors",
        "files",
        "formats",
        "image",
        "builders",
        "load",
        "card",
        "look",
        "publish",
        "new",
        "commands",
        "cli",
    ],
    "recipes/core": [
        "errors",
        "foreign",
        "options",
        "help",
        "config",
        "ranks",
        "data",
        "models",
        "run",
        "tasks",
        "fidelity",
        "commands",
    ],
}


def imported(path):
    """The modules that a file imports, as `from a.b import c` -> a.b.c, also inside of functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("house", FLOORS)
def test_rooms_import_what_is_below_them(root, house):
    floors, top = FLOORS[house], house.replace("/", ".") + "."
    rooms = {path.stem for path in (root / house).iterdir() if path.name not in ("__init__.py", "__pycache__")}
    assert rooms == set(floors)
    upward = []
    for path in (root / house).rglob("*.py"):
        room = path.relative_to(root / house).parts[0].removesuffix(".py")
        for name in imported(path):
            other = name.removeprefix(top).split(".")[0] if name.startswith(top) else room
            if room != "__init__" and other != room and floors.index(other) > floors.index(room):
                upward.append(f"{path.relative_to(root)} imports {name}")
    assert not upward


def test_core_imports_no_script_and_scripts_import_core_and_layouts(root):
    package = root / "dataset_scripts"
    for path in (package / "core").rglob("*.py"):
        inner = {name.split(".")[1] for name in imported(path) if name.startswith("dataset_scripts.")}
        assert inner <= {"core", "__version__"}, path
    for path in [*package.glob("*/*.py"), *package.glob("layouts/*/*.py")]:
        if not path.is_relative_to(package / "core"):
            places = {tuple(name.split(".")[1:3]) for name in imported(path) if name.startswith("dataset_scripts.")}
            sets = {place[0] for place in places} - {"core", "layouts", path.parent.name}
            assert not sets or path.parent.parent == package, path  # a named set may build on another one
            forbidden = {"load", "look", "card", "publish", "new", "commands", "cli"}
            assert not [place for place in places if place[0] == "core" and place[1] in forbidden], path


def test_the_package_knows_nothing_of_the_recipes(root):
    for path in (root / "dataset_scripts").rglob("*.py"):
        assert not [name for name in imported(path) if name.split(".")[0] == "recipes"], path
