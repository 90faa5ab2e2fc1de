"""The features of all records, and the columns and classes made from them."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import datasets

from dataset_scripts.core.builders.classes import most_classes
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import Files, name_of
from dataset_scripts.core.formats.protobuf import Feature
from dataset_scripts.core.image.decode import is_encoded_image

TYPES = {"float": "float32", "int64": "int64"}
TOKEN = re.compile(r"""\"[^"\n]*"|'[^'\n]*'|-?\w+|[{}:]""")  # of a label map


@dataclass
class Column:
    """A feature over all records.

    Attributes:
        kind: "bytes", "float" or "int64".
        least, most: the number of values in the records that have the feature.
        aligned: there are as many values as objects.
        text: all bytes are UTF-8.
        image: the first bytes, or those of most of the first records, start like an image; None if there were none yet.
        voted: `kind` and `image` are those of most of the first records, so that any other record is at fault.
        alone: most of the first records hold one image each.
        seen: the values, of features that are classes.
    """

    kind: str
    least: int = 1
    most: int = 0
    aligned: bool = True
    text: bool = True
    image: bool | None = None
    voted: bool = False
    alone: bool = False
    seen: set = field(default_factory=set)

    @property
    def single(self) -> bool:
        """Whether there is always one value."""
        return self.least == self.most == 1

    @classmethod
    def elected(cls, votes: Counter) -> "Column":
        """The column that fits most of the features that `vote` describes.

        Otherwise the first record would decide, and if it were wrong, all others would be at fault.
        """
        kind, image, alone = max(votes, key=votes.get)
        return cls(kind, image=image if kind == "bytes" else None, voted=True, alone=alone)

    def check(self, feature: Feature) -> None:
        """Raises ValueError if the values of a record have a different kind than those of the others."""
        if not feature.body:
            return
        if (self.most or self.voted) and self.kind != feature.kind:
            raise ValueError(
                f"holds {feature.kind}, but {self.kind} in {'the records before it' if self.most else 'most records'}"
            )
        if self.alone and len(feature.values()) > 1:
            raise ValueError("holds several images, but one in most records")

    def see(self, feature: Feature, objects: int, is_class: bool) -> None:
        """Takes the values of a record into account; those that can't tell anything new are not touched.

        They must be checked first.
        """
        if not feature.body:  # writers that derive the kind from the values give an empty list any kind
            self.least, self.aligned = 0, self.aligned and not objects
            return
        if not self.most and not self.voted:
            self.kind = feature.kind
        if self.kind == "bytes" and self.image is None:
            self.image = is_encoded_image(feature.values()[0])
        self.text = self.text and self.kind == "bytes" and not self.image
        if not (self.most <= 1 or self.aligned or self.text or is_class):
            return
        values = feature.values()
        self.least, self.most = min(self.least, len(values)), max(self.most, len(values))
        self.aligned = self.aligned and len(values) == objects
        if self.text:
            try:
                values = [bytes(value).decode() for value in values]
            except UnicodeDecodeError:
                self.text = False
        if is_class and (self.text or self.kind == "int64"):
            self.seen.update(values)

    def feature(self) -> Any:
        """The feature of a value."""
        if self.kind != "bytes":
            return datasets.Value(TYPES[self.kind])
        return datasets.Image() if self.image else datasets.Value("string" if self.text else "binary")

    def values(self, feature: Feature) -> list:
        """The values of a record, as Arrow stores them."""
        values = feature.values()
        if self.kind == "bytes":
            values = [bytes(value) for value in values]
            if self.image:
                return [{"bytes": value, "path": None} for value in values]
            if self.text:
                return [value.decode() for value in values]
        return values

    def value(self, feature: Feature | None) -> Any:
        """The one value or the list of them; None if the feature is not set."""
        if feature is None or feature.kind is None:
            return None
        values = self.values(feature)
        return values[0] if self.single else values


def vote(feature: Feature) -> tuple[str, bool, bool]:
    """The kind of a feature, whether it holds images, and whether it holds exactly one.

    Raises:
        ValueError: its values cannot be read.
    """
    values = feature.values()
    image = feature.kind == "bytes" and is_encoded_image(next(iter(values), b""))
    return feature.kind, image, image and len(values) == 1


