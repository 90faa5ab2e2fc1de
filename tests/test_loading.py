"""`load_dataset`: what a path means, what the cache depends on, and every way to read the rows."""

import inspect
import os
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pytest
import torch
from torch.utils.data import DataLoader

from dataset_scripts import DataError, ToTensor, TrustError, disable, enable, load_dataset

SCRIPT = """
import datasets
import numpy as np


class {name}Config(datasets.BuilderConfig):
    shade: int = 0

    def __init__(self, shade=0, **kwargs):
        super().__init__(**kwargs)
        self.shade = shade


class {name}(datasets.GeneratorBasedBuilder):
    BUILDER_CONFIG_CLASS = {name}Config
    BUILDER_CONFIGS = [{name}Config(name="plain"), {name}Config(name="bright", shade=100)]
    DEFAULT_CONFIG_NAME = "plain"

    def _info(self):
        return datasets.DatasetInfo(
            features=datasets.Features({{"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}})
        )

    def _split_generators(self, dl_manager):
        return [
            datasets.SplitGenerator("train", {{"ids": list(range(20))}}),
            datasets.SplitGenerator("test", {{"ids": list(range(4))}}),
        ]

    def _generate_examples(self, ids):
        for i in ids:
            yield i, {{"image": np.full((4, 6, 3), i + self.config.shade, np.uint8), "label": i % 2}}
"""


@pytest.fixture
def script(tmp_path) -> Path:
    """A foreign loading script, alone in its folder."""
    path = tmp_path / "shades" / "shades.py"
    path.parent.mkdir()
    path.write_text(SCRIPT.format(name="Shades"))
    return path


def value(row) -> int:
    """The shade of a row from the script above."""
    assert row["image"].shape == (3, 4, 6) and row["image"].dtype == torch.float32
    return round(float(row["image"][0, 0, 0]) * 255)


@pytest.mark.parametrize("spelling", ["shades/shades.py", "shades/shades", "shades", "shades/", "./shades"])
def test_every_spelling_of_a_script(script, spelling, monkeypatch):
    monkeypatch.chdir(script.parent.parent)
    train = load_dataset(spelling, split="train")
    assert isinstance(train, datasets.Dataset) and len(train) == 20
    assert [value(row) for row in train] == list(range(20))
    assert train.features["label"].names == ["a", "b"]


def test_splits_slices_names_and_options(script):
    both = load_dataset(str(script))
    assert {split: len(rows) for split, rows in both.items()} == {"train": 20, "test": 4}
    assert [value(row) for row in load_dataset(str(script), split="train[25%:50%]")] == [5, 6, 7, 8, 9]
    first, rest = load_dataset(str(script), split=["train[:5]", "test+train[-2:]"])
    assert len(first) == 5 and [value(row) for row in rest] == [0, 1, 2, 3, 18, 19]
    assert value(load_dataset(str(script), "bright", split="test")[1]) == 101
    assert value(load_dataset(str(script), shade=7, split="test")[1]) == 8
    with pytest.raises(ValueError, match="dark"):
        load_dataset(str(script), "dark")


def test_plain_rows_and_own_transforms(script):
    assert load_dataset(str(script), split="test", transform=None)[1]["image"].getpixel((0, 0)) == (1, 1, 1)
    assert float(load_dataset(str(script), split="test", transform=ToTensor(normalize=False))[3]["image"].max()) == 3
    only_labels = load_dataset(str(script), split="test", transform=lambda batch: {"label": batch["label"]})
    assert only_labels[1] == {"label": 1}


def test_streaming_gives_tensors_and_knows_its_features(script):
    stream = load_dataset(str(script), split="train", streaming=True)
    assert isinstance(stream, datasets.IterableDataset) and isinstance(stream.features["image"], datasets.Image)
    assert [value(row) for row in stream] == list(range(20))
    assert sorted(value(row) for row in stream.shuffle(seed=1, buffer_size=5)) == list(range(20))
    assert set(load_dataset(str(script), streaming=True)) == {"train", "test"}
    with pytest.raises(DataError, match="num_workers"):
        load_dataset(str(script), split="train", streaming=True, num_proc=2)


