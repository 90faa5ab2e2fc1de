"""Exports read without this package, and pushed to a real HTTP server: the same rows, in the same bytes."""

import dataclasses
import hashlib
import inspect
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import datasets
import huggingface_hub
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import torch

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.card.standalone import for_everyone
from dataset_scripts.core.load.script import PACKAGE
from dataset_scripts.core.publish.export import export
from dataset_scripts.core.publish.push import push

# What is meaningless to a reader without this package.
PACKAGE_WORDS = re.compile(
    r"dataset[_-]scripts|load_dataset\(|data_dir|(with|of) (the|this) package|trust_script|on_error|streaming=|transpose="
    r"|image_folder|keep them in (a folder|folders) of their own|mirrors? (is|are) tried|the cache|pickles are read"
    r"|read in place|it need not be unpacked|<!-- /?package"
)
# Put before a program, which then cannot import this package.
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, *args):
        if name.partition(".")[0] == "dataset_scripts":
            raise ImportError("this package is not here")

sys.meta_path.insert(0, Blocked())
try:
    import dataset_scripts
    raise SystemExit("dataset_scripts could be imported")
except ImportError:
    pass
"""


def fingerprint(rows):
    """Every row as text: pixels by mode, size and digest, everything else by value."""
    import hashlib

    def plain(value):
        if hasattr(value, "tobytes"):
            palette = value.getpalette() if value.mode == "P" else None
            return [value.mode, value.size, hashlib.sha256(value.tobytes()).hexdigest(), palette]
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list) else value

    return [repr(plain(row)) for row in rows]


@pytest.fixture
def run_code(run_processes, tmp_path_factory):
    """Runs a program in a process of its own; returns the lines that it prints, as JSON values."""

    def run(program, *args, **env):
        path = tmp_path_factory.mktemp("program") / "program.py"
        path.write_text(program)
        return [json.loads(line) for line in run_processes(1, path, *args, **env).stdout.splitlines()]

    return run


@pytest.fixture
def stock(run_code):
    """Runs a program with stock `datasets` only."""

    def run(program, *args, **env):
        return run_code(f"{BLOCKED}\nimport datasets, json\n{inspect.getsource(fingerprint)}\n{program}", *args, **env)

    return run


LOAD = """
for path in sys.argv[1:]:
    loaded = datasets.load_dataset(path)
    print(json.dumps({split: [str(rows.features), fingerprint(rows)] for split, rows in loaded.items()}))
