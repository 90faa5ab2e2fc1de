"""COCO's panoptic segmentation: pngs whose colours are the ids of segments, which the json describes.

The format: https://cocodataset.org/#format-data, "4. Panoptic Segmentation".
"""

import posixpath
from typing import Any

import datasets
import numpy as np

from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files, Reader, folder_of, folders_of, name_of, stem_of
from dataset_scripts.core.files.stems import Named
from dataset_scripts.core.formats.fields import short
from dataset_scripts.core.image.decode import Frame, decode_image, encode_image
from dataset_scripts.core.image.objects import encode_mask, fit_boxes
from dataset_scripts.layouts.coco.objects import areas, check_annotation

logger = printable_logger(__name__)

COLUMNS = {"mask": datasets.Image(), "instance_mask": datasets.Image()}
MOST = (1 << 16) - 1  # segments of an image that 16 bits number


def own_folder(pngs: list[str], source: str) -> list[str]:
    """The pngs in the folder that is named like the json file, if that name is one of panoptic files."""
    stem = stem_of(source)
    return [path for path in pngs if f"/{stem}/" in f"/{folder_of(path)}/"] if "panoptic" in stem.lower() else []


def find_pngs(files: Files, pngs: list[str], source: str, names: dict[str, Any], faults: Faults) -> dict[str, str]:
    """The png of each image, by the file names in its annotation.

    Args:
        pngs: paths of the listing; one of an image that is a png itself may be among them.
        names: image id -> file name.

    Raises:
        DataError: a name has no png, or two have the same; or they may lie in several folders.
    """
    where = f"{files.root}/{source}"
    folder = _folder(files, pngs, source, [name for name in names.values() if isinstance(name, str)])
    below = [path for path in pngs if not folder or path.startswith(f"{folder}/")]
    known, named = set(below), Named(files.root, below)
    found: dict[str, str] = {}
    seen: dict[str, str] = {}
    for image, name in names.items():
        with faults:
            if not isinstance(name, str) or not name:
                raise DataError(f"{where}: the annotation of image {image} has no file_name, but {short(name)}")
            path = posixpath.normpath(posixpath.join(folder, name.replace("\\", "/")))
            if path not in known:
                path = named.find(name, source, f"{where}: annotation of image {image}")
            if path in seen:
                raise DataError(f"{where}: images {seen[path]} and {image} have the same png {path}")
            seen[path] = image
            found[image] = path
    return found


