"""Evaluates a run of `train.py`, `detect.py` or `segment.py`: the same numbers on any number of processes.

    accelerate launch recipes/evaluate.py runs/digits-1                                # the test split of its data
    accelerate launch recipes/evaluate.py runs/digits-1 data.path=path/to/other/data   # other data with the same classes
    accelerate launch recipes/evaluate.py runs/digits-1/checkpoints/000000001408 flips=true
    python recipes/evaluate.py --help                                                  # all options

The first argument is a run folder, a copy of its model.safetensors and config.json, or a checkpoint. If the training
held rows out, these are evaluated. The command writes metrics.json and pictures into a folder; of a classifier also
predictions.parquet (row, label, prediction, confidence, probabilities), of a detector predictions.json, in the form of COCO's results.
"""

from recipes.core.config.commands import Evaluate
from recipes.core.config.data import TestData
from recipes.core.help import print_help
from recipes.core.ranks import signals

if __name__ == "__main__":  # before the imports below, which take seconds
    signals.listen()
    print_help(__doc__, Evaluate)

import io
import os
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import Accelerator
from accelerate.utils import gather_object

from dataset_scripts.core.errors import printable
from dataset_scripts.core.files.disk import writing
from dataset_scripts.core.files.replace import write_file
from dataset_scripts.core.load.script import find_script
from recipes.core.data import several
from recipes.core.data.augment import Prepare
from recipes.core.data.data import load_test
from recipes.core.data.fingerprint import MEANING, digests_of, find_images, read_fingerprint
from recipes.core.data.light import PrepareScenes
from recipes.core.data.scenes import Scenes
from recipes.core.data.several import LABELS, NUMBER
from recipes.core.data.splits import HELD_OUT, Part
from recipes.core.errors import UserError
from recipes.core.models.models import check_input
from recipes.core.models.saved import DETECTION, SEGMENTATION, load_model, run_of
from recipes.core.options import build, check, merge, read_options, split_words
from recipes.core.ranks.runtime import finish, one_line_errors, quiet_other_ranks, start
from recipes.core.tasks.detect_report import plot_precision, plot_predictions, results_json
from recipes.core.tasks.detection import evaluate_boxes
from recipes.core.tasks.evaluation import Evaluation, evaluate
from recipes.core.tasks.outputs import ManyLabels, Numbers, outputs_of
from recipes.core.tasks.outputs_report import plot_labels, plot_numbers
from recipes.core.tasks.report import as_json, draw, plot_confusion
from recipes.core.tasks.segmentation import evaluate_masks
from recipes.core.tasks.trained import KINDS, data_of, kind_of


def predictions(result: Evaluation, part: Part) -> pa.Table:
    """Return all predictions in row order, with the row numbers of the split; on the main process."""
    parts = gather_object([(result.rows, result.probabilities)])
    rows = np.concatenate([part[0] for part in parts])
    probabilities = np.concatenate([part[1] for part in parts])[np.argsort(rows)]
    return pa.table(
        {
            "row": np.sort(rows) if part.indices is None else part.indices,
            "label": part.labels,
            "prediction": probabilities.argmax(1),
            "confidence": probabilities.max(1),
            "probabilities": pa.FixedSizeListArray.from_arrays(probabilities.ravel(), probabilities.shape[1]),
        }
    )


def run(accelerator: Accelerator, config: Evaluate, path: Path, trained: dict[str, Any]) -> None:
    model, info = load_model(path)
    kind, task, labels = KINDS[info.get("task")], info.get("task"), info["labels"]
    images, part, data, notes = load_test(data_of(kind, info, trained, config), labels, kind.target)
    notes += compare_data(run_of(path), part, data, is_trained=bool(trained))
    model = model.to(accelerator.device)
    if not isinstance(images, Scenes) and several.kind_of_values(images.labels) != (task or several.CLASS):
        raise UserError(
            f"data.label={data.label} holds {several.kind_of_values(images.labels)} of an image, and {path} was trained on "
            f"{task or several.CLASS}"
        )
    if data.size != info["size"] or config.tile:
        check_input(model, info["architecture"], data.channels, config.tile or data.size)
    usual = (accelerator, model, images)
    scenes = PrepareScenes(data.mean, data.std, accelerator.device)
    result: Any
    table = None
    if task == DETECTION:
        result = evaluate_boxes(*usual, scenes, labels, config.batch, data.workers)
    elif task == SEGMENTATION:
        result = evaluate_masks(*usual, scenes, len(labels), config.batch, data.workers, config.tile, config.overlap)
    elif task is not None:
        prepare = Prepare(data.mean, data.std, accelerator.device)
        outputs = outputs_of(*usual, prepare, config.batch, data.workers, config.flips)
        if task == LABELS:
            result = ManyLabels.of(outputs, images.labels)
        else:
            found = outputs[:, 0] * info["scale"] + info["offset"]
            result = Numbers(found, images.labels, info["scale"], info["absolute"])
    else:
        prepare = Prepare(data.mean, data.std, accelerator.device)
        result = evaluate(*usual, prepare, len(labels), config.batch, data.workers, config.flips, keep=True)
        table = predictions(result, part)
    if not accelerator.is_main_process:
        return
    for note in notes:
        print(printable(note))
    if config.out is None and not path.exists():
        raise UserError(f"{path} is not a folder to write into: set out=evaluation")
    folder = Path(config.out) if config.out else path / "evaluation"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if table is not None:
        file = io.BytesIO()
        pq.write_table(table, file)
        write_file(folder / "predictions.parquet", file.getvalue())
    metrics = {
        "data": data.path,
        "split": part.split,
        "size": data.size,
        "images": result.count,
        "precision": accelerator.mixed_precision,
        **result.numbers(),
        "by_class": result.by_class(labels),
    }
    write_file(folder / "metrics.json", as_json(metrics, indent=2) + "\n")
    if task == DETECTION:
        write_file(folder / "predictions.json", results_json(result.found))
        draw(plot_precision, folder / "precision.png", result.coco, labels)
        draw(plot_predictions, folder / "predictions.png", images, result.found, labels)
    elif task == LABELS:
        draw(plot_labels, folder / "labels.png", result.by_class(labels))
    elif task == NUMBER:
        draw(plot_numbers, folder / "numbers.png", result, labels[0])
    else:
        draw(plot_confusion, folder / "confusion.png", result.confusion.numpy(), labels)
    shares = ", ".join(f"{name} {value}" for name, value in result.columns().items())
    said = "" if task else f"cross-entropy {result.loss:.4f}, calibration error {result.ece:.4f}, "
    print(f"{result.count:,} images: {shares}, {said}precision {accelerator.mixed_precision}: see {printable(folder)}")


