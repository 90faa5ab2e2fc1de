"""The random numbers of a sample, uniform in [0, 1): the purpose of each column.

Each purpose has its own columns, in use or not, so switching one off changes none of the others.
"""

from recipes.core.config.tasks import Augment

FLIP = 0
SHIFT = slice(1, 3)  # x, y
CROP = slice(3, 7)  # area, ratio, x, y
BASIC = CROP.stop  # what every sample has; columns for automatic augmentation and erasing follow
PER_OP = 3  # of automatic augmentation: which operation, strength, side
LIGHT = slice(BASIC, BASIC + 2)  # of scenes: brightness, contrast
SCENE = LIGHT.stop  # what every scene has
ERASE = slice(-5, None)  # whether, area, ratio, x, y


def auto_columns(ops: int) -> slice:
    """The columns for this many operations of automatic augmentation."""
    return slice(BASIC, BASIC + PER_OP * ops)


def draws_needed(augment: Augment) -> int:
    """How many random numbers a sample needs."""
    ops = {None: 0, "trivial": 1, "rand": augment.auto_ops}.get(augment.auto, 0)
    return auto_columns(ops).stop - (ERASE.start if augment.erase > 0 else 0)
