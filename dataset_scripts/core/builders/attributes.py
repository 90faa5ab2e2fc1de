"""Columns of attributes that files of annotations bring with them: their names and types are known when all are read."""

import json
import re
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import datasets

from dataset_scripts.core.builders.tables import free_name

TAKEN = ("bbox", "category", "area", "polygon", "segmentation")
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,30})(\.\d*)?([eE][-+]?\d{1,2})?", re.ASCII)
_KINDS = {bool: "bool", int: "int64", float: "float64", str: "string"}
MOST = 100  # columns


class Attributes:
    """Names and types of attributes: bool, whole number, number or text; what is of several types is text.

    Args:
        of_text: values are text that may stand for numbers, as in tables.
        taken: names of other columns.
    """

    def __init__(self, of_text: bool = False, taken: Collection[str] = TAKEN):
        self.of_text = of_text
        self.taken = tuple(taken)
        self.kinds: dict[str, type | None] = {}

    def see(self, values: Mapping[str, Any]) -> None:
        """Takes notice of the attributes of one object.

        Raises:
            ValueError: there are too many.
        """
        for name, value in values.items():
            known, kind = self.kinds.get(name), self._kind(value)
            if known is None or kind is None or kind is known:
                self.kinds[name] = known or kind
            else:
                self.kinds[name] = float if {known, kind} == {int, float} else str
        if len(self.kinds) > MOST:
            raise ValueError(f"there are more than {MOST:,} attributes")

    def _kind(self, value: Any) -> type | None:
        if is_missing(value):
            return None
        if self.of_text:
            return int if _WHOLE.fullmatch(value) else float if _NUMBER.fullmatch(value) else str
        kind = type(value)
        return kind if kind in _KINDS and (kind is not int or abs(value) < 1 << 63) else str

    @cached_property
    def columns(self) -> dict[str, str]:
        """Attribute -> its column."""
        taken, found = set(self.taken), {}
        for name in self.kinds:
            found[name] = free_name(name, taken)
            taken.add(found[name])
        return found

    def features(self) -> dict[str, datasets.Value]:
        """The columns; one without any value is text."""
        return {column: datasets.Value(_KINDS[self.kinds[name] or str]) for name, column in self.columns.items()}

    def values(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """The values of one object by column; None for no value."""
        return {column: self._value(said.get(name), self.kinds[name] or str) for name, column in self.columns.items()}

    @staticmethod
    def _value(value: Any, kind: type) -> Any:
        if is_missing(value):
            return None
        if kind is not str:
            return kind(value)
        if isinstance(value, dict) and all(type(chosen) is bool for chosen in value.values()):  # of several options
            return ", ".join(name for name, chosen in value.items() if chosen)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def is_missing(value: Any) -> bool:
    """Whether a value is none: null, an empty text, or what pandas writes for it."""
    return value is None or (isinstance(value, str) and value in ("", "nan", "NaN"))
