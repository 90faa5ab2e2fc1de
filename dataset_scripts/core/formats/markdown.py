"""Names from data as Markdown text: whatever they contain is shown, and never acts as markup."""

import re

from dataset_scripts.core.errors import printable

# What no Markdown, no table and no linker of bare addresses makes anything of: it begins with a letter or a digit, and of
# the characters of ASCII has few others. No two branches begin with the same character, or time would be exponential.
HARMLESS = re.compile(r"[^\W_](?:[A-Za-z0-9\x80-\U0010ffff ,'\"/()+%-]|\.(?=[ 0-9])|(?<=[^\W_])_(?=[^\W_]))*")


def markdown(text: str) -> str:
    r"""A text that Markdown shows as it is, in a sentence or a cell of a table: `cat`, `` `![x](y)` ``, `a\|b`.

    Line breaks become spaces. Text that could be markup is put in a code span, where nothing is; bars, which would end
    a cell even there, are put between spans.
    """
    return r"\|".join(_piece(piece) for piece in printable(text).split("|"))


def code(text: str) -> str:
    """A text as code, such as the name of a column."""
    return r"\|".join(_span(piece) for piece in printable(text).split("|"))


def _piece(text: str) -> str:
    return text if not text.strip() or HARMLESS.fullmatch(text.strip()) else _span(text)


def _span(text: str) -> str:
    if not text:
        return ""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * next(length for length in range(1, longest + 2) if not re.search(f"(?<!`)`{{{length}}}(?!`)", text))
    pad = " " if "`" in (text[0], text[-1]) or (text[0] == text[-1] == " " and text.strip()) else ""
    return f"{fence}{pad}{text}{pad}{fence}"
