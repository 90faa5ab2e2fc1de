"""The wire format of protocol buffers (https://protobuf.dev/programming-guides/encoding/), and tf.train.Example in it.

Nothing is copied before it is asked for: a pass over the small features of records on disk does not read their images.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
# The most values of a feature: one byte in the file may become 100 in memory.
MAX_VALUES = {"bytes": 1 << 20, "float": 1 << 26, "int64": 1 << 24}
MAX_FEATURES = 2_000  # of an Example
KINDS = {1: "bytes", 2: "float", 3: "int64"}  # the fields of tf.train.Feature


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value & (1 << 64) - 1, at
        shift += 7
    raise ValueError("a number is cut off")


def fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yields the fields of a message in their order: number, wire type, value (an unsigned int of a VARINT, else bytes).

    Raises:
        ValueError: it is not a message.
    """
    at, end = 0, len(data)
    value: int | memoryview
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _varint(data, at)
        else:
            if wire == BYTES:
                size, at = _varint(data, at)
            elif wire in (FIXED32, FIXED64):
                size = 4 if wire == FIXED32 else 8
            else:
                raise ValueError(f"field {number} has the unknown wire type {wire}")
            value, at = data[at : at + size], at + size
        if at > end or not number:
            raise ValueError(f"field {number} is cut off")
        yield number, wire, value


def signed(value: int) -> int:
    """A varint as the int64 that it stands for."""
    return value - (1 << 64) if value >> 63 else value


class Feature(NamedTuple):
    """A tf.train.Feature.

    Attributes:
        kind: "bytes", "float" or "int64"; None if it is not set, which stands for no values.
        body: the list of the values, encoded.
    """

    kind: str | None = None
    body: memoryview = memoryview(b"")

    def values(self) -> list:
        """The values: bytes as views, float as float32 numbers, int64 as int.

        Raises:
            ValueError: the list is damaged, or longer than MAX_VALUES.
        """
        values, most = [], MAX_VALUES.get(self.kind or "", 0)
        for number, wire, value in fields(self.body):
            kind = self.kind if number == 1 else None
            if kind == "bytes" and wire == BYTES:
                values.append(value)
            elif kind == "float" and wire in (BYTES, FIXED32) and not isinstance(value, int):
                values += np.frombuffer(value, "<f4").tolist()
            elif kind == "int64" and isinstance(value, int):
                values.append(signed(value))
            elif kind == "int64" and wire == BYTES and not isinstance(value, int):
                at = 0
                while at < len(value) and len(values) <= most:
                    item, at = _varint(value, at)
                    values.append(signed(item))
            else:
                raise ValueError(f"is not a list of {self.kind}")
            if len(values) > most:
                raise ValueError(f"holds more than {most} values")
        return values


def parse_example(data: memoryview) -> dict[str, Feature]:
    """The features of a tf.train.Example (tensorflow/core/example/example.proto) by name.

    Raises:
        ValueError: it is not an Example, or a feature has a kind other than the three.
    """
    features = {}
    for number, wire, entries in fields(data):
        if (number, wire) == (2, BYTES):
            raise ValueError("it is a SequenceExample, which is not read: its steps are not an image")
        if (number, wire) != (1, BYTES) or isinstance(entries, int):
            raise ValueError(f"it has a field {number}")
        for _, wire, entry in fields(entries):
            if wire != BYTES or isinstance(entry, int):
                raise ValueError("its features are not a map")
            name, feature = "", Feature()
            for place, wire, value in fields(entry):
                if wire != BYTES or isinstance(value, int):
                    raise ValueError("a feature has no name")
                if place == 1:
                    name = bytes(value).decode()
                else:
                    for kind, wire, body in fields(value):
                        if kind not in KINDS or wire != BYTES or isinstance(body, int):
                            raise ValueError(f"feature {name!r} is of kind {kind}, which is not bytes, float or int64")
                        feature = Feature(KINDS[kind], body)
            features[name] = feature
            if len(features) > MAX_FEATURES:
                raise ValueError(f"it has more than {MAX_FEATURES} features")
    return features
