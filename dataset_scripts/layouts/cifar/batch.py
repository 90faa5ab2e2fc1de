"""The pickles of CIFAR, read without `pickle`: plain containers, text, numbers and arrays of numbers.

A pickle is a program for a small stack machine. Python's own machine runs the functions that the program names, and
sizes its memory by numbers in it. This one knows the instructions that Python 2 and 3 and numpy write for such data, and
does the work of the few functions that they name itself. It takes at most MAX_STEPS steps, and about 100 bytes per step
in addition to the bytes of the file.
"""

import math
import pickletools
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

MAX_STEPS = 4_000_000  # a training batch of CIFAR-100 with labels as numpy's numbers has about a million
NUMBER = re.compile("[biuf][1248]")
PUSHES = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
        "UNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "BINUNICODE8",
        "FLOAT",
        "BINFLOAT",
    ]
)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MODULES = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy._core.numeric", "numpy.core.numeric")


class Name(NamedTuple):
    """A function or type that the pickle names."""

    module: str
    name: str


NAMES = {Name("numpy", "ndarray"), Name("numpy", "dtype"), Name("_codecs", "encode")} | {
    Name(module, name) for module in MODULES for name in ("_reconstruct", "scalar", "_frombuffer")
}


@dataclass
class Made:
    """A dtype or an array, which is filled after it is made."""

    value: Any = None


def load(content: bytes) -> Any:
    """The value of a pickle; arrays become `np.ndarray`, numpy's numbers those of Python.

    Raises:
        ValueError, IndexError, TypeError or others: it is damaged, or not such a pickle.
    """
    return _unwrap(_Machine(content).run())


def _unwrap(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item.value if isinstance(item, Made) else item for key, item in value.items()}
    return value.value if isinstance(value, Made) else value


class _Machine:
    def __init__(self, content: bytes):
        self.content, self.stack, self.marks, self.memo = content, [], [], []
        self.copies = len(content)  # bytes that text may still be turned into

    def run(self) -> Any:
        stack = self.stack
        for step, (code, value, _) in enumerate(pickletools.genops(self.content)):
            name = code.name
            if step > MAX_STEPS:
                raise ValueError(f"it has more than {MAX_STEPS} steps, which no CIFAR has")
            if name in PUSHES:
                stack.append(value)
            elif name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
                self.put(len(self.memo) if name == "MEMOIZE" else value)
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                stack.append(self.memo[value])
            elif name in TUPLES:
                stack[-TUPLES[name] :] = [tuple(stack[-TUPLES[name] :])]
            elif name in CONSTANTS:
                stack.append(CONSTANTS[name])
            elif name in EMPTY:
                stack.append(EMPTY[name]())
            elif name == "STOP":
                return stack.pop()
            elif name not in ("PROTO", "FRAME"):
                self.step(name, value)
        raise ValueError("it is cut off")

    def put(self, place: int) -> None:
        if place > len(self.content):
            raise ValueError(f"it numbers its parts up to {place}, more than it has bytes")
        self.memo += [None] * (place + 1 - len(self.memo))
        self.memo[place] = self.stack[-1]

    def marked(self) -> list:
        """The items above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def step(self, name: str, value: Any) -> None:
        stack = self.stack
        if name == "MARK":
            self.marks.append(len(stack))
        elif name in ("LIST", "TUPLE", "DICT"):
            items = self.marked()
            stack.append({} if name == "DICT" else items if name == "LIST" else tuple(items))
            if name == "DICT":
                self.fill(items)
        elif name in ("APPEND", "APPENDS"):
            items = self.marked() if name == "APPENDS" else [stack.pop()]
            if type(stack[-1]) is not list:
                raise ValueError("it adds to something that is not a list")
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            self.fill(self.marked() if name == "SETITEMS" else [stack.pop(-2), stack.pop()])
        elif name == "GLOBAL":
            stack.append(_named(*value.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(_named(stack.pop(-2), stack.pop()))
        elif name == "REDUCE":
            stack.append(self.call(stack.pop(-2), stack.pop()))
        elif name == "BUILD":
            self.build(stack[-2], stack.pop())
        else:
            raise ValueError(f"it has the instruction {name}, which no CIFAR has")

    def fill(self, items: list) -> None:
        if type(self.stack[-1]) is not dict or not all(isinstance(key, str | bytes) for key in items[::2]):
            raise ValueError("it adds to something that is not a dict, or keys are not text")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def bytes_of(self, data: str | bytes | bytearray) -> bytes | bytearray:
        """The data of an array; Python 2 wrote them as text."""
        if not isinstance(data, str):
            return data
        self.copies -= len(data)
        if self.copies < 0:
            raise ValueError("it asks for more bytes than it has")
        return data.encode("latin1")

    def call(self, function: Name, arguments: tuple) -> Any:
        if not isinstance(function, Name):
            raise ValueError("it calls something that is not a function")
        if function.name == "encode":
            text, encoding = arguments
            if encoding not in ("latin1", "latin-1"):
                raise ValueError("it encodes text differently than numpy does")
            return self.bytes_of(text)
        if function.name == "dtype":
            if not NUMBER.fullmatch(arguments[0]):
                raise ValueError(f"it holds an array of {arguments[0]!r}, not of numbers")
            return Made(np.dtype(arguments[0]))
        if function.name == "_reconstruct":
            return Made()
        if function.name == "scalar":
            kind, data = arguments
            return self.array(data, kind, (1,), "C")[0].item()
        if function.name == "_frombuffer":
            data, kind, shape, order = arguments
            return Made(self.array(data, kind, shape, order))
        raise ValueError(f"it calls {function.module}.{function.name}, which no CIFAR does")

    def build(self, made: Made, state: tuple) -> None:
        if isinstance(made.value, np.dtype):
            made.value = made.value.newbyteorder(state[1])
        elif made.value is None:
            _, shape, kind, fortran, data = state
            made.value = self.array(data, kind, shape, "F" if fortran else "C")
        else:
            raise ValueError("it changes an array")

    def array(self, data: Any, kind: Made, shape: tuple, order: str) -> np.ndarray:
        if (
            not isinstance(kind.value, np.dtype)
            or len(shape) > 8
            or not all(type(size) is int and 0 <= size <= len(self.content) for size in shape)
        ):
            raise ValueError("its array has no dtype, or a shape that no file holds")
        data = self.bytes_of(data)
        if math.prod(shape) * kind.value.itemsize != len(data):
            raise ValueError(f"its array of shape {shape} and {kind.value} has {len(data)} bytes")
        return np.frombuffer(data, kind.value).reshape(shape, order=order)


def _named(module: str, name: str) -> Name:
    # A deeply nested value can be neither hashed nor shown.
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("it names a function by something that is not text")
    found = Name(module, name)
    if found not in NAMES:
        raise ValueError(f"it asks to run {module}.{name}, which no CIFAR does: do not trust this file")
    return found
