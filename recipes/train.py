"""Trains an image classifier, or a network that predicts several labels or a number, on one process or many.

    accelerate launch recipes/train.py                                    # the embedded digits
    accelerate launch recipes/train.py data.path=path/to/photos           # your own folder of class folders
    accelerate launch recipes/train.py data.path=celeba data.label=[Smiling,Male]   # several labels of each image
    accelerate launch --config_file accelerate_configs/cpu_2.yaml recipes/train.py
    accelerate launch --config_file accelerate_configs/multi_gpu.yaml recipes/train.py CONFIG.yaml optim.lr=1e-3
    python recipes/train.py --help                                        # all options

A batch is global: any number of processes sees the same samples at the same step, and the learning rate is a
function of the samples seen. Repeat the command to resume a run that was stopped or killed. The run folder holds the
model, the curves, and all numbers.
"""

from recipes.core.config.tasks import Train
from recipes.core.help import print_help
from recipes.core.ranks import signals

if __name__ == "__main__":  # before the imports below, which take seconds
    signals.listen()
    print_help(__doc__, Train)

import sys
from pathlib import Path
from typing import Any

from recipes.core.data.images import Images
from recipes.core.models.pretrained import start_from_weights
from recipes.core.run.log import Result
from recipes.core.run.task import Task, run_task
from recipes.core.tasks import outputs_report, report
from recipes.core.tasks.classifier import Classifier, measure
from recipes.core.tasks.evaluation import Evaluation


def test(learner: Classifier, images: Images, folder: Path, seen: int) -> Result:
    """The model on validation or test images."""
    return measure(learner, images)


def write(
    learner: Classifier, folder: Path, metrics: dict[str, Any], result: Any, records: list[dict[str, Any]]
) -> str:
    """The results, in the run folder."""
    metrics = metrics | {"by_class": result.by_class(learner.splits.classes)}
    if isinstance(result, Evaluation):
        report.write_run(folder, learner, metrics, result, records)
        said = f"{result.accuracy:.2%} of {result.count:,} test images right"
    else:
        outputs_report.write_run(folder, learner, metrics, result, records)
        said = ", ".join(f"{name} {value}" for name, value in result.columns().items())
        said += f" on {result.count:,} test images"
    return f"{said}, in {metrics['seconds']:.0f} s: see {folder}/curves.png"


TASK = Task("train.py", Train, "digits", Classifier, test, write, follow_weights=start_from_weights)


def main() -> None:
    run_task(TASK, sys.argv[1:])


if __name__ == "__main__":
    main()
