"""Cards: what the Hub and `datasets` refuse is found offline, cards agree with their scripts, refreshing keeps the rest."""

import importlib.resources
import json
import logging
import re
import string

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Array2D, ClassLabel, Features, Image, LargeList, List, Value
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard

from dataset_scripts.core.card.check import check_card
from dataset_scripts.core.card.write import describe, new_card, refresh_card
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.card_rules import hub_names, size_category
from dataset_scripts.core.load.script import PACKAGE, bundled, bundled_names

HEADER = """\
pretty_name: Toys
license: mit
task_categories:
- image-classification
"""
BODY = "\n# Toys\n\nPhotos of toys.\n"
PART = "<!-- package -->\nFor users of this package.\n<!-- /package -->\n"
INFO = """\
size_categories:
- n<1K
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': bear
          '1': car
  splits:
  - name: train
    num_bytes: 70
    num_examples: 7
"""
FEATURES = [
    Image(),
    Image(mode="RGB"),
    ClassLabel(names=["yes", "no", "0", "null", "1e3", "a: b", "- c", "# d", "ü", "two words", "'", '"', "~"]),
    *map(Value, "bool int32 int64 uint8 uint64 float32 float64 string binary large_string timestamp[us]".split()),
    List(Value("float32")),
    List(Value("float32"), length=4),
    List(List(Value("float32"), length=4)),
    LargeList(Value("int64")),
    List(ClassLabel(names=["no", "b"])),
    Array2D(shape=(3, 4), dtype="float32"),
    {"size": List(Value("int64")), "counts": Value("string")},
    {"bbox": List(List(Value("float32"), length=4)), "category": List(ClassLabel(names=["x", "y"]))},
    List({"keypoints": List(List(Value("float32"))), "category": ClassLabel(names=["x"])}),
]


def card(header=HEADER, body=BODY):
    return f"---\n{header}---\n{body}"


@pytest.mark.parametrize("name", bundled_names())
def test_the_card_of_every_script(name):
    assert check_card(bundled()[name].with_name("README.md"), name) == []


def test_a_good_card_has_no_faults():
    assert check_card(card()) == []
    assert check_card(card().replace("\n", "\r\n")) == []
    assert check_card(card(HEADER + INFO)) == []
    assert check_card(card(body=BODY + PART + "\nText.\n" + PART)) == []
    assert check_card(card(body=BODY + "```html\n<!-- package -->\n```\n")) == []
    whole = """\
    language: [en, deu, code]
    language_bcp47: [en-US]
    license: other
    license_name: own-1.0
    license_link: LICENSE
    annotations_creators: expert-generated
    language_creators: [found]
    multilinguality: monolingual
    source_datasets: [original, extended|mnist]
    task_ids: [multi-class-image-classification]
    size_categories: unknown
    paperswithcode_id: toys
    tags: [toys]
    viewer: false
    extra_gated_prompt: Please
    extra_gated_fields: {Name: text}
    """
    assert check_card(card("pretty_name: Toys\n" + re.sub(r"(?m)^ {4}", "", whole))) == []