def test_num_proc_builds_the_same(script, tmp_path):
    rows = load_dataset(str(script), split="train", num_proc=2, cache_dir=str(tmp_path / "cache"))
    assert sorted(value(row) for row in rows) == list(range(20))
    assert len(rows.cache_files) == 2  # one file of each process


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("streaming", [False, True])
def test_data_loader_workers(script, context, streaming):
    rows = load_dataset(str(script), split="train", streaming=streaming)
    loader = DataLoader(rows, batch_size=5, num_workers=2, multiprocessing_context=context)
    batches = list(loader)
    assert all(batch["image"].shape == (5, 3, 4, 6) for batch in batches)
    shades = torch.cat([batch["image"][:, 0, 0, 0] for batch in batches]).mul(255).round().int().tolist()
    assert sorted(shades) == list(range(20))


def test_edited_script_is_never_answered_from_the_cache(script):
    assert value(load_dataset(str(script), split="test")[1]) == 1
    script.write_text(script.read_text().replace("i + self", "i + 50 + self"))
    assert value(load_dataset(str(script), split="test")[1]) == 51


def test_edited_import_is_never_answered_from_the_cache(script):
    helper = script.with_name("helper.py")
    helper.write_text("OFFSET = 10\n")
    script.write_text("from .helper import OFFSET\n" + script.read_text().replace("i + self", "i + OFFSET + self"))
    assert value(load_dataset(str(script), split="test")[1]) == 11
    helper.write_text("OFFSET = 20\n")
    assert value(load_dataset(str(script), split="test")[1]) == 21
    helper.unlink()
    with pytest.raises(DataError, match=r"shades.py, line 1: cannot import .helper"):
        load_dataset(str(script))


READER = """
import datasets


class Reader(datasets.GeneratorBasedBuilder):
    def _info(self):
        return datasets.DatasetInfo(features=datasets.Features({"image": datasets.Image(), "name": datasets.Value("string")}))

    def _split_generators(self, dl_manager):
        import os
        folder = self.config.data_dir or os.path.join(self.base_path, "pictures")
        files = self.config.data_files["train"] if self.config.data_files else sorted(
            os.path.join(folder, name) for name in os.listdir(folder))
        return [datasets.SplitGenerator("train", {"files": list(files)})]

    def _generate_examples(self, files):
        for path in files:
            yield path, {"image": path, "name": path.rsplit("/", 1)[-1]}
"""


@pytest.mark.parametrize("where", ["data_dir", "beside", "data_files"])
def test_changed_data_is_never_answered_from_the_cache(tmp_path, save_image, where):
    path = tmp_path / "reader" / "reader.py"
    pictures = tmp_path / "reader" / "pictures" if where == "beside" else tmp_path / "elsewhere"
    save_image(pictures / "a.png")
    path.parent.mkdir(exist_ok=True)
    path.write_text(READER)
    options = {
        "data_dir": {"data_dir": str(pictures)},
        "beside": {},
        "data_files": {"data_files": {"train": str(pictures / "*.png")}},
    }[where]

    def names():
        return load_dataset(str(path), split="train", trust_script=True, **options)["name"]

    assert list(names()) == ["a.png"]
    save_image(pictures / "b.png")
    assert list(names()) == ["a.png", "b.png"]
    before = load_dataset(str(path), split="train", **options)[0]["image"]
    time.sleep(0.01)
    save_image(pictures / "a.png", size=(3, 4))
    after = load_dataset(str(path), split="train", **options)[0]["image"]
    assert before.shape == (3, 7, 9) and after.shape == (3, 4, 3)


def test_a_script_found_in_data_is_not_run(tmp_path, save_image):
    save_image(tmp_path / "photos" / "cat" / "1.png")
    trap = tmp_path / "photos" / "photos.py"
    trap.write_text("raise SystemExit('this code must not run')")
    with pytest.raises(TrustError, match="trust_script=True"):
        load_dataset(str(trap.parent))
    with pytest.raises(SystemExit):
        load_dataset(str(trap.parent), trust_script=True)
    with pytest.raises(TrustError), enable():
        datasets.load_dataset(str(trap.parent))


