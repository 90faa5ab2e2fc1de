"""The label files of YOLO (the "Dataset format" pages of Ultralytics: detect, segment, obb and pose)."""

from typing import Any

import numpy as np

from dataset_scripts.core.errors import DataError, reading, reason
from dataset_scripts.core.files.listing import Files, Reader, without_suffix
from dataset_scripts.core.files.stems import is_below, pair_by_stem
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.objects import MOST, TOLERANCE, encode_segmentation, fit_boxes
from dataset_scripts.core.image.polygons import area_of, clip_polygon


def read_text(files: Reader, path: str) -> str:
    """The text of a file, which may be empty."""
    with reading(f"{files.root}/{path} is not text"):
        return files.read(path, empty=True).decode("utf-8-sig")


def labels_of(files: Files, images: str | None = None, labels: str | None = None) -> dict[str, str]:
    """The label file of each image that has one: in `labels/` for the last `images/`, beside it, or of its stem.

    Args:
        images, labels: the folders to look in; None for all.
    """
    texts = {path for path in files.having(".txt") if labels is None or is_below(path, labels)}
    found, others = {}, []
    for path in files.images:
        if images is not None and not is_below(path, images):
            continue
        stem = without_suffix(path)
        head, swapped, tail = f"/{stem}".rpartition("/images/")
        usual = (f"{head}/labels/{tail}.txt"[1:] if swapped else "", f"{stem}.txt")
        if label := next((label for label in usual if label in texts), ""):
            found[path] = label
        else:
            others.append(path)
    free = sorted(texts - set(found.values())) if others else []
    if free and (labels is not None or are_labels(files, free)):
        paired = {text: image for text, image, _ in pair_by_stem(files.root, others, free) if image}
        found |= {image: text for text, image in paired.items()}
    return found


def is_label(line: str) -> bool:
    """Whether a line holds a class and fractions of an image."""
    try:
        category, *numbers = map(float, line.split())
    except ValueError:
        return False
    fractions = len(numbers) >= 4 and all(-0.01 <= number <= 1.01 for number in numbers[:4])
    return fractions and category >= 0 and category.is_integer()


def has_polygon(text: str) -> bool:
    """Whether a line has more numbers than a box."""
    return any(len(line.split()) >= 7 for line in text.splitlines())


def largest_class(text: str) -> int:
    """The largest class of the lines that are labels; -1 if there are none."""
    return max((int(float(line.split(maxsplit=1)[0])) for line in text.splitlines() if is_label(line)), default=-1)


