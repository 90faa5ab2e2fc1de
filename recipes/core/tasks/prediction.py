"""What a trained network says of images, by any number of ranks and in the order of the images; and the files of it."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import Accelerator
from torch import nn
from tqdm import tqdm

from dataset_scripts.core.files.replace import write_file
from dataset_scripts.core.image.objects import object_features
from dataset_scripts.core.look.sheet import contact_sheet
from recipes.core.data.deal import deal
from recipes.core.data.light import PrepareScenes
from recipes.core.data.pictures import Pictures
from recipes.core.data.place import Place
from recipes.core.data.several import LABELS, NUMBER
from recipes.core.models.saved import DETECTION, SEGMENTATION, Info
from recipes.core.models.segmenters import logits_of
from recipes.core.tasks.coco import annotations
from recipes.core.tasks.detection import in_image
from recipes.core.tasks.outputs import SURE
from recipes.core.tasks.segmentation import ids_of

SHOWN = 24  # images on the contact sheet
MASKS = "masks"  # the folder of the masks


@dataclass
class Said:
    """What is said of an image.

    Attributes:
        split, row, path: the image.
        fault: why it cannot be read; then nothing is said.
        values: of a classifier `label`, `confidence` and `probabilities`; of a network of several labels `labels` and
            `probabilities`; of one of a number `number`; of a detector `boxes`, an `Image` of
            `recipes.core.tasks.coco`; of a segmentation `pixels`, the number of pixels of each class.
    """

    split: str
    row: int
    path: str | None
    fault: str | None
    values: dict[str, Any]


@torch.no_grad()
def predict(
    accelerator: Accelerator,
    model: nn.Module,
    info: Info,
    split: str,
    pictures: Pictures,
    batch: int,
    workers: int,
    score: float,
    folder: Path,
) -> Iterator[Said]:
    """The predictions of this rank. Whole batches are dealt to the ranks, see `deal`, so an image is in the same batch on any
    number of ranks. Masks are written into `folder` at once.
    """
    prepare, task = PrepareScenes(info["mean"], info["std"], accelerator.device), info.get("task")
    batches = tqdm(
        deal(accelerator, pictures, batch, workers),
        desc=f"predict {split}",
        total=-(-len(pictures) // (batch * accelerator.num_processes)),
        unit="batch",
        leave=False,
        disable=not accelerator.is_main_process,
    )
    for rows, item in batches:
        x, _ = prepare({"pixels": item["pixels"]})
        with accelerator.autocast():
            output = model(x)
        if task in (None, LABELS, NUMBER):
            output = output.float()
            output = output.softmax(1) if task is None else output.sigmoid() if task == LABELS else output
            output = output.cpu().numpy()
        elif task == SEGMENTATION:
            output = logits_of(output)
        for slot, (row, size, fault, path) in enumerate(zip(rows, item["sizes"], item["faults"], item["paths"])):
            said = Said(split, row, path, fault, {})
            if fault is None and task is None:
                label = int(output[slot].argmax())
                said.values = {
                    "label": info["labels"][label],
                    "confidence": float(output[slot][label]),
                    "probabilities": output[slot].tolist(),
                }
            elif fault is None and task == LABELS:
                names = [name for name, sure in zip(info["labels"], output[slot]) if sure >= SURE]
                said.values = {"labels": names, "probabilities": output[slot].tolist()}
            elif fault is None and task == NUMBER:
                said.values = {"number": float(output[slot][0]) * info["scale"] + info["offset"]}
            elif fault is None and task == DETECTION:
                found = in_image(row, output[slot], Place.of(*size, info["size"]))
                kept = found.scores >= score
                found.boxes, found.categories, found.scores = (
                    found.boxes[kept],
                    found.categories[kept],
                    found.scores[kept],
                )
                said.values = {"boxes": found}
            elif fault is None:
                ids = ids_of(output[slot], Place.of(*size, info["size"]))
                said.values = {"pixels": np.bincount(ids.ravel(), minlength=len(info["labels"])).tolist()}
                write_file(folder / MASKS / mask_name(split, row), encode_ids(ids))
            yield said


def mask_name(split: str, row: int) -> str:
    return f"{split}-{row:06d}.png"


def encode_ids(ids: np.ndarray) -> bytes:
    """A grey PNG of ids."""
    file = io.BytesIO()
    PIL.Image.fromarray(ids.astype(np.uint8)).save(file, "png")
    return file.getvalue()


def write_predictions(
    folder: Path, info: Info, said: list[Said], rows: dict[str, tuple[datasets.Dataset, str]]
) -> None:
    """Writes the predictions, in the order of splits and rows, as Parquet and csv; COCO's json of boxes; a contact sheet; and
    the list of images that could not be read.

    Args:
        rows: the images of each split, and their column.
    """
    task, labels = info.get("task"), info["labels"]
    good = [one for one in said if one.fault is None]
    head = {"split": [one.split for one in good], "row": [one.row for one in good], "path": [one.path for one in good]}
    if task is None:
        columns = {name: [one.values[name] for one in good] for name in ("label", "confidence", "probabilities")}
        lines = [[one.split, one.row, one.path, one.values["label"], f"{one.values['confidence']:.6f}"] for one in good]
        names = ["split", "row", "path", "label", "confidence"]
    elif task == LABELS:
        columns = {name: [one.values[name] for one in good] for name in ("labels", "probabilities")}
        lines = [[one.split, one.row, one.path, " | ".join(one.values["labels"])] for one in good]
        names = ["split", "row", "path", "labels"]
    elif task == NUMBER:
        number = labels[0] if labels[0] not in head else f"predicted {labels[0]}"
        columns = {number: [one.values["number"] for one in good]}
        lines = [[one.split, one.row, one.path, f"{one.values['number']:.7g}"] for one in good]
        names = ["split", "row", "path", number]
    elif task == DETECTION:
        found = [one.values["boxes"] for one in good]
        columns = {
            "bbox": [image.boxes.tolist() for image in found],
            "category": [[labels[kind] for kind in image.categories.tolist()] for image in found],
            "score": [image.scores.tolist() for image in found],
        }
        lines = [
            [one.split, one.row, one.path, *(f"{side:.2f}" for side in box), labels[kind], f"{score:.6f}"]
            for one, image in zip(good, found)
            for box, kind, score in zip(image.boxes.tolist(), image.categories.tolist(), image.scores.tolist())
        ]
        names = ["split", "row", "path", "x", "y", "width", "height", "category", "score"]
        write_file(folder / "predictions.json", coco_json(good, labels))
    else:
        columns = {
            "mask": [f"{MASKS}/{mask_name(one.split, one.row)}" for one in good],
            "pixels": [one.values["pixels"] for one in good],
        }
        lines = [
            [one.split, one.row, one.path, mask, label, count]
            for one, mask in zip(good, columns["mask"])
            for label, count in zip(labels, one.values["pixels"])
            if count
        ]
        names = ["split", "row", "path", "mask", "class", "pixels"]
    file = io.BytesIO()
    pq.write_table(pa.table(head | columns), file)
    write_file(folder / "predictions.parquet", file.getvalue())
    write_file(folder / "predictions.csv", as_csv(names, lines))
    if faults := [[one.split, one.row, one.path, one.fault] for one in said if one.fault is not None]:
        write_file(folder / "unreadable.csv", as_csv(["split", "row", "path", "reason"], faults))
    if good:
        picture = io.BytesIO()
        shown = [good[place] for place in np.unique(np.linspace(0, len(good) - 1, SHOWN).round().astype(int)).tolist()]
        contact_sheet(
            as_rows(shown, info, rows, folder), rows=-(-len(shown) // 4), columns=4, numbers=[one.row for one in shown]
        ).save(picture, "png")
        write_file(folder / "predictions.png", picture.getvalue())


def as_rows(
    said: list[Said], info: Info, rows: dict[str, tuple[datasets.Dataset, str]], folder: Path
) -> datasets.Dataset:
    """Images with what is said of them, as a dataset that the preview draws."""
    task, labels = info.get("task"), info["labels"]
    table: dict[str, list[Any]] = {"image": []}
    features: dict[str, Any] = {"image": datasets.Image()}
    for one in said:
        part, column = rows[one.split]
        table["image"].append(part.select_columns([column]).with_format("arrow")[one.row][column][0].as_py())
    if task is None:
        table["label"] = [f"{one.values['label']} {one.values['confidence']:.0%}" for one in said]
        features["label"] = datasets.Value("string")
    elif task in (LABELS, NUMBER):
        texts = [one.values["labels"] if task == LABELS else [f"{one.values['number']:.4g}"] for one in said]
        table["label"] = [", ".join(names) or "none" for names in texts]
        features["label"] = datasets.Value("string")
    elif task == DETECTION:
        found = [one.values["boxes"] for one in said]
        table["objects"] = [{"bbox": one.boxes.tolist(), "category": one.categories.tolist()} for one in found]
        features["objects"] = object_features(labels)
    else:
        paths = [folder / MASKS / mask_name(one.split, one.row) for one in said]
        table["mask"] = [{"bytes": path.read_bytes(), "path": None} for path in paths]
        features["mask"] = datasets.Image()
    return datasets.Dataset.from_dict(table, features=datasets.Features(features))


def coco_json(said: list[Said], labels: list[str]) -> str:
    """Images, categories and boxes in COCO's form; `file_name` is the path of the image, and ids count from 1."""
    images, boxes = [], []
    for number, one in enumerate(said, 1):
        images.append({"id": number, "file_name": one.path, "split": one.split, "row": one.row})
        boxes += [
            box | {"id": len(boxes) + place, "image_id": number}
            for place, box in enumerate(annotations([one.values["boxes"]]), 1)
        ]
    categories = [{"id": number, "name": name} for number, name in enumerate(labels, 1)]
    return json.dumps({"images": images, "annotations": boxes, "categories": categories}) + "\n"


def as_csv(names: list[str], lines: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([names, *lines])
    return text.getvalue()
