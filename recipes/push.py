"""Uploads a model that `recipes/train.py` wrote to the Hub: weights, description, card, numbers and pictures.

    python recipes/push.py runs/digits-1 user/digits                 # private at first
    python recipes/push.py runs/digits-1 user/digits private=false

`recipes.load_model("user/digits")` loads it. Repeat the command to resume an interrupted upload.
"""

from recipes.core.config.commands import Push
from recipes.core.help import print_help

if __name__ == "__main__":  # before the imports below, which take seconds
    print_help(__doc__, Push)

import sys

from recipes.core.errors import UserError
from recipes.core.models.hub import push_model
from recipes.core.options import merge, split_words
from recipes.core.ranks.runtime import one_line_errors


def main() -> None:
    with one_line_errors("push.py"):
        words, given = split_words(sys.argv[1:])
        if len(words) != 2:
            raise UserError("push.py takes a run folder and USER/NAME, and options as key=value")
        options = merge(Push, {}, given)
        print(push_model(*words, private=options.private, revision=options.revision))


if __name__ == "__main__":
    main()
