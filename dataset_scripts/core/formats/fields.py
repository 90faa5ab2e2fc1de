"""The columns of json objects, whose types are found object by object, so that a fault belongs to one of them."""

import itertools
import reprlib
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import pyarrow as pa

from dataset_scripts.core.errors import DataError, reason
from dataset_scripts.core.files.faults import Faults

MAX_COLUMNS = 4096  # of plain values, nested ones too
BATCH = 1 << 12  # objects that are Python's at once
HEAD = 256  # objects that vote on the types of their fields
HEAD_SIZE = 1 << 20  # bytes of these objects
EXACT = 1 << 53  # float64 holds every whole number up to this one
FREE_CELLS = 1 << 20
CELLS_A_BYTE = 4
_SPARSE = "there are too many fields for so few values: almost all of them are empty, so this is not a table"
_INT = pa.int64()
_ITEMS = {pa.list_(pa.string()): str, pa.list_(pa.float64()): float, pa.list_(pa.int64()): int}
_SCALARS = {str: pa.string(), bool: pa.bool_(), int: _INT, float: pa.float64(), type(None): pa.null()}


class Fields:
    """The fields of json objects, each a column.

    Attributes:
        kinds: name -> the Arrow type that holds the values so far.
        size: bytes of the objects so far.
        rows: the number of objects so far.
        items: the number of items in all their lists.
        columns: the numbers of columns of plain values that Arrow keeps for them: with one value per row, and per item.
        full: whether there were too many columns; from then on, new fields and new objects in fields are refused.
    """

    def __init__(self):
        self.kinds: dict[str, pa.DataType] = {}
        self.size = self.rows = self.items = 0
        self.columns = [0, 0]
        self.full = False
        self._named_in: dict[str, str] = {}
        self._lists: dict[str, type | None] = {}  # for fields that are lists of plain values so far: their type
        self._large: set[str] = set()  # fields with whole numbers beyond EXACT

    def vote(self, objects: Iterable[tuple[Any, str, int]]) -> None:
        """Gives a field on which the objects disagree the type that most of them have: the others are at fault.

        Otherwise the first object would decide, and if it were wrong, all others would be at fault.
        """
        named = [
            (name, value, where)
            for fields, where, _ in objects
            if isinstance(fields, dict)
            for name, value in fields.items()
        ]
        said: dict[str, type] = {}
        disputed: dict[str, Counter[pa.DataType]] = {}
        for name, value, _ in named:
            if (
                value is not None
                and said.setdefault(name, type(value)) is not type(value)
                or type(value) in (dict, list)
            ):
                disputed[name] = Counter()
        kinds = [(name, kind, where) for name, value, where in named if name in disputed and (kind := _kind_of(value))]
        for name, kind, _ in kinds:
            disputed[name][kind] += 1
        for name, counts in disputed.items():
            if len(counts) > 1 and name not in self.kinds:
                kind = max(counts, key=counts.__getitem__)
                columns = [known + more for known, more in zip(self.columns, _leaves(kind))]
                if sum(columns) <= MAX_COLUMNS:
                    self.kinds[name], self.columns = kind, columns
                    self._named_in[name] = next(where for other, its, where in kinds if (other, its) == (name, kind))

    def add(self, fields: Any, where: str, size: int) -> dict[str, Any]:
        """Extends the types to hold one more object, of `size` bytes, and returns the object.

        Raises:
            DataError: it is not an object, has too many fields, or a value is of another type than before it; nothing is
                changed then. Or most fields are in few objects only: the columns would hold more than a few values for each byte.
        """
        if not isinstance(fields, dict):
            raise DataError(f"{where}: it is a {type(fields).__name__}, not an object with fields: {short(fields)}")
        new, large, items = {}, [], self.items
        for name, value in fields.items():
            kind, known = _SCALARS.get(type(value)), self.kinds.get(name)
            if kind is known is not None and (kind is not _INT or -EXACT <= value <= EXACT):
                continue  # as for most fields
            if type(value) is list and _are(value, self._lists.get(name)):
                items += len(value)
                continue
            items += 0 if kind else _items(value)
            try:
                new[name] = self._kind(name, value, kind, known)
                large += [name] * (kind is _INT and not -EXACT <= value <= EXACT)
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                other = f", unlike in {self._named_in[name]}" if name in self._named_in else ""
                raise DataError(
                    f"{where}: the field {short(name)} is {brief(value)}{other}: {reason(error)}"
                ) from error
        columns = self.columns
        if new:
            new = {name: kind for name, kind in new.items() if kind != self.kinds.get(name)}
            grown = [(_leaves(kind), _leaves(self.kinds.get(name))) for name, kind in new.items()]
            columns = [
                columns[place] + sum(after[place] - before[place] for after, before in grown) for place in (0, 1)
            ]
            if sum(columns) > MAX_COLUMNS:
                raise DataError(
                    f"{where}: with it there are {sum(columns):,} fields, nested ones too, and at most {MAX_COLUMNS:,} are read"
                )
            if new or items > self.items:
                self.full = self.full or not _is_table(columns, self.rows + 1, items, self.size + size)
                if self.full:
                    raise DataError(f"{where}: {_SPARSE}")
        self._named_in |= {name: where for name, kind in new.items() if kind != pa.null()}
        self._large.update(large)
        self.kinds |= new
        for name, kind in new.items():
            self._lists[name] = _ITEMS.get(kind)
        self.columns, self.items, self.rows, self.size = columns, items, self.rows + 1, self.size + size
        return fields

    def _kind(self, name: str, value: Any, kind: pa.DataType | None, known: pa.DataType | None) -> pa.DataType:
        """The type that holds a value (of type `kind` if it is plain) and the values before it."""
        if kind is _INT and not -(1 << 63) <= value < 1 << 63:
            raise OverflowError("it is too large for 64 bits")
        fraction = _SCALARS[float]
        if (kind is fraction and name in self._large) or (
            kind is _INT and known == fraction and not -EXACT <= value <= EXACT
        ):
            raise OverflowError("no number type holds both fractions and whole numbers beyond 2 ** 53")
        if kind is None:
            kind = pa.array([value]).type  # also checks that its numbers fit
            if self.full and known != kind:
                raise ValueError("there are too many fields before it")
        if known is None or known == kind:
            return kind
        return known if kind == pa.null() else _common(known, kind)

    def check(self, where: str) -> None:
        """Raises DataError if the objects together have too many fields for their size."""
        if not _is_table(self.columns, self.rows, self.items, self.size):
            raise DataError(f"{where}: {_SPARSE}")