def compare_data(folder: Path, part: Part, data: Any, is_trained: bool) -> list[str]:
    """Compare the rows with the fingerprint of those that the model was trained on; return notes for the user.

    Raises:
        UserError: the training held rows out, and the data have changed since, so the held-out rows are unknown.
    """
    before = read_fingerprint(folder)
    if before is None:
        return []
    notes, changed = [], None
    if is_trained and before["test"].get("split") == part.split:
        now = digests_of(part, data.image)
        changed = next((key for key in ("rows", "labels", "images") if now[key] != before["test"].get(key)), None)
    if changed is not None and part.split == HELD_OUT:
        raise UserError(
            f"{data.path} has changed since the training ({MEANING[changed]}), so that the rows it held out are not "
            "known any more: set data.test_split"
        )
    if changed is not None:
        notes.append(f"{MEANING[changed]} of split {part.split} changed since the training")
    sample = [name for name in before["train"].get("sample", []) if re.fullmatch("[0-9]{1,18}-[0-9a-f]{16}", str(name))]
    if known := find_images(sample, part, data.image):
        notes.append(
            f"these are images that the model was trained on: {len(known):,} of {len(sample):,} of its training images that "
            f"were looked for are in split {part.split}"
        )
    return notes


def is_path_of(data: Any, given: str) -> bool:
    """Whether a path is the data path in a run's config.yaml."""
    path = data.get("path") if isinstance(data, dict) else None
    return isinstance(path, str) and os.path.realpath(os.path.expanduser(given)) == os.path.realpath(path)


def read(argv: list[str]) -> tuple[Evaluate, Path, dict[str, Any]]:
    """Return the options, the model's path, and the data options of the training; empty if other data are given.

    Raises:
        UserError: no path, or an error from `merge`.
    """
    paths, options = split_words(argv)
    if len(paths) != 1:
        raise UserError("evaluate.py takes one run folder or checkpoint, and options as key=value")
    path = Path(paths[0])
    stored = run_of(path) / "config.yaml"
    data = read_options(stored).get("data") if stored.is_file() else None
    trained, chosen = {}, {}
    given = next((word.partition("=")[2] for word in reversed(options) if word.startswith("data.path=")), None)
    if stored.is_file() and (given is None or is_path_of(data, given)):
        if not isinstance(data, dict):
            raise UserError(f"{stored} says nothing of the data: give data.path=…")
        script = find_script(str(data.get("path"))) if given is None else None  # a path that was given is trusted
        if script is not None and not script.is_bundled:
            raise UserError(
                f"{stored} names the script {script.path}, which is code: if you trust it, give data.path=…"
            )
        kind = kind_of(path)
        known = {item.name for item in fields(kind.data)}
        data = {name: value for name, value in data.items() if name in known}
        check(kind.schema, {"data": data}, stored)
        built = build(kind.data, data)
        names = ("train_split", "validation_split", "holdout", "ignore")
        chosen = {name: getattr(built, name) for name in names if hasattr(built, name)}
        trained = {"data": {item.name: data[item.name] for item in fields(TestData) if item.name in data}}
    if given is None and not trained and (run_of(path) / "config.json").is_file():
        raise UserError(f"{path} says nothing of the data of its training: give data.path=…")
    return merge(Evaluate, trained, options), path, chosen


def main() -> None:
    with one_line_errors("evaluate.py"):
        config, path, trained = read(sys.argv[1:])
        accelerator = start(config.cpu, config.precision, config.processes, config.threads)
        quiet_other_ranks()
        run(accelerator, config, path, trained)
        finish(accelerator)


if __name__ == "__main__":
    main()
