"""The base of layouts with one file of annotations for many images."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from dataset_scripts.core.builders.annotated import AnnotatedBuilder, AnnotatedConfig
from dataset_scripts.core.builders.contents import kind_of
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import Files, folder_of, is_image, stem_of
from dataset_scripts.core.files.splits import SplitFolders, split_in
from dataset_scripts.core.files.stems import Named, is_below
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.formats.json_stream import FAULTY, elements, records
from dataset_scripts.core.image.objects import is_number

CROWD = 50  # files of a folder; more of them are not about many images each


class Entry(NamedTuple):
    """What a file says of an image.

    Attributes:
        name: of the image.
        part: what `parse` takes. A fault in it is left to `parse`, so that `on_error="skip"` leaves out this image.
        where: its place, for messages.
        split: the split that the file puts it into.
    """

    name: str
    part: bytes
    where: str
    split: str | None = None


class ManyBuilder(AnnotatedBuilder):
    """A layout implements `entries` and `parse`, for a part that `entries` gives.

    The split of an image is what the file says, else the word in the name of the file that annotates it (`train_labels.csv`), else that of the
    folders of the image, else that of the folders of the file.
    """

    @classmethod
    def layout(cls) -> str:
        """What `kind_of` calls the layout of the files."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def is_annotation(cls, content: bytes) -> bool:
        return any((kind_of(content, suffix) or ("", ""))[1] == cls.layout() for suffix in cls.SUFFIXES)

    @classmethod
    def annotation_files(cls, files: Files, config: AnnotatedConfig) -> list[str]:
        paths = [path for path in files.having(*cls.SUFFIXES) if not is_image(path)]
        if config.annotations is not None:
            found = [path for path in paths if is_below(path, config.annotations)]
            return [path for path in found if len(found) == 1 or cls.is_annotation(files.peek(path))]
        crowd = Counter(map(folder_of, paths))
        return [path for path in paths if crowd[folder_of(path)] <= CROWD and cls.is_annotation(files.peek(path))]

    @classmethod
    def matches_by_content(cls, files: Files) -> str | None:
        """The evidence for a layout whose files show what they are."""
        found = cls.annotation_files(files, AnnotatedConfig()) if files.images else []
        return f"{len(files.images)} images, {listed(found)}" if found else None

    def entries(self, files: Files, path: str) -> Iterator[Entry]:
        """What a file says of each image."""
        raise NotImplementedError

    def annotations(self, files, images):
        found = self.annotation_files(files, self.config)
        if not found:
            asked = self.config.annotations
            where = "" if asked is None else f" as annotations={asked!r}"
            raise DataError(f"{files.root} has no file in the format of {self.layout()}{where}")
        self._said: dict[str, str] = {}
        self._folders = SplitFolders(found)
        self._image_folders = SplitFolders(images)
        self._named = Named(files.root, images)
        files.account(found)
        for path in found:
            for entry in self.entries(files, path):
                with self.faults:
                    image = self._named.find(entry.name, path, entry.where)
                    if entry.split:
                        self._said[image] = entry.split
                    yield image, path, entry.part

    def _parsed(self, files, image, source, part):
        annotation = super()._parsed(files, image, source, part)
        if self._named is not None:  # while the splits are made
            said = self._said.get(image) or split_in(stem_of(source))
            annotation.split = said or self._image_folders.of(image) or self._folders.of(source)
        return annotation

    def index(self, files):
        indexed = super().index(files)
        self._said, self._named = {}, None  # workers need them no more
        return indexed

    def json_entries(self, files: Files, path: str, *keys: str) -> Iterator[Entry]:
        """The entries of a json list of objects with the name of an image under one of `keys`.

        The members of an object, {"frames": [{…}, …]}, are such lists as well.
        """
        with files.open(path) as file:
            is_list = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
            file.seek(0)
            items = (records if is_list else elements)(file, f"{files.root}/{path}", self.faults)
            for element in items:
                place = f"{files.root}/{path}, line {element.line}"
                if element.value is not FAULTY and (is_list or self.is_entry(element.key)):
                    with self.faults:
                        name = name_in(element.value, keys, place)
                        with reading(place):
                            self.see(element.value)
                        yield Entry(name, element.text, place)

    def see(self, said: dict[str, Any]) -> None:
        """Takes notice of what a file says of an image, before all is read: of the columns that it needs."""

    def is_entry(self, key: str | None) -> bool:
        """Whether the members of a json object under this key are about images."""
        return True


def name_in(value: Any, keys: Sequence[str], where: str) -> str:
    """The name that a json object has under the first of some keys that is there.

    Raises:
        DataError: it has none.
    """
    name = next((value[key] for key in keys if key in value), None) if isinstance(value, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{where}: it has no {' or '.join(keys)}, the name of an image")
    return name


def numbers(fields: Any, keys: Sequence[str], where: str) -> list[float]:
    """The numbers that a json object has under some keys.

    Raises:
        DataError: one is missing, or something else.
    """
    values = [fields.get(key) if isinstance(fields, dict) else None for key in keys]
    for key, value in zip(keys, values):
        if not is_number(value):
            raise DataError(f"{where}: its {key} is {short(value)}, not a number of pixels")
    return values


def listed(paths: list[str]) -> str:
    """The first files, for evidence."""
    return f"annotations in {', '.join(paths[:6])}{' …' * (len(paths) > 6)}"
