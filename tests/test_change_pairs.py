"""Change detection in the trees of LEVIR-CD, WHU-CD, CDD and SYSU-CD, against the arrays that were written."""

import zipfile

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.layouts.change_pairs.change_pairs import matches

SIZE = (16, 12)


def changed(name: str) -> np.ndarray:
    """A mask (H, W), bool, different for every name."""
    return np.random.default_rng(list(name.encode())).random(SIZE[::-1]) < 0.3


@pytest.fixture
def write(tmp_path, save_image):
    """Writes a set; returns its folder and, by name, the two images and the mask."""

    def write(tree, names, folders=("A", "B", "label"), suffix="png", folder="set", scale=255):
        written = {}
        for split, name in names:
            paths = [tmp_path / folder / tree.format(split=split, side=side, name=name) for side in folders]
            images = [save_image(path.with_suffix(f".{suffix}"), SIZE) for path in paths[:2]]
            paths[2].parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(changed(name).astype(np.uint8) * scale).save(paths[2].with_suffix(".png"))
            written[split, name] = *images, changed(name)
        return tmp_path / folder, written

    return write


NAMES = [("train", "train_1"), ("train", "train_2"), ("val", "val_1"), ("test", "test_1")]
WORDS = {"train": "train", "val": "validation", "test": "test"}


def check(sets, written):
    assert list(sets) == [WORDS[split] for split in ("train", "val", "test")]
    count = 0
    for (split, name), (before, after, mask) in written.items():
        row = next(row for row in sets[WORDS[split]] if row["image_id"].rpartition("/")[2] == name)
        for column, pixels in (("image", before), ("after", after)):
            assert np.array_equal((row[column].numpy() * 255).round(), pixels.transpose(2, 0, 1))
        assert row["mask"].dtype == torch.int64 and np.array_equal(row["mask"].numpy(), mask)
        count += 1
    assert sum(map(len, sets.values())) == count


@pytest.mark.parametrize(
    "tree, folders",
    [
        ("{split}/{side}/{name}", ("A", "B", "label")),  # LEVIR-CD
        ("{side}/{split}/{name}", ("A", "B", "label")),
        ("{split}/{side}/{name}", ("A", "B", "OUT")),  # CDD
        ("{split}/{side}/{name}", ("time1", "time2", "label")),  # SYSU-CD
        ("{split}/{side}/{name}", ("t1", "t2", "mask")),  # DSIFN
        ("{split}/{side}/{name}", ("T1", "T2", "cm")),
        ("{split}/{side}/{name}", ("im1", "im2", "change")),
        ("{split}/{side}/{name}", ("Image1", "Image2", "label")),
        ("data/{split}/{side}/{name}", ("before", "after", "GT")),
    ],
)
def test_trees(write, caplog, tree, folders):
    folder, written = write(tree, NAMES, folders)
    check(load_dataset(str(folder)), written)
    assert "read as change_pairs (4 images twice, with a mask of changes: " in caplog.text
    assert "masks hold 0 and 255, which become the ids 0 and 1" in caplog.text


def test_named_zipped_streamed_and_in_processes(write, tmp_path):
    folder, written = write("{split}/{side}/{name}", NAMES)
    check(load_dataset("change_pairs", data_dir=str(folder), num_proc=2), written)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in folder.rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path))
    check(load_dataset(str(tmp_path / "set.zip")), written)
    stream = load_dataset(str(folder), split="validation", streaming=True)
    assert np.array_equal(next(iter(stream))["mask"].numpy(), written["val", "val_1"][2])
    plain, written = write("{split}/{side}/{name}", NAMES, ("x1", "x2", "y"), folder="other", scale=1)
    check(load_dataset("change_pairs", data_dir=str(plain), before="x1", after="X2", masks="y"), written)


