"""Evaluates a classifier that `recipes/train.py` wrote: the same numbers on any number of processes.

    accelerate launch recipes/evaluate.py runs/digits-1                                # the test split of its data
    accelerate launch recipes/evaluate.py runs/digits-1 data.path=path/to/other/data   # other data of the same classes
    accelerate launch recipes/evaluate.py runs/digits-1/checkpoints/000000001408 flips=true
    python recipes/evaluate.py --help                                                  # all options

The first argument is a run folder, a copy of its model.safetensors and config.json, or a checkpoint. It writes
metrics.json, predictions.parquet (row, label, prediction, confidence, probabilities) and confusion.png into a folder.
"""

import io
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import Accelerator
from accelerate.utils import gather_object

from dataset_scripts.core.disk import writing
from dataset_scripts.core.errors import printable
from dataset_scripts.core.replace import write_file
from dataset_scripts.core.script import find_script
from recipes.core.augment import Prepare
from recipes.core.config import Data
from recipes.core.data import load_test
from recipes.core.evaluation import Evaluation, evaluate
from recipes.core.export import load_model, run_of
from recipes.core.options import check, describe, merge, opt, read_options, split_words
from recipes.core.report import as_json, draw, plot_confusion
from recipes.core.runtime import UserError, finish, one_line_errors, quiet_other_ranks, start


@dataclass(frozen=True)
class Evaluate:
    data: Data = field(default_factory=Data)  # what is not given is as in the training
    batch: int = opt(64, "images that a process puts through the model at a time", low=1)
    flips: bool = opt(False, "the mean of an image and its mirror image")
    precision: str | None = opt(None, "of the arithmetic; null: what the launch config says", choices=("no", "bf16", "fp16"))
    processes: int | None = opt(None, "refuse to run on another number of processes", low=1)
    threads: int | None = opt(None, "CPU threads of a process", low=1, high=4096)
    cpu: bool = opt(False, "do not use an accelerator")
    out: str | None = opt(None, "the folder of the results; null: evaluation, in the first argument", is_path=True)


def predictions(result: Evaluation, labels: np.ndarray) -> pa.Table:
    """All predictions in the order of the rows; on the main process."""
    parts = gather_object([(result.rows, result.probabilities)])
    rows = np.concatenate([part[0] for part in parts])
    probabilities = np.concatenate([part[1] for part in parts])[np.argsort(rows)]
    return pa.table(
        {
            "row": np.sort(rows),
            "label": labels,
            "prediction": probabilities.argmax(1),
            "confidence": probabilities.max(1),
            "probabilities": pa.FixedSizeListArray.from_arrays(probabilities.ravel(), probabilities.shape[1]),
        }
    )


def run(accelerator: Accelerator, config: Evaluate, path: Path) -> None:
    model, info = load_model(path)
    given = {name: info[name] for name in ("size", "channels", "resize", "mean", "std")}
    data = replace(config.data, **given)
    images = load_test(data, info["labels"])
    prepare = Prepare(data.mean, data.std, accelerator.device)
    classes = len(info["labels"])
    model = model.to(accelerator.device)
    result = evaluate(accelerator, model, images, prepare, classes, config.batch, data.workers, config.flips, keep=True)
    table = predictions(result, images.labels)
    if not accelerator.is_main_process:
        return
    folder = Path(config.out) if config.out else path / "evaluation"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    pq.write_table(table, file)
    write_file(folder / "predictions.parquet", file.getvalue())
    metrics = {"data": data.path, "images": result.count, "precision": accelerator.mixed_precision}
    metrics |= {**result.numbers(), "by_class": result.by_class(info["labels"])}
    write_file(folder / "metrics.json", as_json(metrics, indent=2) + "\n")
    draw(plot_confusion, folder / "confusion.png", result.confusion.numpy(), info["labels"])
    print(
        f"{result.count:,} images: top-1 {result.accuracy:.2%}, top-5 {result.top5:.2%}, cross-entropy {result.loss:.4f}, "
        f"calibration error {result.ece:.4f}, precision {accelerator.mixed_precision}: see {printable(folder)}"
    )


def read(argv: list[str]) -> tuple[Evaluate, Path]:
    """The options and the model's path; the data is that of the training, unless another is given.

    Raises:
        UserError: no path, or what `merge` says.
    """
    paths, options = split_words(argv)
    if len(paths) != 1:
        raise UserError("evaluate.py takes one run folder or checkpoint, and options as key=value")
    path = Path(paths[0])
    folder = run_of(path)
    trained = {}
    if (folder / "config.yaml").is_file() and not any(word.startswith("data.path=") for word in options):
        known = {item.name for item in fields(Data)}
        data = read_options(folder / "config.yaml").get("data")
        if not isinstance(data, dict):
            raise UserError(f"{folder}/config.yaml says nothing of the data: give data.path=…")
        if (script := find_script(str(data.get("path")))) is not None and not script.is_bundled:
            raise UserError(f"{folder}/config.yaml names the script {script.path}, which is code: if you trust it, give data.path=…")
        trained = {"data": {k: v for k, v in data.items() if k in known}}
        check(Evaluate, trained, folder / "config.yaml")
    return merge(Evaluate, trained, options), path


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(f"{__doc__}\nOptions, their defaults, meanings and ranges:\n\n{describe(Evaluate)}")
        return
    with one_line_errors("evaluate.py"):
        config, path = read(sys.argv[1:])
        accelerator = start(config.cpu, config.precision, config.processes, config.threads)
        quiet_other_ranks()
        run(accelerator, config, path)
        finish(accelerator)


if __name__ == "__main__":
    main()
