"""Writes options.md beside this file, the table of all options of the recipes: `python docs/options.py`."""

from pathlib import Path

from recipes.core.config import Generate, Train
from recipes.core.options import fields_of
from recipes.evaluate import Evaluate
from recipes.generate import Sample
from recipes.push import Push

RECIPES = {
    "train.py": Train,
    "generate.py": Generate,
    "generate.py sample": Sample,
    "evaluate.py": Evaluate,
    "push.py": Push,
}


def text() -> str:
    parts = [
        "# Options of the recipes\n\nGive options as `key=value` on the command line, or in a yaml file. `recipes/fidelity.py` has "
        "those of\ntorch-fidelity: `python recipes/fidelity.py --help`. This page is written by `python docs/options.py`.\n"
    ]
    for recipe, schema in RECIPES.items():
        parts.append(f"\n## {recipe}\n\n| option | default | meaning | values |\n|---|---|---|---|\n")
        for name, rule, value in fields_of(schema()):
            default = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
            cells = (f"`{name}`", f"`{default}`", rule.meaning, str(rule))
            parts.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("options.md").write_text(text(), encoding="utf-8")
