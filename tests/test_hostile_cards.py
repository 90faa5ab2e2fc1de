"""Cards and YAML of strangers: any bytes give a result or a line that says what is wrong, in bounded time and memory."""

import json
import os
import re
import subprocess
import sys
import time

import datasets
import huggingface_hub
import pytest
import yaml

from dataset_scripts import DataError
from dataset_scripts.core.card.check import check_card
from dataset_scripts.core.card.standalone import for_everyone, pictures
from dataset_scripts.core.card.write import new_card, refresh_card
from dataset_scripts.core.formats.front_matter import split_card
from dataset_scripts.core.formats.markdown import code, markdown
from dataset_scripts.core.formats.safe_yaml import LARGEST, LineError, compose_yaml, load_yaml
from dataset_scripts.core.publish.export import export

python_markdown = pytest.importorskip("markdown", reason="another reader of Markdown")  # comes with tensorboard

BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)
MERGES = "a0: &a0 {k: v}\n" + "".join(
    f"a{level}: &a{level}\n  <<: [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)
REFUSED = {
    BOMB: "line 4: its aliases expand it more than 10 times",
    MERGES: "its aliases expand it more than 10 times",
    f"a: &a {'x' * 1000}\nb: [{', '.join(['*a'] * 1000)}]\n": "line 2: its aliases expand it more than 10 times",
    "a: &a [*a]": "line 1: an alias refers to a value that contains it",
    "a: &a {b: {c: *a}}": "line 1: an alias refers to a value that contains it",
    "a: " + "[" * 100_000: "line 1: it is nested more than 100 levels",
    "a: " + "{b: " * 100_000: "line 1: it is nested more than 100 levels",
    "".join(f"{' ' * level}a:\n" for level in range(200)): "it is nested more than 100 levels",
    "\n".join(["a0: &a0 []", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200))]): "more than 100 levels",
    "a: 1\nb: " + "9" * 10_000: "line 2: a number has more than 100 characters",
    "a: 0x" + "f" * 100_000: "line 1: a number has more than 100 characters",
    "a: 1" + ":59" * 100_000: "line 1: a number has more than 100 characters",
    "\n".join(f"{n * (2**61 - 1)}: a" for n in range(1, 3000)): "a key has more than 20 digits",
    "? [a]\n: b": "line 1: a key is a list or a mapping",
    "? {a: b}\n: b": "line 1: a key is a list or a mapping",
    "a: 1\nb: !!python/object/apply:os.system [id]": "line 2: the tag tag:yaml.org,2002:python/object/apply:os.system",
    "a: !mine x": "line 1: the tag !mine is not read here",
    "a: !!set {b}": "line 1: the tag tag:yaml.org,2002:set",
    "a: !!int b": "line 1: invalid literal",
    "a: !!int ''": "line 1: '' is not of type int",
    "a: !!bool b": "line 1: 'b' is not of type bool",
    "a: !!timestamp b": "line 1: 'b' is not of type timestamp",
    "a:\n- 2020-13-45": "line 2: month must be in 1..12",
    "a: 1\nb: \0": r"line 2: the character '\x00' is not allowed in YAML",
    "a: 1\n\nb: \ud800": r"line 3: the character '\ud800' is not allowed in YAML",
    "a: [": "line 1: expected the node content",
    "a: b\n--- \nc: d": "line 2: but found another document",
    "a: *b": "line 1: found undefined alias",
    "<<: {}\n<<: {}\n": "line 2: there are two <<",
    "<<: a": "line 1: expected a mapping",
    "a" * (LARGEST + 1): "line 1: the YAML has 2,000,001 characters",
}


@pytest.mark.parametrize("text, message", REFUSED.items(), ids=lambda value: repr(value[:20]))
def test_yaml_is_refused_in_one_line(text, message):
    start = time.perf_counter()
    for parse in (load_yaml, compose_yaml):
        if parse is compose_yaml and re.search("invalid|is no|month|expected a mapping", message):
            continue  # faults in the values only
        with pytest.raises(LineError) as error:
            parse(text, "some/file.yaml")
        assert f"some/file.yaml, {message}" in str(error.value) or message in str(error.value)
        assert str(error.value).startswith("some/file.yaml, line ") and "\n" not in str(error.value)
    assert time.perf_counter() - start < 5


