"""Large json files, element by element: a file of any size takes no more memory than its largest element."""

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO, NamedTuple

from dataset_scripts.core.errors import DataError, reading, reason
from dataset_scripts.core.formats.json_text import DECODER, check_depth, check_text, decode

BLOCK = 1 << 20
MAX_ELEMENT = 64 << 20  # bytes; reading stops at a larger one, such as a string without an end
_BLANKS = re.compile(r"[ \t\n\r]*")
_DELIMITERS = frozenset(",:]} \t\n\r")
_DELIMITER = re.compile(r"[,:\]} \t\n\r]")
# Brackets, and strings, whose brackets do not count; one may go on in the next block. Possessive: linear.
_TOKENS = re.compile(r'([\[{]++)|([\]}]++)|"(?:[^"\\]|\\.)*+("?)', re.DOTALL)
FAULTY = object()


class Element(NamedTuple):
    """A value in a json file.

    Attributes:
        key: its key in the object that contains it; None in a list.
        value: its Python value; FAULTY if it has a fault that was skipped.
        text: its json text, in UTF-8.
        line: where it starts in the file, from 1.
    """

    key: str | None
    value: Any
    text: bytes
    line: int


def elements(file: BinaryIO, name: str, faults: AbstractContextManager | None = None) -> Iterator[Element]:
    """Goes through a json object, `{"images": [{…}, …], "info": {…}}`, in the order of the file, and lists item by item.

    Args:
        faults: the context in which the fault of a single value is raised: nesting, a repeated key, half a character, a
            large number. Broken json is always raised, as nothing shows where the next value starts.

    Raises:
        DataError: the file is cut off or not such an object, or `parse_json` would refuse a value; names file and line.
    """
    return _Scanner(file, name, faults).members(flat=True)


def records(file: BinaryIO, name: str, faults: AbstractContextManager | None = None) -> Iterator[Element]:
    """Goes through the items of a json list, or the members of an object, whose keys may recur; else like `elements`."""
    scanner = _Scanner(file, name, faults)
    return scanner.items() if scanner.peek() == "[" else scanner.members(flat=False)


class _Scanner:
    # The bytes are decoded as latin-1, one character per byte: json's own characters are ASCII, so that finding the ends
    # of values works in any UTF-8 text, even if a block ends within a character.
    def __init__(self, file: BinaryIO, name: str, faults: AbstractContextManager | None):
        self.file, self.name, self.faults = file, name, faults or nullcontext()
        self.position, self.line, self.counted = 0, 1, 0  # line: of the character at `counted`
        start = file.read(3)
        self.text = "" if start == codecs.BOM_UTF8 else start.decode("latin-1")

    def members(self, flat: bool) -> Iterator[Element]:
        self.expect("{")
        keys = set()
        while self.peek() != "}":
            line, key = self.line_here(), self.value(None, nullcontext() if flat else self.faults).value
            if not (isinstance(key, str) or key is FAULTY) or key in keys:
                raise DataError(f"{self.name}, line {line}: the key {str(key)[:100]!r} is not text, or occurs twice")
            if flat:
                keys.add(key)
            self.expect(":")
            if flat and self.peek() == "[":
                assert isinstance(key, str)  # a fault in it was raised
                yield from self.items(key)
            else:
                element = self.value(key, self.faults)
                yield element._replace(value=FAULTY) if key is FAULTY else element
            if self.peek() != "}":
                self.expect(",")
        self.expect("}")
        self.finish()

    def items(self, key: str | None = None) -> Iterator[Element]:
        self.expect("[")
        while self.peek() != "]":
            yield self.value(key, self.faults)
            if self.peek() != "]":
                self.expect(",")
        self.expect("]")
        if key is None:
            self.finish()

    def finish(self) -> None:
        if rest := self.peek(end=True):
            raise self.fault(f"the json ends here, but the file continues with {rest!r}")

    def more(self) -> bool:
        """Reads a block, and forgets what has been passed."""
        self.line_here()
        self.text, self.position, self.counted = self.text[self.position :], 0, 0
        # Doubled each time, so that text is rescanned in linear time.
        block = self.file.read(max(BLOCK, len(self.text)))
        self.text += block.decode("latin-1")
        return bool(block)

    def peek(self, end: bool = False) -> str:
        """The next character that is not blank; "" at the end of the file, where that is allowed."""
        while True:
            blanks = _BLANKS.match(self.text, self.position)
            assert blanks is not None  # no blank at all matches, too
            self.position = blanks.end()
            if self.position < len(self.text):
                return self.text[self.position]
            if not self.more():
                if end:
                    return ""
                raise self.fault("the file ends here: it is cut off")

    def expect(self, character: str) -> None:
        found = self.peek()
        if found != character:
            raise self.fault(f"expected {character!r}, found {found!r}")
        self.position += 1

    def value(self, key: Any, faults: AbstractContextManager) -> Element:
        """The value that starts here; its fault is raised in `faults`."""
        self.peek()
        while True:
            odd = None
            try:
                value, end = DECODER.raw_decode(self.text, self.position)
                if self.text[end : end + 1] in _DELIMITERS:  # else a number may continue in the next block
                    break
                fault, place = "expected a delimiter", end
            except json.JSONDecodeError as error:
                fault, place = error.msg, error.pos
            except (ValueError, RecursionError) as error:  # from our hooks for numbers and keys, or from deep nesting
                odd, end = error, self.end_of_value(error)
                break
            place -= self.position
            if len(self.text) - self.position > MAX_ELEMENT or not self.more():
                self.position += place
                raise self.fault(f"it is broken or cut off: {fault}")
        text, line, read = self.text[self.position : end], self.line_here(), FAULTY
        content = text.encode("latin-1")
        with faults, reading(f"{self.name}, line {line}"):
            if odd:
                raise odd
            check_depth(content)
            read = check_text(text, value) if text.isascii() else decode(content.decode())
        self.position = end
        return Element(key, read, content, line)

    def end_of_value(self, fault: Exception) -> int:
        """The end of the value that starts here, found by its brackets alone; `fault` is what is wrong with it."""
        depth = passed = 0  # passed: characters of it that have been looked at
        while True:
            start = self.position + passed
            if self.text[self.position] not in "[{":
                if found := _DELIMITER.search(self.text, start):
                    return found.start()
                passed = len(self.text) - self.position
            for token in _TOKENS.finditer(self.text, start):
                opened, closed = len(token[1] or ""), len(token[2] or "")
                if closed >= depth > 0:
                    return token.start() + depth
                if token[3] == "":  # a string that continues in the next block
                    break
                depth, passed = depth + opened - closed, token.end() - self.position
            if len(self.text) - self.position > MAX_ELEMENT or not self.more():
                raise self.fault(f"{reason(fault)}, and it has no end") from fault

    def line_here(self) -> int:
        self.line += self.text.count("\n", self.counted, self.position)
        self.counted = self.position
        return self.line

    def fault(self, message: str) -> DataError:
        return DataError(f"{self.name}, line {self.line_here()}: {message}")
