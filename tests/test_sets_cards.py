"""Cards of named sets: the published rows without data, columns of a part of the data, bytes of all of it; tags."""

import gzip
import re
import struct

import datasets
import pytest
import yaml
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard

from dataset_scripts import load_dataset
from dataset_scripts.core.builders.published import PublishedSet
from dataset_scripts.core.card.check import check_card
from dataset_scripts.core.card.write import new_card, refresh_card
from dataset_scripts.core.load.loading import make_builder
from dataset_scripts.core.load.script import PACKAGE, bundled_names, find_script

SETS = [name for name in bundled_names() if issubclass(find_script(name).builder_class(), PublishedSet)]
FROM_FILES = {"ade20k", "caltech101", "caltech256", "fgvc_aircraft", "food101", "imagenet_1k", "tiny_imagenet"}
HEAD = """\
---
pretty_name: Runes
license: mit
task_categories:
- image-classification
---

# Runes
"""
RUNES = """\
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.layouts.idx.idx import Idx, IdxConfig

class Runes(PublishedSet, Idx):
    BUILDER_CONFIGS = [IdxConfig(name=name) for name in ("short", "long")]
    DEFAULT_CONFIG_NAME = "long"
    LICENSE = "mit"
    SOURCES = (Source("a.gz", (), 1200), Source("b.gz", (), 34))
    CLASSES = ["fehu", "uruz", "raidho"]

    def _info(self):
        self.ROWS = {"train": 30, "test": 12} if self.config.name == "long" else {"train": 7}
        return super()._info()

    def _list(self):
        self.config.name = "default"
        return super()._list()
"""
BOXES = """\
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.layouts.voc.voc import Voc, VocConfig

class Boxes(PublishedSet, Voc):
    BUILDER_CONFIGS = [VocConfig(name="default", task="detection")]
    LICENSE = "mit"
    SOURCES = (Source("a.zip", (), 1200),)
    ROWS = {"train": 500}
    CLASSES = ["fish", "crab"]
"""
XML = """<annotation><size><width>30</width><height>20</height><depth>3</depth></size><object><name>crab</name>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>12</ymax></bndbox></object></annotation>"""


def write_script(folder, name, source):
    (folder / name).mkdir()
    (folder / name / f"{name}.py").write_text(source)
    (folder / name / "README.md").write_text(HEAD)
    return folder / name


def write_runes(folder, rng, **rows):
    folder.mkdir()
    for split, count in rows.items():
        labels = bytes((rng.permutation(count) % 3).tolist())
        images = struct.pack(">HBBIII", 0, 8, 3, count, 8, 8) + rng.bytes(count * 64)
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(struct.pack(">HBBI", 0, 8, 1, count) + labels)
        )
    return str(folder)


def infos_of(text):
    return DatasetInfosDict.from_dataset_card_data(DatasetCard(text).data)


@pytest.mark.parametrize("name", ["digits", *SETS])
def test_every_card_is_as_the_command_writes_it(name):
    assert refresh_card(name).encode() == (PACKAGE / name / "README.md").read_bytes()


@pytest.mark.parametrize("name", SETS)
def test_every_card_says_the_published_rows_of_all_configurations(name):
    infos = infos_of((PACKAGE / name / "README.md").read_text(encoding="utf-8"))
    builder = find_script(name).builder_class()
    assert set(infos) == {config.name for config in builder.BUILDER_CONFIGS} or not builder.BUILDER_CONFIGS
    for config, info in infos.items():
        named = make_builder(find_script(name), config)
        assert {split: part.num_examples for split, part in info.splits.items()} == named.ROWS
        assert (info.dataset_size or 0) == sum(part.num_bytes or 0 for part in info.splits.values())
        assert info.download_size == sum(source.size for source in named.sources()) > 1000
        assert (info.features is None) == (name in FROM_FILES)
        classes = getattr(named, "CLASSES", None)
        assert not classes or info.features["label"].names == classes


def test_without_data_the_rows_are_the_published_ones(tmp_path):
    folder = write_script(tmp_path, "runes", RUNES)
    text = refresh_card(str(folder))
    infos = infos_of(text)
    assert list(infos) == ["short", "long"] and "  - name: train\n    num_bytes: null\n    num_examples: 30\n" in text
    assert {split: part.num_examples for split, part in infos["long"].splits.items()} == {"train": 30, "test": 12}
    assert infos["short"].splits["train"].num_examples == 7
    assert [info.download_size for info in infos.values()] == [1234, 1234] and "dataset_size" not in text
    assert infos["long"].features is None and check_card(text, str(folder)) == []
    (folder / "README.md").write_text(text)
    assert refresh_card(str(folder)) == text
    for old, new, fault in [
        ("num_examples: 7", "num_examples: 8", "dataset_info[0].splits: has train 8, but the script has train 7"),
        (
            "num_examples: 12",
            "num_examples: 13",
            "dataset_info[1].splits: has train 30, test 13, but the script has train 30, test 12",
        ),
        (
            "config_name: short",
            "config_name: tall",
            "dataset_info[0]: the script has no configuration tall: leave it out",
        ),
    ]:
        (found,) = check_card(text.replace(old, new), str(folder))
        assert re.sub(r"^line \d+: ", "", found).startswith(fault)
    (found, _) = check_card(text.replace("download_size: 1234", "download_size: 1235"), str(folder))
    assert "dataset_info[0].download_size: is 1235, but the files have 1234 bytes" in found


