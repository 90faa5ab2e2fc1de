"""Writes options.md beside this file, the table of all options of the recipes: `python docs/options.py`."""

from pathlib import Path

from recipes.core.config.commands import Evaluate, Export, Predict, Push, Sample
from recipes.core.config.scenes import Detect, Segment
from recipes.core.config.tasks import Generate, Train
from recipes.core.help import as_written, groups

RECIPES = {
    "train.py": Train,
    "detect.py": Detect,
    "segment.py": Segment,
    "generate.py": Generate,
    "generate.py sample": Sample,
    "evaluate.py": Evaluate,
    "predict.py": Predict,
    "export.py": Export,
    "push.py": Push,
}


def text() -> str:
    parts = [
        "# Options of the recipes\n\nGive options as `key=value` on the command line, or in a yaml file. `recipes/fidelity.py` has "
        "those of\ntorch-fidelity: `python recipes/fidelity.py --help`. This page is written by `python docs/options.py`.\n"
    ]
    for recipe, schema in RECIPES.items():
        parts.append(f"\n## {recipe}\n")
        for heading, options in groups(schema()):
            parts.append(f"\n**{heading}**\n" if heading else "")
            parts.append("\n| option | default | meaning | values |\n|---|---|---|---|\n")
            for name, rule, value in options:
                cells = (f"`{name}`", f"`{as_written(value)}`", rule.meaning, str(rule))
                parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("options.md").write_text(text(), encoding="utf-8")
