"""Large json files, element by element: a file of any size takes no more memory than its largest element."""

import codecs
import json
from collections.abc import Iterator
from typing import BinaryIO

from dataset_scripts.core.errors import DataError

BLOCK = 1 << 20
MAX_ELEMENT = 64 << 20
_BLANK = " \t\n\r"


def elements(file: BinaryIO, name: str) -> Iterator[tuple[str, bytes]]:
    """Goes through a json object, `{"images": [{…}, …], "info": {…}}`, in the order of the file.

    Yields:
        The key and the json text of a value; of a list, of each of its items.

    Raises:
        DataError: the file is cut off or no json object; with its name and line.
    """
    return _Scanner(file, name).run()


class _Scanner:
    # The bytes are decoded as latin-1, one character a byte: json's own characters are ASCII, so that finding the ends
    # of values works in any UTF-8 text, also where a block ends within a character.
    def __init__(self, file: BinaryIO, name: str):
        self.file, self.name = file, name
        self.text, self.position, self.line = "", 0, 1
        self.decoder = json.JSONDecoder()

    def run(self) -> Iterator[tuple[str, bytes]]:
        start = self.file.read(3)
        self.text = "" if start == codecs.BOM_UTF8 else start.decode("latin-1")
        self.expect("{")
        while self.peek() != "}":
            key = json.loads(self.value())
            self.expect(":")
            if self.peek() == "[":
                self.expect("[")
                while self.peek() != "]":
                    yield key, self.value()
                    if self.peek() != "]":
                        self.expect(",")
                self.expect("]")
            else:
                yield key, self.value()
            if self.peek() != "}":
                self.expect(",")
        self.expect("}")

    def more(self) -> bool:
        """Reads a block, and forgets what has been passed."""
        self.line += self.text.count("\n", 0, self.position)
        self.text, self.position = self.text[self.position :], 0
        block = self.file.read(max(BLOCK, len(self.text)))
        self.text += block.decode("latin-1")
        return bool(block)

    def peek(self) -> str:
        while True:
            while self.position < len(self.text) and self.text[self.position] in _BLANK:
                self.position += 1
            if self.position < len(self.text):
                return self.text[self.position]
            if not self.more():
                raise self.fault("the file ends here: it is cut off")

    def expect(self, character: str) -> None:
        found = self.peek()
        if found != character:
            raise self.fault(f"{character!r} expected, not {found!r}")
        self.position += 1

    def value(self) -> bytes:
        """The json text of the value that starts here."""
        self.peek()
        while True:
            try:
                _, end = self.decoder.raw_decode(self.text, self.position)
                if self.text[end : end + 1] in tuple(",:]}" + _BLANK):  # else a number may go on in the next block
                    break
                fault, place = "a delimiter expected", end
            except json.JSONDecodeError as error:
                fault, place = error.msg, error.pos
            place -= self.position
            if len(self.text) - self.position > MAX_ELEMENT or not self.more():
                self.position += place
                raise self.fault(f"broken or cut off: {fault}")
        text = self.text[self.position : end].encode("latin-1")
        self.position = end
        return text

    def fault(self, message: str) -> DataError:
        return DataError(f"{self.name}, line {self.line + self.text.count(chr(10), 0, self.position)}: {message}")
