"""Images and masks against torchvision's reader, Pillow and the arrays that were written."""

import json
import re
import zipfile

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import torch
import torchvision
from torchvision import tv_tensors

from dataset_scripts import DataError, ToTensor, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.layouts.mask_pairs.colors import read_colors
from dataset_scripts.layouts.mask_pairs.mask_pairs import matches

CAMVID = {"Sky": (128, 128, 128), "Road": (128, 64, 128), "Car": (64, 0, 128), "Void": (0, 0, 0), "Tree": (128, 128, 0)}


@pytest.fixture
def save_mask():
    """Writes a random mask of sparse ids, different for every path, and returns the ids."""

    def save(path, size=(9, 7), mode="L"):
        rng = np.random.default_rng(list(str(path).encode()))
        values = {"L": [0, 1, 7, 254, 255], "P": [0, 3, 20, 255], "1": [0, 1], "I;16": [0, 9, 300, 65535]}[mode]
        ids = rng.choice(values, (size[1], size[0])).astype({"1": bool, "I;16": np.uint16}.get(mode, np.uint8))
        image = PIL.Image.fromarray(ids)
        if mode == "P":
            image.putpalette(rng.integers(0, 256, 768, np.uint8).tobytes())
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **({"optimize": False} if path.suffix == ".gif" else {}))  # otherwise Pillow renumbers the ids
        return ids.astype(np.int64)

    return save


def same(row, pixels, ids):
    assert torch.equal(row["image"], ToTensor()(pixels))
    assert type(row["mask"]) is tv_tensors.Mask and row["mask"].dtype == torch.int64
    assert np.array_equal(row["mask"].numpy(), ids)


def test_equal_to_torchvision(tmp_path, save_image, save_mask):
    """VOC's own files, read by torchvision from VOC's tree and by us from folders of images and masks."""
    base = tmp_path / "voc/VOCdevkit/VOC2012"
    names = [f"2007_{number:06}" for number in range(9)]
    for number, name in enumerate(names):
        size = (11 + number, 8)
        save_image(base / "JPEGImages" / f"{name}.jpg", size)
        save_mask(base / "SegmentationClass" / f"{name}.png", size, "P")
    (base / "ImageSets/Segmentation").mkdir(parents=True)
    (base / "ImageSets/Segmentation/train.txt").write_text("\n".join(names) + "\n")
    theirs = torchvision.datasets.VOCSegmentation(tmp_path / "voc", "2012", "train")
    (tmp_path / "data").mkdir()
    (base / "JPEGImages").rename(tmp_path / "data/photos")
    (base / "SegmentationClass").rename(tmp_path / "data/masks")
    theirs.images = [str(tmp_path / "data/photos" / f"{name}.jpg") for name in names]
    theirs.targets = [str(tmp_path / "data/masks" / f"{name}.png") for name in names]
    ours = load_dataset(str(tmp_path / "data"), split="train")
    assert len(ours) == len(theirs) == 9 and ours["image_id"] == names
    for row, (image, mask) in zip(ours, theirs):
        same(row, np.asarray(image), np.asarray(mask))
    raw = load_dataset(str(tmp_path / "data"), split="train", transform=None)[3]["mask"]
    assert raw.mode == "P" and raw.getpalette() == theirs[3][1].getpalette()


