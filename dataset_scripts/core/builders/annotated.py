"""The base of layouts for shapes drawn on images: a format is its parser, and the words that tell its files."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import datasets
import numpy as np

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
from dataset_scripts.core.image.objects import (
    MOST,
    RLE,
    check_boxes,
    encode_mask,
    encode_segmentation,
    fit_boxes,
    object_features,
)
from dataset_scripts.core.image.polygons import area_of, circle, clip_polygon
from dataset_scripts.core.image.rle import mask_tools, runs_counts, runs_outline

logger = printable_logger(__name__)
OPEN = ("line", "point")  # kinds of shapes without area


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


@dataclass
class Shape:
    """What is drawn on an image.

    Attributes:
        label: the name of its category.
        kind: "box" (two opposite corners), "polygon" (three points or more), "circle" (its centre and a point on it),
            "line" (two points or more), "point" (one or more), "mask" (the upper left corner of `mask`), or "runs" (no points).
        points: float64 (N, 2), x and y in pixels of the image that was annotated, or fractions of it.
        more: values of the columns that the layout adds to `objects`.
        mask: bool (H, W), of kind "mask".
        runs: int64 (R, 2), of kind "runs": first pixel, from 0, and number of pixels of each run. Pixels are counted from
            top to bottom, then from left to right. Such objects always get a `segmentation`.
        holes: polygons as `points`, what is cut out of a polygon.
    """

    label: str
    kind: str
    points: np.ndarray
    more: Mapping[str, Any] = field(default_factory=dict)
    mask: np.ndarray | None = None
    holes: Sequence[np.ndarray] = ()
    runs: np.ndarray | None = None


@dataclass
class Annotation:
    """What a format says of an image.

    Attributes:
        shapes: the objects, in the order of the file.
        size: (width, height) of the image that was annotated; None if the format does not say.
        is_relative: the points are fractions of the image.
        columns: values of the columns that the layout adds to the row.
        name: the image's file name, if the format states it beside pairing by stem; it must not be that of another image.
        split: the image's split in the words of the format; "" leaves it to the folders.
    """

    shapes: list[Shape]
    size: tuple[int, int] | None = None
    is_relative: bool = False
    columns: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    split: str = ""


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
    def matches_by_stem(cls, files: Files) -> str | None:
        """The evidence for a layout with one file per image: files of this format, with the stems of images."""
        paths = files.having(*cls.SUFFIXES) if files.images else []
        some = paths[:: max(1, len(paths) // 8)]
        if not some or not any(cls.is_annotation(peek(files, path)) for path in some):
            return None
        found = cls.annotation_files(files, AnnotatedConfig())
        count = len({image for _, image, _ in pair_by_stem(files.root, files.images, found, cls.stems) if image})
        if not count:  # each may be about several, such as those of two cameras
            stems = {stem for path in found for stem in cls.stems(path)}
            count = sum(stem_of(image) in stems or name_of(image) in stems for image in files.images)
        return f"{count} of {len(files.images)} images with a {cls.__name__} file" if count else None

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
            content = peek(files, path)
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
        if config.boxes not in ("raise", "clip"):
            raise DataError(f"boxes={config.boxes!r}: it is 'raise' or 'clip'")
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
                leave_out(files, self.faults, paths, len(images), "have no annotation")
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
        self._check_shapes(annotation, where)
        return annotation

    @staticmethod
    def _check_shapes(annotation: Annotation, where: str) -> None:
        least = {"box": 2, "polygon": 3, "circle": 2, "line": 2, "point": 1, "mask": 1, "runs": 0}
        for number, shape in enumerate(annotation.shapes, 1):
            if not isinstance(shape.label, str) or not shape.label.strip():
                raise DataError(f"{where}, object {number} has no class")
            shape.points, *shape.holes = (
                np.asarray(points, np.float64).reshape(-1, 2) for points in (shape.points, *shape.holes)
            )
            if len(shape.points) < least[shape.kind]:
                raise DataError(f"{where}, object {number} is a {shape.kind} of {len(shape.points)} points")
            if any(len(hole) < least["polygon"] for hole in shape.holes):
                raise DataError(f"{where}, object {number} has a hole of fewer than three points")
            for points in (shape.points, *shape.holes):
                if not np.isfinite(points).all() or np.abs(points).max(initial=0) > MOST:
                    raise DataError(f"{where}, object {number} has a point that is not a number of pixels")

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
        return row | {"objects": self._objects(annotation, frame, _where(files, image, source, part))}

    def _objects(self, annotation: Annotation, frame: Frame, where: str) -> dict[str, list]:
        """The column `objects`, in pixels of the decoded image."""
        size = annotation.size if annotation.size and all(annotation.size) else None
        if size is not None and tuple(size) not in (frame.size, frame.stored):
            raise DataError(
                f"{where}: the image is {size[0]:g} x {size[1]:g} there, and has {frame.size[0]} x {frame.size[1]} pixels"
            )
        clip, shapes = self.config.boxes == "clip", annotation.shapes
        labels = [f"{where}, object {number} ({short(shape.label)})" for number, shape in enumerate(shapes, 1)]
        drawn = frame.stored if frame.turns(size) else frame.size
        scale = np.array(drawn if annotation.is_relative else (1, 1), np.float64)
        if clip:
            shapes = [shape if shape.mask is None else cropped(shape, drawn) for shape in shapes]
        outlines = [
            runs_outline(shape.runs, drawn, label) if shape.runs is not None else outline(shape, shape.points * scale)
            for shape, label in zip(shapes, labels)
        ]
        corners = [points.min(0) for points in outlines]
        boxes = [[*low, *(points.max(0) - low)] for low, points in zip(corners, outlines)]
        fitted = fit_boxes(boxes, frame, size, labels, clip=clip)

        def fit(points: np.ndarray, is_closed: bool) -> np.ndarray:
            points = frame.turn_points(points) if frame.turns(size) else points
            return clip_polygon(points, frame.size) if is_closed else np.clip(points, 0, frame.size)

        outlines = [fit(points, shape.kind not in OPEN) for shape, points in zip(shapes, outlines)]
        if clip:
            for box, shape, points in zip(fitted, shapes, outlines):
                if shape.kind in ("polygon", "circle") and len(points):
                    box[:] = [*points.min(0), *(points.max(0) - points.min(0))]
        holes = [[fit(hole * scale, True) for hole in shape.holes] for shape in shapes]
        objects: dict[str, list] = {
            "bbox": list(fitted),
            "category": [self.places[shape.label] for shape in shapes],
            "area": [_area(*parts) for parts in zip(shapes, fitted, outlines, holes)],
        }
        for name in self.OBJECT_COLUMNS:
            objects[name] = [shape.more.get(name) for shape in shapes]
        if self.is_polygonal:
            objects["polygon"] = [
                [] if shape.kind in ("mask", "runs") else points.ravel().tolist()
                for shape, points in zip(shapes, outlines)
            ]
        if self.has_masks:
            objects["segmentation"] = [
                self._segmentation(shape, points, cut, frame, size, label)
                for shape, points, cut, label in zip(shapes, outlines, holes, labels)
            ]
        return objects

    @staticmethod
    def _segmentation(
        shape: Shape, points: np.ndarray, holes: list[np.ndarray], frame: Frame, size: tuple | None, where: str
    ) -> dict[str, Any]:
        if shape.kind in OPEN:
            raise DataError(f"{where} is a {shape.kind}: masks=True takes boxes, polygons, circles and masks")
        if shape.runs is not None:
            drawn = frame.stored if frame.turns(size) else frame.size
            runs = {"size": [drawn[1], drawn[0]], "counts": runs_counts(shape.runs, drawn[0] * drawn[1])}
            return encode_segmentation(runs, drawn, frame, where)
        if shape.mask is None and len(points) > 2:
            code = encode_segmentation([points.ravel().tolist()], frame.size, frame, where)
            holes = [hole for hole in holes if len(hole) > 2]
            if not holes:
                return code
            cut = encode_segmentation([hole.ravel().tolist() for hole in holes], frame.size, frame, where)
            return encode_mask(mask_tools().decode(code) & ~mask_tools().decode(cut).astype(bool))
        whole = np.zeros((frame.stored if frame.turns(size) else frame.size)[::-1], np.uint8)
        if shape.mask is None:  # all of it lies outside
            return encode_mask(whole)
        left, top = np.round(shape.points[0]).astype(int)
        height, width = shape.mask.shape
        if left < 0 or top < 0 or top + height > whole.shape[0] or left + width > whole.shape[1]:
            raise DataError(f"{where}: its mask reaches out of the image")
        whole[top : top + height, left : left + width] = shape.mask
        return encode_mask(frame.turn_mask(whole) if frame.turns(size) else whole)


def _where(files: Reader, image: str, source: str, part: bytes | None) -> str:
    return f"{files.root}/{source}" if part is None else f"{files.root}/{source}, {image}"


def _filled(columns: Mapping[str, Any]) -> Iterator[str]:
    return (name for name, value in columns.items() if value not in (None, "", [], {}))


def _area(shape: Shape, box: np.ndarray, points: np.ndarray, holes: list[np.ndarray]) -> float:
    if shape.kind == "box":
        return float(box[2] * box[3])
    if shape.mask is not None:
        return float(shape.mask.sum())
    if shape.runs is not None:
        return float(shape.runs[:, 1].sum())
    return 0.0 if shape.kind in OPEN else max(0.0, area_of(points) - sum(map(area_of, holes)))


def report_bare(files: Files, faults: Faults, bare: list[str], count: int) -> None:
    """Raises, or notes with `on_error="skip"`, that images have no annotation.

    Raises:
        DataError: it counts them, and says how to leave them out.
    """
    files.account(bare)
    if not faults.skip:
        raise DataError(
            f"{files.root}: {len(bare)} of {count} images have no annotation, such as {bare[0]}: on_error='skip' leaves "
            "them out, and so does ignore=[…]; unlisted='empty' takes them as images without objects"
        )
    for path in bare:
        faults.note(f"{files.root}/{path} has no annotation")


def outline(shape: Shape, points: np.ndarray) -> np.ndarray:
    """The points around a shape (N, 2): four of a box or a mask, 64 of a circle, else its own."""
    if shape.kind == "circle":
        return circle(points[0], points[1])
    if shape.kind == "mask" and shape.mask is not None:
        rows, columns = np.flatnonzero(shape.mask.any(1)), np.flatnonzero(shape.mask.any(0))
        if not len(rows):
            return np.repeat(points[:1], 4, 0)
        low = points[0] + [columns[0], rows[0]]
        points = np.stack([low, points[0] + [columns[-1] + 1, rows[-1] + 1]])
    elif shape.kind != "box":
        return points
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def cropped(shape: Shape, size: tuple[int, int]) -> Shape:
    """The part of a mask that is in an image of (width, height) `size`."""
    assert shape.mask is not None
    place = np.round(shape.points[0]).astype(int)
    (left, top), (right, bottom) = np.maximum(0, -place), np.maximum(0, np.array(size) - place)
    start = np.clip(place, 0, size).astype(np.float64)
    return replace(shape, points=start[None], mask=shape.mask[top:bottom, left:right])


def peek(files: Reader, path: str, size: int = 1 << 14) -> bytes:
    """The first bytes of a file, which may be empty."""
    if files.locate(path)[0]:
        return files.read(path, empty=True)[:size]
    with files.open(path) as file:
        return file.read(size)
