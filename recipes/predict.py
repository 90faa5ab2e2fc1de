"""Says what a trained network sees in images: the same rows on any number of processes, in order.

    accelerate launch recipes/predict.py runs/digits-1 path/to/photos               # a folder, an archive, a file, a list.txt
    accelerate launch recipes/predict.py runs/digit_scenes_detect-1 digit_scenes split=test
    accelerate launch recipes/predict.py user/model path/to/photos out=said         # a model on the Hub
    python recipes/predict.py --help                                                # all options

Takes a run of `train.py`, `detect.py` or `segment.py` (or a copy of its model.safetensors and config.json, a checkpoint, or a model
on the Hub), and anything that `load_dataset` reads. Writes predictions.parquet, predictions.csv and a contact sheet into a folder,
boxes also as COCO's json, and masks as PNG. Images that cannot be read are listed in unreadable.csv.
"""

from recipes.core.config.commands import Predict
from recipes.core.help import print_help
from recipes.core.ranks import signals

if __name__ == "__main__":  # before the imports below, which take seconds
    signals.listen()
    print_help(__doc__, Predict)

import contextlib
import sys
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from dataset_scripts.core.errors import printable
from dataset_scripts.core.files.disk import writing
from dataset_scripts.core.files.replace import new_folder
from recipes.core.config.data import Data, SceneData
from recipes.core.data.pictures import Pictures, load_pictures
from recipes.core.errors import UserError
from recipes.core.models.saved import DETECTION, SEGMENTATION, load_model
from recipes.core.options import merge, split_words
from recipes.core.ranks.reduce import from_main
from recipes.core.ranks.runtime import finish, one_line_errors, quiet_other_ranks, start
from recipes.core.tasks.prediction import MASKS, predict, write_predictions


def run(accelerator: Accelerator, config: Predict, path: str, images: str) -> None:
    out = Path(config.out)

    def check() -> None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"out={out} is not empty: choose another folder, or delete it")

    model, info = load_model(path)
    model = model.to(accelerator.device)
    kind = SceneData if info.get("task") in (DETECTION, SEGMENTATION) else Data
    data = kind(path=images, name=config.name, data_dir=config.data_dir, image=config.image)
    parts = load_pictures(data, config.split)
    inputs = {name: info[name] for name in ("size", "channels", "mean")}
    seen = kind(**inputs) if kind is SceneData else kind(**inputs, resize=info["resize"])
    said = []
    with contextlib.ExitStack() as stack:  # of the main process: it holds the folder, and names it at the end
        folder = from_main(lambda: stack.enter_context(new_folder(out, check)))
        if accelerator.is_main_process and info.get("task") == SEGMENTATION:
            with writing(folder):
                (folder / MASKS).mkdir()
        accelerator.wait_for_everyone()
        for split, rows, column in parts:
            pictures = Pictures(rows, column, seen)
            mine = predict(
                accelerator, model, info, split, pictures, config.batch, config.workers, config.score, folder
            )
            said += sorted(gather_object(list(mine)), key=lambda one: one.row)
        if accelerator.is_main_process:
            write_predictions(folder, info, said, {split: (rows, column) for split, rows, column in parts})
        accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        faults = [one for one in said if one.fault is not None]
        print(f"{len(said) - len(faults):,} images: see {printable(out)}")
        if faults:
            print(
                f"{len(faults):,} images could not be read, such as {printable(faults[0].fault)}: see {printable(out)}/unreadable.csv"
            )


def main() -> None:
    with one_line_errors("predict.py"):
        words, options = split_words(sys.argv[1:])
        if len(words) != 2:
            raise UserError("predict.py takes a run folder and the images, and options as key=value")
        config = merge(Predict, {}, options)
        accelerator = start(config.cpu, config.precision, config.processes, config.threads)
        quiet_other_ranks()
        run(accelerator, config, *words)
        finish(accelerator)


if __name__ == "__main__":
    main()