"""


def expected(loaded):
    return {split: [str(rows.features), fingerprint(rows)] for split, rows in loaded.items()}


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def header(folder):
    return huggingface_hub.metadata_load(folder / "README.md")


@pytest.fixture
def photos(tmp_path, save_image):
    """Class folders of two splits, with images of several modes."""
    root = tmp_path / "photos"
    modes = [
        ("RGB", "jpg"),
        ("L", "png"),
        ("RGBA", "png"),
        ("L", "jpg"),
        ("RGB", "png"),
        ("LA", "png"),
        ("CMYK", "jpg"),
    ]
    for split, count in (("train", 14), ("test", 7)):
        for number in range(count):
            mode, suffix = modes[number % len(modes)]
            kind = ("cat", "a dog")[number % 3 == 0]
            save_image(root / split / kind / f"{number:02}.{suffix}", (9 + number, 7), mode)
    return root


@pytest.fixture
def coco(tmp_path, save_image):
    """Boxes of two images; the one between them has none."""
    rng = np.random.default_rng(3)
    images, annotations = [], []
    for number, boxes in ((4, 3), (9, 0), (11, 1)):
        save_image(tmp_path / "coco/train2017" / f"{number}.jpg", (31, 23))
        images.append({"id": number, "file_name": f"{number}.jpg", "width": 31, "height": 23})
        for _ in range(boxes):
            x, y, width, height = (round(float(value), 2) for value in rng.uniform(1, 10, 4))
            annotations.append(
                {
                    "id": len(annotations) + 7,
                    "image_id": number,
                    "bbox": [x, y, width, height],
                    "area": round(width * height, 3),
                    "iscrowd": 0,
                    "category_id": int(rng.choice([3, 90])),
                }
            )
    categories = [{"id": 3, "name": "zebra"}, {"id": 90, "name": "cat"}]
    path = tmp_path / "coco/annotations/instances_train2017.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return tmp_path / "coco"


@pytest.fixture
def masked(tmp_path, save_image):
    """A Dataset with images known by absolute paths, palette masks, absent values and images in lists."""
    rng = np.random.default_rng(8)
    rows = {"image": [], "mask": [], "views": [], "note": []}
    for number in range(6):
        save_image(tmp_path / f"disk/{number}.png", (12, 10))
        mask = PIL.Image.fromarray(rng.integers(0, 9, (10, 12), np.uint8), "P")
        mask.putpalette(rng.integers(0, 256, 27).tolist())
        mask.save(tmp_path / f"disk/mask{number}.png")
        rows["image"].append(str(tmp_path / f"disk/{number}.png"))
        rows["mask"].append(str(tmp_path / f"disk/mask{number}.png") if number != 2 else None)
        rows["views"].append([str(tmp_path / f"disk/{other}.png") for other in range(number % 3)])
        rows["note"].append(None if number == 4 else f"no. {number} «ü»")
    features = {"image": datasets.Image(), "mask": datasets.Image(), "views": datasets.List(datasets.Image())}
    return datasets.Dataset.from_dict(rows, datasets.Features(features | {"note": datasets.Value("string")}))


def test_stock_datasets_gives_the_same_rows_without_this_package(stock, photos, coco, masked, tmp_path):
    want = [
        expected(load_dataset("digits", transform=None)),
        expected(load_dataset(str(photos), transform=None)),
        expected(load_dataset(str(coco), transform=None)),
        expected({"train": masked}),
    ]
    sources = ["digits", photos, coco]
    folders = [export(source, tmp_path / f"out{number}") for number, source in enumerate(sources)]
    folders.append(export(masked, tmp_path / "out3", image_dir=tmp_path))
    for folder in (photos, coco, tmp_path / "disk"):
        shutil.rmtree(folder)
    assert stock(LOAD, *folders) == want
    assert [len(rows["train"][1]) for rows in want] == [1438, 14, 3, 6]
    assert (
        "'bbox': []" in want[2]["train"][1][1]
        and "'P'" in want[3]["train"][1][0]
        and "'mask': None" in want[3]["train"][1][2]
    )


def test_ours_gives_tensors(photos, tmp_path):
    ours, again = load_dataset(str(photos)), load_dataset(str(export(photos, tmp_path / "out")))
    for split in ("train", "test"):
        for row, copy in zip(ours[split], again[split], strict=True):
            assert torch.equal(row["image"], copy["image"]) and row["label"] == copy["label"]


def test_files_hold_the_bytes_and_no_path_of_this_machine(photos, masked, tmp_path):
    images = datasets.load_dataset(
        "imagefolder", data_dir=str(photos), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert images.cast_column("image", datasets.Image(decode=False))[0]["image"]["bytes"] is None  # known by path
    with pytest.raises(DataError, match="pass image_dir"):
        export(images, tmp_path / "out/1", image_dir=tmp_path / "elsewhere")
    for number, (source, options) in enumerate(
        [(photos, {}), (images, {"image_dir": photos}), (masked, {"image_dir": tmp_path})]
    ):
        folder = export(source, tmp_path / "out" / str(number), **options)
        assert str(tmp_path) not in (folder / "README.md").read_text()
        for path in (folder / "data").iterdir():
            assert str(tmp_path) not in str(pq.read_table(path).to_pylist())
    stored = pq.read_table(tmp_path / "out/1/data/train-00000-of-00001.parquet").to_pylist()
    files = {path.name: path.read_bytes() for path in (photos / "train").rglob("*.*")}
    assert {row["image"]["path"]: row["image"]["bytes"] for row in stored} == files
    ours = pq.read_table(tmp_path / "out/0/data/train-00000-of-00001.parquet").to_pylist()
    assert {row["image"]["path"]: row["image"]["bytes"] for row in ours} == files


def test_the_same_rows_give_the_same_bytes(photos, tmp_path):
    first = contents(export(photos, tmp_path / "a/out", max_shard_size="2KB", cache_dir=str(tmp_path / "one")))
    second = export(photos, tmp_path / "b/out", max_shard_size="2KB", num_proc=2, cache_dir=str(tmp_path / "two"))
    assert contents(second) == first and len(first) > 4
    # The export of an export is the same.
    assert contents(export(second, tmp_path / "c/out", max_shard_size="2KB")) == first
    swapped = load_dataset(str(photos))  # with a transform, and other columns first in one split
    swapped["test"] = swapped["test"].select_columns(["label", "image"])
    assert contents(export(swapped, tmp_path / "g/out", max_shard_size="2KB")) == first
    rows = datasets.Dataset.from_dict(
        {"n": [*range(3000)], "s": [None if n == 5 else "x" * (n % 50) for n in range(3000)]}
    )
    parts = datasets.concatenate_datasets(
        [rows.select(range(5)), rows.select(range(5, 1700)), rows.select(range(1700, 3000))]
    )
    shuffled = rows.select([*range(2999, -1, -1)]).select([*range(2999, -1, -1)])
    one, two, three = (
        contents(export(part, tmp_path / place / "rows", max_shard_size="9kB", num_proc=3))
        for place, part in (("d", rows), ("e", parts), ("f", shuffled))
    )
    assert one == two == three and len(one) > 5


def test_shards_are_bounded_and_in_order(tmp_path):
    rng = np.random.default_rng(1)
    sizes = [400, 500, 90, 6000, 300, 300, 300, 92, 992, 992, 1]
    features = datasets.Features({"image": datasets.Image(decode=False), "n": datasets.Value("int64")})
    content = [{"bytes": rng.bytes(size), "path": f"{size}.png"} for size in sizes]
    rows = datasets.Dataset.from_dict({"image": content, "n": [*range(len(sizes))]}, features)
    folder = export(rows, tmp_path / "out", max_shard_size="1KB")
    shards = [pq.read_table(path).to_pylist() for path in sorted((folder / "data").iterdir())]
    assert [path.name for path in sorted((folder / "data").iterdir())] == [
        f"train-{n:05}-of-00008.parquet" for n in range(8)
    ]
    # A row is its bytes and an int64; as many as fit are together, and one that is too large stands alone.
    assert [[row["n"] for row in shard] for shard in shards] == [[0, 1], [2], [3], [4, 5, 6], [7], [8], [9], [10]]
    for shard in shards:
        total = sum(len(row["image"]["bytes"]) + 8 for row in shard)
        assert total <= 1000 or len(shard) == 1
    assert [row["n"] for shard in shards for row in shard] == [*range(len(sizes))]
    assert header(folder)["dataset_info"]["splits"][0]["num_bytes"] == sum(sizes) + 8 * len(sizes)


def test_split_names(tmp_path):
    digits = load_dataset("digits", transform=None)
    folder = export("digits", tmp_path / "b", split="test[:10]")
    assert fingerprint(datasets.load_dataset(str(folder), split="test")) == fingerprint(
        digits["test"].select(range(10))
    )
    folder = export("digits", tmp_path / "c", split=["train[10:15]", "test[:3]"])
    assert {split: len(rows) for split, rows in datasets.load_dataset(str(folder)).items()} == {"train": 5, "test": 3}
    assert "| train | 5 |" in (folder / "README.md").read_text()


def test_the_card_of_a_set(tmp_path):
    folder = export("digits", tmp_path / "out")
    card = huggingface_hub.DatasetCard.load(folder / "README.md")
    own = huggingface_hub.metadata_load(PACKAGE / "digits/README.md")
    for key in ("license", "task_categories", "tags", "pretty_name", "source_datasets", "annotations_creators"):
        assert card.data[key] == own[key]
    assert card.data.size_categories == ["1K<n<10K"]
    data = [{"split": split, "path": f"data/{split}-*"} for split in ("train", "test")]
    assert card.data["configs"] == [{"config_name": "default", "data_files": data}]
    info = datasets.load_dataset_builder(str(folder)).info
    assert info.features == load_dataset("digits", split="test").features
    assert {split: part.num_examples for split, part in info.splits.items()} == {"train": 1438, "test": 359}
    assert info.download_size == sum(path.stat().st_size for path in (folder / "data").iterdir())
    assert (
        "E. Alpaydin" in card.text
        and "@misc{alpaydin1998optical" in card.text
        and "1797 handwritten digits" in card.text
    )
    assert not PACKAGE_WORDS.search(card.text.partition("## Loading")[0])


def test_the_lines_of_the_card_run(stock, photos, tmp_path):
    folder = export(photos, tmp_path / "out")
    text = (folder / "README.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)).replace("USER/NAME", str(folder))
    program = code + "\nprint(json.dumps([list(ds['train'][n]['image'].shape) for n in (0, 1)]))"
    shapes = [list(row["image"].shape) for row in load_dataset(str(photos), split="train").select(range(2))]
    assert "with_transform" in code and stock(program) == [shapes]


def test_the_card_of_a_folder_says_what_the_columns_are(coco, tmp_path):
    folder = export(coco, tmp_path / "zebras")
    assert header(folder)["task_categories"] == ["object-detection"] and header(folder)["pretty_name"] == "zebras"
    # The license of the layout is not that of the data.
    assert header(folder)["size_categories"] == ["n<1K"] and "license" not in header(folder)
    text = (folder / "README.md").read_text()
    assert "| `objects` | `bbox` list of list of float32" in text and "2 of them: zebra, cat" in text
    (coco / "README.md").write_text("---\nlicense: cc0-1.0\nconfigs: []\n---\n\n# Zebras\n\nSeen in 2017.\n")
    folder = export("coco", tmp_path / "again", data_dir=str(coco))
    assert (
        header(folder)["license"] == "cc0-1.0" and "# Zebras\n\nSeen in 2017.\n" in (folder / "README.md").read_text()
    )


def test_the_card_of_a_script_of_ones_own(tmp_path):
    (tmp_path / "dots").mkdir()
    (tmp_path / "dots/dots.py").write_text(
        "import datasets\n\nclass Dots(datasets.GeneratorBasedBuilder):\n"
        "    def _info(self):\n"
        "        return datasets.DatasetInfo(description='Dots on grey.', license='CC0', homepage='https://dots.example',\n"
        "            citation='@misc{dots}', features=datasets.Features({'n': datasets.Value('int32')}))\n"
        "    def _split_generators(self, dl_manager):\n        return [datasets.SplitGenerator('train')]\n"
        "    def _generate_examples(self):\n        yield from ((n, {'n': n}) for n in range(4))\n"
    )
    text = (export(tmp_path / "dots", tmp_path / "out") / "README.md").read_text()
    assert "# dots\n\nDots on grey.\n\nhttps://dots.example\n\nLicence: CC0\n\n```bibtex\n@misc{dots}\n```" in text
    assert "image" not in text.partition("---\n\n")[2] and datasets.load_dataset(str(tmp_path / "out"))["train"]["n"][
        :
    ] == [0, 1, 2, 3]
    (tmp_path / "dots/README.md").write_text(
        "---\nlicense: cc0-1.0\n---\n# Points\n\n<!-- package -->\nFor ours.\n<!-- /package -->\n\nElse [dots](x.md).\n"
    )
    text = (export(tmp_path / "dots", tmp_path / "out", overwrite=True) / "README.md").read_text()
    assert "license: cc0-1.0" in text and "---\n\n# Points\n\nElse dots.\n\n## Loading\n" in text
    (tmp_path / "dots/README.md").write_text("<!-- package -->\nFor ours.\n<!-- /package -->\n")
    text = (export(tmp_path / "dots", tmp_path / "out", overwrite=True) / "README.md").read_text()
    assert "# out\n\n4 rows.\n" in text and "For ours" not in text


def test_pictures_of_the_card_go_along(photos, tmp_path, save_image):
    out = tmp_path / "out"
    for name in ("look.png", "other.png", "deep/far.png"):
        save_image(tmp_path / "dots" / name)
    (tmp_path / "secret.png").write_bytes(b"mine")
    (tmp_path / "dots/dots.py").write_text(
        f"from dataset_scripts.layouts.image_folder.image_folder import ImageFolder\n\n"
        f"class Dots(ImageFolder):\n    DATA_DIR = {str(photos)!r}\n"
    )
    (tmp_path / "dots/README.md").write_text(
        "# Dots\n\n![a look](look.png)\n\n![](deep/far.png) ![](../secret.png) ![](gone.png)\n"
        "![](https://dots.example/other.png)\n"
    )
    export(tmp_path / "dots/dots.py", out)
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "data", "look.png"]
    assert (out / "look.png").read_bytes() == (tmp_path / "dots/look.png").read_bytes()
    assert "![a look](look.png)" in (out / "README.md").read_text()
    assert datasets.load_dataset(str(out))["test"].features["label"].names == ["a dog", "cat"]
    export(out, tmp_path / "again")  # an export of an export, and one that replaces it
    assert contents(tmp_path / "again").keys() == contents(out).keys()
    export("digits", out, overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "data", "preview.png"]
    assert (out / "preview.png").read_bytes() == (PACKAGE / "digits/preview.png").read_bytes()
    (out / "mine.png").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"not empty \(mine.png\)"):
        export("digits", out, overwrite=True)


# Cards of layouts do not describe any data.
SETS = [
    path for path in sorted(PACKAGE.glob("*/README.md")) if "\n- layout\n" not in path.read_text().split("---\n")[1]
]


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.parent.name)
def test_cards_of_sets_make_sense_to_everyone(path):
    text = for_everyone(path.read_text().split("---\n", 2)[2]).strip("\n")
    assert not PACKAGE_WORDS.search(text) and text.startswith("# ") and len(text) > 200
    assert not re.search(
        r"^(#+ .*|\*\*[^*]+\*\*)\n\n(#|\*\*|\Z)|:\n\n(?![-*|`])|\]\((?!http|#|preview\.png\))", text, re.MULTILINE
    )
    assert text.count("```") % 2 == 0 and ("```bibtex" in text) == ("```bibtex" in path.read_text())


FOR_OURS = "<!-- package -->\n{}\n<!-- /package -->\n"


def test_parts_for_users_of_this_package_are_left_out():
    code = "\n```python\nfrom dataset_scripts import load_dataset\n\n\nds = 1\n```\n"
    text = (
        f"\n# Cats\n\nPhotos of cats.\n\n{FOR_OURS.format(code)}\n"
        "Each has a tail. See [the\nlist](list.md) and [home](https://cats.example).\n\n"
        f"## Training\n\n### Here\n\n{FOR_OURS.format('Thus.')}\n{FOR_OURS.format('Or thus.')}\n\n"
        f"## Files\n\n- one\n  <!-- package -->\n- where\n  they lie\n  <!-- /package -->\n- two\n\n\n\n"
        f"## Last\n{FOR_OURS.format('')}\n\n"
    )
    assert for_everyone(text) == (
        "\n# Cats\n\nPhotos of cats.\n\nEach has a tail. See the\nlist and [home](https://cats.example).\n\n"
        "## Files\n\n- one\n- two\n\n\n"
    )


def test_only_headings_that_a_part_leaves_bare_go_with_it():
    part = FOR_OURS.format("Thus.")
    for text, left in (
        (f"# Cats\n\n{part}", "# Cats\n"),  # the title stays
        (f"# Cats\n\n{part}\n## Tails\n\nLong.\n", "# Cats\n\n## Tails\n\nLong.\n"),
        (f"# Cats\n\n## Tails\n\n{part}\n### Long\n\nOnes.\n", "# Cats\n\n## Tails\n\n### Long\n\nOnes.\n"),
        (f"# Cats\n\n## Tails\n\n{part}\nLong.\n", "# Cats\n\n## Tails\n\nLong.\n"),
        (f"# Cats\n\n## Bare\n\n## Tails\n{part}\n# Dogs\n", "# Cats\n\n# Dogs\n"),
        (
            f"# Cats\n\n## Bare\n\n## Tails\n\nLong.\n{part}\n## Bare\n",
            "# Cats\n\n## Bare\n\n## Tails\n\nLong.\n\n## Bare\n",
        ),
        (f"# Cats\n\n```sh\n## a\n```\n{part}\n## Bare\n", "# Cats\n\n```sh\n## a\n```\n\n## Bare\n"),
    ):
        assert for_everyone(text) == left


def test_a_text_without_parts_stays_as_it_is():
    text = (
        "# Cats\n\n\nThey sleep in the cache of Iowa; `data_dir` says where. \t\n"
        'Call load_dataset("cats"), on_error or not:\n\n\n'
        '## Bare\n## Code\n```python\nfrom dataset_scripts import load_dataset\n\n\nds["train"](image)\n```\n'
        "\n`rows[0](image)` comes with this package, dataset-scripts.\n* one\n\n| `data_dir` |\n|---|\n\n\n## Last\n\n"
    )
    assert for_everyone(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "# Cats\n\n<!-- package -->\nPhotos.\n",
        "# Cats\n\nPhotos.\n<!-- /package -->\n",
        "# Cats\n<!-- /package -->\nPhotos.\n<!-- package -->\n",
        "# Cats\n\nPhotos <!-- package -->\nof cats <!-- /package -->\n",
        "# Cats\n\n```html\n<!-- package -->\n<!-- /package -->\n```\n",
        "# Cats\n\n    <!-- package -->\n    <!-- /package -->\n",
        "# Cats\n\n<!-- package -->\n```\n<!-- /package -->\n```\n",
    ],
)
def test_markers_that_enclose_nothing_take_nothing(text):
    assert for_everyone(text) == text


def test_of_parts_within_each_other_the_inner_one_is_left_out():
    inner = FOR_OURS.format("Thus.")
    outer = "# Cats\n\n" + FOR_OURS.format("{}Photos.")
    assert for_everyone(outer.format(inner)) == outer.format("")


def test_what_is_in_the_way_is_refused(photos, tmp_path):
    out = tmp_path / "out"
    (out / "mine").mkdir(parents=True)
    with pytest.raises(DataError, match=r"out is not empty \(mine\) and not an earlier export"):
        export(photos, out, overwrite=True)
    (out / "mine").rmdir()
    export(photos, out)  # an empty folder is as good as none
    with pytest.raises(DataError, match="out is an earlier export: name another folder, or pass overwrite=True"):
        export("digits", out)
    export("digits", out, overwrite=True)
    assert len(datasets.load_dataset(str(out), split="test")) == 359
    (out / "data/notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"not empty \(data/notes.txt\)"):
        export("digits", out, overwrite=True)
    assert (out / "data/notes.txt").read_text() == "mine"
    with pytest.raises(DataError, match="is a file: name a folder"):
        export(photos, out / "README.md")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]  # and nothing is left beside it


@dataclasses.dataclass
class Strange:
    dtype: str = "int32"
    _type: str = dataclasses.field(default="Strange", init=False, repr=False)

    def __call__(self):
        import pyarrow

        return pyarrow.int32()


def test_what_cannot_be_exported_is_refused(photos, tmp_path):
    digits = load_dataset("digits", transform=None)
    out = tmp_path / "out"
    for options, words in [
        ({"max_shard_size": "a lot"}, "max_shard_size='a lot'"),
        ({"max_shard_size": 0}, "max_shard_size=0"),
        ({"transform": None}, "leave transform out"),
        ({"streaming": True}, "leave streaming out"),
        ({"split": ["train[:5]", "train[5:9]"]}, "two parts of split=.* have the name train"),
    ]:
        with pytest.raises(DataError, match=words):
            export("digits", out, **options)
    with pytest.raises(DataError, match="split chooses what is loaded, but source is a DatasetDict already"):
        export(digits, out, split="train")
    with pytest.raises(DataError, match="'../x' cannot name a split"):
        export(datasets.DatasetDict({"../x": digits["train"]}), out)
    with pytest.raises(DataError, match="not IterableDataset"):
        export(digits["train"].to_iterable_dataset(), out)
    with pytest.raises(DataError, match="the split test has no rows, and datasets cannot load an empty one"):
        export(datasets.DatasetDict(train=digits["train"], test=digits["test"].select([])), out)
    with pytest.raises(DataError, match="train and test differ in the column label"):
        export(datasets.DatasetDict(train=digits["train"], test=digits["test"].remove_columns("label")), out)
    datasets.features.features.register_feature(Strange, "Strange")
    odd = datasets.Dataset.from_dict({"n": [1, 2]}, datasets.Features({"n": Strange()}))
    with pytest.raises(DataError, match="columns of the type Strange can only be read with the code"):
        export(odd, out)
    images = datasets.load_dataset(
        "imagefolder", data_dir=str(photos), split="train", cache_dir=str(tmp_path / "cache")
    )
    (photos / "train/cat/01.png").unlink()
    with pytest.raises(DataError, match="cat/01.png cannot be read: No such file"):
        export(images, out, image_dir=photos)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "photos"]


KILLED = """
import sys, time
import pyarrow.parquet as pq
from dataset_scripts.core.publish.export import export