def test_yaml_is_read_as_by_pyyaml():
    for text in (
        "",
        "a",
        "a: b",
        "- 1\n- 1.5\n- 2020-01-02\n- 2020-01-02 03:04:05\n- yes\n- ~\n",
        "{0: a, 1.5: b, yes: c, ~: d}",
        "a: &a {b: 1}\nc: {<<: *a, d: 2}\ne: *a\n",
        "a: |\n  text\n  more\n",
        "a: !!str 1",
        "1:30: 12:30:45",
        "0b101: 0o17",
    ):
        assert load_yaml(text, "f") == yaml.safe_load(text)
    assert load_yaml("a: =\n", "f") == {"a": "="}  # PyYAML has no constructor for what its resolver makes of =
    assert [load_yaml(f"a: {'9' * 100}", "f")] == [{"a": int("9" * 100)}]


# Every way that a name could be more than a name.
NAMES = [
    "a|b",
    "a\\|b",
    "`",
    "``a`",
    "a`b``c",
    "[x](http://evil.example)",
    "![](http://evil.example/p.png)",
    "<script>alert(1)</script>",
    "<img src=//evil.example>",
    "a\n# b",
    "a\n---\nb: c",
    "---",
    "# a",
    "- a",
    "1. a",
    "> a",
    "    a",
    "-->",
    "<!-- a",
    "<!-- columns -->",
    "<!-- package -->",
    "a\n<!-- /package -->",
    "*a*",
    "_a_",
    "__a__",
    "a_b",
    "~~a~~",
    "&lt;",
    "&amp;amp;",
    "\\",
    "\\`",
    "a\\",
    "https://evil.example/x",
    "www.evil.example",
    "ann@evil.example",
    "@ann",
    ":smile:",
    "$x$",
    "a\x1bb",
    "a\u202eb",
    "| a |",
    "|",
    "||",
    "a||b",
    " a ",
    "` |`",
    "{x}",
    "%s",
    "```",
    "~~~",
    "cat",
    "T-shirt/top",
    "two words",
    "St. Bernard",
    "Ärger",
    "猫",
]


def rendered(text: str) -> str:
    return python_markdown.markdown(text, extensions=["tables", "fenced_code"])


def shown(html: str) -> str:
    """The text of HTML that a reader sees, without any markup but code."""
    bare = re.sub("</?code>", "", html)
    assert "<" not in bare, html
    return bare.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