def test_a_part_of_the_data_tells_columns_and_all_of_it_bytes(tmp_path, rng):
    folder = write_script(tmp_path, "runes", RUNES)
    expected = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["fehu", "uruz", "raidho"]))
    text = refresh_card(str(folder), write_runes(tmp_path / "part", rng, train=5, t10k=3))
    info = infos_of(text)["long"]
    assert info.features == expected and info.splits["train"].num_examples == 30 and not info.splits["train"].num_bytes
    assert infos_of(text)["short"].features is None
    (folder / "README.md").write_text(text)
    assert refresh_card(str(folder)) == text and check_card(text, str(folder)) == []  # the columns stay without data
    whole = write_runes(tmp_path / "whole", rng, train=30, t10k=12)
    full = refresh_card(str(folder), whole)
    sizes = {
        split: rows.data.nbytes for split, rows in load_dataset(str(folder), data_dir=whole, transform=None).items()
    }
    said = {split: part.num_bytes for split, part in infos_of(full)["long"].splits.items()}
    assert all(abs(said[split] - size) < 0.1 * size for split, size in sizes.items())
    assert infos_of(full)["long"].dataset_size == sum(said.values())
    (folder / "README.md").write_text(full)
    assert refresh_card(str(folder)) == full == refresh_card(str(folder), whole) and check_card(full, str(folder)) == []


def test_classes_are_compared_with_any_column_of_classes(tmp_path, save_image):
    folder, data = write_script(tmp_path, "boxes", BOXES), tmp_path / "data"
    save_image(data / "JPEGImages/1.png", (30, 20))
    (data / "Annotations").mkdir()
    (data / "Annotations/1.xml").write_text(XML)
    text = refresh_card(str(folder), str(data))
    features = infos_of(text)["default"].features
    assert features["objects"]["category"].feature.names == ["fish", "crab"] and "label" not in features
    assert check_card(text, str(folder)) == []
    (found,) = check_card(text.replace("'0': fish", "'0': cod"), str(folder))
    assert "dataset_info.features: no column has the classes of the script, fish, crab" in found


def test_a_first_card_needs_no_data_where_the_script_tells_the_columns(tmp_path):
    text = new_card("mnist")
    assert check_card(text.replace("size_categories:", "tags:\n- digits\nsize_categories:"), "mnist") == []
    assert infos_of(text)["default"].features["label"].names == list("0123456789")


@pytest.mark.parametrize(
    "old, new, fault",
    [
        (
            "| test | 10,000 |",
            "| test | 1,000 |",
            "the splits are train 60,000, test 1,000, but train 60,000, test 10,000 in the script",
        ),
        ("- 10K<n<100K", "- 1K<n<10K", "size_categories: '1K<n<10K' does not fit the 70,000 rows of dataset_info"),
        ("license: mit", "license: cc0-1.0", "license: is 'cc0-1.0', but 'mit' in the script"),
        ("'0': '0'", "'0': zero", "dataset_info.features: label: its classes are not as in the script"),
        ("| `image` |", "| `photo` |", "the columns are photo, label, but image, label in the script"),
        (
            "num_examples: 10000",
            "num_examples: 9999",
            "dataset_info.splits: has train 60,000, test 9,999, but the script has train 60,000",
        ),
        ("- digits\n- handwriting\n", "", "tags: None is not text"),
        ("tags:\n- digits\n- handwriting\n", "", "there is no list of tags: add some, such as '- faces'"),
        ("tags:\n- digits\n- handwriting\n", "tags: digits\n", "tags: there is no list of tags"),
        (
            "- handwriting\n",
            "- Hand Writing\n",
            "tags[1]: 'Hand Writing' is not a short word of lower-case letters, digits and -",
        ),
        ("- handwriting\n", f"- {'a' * 40}\n", f"tags[1]: '{'a' * 40}' is not a short word"),
    ],
)
def test_the_card_of_a_set_is_compared_with_what_it_declares(old, new, fault):
    text = (PACKAGE / "mnist/README.md").read_text(encoding="utf-8")
    assert text.count(old) == 1
    faults = [re.sub(r"^line \d+: ", "", found) for found in check_card(text.replace(old, new), "mnist")]
    assert any(found.startswith(fault) for found in faults) and len(faults) <= 2, faults


def test_the_card_of_a_set_without_a_configuration(tmp_path):
    text = (PACKAGE / "qmnist/README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---\n")[1])
    header["dataset_info"] = header["dataset_info"][:3]
    (found,) = check_card(f"---\n{yaml.safe_dump(header)}---\n{text.split('---', 2)[2]}", "qmnist")
    assert "there is no dataset_info of the configuration nist: refresh_card()" in found
