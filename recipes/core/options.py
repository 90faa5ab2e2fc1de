"""Options as fields of dataclasses: a command-line value is converted to the type of its field.

    @dataclass(frozen=True)
    class Optim:
        lr: float = opt(2e-3, "the learning rate at its highest", above=0)

    Optim from the words ["lr=1e-3"], from a yaml file with the line `lr: 1e-3`, or from both.

Text stays as it was written: `0123`, `no`, `1:30` and `a #1` mean nothing else, on the command line or in a file.
"""

import dataclasses
import difflib
import math
import os
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dataset_scripts import DataError
from dataset_scripts.core.formats.safe_yaml import LineError, compose_yaml
from recipes.core.errors import UserError
from recipes.core.foreign import read_text

MISSING = "???"  # of an option that the user has to give
WORD = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*=", re.IGNORECASE)
FLAG = re.compile(r"--(?P<key>[a-z_][\w-]*(\.[a-z_][\w-]*)*)(=(?P<value>.*))?", re.IGNORECASE | re.DOTALL)
BOOLS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
NULL = "tag:yaml.org,2002:null"
LARGE = 2**63  # larger than any whole number of an option


@dataclasses.dataclass(frozen=True)
class Rule:
    """The values that a field takes, and its meaning.

    Attributes:
        meaning: in a few words, for `--help` and messages.
        low, high: the least and the greatest number.
        above, below: numbers that it must be greater or less than.
        choices: the allowed words.
        is_path: a path on this machine; `~` stands for the user's folder.
        group: the heading in `--help`, of an option that does not belong to a group of options.
    """

    meaning: str = ""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    is_path: bool = False
    group: str = ""

    def __str__(self) -> str:
        """The values, in words; "" for any."""
        words = [f"one of {', '.join(self.choices)}"] if self.choices else []
        if self.low is not None and self.high is not None:
            words.append(f"from {self.low} to {self.high}")
        else:
            words += [f"at least {self.low}"] if self.low is not None else []
            words += [f"above {self.above}"] if self.above is not None else []
            words += [f"at most {self.high}"] if self.high is not None else []
        words += [f"below {self.below}"] if self.below is not None else []
        return " and ".join(words)

    def holds(self, value: Any) -> bool:
        """Whether the field takes a value, or each value of a list."""
        if isinstance(value, list):
            return all(map(self.holds, value))
        if isinstance(value, str):
            return not self.choices or value in self.choices
        return isinstance(value, bool) or (
            math.isfinite(value)
            and (isinstance(value, float) or -LARGE < value < LARGE)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


def opt(default: Any, meaning: str, **rule: Any) -> Any:
    """A field of a dataclass with its default, its meaning and its range; see `Rule`."""
    metadata = {"rule": Rule(meaning, **rule)}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def option_of(schema: type, name: str) -> Any:
    """The same field as in another dataclass."""
    found = next(item for item in dataclasses.fields(schema) if item.name == name)
    return dataclasses.field(default=found.default, metadata=found.metadata)


def split_words(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The plain words of a command line, and its `key=value` options.

    A word with `=` is plain if a file of that name exists, if there is no key before the `=`, or if it comes after `--`.
    `--key value` and `--key=value` mean the same as `key=value`; `--key` before another option or at the end means
    `key=true`. Dashes in a key stand for `_`.
    """
    argv = list(argv)
    end = argv.index("--") if "--" in argv else len(argv)
    words, options = [], []
    rest = iter(range(end))
    for place in rest:
        word = argv[place]
        if flag := FLAG.fullmatch(word):
            following = argv[place + 1] if place + 1 < end else "--"
            value = flag["value"]
            if value is None and not (FLAG.fullmatch(following) or WORD.match(following) or following == "--"):
                value = argv[next(rest)]
            options.append(f"{flag['key'].replace('-', '_')}={'true' if value is None else value}")
        elif WORD.match(word) and not os.path.lexists(word):
            options.append(word)
        else:
            words.append(word)
    return words + argv[end + 1 :], options


def merge(schema: type, base: Path | Mapping[str, Any], words: Sequence[str]) -> Any:
    """An instance of `schema`: its defaults, under a yaml file or a dict, under `key=value` words.

    Raises:
        UserError: unknown keys, values that their fields do not take, or required ones that are missing; in one line
            that names all of these fields, their ranges and meanings.
    """
    values = read_options(base) if isinstance(base, Path) else _copied(base)
    if isinstance(base, Path):
        check(schema, values, base)
    for word in words:
        key, _, text = word.partition("=")
        place = values
        *above, last = key.split(".")
        for part in above:
            inner = place.get(part)
            place[part] = place = inner if isinstance(inner, dict) else {}
        place[last] = text
    config = build(schema, values)
    if lacking := [
        f"{name}=… has to be given ({rule.meaning})" for name, rule, value in fields_of(config) if value == MISSING
    ]:
        raise UserError("; ".join(lacking))
    return config


def check(schema: type, values: Mapping[str, Any], path: Path) -> None:
    """Raises a UserError that names the file if the values in it are not those of a schema."""
    try:
        build(schema, values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_options(path: Path) -> dict[str, Any]:
    """The keys of a yaml file; values are text as written, None, and lists and dicts of these.

    Raises:
        UserError: the file cannot be read, or holds no keys.
    """
    try:
        root = compose_yaml(read_text(path), path)
        values = {} if root is None else _plain(root, path)
    except DataError as error:
        raise UserError(error) from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no keys: write such as 'batch: 64', one a line")
    return values


def _plain(node: yaml.Node, path: Path) -> Any:
    if isinstance(node, yaml.MappingNode):
        values = {}
        for key, value in node.value:
            if key.value in values:
                raise LineError(path, key.start_mark.line + 1, f"{key.value[:100]} stands there twice: leave one")
            values[key.value] = _plain(value, path)
        return values
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, path) for item in node.value]
    return None if node.tag == NULL and node.style is None else node.value


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def build(schema: type, values: Mapping[str, Any]) -> Any:
    """An instance of a dataclass from a tree of values.

    Raises:
        UserError: as for `merge`.
    """
    faults: list[str] = []
    config = _build(schema, values, "", faults)
    if faults:
        raise UserError("; ".join(faults))
    return config


def _build(schema: type, values: Mapping[str, Any], above: str, faults: list[str]) -> Any:
    """Like `build`, of a group of options; values that a field does not take are left out and added to `faults`."""
    kinds, known = typing.get_type_hints(schema), {field.name: field for field in dataclasses.fields(schema)}
    made = {}
    for key, value in values.items():
        name = f"{above}{key}"
        try:
            if key not in known:
                raise UserError(f"there is no option {name}{_near(name, above, known)}")
            if dataclasses.is_dataclass(kinds[key]):
                if not isinstance(value, Mapping):
                    inner = ", ".join(f"{name}.{field.name}" for field in dataclasses.fields(kinds[key]))
                    raise UserError(f"{name} is a group of options: {inner}")
                made[key] = _build(kinds[key], value, f"{name}.", faults)
            elif isinstance(value, Mapping):
                raise UserError(f"{name} is one value, not a group with {', '.join(map(str, value))[:100]}")
            else:
                made[key] = _value(value, kinds[key], known[key].metadata.get("rule", Rule()), name)
        except UserError as error:
            faults.append(str(error))
    return schema(**made)


def _near(name: str, above: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name.removeprefix(above), known, 1)
    return f": {above}{close[0]}=…?" if close else f" (there are {', '.join(above + key for key in known)})"


def _value(value: Any, kind: Any, rule: Rule, name: str) -> Any:
    """The value of a field, from text or from a value that already has the type."""
    kinds = [part for part in typing.get_args(kind) if part is not type(None)] if _is_union(kind) else [kind]
    if value is None or (value == "null" and len(kinds) < len(typing.get_args(kind))):
        if _is_union(kind) and type(None) in typing.get_args(kind):
            return None
    elif value == MISSING:
        return MISSING
    else:
        try:
            made = _converted(value, kinds[0])
        except (ValueError, TypeError, KeyError, OverflowError):
            made = None
        if made is not None and rule.holds(made):
            return os.path.expanduser(made) if rule.is_path and isinstance(made, str) else made
    expected = ", ".join(filter(None, [_said(kinds[0]), str(rule)]))
    meaning = f" ({rule.meaning})" if rule.meaning else ""
    raise UserError(f"{name}={str(value)[:100]} should be {expected}{meaning}")


def _is_union(kind: Any) -> bool:
    return isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union


def _converted(value: Any, kind: Any) -> Any:
    if typing.get_origin(kind) is list:
        items = value
        if isinstance(value, str):
            inside = value.strip().removeprefix("[").removesuffix("]")
            items = [item.strip().strip("'\"") for item in inside.split(",")] if inside.strip() else []
        return [_converted(item, typing.get_args(kind)[0]) for item in items]
    if kind is bool:
        return value if isinstance(value, bool) else BOOLS[value.strip().lower()]
    if kind is int:
        number = float(value) if isinstance(value, str) and re.search("[.e]", value, re.IGNORECASE) else value
        if isinstance(number, bool) or (isinstance(number, float) and not number.is_integer()):
            raise ValueError
        return int(number)
    if kind is float:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    if kind is str:
        if not isinstance(value, str) or "${" in value:  # other programs look such up in the environment
            raise ValueError
        return value
    return value


def _said(kind: Any) -> str:
    if typing.get_origin(kind) is list:
        return f"a list of {_said(typing.get_args(kind)[0]).removeprefix('a ')}s, such as [a,b]"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}.get(kind, "a value")


def fields_of(config: Any, above: str = "") -> Iterator[tuple[str, Rule, Any]]:
    """The name, the rule and the value of every option, those of groups with dots."""
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{above}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from fields_of(value, f"{name}.")
        else:
            yield name, field.metadata.get("rule", Rule()), value


def flat(config: Any) -> dict[str, Any]:
    """Options by their names, those of groups with dots."""
    return {name: value for name, _, value in fields_of(config)}


def to_yaml(config: Any) -> str:
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True, width=120)
