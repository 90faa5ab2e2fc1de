"""Options get the types that their fields declare, whatever a word means in YAML; each field refuses invalid values."""

import dataclasses
import os
import subprocess
import sys
import typing

import pytest
import yaml

from recipes.core.config.commands import Evaluate, Export, Predict, Push, Sample
from recipes.core.config.reading import read_config
from recipes.core.config.scenes import Detect, Segment
from recipes.core.config.tasks import Generate, Train
from recipes.core.errors import UserError
from recipes.core.help import describe, groups
from recipes.core.options import fields_of, flat, merge, opt, read_options, split_words, to_yaml

SCHEMAS = [Train, Detect, Segment, Generate, Evaluate, Predict, Export, Sample, Push]


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "0123",
        "2024_01_02",
        "1e3",
        "on",
        "1:30",
        "photos #1",
        "1.10",
        "yes",
        "true",
        "0x10",
        "[a]",
        "{a: b}",
        "- a",
        "a: b",
        "'a'",
        "1_0",
        " a ",
        "=",
        "a=b",
        "猫",
        "!!str a",
    ],
)
def test_a_text_stays_the_text(text, tmp_path):
    for name in ("data.path", "data.name", "data.label", "out"):
        assert flat(merge(Train, {}, [f"{name}={text}"]))[name] == text
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"data": {"path": text}}, allow_unicode=True))
    assert merge(Train, tmp_path / "a.yaml", []).data.path == text


def test_plain_scalars_of_a_file_stay_texts_too(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "precision: no\nddp: {compress: no}\ndata: {path: 0123, name: 1.10, label: yes}\nout: 1:30\n"
    )
    config = merge(Train, tmp_path / "a.yaml", [])
    assert (config.precision, config.ddp.compress, config.out) == ("no", "no", "1:30")
    assert (config.data.path, config.data.name, config.data.label) == ("0123", "1.10", "yes")


def test_what_is_written_is_read_again(tmp_path):
    words = [
        "data.path=no",
        "data.mean=0.1,0.2,0.3",
        "optim.lr=1e-5",
        "log_with=[a,b]",
        "optim.clip=null",
        "seed=7",
        "exact=yes",
    ]
    for schema, given in ((Train, words), (Generate, words), (Train, [])):
        config = merge(schema, {}, given)
        (tmp_path / "config.yaml").write_text(to_yaml(config))
        assert merge(schema, tmp_path / "config.yaml", []) == config
    assert merge(Train, {}, words).log_with == ["a", "b"] and merge(Train, {}, words).data.mean == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    "word, value",
    [
        ("batch=128", 128),
        ("batch=1e3", 1000),
        ("epochs=3", 3.0),
        ("epochs=.5", 0.5),
        ("compile=TRUE", True),
        ("compile=0", False),
        ("optim.clip=null", None),
        ("optim.clip=1", 1.0),
        ("log_with=[]", []),
        ("log_with=a", ["a"]),
        ("data.size=null", None),
    ],
)
def test_words_of_other_types(word, value):
    found = flat(merge(Train, {}, [word]))[word.partition("=")[0]]
    assert found == value and type(found) is type(value)


def test_the_users_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    config = merge(Train, {}, ["data.path=~/photos", "out=~/runs", "data.name=~"])
    assert (config.data.path, config.out, config.data.name) == ("/home/ann/photos", "/home/ann/runs", "~")


def absurd(kind) -> list[str]:
    """Words that no field of this type accepts."""
    kinds = [part for part in typing.get_args(kind) if part is not type(None)] or [kind]
    words = {
        int: [
            "x",
            "1.5",
            "nan",
            "inf",
            "-1e400",
            "9" * 5000,
            "1,2",
            "[1]",
            "true",
            "",
            "1 2",
            "0x" + "f" * 99,
            "--1",
            "null" * 2,
        ],
        float: ["x", "nan", "inf", "-inf", "1e999", "1,2", "[1]", "true", "", "1 2", "9" * 5000],
        bool: ["x", "2", "-1", "", "null", "truee", "[]"],
        str: ["${oc.env:HOME}"],
    }
    if kind is str or kinds == [str]:
        return words[str]
    if typing.get_origin(kinds[0]) is list or typing.get_origin(kind) is list:
        return ["${oc.env:HOME}"] if "str" in str(kind) else ["x", "nan", "1,x", "[[1]]", "inf", "1,,2"]
    return [word for word in words[kinds[0]] if word != "null" or kind in kinds]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_field_refuses_the_absurd(schema):
    """The message names the field, and states its meaning."""
    for name, rule, default in fields_of(schema()):
        assert rule.meaning or name == "model", f"{name} has no meaning"
        holder = schema
        *above, last = name.split(".")
        for part in above:
            holder = typing.get_type_hints(holder)[part]
        words = absurd(typing.get_type_hints(holder)[last])
        words += ["surely-none-of-these"] if rule.choices else []
        for bound, step in ((rule.low, -1), (rule.high, 1), (rule.above, 0), (rule.below, 0)):
            words += [str(bound + step)] if bound is not None else []
        for word in words:
            with pytest.raises(UserError) as raised:
                merge(schema, {}, [f"{name}={word}"])
            said = str(raised.value)
            assert said.startswith(f"{name}=") and "\n" not in said and rule.meaning in said and len(said) < 600, said
        assert default is None or rule.holds(default)


