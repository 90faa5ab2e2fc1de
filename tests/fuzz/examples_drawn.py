"""Examples of what annotation tools write about shapes that are drawn on images of 8 x 6 pixels."""

import base64
import json
import zlib

import numpy as np
from examples import Folder, encode, example, image, turned

IMAGES = {f"{n}.jpg": turned(n) if n == 2 else image(n, "JPEG") for n in range(3)}
MASK = np.array([[0, 1, 1], [1, 1, 0]], np.uint8)
PNG = encode(255 * MASK)


def text(value) -> bytes:
    return json.dumps(value, indent=2).encode()


@example("labelme")
def labelme() -> Folder:
    kinds = {
        "rectangle": [[1, 1], [5, 4.5]],
        "polygon": [[1, 1], [6, 1], [3, 4]],
        "circle": [[3, 3], [4, 4]],
        "mask": [[2, 2], [4, 3]],
        "linestrip": [[1, 1], [2, 3], [5, 5]],
    }
    files = dict(IMAGES)
    for n in range(3):
        shapes = [
            {
                "label": "ab"[n % 2],
                "points": points,
                "group_id": n,
                "description": "",
                "shape_type": kind,
                "flags": {"x": True},
            }
            | {"mask": base64.b64encode(PNG).decode() if kind == "mask" else None}
            for kind, points in kinds.items()
        ]
        said = {
            "version": "5.5.0",
            "flags": {"dark": n == 1},
            "shapes": shapes,
            "imagePath": f"{n}.jpg",
            "imageData": None,
        }
        files[f"{n}.json"] = text(said | {"imageHeight": 8 if n == 2 else 6, "imageWidth": 6 if n == 2 else 8})
    inside = {"imagePath": "in.png", "imageData": base64.b64encode(image(7)).decode()}
    return files | {"in.json": text({"version": "5.5.0", "flags": {}, "shapes": []} | inside)}


LABELS = "<meta><task><labels>{}</labels>{}</task></meta>"
LABEL = "<label><name>{}</name><type>any</type></label>"
DRAWN = """<box label="a" occluded="1" xtl="1" ytl="1" xbr="4" ybr="3.5" z_order="0"><attribute name="x">y</attribute></box>
<box label="b" occluded="0" xtl="2" ytl="2" xbr="5" ybr="4" rotation="30" z_order="1"></box>
<polygon label="a" occluded="0" points="1,1;4,1;2,4" z_order="0"></polygon>
<polyline label="a" occluded="0" points="1,1;4,1;2,4" z_order="0"></polyline>
<points label="a" occluded="0" points="1,1" z_order="0"></points>
<ellipse label="a" occluded="0" cx="3" cy="3" rx="2" ry="1" z_order="0"></ellipse>
<mask label="b" occluded="0" rle="1, 4, 1" left="1" top="2" width="3" height="2" z_order="0"></mask>
<tag label="a"><attribute name="x">y</attribute></tag>"""


@example("cvat")
def cvat() -> Folder:
    parts = [
        f'<image id="{n}" name="{n}.jpg" subset="{"Test" if n == 1 else "Train"}">{DRAWN if n else ""}</image>'
        for n in range(3)
    ]
    head = "<?xml version='1.0' encoding='utf-8'?>\n<annotations><version>1.1</version>"
    head += LABELS.format(LABEL.format("a") + LABEL.format("b"), "")
    return IMAGES | {"annotations.xml": f"{head}{''.join(parts)}</annotations>".encode()}


@example("cvat_video", "cvat")
def cvat_video() -> Folder:
    box = '<box frame="{}" keyframe="1" outside="{}" occluded="0" xtl="1" ytl="1" xbr="4" ybr="3" z_order="0"></box>'
    steps = "".join(box.format(n, int(n == 2)) for n in range(3))
    size = "<original_size><width>8</width><height>6</height></original_size>"
    head = f"<annotations><version>1.1</version>{LABELS.format(LABEL.format('a'), size)}"
    files = {f"images/frame_{n:06}.png": image(n) for n in range(3)}
    return files | {"annotations.xml": f'{head}<track id="0" label="a">{steps}</track></annotations>'.encode()}