class Slow(pq.ParquetWriter):
    def close(self):
        print("writing", flush=True)
        time.sleep(60)

pq.ParquetWriter = Slow
export("digits", sys.argv[1], overwrite=True)
"""


def test_a_killed_export_leaves_nothing_half_written(tmp_path):
    out = tmp_path / "out"
    export("digits", out, split="test[:7]")
    before = contents(out)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, out], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    while "writing" not in process.stdout.readline():
        assert process.poll() is None
    with pytest.raises(DataError, match="out is being written by another process"):
        export("digits", out, overwrite=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert contents(out) == before and any(path.name == ".out.partial" for path in tmp_path.iterdir())
    export("digits", out, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(datasets.load_dataset(str(out), split="train")) == 1438


def at(endpoint, home, token="hf_write"):
    return {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": token,
    }


PUSH = """
import json, sys
from dataset_scripts import DataError
from dataset_scripts.core.publish.push import push

for arguments in map(json.loads, sys.argv[1:]):
    try:
        print(json.dumps(push(**arguments)), flush=True)
    except DataError as error:
        print(json.dumps(str(error)), flush=True)
"""


@pytest.fixture
def push_all(run_code):
    """Pushes one after another in a new process; returns addresses or error messages."""

    def run(*arguments, **env):
        return run_code(PUSH, *(json.dumps(item, default=str) for item in arguments), **env)

    return run


RELOAD = """
print(json.dumps({split: [str(rows.features), fingerprint(rows)] for split, rows in datasets.load_dataset(sys.argv[1]).items()}))
print(json.dumps(fingerprint(datasets.load_dataset(sys.argv[1], split="test", streaming=True))))
"""
OURS = """
import json, sys
from dataset_scripts import load_dataset