@pytest.mark.parametrize(
    "image, mask",
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("{split}/images/{}.png", "{split}/masks/{}.png"),
        ("images/{split}/{}.png", "masks/{split}/{}.png"),
        ("imgs/{split}/{}.png", "SegmentationClass/{split}/{}.png"),
        ("images/{split}ing/{}.jpg", "annotations/{split}ing/{}.png"),
        ("{split}/{}.png", "{split}annot/{}.png"),
        ("{split}/{}.png", "{split}_labels/{}_L.png"),
        ("{split}_images/{}.png", "{split}_masks/{}_mask.gif"),
        ("img/{}.tif", "GT/{}_gt.tif"),
        ("data/originals/{}.webp", "data/groundtruth/{}.bmp"),
        ("Images-{split}/{}.png", "labels-{split}/{}.png"),
        ("{}.jpg", "{}_mask.png"),
        ("images/{}.jpg", "images/{}-mask.png"),
        ("{split}/{}_sat.jpg", "{split}/{}_mask.png"),
        ("imgs/image_{}.png", "gts/mask_{}.png"),
        ("images/{}_mask.png", "labels/{}_mask.png"),
    ],
)
def test_trees(tmp_path, save_image, save_mask, caplog, image, mask):
    splits, expected = (["train", "test"] if "{split}" in image else ["train"]), {}
    for split in splits:
        for name in ("ab 1", "ab.2", "x_3"):
            path = tmp_path / image.format(name, split=split)
            save_image(path)
            with PIL.Image.open(path) as written:  # the pixels after JPEG or WebP
                pixels = np.asarray(written)
            expected[split, name] = pixels, save_mask(tmp_path / mask.format(name, split=split))
    sets = load_dataset(str(tmp_path))
    assert (
        f"read as mask_pairs ({len(expected)} images in " in caplog.text
        and "with a mask of the same name" in caplog.text
    )
    assert list(sets) == splits
    for (split, name), (pixels, ids) in expected.items():
        rows = [row for row in sets[split] if re.fullmatch(rf"(ulm/|data/)?{name}(_mask)?", row["image_id"])]
        assert len(rows) == 1 and len(sets[split]) == 3
        same(rows[0], pixels, ids)


def test_cityscapes_by_name(tmp_path, save_image, save_mask):
    pixels = save_image(tmp_path / "leftImg8bit/train/ulm/a_leftImg8bit.png")
    ids = save_mask(tmp_path / "gtFine/train/ulm/a_gtFine_labelIds.png")
    row = load_dataset("mask_pairs", data_dir=str(tmp_path), split="train")[0]
    assert row["image_id"] == "ulm/a"
    same(row, pixels, ids)


