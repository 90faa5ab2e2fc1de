"""What a new user gets: the wheel, the launch configurations, and the commands of the README."""

import re
import subprocess
import sys
import zipfile

import pytest
from accelerate.commands.config.config_args import load_config_from_file


def test_the_wheel_works_elsewhere(root, tmp_path):
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", root, source], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, source],
        check=True,
        capture_output=True,
    )
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    kept = [
        path
        for folder in ("dataset_scripts", "recipes", "accelerate_configs")
        for path in (source / folder).rglob("*")
        if path.is_file()
    ]
    missing = {str(path.relative_to(source)) for path in kept} - packed
    assert not missing and "dataset_scripts/digits/digits.csv.gz" in packed
    assert not any(name.startswith(("tests", "benchmarks")) for name in packed)
    program = "import dataset_scripts as d; print(d.__file__); print(len(d.load_dataset('digits', split='test')))"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "HF_HOME": str(tmp_path / "home"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == [str(tmp_path / "site/dataset_scripts/__init__.py"), "359"]
    result = subprocess.run(
        [sys.executable, "-m", "dataset_scripts.core.cli", "configs"],  # a command that the recipes add
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "HF_HOME": str(tmp_path / "home"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / "accelerate_configs/slurm.sh").read_text() == (
        source / "accelerate_configs/slurm.sh"
    ).read_text()


def test_launch_configurations_are_known_to_accelerate(root):
    paths = sorted((root / "accelerate_configs").glob("*.yaml"))
    assert paths
    for path in paths:
        config = load_config_from_file(str(path))
        assert config.num_processes >= 1 and path.name in (root / "docs/training.md").read_text()


@pytest.mark.parametrize("target", ["train", "test", "lint"])
def test_ci_runs_the_commands_of_the_readme(root, target):
    assert f"make {target}\n" in (root / ".ci/run").read_text()
    assert re.search(rf"^make {target} +#", (root / "README.md").read_text(), re.MULTILINE)


def test_every_script_has_a_card(root):
    scripts = [path for path in (root / "dataset_scripts").rglob("*.py") if path.stem == path.parent.name]
    cards = {path.parent for path in (root / "dataset_scripts").rglob("README.md")}
    assert len(scripts) > 50 and cards == {path.parent for path in scripts}
