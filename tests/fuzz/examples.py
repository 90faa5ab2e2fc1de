"""A small valid example of every format that is read: target -> the script that reads it, and its files.

Examples have the same bytes in every process: an execution is a function of its seed, its target and its number.
"""

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image

Folder = dict[str, bytes]  # path -> content


class Example(NamedTuple):
    """
    Attributes:
        reader: a bundled script, or, for anything but a dataset, a key of `targets.OTHERS`.
        make: builds the files.
        config: the configuration of the script.
    """

    reader: str
    make: Callable[[], Folder]
    config: str | None = None


EXAMPLES: dict[str, Example] = {}


def example(target: str, reader: str | None = None, config: str | None = None) -> Callable:
    def add(make: Callable[[], Folder]) -> Callable[[], Folder]:
        EXAMPLES[target] = Example(reader or target, make, config)
        return make

    return add


def pixels(seed: int, width: int = 8, height: int = 6, channels: int = 3) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return values[:, :, 0] if channels == 1 else values


def image(seed: int, kind: str = "PNG", width: int = 8, height: int = 6, channels: int = 3, **options) -> bytes:
    """A random image, encoded."""
    return encode(pixels(seed, width, height, channels), kind, **options)


def encode(array: np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def turned(seed: int) -> bytes:
    """An image that EXIF turns."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return image(seed, "JPEG", exif=exif)


def on_disk(write: Callable[[Path], None]) -> Folder:
    """The files that a library writes into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        found = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
        }
    return dict(sorted(found.items()))


@example("image_folder")
def class_folders() -> Folder:
    kinds = {"png": "PNG", "jpg": "JPEG", "gif": "GIF"}
    return {
        f"{split}/{name}/{number}.{suffix}": image(number, kinds[suffix])
        for split in ("train", "test")
        for name in ("cat", "dog")
        for number, suffix in enumerate(kinds)
    }


@example("metadata_csv", "image_folder")
def metadata_csv() -> Folder:
    table = "file_name,label,age,score\na/1.png,cat,3,0.5\na/2.png,dog,4,1e3\n3.png,,-1,\n"
    return {"metadata.csv": table.encode(), "a/1.png": image(1), "a/2.png": image(2), "3.png": image(3)}


@example("metadata_jsonl", "image_folder")
def metadata_jsonl() -> Folder:
    rows = [
        {"file_name": f"{n}.png", "label": "ab"[n % 2], "box": [n, 2.5, None], "more": {"x": n, "y": "é"}}
        for n in range(3)
    ]
    table = "".join(json.dumps(row) + "\n" for row in rows)
    return {"train/metadata.jsonl": table.encode()} | {f"train/{n}.png": image(n) for n in range(3)}


@example("metadata_parquet", "image_folder")
def metadata_parquet() -> Folder:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"file_name": ["1.png", "2.png"], "label": ["a", "b"], "x": [1, 2]}), buffer)
    return {"metadata.parquet": buffer.getvalue(), "1.png": image(1), "2.png": image(2)}


CATEGORIES = [{"id": 3, "name": "ant"}, {"id": 7, "name": "bee", "supercategory": "insect"}]


def coco(**fields) -> Folder:
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 8, "height": 6} for n in range(3)]
    things = [
        {
            "id": n,
            "image_id": n // 2,
            "category_id": 3 + 4 * (n % 2),
            "bbox": [1, 1.5, 4, 3],
            "area": 12.0,
            "iscrowd": 0,
        }
        | {name: values[n % len(values)] for name, values in fields.items()}
        for n in range(4)
    ]
    content = {"info": {"year": 2017}, "images": images, "annotations": things, "categories": CATEGORIES}
    files = {f"train/{n}.jpg": turned(n) if n == 2 else image(n, "JPEG") for n in range(3)}
    return files | {"annotations/instances_train.json": json.dumps(content).encode()}


@example("coco_boxes", "coco")
def coco_boxes() -> Folder:
    return coco()


@example("coco_masks", "coco")
def coco_masks() -> Folder:
    shapes = [[[1, 1, 5, 1, 5, 4]], {"size": [6, 8], "counts": [7, 3, 38]}, {"size": [6, 8], "counts": "732m0"}]
    return coco(segmentation=shapes)


@example("coco_keypoints", "coco")
def coco_keypoints() -> Folder:
    files = coco(keypoints=[[1, 2, 2, 3, 4, 1], [0, 0, 0, 5, 5, 2]], num_keypoints=[2, 1])
    content = json.loads(files["annotations/instances_train.json"])
    for category in content["categories"]:
        category |= {"keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
    return files | {"annotations/instances_train.json": json.dumps(content).encode()}


@example("coco_captions", "coco")
def coco_captions() -> Folder:
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(3)],
        "annotations": [{"id": n, "image_id": n % 3, "caption": f"caption {n}"} for n in range(5)],
    }
    return {"annotations.json": json.dumps(content).encode()} | {f"{n}.jpg": image(n, "JPEG") for n in range(3)}


