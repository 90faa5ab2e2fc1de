"""Dataset cards, checked offline as the Hub checks them online, and against their scripts."""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

import yaml

from dataset_scripts.core.card.facts import against
from dataset_scripts.core.errors import LONGEST, printable
from dataset_scripts.core.formats.card_rules import check_configs, check_keys
from dataset_scripts.core.formats.dataset_info import check_info, check_sizes
from dataset_scripts.core.formats.front_matter import check_text, plain_lines, read_card, split_card
from dataset_scripts.core.formats.safe_yaml import LineError, compose_yaml, load_yaml

MOST = 200  # faults that are listed


def check_card(
    text: str | Path, script: str | None = None, data_dir: str | None = None, name: str | None = None
) -> list[str]:
    """Finds faults in a dataset card, offline: published sets are not downloaded for it.

    It checks the YAML header (its syntax, keys, types, and the names that the Hub knows), `configs` and
    `dataset_info` as `datasets` reads them, the number of rows against `size_categories`, and the text: not empty,
    with a title, without paths of one machine. The Hub accepts any other key; here an unknown one is a fault, as most
    are typing errors. Three-letter language codes are checked by their form alone.

    Args:
        text: the card, or its path.
        script: a bundled name or a path, as `load_dataset` takes it: licence, citation, splits, rows, columns and
            classes must agree with it if both have them. Facts that only the data show are compared if the data are
            at hand: beside the script, or in `data_dir`.
        name: the configuration of the script.

    Returns:
        One line per fault: line and key, what it is and what to do; at most some hundreds. Empty if all is well.

    Raises:
        DataError: the card is too large, or the script or its data cannot be read.
    """
    path = text if isinstance(text, Path) else "the card"
    try:
        text = read_card(text) if isinstance(text, Path) else text
    except LineError as error:
        return [f"line {error.line}: {error.problem}"]
    text = plain_lines(text)
    card = split_card(text)
    if text.startswith("\ufeff"):
        return ["line 1: there is a byte order mark: save the card as UTF-8 without one"]
    if card is None:
        return ["line 1: there is no YAML header: begin with a line ---, the keys, and another line ---"]
    try:
        root = compose_yaml(card.header, path, 2)
        header = load_yaml(card.header, path, 2)
    except LineError as error:
        return [f"line {error.line}: the header is not YAML: {error.problem}"[:LONGEST]]
    if not isinstance(header, dict):
        return ["line 1: the header has no keys: write lines such as 'license: mit'"]
    start = 1 + text.count("\n", 0, len(text) - len(card.body))
    found = itertools.chain(check_keys(header), check_configs(header), check_info(header), check_sizes(header))
    faults = [*itertools.islice(found, MOST), *itertools.islice(check_text(text, card.body, start), MOST)]
    if script is not None:
        faults += against(script, data_dir, name, header, card.body, start)
    said = []
    for where, what in [*((path, "occurs twice: keep one") for path in itertools.islice(_twice(root), MOST)), *faults]:
        is_key = where[:1] != ("line",)
        line = _line(root, where) if is_key else where[1]
        key = (
            "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
            if is_key
            else ""
        )
        said.append((line, printable(f"line {line}: {key}: {what}" if key else f"line {line}: {what}")[:LONGEST]))
    return [line for _, line in sorted(said, key=lambda item: item[0])]


def _inner(node: yaml.Node) -> Iterator[tuple[str | int, yaml.Node, yaml.Node]]:
    """The keys or numbers of a node's items, the nodes where these begin, and their values."""
    if isinstance(node, yaml.MappingNode):
        yield from ((key.value, key, value) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from ((place, item, item) for place, item in enumerate(node.value))


@functools.lru_cache(MOST)
def _places(node: yaml.Node) -> dict[str | int, tuple[yaml.Node, yaml.Node]]:
    return {part: (start, value) for part, start, value in _inner(node)}


def _line(root: yaml.Node, where: tuple) -> int:
    """The card's line of a key or an item of the header, or of the part that would contain it."""
    line, node = 1, root
    for part in where:
        if part not in _places(node):
            break
        start, node = _places(node)[part]
        line = start.start_mark.line + 2  # the header begins on the second line
    return line


def _twice(root: yaml.Node) -> Iterator[tuple]:
    """The keys that occur twice in a mapping."""
    todo, seen = [((), root)], set()
    while todo:
        path, node = todo.pop()
        if node in seen:  # an alias
            continue
        seen.add(node)
        parts = set()
        for part, _, value in _inner(node):
            if part in parts:
                yield _flat((path, part))
            parts.add(part)
            if isinstance(value, yaml.CollectionNode):
                todo.append(((path, part), value))


def _flat(path: tuple) -> tuple:
    """A path of pairs (path above, part) as its parts."""
    parts = []
    while path:
        path, part = path
        parts.append(part)
    return tuple(reversed(parts))