def test_unknown_names_are_refused_with_the_nearest():
    for word, said in (
        ("optim.lrr=1", "optim.lr"),
        ("btach=2", "batch"),
        ("optim=1", "group of options"),
        ("batch.x=1", "not a group"),
    ):
        with pytest.raises(UserError, match=said):
            merge(Train, {}, [word])


def test_what_has_to_be_given(tmp_path):
    with pytest.raises(UserError, match=r"data\.path=… has to be given \(a script"):
        read_config(Train, ["finetune_folder"], "digits")
    assert read_config(Train, ["finetune_folder", "data.path=a"], "digits")[0].model.weights == "DEFAULT"


@pytest.mark.parametrize(
    "words, plain, options",
    [
        (["--seed", "1", "my.yaml"], ["my.yaml"], ["seed=1"]),
        (["my.yaml", "--optim.lr=1e-3", "--exact"], ["my.yaml"], ["optim.lr=1e-3", "exact=true"]),
        (["--keep-best", "--optim.lr", "-1", "digits"], ["digits"], ["keep_best=true", "optim.lr=-1"]),
        (["--data.path=a=b", "--exact", "out=x"], [], ["data.path=a=b", "exact=true", "out=x"]),
        (["--exact", "--", "--seed"], ["--seed"], ["exact=true"]),
        (["-h", "x"], ["-h", "x"], []),
    ],
)
def test_options_with_dashes_mean_the_same(words, plain, options):
    assert split_words(words) == (plain, options)


def test_words_and_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("runs/lr=0.1")
    assert split_words(["runs/lr=0.1", "batch=2", "data.path=a=b"]) == (["runs/lr=0.1"], ["batch=2", "data.path=a=b"])
    assert split_words(["other/lr=0.1", "--", "batch=2"]) == (["other/lr=0.1", "batch=2"], [])
    os.makedirs("lr=0.1")
    assert split_words(["lr=0.1"]) == (["lr=0.1"], [])


@pytest.mark.parametrize("schema", SCHEMAS)
def test_help_has_every_option_with_its_meaning(schema):
    text = " ".join(["", *describe(schema).split()])
    assert sorted(option[0] for _, options in groups(schema()) for option in options) == sorted(flat(schema()))
    for heading, options in groups(schema()):
        place = text.index(heading)
        for name, rule, _ in options:
            assert rule.meaning and rule.meaning[-1] not in ".;"
            about = "; ".join(filter(None, [rule.meaning, str(rule)]))
            place = text.index(f" {name}=", place)
            assert " ".join(about.split()) in text[place:]


def test_help_comes_before_the_imports_that_take_seconds(root):
    for recipe in ("train", "detect", "segment", "generate", "evaluate", "predict", "export", "push"):
        code = (
            f"import runpy, sys; sys.argv[1:] = ['--help']; runpy.run_path('recipes/{recipe}.py', run_name='__main__')"
        )
        code = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {code}"
        done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(("Trains", "Evaluates", "Says", "Uploads", "Writes")) and done.stdout.endswith(
            "False\n"
        )


def test_all_mistakes_are_said_at_once(tmp_path):
    with pytest.raises(UserError) as caught:
        merge(Train, {}, ["batch=0", "optim.lrr=1", "data=3", "epochs=2", "augment.flip=two"])
    said = str(caught.value).split("; ")
    assert [part.split()[0] for part in said] == ["batch=0", "there", "data", "augment.flip=two"]
    with pytest.raises(UserError, match=r"^epochs=… has to be given \(.*\); seed=… has to be given \("):
        merge(Train, {}, ["epochs=???", "seed=???"])


def test_files_that_cannot_be(tmp_path):
    for text in ("- a", "a", "batch: 1\nbatch: 2", "batch: {x: 1}", "data: 3", "epochs: [1]", "batch: ${seed}"):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(UserError, match="a.yaml"):
            merge(Train, tmp_path / "a.yaml", [])
    (tmp_path / "a.yaml").write_text("")
    assert merge(Train, tmp_path / "a.yaml", []) == Train() and read_options(tmp_path / "a.yaml") == {}


def test_ranges_of_lists_and_edges():
    @dataclasses.dataclass(frozen=True)
    class Some:
        share: float = opt(0.5, "a share", above=0, high=1)
        sizes: list[int] = opt([1, 2], "sizes", low=1)

    assert merge(Some, {}, ["share=1", "sizes=3,4"]) == Some(1.0, [3, 4])
    for word, said in (
        ("share=0", "a number, above 0 and at most 1"),
        ("sizes=1,0", "a list of whole numbers, such as [a,b], at least 1"),
    ):
        with pytest.raises(UserError, match=said.replace("[", r"\[").replace("]", r"\]")):
            merge(Some, {}, [word])
    assert Some().sizes is not Some().sizes
