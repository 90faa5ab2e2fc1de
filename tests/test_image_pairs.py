"""Pairs of images against Pillow, torchvision's reader and the arrays that were written."""

import re
import zipfile

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision
from torchvision import tv_tensors

from dataset_scripts import DataError, ToTensor, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.layouts.image_pairs.image_pairs import matches


def same(row, image, target):
    for column, pixels in (("image", image), ("target", target)):
        assert type(row[column]) is tv_tensors.Image and torch.equal(row[column], ToTensor()(pixels)), column


@pytest.mark.parametrize(
    "source, target",
    [
        ("low/{}.png", "high/{}.png"),
        ("{split}/input/{}.png", "{split}/target/{}.png"),
        ("input/{split}/{}.png", "target/{split}/{}.bmp"),
        ("LR/{}x4.png", "HR/{}.png"),
        ("{split}/LR/X2/{}x2.png", "{split}/HR/{}.png"),
        ("DIV2K_{split}_LR_bicubic/X4/{}x4.png", "DIV2K_{split}_HR/{}.png"),
        ("{split}/scene/blur/{}.png", "{split}/scene/sharp/{}.png"),
        ("noisy/{}.png", "clean/{}.png"),
        ("{split}/A/{}.png", "{split}/B/{}.png"),
        ("A/{split}/{}.png", "B/{split}/{}.png"),
        ("{split}A/{}_A.png", "{split}B/{}_B.png"),
        ("hazy/{}.png", "gt/{}_gt.png"),  # a suffix on one side alone
        ("lq/{}.png", "gt/{}.png"),
    ],
)
def test_trees(tmp_path, save_image, caplog, source, target):
    splits, expected = (["train", "validation"] if "{split}" in source else ["train"]), {}
    for split in splits:
        for name in ("0001", "b 2.5"):
            folder = "valid" if split == "validation" else split
            paths = [tmp_path / path.format(name, split=folder) for path in (source, target)]
            expected[split, name] = save_image(paths[0]), save_image(paths[1], (36, 28))
    sets = load_dataset(str(tmp_path))
    assert f"read as image_pairs ({len(expected)} pairs of equal names in " in caplog.text
    assert list(sets) == splits and all(
        list(rows.features) == ["image", "target", "image_id"] for rows in sets.values()
    )
    for (split, name), pixels in expected.items():
        [row] = [row for row in sets[split] if row["image_id"].removeprefix("scene/") == name]
        same(row, *pixels)
        assert len(sets[split]) == 2


def test_lol(tmp_path, save_image):
    """Split folders, only one of which has the name of a split."""
    for folder in ("our485", "eval15"):
        for side in ("low", "high"):
            save_image(tmp_path / folder / side / "1.png")
    sets = load_dataset(str(tmp_path))
    assert {split: rows["image_id"] for split, rows in sets.items()} == {"train": ["our485/1"], "test": ["eval15/1"]}


def test_unpaired_sides_are_splits(tmp_path, save_image, caplog):
    """CycleGAN's sets, against torchvision's reader of class folders."""
    for folder, names in {"trainA": "abcde", "trainB": "exyz", "testA": "fg", "testB": "w"}.items():
        for name in names:
            save_image(tmp_path / folder / f"{name}.png", (5 + len(names), 6))
    sets = load_dataset(str(tmp_path))
    assert "read as image_pairs (not paired: 7 images in testA, trainA, 5 in testB, trainB)" in caplog.text
    assert sorted(sets) == ["testA", "testB", "trainA", "trainB"]
    theirs = torchvision.datasets.ImageFolder(tmp_path, transform=torchvision.transforms.ToTensor())
    for split, rows in sets.items():
        images = [image for image, label in theirs if theirs.classes[label] == split]
        assert list(rows.features) == ["image"] and len(rows) == len(images)
        assert all(torch.equal(row["image"], image) for row, image in zip(rows, images))
    with pytest.raises(DataError, match=r"testA/f.png has no target \(paired=False reads each side by itself\)"):
        load_dataset("image_pairs", data_dir=str(tmp_path), paired=True)


def test_pairs_can_be_read_by_sides(tmp_path, save_image):
    for path in ("A/1.png", "B/1.png"):
        save_image(tmp_path / path)
    assert list(load_dataset(str(tmp_path))) == ["train"]
    sets = load_dataset("image_pairs", data_dir=str(tmp_path), paired=False)
    assert {split: len(rows) for split, rows in sets.items()} == {"trainA": 1, "trainB": 1}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK", "I;16", "JPEG"])
