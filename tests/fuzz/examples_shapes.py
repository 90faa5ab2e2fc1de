"""Examples of formats that are about parts of images: masks, text, changes; and of tables and tensors that hold images."""

import json

import numpy as np
from examples import Folder, encode, example, image, pixels


def halves(number: int) -> np.ndarray:
    """A mask of 0 and 255."""
    mask = np.zeros((6, 8), np.uint8)
    mask[number : number + 3, 2:6] = 255
    return mask


@example("mask_pairs_binary", "mask_pairs")
def mask_pairs_binary() -> Folder:
    return {f"images/{n}.png": image(n) for n in range(3)} | {f"masks/{n}.png": encode(halves(n)) for n in range(3)}


@example("mask_pairs_busi", "mask_pairs")
def mask_pairs_busi() -> Folder:
    files = {}
    for name in ("benign", "normal"):
        for n in (1, 2):
            files[f"{name}/{name} ({n}).png"] = image(n)
            files[f"{name}/{name} ({n})_mask.png"] = encode(halves(n))
    return files | {"benign/benign (1)_mask_1.png": encode(halves(2))}


@example("instance_masks")
def instance_masks() -> Folder:
    files = {"stage1_test/ce/images/ce.png": image(9)}
    for name in ("aa", "bb"):
        files[f"stage1_train/{name}/images/{name}.png"] = image(1)
        files |= {f"stage1_train/{name}/masks/{n}.png": encode(halves(n)) for n in range(2)}
    return files


@example("cityscapes")
def cityscapes() -> Folder:
    square = {"label": "car", "polygon": [[1, 1], [6, 1], [6, 4], [1, 4]]}
    said = json.dumps({"imgHeight": 6, "imgWidth": 8, "objects": [square, square | {"label": "cargroup"}]}, indent=4)
    files = {}
    for split, name in (("train", "ulm_0_1"), ("train", "ulm_0_2"), ("val", "bonn_0_1")):
        files[f"leftImg8bit/{split}/{name}_leftImg8bit.png"] = image(1)
        files[f"gtFine/{split}/{name}_gtFine_labelIds.png"] = encode(pixels(1, channels=1) % 34)
        files[f"gtFine/{split}/{name}_gtFine_instanceIds.png"] = encode(pixels(2, channels=1).astype(np.uint16) * 99)
        files[f"gtFine/{split}/{name}_gtFine_polygons.json"] = said.encode()
    return files


@example("ocr_boxes", "ocr")
def ocr_boxes() -> Folder:
    quads = "\ufeff1,1,6,1,6,4,1,4,Genaxis, Theatre\r\n0,0,3,0,3,2,0,2,###\r\n".encode()
    files = {f"images/img_{n}.png": image(n) for n in range(3)}
    return files | {f"gt/gt_img_{n}.txt": quads for n in range(2)} | {"gt/gt_img_2.txt": b'1, 1, 5, 4, "To"\r\n'}


@example("ocr_curves", "ocr")
def ocr_curves() -> Folder:
    box = "<box left='1' top='1' width='5' height='3'><label>{}</label><segs>1,1,4,0,6,1,6,4,1,4</segs></box>"
    files = {f"train_images/{n}.jpg": image(n, "JPEG") for n in range(3)} | {"test_images/7.jpg": image(7, "JPEG")}
    for n in range(3):
        xml = f"<Annotations><image file='{n}.jpg'>{box.format('word') + box.format('###')}</image></Annotations>"
        files[f"train_labels/{n}.xml"] = xml.encode()
    return files | {"gt/0007.txt": b"1,1,4,0,6,1,6,4,1,4,####a word\n1,1,3,1,3,3,####b\n"}


@example("ocr_lines", "ocr")
def ocr_lines() -> Folder:
    files = {f"{n}.png": image(n) for n in range(3)}
    return files | {f"{n}.gt.txt": f"line é {n}\n".encode() for n in range(3)}


@example("ocr_list", "ocr")
def ocr_list() -> Folder:
    files = {f"images/{n}.png": image(n) for n in range(3)}
    return files | {"labels.txt": "".join(f"images/{n}.png\tline é {n}\n" for n in range(3)).encode()}


@example("pixel_csv")
def pixel_csv() -> Folder:
    head = "label," + ",".join(f"pixel{n}" for n in range(64))
    rows = [f"{n},{','.join(map(str, pixels(n, 8, 8, 1).ravel()))}" for n in range(3)]
    return {f"mnist_{split}.csv": "\n".join([head, *rows, ""]).encode() for split in ("train", "test")}


@example("pixel_csv_text", "pixel_csv")
def pixel_csv_text() -> Folder:
    usages = ("Training", "PublicTest", "PrivateTest")
    rows = [f"{n},{' '.join(map(str, pixels(n, 8, 8, 1).ravel()))},{usages[n]}" for n in range(3)]
    return {"fer2013.csv": "\n".join(["emotion,pixels,Usage", *rows, ""]).encode()}


@example("change_pairs")
def change_pairs() -> Folder:
    files = {}
    for name in ("train_1", "train_2", "val_1"):
        files |= {f"{side}/{name}.png": image(len(side + name)) for side in "AB"}
        files[f"label/{name}.png"] = encode(halves(1))
    return files | {"list/train.txt": b"train_1.png\ntrain_2.png\n", "list/val.txt": b"val_1.png\n"}