def _folder(files: Files, pngs: list[str], source: str, names: list[str]) -> str:
    """The folder that the names of pngs are relative to; else the one that is named like the json file."""
    some, there = names[:: max(1, len(names) // 20)], set(pngs)
    folders = sorted(folders_of(pngs))
    hits = {folder: sum(posixpath.join(folder, name) in there for name in some) for folder in folders}
    best = [folder for folder in folders if hits[folder] == max(hits.values())]
    if not max(hits.values()):
        return next((folder for folder in folders if name_of(folder) == stem_of(source)), "")
    for wanted in (
        lambda folder: "panoptic" in name_of(folder).lower() and name_of(folder) == stem_of(source),
        lambda folder: "panoptic" in name_of(folder).lower(),
        lambda folder: "panoptic" in folder.lower(),
    ):
        best = [folder for folder in best if wanted(folder)] or best
    if len(best) > 1:
        raise DataError(
            f"{files.root}: the pngs of {source} may lie in {', '.join(best)}: name the folder of the images by images=…"
        )
    return best[0]


def read_segments(
    files: Reader,
    png: str,
    annotations: list[dict],
    frame: Frame,
    annotated: tuple | None,
    where: str,
    things: dict[str, tuple[int, bool | None]],
    clip: bool = False,
    has_masks: bool = False,
) -> dict[str, Any]:
    """The columns `mask`, `instance_mask` and `objects` of an image.

    Args:
        png: its path.
        annotations: the annotation of the image, in a list.
        annotated: (width, height) of the image that was annotated, None if unknown.
        where: names the image, for messages.
        things: category id as text -> its class, and whether it is a thing.
        clip: cut boxes at the border of the image.
        has_masks: add the item `segmentation`.
    """
    if len(annotations) != 1:
        raise DataError(f"{where} has {len(annotations)} annotations, not one")
    segments = annotations[0].get("segments_info")
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise DataError(f"{where}: segments_info is {short(segments)}, not a list of segments")
    labels = [f"{where}, segment {short(segment.get('id'))}" for segment in segments]
    numbers = _numbers(files, png, _ids(segments, where), frame)
    counts = np.bincount(numbers.ravel(), minlength=len(segments) + 1).tolist()
    for number, (segment, label) in enumerate(zip(segments, labels), 1):
        if not counts[number]:
            raise DataError(f"{label} has no pixel in {png}")
        if str(segment.get("category_id")) not in things:
            raise DataError(f"{label}: there is no category {short(segment.get('category_id'))}")
    drawn = {place: _box(numbers == place + 1) for place, segment in enumerate(segments) if not segment.get("bbox")}
    segments = [segment if segment.get("bbox") else segment | {"bbox": [0, 0, 0, 0]} for segment in segments]
    segments = [
        segment if segment.get("area") is not None else segment | {"area": count}
        for segment, count in zip(segments, counts[1:])
    ]
    for segment, label in zip(segments, labels):
        check_annotation(segment, label)
    boxes = [segment["bbox"] for segment in segments]
    fitted = fit_boxes(boxes, frame, annotated, labels, clip=clip)
    objects = {"bbox": list(fitted), "category": [things[str(segment["category_id"])][0] for segment in segments]}
    objects["area"] = areas(segments, boxes, fitted, clip)
    for place, box in drawn.items():
        objects["bbox"][place] = box
    objects |= {
        "iscrowd": [bool(segment.get("iscrowd", 0)) for segment in segments],
        "id": [segment["id"] for segment in segments],
        "isthing": [things[str(segment["category_id"])][1] for segment in segments],
    }
    if has_masks:
        objects["segmentation"] = [encode_mask(numbers == number) for number in range(1, len(segments) + 1)]
    kind, unlabelled = (np.uint8, 255) if len(things) <= 255 else (np.uint16, 65535)
    classes = np.array([unlabelled, *objects["category"]], kind)
    return {
        "mask": {"bytes": encode_image(classes[numbers]), "path": None},
        "instance_mask": {"bytes": encode_image(numbers), "path": None},
        "objects": objects,
    }


def _ids(segments: list[dict], where: str) -> np.ndarray:
    """The ids of segments, in their order."""
    if len(segments) > MOST:
        raise DataError(f"{where} has {len(segments):,} segments, more than {MOST:,}")
    seen = set()
    for segment in segments:
        number = segment.get("id")
        if type(number) is not int or not 0 < number < 1 << 24:
            raise DataError(
                f"{where}: the id of a segment is {short(number)}, not a whole number of 1 to {(1 << 24) - 1:,}"
            )
        if number in seen:
            raise DataError(f"{where}: segment id {number} occurs twice")
        seen.add(number)
    return np.array([segment["id"] for segment in segments], np.int64)


def _numbers(files: Reader, png: str, ids: np.ndarray, frame: Frame) -> np.ndarray:
    """The number of the segment of each pixel (H, W), uint16, from 1; 0 is unlabelled."""
    where = f"{files.root}/{png}"
    value = {"bytes": files.read(png), "path": png}
    size = Frame.of(value["bytes"], where).size
    if size != frame.size and not frame.turns(size):
        raise DataError(
            f"{where} has {size[0]} x {size[1]} pixels, but its image has {frame.size[0]} x {frame.size[1]}"
        )
    image = decode_image(value, where)
    if image.mode not in ("RGB", "RGBA", "P"):
        raise DataError(f"{where} has the mode {image.mode}: the ids of segments are colours, R + 256 G + 65536 B")
    pixels = np.asarray(image.convert("RGB")).astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)
    known = np.concatenate([[0], np.sort(ids)]).astype(np.int32)
    places = np.searchsorted(known, pixels).clip(max=len(known) - 1)
    if (odd := known[places] != pixels).any():
        y, x = np.argwhere(odd)[0].tolist()
        raise DataError(f"{where}: the pixel x={x}, y={y} is of segment {pixels[y, x]}, which is not in segments_info")
    numbers = np.concatenate([[0], np.argsort(ids) + 1]).astype(np.uint16)[places]
    return frame.turn_mask(numbers) if frame.turns(size) else numbers


def _box(mask: np.ndarray) -> list[float]:
    """The box around the pixels of a mask (H, W)."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