for streaming in (False, True):
    rows = load_dataset(sys.argv[1], split="test", streaming=streaming)
    print(json.dumps([[list(row["image"].shape), float(row["image"].sum()), row["label"]] for row in rows]))
"""


@pytest.mark.slow
def test_push_and_reload(hub, photos, push_all, run_code, stock, tmp_path):
    endpoint, folder, state = hub("ann/photos")
    out = export(photos, tmp_path / "out", max_shard_size="3KB")
    (out / "LICENSE").write_text("free\n")
    arguments = {"source": out, "repo_id": "ann/photos"}
    assert push_all(arguments, **at(endpoint, tmp_path / "home")) == [f"{endpoint}/datasets/ann/photos"]
    assert json.loads((state / "repo.json").read_text()) == {"private": True}
    sent = contents(folder)
    assert b'load_dataset("ann/photos")' in sent["README.md"]
    assert sent | {"README.md": b""} == contents(out) | {"README.md": b""}
    assert header(folder) == header(out)

    want = load_dataset(str(photos), transform=None)
    everything, streamed = stock(RELOAD, "ann/photos", **at(endpoint, tmp_path / "stock", "hf_read"))
    assert everything == expected(want) and streamed == fingerprint(want["test"])
    loaded = run_code(OURS, "ann/photos", **at(endpoint, tmp_path / "ours", "hf_read"))
    tensors = load_dataset(str(photos), split="test")
    rows = [[list(row["image"].shape), float(row["image"].sum()), row["label"]] for row in tensors]
    assert loaded == [rows, rows]

    # Again: nothing is sent. Then fewer shards, and the old ones go; then to a branch, and main stays.
    (state / "log").unlink()
    smaller = {"source": "digits", "repo_id": "ann/photos", "split": "test"}
    again, replaced, branch = push_all(
        arguments, smaller, arguments | {"revision": "v2"}, **at(endpoint, tmp_path / "home")
    )
    assert again == replaced == branch == f"{endpoint}/datasets/ann/photos"
    log = (state / "log").read_text().splitlines()
    commits = [line for line in log if "/commit/" in line]
    assert commits == ["POST /api/datasets/ann/photos/commit/main", "POST /api/datasets/ann/photos/commit/v2"]
    puts = [line for line in log if line.startswith("PUT")]
    assert len(puts) == 1  # of the digits: the photos' files are known
    assert sorted(contents(folder)) == ["LICENSE", "README.md", "data/test-00000-of-00001.parquet", "preview.png"]
    picture = {"preview.png": (PACKAGE / "digits/preview.png").read_bytes()}
    assert contents(folder)["preview.png"] == picture["preview.png"]
    assert contents(state / "branches/v2") == sent | picture  # the branch began as main


def test_a_broken_upload_goes_on(hub, photos, push_all, tmp_path):
    endpoint, folder, state = hub("ann/photos")
    out = export(photos, tmp_path / "out", max_shard_size="3KB")
    files = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / "data").iterdir()}
    assert len(files) > 2
    (state / "hold").touch()
    arguments = json.dumps({"source": str(out), "repo_id": "ann/photos"})
    env = {**os.environ, **at(endpoint, tmp_path / "home")}
    process = subprocess.Popen(
        [sys.executable, "-c", PUSH, arguments], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not (state / "log").exists() or (state / "log").read_text().count("PUT") < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    first = {path.name for path in (state / "objects").iterdir()}
    assert len(first) == 1 and contents(folder) == {}  # a file has arrived, but nobody sees half a dataset
    (state / "hold").unlink()
    time.sleep(0.3)  # the server finishes the request that hung
    (state / "log").unlink()
    done = {path.name for path in (state / "objects").iterdir()}
    assert push_all({"source": out, "repo_id": "ann/photos"}, **at(endpoint, tmp_path / "home")) == [
        f"{endpoint}/datasets/ann/photos"
    ]
    log = (state / "log").read_text().splitlines()
    assert {line.split("/")[-1] for line in log if line.startswith("PUT")} == files - done
    assert [line.split("/")[-2] for line in log if "/commit/" in line] == ["commit"]
    assert {name: content for name, content in contents(folder).items() if name != "README.md"} == {
        name: content for name, content in contents(out).items() if name != "README.md"
    }


def test_push_refuses_and_says_why(hub, photos, push_all, tmp_path):
    endpoint, folder, state = hub("ann/photos")
    out = export(photos, tmp_path / "out")
    bare, scripted = tmp_path / "bare", tmp_path / "scripted"
    for copy in (bare, scripted):
        shutil.copytree(out, copy)
    (bare / "README.md").write_text("# No header\n")
    (scripted / "photos.py").write_text("raise SystemExit\n")
    good = {"source": out, "repo_id": "ann/photos"}
    said = push_all(
        good | {"token": "hf_wrong"},
        good | {"token": "hf_read"},
        good | {"repo_id": "bob/photos"},
        good | {"repo_id": "a/b/c"},
        good | {"source": bare},
        good | {"source": scripted},
        good | {"max_shard_size": "1GB"},
        good | {"private": False},
        good,
        **at(endpoint, tmp_path / "home"),
    )
    words = [
        rf"ann/photos: {endpoint} answered 401 \(Invalid username or password.\): the token is not valid",
        rf"ann/photos: {endpoint} answered 403 \(You don't have the rights to write\): the token may not write there",
        rf"bob/photos: {endpoint} answered 404 .*no such repository",
        "repo_id='a/b/c' is not the name of a dataset",
        "bare has no card",
        "scripted/photos.py: datasets takes it for a loading script",
        "out is exported already, so that max_shard_size has no effect",
        f"{endpoint}/datasets/ann/photos$",
        f"{endpoint}/datasets/ann/photos is public already: pass private=False",
    ]
    for line, word in zip(said, words, strict=True):
        assert re.search(word, line) and "\n" not in line, line
    (folder / "photos.py").write_text("old script")
    assert re.search(
        "holds photos.py, for which", push_all(good | {"private": False}, **at(endpoint, tmp_path / "home"))[0]
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert re.fullmatch(
        f"ann/photos: {nowhere} cannot be reached: .+", push_all(good, **at(nowhere, tmp_path / "home"))[0]
    )


def test_push_offline_and_without_a_token(photos, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    out = export(photos, tmp_path / "out")
    with pytest.raises(DataError, match="ann/photos: writing to the Hub needs a token: `hf auth login`"):
        push(out, "ann/photos")
    with pytest.raises(DataError, match="ann/photos: HF_HUB_OFFLINE is set: unset it"):
        push(out, "ann/photos", token="hf_write")


@pytest.mark.slow
def test_another_server_serves_the_folder(photos, stock, tmp_path):
    """olah, a Hub mirror by other authors, reads the exported folder as a git repository.

    python -m venv /tmp/olah && /tmp/olah/bin/pip install olah==0.5.4
    OLAH=/tmp/olah/bin/olah-cli python -m pytest tests/test_export.py -k another_server
    """
    olah = os.environ.get("OLAH") or shutil.which("olah-cli")
    if not olah:
        pytest.skip("olah is not installed: OLAH=path/to/olah-cli, of `pip install olah==0.5.4` in its own environment")
    folder = export(photos, tmp_path / "mirrors/datasets/ann/photos", max_shard_size="3KB")
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run(["git", "-c", "user.name=ann", "-c", "user.email=ann@example", *command], cwd=folder, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "olah.toml").write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{tmp_path}/repos"\nmirrors-path = ["{tmp_path}/mirrors"]\n'
        "[accessibility]\noffline = true\n"
    )
    command = [olah, "-c", tmp_path / "olah.toml", "--log-path", tmp_path / "logs"]
    with open(tmp_path / "olah.out", "w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/datasets/ann/photos/revision/main").read()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (tmp_path / "olah.out").read_text()
                time.sleep(0.2)
        everything, streamed = stock(RELOAD, "ann/photos", **at(f"http://127.0.0.1:{port}", tmp_path / "home"))
    finally:
        server.terminate()
        server.wait()
    want = load_dataset(str(photos), transform=None)
    assert everything == expected(want) and streamed == fingerprint(want["test"])
