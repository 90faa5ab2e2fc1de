"""Json from strangers: parsed strictly, and checked before anything recurses into it."""

import json
import math
import re
from typing import Any

import numpy as np

from dataset_scripts.core.errors import reading

MAX_DEPTH = 32  # Arrow and its users recurse into nested values
# Strings, whose brackets do not count; a line break, which json does not allow in them, ends one. Possessive: linear.
_STRINGS = re.compile(rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"?')
_PART = 1 << 20  # brackets that are counted at once, which limits the memory that it takes
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(content: bytes, where: str) -> Any:
    """The value of a json text in UTF-8, with or without a byte order mark.

    Raises:
        DataError: other encodings, broken json, an object with a key twice, nesting deeper than MAX_DEPTH, a number
            beyond float64 or of more than 4,300 digits, half a surrogate pair; the message begins with `where`.
    """
    with reading(where):
        check_depth(content)
        return decode(content.decode("utf-8-sig"))


def decode(text: str) -> Any:
    """The value of a json text of known depth; raises what a json parser raises."""
    return check_text(text, DECODER.decode(text))


def check_text(text: str, value: Any) -> Any:
    """The value of a json text, if it can be encoded in UTF-8.

    Raises:
        UnicodeEncodeError: an escape such as `\\ud800` is half a character.
    """
    if _ESCAPED_HALF.search(text):
        json.dumps(value, ensure_ascii=False).encode()
    return value


def check_depth(content: bytes) -> None:
    """Raises ValueError if brackets of a json text, even a broken one, are nested deeper than MAX_DEPTH."""
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH:
        return
    brackets, depth = np.frombuffer(_STRINGS.sub(b"", content).translate(None, _OTHERS), np.uint8), 0
    for start in range(0, len(brackets), _PART):
        part = brackets[start : start + _PART]
        depths = depth + np.cumsum(np.where((part == ord("[")) | (part == ord("{")), 1, -1))
        # Surplus closing brackets make no room for opening ones.
        depths -= np.minimum.accumulate(np.minimum(depths, 0))
        if depths.max() > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
        depth = depths[-1]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the key {name[:100]!r} occurs twice in an object")
            seen.add(name)
    return fields


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number)
