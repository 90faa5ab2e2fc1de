"""The base of layouts for shapes drawn on images: a format is its parser, and the words that tell its files."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets

from dataset_scripts.core.builders.contents import kind_of
from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig, Rows
from dataset_scripts.core.builders.leftovers import leave_out
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.listing import Files, Reader, folder_of, is_image, name_of, stem_of, without_suffix
from dataset_scripts.core.files.splits import SplitFolders, split_name
from dataset_scripts.core.files.stems import is_below, own_stems, pair_by_stem
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.features import List
from dataset_scripts.core.image.objects import RLE, check_boxes, object_features
from dataset_scripts.core.image.shapes import Annotation, Target, check_shapes, to_objects

logger = printable_logger(__name__)


@dataclass
class AnnotatedConfig(LayoutConfig):
    """Options of every layout of shapes.

    Attributes:
        images: the folder of the images, if others are there too.
        annotations: the folder of the annotations, or their file, if others are there too.
        classes: names of the categories, in order; None takes those of the annotations, sorted.
        boxes: "raise" refuses a box that reaches out of its image by more than a pixel, "clip" cuts it there.
        masks: also make run-length codes from the shapes; needs pycocotools.
        unlisted: "raise" refuses images without an annotation, "empty" takes them as images without objects.
    """

    images: str | None = None
    annotations: str | None = None
    classes: list[str] | None = None
    boxes: str = "raise"
    masks: bool = False
    unlisted: str = "raise"


class AnnotatedBuilder(LayoutBuilder):
    """Reads images with shapes. A layout implements `parse`, and `annotations` or, with one file per image, `is_annotation`.

    The rows have `image`, `image_id` (the path without suffix) and `objects`: `bbox`, `category`, `area`; `polygon`
    (x0, y0, x1, y1, …; without holes, and empty for a mask) if a shape is more than a box; `segmentation` with `masks=True`; and OBJECT_COLUMNS.

    Attributes:
        SUFFIXES: of the annotation files, in lower case.
        OBJECT_COLUMNS: the columns that the layout adds to `objects`: name -> feature.
        ROW_COLUMNS: those that it adds to the row.
        SPARSE: names of such columns that are left out if no file fills them.
        IS_POLYGONAL: whether a file may hold other shapes than boxes.
        EMBEDS: whether an annotation file may hold its image, too; see `picture`.
    """

    BUILDER_CONFIG_CLASS = AnnotatedConfig
    SUFFIXES: ClassVar[tuple[str, ...]] = ()
    OBJECT_COLUMNS: ClassVar[dict[str, Any]] = {}
    ROW_COLUMNS: ClassVar[dict[str, Any]] = {}
    SPARSE: ClassVar[Collection[str]] = ()
    IS_POLYGONAL: ClassVar[bool] = True
    EMBEDS: ClassVar[bool] = False

    def parse(self, content: bytes, where: str) -> Annotation:
        """Reads what a file, or a part of one, says of an image.

        Args:
            where: names it, for messages.

        Raises:
            DataError, or any other exception of a parser: it is damaged.
        """
        raise NotImplementedError

    @classmethod
    def is_annotation(cls, content: bytes) -> bool:
        """Whether the beginning of a file shows that it is in this format."""
        raise NotImplementedError

    @classmethod
    def stems(cls, path: str) -> Iterator[str]:
        """The names that the image of an annotation file may have, with or without suffix, the likeliest first."""
        return own_stems(path)

    @classmethod
    def are_some(cls, files: Files) -> bool:
        """Whether one of a few files with the suffixes is in this format; cheap, for folders of other files."""
        paths = files.having(*cls.SUFFIXES)
        return any(cls.is_annotation(files.peek(path)) for path in paths[:: max(1, len(paths) // 8)])

    @classmethod
    def matches_by_stem(cls, files: Files) -> str | None:
        """The evidence for a layout with one file per image: files of this format, with the stems of images."""
        if not files.images or not cls.are_some(files):
            return None
        found = cls.annotation_files(files, AnnotatedConfig())
        count = len({image for _, image, _ in pair_by_stem(files.root, files.images, found, cls.stems) if image})
        if not count:  # each may be about several, such as those of two cameras
            stems = {stem for path in found for stem in cls.stems(path)}
            count = sum(stem_of(image) in stems or name_of(image) in stems for image in files.images)
        return f"{count} of {len(files.images)} images with an annotation" if count else None

    @classmethod
    def annotation_files(cls, files: Files, config: AnnotatedConfig) -> list[str]:
        """The files of this format: of the folder or of the name that is asked for, else all that look like it.

        So do files named like images in a folder of such files, unless they look like something else: an empty file is one
        without objects, a damaged one is an error.
        """
        paths = [path for path in files.having(*cls.SUFFIXES) if not is_image(path)]
        if config.annotations is not None:
            return [path for path in paths if is_below(path, config.annotations)]
        found, unknown = set(), []
        for path in paths:
            content = files.peek(path)
            if cls.is_annotation(content):
                found.add(path)
            elif kind_of(content, path[path.rindex(".") :].lower()) is None:
                unknown.append(path)
        folders = set(map(folder_of, found))
        unknown = [path for path in unknown if folder_of(path) in folders]
        names = {name for path in files.images for name in (name_of(path), stem_of(path))} if unknown else set()
        found.update(path for path in unknown if not names.isdisjoint(cls.stems(path)))
        return [path for path in paths if path in found]

    def categories(self, used: set[str]) -> list[str]:
        """The names of the categories in their order; `used` are those of the objects."""
        return sorted(used)

    def image_id(self, image: str) -> str:
        """What `image_id` calls an image."""
        return without_suffix(image)

    def picture(self, files: Reader, image: str, source: str | None) -> tuple[bytes, str]:
        """The image of a row, encoded, and its path."""
        return files.read(image), image

    def annotations(self, files: Files, images: list[str]) -> Iterator[tuple[str, str, bytes | None]]:
        """The annotated images: for each its path, its annotation file, and the part of it that is about the image.

        The part is None for the whole file. What is about none of `images` is raised in `self.faults`.
        """
        found = self.annotation_files(files, self.config)
        for path, image, fault in pair_by_stem(files.root, images, found, self.stems):
            with self.faults:
                if image is None:
                    files.account([path])
                    raise fault
                yield image, path, None

    def index(self, files):
        config = self.config
        check_boxes(config.boxes)
        if config.unlisted not in ("raise", "empty"):
            raise DataError(f"unlisted={config.unlisted!r}: it is 'raise' or 'empty'")
        images = [path for path in files.images if config.images is None or is_below(path, config.images)]
        if not images and not (self.EMBEDS and config.images is None):
            where = "" if config.images is None else f" in images={config.images!r}"
            raise DataError(f"{files.root} has no images{where}")
        samples: dict[str, tuple[str, str, bytes | None]] = {}
        sources: dict[str, str] = {}  # image -> the file that annotates it, also of those with a fault
        used: set[str] = set()
        said: dict[str, str] = {}  # image -> its split
        filled: tuple[set[str], set[str]] = (set(), set())  # columns of rows and of objects with a value
        known = {name_of(path) for path in images}
        self.is_polygonal, self.has_masks = False, config.masks
        for image, source, part in self.annotations(files, images):
            files.account([source])
            with self.faults:
                if image in sources:
                    samples.pop(image, None)
                    raise DataError(
                        f"{files.root}/{source}: {image} is also annotated in {sources[image]}: remove one, or choose by "
                        f"annotations={sources[image]!r}"
                    )
                sources[image] = source
                annotation = self._parsed(files, image, source, part)
                other = name_of(annotation.name.replace("\\", "/"))
                if other != name_of(image) and other in known:
                    raise DataError(
                        f"{files.root}/{source} is about {image} by its own name, and about {other} by what it says"
                    )
                used.update(shape.label for shape in annotation.shapes)
                self.is_polygonal |= self.IS_POLYGONAL and any(
                    shape.kind not in ("box", "mask", "runs") for shape in annotation.shapes
                )
                self.has_masks |= any(shape.kind == "runs" for shape in annotation.shapes)
                filled[0].update(_filled(annotation.columns))
                filled[1].update(name for shape in annotation.shapes for name in _filled(shape.more))
                said[image] = annotation.split
                samples[image] = (image, source, part)
        if not samples:
            raise DataError(f"{files.root} has no image with an annotation of this format")
        classes = config.classes or self.categories(used)
        if strange := sorted(used - set(classes)):
            raise DataError(f"{files.root}: {short(strange[0])} is none of classes={short(classes)}")
        self.places = {name: place for place, name in enumerate(classes)}
        self.ROW_COLUMNS, self.OBJECT_COLUMNS = (
            {name: feature for name, feature in columns.items() if name in present or name not in self.SPARSE}
            for columns, present in zip((self.ROW_COLUMNS, self.OBJECT_COLUMNS), filled)
        )
        files.account(sources)
        images = [path for path in dict.fromkeys([*images, *samples]) if path in samples or path not in sources]
        splits = self._splits(files, images, samples, said)
        files.keep(path for rows in splits.values() for image, source, _ in rows for path in (image, source) if path)
        return self._features(), {split: Rows(rows) for split, rows in splits.items()}

    def _splits(self, files: Files, images: list[str], samples: dict, said: dict[str, str]) -> dict[str, list[tuple]]:
        """The rows of each split; the images of one without any annotation are rows whose objects are None.

        Other images without an annotation are faults: whether nothing is on them or nobody has looked is not known.
        """
        folders = SplitFolders(images)
        words = {image: split_name(split) for image, split in said.items() if split}

        def of(image: str) -> str:
            return words.get(image) or folders.of(image)

        known = {of(image) for image in samples}
        splits: dict[str, list[tuple]] = {}
        bare: dict[str, list[str]] = {}
        for image in images:
            split = of(image)
            if image in samples or (self.config.unlisted == "empty" and (split in known or not split)):
                splits.setdefault(split, []).append(samples.get(image, (image, "", None)))
            else:
                bare.setdefault(split, []).append(image)
        for split, paths in bare.items():
            if split and split not in splits:
                logger.warning("%s: no image of %s is annotated: their objects are None", files.root, split)
                splits[split] = [(path, None, None) for path in paths]
            else:
                leave_out(
                    files,
                    self.faults,
                    paths,
                    len(images),
                    "have no annotation",
                    "unlisted='empty' takes them as images without objects",
                )
        if "" in splits and len(splits) > 1:
            raise DataError(
                f"{files.root}/{splits[''][0][0]} is in no split while others are: move it into a folder of one"
            )
        return {split or "train": rows for split, rows in splits.items()}

    def _features(self) -> datasets.Features:
        more: dict[str, Any] = {"area": datasets.Value("float32"), **self.OBJECT_COLUMNS}
        if self.is_polygonal:
            more["polygon"] = List(datasets.Value("float32"))
        if self.has_masks:
            more["segmentation"] = RLE
        features = {"image": datasets.Image(), "image_id": datasets.Value("string"), **self.ROW_COLUMNS}
        return datasets.Features(features | {"objects": object_features(list(self.places), **more)})

    def _parsed(self, files: Reader, image: str, source: str, part: bytes | None) -> Annotation:
        """What is said of an image, checked as far as it can be without the image."""
        content = files.read(source, empty=True) if part is None else part
        where = _where(files, image, source, part)
        with reading(where):
            annotation = self.parse(content, where)
        check_shapes(annotation, where)
        return annotation

    def read(self, files, sample):
        image, source, part = sample
        content, path = self.picture(files, image, source)
        row = {"image": {"bytes": content, "path": path}, "image_id": self.image_id(image), "objects": None}
        row |= dict.fromkeys(self.ROW_COLUMNS)
        if source is None:
            return row
        annotation = self._parsed(files, image, source, part) if source else Annotation([])
        frame = Frame.of(content, f"{files.root}/{image}")
        row |= {name: annotation.columns.get(name) for name in self.ROW_COLUMNS}
        target = Target(
            self.places, self.OBJECT_COLUMNS, self.config.boxes == "clip", self.is_polygonal, self.has_masks
        )
        return row | {"objects": to_objects(annotation, frame, _where(files, image, source, part), target)}


def _where(files: Reader, image: str, source: str, part: bytes | None) -> str:
    return f"{files.root}/{source}" if part is None else f"{files.root}/{source}, {image}"


def _filled(columns: Mapping[str, Any]) -> Iterator[str]:
    return (name for name, value in columns.items() if value not in (None, "", [], {}))