def test_names_of_folders_and_suffixes_can_be_given(tmp_path, save_image, save_mask, caplog):
    pixels = save_image(tmp_path / "raw/1.png")
    kinds = ("labelIds", "labelTrainIds", "color", "instanceIds")
    kinds = {kind: save_mask(tmp_path / f"drawn/1_{kind}.png") for kind in kinds}
    options = {"data_dir": str(tmp_path), "images": "raw", "masks": "drawn", "split": "train"}
    with pytest.raises(
        DataError,
        match="drawn/1_labelIds.png and drawn/1_labelTrainIds.png are both the mask of 1: .*mask_suffix='_labelIds'",
    ):
        load_dataset("mask_pairs", **options)
    same(load_dataset("mask_pairs", **options, mask_suffix="_labelTrainIds")[0], pixels, kinds["labelTrainIds"])
    (tmp_path / "drawn/1_labelTrainIds.png").unlink()
    same(load_dataset("mask_pairs", **options)[0], pixels, kinds["labelIds"])


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_ids_are_not_scaled(tmp_path, save_image, save_mask, mode):
    written = {
        name: (save_image(tmp_path / f"images/{name}.png"), save_mask(tmp_path / f"masks/{name}.png", mode=mode))
        for name in "abc"
    }
    for row in load_dataset(str(tmp_path), split="train"):
        same(row, *written[row["image_id"]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGB"])
def test_masks_turn_with_their_images(tmp_path, save_mask, orientation, mode):
    rng = np.random.default_rng(orientation)
    frame = Frame((13, 6), orientation)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "images").mkdir()
    for name in ("stored", "shown"):
        PIL.Image.fromarray(rng.integers(0, 256, (6, 13, 3), np.uint8)).save(tmp_path / f"images/{name}.png", exif=exif)
    written = {
        "stored": save_mask(tmp_path / "masks/stored.png", (13, 6), "L" if mode == "RGB" else mode),
        "shown": save_mask(tmp_path / "masks/shown.png", frame.size, "L" if mode == "RGB" else mode),
    }
    if mode == "RGB":
        for name in written:
            PIL.Image.open(tmp_path / f"masks/{name}.png").convert("RGB").save(tmp_path / f"masks/{name}.png")
    if frame.size != (13, 6):
        turned = PIL.Image.fromarray(written["stored"].astype(np.int32))  # Pillow turns it, as it turns the image
        turned.getexif()[0x0112] = orientation
        written["stored"] = np.asarray(PIL.ImageOps.exif_transpose(turned))
    for row in load_dataset(str(tmp_path), split="train"):
        assert np.array_equal(row["mask"].numpy(), written[row["image_id"]]), row["image_id"]
        assert row["image"].shape[1:] == row["mask"].shape


TABLES = {
    "class_dict.csv": "name,r,g,b\n" + "".join(f"{name},{r},{g}, {b}\n" for name, (r, g, b) in CAMVID.items()),
    "label_colors.txt": "".join(f"{r} {g} {b}\t{name}\n" for name, (r, g, b) in CAMVID.items()),
    "labelmap.txt": "# label:color_rgb:parts:actions\n"
    + "".join(f"{n}:{r},{g},{b}::\n" for n, (r, g, b) in CAMVID.items()),
    "classes.json": json.dumps(CAMVID),
    "colors.json": json.dumps([{"name": name, "color": color} for name, color in CAMVID.items()]),
}


@pytest.mark.parametrize("table", [*TABLES, "option", "named"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colors_become_ids(tmp_path, save_image, table, mode):
    rng = np.random.default_rng(3)
    colors = np.array(list(CAMVID.values()), np.uint8)
    written = {}
    for name in "ab":
        ids = rng.integers(0, len(colors), (7, 9))
        written[name] = save_image(tmp_path / f"train/{name}.png"), ids
        (tmp_path / "train_labels").mkdir(exist_ok=True)
        PIL.Image.fromarray(colors[ids]).convert(mode).save(tmp_path / f"train_labels/{name}_L.png")
    options = {}
    if table == "option":
        options = {"colors": CAMVID}
    elif table == "named":
        (tmp_path / "my table.txt").write_text(TABLES["label_colors.txt"])
        options = {"colors": "my table.txt"}
    else:
        (tmp_path / table).write_text(TABLES[table])
    (tmp_path / "classes.txt").write_text("Sky\nRoad\n")  # names alone do not define colours
    rows = load_dataset("mask_pairs", data_dir=str(tmp_path), split="train", **options)
    for row in rows:
        same(row, *written[row["image_id"]])
    assert rows.info.description.endswith("Ids: 0 Sky, 1 Road, 2 Car, 3 Void, 4 Tree.")


def test_many_colors_need_sixteen_bits(tmp_path, save_image):
    codes = np.random.default_rng(0).permutation(1 << 12)[:400]
    colors = np.stack([codes >> 8 << 4, (codes >> 4 & 15) * 16, (codes & 15) * 16], -1).astype(np.uint8)
    ids = np.arange(400).reshape(20, 20)
    save_image(tmp_path / "images/a.png", (20, 20))
    (tmp_path / "masks").mkdir()
    PIL.Image.fromarray(colors[ids]).save(tmp_path / "masks/a.png")
    options = {"colors": {f"class {number}": color for number, color in enumerate(colors.tolist())}}
    row = load_dataset("mask_pairs", data_dir=str(tmp_path), split="train", **options)[0]
    assert np.array_equal(row["mask"].numpy(), ids)


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "class_dict.csv",
            "name,r,g,b\nSky,1,2,3\nRoad,4,5\n",
            "class_dict.csv, line 3: 'Road,4,5' is not a name and a colour",
        ),
        ("class_dict.csv", "Sky,1,2,300\n", r"class_dict.csv, line 1: the colour is \(1, 2, 300\), not three"),
        ("class_dict.csv", "Sky,1,2,3\nSky,1,2,4\n", "class_dict.csv, line 2: Sky occurs twice"),
        ("class_dict.csv", "Sky,1,2,3\nRoad,1,2,3\n", "class_dict.csv: Road and Sky have the same colour"),
        ("colors.json", '{"Sky": [1, 2]}', r"colors.json: the colour of Sky is \[1, 2\], not three"),
        ("colors.json", '{"Sky": [1', "colors.json: invalid json: "),
    ],
)
def test_wrong_tables_are_named(tmp_path, save_image, save_mask, name, content, message):
    save_image(tmp_path / "images/a.png")
    save_mask(tmp_path / "masks/a.png")
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path))