def test_a_bundled_name_means_the_bundled_script(run_processes, tmp_path):
    # The program that loads a set often has the name of the set; it must not be taken for the script.
    program = tmp_path / "digits.py"
    program.write_text("from dataset_scripts import load_dataset\nprint(len(load_dataset('digits', split='test')))\n")
    output = run_processes(1, program, cwd=tmp_path)
    assert output.stdout.strip() == "359"
    (tmp_path / "mine.py").write_text(
        "from dataset_scripts import load_dataset\ntry:\n    load_dataset('mine')\nexcept Exception as e:\n    print(type(e).__name__)\n"
    )
    output = run_processes(1, tmp_path / "mine.py", cwd=tmp_path)
    assert "Error" in output.stdout and len(output.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "content, message",
    [
        ("x = 1\n", "is not a loading script"),
        ("class :\n", "line 1"),
        ("from ..up import x\n", r"line 1: cannot import \.\.up"),
    ],
)
def test_what_is_no_script_is_named(tmp_path, content, message):
    (tmp_path / "odd.py").write_text(content)
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path / "odd.py"))
    with pytest.raises(DataError, match="there is no script"):
        load_dataset(str(tmp_path / "absent.py"))


def test_own_copy_and_revision(script, tmp_path):
    with pytest.raises(DataError, match="revision"):
        load_dataset(str(script), revision="v1")
    load_dataset(str(script), split="test", cache_dir=str(tmp_path / "cache"), trust_remote_code=True)
    copies = list((tmp_path / "cache" / "scripts").glob("shades_*/shades.py"))
    assert [copy.read_bytes() for copy in copies] == [script.read_bytes()]
    assert (tmp_path / "cache" / "scripts").stat().st_mode & 0o077 == 0  # nobody else can plant code there


def test_hand_over_to_datasets_with_tensors(tmp_path, save_image):
    pixels = save_image(tmp_path / "photos" / "cat" / "1.png")
    rows = load_dataset("imagefolder", data_dir=str(tmp_path / "photos"), split="train")
    assert torch.equal(rows[0]["image"], ToTensor()(pixels))
    rows = load_dataset(
        "imagefolder", data_files={"train": str(tmp_path / "photos/cat/*")}, split="train", streaming=True
    )
    assert torch.equal(next(iter(rows))["image"], ToTensor()(pixels))
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert load_dataset("text", data_files=str(tmp_path / "a.txt"), split="train")[1] == {"text": "two"}


def test_a_published_folder_goes_to_datasets(tmp_path):
    plain = load_dataset("digits", split="test", transform=None)
    (tmp_path / "set").mkdir()
    plain.to_parquet(tmp_path / "set" / "test.parquet")
    rows = load_dataset(str(tmp_path / "set"), split="test")
    assert torch.equal(rows[5]["image"], load_dataset("digits", split="test")[5]["image"])


def test_enable_runs_the_literal_call_and_is_undone(script):
    def literal(path, **options):
        return datasets.load_dataset(str(path), split="train", **options)

    original = datasets.load.dataset_module_factory
    with pytest.raises(RuntimeError, match="no longer supported"):
        literal(script)
    with enable():
        assert literal(script)[3]["image"].getpixel((0, 0)) == (3, 3, 3)  # the form that the foreign code expects
        assert literal(script.parent)[3]["label"] == 1
        assert next(iter(literal(script, streaming=True)))["label"] == 0
        script.write_text(script.read_text().replace("i + self", "i + 9 + self"))
        assert literal(script)[3]["image"].getpixel((0, 0)) == (12, 12, 12)
        with enable():
            pass  # an inner one does not end the outer one
        assert literal(script)[3]["label"] == 1
    assert datasets.load.dataset_module_factory is original
    enable()
    assert literal(script)[3]["label"] == 1
    disable()
    disable()
    assert datasets.load.dataset_module_factory is original


def test_enable_covers_all_of_datasets_that_takes_a_path(script):
    functions = {name: getattr(datasets, name) for name in dir(datasets)}
    functions = {
        name: function
        for name, function in functions.items()
        if inspect.isfunction(function) and next(iter(inspect.signature(function).parameters), None) == "path"
    }
    assert len(functions) >= 7
    expected = {
        "load_dataset": lambda found: sorted(found) == ["test", "train"],
        "load_dataset_builder": lambda found: type(found).__name__ == "Shades",
        "get_dataset_infos": lambda found: list(found["bright"].features) == ["image", "label"],
        "get_dataset_config_info": lambda found: list(found.features) == ["image", "label"],
        "get_dataset_config_names": lambda found: found == ["plain", "bright"],
        "get_dataset_default_config_name": lambda found: found == "plain",
        "get_dataset_split_names": lambda found: sorted(found) == ["test", "train"],
    }
    for name, function in functions.items():
        with pytest.raises(RuntimeError, match="no longer supported"):
            function(str(script))
        with enable():
            found = function(str(script))
        assert expected[name](found), (name, found)


