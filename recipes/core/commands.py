"""The commands that the recipes add to `dataset-scripts` through entry points in setup.cfg.

Each takes the arguments after its name and returns the exit status; the first line of its docstring is its help.
"""

import argparse
import runpy
import sys
from pathlib import Path

from dataset_scripts.core.errors import DataError
from recipes.core.ranks import signals


def train(words: list[str]) -> int:
    """trains an image classifier"""
    return _launch("train", words)


def detect(words: list[str]) -> int:
    """trains an object detector"""
    return _launch("detect", words)


def segment(words: list[str]) -> int:
    """trains a network that classifies every pixel"""
    return _launch("segment", words)


def generate(words: list[str]) -> int:
    """trains an image generator, and draws samples"""
    return _launch("generate", words)


def evaluate(words: list[str]) -> int:
    """evaluates a run of `train`, `detect` or `segment`"""
    return _launch("evaluate", words)


def predict(words: list[str]) -> int:
    """says what a trained network sees in images"""
    return _launch("predict", words)


def fidelity(words: list[str]) -> int:
    """measures generated images against real ones: FID, KID, …"""
    return _launch("fidelity", words)


def _launch(recipe: str, words: list[str]) -> int:
    signals.listen()  # before the import below, which takes seconds
    from recipes.core.ranks.launch import launch

    return launch(recipe, words)


def export_model(words: list[str]) -> int:
    """writes a trained network as ONNX"""
    sys.argv = ["export.py", *words]
    runpy.run_module("recipes.export", run_name="__main__", alter_sys=True)
    return 0


def summary(words: list[str]) -> int:
    """prints means and deviations over several runs"""
    sys.argv = ["summary.py", *words]
    runpy.run_module("recipes.summary", run_name="__main__", alter_sys=True)
    return 0


def push_model(words: list[str]) -> int:
    """uploads a model that `train` or `generate` wrote to the Hub"""
    sys.argv = ["push.py", *words]
    runpy.run_module("recipes.push", run_name="__main__", alter_sys=True)
    return 0


def configs(words: list[str]) -> int:
    """writes the launch configs and the SLURM script into a folder"""
    from recipes.core.ranks.launch import CONFIGS

    parser = argparse.ArgumentParser(
        "dataset-scripts configs", description="Writes the launch configs and the SLURM script."
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(CONFIGS.name), help="default: %(default)s")
    folder = parser.parse_args(words).folder
    sources = sorted(path for path in CONFIGS.iterdir() if path.is_file())
    if existing := next((folder / path.name for path in sources if (folder / path.name).exists()), None):
        raise DataError(f"{existing} already exists: choose another folder, or delete it")
    folder.mkdir(parents=True, exist_ok=True)
    from dataset_scripts.core.files.replace import write_file

    for path in sources:
        write_file(folder / path.name, path.read_text(encoding="utf-8"))
        print(folder / path.name)
    return 0