def test_tables_of_names_are_no_colors(tmp_path):
    contents = {"classes.txt": "cat\ndog 1\n", "classes.json": '["cat", "dog"]', "palette.json": '{"cat": 1}'}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        assert read_colors(Files.of(tmp_path), name) == {}


def test_wrong_masks_are_named(tmp_path, save_image, save_mask, caplog):
    folder = tmp_path / "data"
    for name in "abcdefghijkl":
        save_image(folder / f"images/{name}.png")
    ids = {name: save_mask(folder / f"masks/{name}.png") for name in "abcefl"}
    save_image(folder / "masks/d.jpg", mode="L")
    save_mask(folder / "masks/e.png", (7, 9))
    save_image(folder / "images/f.jpg")
    save_image(folder / "masks/g.png")  # colours
    save_mask(folder / "masks/H.png")
    save_mask(folder / "masks/j.png")
    save_mask(folder / "masks/j_label.png")
    (folder / "masks/k.png").write_bytes(b"GIF89a, it says")
    (folder / "images/l.png").unlink()
    save_image(folder / "masks/i.png", mode="LA")
    messages = [
        "masks/d.jpg is a JPEG, which blurs ids: store masks without loss, as PNG does",
        "masks/e.png has 7 x 9 pixels, but its image has 9 x 7",
        "images/f.jpg and images/f.png are both the image of f: rename or remove one",
        "masks/g.png holds colours, not ids: pass colors={'road'",
        "images/h.png has no mask, but there is masks/H.png, whose name differs in case: rename one",
        "masks/H.png has no image, but there is images/h.png, whose name differs in case: rename one",
        "masks/i.png has the mode LA: a mask holds one id",
        "masks/j.png and masks/j_label.png are both the mask of j: rename or remove one",
        "unreadable image .*masks/k.png",
        "masks/l.png has no image",
    ]
    with pytest.raises(DataError, match="masks/H.png has no image"):  # faults in the names come first
        load_dataset(str(folder))
    rows = load_dataset(str(folder), split="train", on_error="skip", cache_dir=str(tmp_path / "cache"))
    assert rows["image_id"] == ["a", "b", "c"] and np.array_equal(rows[2]["mask"].numpy(), ids["c"])
    [path] = (tmp_path / "cache").rglob("*.skipped.txt")
    lines = path.read_text().splitlines()
    assert len(lines) == len(messages) and "10 skipped, such as" in caplog.text
    for message in messages:
        assert len([line for line in lines if re.search(message.replace("(", r"\("), line)]) == 1, message
    for wrong, message in zip("deg", [messages[0], messages[1], messages[3]]):  # faults in the content, one by one
        lone = tmp_path / wrong
        (lone / "images").mkdir(parents=True)
        (lone / "masks").mkdir()
        for part in ("images", "masks"):
            [found] = (folder / part).glob(f"{wrong}.*")
            (lone / part / found.name).write_bytes(found.read_bytes())
        with pytest.raises(DataError, match=message):
            load_dataset(str(lone))


def test_wrong_colors_are_named(tmp_path, save_image):
    pixels = np.full((7, 9, 4), (128, 128, 128, 255), np.uint8)
    save_image(tmp_path / "images/a.png")
    (tmp_path / "masks").mkdir()
    options = {"data_dir": str(tmp_path), "colors": CAMVID, "split": "train"}
    for place, color, message in (
        (
            (4, 6),
            (1, 2, 3, 255),
            r"masks/a.png: the pixel x=6, y=4 has the colour \(1, 2, 3\), which belongs to no class",
        ),
        ((4, 6), (128, 128, 128, 9), "masks/a.png has transparent pixels, which belong to no class"),
    ):
        pixels[place] = color
        PIL.Image.fromarray(pixels).save(tmp_path / "masks/a.png")
        with pytest.raises(DataError, match=message):
            load_dataset("mask_pairs", **options)
    with pytest.raises(DataError, match="colors='x.csv': .* has no such file"):
        load_dataset("mask_pairs", **options | {"colors": "x.csv"})
    (tmp_path / "x.csv").write_text("name\nSky\n")
    with pytest.raises(DataError, match="x.csv holds no colours"):
        load_dataset("mask_pairs", **options | {"colors": "x.csv"})
    with pytest.raises(DataError, match="the colour of Sky is 'grey'"):
        load_dataset("mask_pairs", **options | {"colors": {"Sky": "grey"}})