def test_a_path_is_read(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(card(HEADER.replace("mit", "MIT")))
    assert check_card(path) == ["line 3: license: 'MIT' is not known to the Hub: 'mit'?"]
    path.write_bytes(card().encode().replace(b"Photos", b"\xff"))
    assert check_card(path) == ["line 10: is not UTF-8: save the card as UTF-8"]


@pytest.mark.parametrize(
    "text, fault",
    [
        ("", "line 1: there is no YAML header"),
        ("# Toys\n\nText.\n", "line 1: there is no YAML header"),
        ("---\nlicense: mit\n", "line 1: there is no YAML header"),
        ("\ufeff" + card(), "line 1: there is a byte order mark"),
        (card("license: mit\ntags: [a\n"), "line 4: the header is not YAML: expected ',' or ']'"),
        (card("license: mit\n\ttags: a\n"), "line 3: the header is not YAML: found character"),
        (card("date: 2020-13-45\n"), "line 2: the header is not YAML: month must be in 1..12"),
        (card("- a\n"), "line 1: the header has no keys"),
        (card(""), "line 1: the header has no keys"),
        (card(body=""), "line 7: there is no text"),
        (card(body="\n \n"), "line 7: there is no text"),
        (card(body="\n## Toys\n\nText.\n"), "line 7: there is no title"),
        (card(body="\n```sh\n# Toys\n```\nText.\n"), "line 7: there is no title"),
        (card(body=BODY + "\n`/home/ann/toys` holds them\n"), "line 12: /home/ann is a path of one machine"),
        (card(body=BODY + "ls /tmp/x\n"), "line 11: /tmp/x is a path of one machine"),
        (card(body=BODY + r"dir C:\toys" + "\n"), r"line 11: C:\toys is a path of one machine"),
        (card(HEADER + "tags: [file:///toys]\n"), "line 6: file:///toys] is a path of one machine"),
        (card(body=BODY + "<!-- columns -->\n"), "line 7: <!-- columns --> needs its <!-- /columns -->"),
        (card(body=BODY + "<!-- package -->\n"), "line 11: <!-- package --> has no partner: parts begin with"),
        (card(body=BODY + "<!-- /package -->\n"), "line 11: <!-- /package --> has no partner"),
        (card(body=BODY + PART + "\n  <!-- package --> \n" + PART), "line 15: <!-- package --> has no partner"),
        (card(body=BODY + "```\n<!-- package -->\n```\n<!-- /package -->\n"), "line 14: <!-- /package --> has no"),
        (card(body=BODY + 2 * "<!-- splits -->\n<!-- /splits -->\n"), "line 7: <!-- splits --> needs its"),
    ],
)
def test_a_card_that_is_broken_as_a_whole(text, fault):
    faults = check_card(text)
    assert len(faults) == 1 and faults[0].startswith(fault) and "\n" not in faults[0]


def test_parts_within_each_other_are_two_faults():
    begins, ends = check_card(card(body=BODY + "<!-- package -->\n" + PART + "<!-- /package -->\n"))
    assert begins.startswith("line 11: <!-- package --> has no partner")
    assert ends.startswith("line 15: <!-- /package --> has no partner")


def test_addresses_and_relative_paths_are_no_machine_paths():
    assert check_card(card(body=BODY + "https://a.org/home/ann/x, path/to/tmp/x, `a/work/b`, ~/data and 3:1\n")) == []


@pytest.mark.parametrize(
    "line, fault",
    [
        ("licence: mit", "licence: the Hub knows no such key: 'license'?"),
        ("zzz: 1", "zzz: the Hub knows no such key: leave it out"),
        ("license: gpl", None),
        ("license: CC-BY-4.0", "license: 'CC-BY-4.0' is not known to the Hub: 'cc-by-4.0'?"),
        ("license: [mit, proprietary]", "license[1]: 'proprietary' is not known to the Hub: take an id from"),
        ("license: other", "license: 'other' needs its name: add license_name"),
        ("license_name: own", "license_name: is used only with 'license: other'"),
        ("license_link: see below", "license_link: 'see below' is neither an address nor a file"),
        ("task_categories: [image-classifcation]", "task_categories[0]: 'image-classifcation' is not known to the Hub"),
        ("task_ids: [a]", "task_ids[0]: 'a' is not known to the Hub: core/formats/hub_names.yaml lists the known ones"),
        (
            "size_categories: [1K-10K]",
            "size_categories[0]: '1K-10K' is not known to the Hub: take one of n<1K, 1K<n<10K",
        ),
        ("size_categories: 1k<n<10k", "size_categories: '1k<n<10k' is not known to the Hub"),
        ("language: no", "language: False is not text: put it in quotes"),
        ("language: english", "language: 'english' is not known to the Hub"),
        ("language: en-US", "language: 'en-US' is not known to the Hub: take an ISO 639 code"),
        ("language: jp", "language: 'jp' is not known to the Hub"),
        ("language: 'no'", None),
        ("multilinguality: both", "multilinguality: 'both' is not known to the Hub: take one of monolingual"),
        ("annotations_creators: [experts]", "annotations_creators[0]: 'experts' is not known to the Hub"),
        ("source_datasets: 7", "source_datasets: 7 is not text: put it in quotes"),
        ("tags: [1]", "tags[0]: 1 is not text: put it in quotes"),
        ("tags: {a: b}", "tags: {'a': 'b'} is not text"),
        ("tags:", "tags: None is not text"),
        ("pretty_name: 3", "pretty_name: 3 should be a text"),
        ("pretty_name: ''", "pretty_name: '' should be a text"),
        ("configs: {a: b}", "configs: {'a': 'b'} should be a list"),
        ("dataset_info: 3", "dataset_info: 3 should be a mapping or a list"),
        ("viewer: 'no'", "viewer: 'no' should be true or false"),
    ],
)
def test_a_key_that_is_wrong(line, fault):
    key = line.partition(":")[0]
    header = "".join(kept + "\n" for kept in re.split(r"\n(?!-)", HEADER.strip()) if not kept.startswith(key + ":"))
    faults = check_card(card(header + line + "\n"))
    if fault is None:
        assert faults == []
        return
    at = header.count("\n") + 2
    assert len(faults) == 1 and faults[0].startswith(f"line {at}: {fault}") and "\n" not in faults[0]


def test_a_key_that_stands_twice_is_found_at_any_depth():
    assert check_card(card(HEADER + "license: mit\n")) == ["line 6: license: occurs twice: keep one"]
    twice = INFO.replace("    num_bytes: 70\n", "    num_bytes: 70\n    num_bytes: 70\n")
    (fault,) = check_card(card(HEADER + twice))
    assert fault == "line 21: dataset_info.splits[0].num_bytes: occurs twice: keep one"


CONFIGS = [
    # the content of `configs`, the fault or None, whether `datasets` reports it too
    ("[{config_name: default, data_files: data/*.parquet}]", None, True),
    ("[{config_name: a, data_files: [data/train.parquet, data/test.parquet]}]", None, True),
    ("[{config_name: a, data_files: [{split: train, path: [data/train.parquet]}]}]", None, True),
    (
        "[{config_name: a, default: true, data_files: data/train*}, {config_name: b, data_files: data/test*}]",
        None,
        True,
    ),
    ("[{data_files: data/*}]", "configs[0]: needs a config_name", True),
    ("[{config_name: 'a/b', data_files: data/*}]", "configs[0]: needs a config_name, a text without any of", True),
    ("[{config_name: 3, data_files: data/*}]", "configs[0]: needs a config_name", True),
    ("[text]", "configs[0]: needs a config_name", True),
    ("[{config_name: a, data_files: 3}]", "configs[0].data_files: should be a path pattern", True),
    ("[{config_name: a, data_files: {train: data/*}}]", "configs[0].data_files: should be a path pattern", True),
    ("[{config_name: a, data_files: []}]", "configs[0].data_files: should be a path pattern", False),
    (
        "[{config_name: a, data_files: [data/train.parquet, {split: b, path: c}]}]",
        "configs[0].data_files: should be",
        True,
    ),
    (
        "[{config_name: a, data_files: [{split: train}]}]",
        "configs[0].data_files[0]: has the keys split: it takes",
        True,
    ),
    ("[{config_name: a, data_files: [{split: train, path: b, x: c}]}]", "configs[0].data_files[0]: has the keys", True),
    (
        "[{config_name: a, data_files: [{split: a-b, path: data/*}]}]",
        "configs[0].data_files[0].split: 'a-b' cannot name a split",
        True,
    ),
    (
        "[{config_name: a, data_files: [{split: 1, path: data/*}]}]",
        "configs[0].data_files[0].split: 1 cannot name a split",
        True,
    ),
    (
        "[{config_name: a, data_files: [{split: [b], path: data/*}]}]",
        "configs[0].data_files[0].split: ['b'] cannot name a split",
        True,
    ),
    (
        "[{config_name: a, data_files: [{split: b, path: data/*}, {split: b, path: data/*}]}]",
        "configs[0].data_files[1].split: the split 'b' occurs twice",
        True,
    ),
    ("[{config_name: a, data_files: [{split: b, path: 3}]}]", "configs[0].data_files[0]: 3 is not a path", True),
    ("[{config_name: a, data_files: /data/x}]", "configs[0].data_files: '/data/x' leads out of the dataset", True),
    ("[{config_name: a, data_files: ../x}]", "configs[0].data_files: '../x' leads out of the dataset", True),
    (
        "[{config_name: a, default: true, data_files: data/*}, {config_name: b, default: true, data_files: data/*}]",
        "configs: 'a' and 'b' are default",
        True,
    ),
    (
        "[{config_name: default, data_files: data/*}, {config_name: b, default: true, data_files: data/*}]",
        "configs: 'default' and 'b' are default",
        True,
    ),
    (
        "[{config_name: a, default: 'yes', data_files: data/*}]",
        "configs[0].default: 'yes' should be true or false",
        False,
    ),
    (
        "[{config_name: a, default: true, data_files: data/test.parquet}, {config_name: a, data_files: data/train.parquet}]",
        "configs[1].config_name: two configurations are called 'a'",
        False,  # the first is silently lost
    ),
]


@pytest.mark.parametrize("configs, fault, same", CONFIGS)
def test_configs_as_datasets_judges_them(tmp_path, configs, fault, same):
    text = card(f"{HEADER}configs: {configs}\n")
    faults = check_card(text)
    assert faults == [] if fault is None else len(faults) == 1 and faults[0].startswith(f"line 6: {fault}")
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        pq.write_table(pa.table({"x": [1, 2]}), tmp_path / f"data/{split}.parquet")
    (tmp_path / "README.md").write_text(text)

    def load():
        return datasets.load_dataset(str(tmp_path), cache_dir=str(tmp_path / ".cache"))

    if same and fault is not None:
        with pytest.raises(Exception):  # noqa: B017  it raises many types
            load()
    elif fault is None:
        assert {len(rows) for rows in load().values()} <= {2, 4}


@pytest.mark.parametrize(
    "old, new, fault",
    [
        ("    dtype: image\n", "    dtype: imagee\n", "line 10: dataset_info.features[0]: image: datasets cannot read"),
        ("    dtype: image\n", "", "line 10: dataset_info.features[0]: should be a list of {name, dtype}"),
        ("  - name: image\n", "  - name: 3\n", "line 10: dataset_info.features[0]: should be a list of {name, dtype}"),
        ("  - name: image\n", "  - name: label\n", "line 12: dataset_info.features[1]: there are two columns label"),
        (
            "'1': car",
            "'2': car",
            "line 12: dataset_info.features[1]: label: datasets cannot read its type: ClassLabel exp",
        ),
        (
            "'1': car",
            "'1': bear",
            "line 12: dataset_info.features[1]: label: datasets cannot read its type: Some label",
        ),
        ("'1': car", "'1': no", "line 12: dataset_info.features[1]: label: the class name False is not text"),
        ("    num_bytes: 70\n", "", "line 19: dataset_info.splits[0]: needs num_bytes, a whole number; it is None"),
        (
            "num_bytes: 70",
            "num_bytes: many",
            "line 19: dataset_info.splits[0]: needs num_bytes, a whole number; it is 'many'",
        ),
        (
            "num_examples: 7",
            "num_examples: null",
            "line 19: dataset_info.splits[0]: needs num_examples, a whole number",
        ),
        (
            "num_examples: 7",
            "num_examples: seven",
            "line 19: dataset_info.splits[0]: needs num_examples, a whole number",
        ),
        ("num_examples: 7", "num_examples: -7", "line 19: dataset_info.splits[0]: needs num_examples, a whole number"),
        (
            "num_examples: 7",
            "num_examples: true",
            "line 19: dataset_info.splits[0]: needs num_examples, a whole number",
        ),
        ("- name: train\n    num_bytes", "- num_bytes", "line 19: dataset_info.splits[0]: needs its own name"),
        ("name: train", "name: a-b", "line 19: dataset_info.splits[0]: needs its own name"),
        ("  splits:\n", "  splits:\n  - text\n", "line 19: dataset_info.splits[0]: should be a list of"),
        (
            "  splits:\n",
            "  dataset_size: 71\n  splits:\n",
            "line 18: dataset_info.dataset_size: is 71, but the num_bytes of",
        ),
        (
            "  splits:\n",
            "  dataset_size: many\n  splits:\n",
            "line 18: dataset_info.dataset_size: 'many' is not a number of b",
        ),
        (
            "  splits:\n",
            "  feature: 1\n  splits:\n",
            "line 18: dataset_info.feature: datasets knows no such key: 'feat",
        ),
        ("num_examples: 7", "num_examples: 1000", "line 6: size_categories: 'n<1K' does not fit the 1,000 rows of"),
        ("dataset_info:\n", "dataset_info:\n- x\n", None),
    ],
)
def test_dataset_info_that_is_wrong(old, new, fault):
    assert INFO.count(old) == 1
    faults = check_card(card(HEADER + INFO.replace(old, new)))
    if fault is None:
        assert len(faults) == 1 and "the header is not YAML" in faults[0]
    else:
        assert len(faults) == 1 and faults[0].startswith(fault) and "\n" not in faults[0]


def test_dataset_info_of_several_configurations():
    def listed(*entries):
        return HEADER + yaml.safe_dump({"dataset_info": list(entries)})

    first = {"config_name": "a", "splits": [{"name": "train", "num_bytes": 9, "num_examples": 5000}]}
    second = {"config_name": "b", "splits": [{"name": "train", "num_bytes": 9, "num_examples": 7}]}
    both = listed(first, second)
    assert check_card(card(both + "size_categories: [n<1K, 1K<n<10K]\n")) == []
    assert "does not fit the 5,007 rows" in check_card(card(both + "size_categories: [10K<n<100K]\n"))[0]
    assert "dataset_info[1]: needs a config_name of its own" in check_card(card(listed(first, first)))[0]
    assert "dataset_info: has an item that is not a mapping" in check_card(card(listed(first, "b")))[0]
    configs = "configs: [{config_name: b, data_files: [{split: test, path: data/*}]}]\n"
    (fault,) = check_card(card(both + configs))
    assert fault.endswith("dataset_info[1].splits: has train, but configs has test: make them the same")


def test_aliases_in_the_header_do_not_hang():
    (fault,) = check_card(card(HEADER + "tags: &a [*a]\n"))
    assert fault.startswith("line 6: the header is not YAML: an alias refers to a value that contains it")


def test_names_are_those_that_the_libraries_know():
    resources = importlib.resources.files("datasets.utils.resources")
    read = {
        path: json.loads((resources / f"{path}.json").read_text())
        for path in ("size_categories", "creators", "multilingualities", "languages")
    }
    names = hub_names()
    assert names["size_categories"] == [size for size in read["size_categories"] if size != "unknown"]
    assert names["annotations_creators"] == read["creators"]["annotations"]
    assert names["language_creators"] == read["creators"]["language"]
    assert names["multilinguality"] == list(read["multilingualities"])
    assert set(names["language"]) == {code for code in read["languages"] if len(code) == 2}
    for listed in names.values():
        assert len(set(listed)) == len(listed) and all(isinstance(name, str) for name in listed)
    assert {"mit", "apache-2.0", "cc-by-4.0", "cc0-1.0", "openrail++", "unknown", "other"} <= set(names["license"])


def test_size_categories_have_the_bounds_that_their_names_say():
    unit = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
    ends = re.findall(r"(\d+)([KMBT])$", "\n".join(hub_names()["size_categories"]), re.MULTILINE)
    bounds = [int(number) * unit[letter] for number, letter in ends]
    assert bounds == [10**power for power in range(3, 13)] + [10**12]
    for below, name in zip(bounds[:-1], hub_names()["size_categories"]):
        assert size_category(below - 1) == name != size_category(below)
    assert size_category(0) == "n<1K" and size_category(10**15) == "n>1T"


def test_every_type_of_column_survives_the_card(tmp_path):
    """The oracle is `huggingface_hub`'s reader of cards and `datasets`' reader of `dataset_info`."""
    features = Features({letter: feature for letter, feature in zip(string.ascii_lowercase, FEATURES, strict=False)})
    assert len(features) == len(FEATURES)
    script = write_script(tmp_path, features)
    text = new_card(str(script))
    data = DatasetCard(text).data
    assert DatasetInfosDict.from_dataset_card_data(data)["default"].features == features
    assert check_card(text, str(script)) == []
    assert refresh(script, text) == text
    for column, feature in features.items():
        assert f"| `{column}` | {describe(feature)} | " in text


SCRIPT = '''\
"""Toys on a shelf."""

import datasets


class Toys(datasets.GeneratorBasedBuilder):
    {body}

    def _info(self):
        return datasets.DatasetInfo(
            description="Toys on a shelf.",
            features={features},
            homepage="https://toys.example",
            license={license!r},
            citation="@misc{{toys, title = {{Toys}}}}",
        )

    def _split_generators(self, dl_manager):
        return [datasets.SplitGenerator(split, {{"rows": rows}}) for split, rows in {rows!r}.items()]

    def _generate_examples(self, rows):
        for row in range(rows):
            yield row, {{}}
'''


def write_script(folder, features, rows=None, license="mit", body="VERSION = '1.0.0'"):
    """A script with data beside it; its rows are all null."""
    (folder / "toys").mkdir(exist_ok=True)
    (folder / "toys/data.bin").write_bytes(b"data")
    made = f"datasets.Features.from_dict({features.to_dict()!r})"
    values = {"features": made, "rows": rows or {"train": 3, "test": 2}, "license": license, "body": body}
    (folder / "toys/toys.py").write_text(SCRIPT.format(**values))
    return folder / "toys/toys.py"


TOYS = Features({"image": Image(), "label": ClassLabel(names=["bear", "car|bus"]), "caption": Value("string")})


def refresh(script, text=None, **options):
    if text is not None:
        script.with_name("README.md").write_bytes(text.encode())
    return refresh_card(str(script), **options)


def test_the_first_card_of_a_script(tmp_path):
    script = write_script(tmp_path, TOYS)
    text = new_card(str(script))
    parsed = DatasetCard(text)
    assert parsed.data.to_dict() == yaml.safe_load(text.split("---\n")[1])
    assert parsed.data.pretty_name == "Toys" and parsed.data.license == "mit"
    assert parsed.data.task_categories == ["image-to-text"] and parsed.data.size_categories == ["n<1K"]
    infos = DatasetInfosDict.from_dataset_card_data(parsed.data)
    assert infos["default"].features == TOYS
    assert {split: info.num_examples for split, info in infos["default"].splits.items()} == {"train": 3, "test": 2}
    assert parsed.text.splitlines()[1:4] == ["# Toys", "", "Toys on a shelf."]
    use = 'from dataset_scripts import load_dataset\n\nds = load_dataset("path/to/toys/toys.py")'
    assert f"\n\n<!-- package -->\n\n```python\n{use}\n```\n\n<!-- /package -->\n\n" in text
    assert "| `label` | one of 2 classes | bear, car\\|bus |" in text
    assert (
        "\n<!-- splits -->\n\n| split | rows |\n|---|---:|\n| train | 3 |\n| test | 2 |\n\n<!-- /splits -->\n" in text
    )
    assert "**Source**: https://toys.example" in text and "```bibtex\n@misc{toys, title = {Toys}}\n```" in text
    assert check_card(text) == check_card(text, str(script)) == []
    assert refresh(script, text) == text


def test_the_first_card_takes_any_licence(tmp_path):
    text = new_card(str(write_script(tmp_path, TOYS, license="For research, only!")))
    assert "\nlicense: other\nlicense_name: for-research-only\n" in text and "**Licence**: For research, only!" in text
    assert check_card(text) == []
    text = new_card(str(write_script(tmp_path, TOYS, license="")))
    assert "\nlicense: unknown\n" in text and check_card(text) == []


def test_a_first_card_for_a_layout_in_a_script_of_ones_own(tmp_path, save_image):
    for split in ("train", "test"):
        for kind in ("cat", "dog"):
            for number in range(3):
                save_image(tmp_path / f"photos/{split}/{kind}/{number}.png")
    (tmp_path / "pets").mkdir()
    source = "from dataset_scripts.layouts.image_folder.image_folder import ImageFolder\n"
    source += "class Pets(ImageFolder):\n    DATA_DIR = '../photos'\n"
    (tmp_path / "pets/pets.py").write_text(f'"""Pets at home."""\n{source}')
    text = new_card(str(tmp_path / "pets"))
    assert "- image-classification" in text and "Pets at home." in text
    assert "| `label` | one of 2 classes | cat, dog |" in text
    assert check_card(text, str(tmp_path / "pets")) == []
    named = new_card("image_folder", data_dir=str(tmp_path / "photos"))
    assert 'load_dataset("image_folder", data_dir="path/to/data")' in named and str(tmp_path) not in named
    save_image(tmp_path / "photos/train/eel/0.png")
    fault = "dataset_info.splits: has train 6, test 6, but the script has train 7, test 6: refresh_card() brings it up to date"
    faults = check_card(text, str(tmp_path / "pets"))
    line = text[: text.index("  splits:")].count("\n") + 1
    assert f"line {line}: {fault}" in faults
    assert any("label: its classes are not as in the script" in fault for fault in faults)
    (tmp_path / "pets/README.md").write_text(text)
    newer = refresh_card(str(tmp_path / "pets"))
    assert check_card(newer, str(tmp_path / "pets")) == [] and "| train | 7 |" in newer and "'2': eel" in newer


def test_stock_datasets_reads_the_columns_from_the_card(tmp_path):
    """The Parquet files do not mention classes and images: the right columns come from the card."""
    script = write_script(tmp_path, TOYS, rows={"train": 3})
    folder = tmp_path / "out"
    (folder / "data").mkdir(parents=True)
    png = b"\x89PNG\r\n\x1a\n"
    images = pa.array([{"bytes": png, "path": None}] * 3, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    table = pa.table({"image": images, "label": pa.array([1, 0, 1]), "caption": pa.array(["a", "b", "c"])})
    pq.write_table(table, folder / "data/train.parquet")

    def load():
        return datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / ".cache"))

    assert load().features != TOYS
    (folder / "README.md").write_text(new_card(str(script)))
    rows = load()
    assert rows.features == TOYS and rows.features["label"].int2str(rows["label"]) == ["car|bus", "bear", "car|bus"]
    (folder / "README.md").write_text(new_card(str(script)).replace("num_examples: 3", "num_examples: 4"))
    with pytest.raises(datasets.exceptions.NonMatchingSplitsSizesError):
        load()