def are_labels(files: Reader, paths: list[str]) -> bool:
    """Whether text files hold labels: of about a dozen, some are not empty, and the first lines of these are labels."""
    some = [text for path in paths[:: max(1, len(paths) // 10)] if (text := read_text(files, path).strip())]
    good = sum(is_label(text.splitlines()[0]) for text in some)
    return 2 * good > len(some)  # others, such as lists and README.txt, may lie beside them


def read_objects(
    files: Reader,
    path: str,
    frame: Frame,
    classes: int,
    keypoints: tuple[int, int] | None,
    masks: bool,
    with_polygons: bool = False,
    clip: bool = False,
) -> dict[str, list]:
    """Reads the objects of an image.

    Args:
        path: the label file; "" if the image has none.
        frame: the image.
        classes: the number of classes.
        keypoints: K and the numbers for each (2: x, y; 3: x, y, visible), if the lines have them after the box.
        masks: also make `segmentation` from the polygons.
        with_polygons: also make `polygon`: x0, y0, x1, y1, …; of a box its corners.
        clip: cut boxes and polygons at the border of the image, instead of refusing them.

    Returns:
        The column `objects`, in pixels of the decoded image: a polygon's `bbox` is its extent, and `area` its own;
        keypoints (K, 3) are x, y, visible.

    Raises:
        DataError: naming file and line, if a line has none of the forms, or reaches out of the image.
    """
    objects: dict[str, list[Any]] = {"bbox": [], "category": [], "area": []}
    if keypoints:
        objects["keypoints"] = []
    labels, polygons, size = [], [], np.array(frame.size, np.float64)
    for number, line in enumerate(read_text(files, path).splitlines() if path else (), 1):
        if not line.strip():
            continue
        where = f"{files.root}/{path}, line {number}"
        category, numbers = _numbers(line, classes, where)
        labels.append(where)
        objects["category"].append(category)
        if keypoints:
            wanted = 4 + keypoints[0] * keypoints[1]
            if len(numbers) != wanted:
                raise DataError(
                    f"{where}: there are {1 + len(numbers)} numbers, but kpt_shape {list(keypoints)} needs {1 + wanted}"
                )
            objects["keypoints"].append(_keypoints(numbers[4:].reshape(keypoints), size, where))
        polygon = None
        if len(numbers) == 4 or keypoints:
            corner = (numbers[:2] - numbers[2:4] / 2) * size
            extent = numbers[2:4] * size
            objects["area"].append(extent[0] * extent[1])
        elif len(numbers) >= 6 and len(numbers) % 2 == 0:
            polygon = numbers.reshape(-1, 2) * size
            corner = polygon.min(0)
            extent = polygon.max(0) - corner
            x, y = polygon.T
            objects["area"].append(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)  # the shoelace formula
        elif len(numbers) == 5:
            raise DataError(f"{where}: the sixth number looks like the confidence of a prediction; a label has none")
        else:
            raise DataError(
                f"{where}: there are {1 + len(numbers)} numbers; a box has 5, a polygon its class and 3 points or more"
            )
        objects["bbox"].append([*corner, *extent])
        polygons.append(polygon)
    objects["bbox"] = list(fit_boxes(objects["bbox"], frame, None, labels, clip=clip))
    outlines = [
        corners_of(box) if polygon is None else clip_polygon(polygon, frame.size)
        for polygon, box in zip(polygons, objects["bbox"])
    ]
    if clip:
        objects["area"] = [area_of(outline) for outline in outlines]
    if with_polygons:
        objects["polygon"] = [outline.ravel().tolist() for outline in outlines]
    if masks:
        objects["segmentation"] = []
        for polygon, where in zip(polygons, labels):
            if polygon is None:
                raise DataError(f"{where} is a box: masks=True takes polygons")
            points = [np.clip(polygon, 0, size).ravel().tolist()]
            objects["segmentation"].append(encode_segmentation(points, frame.size, frame, where))
    return objects


def corners_of(box: np.ndarray) -> np.ndarray:
    """The corners (4, 2) of a box x, y, width, height."""
    left, top, width, height = box
    return np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]], np.float64)


def _numbers(line: str, classes: int, where: str) -> tuple[int, np.ndarray]:
    """The class and the other numbers of a line."""
    try:
        category, *numbers = map(float, line.split())
    except ValueError as error:
        raise DataError(f"{where}: {reason(error)}") from None
    if not (category.is_integer() and 0 <= category < classes):
        raise DataError(f"{where}: class {line.split(maxsplit=1)[0][:40]} is not one of 0 to {classes - 1}")
    return int(category), np.array(numbers).clip(-MOST, MOST)  # larger ones are in no image, as fit_boxes reports


def _keypoints(points: np.ndarray, size: np.ndarray, where: str) -> list[np.ndarray]:
    """(K, 2 or 3) fractions -> (K, 3) x, y in pixels and visible: 0 not labelled, 1 hidden, 2 visible."""
    if points.shape[1] == 2:  # a missing point is negative
        points = np.concatenate([points, np.where(points.min(1, keepdims=True) < 0, 0, 2)], 1)
    points[:, :2] *= size
    inside = ((points[:, :2] >= -TOLERANCE) & (points[:, :2] <= size + TOLERANCE)).all(1)
    if not np.isin(points[:, 2], (0, 1, 2)).all():
        raise DataError(f"{where}: the visibility of a keypoint is not 0, 1 or 2")
    if not (np.isfinite(points).all() and inside[points[:, 2] > 0].all()):
        raise DataError(f"{where}: a keypoint is outside the image of {size[0]:g} x {size[1]:g} pixels")
    return list(points)
