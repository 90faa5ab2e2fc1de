"""Uploads a model that `recipes/train.py` wrote to the Hub: weights, description, card, numbers and pictures.

    python recipes/push.py runs/digits-1 user/digits                 # private at first
    python recipes/push.py runs/digits-1 user/digits private=false

`recipes.load_model("user/digits")` loads it. Repeat the command to resume an interrupted upload.
"""

import sys
from dataclasses import dataclass

from recipes.core.errors import UserError
from recipes.core.models.hub import push_model
from recipes.core.options import asks_for_help, help_text, merge, opt, split_words
from recipes.core.ranks.runtime import one_line_errors


@dataclass(frozen=True)
class Push:
    private: bool = opt(True, "make a new repository private; an existing public one is refused")
    revision: str | None = opt(None, "the branch; null: main")


def main() -> None:
    if asks_for_help(sys.argv):
        print(help_text(__doc__, Push))
        return
    with one_line_errors("push.py"):
        words, given = split_words(sys.argv[1:])
        if len(words) != 2:
            raise UserError("push.py takes a run folder and USER/NAME, and options as key=value")
        options = merge(Push, {}, given)
        print(push_model(*words, private=options.private, revision=options.revision))


if __name__ == "__main__":
    main()
