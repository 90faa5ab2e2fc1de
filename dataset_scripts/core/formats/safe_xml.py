"""Xml of foreign files: no entities, and no more elements at once than the memory holds."""

from collections.abc import Iterator
from typing import BinaryIO
from xml.etree.ElementTree import Element, TreeBuilder

import defusedxml.ElementTree

from dataset_scripts.core.errors import reading

MAX_ELEMENTS = 200_000  # 10,000 objects of 20 elements; attributes, too
MAX_PART = 4_000_000  # of a part of a large file, such as the boxes of an object in all frames of a video
MAX_DEPTH = 32  # annotation, object, part, bndbox, xmin are 5
BLOCK = 1 << 16  # bytes that are parsed at once: few are read after a fault


class _Bounded(TreeBuilder):
    """Builds a tree of not too many elements: each takes some 20 times its bytes in the file."""

    count = depth = events = 0
    most, of = MAX_ELEMENTS, "for one image"

    def start(self, tag: str, attributes: dict[str, str]) -> Element:
        self.count, self.depth = self.count + 1 + len(attributes), self.depth + 1
        self.events += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
        if self.count > self.most:
            raise ValueError(f"it has more than {self.most:,} elements and attributes, {self.of}")
        return super().start(tag, attributes)

    def end(self, tag: str) -> Element:
        self.depth -= 1
        self.events += 1
        return super().end(tag)


class _Parts(_Bounded):
    """Hands out the children of the root, each when it is complete, and forgets it."""

    most, of = MAX_PART, "in one part"

    def __init__(self) -> None:
        super().__init__()
        self.root: Element | None = None
        self.done: list[Element] = []

    def start(self, tag: str, attributes: dict[str, str]) -> Element:
        if self.depth == 1:
            self.count = 0
        element = super().start(tag, attributes)
        if self.root is None:
            self.root = element
        return element

    def end(self, tag: str) -> Element:
        element = super().end(tag)
        if self.depth == 1:
            assert self.root is not None
            self.done.append(element)
            self.root.clear()
        return element


def parse_xml(content: bytes) -> Element:
    """The root of an xml text about one image.

    Raises:
        ValueError, or what the parser raises: it is broken, has entities, or too many elements.
    """
    _check_attributes(content.count(b"="))
    parser = defusedxml.ElementTree.DefusedXMLParser(target=_Bounded())
    for start in range(0, len(content), BLOCK):
        parser.feed(content[start : start + BLOCK])
    return parser.close()


def xml_parts(file: BinaryIO, where: str) -> Iterator[Element]:
    """The children of the root of a large xml file, one after another.

    Raises:
        DataError: as `parse_xml`, with `where`.
    """
    parts, unread, seen = _Parts(), 0, 0
    parser = defusedxml.ElementTree.DefusedXMLParser(target=parts)
    while block := file.read(BLOCK):
        with reading(where):
            unread = unread + block.count(b"=")
            _check_attributes(unread)
            parser.feed(block)
        if parts.events > seen:
            unread, seen = 0, parts.events
        yield from parts.done
        parts.done.clear()
    with reading(where):
        parser.close()
    yield from parts.done


def _check_attributes(signs: int) -> None:
    """All attributes of an element are read before the parser reports it: its `=` are counted before."""
    if signs > MAX_ELEMENTS:
        raise ValueError(f"it has more than {MAX_ELEMENTS:,} attributes, for one image")
