"""From a command line to options."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from recipes.core.errors import UserError
from recipes.core.options import flat, merge, split_words

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"


class Asked(NamedTuple):
    """The request of a command line.

    Attributes:
        config: an instance of the schema.
        name: of the CONFIG, or of the data.
        words: the options of the command line.
        is_general: there is no CONFIG, and `general_recipe` must fill in what `words` leave open.
        written: the options that the user wrote, in `words` or in their own file.
    """

    config: Any
    name: str
    words: list[str]
    is_general: bool
    written: set[str]


def read_config(schema: type, argv: list[str], default: str, suffix: str = "") -> Asked:
    """Builds the configuration from `[CONFIG] [key=value …]`; later values win over earlier ones.

    Without a CONFIG, `data.path` decides: the recipe named after the data is used, or else a general recipe.

    Args:
        schema: the dataclass that defines the keys, their types and defaults.
        argv: the command line. CONFIG is a yaml file, or the name of one in recipes/configs.
        default: the CONFIG to use if the command line has neither a CONFIG nor data.
        suffix: what the name of a CONFIG has after the name of its data.

    Raises:
        UserError: no such file, an unknown key, a value of the wrong type.
    """
    chosen, options = split_words(argv)
    if len(chosen) > 1:
        raise UserError(f"one CONFIG at most, not {' and '.join(chosen)} (options are written key=value)")
    written = {word.partition("=")[0] for word in options}
    path = next((word.partition("=")[2] for word in reversed(options) if word.startswith("data.path=")), None)
    is_named = path is not None and re.fullmatch(r"\w+", path) and (CONFIGS / f"{path}{suffix}.yaml").is_file()
    if not chosen and path is not None and not is_named:
        config = merge(schema, {}, options)
        return Asked(config, name_of(config.data.path), options, True, written)
    wanted = chosen[0] if chosen else f"{path}{suffix}" if is_named else default
    path = Path(wanted) if wanted.endswith((".yaml", ".yml")) else CONFIGS / f"{wanted}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
        raise UserError(f"no config {wanted}: give a yaml file, or one of {shipped}")
    config = merge(schema, path, options)
    if path.resolve().parent != CONFIGS:
        default = flat(schema())
        written |= {name for name, value in flat(config).items() if value != default[name]}
    return Asked(config, path.stem, options, False, written)


def name_of(path: str) -> str:
    """Return the name for run folders of these data."""
    name = Path(path).name or Path(path).resolve().name
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60] or "data"