@example("coco_panoptic", "coco")
def coco_panoptic() -> Folder:
    ids = np.zeros((6, 8, 3), np.uint8)
    ids[:3, :, 0], ids[3:, 2:, 1] = 7, 1
    segments = [
        {"id": 7, "category_id": 3, "area": 24, "bbox": [0, 0, 8, 3], "iscrowd": 0},
        {"id": 256, "category_id": 7},
    ]
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 8, "height": 6} for n in range(3)],
        "annotations": [{"image_id": n, "file_name": f"{n}.png", "segments_info": segments} for n in range(3)],
        "categories": [category | {"isthing": 1} for category in CATEGORIES],
    }
    files = {f"train/{n}.jpg": turned(n) if n == 2 else image(n, "JPEG") for n in range(3)}
    files |= {f"annotations/panoptic_train/{n}.png": encode(ids) for n in range(3)}
    return files | {"annotations/panoptic_train.json": json.dumps(content).encode()}


BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"


@example("voc_detection", "voc")
def voc_detection() -> Folder:
    files = {"ImageSets/Main/train.txt": b"1\n2\n", "ImageSets/Main/val.txt": b"3\n"}
    for n in (1, 2, 3):
        things = "".join(
            f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>1</difficult>"
            f"{BOX.format(n, 1, 5, 4)}<part><name>head</name>{BOX.format(1, 1, 2, 2)}</part></object>"
            for name in ("ant", "bee")
        )
        size = "<size><width>8</width><height>6</height><depth>3</depth></size>"
        xml = f"<annotation><folder>x</folder><filename>{n}.jpg</filename>{size}<segmented>0</segmented>{things}</annotation>"
        files |= {
            f"JPEGImages/{n}.jpg": turned(n) if n == 2 else image(n, "JPEG"),
            f"Annotations/{n}.xml": xml.encode(),
        }
    return files


def palette(seed: int) -> bytes:
    mask = PIL.Image.fromarray(pixels(seed, channels=1) % 3)
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    return buffer.getvalue()


@example("voc_segmentation", "voc", "segmentation")
def voc_segmentation() -> Folder:
    files = {"ImageSets/Segmentation/train.txt": b"1\n2\n", "ImageSets/Segmentation/val.txt": b"3\n"}
    for n in (1, 2, 3):
        files |= {f"JPEGImages/{n}.jpg": image(n, "JPEG"), f"SegmentationClass/{n}.png": palette(n)}
        files |= {f"SegmentationObject/{n}.png": palette(n)}
    return files


def yolo(lines: str, more: str = "") -> Folder:
    files = {
        "data.yaml": f"path: ../set\ntrain: images/train\nval: images/val\nnc: 2\nnames: [ant, bee]\n{more}".encode()
    }
    for split in ("train", "val"):
        for n in (1, 2):
            files[f"images/{split}/{n}.jpg"] = turned(n) if n == 2 else image(n, "JPEG")
            files[f"labels/{split}/{n}.txt"] = lines.encode()
    return files


@example("yolo_boxes", "yolo")
def yolo_boxes() -> Folder:
    return yolo("0 0.5 0.5 0.25 0.5\n1 0.25 0.5 0.1 0.2\n")


@example("yolo_polygons", "yolo")
def yolo_polygons() -> Folder:
    return yolo("0 0.1 0.1 0.9 0.1 0.9 0.8\n1 0.2 0.2 0.4 0.2 0.4 0.6 0.2 0.6\n")


@example("yolo_pose", "yolo")
def yolo_pose() -> Folder:
    return yolo("0 0.5 0.5 0.25 0.5 0.4 0.4 2 0.6 0.6 1\n", "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n")


@example("yolo_darknet", "yolo")
def yolo_darknet() -> Folder:
    files = yolo("1 0.5 0.5 0.25 0.5\n")
    del files["data.yaml"]
    files["obj.data"] = (
        b"classes = 2\ntrain = data/train.txt\nvalid = data/val.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    for split in ("train", "val"):
        files[f"{split}.txt"] = f"images/{split}/1.jpg\nimages/{split}/2.jpg\n".encode()
    return files | {"obj.names": b"ant\nbee\n"}


@example("mask_pairs")
def mask_pairs() -> Folder:
    return {f"images/{n}.png": image(n) for n in range(3)} | {f"masks/{n}.png": palette(n) for n in range(3)}


@example("mask_pairs_colors", "mask_pairs")
def mask_pairs_colors() -> Folder:
    colors = np.array([[0, 0, 0], [128, 0, 0], [0, 64, 255]], np.uint8)
    masks = {f"masks/{n}.png": encode(colors[pixels(n, channels=1) % 3]) for n in range(2)}
    table = b"name,r,g,b\nsky,0,0,0\nroad,128,0,0\nwall,0,64,255\n"
    return {f"images/{n}.png": image(n) for n in range(2)} | masks | {"class_dict.csv": table}


@example("image_pairs")
def image_pairs() -> Folder:
    return {
        f"{split}/{side}/{n}.png": image(n) for split in ("train", "test") for side in ("low", "high") for n in range(2)
    }


@example("captions_txt", "captions")
def captions_txt() -> Folder:
    files = {f"{n}.png": image(n) for n in range(3)}
    return files | {f"{n}.txt": f"a photo, number {n}\nand more é\n".encode() for n in range(3)}


@example("captions_json", "captions")
def captions_json() -> Folder:
    said = {"caption": "a photo", "score": 0.5, "id": 12, "tags": ["x", "y"], "nsfw": None}
    return {f"{n}.png": image(n) for n in range(3)} | {
        f"{n}.json": json.dumps(said | {"id": n}).encode() for n in range(3)
    }
