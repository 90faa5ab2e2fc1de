"""Trains an object detector, on one process or many.

    accelerate launch recipes/detect.py                              # scenes of the embedded digits
    accelerate launch recipes/detect.py data.path=path/to/coco       # your own images and boxes, see docs/loading.md
    accelerate launch recipes/detect.py CONFIG.yaml optim.lr=1e-3
    python recipes/detect.py --help                                  # all options

Takes any dataset with a column of objects: boxes and categories. Training works as in `recipes/train.py`: batches are global,
and the same command resumes a run that was stopped or killed. An image is scaled until its longer side has `data.size` pixels.
The test gives COCO's numbers, in pixels of the images at their own size; it needs pycocotools (the extra `detection`).
"""

from recipes.core.config.scenes import Detect
from recipes.core.help import print_help
from recipes.core.ranks import signals

if __name__ == "__main__":  # before the imports below, which take seconds
    signals.listen()
    print_help(__doc__, Detect)

import sys
from pathlib import Path
from typing import Any

from recipes.core.data.data import load_scenes
from recipes.core.data.light import PrepareScenes
from recipes.core.data.scenes import Detected
from recipes.core.data.targets import Boxes
from recipes.core.models.local import follow_local
from recipes.core.run.task import Task, run_task
from recipes.core.tasks import detect_report
from recipes.core.tasks.detection import Detection, DetectLearner, evaluate_boxes


def test(learner: DetectLearner, scenes: Detected, folder: Path, seen: int) -> Detection:
    """The model on validation or test images."""
    config, splits, accelerator = learner.config, learner.splits, learner.accelerator
    prepare = PrepareScenes(splits.data.mean, splits.data.std, accelerator.device)
    return evaluate_boxes(
        accelerator, learner.tested, scenes, prepare, splits.classes, learner.at_once, config.data.workers, config.seed
    )


def write(
    learner: DetectLearner, folder: Path, metrics: dict[str, Any], result: Detection, records: list[dict[str, Any]]
) -> str:
    """The results, in the run folder."""
    metrics = metrics | {"by_class": result.by_class(learner.splits.classes)}
    detect_report.write_run(folder, learner, metrics, result, records)
    shares = ", ".join(f"{name} {value}" for name, value in result.columns().items())
    return f"{shares} on {result.count:,} test images: see {folder}/predictions.png"


TASK = Task(
    "detect.py",
    Detect,
    "digit_scenes_detect",
    DetectLearner,
    test,
    write,
    suffix="_detect",
    target=Boxes(),
    load=load_scenes,
    follow_weights=follow_local,
)


def main() -> None:
    run_task(TASK, sys.argv[1:])


if __name__ == "__main__":
    main()