@pytest.mark.parametrize("quote", [markdown, code])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_it_is(quote, name):
    text = quote(name)
    assert "\n" not in text and not re.search(r"(?<!\\)\|", text)
    plain = re.sub("[\n ]+", " ", name.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")).strip()
    # Python's Markdown treats a backslash before a bar as an escape; others look only at the backslash.
    if "\\|" in plain:
        return
    sentence = rendered(f"Of {text}, 1").removeprefix("<p>Of ").removesuffix(", 1</p>")
    assert shown(sentence).replace(" ", "") == plain.replace(" ", "") or "|" in plain
    cells = re.findall("<td>(.*?)</td>", rendered(f"| a | b |\n|---|---|\n| {text} | x |\n"))
    assert len(cells) == 2 and cells[1] == "x"
    assert shown(cells[0]).replace(" ", "") == plain.replace(" ", "")


@pytest.mark.parametrize("letter", ["Ж", "é", "猫", "\u00b2", "\U0001f600", "a", "_", "."])
def test_names_in_every_script_are_quoted_at_once(letter):
    start = time.process_time()
    assert markdown(letter * 25 + "<") == f"`{letter * 25}<`"
    assert len(markdown("Ж" * 200_000 + ":")) == 200_003
    assert time.process_time() - start < 1


def check_marks(text):
    """Names add nothing to a card: no heading, picture, link, comment or HTML that the card does not have itself."""
    body = re.sub(r"(?m)^<!-- /?(columns|splits|package) -->$", "", split_card(text).body)
    body = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", body)
    for mark in ("http", "![", "](", "<script", "<img", "-->", "www.", "@evil"):
        assert mark not in body, mark


def test_names_do_not_lead_out_of_exported_cards(tmp_path):
    names = [name for name in dict.fromkeys(NAMES)]
    features = {"label": datasets.ClassLabel(names=names)} | {name: datasets.Value("int64") for name in names[:20]}
    features["![](http://evil.example/q.png)"] = {"](http://evil.example)": datasets.ClassLabel(names=names[5:9])}
    row = {name: 0 for name in features} | {"![](http://evil.example/q.png)": {"](http://evil.example)": 0}}
    rows = datasets.Dataset.from_list([row, row], features=datasets.Features(features))
    folder = export(rows, tmp_path / "![](http:evil.example)<script>")
    text = (folder / "README.md").read_text()
    check_marks(text)
    card = huggingface_hub.DatasetCard.load(folder / "README.md")
    assert datasets.info.DatasetInfosDict.from_dataset_card_data(card.data)["default"].features == rows.features
    assert datasets.load_dataset(str(folder), split="train").features == rows.features
    assert [line for line in text.splitlines() if line.startswith("#")] == [f"# {markdown(folder.name)}", "## Loading"]


def test_names_do_not_lead_out_of_new_cards(tmp_path):
    columns = ", ".join(f"{name!r}: Value('int64')" for name in NAMES if name.strip())
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "data.txt").write_text("0")
    (folder / "odd.py").write_text(
        "import datasets\nfrom datasets import ClassLabel, Value\n\n\nclass Odd(datasets.GeneratorBasedBuilder):\n"
        "    def _info(self):\n        return datasets.DatasetInfo(description='Odd.', features=datasets.Features({\n"
        f"            'label': ClassLabel(names={NAMES!r}), 'few': ClassLabel(names={NAMES[6:9]!r}), {columns}}}))\n"
        "    def _split_generators(self, dl_manager):\n        return [datasets.SplitGenerator('train')]\n"
        "    def _generate_examples(self):\n        yield 0, {name: 0 for name in self.info.features}\n"
    )
    text = new_card(str(folder / "odd.py"))
    check_marks(text)
    assert check_card(text, str(folder / "odd.py")) == []
    (folder / "README.md").write_text(text.replace("evil.example/p", "evil.example/q"))
    assert refresh_card(str(folder / "odd.py")).count(markdown(NAMES[6])) >= 1


def test_the_parts_of_a_card_are_its_text():
    for text, header in (
        ("---\na: b\n---\nc\n", "a: b\n"),
        ("---\n---\n", ""),
        ("---\na: b\n---", "a: b\n"),
        ("---  \r\na: b\r\n--- \r\nc", "a: b\r\n"),
        ("\ufeff---\na: b\n---\n", "a: b\n"),
        ("---\na: ---\n--- b\n---c\n---\n---\n", "a: ---\n--- b\n---c\n"),
    ):
        assert "".join(split_card(text)) == text and split_card(text).header == header
    for text in (
        "",
        "---",
        "---\n",
        "---\na: b\n",
        "--- a\n---\n",
        "\n---\na: b\n---\n",
        " ---\na: b\n---\n",
        "a",
        "----\n---\n",
    ):
        assert split_card(text) is None


