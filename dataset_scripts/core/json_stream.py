"""Large json files, element by element: a file of any size takes no more memory than its largest element."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from dataset_scripts.core.errors import DataError, reason
from dataset_scripts.core.json_text import DECODER, check_depth, check_text, decode

BLOCK = 1 << 20
MAX_ELEMENT = 64 << 20  # bytes; a larger one, such as a string without an end, is not read on
_BLANKS = re.compile(r"[ \t\n\r]*")
_DELIMITERS = frozenset(",:]} \t\n\r")


class Element(NamedTuple):
    """A value in a json file.

    Attributes:
        key: of the object that it is in; None in a list.
        value: what it says.
        text: its json text, in UTF-8.
        line: where it starts in the file, from 1.
    """

    key: str | None
    value: Any
    text: bytes
    line: int


def elements(file: BinaryIO, name: str) -> Iterator[Element]:
    """Goes through a json object, `{"images": [{…}, …], "info": {…}}`, in the order of the file: of lists, their items.

    Raises:
        DataError: the file is cut off or no such object, or a value is none that `parse_json` takes; with name and line.
    """
    return _Scanner(file, name).members(flat=True)


def records(file: BinaryIO, name: str) -> Iterator[Element]:
    """Goes through the items of a json list, or the members of an object, also those of one key; otherwise like `elements`."""
    scanner = _Scanner(file, name)
    return scanner.items() if scanner.peek() == "[" else scanner.members(flat=False)


class _Scanner:
    # The bytes are decoded as latin-1, one character a byte: json's own characters are ASCII, so that finding the ends
    # of values works in any UTF-8 text, also where a block ends within a character.
    def __init__(self, file: BinaryIO, name: str):
        self.file, self.name = file, name
        self.position, self.line, self.counted = 0, 1, 0  # line: of the character at `counted`
        start = file.read(3)
        self.text = "" if start == codecs.BOM_UTF8 else start.decode("latin-1")

    def members(self, flat: bool) -> Iterator[Element]:
        self.expect("{")
        keys = set()
        while self.peek() != "}":
            line, key = self.line_here(), self.value(None).value
            if not isinstance(key, str) or key in keys:
                raise DataError(f"{self.name}, line {line}: the key {str(key)[:100]!r} is not text, or occurs twice")
            if flat:
                keys.add(key)
            self.expect(":")
            if flat and self.peek() == "[":
                yield from self.items(key)
            else:
                yield self.value(key)
            if self.peek() != "}":
                self.expect(",")
        self.expect("}")
        self.finish()

    def items(self, key: str | None = None) -> Iterator[Element]:
        self.expect("[")
        while self.peek() != "]":
            yield self.value(key)
            if self.peek() != "]":
                self.expect(",")
        self.expect("]")
        if key is None:
            self.finish()

    def finish(self) -> None:
        if rest := self.peek(end=True):
            raise self.fault(f"the file goes on behind its end, with {rest!r}")

    def more(self) -> bool:
        """Reads a block, and forgets what has been passed."""
        self.line_here()
        self.text, self.position, self.counted = self.text[self.position :], 0, 0
        block = self.file.read(max(BLOCK, len(self.text)))  # twice as much each time: what is looked at again is linear
        self.text += block.decode("latin-1")
        return bool(block)

    def peek(self, end: bool = False) -> str:
        """The next character that is not blank; "" at the end of the file, where that is allowed."""
        while True:
            self.position = _BLANKS.match(self.text, self.position).end()
            if self.position < len(self.text):
                return self.text[self.position]
            if not self.more():
                if end:
                    return ""
                raise self.fault("the file ends here: it is cut off")

    def expect(self, character: str) -> None:
        found = self.peek()
        if found != character:
            raise self.fault(f"{character!r} expected, not {found!r}")
        self.position += 1

    def value(self, key: str | None) -> Element:
        """The value that starts here."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.position)
                if self.text[end : end + 1] in _DELIMITERS:  # else a number may go on in the next block
                    break
                fault, place = "a delimiter expected", end
            except json.JSONDecodeError as error:
                fault, place = error.msg, error.pos
            except (ValueError, RecursionError) as error:  # what our hooks say of a number or a key; too deep
                raise self.fault(reason(error)) from error
            place -= self.position
            if len(self.text) - self.position > MAX_ELEMENT or not self.more():
                self.position += place
                raise self.fault(f"broken or cut off: {fault}")
        try:
            text = self.text[self.position : end]
            content = text.encode("latin-1")
            check_depth(content)
            value = check_text(text, value) if text.isascii() else decode(content.decode())
        except (ValueError, RecursionError) as error:
            raise self.fault(reason(error)) from error
        element = Element(key, value, content, self.line_here())
        self.position = end
        return element

    def line_here(self) -> int:
        self.line += self.text.count("\n", self.counted, self.position)
        self.counted = self.position
        return self.line

    def fault(self, message: str) -> DataError:
        return DataError(f"{self.name}, line {self.line_here()}: {message}")