def test_side_by_side(tmp_path, save_image, mode):
    folder, expected = tmp_path / "data", {}
    rng = np.random.default_rng(5)
    for split in ("train", "val"):
        for name in "ab":
            path = (
                folder / split / f"{name}.{'tif' if mode in ('CMYK', 'I;16') else 'jpg' if mode == 'JPEG' else 'png'}"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            if mode == "I;16":
                PIL.Image.fromarray(rng.integers(0, 1 << 16, (6, 10), np.uint16)).save(path)
            elif mode == "1":
                PIL.Image.fromarray(rng.integers(0, 2, (6, 10)).astype(bool)).save(path)
            elif mode == "P":
                image = PIL.Image.fromarray(rng.integers(0, 256, (6, 10), np.uint8))
                image.putpalette(rng.integers(0, 256, 768, np.uint8).tobytes())
                image.save(path)
            else:
                save_image(path, (10, 6), "RGB" if mode == "JPEG" else mode)
            with PIL.Image.open(path) as written:
                written = written.convert({"P": "RGB", "CMYK": "RGB", "1": "L"}.get(mode))
                halves = [np.asarray(written.crop(box)) for box in ((0, 0, 5, 6), (5, 0, 10, 6))]
            expected["validation" if split == "val" else "train", name] = halves
    sets = load_dataset("image_pairs", data_dir=str(folder), side_by_side=True)
    assert list(sets) == ["train", "validation"]
    for (split, name), halves in expected.items():
        same(sets[split]["ab".index(name)], *halves)
        assert sets[split]["image_id"] == ["a", "b"]
    raw = load_dataset("image_pairs", data_dir=str(folder), side_by_side=True, split="train", transform=None)[0]
    assert raw["image"].format == raw["target"].format == "PNG"


def test_odd_width(tmp_path, save_image, caplog):
    save_image(tmp_path / "data/a.png", (9, 6))
    save_image(tmp_path / "data/b.png", (8, 6))
    options = {"data_dir": str(tmp_path / "data"), "side_by_side": True, "split": "train"}
    message = "data/a.png is 9 pixels wide: two images side by side need an even width"
    with pytest.raises(DataError, match=message):
        load_dataset("image_pairs", **options)
    assert load_dataset("image_pairs", **options, on_error="skip")["image_id"] == ["b"]
    assert f"1 skipped, such as: {tmp_path}/{message}" in caplog.text


def test_scales(tmp_path, save_image, caplog):
    small = {}
    for name in ("0001", "0002"):
        save_image(tmp_path / f"DIV2K_train_HR/{name}.png", (24, 12))
        for scale in (2, 4):
            path = tmp_path / f"DIV2K_train_LR_bicubic/X{scale}/{name}x{scale}.png"
            small[name, scale] = save_image(path, (24 // scale, 12 // scale))
    with pytest.raises(DataError, match="holds the scales 2, 4: choose one with scale="):
        load_dataset(str(tmp_path))
    for scale in (2, 4):
        rows = load_dataset(str(tmp_path), split="train", scale=scale)
        assert rows["image_id"] == ["0001", "0002"]
        assert all(torch.equal(row["image"], ToTensor()(small[row["image_id"], scale])) for row in rows)
    assert "2 images are of another scale, such as DIV2K_train_LR_bicubic/X2" in caplog.text


def test_names_of_folders_can_be_given(tmp_path, save_image):
    images = [
        save_image(tmp_path / path) for path in ("Raw-890/1.png", "reference-890/1.png", "input/1.png", "gt/1.png")
    ]
    options = {"data_dir": str(tmp_path), "split": "train"}
    same(load_dataset("image_pairs", **options, source="raw-890", target="reference-890")[0], *images[:2])
    same(load_dataset("image_pairs", **options, source="input", target="gt")[0], *images[2:])
    with pytest.raises(DataError, match="source and target go together"):
        load_dataset("image_pairs", **options, source="raw-890")
    with pytest.raises(DataError, match="has no two folders of a known pair, such as low and high"):
        load_dataset("image_pairs", **options)
    with pytest.raises(DataError, match="has no two folders of a known pair"):
        load_dataset("image_pairs", **options, source="raw-890", target="nowhere")


WRONG = {
    "high/a.png has no input": ["low/b.png", "high/a.png", "high/b.png"],
    "low/b.png has no target": ["low/b.png", "low/c.png", "high/c.png"],
    "low/d.jpg and low/d.png are both the input of d: rename or remove one": ["low/d.jpg", "low/d.png", "high/d.png"],
    "high/E.png has no input, but there is low/e.png, whose name differs in case: rename one": [
        "low/e.png",
        "high/E.png",
    ],
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_pairs_are_named(tmp_path, save_image, message):
    for path in [*WRONG[message], "low/right.png", "high/right.png"]:
        save_image(tmp_path / path)
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path))


def test_wrong_pairs_are_skipped(tmp_path, save_image, caplog):
    for path in {path for paths in WRONG.values() for path in paths} - {"high/b.png"}:
        save_image(tmp_path / "data" / path)
    for path in ("low/f.png", "high/f.png", "low/g.png", "high/g.png", "low/h.png", "high/h.png"):
        save_image(tmp_path / "data" / path)
    (tmp_path / "data/high/f.png").write_bytes(b"no image")
    rows = load_dataset(str(tmp_path / "data"), split="train", on_error="skip", cache_dir=str(tmp_path / "cache"))
    assert rows["image_id"] == ["c", "g", "h"]
    [path] = (tmp_path / "cache").rglob("*.skipped.txt")
    lines = path.read_text().splitlines()
    for message in [*WRONG, "unreadable image .*high/f.png", "low/e.png has no target, but there is high/E.png"]:
        assert len([line for line in lines if re.search(message, line)]) == 1, message
    assert len(lines) == 6 and "6 skipped, such as" in caplog.text


def test_other_folders_are_not_taken(tmp_path, save_image):
    for tree in (
        ["cat/1.png", "dog/1.png"],
        ["A/1.png", "B/2.png", "C/3.png"],
        ["A/1.png", "B/1.png", "C/1.png"],
        ["a/1.png", "b/1.png"],
        ["Animals/a/1.png", "Animals/b/1.png"],
        ["hazy/1.png", "clear/1.png", "rainy/1.png", "snow/1.png"],
        ["low/1.png", "low/2.png", "low/3.png", "high/3.png"],
        ["train/A/1.png", "train/B/2.png"],
        ["images/1.png", "masks/1.png"],
        ["input/1.png", "gt/1.png"],
        ["trainA/1.png", "testA/1.png"],
    ):
        folder = tmp_path / "_".join(tree).replace("/", "_")
        for path in tree:
            save_image(folder / path)
        assert matches(Files.of(folder)) is None, tree


def test_num_proc_streaming_and_zip(tmp_path, save_image):
    written = {}
    for number in range(70):
        name = f"{number:02}"
        written[name] = (
            save_image(tmp_path / f"data/lr/{name}.png"),
            save_image(tmp_path / f"data/hr/{name}.png", (18, 14)),
        )
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in sorted((tmp_path / "data").rglob("*.png")):
            archive.write(path, path.relative_to(tmp_path))
    one = load_dataset(str(tmp_path / "data"), split="train", cache_dir=str(tmp_path / ".one"))
    two = load_dataset(str(tmp_path / "data"), split="train", cache_dir=str(tmp_path / ".two"), num_proc=2)
    zipped = load_dataset(str(tmp_path / "data.zip"), split="train")
    stream = load_dataset(str(tmp_path / "data"), split="train", streaming=True)
    assert len(two.cache_files) == 2 and stream.features == one.features
    for rows in zip(one, two, zipped, stream, strict=True):
        for row in rows:
            assert row["image_id"] == rows[0]["image_id"]
            same(row, *written[row["image_id"]])


def test_the_example_of_the_card(root, tmp_path, save_image):
    for number in range(4):
        for side in ("low", "high"):
            save_image(tmp_path / side / f"{number}.png", (40 + number, 36))
    example = re.findall(
        r"```python\n(.*?)```", (root / "dataset_scripts/layouts/image_pairs/README.md").read_text(), re.DOTALL
    )[1]
    exec(example.replace("path/to/data", str(tmp_path)), scope := {})
    assert torch.isfinite(scope["loss"]) and scope["model"].weight.grad.abs().sum() > 0
    assert scope["targets"].shape == (2, 3, 32, 32)
