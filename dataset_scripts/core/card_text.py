"""The text of a dataset card: what it needs, and its tables."""

import re
from collections.abc import Iterator

from dataset_scripts.core.card_rules import Fault

HEADER = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"\|(.*)\|[ \t]*")
# Folders of one machine. What precedes tells them from parts of an address or of a relative path.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/~$}-])/(?:home|Users|root|tmp|mnt|media|work|scratch|Volumes)/[\w.-]+|\b[A-Z]:\\\w+|file:///\S*"
)


def check_text(text: str, body: str, start: int) -> Iterator[Fault]:
    if not body.strip():
        yield ("line", start), "there is no text: say what the images show, and how to load them"
    elif not re.search(r"^# +\S", CODE.sub("", body), re.MULTILINE):
        yield ("line", start), "there is no title: begin the text with a line such as '# Digits'"
    for found in MACHINE_PATH.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield ("line", line), f"{found[0]} is a path of one machine: write such as path/to/data"
    for part in ("columns", "splits"):
        if body.count(f"<!-- {part} -->") != body.count(f"<!-- /{part} -->") or body.count(f"<!-- {part} -->") > 1:
            yield ("line", start), f"<!-- {part} --> needs its <!-- /{part} -->, each once"


def first_table(body: str, column: str) -> tuple[int, list[str], dict[str, list[str]]]:
    """The first table whose first column is called so: its line, its head and, by their first cells, its rows."""
    line, head, rows = 0, [], {}
    for place, text in enumerate(CODE.sub(lambda code: "\n" * code[0].count("\n"), body).splitlines()):
        match = ROW.fullmatch(text)
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", match[1])] if match else []
        if not head:
            line, head = (place, cells) if cells and cells[0].lower() == column else (0, [])
        elif not cells:
            break
        elif not set(cells[0]) <= set(":-"):
            rows[cells[0].strip("`")] = cells + [""] * (len(head) - len(cells))
    return line, head, rows