def test_two_tables_are_not_taken(tmp_path, save_image, save_mask, caplog):
    save_image(tmp_path / "images/a.png")
    save_image(tmp_path / "masks/a.png")
    for name in ("class_dict.csv", "classes.json"):
        (tmp_path / name).write_text(TABLES[name])
    with pytest.raises(DataError, match="holds colours, not ids: pass colors="):
        load_dataset(str(tmp_path))
    assert "class_dict.csv and classes.json hold colours, and none is used" in caplog.text


def test_a_split_without_masks(tmp_path, save_image, save_mask, caplog):
    written = save_image(tmp_path / "train/images/a.png"), save_mask(tmp_path / "train/masks/a.png")
    save_image(tmp_path / "test/images/b.png")
    save_image(tmp_path / "figure.png")
    with pytest.raises(DataError, match=r"1 images that no row shows \(figure.png\)"):
        load_dataset(str(tmp_path))
    sets = load_dataset("mask_pairs", data_dir=str(tmp_path), ignore=["figure.png"])
    same(sets["train"][0], *written)
    assert sets["test"][0]["mask"] is None and sets["test"][0]["image"].shape == (3, 7, 9)
    assert "no image of test has a mask: theirs are None" in caplog.text
    save_image(tmp_path / "images/c.png")
    with pytest.raises(DataError, match="images/c.png is in no split folder, while others are in train"):
        load_dataset("mask_pairs", data_dir=str(tmp_path), ignore=["figure.png"])


def test_other_folders_are_not_taken(tmp_path, save_image):
    for tree in (
        ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"],
        ["mask/1.png", "mask/2.png", "no_mask/3.png", "no_mask/4.png"],
        ["low/1.png", "high/1.png"],
        ["trainA/1.png", "trainB/1.png"],
        ["seg_train/a/1.png", "seg_test/a/1.png", "seg_pred/1.png"],
        ["images/1.png", "images/2.png", "labels/3.png"],
        ["a/1.png", "a/1_mask.png", "a/2.png", "a/3.png", "b/4.png"],
    ):
        folder = tmp_path / tree[0].replace("/", "_")
        for path in tree:
            save_image(folder / path)
        assert matches(Files.of(folder)) is None, tree


def test_num_proc_streaming_and_zip(tmp_path, save_image, save_mask):
    written = {}
    for number in range(70):
        name = f"{number:02}"
        pixels = save_image(tmp_path / f"data/images/{name}.png")
        written[name] = pixels, save_mask(tmp_path / f"data/masks/{name}.png", mode="P")
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


def test_the_example_of_the_card(root, tmp_path, save_image, save_mask):
    for number in range(4):
        save_image(tmp_path / f"images/{number}.jpg", (80 + number, 70))
        ids = np.random.default_rng(number).integers(0, 21, (70, 80 + number), np.uint8)
        (tmp_path / "masks").mkdir(exist_ok=True)
        PIL.Image.fromarray(ids).save(tmp_path / f"masks/{number}.png")
    example = re.findall(
        r"```python\n(.*?)```", (root / "dataset_scripts/layouts/mask_pairs/README.md").read_text(), re.DOTALL
    )[1]
    exec(example.replace("path/to/data", str(tmp_path)), scope := {})
    assert torch.isfinite(scope["loss"]) and any(
        parameter.grad is not None for parameter in scope["model"].parameters()
    )
    assert scope["masks"].shape == (2, 64, 64) and scope["masks"].dtype == torch.int64
