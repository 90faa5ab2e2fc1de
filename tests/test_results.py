"""The results of a run are on disk before pictures are drawn, in JSON that every parser accepts."""

import json
import math

import pytest

from recipes.core.tasks.report import as_json, draw


def test_a_picture_that_fails_is_a_warning(tmp_path):
    def plot(path, value):
        raise ValueError("no font\nfor \x1b[2J")

    with pytest.warns(UserWarning, match=r"curves\.png could not be drawn: ValueError: no font for \\x1b\[2J"):
        draw(plot, tmp_path / "curves.png", 3)
    draw(lambda path, value: path.write_text(value), tmp_path / "fine.png", "drawn")
    assert (tmp_path / "fine.png").read_text() == "drawn"


def test_numbers_that_json_does_not_have():
    values = {"a": math.nan, "b": [1.5, math.inf, {"c": -math.inf, "d": "nan"}], "e": (1, True, None)}
    assert json.loads(as_json(values), parse_constant=lambda name: pytest.fail(name)) == {
        "a": None,
        "b": [1.5, None, {"c": None, "d": "nan"}],
        "e": [1, True, None],
    }