def names_beside(files: Files, key: str) -> dict[int, str]:
    """The class names in the text files that go with shards: number -> name, empty if there are none.

    These are tfds's `KEY.labels.txt` (one name per line, from 0), TF-slim's `labels.txt` (lines like `3:tulips`) and the
    label maps of the TF Object Detection API (`*.pbtxt`), in this order.

    Raises:
        DataError: two files of one kind name the classes differently.
    """
    kinds = (
        (lambda name: name == key.replace("/", "-") + ".labels.txt", lambda text: dict(enumerate(text.splitlines()))),
        (lambda name: name == "labels.txt", _numbered_lines),
        (lambda name: name.lower().endswith(".pbtxt"), _label_map),
    )
    for belongs, parse in kinds:
        found = {}
        for path in (path for path in files.paths if belongs(name_of(path))):
            with reading(f"{files.root}/{path}"):
                found[path] = parse(files.read(path).decode("utf-8-sig", "replace"))
        found = {path: names for path, names in found.items() if names}
        if found:
            (first, names), *others = found.items()
            for path, other in others:
                if other != names:
                    raise DataError(f"{files.root}/{path} names different classes than {first}: remove one")
            return names
    return {}


def _numbered_lines(text: str) -> dict[int, str]:
    return {int(number): name.strip() for number, name in re.findall(r"(?m)^(\d+):(.*)$", text)}


def _label_map(text: str) -> dict[int, str]:
    """The items of a label map, `item { id: 1 name: "cat" }`; messages in them, such as keypoints, are left out."""
    names, item, depth, key, before = {}, {}, 0, "", ""
    for token in TOKEN.findall(text):
        if token == "{":
            depth += 1
            if depth == 1:
                item = {"item": before == "item"}
        elif token == "}":
            depth = max(0, depth - 1)
            name = item.get("display_name") or item.get("name")
            if depth == 0 and item.get("item") and "id" in item and name:
                names[item["id"]] = name
        elif before == ":" and depth == 1:
            if key == "id" and token.isdecimal():
                item["id"] = int(token)
            elif key in ("name", "display_name") and token[0] in "\"'":
                item[key] = token[1:-1]
        key = before if token == ":" else ""
        before = token
    if depth:
        raise ValueError("its braces are not closed")
    return names


def distinct(names: dict[int, str]) -> list[str]:
    """Names that a ClassLabel accepts: a name that classes share (ImageNet has two "crane") gets the number appended."""
    count = Counter(names.values())
    return [name if count[name] == 1 else f"{name} ({number})" for number, name in names.items()]


@dataclass
class Classes:
    """The values of a feature as classes.

    Attributes:
        names: the names of the classes.
        places: value -> class; None if the values are the classes already.
    """

    names: list[str]
    places: dict[Any, int] | None = None

    def of(self, value: Any) -> Any:
        """The class of a value, or the classes of a list of values."""
        if isinstance(value, list):
            return [self.of(item) for item in value]
        return value if self.places is None or value is None else self.places[value]


def label_classes(column: Column, names: dict[int, str], rows: int, where: str) -> Classes | None:
    """The classes of images: class i is the number i, whether or not it occurs, so that 0 may be the background.

    None for values that are not classes: fractions, bytes, numbers below -1 (-1 is an unknown class, as in `datasets`), or
    more than `most_classes` for the number of rows.

    Raises:
        DataError: a name is given to a number beyond that.
    """
    if column.text:
        return sorted_classes(column, {})
    if column.kind != "int64" or not column.seen or min(column.seen) < -1 or max(column.seen) >= most_classes(rows):
        return None
    most = max([*column.seen, *names])
    if most >= most_classes(max(rows, len(names))):
        raise DataError(f"{where}: the class {most} has a name, but there are only {len(names)} names and {rows} rows")
    zero = "background" if names else "0"
    named = {number: names.get(number, str(number) if number else zero) for number in range(most + 1)}
    return Classes(distinct(named))


def sorted_classes(column: Column, names: dict[int, str]) -> Classes:
    """The values that occur or have a name, sorted, as classes from 0 on."""
    values = sorted(column.seen | names.keys())
    named = {value: names.get(value, str(value)) for value in values}
    return Classes(distinct(named), {value: place for place, value in enumerate(values)})
