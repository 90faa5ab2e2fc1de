"""Names in foreign data reach the terminal as text: in errors, in log lines, and in what the command prints."""

import os
import subprocess
import sys

import PIL.Image
import pytest

from dataset_scripts import DataError, TrustError
from dataset_scripts.core.errors import printable, reading, reason

NAMES = [
    "a\x1b[2Jb",
    "a\x1b]0;title\x07b",
    "a\rb",
    "a\nb",
    "a\x08\x08b",
    "a\x9b31mb",
    "a\u202egnp.b",
    "a\u2066b",
    "a\x7fb",
    "a\udce9b",
]


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_one_printable_line(name):
    for error in (DataError(f"{name}/x: wrong"), TrustError(f"{name}/x: wrong")):
        assert str(error).isprintable() and str(error).endswith("/x: wrong")
    assert printable(printable(name)) == printable(name)
    with pytest.raises(DataError) as raised, reading(name):
        raise ValueError(f"no {name}\nat all")
    assert str(raised.value).isprintable()


def test_ordinary_names_stay_as_they_are():
    for name in ("photos/cat 1.jpg", "Zürich/猫.png", "naïve-café", "שלום.png", "a\\b"):
        assert printable(name) == name


@pytest.mark.parametrize(
    "error, words",
    [
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), "it is not UTF-8 at byte 0"),
        (RecursionError("maximum recursion depth exceeded"), "it is nested too deep"),
        (MemoryError(), "it asks for more memory than there is"),
        (KeyError("images"), "it has no 'images'"),
        (OSError(28, "No space left on device", "/data/x"), "the disk is full (/data/x)"),
        (EOFError(), "EOFError"),
    ],
)
def test_reasons_in_words(error, words):
    assert reason(error) == words


@pytest.mark.parametrize("name", NAMES[:2])
def test_what_the_command_prints(name, tmp_path):
    folder = tmp_path / name.replace("\udce9", "\x1b")
    folder.mkdir()
    PIL.Image.new("L", (4, 4)).save(folder / "good.png")
    (folder / f"{name}.png").write_bytes(b"damaged")
    command = [sys.executable, "-m", "dataset_scripts.core.cli", "preview", str(folder), "-o", str(tmp_path / "look")]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    shown = (done.stdout + done.stderr).decode("utf-8", "strict")
    # tqdm moves the cursor up.
    assert all(character.isprintable() or character in "\n\r" for character in shown.replace("\x1b[A", ""))
    assert "\x1b[2J" not in shown and "\x1b]" not in shown
