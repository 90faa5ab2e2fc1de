"""YAML from strangers: read in time and memory that its length limits, or refused in one line."""

from collections.abc import Callable
from typing import Any

import yaml

from dataset_scripts.core.errors import DataError, reading, reason

LARGEST = 2_000_000  # characters; the parser takes some seconds for a hundred thousand
DEPTH = 100  # levels of mappings and lists
FACTOR = 10  # times its length that a text may reach when its aliases are written out
DIGITS = 100  # characters of a number; the time that Python takes to read one grows with their square
KEY_DIGITS = 20  # characters of a number that is a key; longer ones can be chosen to share one hash
KINDS = {f"tag:yaml.org,2002:{kind}": kind for kind in "null bool int float str seq map timestamp merge".split()}


class LineError(DataError):
    """What is wrong on a line of a text file.

    Attributes:
        line: its number, from 1.
        problem: what is wrong, and what to do.
    """

    def __init__(self, where: object, line: int, problem: str):
        super().__init__(f"{where}, line {line}: {problem}")
        self.line, self.problem = line, problem


def load_yaml(text: str, where: object, line: int = 1) -> Any:
    """The value of a YAML text: texts, numbers, booleans, dates and None, in lists, and in dicts with keys of such types.

    Args:
        text: one document of at most `LARGEST` characters.
        where: the file, for messages.
        line: the number of the text's first line in the file.

    Raises:
        LineError: a DataError that names file and line. It is raised for text that is not YAML, tags other than `KINDS`,
            keys that are lists or mappings, more than `DEPTH` levels, numbers of more than `DIGITS` characters, and
            aliases that refer to themselves or expand the text more than `FACTOR` times.
    """
    return _parsed(text, where, line, _Loader.get_single_data)


def compose_yaml(text: str, where: object, line: int = 1) -> yaml.Node | None:
    """The nodes of a YAML text, which know their lines; None for an empty text.

    Args, Raises: as for `load_yaml`.
    """
    return _parsed(text, where, line, _Loader.get_single_node)


def _parsed(text: str, where: object, line: int, parse: Callable[["_Loader"], Any]) -> Any:
    if len(text) > LARGEST:
        raise LineError(where, line, f"the YAML has {len(text):,} characters, more than {LARGEST:,}: shorten it")
    try:
        with reading(where):
            return _parse(text, parse)
    except DataError as error:
        cause = error.__cause__
        if isinstance(cause, yaml.reader.ReaderError):
            number = text.count("\n", 0, cause.position)
            problem = f"the character {chr(cause.character)!r} is not allowed in YAML: remove it"
        elif isinstance(cause, yaml.MarkedYAMLError) and (mark := cause.problem_mark or cause.context_mark):
            number, problem = mark.line, cause.problem or cause.context or str(cause)
        else:
            raise
        raise LineError(where, line + number, problem) from cause


def _parse(text: str, parse: Callable[["_Loader"], Any]) -> Any:
    loader = _Loader(text)
    try:
        return parse(loader)
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Measures every node as soon as it is composed, before anything is made of it."""

    def __init__(self, text: str):
        super().__init__(text)
        self.limit = FACTOR * (len(text) + 10)
        self.depth = 0
        self.measured: dict[yaml.Node, tuple[int, int]] = {}  # characters with aliases written out, and levels

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        mark = self.peek_event().start_mark
        self.depth += 1
        self._check(self.depth <= DEPTH, f"it is nested more than {DEPTH} levels deep", mark)
        node = super().compose_node(parent, index)
        assert node is not None  # the event that was peeked at begins one
        self.depth -= 1
        if node not in self.measured:
            is_whole = isinstance(node, yaml.ScalarNode) or node.end_mark is not None
            self._check(is_whole, "an alias refers to a value that contains it: write it out", mark)
            self.measured[node] = self._measure(node)
        size, levels = self.measured[node]
        self._check(size <= self.limit, f"its aliases expand it more than {FACTOR} times: write them out", mark)
        self._check(self.depth + levels <= DEPTH, f"it is nested more than {DEPTH} levels deep", mark)
        return node

    def _measure(self, node: yaml.Node) -> tuple[int, int]:
        if node.tag == "tag:yaml.org,2002:value":  # a lone =, which PyYAML can name but not read
            node.tag = "tag:yaml.org,2002:str"
        kind = KINDS.get(node.tag)
        self._check(kind is not None, f"the tag {node.tag[:100]} is not read here: leave it out", node.start_mark)
        if isinstance(node, yaml.ScalarNode):
            is_short = kind not in ("int", "float") or len(node.value) <= DIGITS
            self._check(is_short, f"a number has more than {DIGITS} characters: put it in quotes", node.start_mark)
            return 1 + len(node.value), 0
        inner = node.value
        if isinstance(node, yaml.MappingNode):
            self._check_keys([key for key, _ in node.value])
            inner = [part for pair in node.value for part in pair]
        sizes = [self.measured[part] for part in inner]
        return 1 + sum(size for size, _ in sizes), 1 + max((levels for _, levels in sizes), default=0)

    def _check_keys(self, keys: list[yaml.Node]) -> None:
        merges = 0
        for key in keys:
            self._check(isinstance(key, yaml.ScalarNode), "a key is a list or a mapping: write a text", key.start_mark)
            is_short = KINDS[key.tag] not in ("int", "float") or len(key.value) <= KEY_DIGITS
            self._check(is_short, f"a key has more than {KEY_DIGITS} digits: put it in quotes", key.start_mark)
            merges += KINDS[key.tag] == "merge"
            self._check(merges < 2, "there are two << in one mapping: join them as a list", key.start_mark)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except ValueError as error:  # such as a date that does not exist
            self._check(False, reason(error), node.start_mark)
        except (AttributeError, IndexError, KeyError):  # a tag claims a type that the text does not have
            self._check(False, f"{node.value[:40]!r} is not of type {KINDS[node.tag]}", node.start_mark)

    def _check(self, holds: bool, problem: str, mark: yaml.Mark) -> None:
        if not holds:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
