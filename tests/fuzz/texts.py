"""Damages text by its structure: trees of json and yaml, tags, tables, and lines."""

import json
import random
import re
from typing import Any

import yaml
from dictionary import INTEGERS, SCALARS, SNIPPETS, STRINGS

from dataset_scripts.core.formats.safe_yaml import load_yaml

WORD = re.compile(r"[^\s,;:=<>\[\]{}\"'|]+")
TAG = re.compile(r"<(\w+)>[^<]*</\1>|</?\w+>")


class Pairs(list):
    """The keys and values of a mapping, in which a key may occur twice."""


class Raw(str):
    """Text that is written unchanged."""


def dump(tree: Any) -> str:
    if isinstance(tree, Raw):
        return tree
    if isinstance(tree, (Pairs, dict)):
        pairs = tree.items() if isinstance(tree, dict) else tree
        return "{" + ", ".join(f"{dump(str(key))}: {dump(value)}" for key, value in pairs) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(dump, tree)) + "]"
    return json.dumps(tree, default=str, ensure_ascii=False)


def as_pairs(tree: Any) -> Any:
    if isinstance(tree, dict):
        return Pairs([key, as_pairs(value)] for key, value in tree.items())
    return [as_pairs(item) for item in tree] if isinstance(tree, list) else tree


def spots(tree: Any) -> list[tuple[list, int]]:
    """Every place of a value in the tree: the list that holds it, and the index."""
    found, todo = [], [tree]
    while todo:
        node = todo.pop()
        for number, item in enumerate(node):
            found.append((item, 1) if isinstance(node, Pairs) else (node, number))
            value = found[-1][0][found[-1][1]]
            if isinstance(value, list):
                todo.append(value)
    return found


def mutate_tree(tree: Any, rng: random.Random) -> Any:
    """Changes a value, its type, its key, or what is around it."""
    root = [tree]
    found = spots(root)
    holder, number = rng.choice(found)
    value = holder[number]
    other, place = rng.choice(found)
    match rng.randrange(10):
        case 0 | 1 | 2:
            holder[number] = rng.choice(SCALARS)
        case 3:
            holder[number] = tweak(value, rng)
        case 4:
            holder[number] = rng.choice([[value], {"a": value}, str(value), [value] * 300, Raw(rng.choice(SNIPPETS))])
        case 5:
            depth = rng.choice((5, 500, 20_000))
            holder[number] = Raw("[" * depth + "1" + "]" * depth)
        case 6:
            holder[number], other[place] = other[place], holder[number]
        case 7 if isinstance(value, Pairs) and value:  # a key twice, or another one
            key, inner = rng.choice(value)
            value.append([key, rng.choice([inner, rng.choice(SCALARS)])])
        case 8 if isinstance(value, list) and value:
            del value[rng.randrange(len(value))]
        case _:
            if isinstance(value, Pairs) and value:
                rng.choice(value)[0] = rng.choice([*STRINGS, *(key for key, _ in value)])
            elif isinstance(value, list) and value:
                value.append(rng.choice(value))
            else:
                holder[number] = rng.choice(SCALARS)
    return root[0]


