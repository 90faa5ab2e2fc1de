"""`--help` of the recipes: every option with its default, meaning and range, by group."""

import dataclasses
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from dataset_scripts.core.files.system import until_nobody_reads
from recipes.core.options import Rule, fields_of

WIDTH = 120  # columns
COLUMN = 34  # where the meanings begin


def print_help(docstring: str | None, schema: type, **others: type) -> None:
    """Prints the description and the options of a recipe and ends the process, if the command line asks for it.

    Args:
        others: the options of its subcommands, by name.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        parts = [docstring or "", "Options, with their defaults, meanings and ranges:\n\n" + describe(schema)]
        parts += [f"Options of {name}:\n\n{describe(other)}" for name, other in others.items()]
        with until_nobody_reads():
            print("\n".join(parts))
        sys.exit()


def describe(schema: type) -> str:
    """Every option of a schema, below the heading of its group."""
    lines = []
    for heading, options in groups(schema()):
        lines += [heading] if heading else []
        for name, rule, default in options:
            meaning = textwrap.wrap("; ".join(filter(None, [rule.meaning, str(rule)])), WIDTH - COLUMN)
            first, *more = [f"  {name}={as_written(default)}", *meaning]
            if len(first) < COLUMN and more:
                first += " " * (COLUMN - len(first)) + more.pop(0)
            lines += [first, *(" " * COLUMN + line for line in more)]
        lines.append("")
    return "\n".join(lines)


def groups(config: Any) -> Iterator[tuple[str, list[tuple[str, Rule, Any]]]]:
    """The headings of the groups, and of each option its name, rule and value; those outside of groups come last."""
    own: dict[str, list[tuple[str, Rule, Any]]] = {}
    for field in dataclasses.fields(config):
        value, rule = getattr(config, field.name), field.metadata.get("rule", Rule())
        if dataclasses.is_dataclass(value):
            about = (type(value).__doc__ or "").splitlines()[0].rstrip(".")
            yield f"{field.name}: {about[:1].lower()}{about[1:]}", list(fields_of(value, f"{field.name}."))
        else:
            own.setdefault(rule.group, []).append((field.name, rule, value))
    yield from own.items()


def as_written(value: Any) -> str:
    """A value as one writes it on the command line."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