LONG = {
    "rules": "---\n" * 250_000,
    "rules with spaces": "---\n" + "--- x\n" * 200_000,
    "blank": "---\n" + "\n" * 250_000 + "x",
    "spaces": "---\n" + " " * 1_000_000,
    "pictures": "![" * 500_000,
    "picture addresses": "![](" * 250_000,
    "picture names": "![](" + "a." * 500_000,
    "links": "a [" * 300_000 + "dataset_scripts",
    "link addresses": "[a](" * 250_000,
    "fences": "```\n" * 100_001 + "~~~\n" * 100_001,
    "columns": "<!-- columns -->\n" * 60_000,
    "packages": "<!-- package -->\n<!-- /package -->\n" * 30_000,
    "begun packages": "<!-- package -->\n" * 60_000,
    "ended packages": "<!-- /package -->\n" * 60_000,
    "packages in code": "<!-- package -->\n```\n<!-- /package -->\n" * 30_001,
    "bare headings": ("## a\n\n" * 3 + "<!-- package -->\n<!-- /package -->\n") * 20_000,
    "bare headings at once": "## a\n\n" * 150_000 + "<!-- package -->\n<!-- /package -->\n",
    "blank lines about packages": ("\n" * 20 + "a\n\n<!-- package -->\n<!-- /package -->\n") * 15_000,
    "blank lines before a package": "\n" * 500_000 + "<!-- package -->\n<!-- /package -->\n# a\n",
    "paths": "/tmp/a\n" * 140_000,
    "bars": "|" * 1_000_000 + "x",
    "spaces behind a marker": "<!-- package -->" + " " * 1_000_000 + "x",
    "code spans": "`" * 500_001 + "\n" + "` [a](\n" * 100_000,
    "lines of links": "[a\n" * 200_000 + "a\n" * 200_000,
    "comments in a value": "---\na: |\n" + "\n#\n" * 100_000 + "x\n---\n",
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
def test_long_cards_take_no_longer_than_they_are_long(text, tmp_path):
    (tmp_path / "README.md").write_text(text)
    start = time.perf_counter()
    for read in (split_card, for_everyone, lambda text: pictures(text, tmp_path), check_card):
        try:
            read(text)
            read(f"---\nlicense: mit\n---\n# A\n{text}")
        except DataError:
            pass
    assert time.perf_counter() - start < 30


ODD = {
    "binary": bytes(range(256)) * 10,
    "utf-16": "---\nlicense: mit\n---\n# A\n".encode("utf-16"),
    "latin-1": "---\nlicense: mit\nconfigs: []\n---\n# Ä\n".encode("latin-1"),
    "empty": b"",
    "no end": b"---\nlicense: mit\n",
    "large": b"---\nlicense: mit\n---\n# A\n" + b"a" * 11_000_000,
    "large header": b"---\n" + b"- a\n" * 600_000 + b"---\n",
    "bomb": f"---\n{BOMB}dataset_info: *a9\n---\n# A\n".encode(),
    "indented bomb": f"\n\n  ---\n{BOMB}---\n# A\n".encode(),
    "list": b"---\n- configs\n- dataset_info\n---\n",
    "no text keys": b"---\n1: 2\nconfigs:\n---\n",
    "self": b"---\nself: 1\nconfigs: []\n---\n",
    "odd configs": b"---\nconfigs: {a: b}\n---\n",
    "odd info": b"---\ndataset_info: [{features: 1}]\n---\n",
    "classes": b"---\ndataset_info: {features: [{name: a, dtype: {class_label: {num_classes: 3000000000}}}]}\n---\n",
    "class ids": b"---\ndataset_info: {features: [{name: a, dtype: {class_label: {names: {'0': a, '3000000000': b}}}}]}\n---\n",
    "class file": b"---\ndataset_info: {features: [{name: a, dtype: {class_label: {names_file: /etc/passwd}}}]}\n---\n",
    "path outside": b"---\nconfigs: [{config_name: default, data_files: ../secret/*}]\n---\n",
    "another machine": b"---\nconfigs: [{config_name: default, data_files: 'http://127.0.0.1:9/a.parquet'}]\n---\n",
    "cr": b"---\rlicense: mit\r---\r# A\r",
    "byte order mark": b"\xef\xbb\xbf---\nlicense: mit\n---\n# A\n",
    "info file": b"---\nlicense: mit\n---\n",
}

# Rows are available as datasets itself reads them, with its own loader, or the layout's.
EVERYWHERE = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
import datasets
from dataset_scripts import DataError, TrustError, load_dataset
from dataset_scripts.core.card.write import refresh_card
from dataset_scripts.core.card.check import check_card
from dataset_scripts.core.publish.export import export
from dataset_scripts.core.publish.push import push
datasets.disable_progress_bars()
for name in sys.argv[2:]:
    folder = Path(sys.argv[1], name)
    said = []
    for call in (
        lambda: check_card(folder / "README.md"),
        lambda: load_dataset(str(folder / "tables")),
        lambda: load_dataset(str(folder / "images")),
        lambda: export(str(folder / "images"), folder / "out"),
        lambda: refresh_card(str(folder / "odd/odd.py")),
        lambda: push(str(folder / "tables"), "ann/photos", token="hf_x"),
    ):
        try:
            call()
            said.append("")
        except (DataError, TrustError) as error:
            said.append(str(error))
    print(json.dumps({name: said}), flush=True)
"""


def test_odd_cards_end_in_a_line_everywhere(tmp_path, save_image):
    (tmp_path / "rows").mkdir()
    datasets.Dataset.from_dict({"a": [1, 2]}).to_parquet(tmp_path / "rows/train.parquet")
    save_image(tmp_path / "pixels.png")
    for name, content in ODD.items():
        for part in ("", "tables/data", "images/cat", "odd"):
            (tmp_path / name / part).mkdir(parents=True, exist_ok=True)
        for part in ("", "tables", "images", "odd"):
            (tmp_path / name / part / "README.md").write_bytes(content)
        (tmp_path / name / "tables/data/train-00000.parquet").write_bytes(
            (tmp_path / "rows/train.parquet").read_bytes()
        )
        (tmp_path / name / "images/cat/1.png").write_bytes((tmp_path / "pixels.png").read_bytes())
        (tmp_path / name / "odd/odd.py").write_text(
            "import datasets\n\nclass Odd(datasets.GeneratorBasedBuilder):\n    def _info(self):\n"
            "        return datasets.DatasetInfo(features=datasets.Features({'n': datasets.Value('int64')}))\n"
            "    def _split_generators(self, dl_manager):\n        return [datasets.SplitGenerator('train')]\n"
            "    def _generate_examples(self):\n        yield 0, {'n': 0}\n"
        )
    (tmp_path / "info file/tables/dataset_infos.json").write_text('{"default": {"features": 1}}')
    env = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", EVERYWHERE, str(tmp_path), *ODD]
    result = subprocess.run(command, capture_output=True, text=True, timeout=200, env=env)
    assert result.returncode == 0, result.stderr[-3000:]
    said = {}
    for line in result.stdout.splitlines():
        said |= json.loads(line)
    assert said.keys() == ODD.keys()
    assert not any("\n" in line or len(line) > 2000 for lines in said.values() for line in lines)
    for name in (
        "binary",
        "utf-16",
        "latin-1",
        "bomb",
        "indented bomb",
        "classes",
        "class ids",
        "class file",
        "path outside",
        "another machine",
        "info file",
        "odd configs",
        "odd info",
        "self",
        "no text keys",
        "list",
        "large",
    ):
        assert said[name][1] and str(tmp_path / name) in said[name][1], (name, said[name])
    assert all(
        lines[2] == ""
        for name, lines in said.items()
        if b"configs:" not in ODD[name] and b"dataset_info:" not in ODD[name]
    ), said


def test_a_picture_that_is_a_link_outside_does_not_go_along(tmp_path, save_image):
    save_image(tmp_path / "secret/a.png")
    save_image(tmp_path / "set/b.png")
    (tmp_path / "set/a.png").symlink_to(tmp_path / "secret/a.png")
    (tmp_path / "set/c.png").symlink_to(tmp_path / "set/b.png")
    text = f"![](a.png) ![](b.png) ![](c.png) ![]({'d' * 9999}.png) ![](\0.png)"
    assert [path.name for path in pictures(text, tmp_path / "set")] == ["b.png", "c.png"]


def test_many_faults_are_cut_and_in_one_line_each():
    header = "license: [" + ", ".join(f"x{number}" for number in range(20_000)) + "]\n"
    start = time.perf_counter()
    faults = check_card(f"---\n{header}---\n# A\n" + "/tmp/x\n" * 10_000)
    assert 100 < len(faults) < 1000 and time.perf_counter() - start < 20
    (fault,) = check_card(f'---\nlicense: "{"x" * 100_000}\\n\\e[31m"\n---\n# A\n')
    assert len(fault) <= 1000 and "\n" not in fault and "\x1b" not in fault