def test_lists(write, caplog):
    """LEVIR-CD cut into tiles, as ChangeFormer's authors hand it out."""
    folder, written = write("{side}/{name}", NAMES)
    (folder / "list").mkdir()
    for split in WORDS:
        lines = "".join(f"{name}.png\n" for own, name in NAMES if own == split)
        (folder / f"list/{split}.txt").write_text(lines)
    (folder / "list/trainval.txt").write_text("train_1.png\ntrain_2.png\nval_1.png\n")
    check(load_dataset(str(folder)), written)
    (folder / "list/val.txt").write_text("val_9.png\n")
    with pytest.raises(DataError, match="list/val.txt, line 1: there are no images val_9.png"):
        load_dataset(str(folder))
    (folder / "list/val.txt").write_text("train_1.png\n")
    with pytest.raises(DataError, match="list/val.txt, line 1: train_1.png is also in list/train.txt"):
        load_dataset(str(folder))
    (folder / "list/val.txt").unlink()
    (folder / "list/trainval.txt").unlink()
    with pytest.raises(DataError, match=r"3 images that no row shows in A/, B/, label/"):
        load_dataset(str(folder))


def test_both_images_move_together(write):
    folder, written = write("{split}/{side}/{name}", NAMES)
    row = load_dataset(str(folder), split="validation")[0]
    assert type(row["image"]) is tv_tensors.Image and type(row["after"]) is tv_tensors.Image
    flipped = v2.RandomHorizontalFlip(1.0)(row)
    before, after, mask = written["val", "val_1"]
    assert np.array_equal((flipped["image"].numpy() * 255).round(), before[:, ::-1].transpose(2, 0, 1))
    assert np.array_equal((flipped["after"].numpy() * 255).round(), after[:, ::-1].transpose(2, 0, 1))
    assert np.array_equal(flipped["mask"].numpy(), mask[:, ::-1])
    cut = v2.RandomCrop((5, 6))(row)
    assert cut["image"].shape == cut["after"].shape == (3, 5, 6) and cut["mask"].shape == (5, 6)


def test_masks_in_jpeg(write):
    folder, written = write("{split}/{side}/{name}", NAMES, ("A", "B", "OUT"), "jpg")
    expected = {}
    for path in folder.rglob("OUT/*.png"):
        PIL.Image.open(path).save(path.with_suffix(".jpg"), quality=60)
        path.unlink()
        expected[path.stem] = np.asarray(PIL.Image.open(path.with_suffix(".jpg"))) >= 128
    with pytest.raises(DataError, match="OUT/.*jpg is a JPEG, .* or pass threshold=128"):
        load_dataset(str(folder))
    for row in load_dataset("change_pairs", data_dir=str(folder), threshold=128)["train"]:
        assert np.array_equal(row["mask"].numpy(), expected[row["image_id"]])


def test_a_split_without_masks(write, caplog):
    folder, _ = write("{split}/{side}/{name}", NAMES)
    (folder / "test/label/test_1.png").unlink()
    row = load_dataset(str(folder), split="test")[0]
    assert row["mask"] is None and row["after"].shape == (3, 12, 16)
    assert "no image of test has a mask: theirs are None" in caplog.text


COLORS = {"same": (255, 255, 255), "water": (0, 0, 255), "tree": (0, 255, 0), "building": (128, 0, 0)}


@pytest.mark.parametrize(
    "folders", [("im1", "im2", "label1", "label2"), ("A", "B", "labelA", "labelB"), ("t1", "t2", "mask_t1", "mask_t2")]
)
@pytest.mark.parametrize("is_colour", [True, False])
def test_a_mask_of_either_image(folders, is_colour, tmp_path, save_image):
    """SECOND: im1, im2, label1 and label2; its masks are in colours."""
    palette, expected = np.array(list(COLORS.values()), np.uint8), {}
    for split, name in (("train", "00003"), ("train", "00013"), ("test", "00002")):
        for side in folders[:2]:
            save_image(tmp_path / split / side / f"{name}.png", SIZE)
        for side in folders[2:]:
            ids = np.random.default_rng(list((side + name).encode())).integers(0, 4, SIZE[::-1], np.uint8)
            path = tmp_path / split / side / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(palette[ids] if is_colour else ids).save(path)
            expected[name, side] = ids
    if is_colour:
        with pytest.raises(DataError, match=r"holds colours, not ids: pass colors="):
            load_dataset(str(tmp_path))
    more = {"colors": COLORS} if is_colour else {}
    sets = load_dataset(str(tmp_path), **more)
    assert list(sets["train"].features) == ["image", "after", "mask_before", "mask_after", "image_id"]
    for row in [*sets["train"], *sets["test"]]:
        for column, side in zip(("mask_before", "mask_after"), folders[2:]):
            assert row[column].dtype == torch.int64
            assert np.array_equal(row[column].numpy(), expected[row["image_id"], side])
    assert isinstance(sets["test"][0]["mask_after"], tv_tensors.Mask)
    named = dict(zip(("before", "after", "masks_before", "masks_after"), folders))
    again = load_dataset("change_pairs", data_dir=str(tmp_path), **named, **more)
    assert again["train"]["image_id"][:] == sets["train"]["image_id"][:]
    (tmp_path / "test" / folders[3] / "00002.png").unlink()
    assert load_dataset("change_pairs", data_dir=str(tmp_path), **named, **more)["test"][0]["mask_after"] is None
    (tmp_path / "train" / folders[3] / "00003.png").unlink()
    with pytest.raises(DataError, match=rf"train/{folders[0]}/00003.png has no mask_after"):
        load_dataset("change_pairs", data_dir=str(tmp_path), **named, **more)