def tweak(value: Any, rng: random.Random) -> Any:
    """A nearby value of the same type."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, (int, float)):
        return rng.choice(
            [value + 1, value - 1, -value, value * 1000, value / 3, float(value), str(value), value + 0.5]
        )
    if isinstance(value, str):
        return rng.choice(
            [value.upper(), value + rng.choice(STRINGS), value[:-1], f" {value} ", f"../{value}", value * 2]
        )
    return value[::-1] if isinstance(value, list) else value


def mutate_json(content: bytes, rng: random.Random) -> bytes:
    """Damages a document, or lines of several documents; anything else is passed to `mutate_words`."""
    text = content.decode()
    try:
        tree = mutate_tree(json.loads(text, object_pairs_hook=lambda pairs: Pairs(map(list, pairs))), rng)
        return dump(tree).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        lines = content.splitlines()
        if len(lines) < 2 or not lines[0].startswith(b"{"):
            return rng.choice((mutate_words, mutate_yaml, mutate_tags))(content, rng)
        number = rng.randrange(len(lines))
        lines[number] = mutate_json(lines[number], rng) if lines[number] else b"{}"
        return b"\n".join(lines)


def mutate_yaml(content: bytes, rng: random.Random) -> bytes:
    """Damages a document with keys, or the front matter of a card."""
    text = content.decode()
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    header = head[1] if head else text
    try:
        tree = load_yaml(header, "yaml")  # safe against bombs, which are among the replacements
        if not isinstance(tree, (dict, list)):
            return mutate_lines(content, rng)
        tree = mutate_tree(as_pairs(tree), rng)
        if isinstance(tree, Pairs) and rng.random() < 0.7:  # one key per line, as in most files
            new = "\n".join(f"{dump(str(key))}: {dump(value)}" for key, value in tree)
        else:
            new = dump(tree)
    except (yaml.YAMLError, ValueError, RecursionError):
        return mutate_lines(content, rng)
    return (text.replace(header, new, 1)).encode("utf-8", "surrogatepass")


def mutate_tags(content: bytes, rng: random.Random) -> bytes:
    """Replaces an element or a tag by another, by none or by several, or nests it."""
    text = content.decode()
    tags = list(TAG.finditer(text))
    if not tags:
        return mutate_words(content, rng)
    one, two = rng.choice(tags), rng.choice(tags)
    name = one[1] or "a"
    new = rng.choice(
        [
            "",
            two[0],
            one[0] * 2,
            f"<{name}>{rng.choice(SCALARS)}</{name}>",
            f"<{name}>{one[0]}</{name}>",
            f"<{name}/>",
            f"<{name}>" * 3000,
            f"{rng.choice(SNIPPETS)}{one[0]}",
            f"<{name}>&x;</{name}>",
        ]
    )
    if rng.random() < 0.1:
        return (rng.choice(SNIPPETS) + text).encode("utf-8", "surrogatepass")
    return (text[: one.start()] + new + text[one.end() :]).encode("utf-8", "surrogatepass")


def mutate_words(content: bytes, rng: random.Random) -> bytes:
    """Replaces a word, number or cell by another."""
    text = content.decode()
    words = list(WORD.finditer(text))
    if not words:
        return mutate_lines(content, rng)
    word, other = rng.choice(words), rng.choice(words)
    near = (
        str(int(word[0]) + rng.choice((-1, 1, 1000))) if word[0].isdecimal() and len(word[0]) < 20 else word[0].upper()
    )
    new = rng.choice(
        [str(rng.choice(INTEGERS)), str(rng.choice(SCALARS)), other[0], near, "", f'"{word[0]}', f"-{word[0]}"]
    )
    return (text[: word.start()] + new + text[word.end() :]).encode("utf-8", "surrogatepass")


def mutate_lines(content: bytes, rng: random.Random) -> bytes:
    """Drops, doubles, moves or inserts lines, or encodes the whole text differently."""
    text = content.decode("utf-8", "surrogatepass")
    lines = text.splitlines(keepends=True)
    number, other = rng.randrange(len(lines) or 1), rng.randrange(len(lines) or 1)
    match rng.randrange(8):
        case 0:
            del lines[number : number + 1]
        case 1:
            lines[number:number] = lines[number : number + 1] * rng.choice((1, 50))
        case 2 if lines:
            lines[number], lines[other] = lines[other], lines[number]
        case 3 | 4:
            lines.insert(number, rng.choice(SNIPPETS) + "\n")
        case 5 if lines:
            lines[number] = lines[number].rstrip("\n") + rng.choice([",", ",x", "\t1", " 1", "\r", '"', ";;"]) + "\n"
        case 6:
            return text.encode(rng.choice(("utf-16", "utf-8-sig", "utf-32", "cp037")), "replace")
        case _:
            at = rng.randrange(len(text) + 1)
            lines = [text[:at], rng.choice(SNIPPETS), text[at:]]
    return "".join(lines).encode("utf-8", "surrogatepass")


TEXTS = (mutate_json, mutate_json, mutate_words, mutate_lines)
