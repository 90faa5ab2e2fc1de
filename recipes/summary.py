"""The mean and the standard deviation of the numbers of several runs, such as those of one recipe with different seeds.

    for seed in 0 1 2; do accelerate launch recipes/train.py digits seed=$seed; done
    python recipes/summary.py runs/digits-*

Reads metrics.json of each run, which has finished. Options in which the runs differ, other than the seed and the folder, are listed.
"""

import statistics
import sys
from pathlib import Path
from typing import Any

from dataset_scripts.core.errors import printable
from recipes.core.errors import UserError
from recipes.core.foreign import read_json
from recipes.core.options import read_options, split_words
from recipes.core.ranks.runtime import one_line_errors

OWN = ("seed", "out")  # options that every run has for itself


def plain(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    """The values of nested dicts, by names with dots."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= plain(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return found


def summarize(folders: list[Path]) -> tuple[dict[str, tuple[float, float]], dict[str, list[Any]]]:
    """Mean and standard deviation (of a sample; 0 for one run) of the numbers that all runs have, and options that differ.

    Raises:
        UserError: a folder holds no finished run.
    """
    metrics, options = [], []
    for folder in folders:
        if not (folder / "metrics.json").is_file():
            raise UserError(f"{folder} is not a finished run: it has no metrics.json")
        metrics.append(plain(read_json(folder / "metrics.json")))
        stored = folder / "config.yaml"
        options.append(plain(read_options(stored)) if stored.is_file() else {})
    numbers = {}
    for name in metrics[0]:
        values = [run.get(name) for run in metrics]
        if all(type(value) in (int, float) for value in values):
            numbers[name] = (statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
    names = sorted({name for one in options for name in one} - set(OWN))
    listed = {name: [one.get(name) for one in options] for name in names}
    return numbers, {name: values for name, values in listed.items() if any(value != values[0] for value in values)}


def main() -> None:
    with one_line_errors("summary.py"):
        words, given = split_words(sys.argv[1:])
        if not words or given:
            raise UserError("summary.py takes run folders")
        numbers, differing = summarize([Path(word) for word in words])
        print(f"| number | mean | standard deviation |\n|---|---:|---:|\n| runs | {len(words)} | |")
        for name, (mean, deviation) in numbers.items():
            print(f"| {printable(name)} | {mean:.6g} | {deviation:.2g} |")
        for name, values in differing.items():
            print(printable(f"{name} differs: {', '.join(map(str, values))}"))


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        sys.exit()
    main()