def test_enable_refuses_a_version_that_it_does_not_know(monkeypatch):
    monkeypatch.setattr(datasets.load, "dataset_module_factory", lambda somewhere_else: None)
    with pytest.raises(RuntimeError, match="use dataset_scripts.load_dataset instead"):
        enable()


def test_a_wrong_data_dir_is_named():
    with pytest.raises(DataError, match="data_dir='/no/such' does not exist"):
        load_dataset("image_folder", data_dir="/no/such")


def test_a_name_that_chooses_nothing_is_refused(tmp_path, save_image):
    save_image(tmp_path / "photos/cat/1.png")
    for path in (str(tmp_path / "photos"), "digits"):
        with pytest.raises(DataError, match="name='small' has no effect"):
            load_dataset(path, "small")
        assert load_dataset(path, "default", split="train").num_rows


QUIET = """
import logging, sys
before = logging.root.handlers[:], logging.root.level, sys.path[:], sys.getswitchinterval()
import datasets, torch
known = {name: vars(sys.modules[name]).copy() for name in ("datasets", "datasets.load", "torch.hub")}
import dataset_scripts, recipes
logger = logging.getLogger("dataset_scripts")
assert not logger.handlers and logger.level == logging.NOTSET and logger.propagate
assert (logging.root.handlers, logging.root.level, sys.path) == before[:3]
for name, names in known.items():
    assert all(vars(sys.modules[name]).get(key) is value for key, value in names.items()), name
dataset_scripts.load_dataset(sys.argv[1])
logging.basicConfig(format="host: %(message)s", force=True)
dataset_scripts.load_dataset(sys.argv[1])
logger.setLevel(logging.ERROR)
dataset_scripts.load_dataset(sys.argv[1])
"""


def test_importing_changes_nothing_of_the_host(tmp_path, save_image, root):
    save_image(tmp_path / "photos/cat/1.png")
    command = [sys.executable, "-c", QUIET, str(tmp_path / "photos")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = f"{tmp_path}/photos: read as image_folder (1 image in 1 folder; splits: train)"
    assert [line for line in done.stderr.splitlines() if "read as" in line] == [said, f"host: {said}"]


def test_paths_of_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("nowhere", "link")
    for path, message in (
        ("", "^the path is empty"),
        ("link", "^link is a link to nowhere, which is not there"),
        ("./link", "^./link is a link to nowhere, which is not there"),
    ):
        with pytest.raises(DataError, match=message):
            load_dataset(path)
    os.unlink("link")
    (tmp_path / "x.bin").write_bytes(b"abc")
    (tmp_path / "empty").mkdir()
    for path in (".", "empty", str(tmp_path)):
        with pytest.raises(
            DataError, match="holds no images: 1 .bin, such as x.bin|holds no files, or only hidden ones"
        ):
            load_dataset(path)
    os.mkfifo("pipe")
    for options in ({"path": "pipe"}, {"path": "image_folder", "data_dir": "pipe"}):
        with pytest.raises(DataError, match="pipe is neither a file nor a folder, but a pipe, a socket or a device"):
            load_dataset(**options)


def test_a_table_may_name_a_file_as_listings_show_it(tmp_path, save_image):
    save_image(tmp_path / "b.png", (4, 4))
    save_image(tmp_path / "e.png", (5, 4))
    os.rename(tmp_path / "e.png", tmp_path / os.fsdecode(b"\xe9.png"))
    (tmp_path / "metadata.csv").write_text("file_name,x\n\\xe9.png,1\nb.png,2\n")
    rows = load_dataset(str(tmp_path), split="train", transform=None)
    assert [(row["x"], row["image"].size) for row in rows] == [(1, (5, 4)), (2, (4, 4))]
