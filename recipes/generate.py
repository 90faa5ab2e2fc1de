"""Trains an image generator by flow matching, and draws samples, on one process or many.

    accelerate launch recipes/generate.py                                          # the embedded digits
    accelerate launch recipes/generate.py data.path=path/to/photos data.size=32    # your own folder of class folders
    accelerate launch recipes/generate.py sample runs/digits_flow-1 count=1000 out=samples
    accelerate launch recipes/generate.py sample runs/digits_flow-1 label=7 guidance=3
    python recipes/generate.py --help                                              # all options

Training works as in `recipes/train.py`: batches are global, and the same command resumes a run that was stopped or killed.
This includes `sample`, whose folder gets its final name when it is complete. The noise and time of an image depend on seed,
epoch and row, sample number i on seed and i, so any number of processes sees, and draws, the same.
`recipes.load_generator` loads the trained generator, `recipes/fidelity.py` measures it.
"""

from recipes.core.config.commands import Sample
from recipes.core.config.tasks import Generate
from recipes.core.help import print_help
from recipes.core.ranks import signals

if __name__ == "__main__":  # before the imports below, which take seconds
    signals.listen()
    print_help(__doc__, Generate, sample=Sample)

import sys
from pathlib import Path
from typing import Any

import numpy as np

from dataset_scripts.core.errors import printable
from dataset_scripts.core.files.disk import writing
from dataset_scripts.core.files.replace import write_file
from recipes.core.data.augment import Prepare
from recipes.core.data.images import Images
from recipes.core.data.targets import Labels
from recipes.core.errors import UserError
from recipes.core.models.generator import Generator
from recipes.core.models.saved import load_generator
from recipes.core.options import merge, split_words
from recipes.core.ranks.runtime import finish, one_line_errors, quiet_other_ranks, start
from recipes.core.run.task import Task, run_task
from recipes.core.tasks import flow_report
from recipes.core.tasks.flow_learner import FlowLearner, FlowResult, evaluate_flow
from recipes.core.tasks.sampling import draw_picture, write_samples

PICTURES = "pictures"  # the folder of a run in which one can see it learn


def test(learner: FlowLearner, images: Images, folder: Path, seen: int) -> FlowResult:
    """The loss on validation or test images, and a picture of samples."""
    config, splits, accelerator = learner.config, learner.splits, learner.accelerator
    data, flow = splits.data, config.flow
    prepare = Prepare(data.mean, data.std, accelerator.device)
    result = evaluate_flow(accelerator, learner.tested, images, prepare, learner.at_once, data.workers, config.seed)
    generator = Generator(learner.tested, data.channels, data.size, data.mean, data.std, flow.guidance, flow.steps)
    picture = draw_picture(accelerator, generator.to(accelerator.device), len(splits.classes), config.seed)
    if accelerator.is_main_process:
        with writing(folder):
            (folder / PICTURES).mkdir(exist_ok=True)
        write_file(folder / PICTURES / f"{seen:012d}.png", picture)
    return result


def write(
    learner: FlowLearner, folder: Path, metrics: dict[str, Any], result: FlowResult, records: list[dict[str, Any]]
) -> str:
    """The results, in the run folder."""
    picture = (folder / PICTURES / f"{metrics['samples']:012d}.png").read_bytes()
    flow_report.write_run(folder, learner, metrics, picture, records)
    return f"squared error {result.loss:.4f} on {result.count:,} test images: see {printable(folder)}/samples.png"


def sample(path: str, config: Sample) -> None:
    """Draws images into a folder."""
    accelerator = start(config.cpu, "no", config.processes, config.threads)
    quiet_other_ranks()
    generator, info = load_generator(path)
    generator.guidance = info["guidance"] if config.guidance is None else config.guidance
    generator.steps = config.steps or info["steps"]
    classes = info["labels"]
    if config.label not in (None, *classes):
        raise UserError(f"label={config.label}: {path} draws {', '.join(classes)}")
    labels = (
        np.arange(config.count) % len(classes)
        if config.label is None
        else np.full(config.count, classes.index(config.label))
    )
    generator, out = generator.to(accelerator.device), Path(config.out)
    write_samples(accelerator, generator, labels, classes, config.seed, config.batch, out)
    if accelerator.is_main_process:
        print(f"{config.count:,} images of {len(set(labels.tolist()))} classes: see {printable(out)}")
    finish(accelerator)


TASK = Task(
    "generate.py", Generate, "digits_flow", FlowLearner, test, write, suffix="_flow", target=Labels(is_required=False)
)


def main() -> None:
    words, options = split_words(sys.argv[1:])
    if words[:1] == ["sample"]:
        with one_line_errors("generate.py"):
            if len(words) != 2:
                raise UserError("generate.py sample takes one run folder or checkpoint, and options as key=value")
            sample(words[1], merge(Sample, {}, options))
    else:
        run_task(TASK, sys.argv[1:])


if __name__ == "__main__":
    main()