@example("supervisely")
def supervisely() -> Folder:
    tag = [{"id": 1, "name": "night", "value": 5}]
    hole = [[3, 2], [4, 2], [4, 3]]
    things = [
        {
            "classTitle": "a",
            "geometryType": "rectangle",
            "points": {"exterior": [[1, 1], [4, 3]], "interior": []},
            "tags": tag,
        },
        {
            "classTitle": "b",
            "geometryType": "polygon",
            "points": {"exterior": [[1, 1], [6, 1], [3, 4]], "interior": [hole]},
        },
        {"classTitle": "a", "geometryType": "line", "points": {"exterior": [[1, 1], [6, 1]], "interior": []}},
        {
            "classTitle": "b",
            "geometryType": "bitmap",
            "bitmap": {"data": base64.b64encode(zlib.compress(PNG)).decode(), "origin": [1, 2]},
        },
    ]
    said = {"description": "", "tags": tag, "size": {"height": 6, "width": 8}, "objects": things}
    classes = [{"title": title, "shape": "any", "color": "#8A0F59"} for title in "ab"]
    files = {f"ds{n}/img/{n}.png": image(n) for n in range(2)} | {
        f"ds{n}/ann/{n}.png.json": text(said) for n in range(2)
    }
    return files | {"meta.json": text({"classes": classes, "tags": [], "projectType": "images"})}


def regions() -> list[dict]:
    box = {"height": 2.5, "width": 3, "left": 1, "top": 1}
    points = [{"x": 1, "y": 1}, {"x": 4, "y": 1}, {"x": 4, "y": 3.5}]
    return [
        {"id": kind, "type": kind, "tags": tags, "boundingBox": box, "points": points}
        for kind, tags in (("RECTANGLE", ["a"]), ("POLYGON", ["b", "a"]), ("POLYLINE", ["a"]))
    ]


def asset(n: int) -> dict:
    told = {"format": "jpg", "id": f"id{n}", "name": f"{n}.jpg", "path": f"file:/x/{n}.jpg", "state": 2, "type": 1}
    return {"asset": told | {"size": None if n == 2 else {"width": 8, "height": 6}}, "regions": regions()}


@example("vott_export", "vott")
def vott_export() -> Folder:
    said = {
        "name": "x",
        "securityToken": "t",
        "videoSettings": {"frameExtractionRate": 15},
        "tags": [{"name": "a"}, {"name": "b"}],
    }
    return IMAGES | {"x-export.json": text(said | {"assets": {f"id{n}": asset(n) for n in range(3)}})}


@example("vott_assets", "vott")
def vott_assets() -> Folder:
    project = {"name": "x", "tags": [{"name": "a"}, {"name": "b"}]}
    return IMAGES | {f"id{n}-asset.json": text(asset(n)) for n in range(3)} | {"x.vott": text(project)}


@example("kitti")
def kitti() -> Folder:
    line = "Car 0.00 {} -1.57 1.5 1 {} 5.25 2.85 2.63 12.34 0.47 1.49 69.44 -1.56\n"
    files = {f"testing/image_2/{n:06}.png": image(n) for n in range(2)}
    for n in range(3):
        lines = "".join(line.format(k, 4 + k) for k in range(n))
        lines += "DontCare -1 -1 -10 1 1 2.5 3 -1 -1 -1 -1000 -1000 -1000 -10\n" * (n != 0)
        files |= {f"training/image_2/{n:06}.png": image(n), f"training/label_2/{n:06}.txt": lines.encode()}
        files |= {f"training/calib/{n:06}.txt": b"P0: 7.2e+02 0.0\nP1: 1.0 2.0\n"}
    return files


@example("dota")
def dota() -> Folder:
    lines = b"imagesource:GoogleEarth\ngsd:0.146\n1 1 4 1 4 3.5 1 3.5 ship 0\n3.0 1.0 5.0 3.0 3.0 5.0 1.0 3.0 small-vehicle 1\n"
    files = {f"{split}/images/P{n}.png": image(n) for split in ("train", "val", "test") for n in range(2)}
    return files | {f"{split}/labelTxt/P{n}.txt": lines for split in ("train", "val") for n in range(2)}