def test_masks_of_changes_and_of_either_image(write):
    folder, written = write("{split}/{side}/{name}", NAMES)
    for split, name in written:
        for side, value in (("label1", 2), ("label2", 3)):
            path = folder / split / side / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(np.full(SIZE[::-1], value, np.uint8)).save(path)
    sets = load_dataset(str(folder))
    check(sets, written)
    row = sets["validation"][0]
    assert (row["mask_before"] == 2).all() and (row["mask_after"] == 3).all()


def test_faults(write, save_image):
    folder, written = write("{split}/{side}/{name}", NAMES)

    def refuse(message, count):
        with pytest.raises(DataError, match=message):
            load_dataset(str(folder))
        assert len(load_dataset(str(folder), split="train", on_error="skip")) == count

    save_image(folder / "train/A/train_3.png", SIZE)
    refuse("train/A/train_3.png has no image after", 2)
    save_image(folder / "train/B/train_3.png", SIZE)
    refuse("train/A/train_3.png has no mask", 2)
    (folder / "train/B/train_3.png").unlink()
    (folder / "train/A/train_3.png").unlink()
    save_image(folder / "train/B/train_2.png", (9, 9))
    refuse("train/B/train_2.png has 9 x 9 pixels, train/A/train_2.png has 16 x 12", 1)
    save_image(folder / "train/B/train_2.png", SIZE)
    PIL.Image.fromarray(np.zeros((3, 4), np.uint8)).save(folder / "train/label/train_2.png")
    refuse("train/label/train_2.png has 4 x 3 pixels, but its image has 16 x 12", 1)
    PIL.Image.fromarray(changed("train_2").astype(np.uint8) * 255).save(folder / "train/label/train_2.png")
    save_image(folder / "train/A/train_1.jpg", SIZE)
    refuse("train/A/train_1.jpg and train/A/train_1.png are both the before of train_1", 1)
    (folder / "train/A/train_1.jpg").unlink()
    save_image(folder / "extra.png", SIZE)
    with pytest.raises(DataError, match="1 images that no row shows"):
        load_dataset(str(folder))
    with pytest.raises(DataError, match="before and after go together"):
        load_dataset("change_pairs", data_dir=str(folder), before="A")
    with pytest.raises(DataError, match="no three folders of images of equal names"):
        load_dataset("change_pairs", data_dir=str(folder), before="x", after="y")


def test_other_trees_are_not_taken(tmp_path, save_image):
    for tree in (
        ["A/1.png", "B/1.png"],
        ["images/1.png", "masks/1.png"],
        ["A/1.png", "B/2.png", "label/3.png"],
        ["trainA/1.png", "trainB/1.png", "testA/2.png", "testB/2.png"],
        ["A/1.png", "A/2.png", "B/3.png", "C/1.png"],
    ):
        folder = tmp_path / "-".join(tree).replace("/", "_")
        for path in tree:
            save_image(folder / path)
        assert matches(Files.of(folder)) is None, tree