MIXED = """\
# the header of a person
license:   mit   # chosen with care
pretty_name: "Toys"
size_categories: [10K<n<100K]
# what it is for
task_categories: [ image-classification ]
dataset_info:
  splits: []

# the end
tags:
    - toys
"""
TABLES = """
# Toys

<!-- columns -->
| column | content |
|---|---|
| `gone` | old |
| `label` | a *toy* \\| more |
<!-- /columns -->

Text.\t
<!-- splits -->
<!-- /splits -->
| split | rows |
|---|---|
| mine | 3 |
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_refreshing_changes_the_machine_part_alone(tmp_path, newline):
    script = write_script(tmp_path, TOYS)
    old = card(MIXED, TABLES).replace("\n", newline)
    new = refresh(script, old)
    assert refresh(script, new) == new
    if newline == "\r\n":
        assert new.count("\n") == new.count("\r\n")
    new = new.replace(newline, "\n")
    header, body = new.split("---\n", 2)[1:]
    machine = yaml.safe_load(header)
    block = yaml.safe_dump({"dataset_info": machine["dataset_info"]}, sort_keys=False)
    expected = MIXED.replace("size_categories: [10K<n<100K]\n", "size_categories:\n- n<1K\n")
    assert header == expected.replace("dataset_info:\n  splits: []\n", block)
    assert DatasetInfosDict.from_dataset_card_data(DatasetCard(new).data)["default"].features == TOYS
    columns = (
        "<!-- columns -->\n\n| column | type | content |\n|---|---|---|\n| `image` | image | the image |\n"
        "| `label` | one of 2 classes | a *toy* \\| more |\n| `caption` | string |  |\n\n<!-- /columns -->\n"
    )
    splits = "<!-- splits -->\n\n| split | rows |\n|---|---:|\n| train | 3 |\n| test | 2 |\n\n<!-- /splits -->\n"
    start, end = TABLES.index("<!-- columns"), TABLES.index("\nText.")
    assert body == TABLES[:start] + columns + TABLES[end:].replace("<!-- splits -->\n<!-- /splits -->\n", splits)


def test_refreshing_without_a_machine_part_adds_it(tmp_path):
    script = write_script(tmp_path, TOYS)
    new = refresh(script, card(HEADER + "# the end\n"))
    added = new.removeprefix("---\n" + HEADER + "# the end\n")
    assert added.startswith("size_categories:\n- n<1K\ndataset_info:\n  features:\n") and added.endswith("---\n" + BODY)
    assert refresh(script, new) == new


def test_bytes_are_renewed_with_rows_or_columns_alone(tmp_path):
    script = write_script(tmp_path, TOYS)
    text = new_card(str(script))
    other = re.sub(r"dataset_size: \d+", "dataset_size: 2", re.sub(r"num_bytes: \d+", "num_bytes: 1", text))
    assert other != text and refresh(script, other) == other
    assert refresh(script, other.replace("num_examples: 3", "num_examples: 4")) == text


def test_configurations_are_kept_side_by_side(tmp_path):
    configs = "BUILDER_CONFIGS = [datasets.BuilderConfig(name='small'), datasets.BuilderConfig(name='large')]"
    script = write_script(tmp_path, TOYS, body=configs)
    first = new_card(str(script), name="small")
    both = refresh(script, first, name="large")
    info = yaml.safe_load(both.split("---\n")[1])["dataset_info"]
    assert [entry["config_name"] for entry in info] == ["small", "large"]
    assert 'load_dataset("path/to/toys/toys.py", "small")' in first
    assert refresh(script, both, name="small") == refresh(script, both, name="large") == both
    for name in ("small", "large"):
        assert check_card(both, str(script), name=name) == []
    wrong = both.replace("num_examples: 3", "num_examples: 4", 1)
    assert check_card(wrong, str(script), name="large") == []
    assert (
        "dataset_info[0].splits: has train 4, test 2, but the script has"
        in check_card(wrong, str(script), name="small")[0]
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ("# Toys\n", "has no header with one key per line"),
        (card("{license: mit}\n"), "has no header with one key per line"),
        (card("- a\n"), "has no header with one key per line"),
        (card("a: [\n"), "its header is not YAML"),
        (card("size_categories: &a [1M<n<10M]\ntags: *a\n"), "other keys of its header refer to .*size_categories"),
    ],
)
def test_a_header_that_cannot_be_edited_is_left_alone(tmp_path, text, message):
    script = write_script(tmp_path, TOYS)
    with pytest.raises(DataError, match=message):
        refresh(script, text)
    assert script.with_name("README.md").read_text() == text


def test_what_cannot_be_refreshed_says_why(tmp_path, monkeypatch):
    script = write_script(tmp_path, TOYS)
    with pytest.raises(DataError, match=r"there is no card .*README.md: write the text of new_card"):
        refresh_card(str(script))
    script.with_name("README.md").write_bytes(b"---\nlicense: mit\n---\n\xff\n")
    with pytest.raises(DataError, match="README.md, line 4: is not UTF-8"):
        refresh_card(str(script))
    with pytest.raises(DataError, match="image_folder: its rows are not at hand: pass data_dir="):
        refresh_card("image_folder")
    with pytest.raises(DataError, match="food101: its rows are not at hand: pass data_dir="):
        new_card("food101")
    with pytest.raises(DataError, match="nothing_here is not a script"):
        check_card(card(), "nothing_here")


def test_digits_is_up_to_date():
    path = PACKAGE / "digits/README.md"
    assert refresh_card("digits") == path.read_text(encoding="utf-8")
    info = DatasetInfosDict.from_dataset_card_data(DatasetCard.load(path).data)["default"]
    assert info.features == Features({"image": Image(), "label": ClassLabel(names=list("0123456789"))})
    assert {split: part.num_examples for split, part in info.splits.items()} == {"train": 1438, "test": 359}
    assert info.dataset_size == sum(part.num_bytes for part in info.splits.values()) > 0


@pytest.mark.parametrize(
    "old, new, fault",
    [
        ("license: cc-by-4.0", "license: mit", "license: is 'mit', but 'cc-by-4.0' in the script"),
        ("pretty_name: Optical Recognition of Handwritten Digits (8x8)\n", "", "there is no pretty_name: add it"),
        ("doi          = {10.24432/C50P49}", "", "the citation of the script is not in the text"),
        (
            "num_examples: 1438",
            "num_examples: 1439",
            "dataset_info.splits: has train 1,439, test 359, but the script has train 1,438",
        ),
        ("'9': '9'", "'9': nine", "dataset_info.features: label: its classes are not as in the script"),
        ("dtype: image\n", "dtype: binary\n", "dataset_info.features: image: its type is not as in the script"),
        ("- name: image\n", "- name: photo\n", "dataset_info.features: the card has no column image"),
        ("- name: image\n", "- name: photo\n", "dataset_info.features: the script has no column photo"),
        (
            "| train | 1,438 |",
            "| train | 1,400 |",
            "the splits are train 1,400, test 359, but train 1,438, test 359 in the script",
        ),
        ("| test | 359 |\n", "", "the splits are train 1,438, but train 1,438, test 359 in the script"),
        ("| `image` |", "| `photo` |", "the columns are photo, label, but image, label in the script"),
    ],
)
def test_a_card_that_disagrees_with_its_script(old, new, fault):
    text = (PACKAGE / "digits/README.md").read_text(encoding="utf-8")
    assert text.count(old) == 1
    faults = check_card(text.replace(old, new), "digits")
    assert any(re.sub(r"^line \d+: ", "", found).startswith(fault) for found in faults), faults
    number = next(int(re.match(r"line (\d+)", found)[1]) for found in faults)
    assert 1 <= number <= text.count("\n")


def test_the_card_of_a_layout_says_no_rows():
    text = (PACKAGE / "layouts/image_folder/README.md").read_text(encoding="utf-8")
    (fault,) = check_card(text.replace("tags:\n", "size_categories: [n<1K]\ntags:\n"), "image_folder")
    assert "size_categories: a layout has no rows of its own" in fault


def test_splits_without_bytes_are_read_where_they_say_null(caplog):
    """Without the key `datasets` warns, and may drop the rows: the check asks for it."""
    logging.getLogger("datasets").propagate = True
    for line, warned in (("", True), ("    num_bytes: null\n", False)):
        text = card(HEADER + INFO.replace("    num_bytes: 70\n", line))
        caplog.clear()
        with caplog.at_level("WARNING", "datasets"):
            read = DatasetInfosDict.from_dataset_card_data(DatasetCard(text).data)["default"]
        assert (
            ("malformed or missing the name/num_examples/num_bytes" in caplog.text)
            == warned
            == (len(check_card(text)) == 1)
        )
    assert read.splits["train"].num_examples == 7 and not read.splits["train"].num_bytes


def test_random_damage_never_raises():
    rng = np.random.default_rng(0)
    text = card(HEADER + INFO + "configs: [{config_name: default, data_files: [{split: train, path: data/*}]}]\n")
    for _ in range(300):
        damaged = list(text)
        for place in rng.integers(4, len(text), 3):
            damaged[place] = str(rng.choice(list(" \n:-[]{}'\"&*#?|>x1\t")))
        assert all(fault.startswith("line ") and "\n" not in fault for fault in check_card("".join(damaged)))