def _are(values: list, kind: type | None) -> bool:
    """Whether all items of a list have the given type, and its numbers are exact in any column."""
    return (
        kind is not None
        and all(type(value) is kind for value in values)
        and (kind is not int or all(-EXACT <= value <= EXACT for value in values))
    )


def _kind_of(value: Any) -> pa.DataType | None:
    try:
        return None if value is None else _SCALARS.get(type(value)) or pa.array([value]).type
    except (pa.ArrowException, ValueError, OverflowError):
        return None  # `add` reports it


def _is_table(columns: list[int], rows: int, items: int, size: int) -> bool:
    return rows * columns[0] + items * columns[1] <= FREE_CELLS + CELLS_A_BYTE * size


@lru_cache(maxsize=1 << 10)
def _common(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The type that holds the values of both."""
    schemas = [pa.schema([("", kind)]) for kind in (first, second)]
    return pa.unify_schemas(schemas, promote_options="permissive").field(0).type


def table_of(objects: Iterable[tuple[Any, str, int]], where: str, faults: Faults | None = None) -> pa.Table:
    """The table of json objects: all fields of all objects are columns, null where an object has no such field.

    Args:
        objects: each with its name for messages, and its size in bytes.
        where: names the file.
        faults: the context in which the fault of a single object is raised; None raises it.

    Raises:
        DataError: as `Fields.add`.
    """
    fields, batch, tables = Fields(), [], []
    if faults and faults.skip:
        head = list(_head(objects := iter(objects)))
        fields.vote(head)
        objects = itertools.chain(head, objects)
    for value, place, size in objects:
        try:
            batch.append((fields.add(value, place, size), place))
        except Exception:
            with faults or nullcontext():  # entering it for each row would take a tenth of the time
                raise
        if len(batch) == BATCH:
            fields.check(where)
            tables.append(_batch(batch, fields.kinds, where, faults))
            batch = []
    fields.check(where)
    tables.append(_batch(batch, fields.kinds, where, faults))
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"{where}: {reason(error)}") from error


def _head(objects: Iterable[tuple[Any, str, int]]) -> Iterable[tuple[Any, str, int]]:
    total = 0
    for value, place, size in itertools.islice(objects, HEAD):
        yield value, place, size
        total += size
        if total > HEAD_SIZE:
            return


def _batch(
    rows: list[tuple[dict[str, Any], str]], kinds: dict[str, pa.DataType], where: str, faults: Faults | None
) -> pa.Table:
    """The table of some objects. If Arrow cannot take them all, each is tried, and its fault raised in `faults`."""
    columns = {}
    for name, kind in kinds.items():
        try:
            columns[name] = pa.array([row.get(name) for row, _ in rows], kind)
        except (pa.ArrowException, ValueError, OverflowError) as error:  # [2**60 + 1] in lists of float64
            if not (faults and faults.skip) or len(rows) == 1:
                raise DataError(
                    f"{rows[0][1] if len(rows) == 1 else where}: the field {short(name)}: {reason(error)}"
                ) from error
            parts = [_batch([], kinds, where, None)]
            for row in rows:
                with faults:
                    parts.append(_batch([row], kinds, where, faults))
            return pa.concat_tables(parts)
    return pa.table(columns)


def short(value: Any) -> str:
    """A text as it is, any other value as in Python, cut for a message, however large or deep it is."""
    return value[:100] if isinstance(value, str) else brief(value)


def brief(value: Any) -> str:
    """A value as it is written in Python, cut for a message, however large or deep it is."""
    return _BRIEF.repr(value)


_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = 60


def _items(value: Any) -> int:
    """The number of items of all lists in a value."""
    if isinstance(value, dict):
        return sum(map(_items, value.values()))
    return len(value) + sum(map(_items, value)) if isinstance(value, list) else 0


def _leaves(kind: pa.DataType | None, listed: bool = False) -> tuple[int, int]:
    """How many columns of plain values Arrow keeps for a type: with one value per row, and one per item of a list."""
    if kind is None:
        return 0, 0
    if pa.types.is_struct(kind) and kind.num_fields:
        parts = [_leaves(field.type, listed) for field in kind]
        return sum(plain for plain, _ in parts), sum(inner for _, inner in parts)
    if pa.types.is_list(kind):
        return _leaves(kind.value_type, True)
    return (0, 1) if listed else (1, 0)
