"""A task, and the way from its command line to a finished run, the same for all tasks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recipes.core.config.reading import read_config
from recipes.core.config.training import Training
from recipes.core.data.data import Splits, find_data, load_splits
from recipes.core.data.splits import Parts
from recipes.core.data.targets import LABELS, Target
from recipes.core.ranks import signals
from recipes.core.ranks.runtime import finish, one_line_errors
from recipes.core.run.effects import check_effects
from recipes.core.run.general import general_recipe
from recipes.core.run.learner import Learner
from recipes.core.run.loop import Test, Write, start_training, train


@dataclass(frozen=True)
class Task:
    """What is learned, and how it is tested.

    Attributes:
        program: the name of its recipe, for errors.
        schema: its options.
        default: the CONFIG to use if neither a CONFIG nor data are named.
        learner, test, write: see `train`.
        suffix: the part of a CONFIG's name that follows the name of its data.
        target: what is learned of each image.
        load: makes batches of the rows.
        follow_weights: fills in the options that published weights need, such as the size of the input.
    """

    program: str
    schema: type[Training]
    default: str
    learner: type[Learner]
    test: Test
    write: Write
    suffix: str = ""
    target: Target = LABELS
    load: Callable[[Parts, Any], Splits] = load_splits
    follow_weights: Callable[[Any], Any] = lambda config: config


def run_task(task: Task, words: list[str]) -> None:
    """Trains with the options of a command line, and ends this process if it was asked to stop."""
    with one_line_errors(task.program):
        asked = read_config(task.schema, words, default=task.default, suffix=task.suffix)
        config = asked.config
        accelerator = start_training(config)
        parts = find_data(config.data, task.target, steered=config.is_steered)
        if asked.is_general:
            config = general_recipe(config, asked.words, parts, accelerator.num_processes)
        config = task.follow_weights(config)
        parts.follow(config.data)
        check_effects(config, parts, asked)
        splits = task.load(parts, config)
        finished = train(accelerator, config, asked.name, splits, task.learner, task.test, task.write)
        finish(accelerator)
    if not finished:
        signals.leave(signals.INTERRUPTED)  # at once: a launcher may have only seconds left
