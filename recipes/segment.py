"""Trains a network that classifies every pixel, on one process or many.

    accelerate launch recipes/segment.py                                     # scenes of the embedded digits
    accelerate launch recipes/segment.py data.path=path/to/images/and/masks  # your own folder, see docs/loading.md
    accelerate launch recipes/segment.py CONFIG.yaml optim.lr=1e-3
    python recipes/segment.py --help                                         # all options

Takes any dataset with a column of masks. Training works as in `recipes/train.py`: batches are global, and the same command
resumes a run that was stopped or killed. An image is scaled until its longer side has `data.size` pixels, and its mask with
it; the test counts the pixels of the images at their own size.
"""

from recipes.core.config.scenes import Segment
from recipes.core.help import print_help
from recipes.core.ranks import signals

if __name__ == "__main__":  # before the imports below, which take seconds
    signals.listen()
    print_help(__doc__, Segment)

import sys
from pathlib import Path
from typing import Any

from recipes.core.data.data import load_scenes
from recipes.core.data.light import PrepareScenes
from recipes.core.data.scenes import Scenes
from recipes.core.data.targets import Masks
from recipes.core.models.local import follow_local
from recipes.core.run.task import Task, run_task
from recipes.core.tasks import segment_report
from recipes.core.tasks.segmentation import Segmentation, SegmentLearner, evaluate_masks


def test(learner: SegmentLearner, scenes: Scenes, folder: Path, seen: int) -> Segmentation:
    """The model on validation or test images."""
    config, splits, accelerator = learner.config, learner.splits, learner.accelerator
    prepare = PrepareScenes(splits.data.mean, splits.data.std, accelerator.device)
    return evaluate_masks(
        accelerator,
        learner.tested,
        scenes,
        prepare,
        len(splits.classes),
        learner.at_once,
        config.data.workers,
        config.tile,
        config.overlap,
    )


def write(
    learner: SegmentLearner, folder: Path, metrics: dict[str, Any], result: Segmentation, records: list[dict[str, Any]]
) -> str:
    """The results, in the run folder."""
    metrics = metrics | {"by_class": result.by_class(learner.splits.classes)}
    segment_report.write_run(folder, learner, metrics, result, records)
    return f"mean IoU {result.mean_iou:.4f} on {result.count:,} test images: see {folder}/predictions.png"


TASK = Task(
    "segment.py",
    Segment,
    "digit_scenes_segment",
    SegmentLearner,
    test,
    write,
    suffix="_segment",
    target=Masks(),
    load=load_scenes,
    follow_weights=follow_local,
)


def main() -> None:
    run_task(TASK, sys.argv[1:])


if __name__ == "__main__":
    main()
