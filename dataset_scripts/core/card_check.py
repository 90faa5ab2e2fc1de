"""Dataset cards, checked offline as the Hub checks them online, and against their scripts."""

from pathlib import Path

import yaml

from dataset_scripts.core.card_info import check_info, check_sizes
from dataset_scripts.core.card_rules import check_configs, check_keys
from dataset_scripts.core.card_script import against
from dataset_scripts.core.card_text import HEADER, check_text


def check_card(
    text: str | Path, script: str | None = None, data_dir: str | None = None, name: str | None = None
) -> list[str]:
    """Finds what is wrong with a dataset card, offline: published sets are not downloaded for it.

    Checked are the YAML header (its syntax, keys, types, and the names that the Hub knows), `configs` and
    `dataset_info` as `datasets` reads them, the number of rows against `size_categories`, and the text: not empty,
    with a title, without paths of one machine. The Hub takes any further key; here an unknown one is a fault, as most
    are slips. Language codes of three letters are checked by their form alone.

    Args:
        text: the card, or its path.
        script: a bundled name or a path, as `load_dataset` takes it: licence, citation, splits, rows, columns and
            classes have to agree with it, as far as both say them. What only the data tell is compared where
            they are at hand: beside the script, or in `data_dir`.
        name: the configuration of the script.

    Returns:
        A line a fault: line and key, what it is and what to do. Empty where all is well.

    Raises:
        DataError: the script or its data cannot be read.
    """
    if isinstance(text, Path):
        try:
            text = text.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            return [f"line {line}: is not UTF-8: save the card as UTF-8"]
    text = text.replace("\r\n", "\n")
    match = HEADER.match(text)
    if text.startswith("\ufeff"):
        return ["line 1: begins with a byte order mark: save the card as UTF-8 without one"]
    if match is None:
        return ["line 1: there is no YAML header: begin with a line ---, the keys, and another line ---"]
    try:
        root = yaml.compose(match[1], yaml.SafeLoader)
        header = yaml.safe_load(match[1])
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark else 1
        return [f"line {line}: the header is no YAML: {getattr(error, 'problem', None) or error}"]
    if not isinstance(header, dict):
        return ["line 1: the header has no keys: write such as 'license: mit', one a line"]
    body, start = text[match.end() :], text.count("\n", 0, match.end()) + 1
    faults = [*check_keys(header), *check_configs(header), *check_info(header), *check_sizes(header)]
    faults += check_text(text, body, start)
    if script is not None:
        faults += against(script, data_dir, name, header, body, start)
    lines, twice = _lines(root)
    said = []
    for where, what in [*((path, "stands twice: keep one") for path in twice), *faults]:
        key = ""
        if where[:1] == ("line",):
            line = where[1]
        else:
            line = next(lines[where[:depth]] for depth in range(len(where), -1, -1) if where[:depth] in lines)
            key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
        said.append((line, f"line {line}: {key}: {what}" if key else f"line {line}: {what}"))
    return [line for _, line in sorted(said, key=lambda item: item[0])]


def _lines(root: yaml.Node) -> tuple[dict[tuple, int], list[tuple]]:
    """The line in the card of every key and item of the header, and the keys that stand twice."""
    lines, twice, todo, seen = {(): 1}, [], [((), root)], set()
    while todo:
        path, node = todo.pop()
        if id(node) in seen:  # an alias, which may lead back to itself
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            inner = [((*path, key.value), key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            inner = [((*path, place), item, item) for place, item in enumerate(node.value)]
        else:
            continue
        for where, start, value in inner:
            twice += [where] if where in lines else []
            lines[where] = start.start_mark.line + 2  # the header begins on the second line
            todo.append((where, value))
    return lines, twice
