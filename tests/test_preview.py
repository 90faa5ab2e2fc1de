"""Previews of a dataset: drawn pixels, numbers against numpy's, and planted duplicates, of which all are found."""

import io
import json
import re
from html.parser import HTMLParser

import datasets
import numpy as np
import PIL.Image
import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.image.objects import RLE, mask_tools, object_features
from dataset_scripts.core.image.roles import Roles
from dataset_scripts.core.look.drawing import PALETTE, SHARE, View, colour, font, shorten, to_rgb, wrap
from dataset_scripts.core.look.duplicates import digest, near_groups, perceptual_hash
from dataset_scripts.core.look.preview import contact_sheet, preview, report, write_report
from dataset_scripts.core.look.sheet import MARGIN, SPACE, sample
from dataset_scripts.core.new import new_script
from dataset_scripts.core.publish.export import export

IMAGE = datasets.Image()


def natural(seed, width=96, height=64, contrast=40):
    """A picture whose spectrum falls like that of photographs: large soft shapes, fine ones on them."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    frequency[0, 0] = 1
    noise = rng.normal(size=(3, height, width))
    pixels = np.stack([np.fft.ifft2(np.fft.fft2(plane) / frequency**1.2).real for plane in noise], -1) @ rng.normal(
        size=(3, 3)
    )
    return PIL.Image.fromarray(((pixels - pixels.mean()) / pixels.std() * contrast + 128).clip(0, 255).astype(np.uint8))


def noise(seed, size=(20, 10), mode="RGB"):
    shape = (size[1], size[0], len(PIL.Image.new(mode, (1, 1)).getbands()))
    return PIL.Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, shape[: 2 + (shape[2] > 1)], np.uint8), mode
    )


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def dataset(rows, **features):
    def store(value):
        return encoded(value) if isinstance(value, PIL.Image.Image) else value

    rows = [{name: store(value) for name, value in row.items()} for row in rows]
    return datasets.Dataset.from_list(rows, features=datasets.Features({"image": IMAGE} | features))


def first_tile(sheet, size):
    """The pixels of the first image of a sheet without heading."""
    return np.asarray(sheet.crop((MARGIN, MARGIN, MARGIN + size, MARGIN + size))).astype(int)


GREY = PIL.Image.new("RGB", (100, 50), (100, 100, 100))


def test_boxes_stand_where_they_belong():
    features = object_features(["cat", "dog"])
    rows = dataset([{"image": GREY, "objects": {"bbox": [[10, 20, 30, 25]], "category": [1]}}], objects=features)
    tile = first_tile(contact_sheet(rows, size=400), 400)  # enlarged 4 times: the image is 400 x 200, from y = 100
    box = np.zeros((400, 400), bool)
    box[180:280, 40:160] = True
    box[182:278, 42:158] = False  # two pixels, on the inner side
    drawn = (tile == colour(1)).all(-1)
    chip = np.zeros_like(box)
    chip[160:180, 40:] = True  # the name, above the box
    assert (drawn[~chip] == box[~chip]).all() and drawn[chip].any()
    letterbox = np.r_[tile[:100][~drawn[:100]], tile[300:].reshape(-1, 3)]
    assert (letterbox == letterbox[0]).all() and not (letterbox[0] == 100).all()
    assert (tile[180:280, 200:] == 100).all() and (tile[182:278, 42:158] == 100).all()


def test_masks_are_translucent_and_their_borders_clear():
    ids = np.zeros((50, 100), np.uint8)
    ids[10:40, 10:40] = 255
    ids[14:36, 14:36] = 3
    ids[5:20, 60:90] = 1
    rows = dataset([{"image": GREY, "mask": PIL.Image.fromarray(ids)}], mask=IMAGE)
    tile = first_tile(contact_sheet(rows, size=100), 100)[25:75]
    assert (tile[(ids == 0) | (ids == 255)] == 100).all()
    for number in (1, 3):
        inner = ids == number
        inner[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        blended = np.round(100 * (1 - SHARE) + np.array(colour(number - 1)) * SHARE)
        edge = (ids == number) & ~inner
        assert abs(tile[edge] - colour(number - 1)).max() == 0 and inner.sum() > 200 and edge.sum() > 50
        deep = inner.copy()
        deep[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        assert abs(tile[deep] - blended).max() <= 1


def test_masks_of_0_and_255_are_black_and_white():
    ids = np.zeros((50, 100), np.uint8)
    ids[10:40, 10:40] = 255
    one = {"image": GREY, "mask": PIL.Image.fromarray(ids)}
    alone = first_tile(contact_sheet(dataset([one], mask=IMAGE), size=100), 100)[25:75]
    assert (alone[ids == 0] == 100).all() and (alone[ids == 255] != 100).any(-1).all()
    other = {"image": GREY, "mask": PIL.Image.fromarray(ids // 255 * 7)}
    among = contact_sheet(dataset([one, other], mask=IMAGE), size=100, columns=1)
    assert (first_tile(among, 100) == first_tile(contact_sheet(dataset([{"image": GREY}]), size=100), 100)).all()
    bilevel = PIL.Image.fromarray(ids > 0)
    assert bilevel.mode == "1"
    mode_1 = first_tile(contact_sheet(dataset([{"image": GREY, "mask": bilevel}], mask=IMAGE), size=100), 100)[25:75]
    assert (mode_1[ids == 0] == 100).all() and (mode_1[ids > 0] != 100).any(-1).all()


def test_instance_masks_and_keypoints():
    mask = np.zeros((50, 100), np.uint8)
    mask[10:30, 20:60] = 1
    code = mask_tools().encode(np.asfortranarray(mask))
    code = {"size": code["size"], "counts": code["counts"].decode()}
    points = [[70.0, 40.0, 2.0], [80.0, 40.0, 1.0], [90.0, 40.0, 0.0]]
    keypoints = datasets.List(datasets.List(datasets.Value("float32"), length=3))
    features = object_features(["a", "b", "c"], segmentation=RLE, keypoints=keypoints)
    objects = {"bbox": [[20, 10, 40, 20]], "category": [2], "segmentation": [code], "keypoints": [points]}
    tile = first_tile(contact_sheet(dataset([{"image": GREY, "objects": objects}], objects=features), size=400), 400)
    inside = tile[100 + 10 * 4 + 4 : 100 + 30 * 4 - 4, 20 * 4 + 4 : 60 * 4 - 4]
    assert abs(inside - np.round(100 * (1 - SHARE) + np.array(colour(2)) * SHARE)).max() <= 1
    assert (tile[100 + 160, 280] == colour(2)).all()  # seen: a disc
    assert (tile[100 + 160, 320] == 100).all() and (tile[100 + 160 - 4, 320] == 255).all()  # hidden: a ring
    assert (tile[250:270, 345:375] == 100).all()  # not marked


def test_small_images_are_enlarged_in_squares_and_large_ones_filtered():
    small = noise(1, (8, 8), "L")
    view = View(small, 100)  # enlarged 12 times, to 96
    pixels = np.asarray(view.canvas.convert("L"))[2:98, 2:98]
    assert (pixels == np.kron(np.asarray(small), np.ones((12, 12), np.uint8))).all()
    stripes = PIL.Image.fromarray(np.tile(np.array([[0, 255]], np.uint8), (400, 200)))
    reduced = np.asarray(View(stripes, 100).canvas.convert("L")).astype(int)
    assert abs(reduced[:, 2:-2] - 127.5).max() < 2  # not 0 or 255, which would remain if pixels were dropped
    wide = View(noise(2, (200, 50)), 100)
    assert wide.size == (100, 25) and wide.offset == (0, 37)
    assert View(noise(2, (3, 2000)), 100).size == (1, 100)


def test_every_mode_can_be_seen():
    deep = np.linspace(1000, 3000, 64).reshape(8, 8)
    grey = np.asarray(to_rgb(PIL.Image.fromarray(deep.astype(np.uint16))))[..., 0]
    assert (grey == np.round((np.floor(deep) - 1000) / 2000 * 255)).all()
    holes = deep.astype(np.float32)
    holes[0, 0], holes[7, 7] = np.nan, np.inf
    seen = np.asarray(to_rgb(PIL.Image.fromarray(holes)))[..., 0]
    assert seen[7, 6] == 255 and seen[0, 1] == 0 and seen[0, 0] == seen[7, 7] == 0
    rgba = noise(3, (4, 4), "RGBA")
    pixels = np.asarray(rgba).astype(float)
    white = pixels[..., :3] * pixels[..., 3:] / 255 + 255 - pixels[..., 3:]
    assert abs(np.asarray(to_rgb(rgba)) - white).max() <= 1
    palette = noise(4, (6, 6)).quantize(7)
    assert (np.asarray(to_rgb(palette)) == np.asarray(palette.convert("RGB"))).all()
    for mode in ("1", "L", "LA", "P", "PA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"):
        assert to_rgb(PIL.Image.new(mode, (3, 2))).mode == "RGB"


def test_a_sample_is_spread_over_classes():
    labels = np.repeat([0, 1, 2, 3], [500, 40, 3, 1])
    label = datasets.ClassLabel(num_classes=5)
    rows = dataset([{"image": noise(0, (2, 2)), "label": number} for number in labels.tolist()], label=label)
    chosen = sample(rows, Roles.of(rows), 24, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [10, 10, 3, 1] and len(set(chosen)) == 24
    assert chosen == sample(rows, Roles.of(rows), 24, seed=0) != sample(rows, Roles.of(rows), 24, seed=1)
    assert sorted(sample(rows, Roles.of(rows), 9999, seed=0)) == list(range(len(rows)))
    shuffled = rows.shuffle(seed=3).select(range(500))
    picked = np.array(shuffled["label"])[sample(shuffled, Roles.of(shuffled), 8, seed=0)]
    assert len(set(picked.tolist())) == len(set(shuffled["label"]))


def test_a_sample_has_rare_categories():
    categories = [[0, 0]] * 200 + [[0, 1, 0]] + [[]] * 50
    objects = [{"bbox": [[0, 0, 1, 1]] * len(each), "category": each} for each in categories]
    rows = dataset(
        [{"image": noise(0, (2, 2)), "objects": each} for each in objects], objects=object_features(["a", "b"])
    )
    chosen = sample(rows, Roles.of(rows), 7, seed=0)
    assert 200 in chosen and sum(row > 200 for row in chosen) == 3


def test_sheets_are_the_same_for_the_same_seed():
    rows = load_dataset("digits", split="test")  # with its transform, which is not used
    sheets = [np.asarray(contact_sheet(rows, rows=2, columns=5, seed=seed)) for seed in (0, 0, 1)]
    assert (sheets[0] == sheets[1]).all() and (sheets[0] != sheets[2]).any()
    plain = contact_sheet(load_dataset("digits", split="test", transform=None), rows=2, columns=5)
    assert (np.asarray(plain) == sheets[0]).all()
    assert plain.width == 2 * MARGIN + 5 * 114 + 4 * SPACE


def test_pairs_stand_side_by_side():
    left, right = PIL.Image.new("RGB", (50, 50), (200, 0, 0)), PIL.Image.new("L", (20, 20), 50)
    tile = np.asarray(contact_sheet(dataset([{"image": left, "target": right}], target=IMAGE), size=100))
    assert (tile[MARGIN + 50, MARGIN : MARGIN + 100] == (200, 0, 0)).all()
    assert (tile[MARGIN + 50, MARGIN + 104 : MARGIN + 204] == 50).all()


def test_captions_are_wrapped_and_what_is_too_long_is_cut():
    text = "The quick brown fox jumps over the lazy dog, кошка и Straße, " * 3
    lines = wrap(text, 150, 12, 50)
    assert " ".join(lines) == text.strip() and len(lines) > 5
    assert wrap(text, 150, 12, 3)[-1].endswith("…") and len(wrap(text, 150, 12, 3)) == 3
    assert "".join(wrap("x" * 1000, 100, 12, 99)) == "x" * 1000
    assert wrap("", 100, 12, 3) == [] and shorten("short", 100, 12) == "short"
    assert all(font(12).getlength(line) <= 150 for line in lines + wrap(text, 150, 12, 3))
    heights = {}
    for count in (1, 40):
        captions = datasets.List(datasets.Value("string"))
        rows = dataset([{"image": GREY, "captions": ["word " * count, "second"]}], captions=captions)
        heights[count] = contact_sheet(rows, size=100).height
    assert heights[40] > heights[1] > contact_sheet(dataset([{"image": GREY}]), size=100).height


def test_an_unreadable_image_is_a_tile_that_says_so():
    rows = dataset([{"image": {"bytes": b"no image", "path": "a.png"}}, {"image": None}, {"image": GREY}])
    sheet = contact_sheet(rows, columns=3, size=100)
    red = (np.asarray(sheet) == PALETTE[5]).all(-1)
    assert red[:, MARGIN : MARGIN + 100].any() and red[:, MARGIN + 100 + SPACE : MARGIN + 200 + SPACE].any()
    assert not red[:, MARGIN + 200 + 2 * SPACE :].any()


def everything():
    """A dataset of each kind."""
    deep = np.random.default_rng(0).integers(0, 65536, (9, 12), np.uint16)
    objects = {"bbox": [[0, 0, 3, 4], [1, 1, 0, 0]], "category": [0, 1]}
    text, number = datasets.Value("string"), datasets.Value("float32")
    classes = datasets.ClassLabel(names=["a", "ü"])
    none = {"bbox": [], "category": []}
    return {
        "label": dataset([{"image": noise(0), "label": 1}, {"image": noise(1), "label": -1}], label=classes),
        "text label": dataset([{"image": noise(0), "label": "x"}, {"image": noise(1), "label": None}], label=text),
        "several labels": dataset(
            [{"image": noise(0), "labels": [0, 1]}, {"image": noise(1), "labels": []}],
            labels=datasets.List(datasets.ClassLabel(num_classes=2)),
        ),
        "objects": dataset(
            [{"image": noise(0), "objects": objects}, {"image": noise(1), "objects": none}],
            objects=object_features(["a", "b"]),
        ),
        "named objects": dataset(
            [{"image": noise(0), "objects": {"bbox": [[0, 0, 2, 2]], "category": ["zebra"]}}],
            objects={"bbox": datasets.List(datasets.List(number)), "category": datasets.List(text)},
        ),
        "mask": dataset(
            [{"image": noise(0), "mask": noise(2, mode="L"), "instance_mask": noise(3, mode="L")}, {"image": noise(1)}],
            mask=IMAGE,
            instance_mask=IMAGE,
        ),
        "mask of colours": dataset([{"image": noise(0), "mask": noise(2)}], mask=IMAGE),
        "captions": dataset(
            [{"image": noise(0), "captions": ["one", "two"]}, {"image": noise(1), "captions": []}],
            captions=datasets.List(text),
        ),
        "caption": dataset([{"image": noise(0), "caption": "one"}, {"image": noise(1), "caption": None}], caption=text),
        "pairs": dataset([{"image": noise(0), "target": noise(1, (40, 20))}], target=IMAGE),
        "no label": dataset([{"image": noise(0)}]),
        "grey 16 bits": dataset([{"image": PIL.Image.fromarray(deep)}]),
        "palette": dataset([{"image": noise(0).quantize(5)}]),
        "alpha": dataset([{"image": noise(0, mode="RGBA")}, {"image": noise(1, mode="LA")}]),
        "lists": datasets.Dataset.from_list(
            [{"images": [encoded(noise(0)), encoded(noise(1))]}, {"images": []}],
            features=datasets.Features({"images": datasets.List(IMAGE)}),
        ),
        "no rows": dataset([{"image": noise(0), "label": 0}], label=datasets.ClassLabel(num_classes=2)).select([]),
    }


@pytest.mark.parametrize("kind", everything())
def test_every_kind_of_dataset(kind, tmp_path):
    rows = everything()[kind]
    sheet = contact_sheet(rows, rows=2)
    assert sheet.mode == "RGB"
    numbers = report({"train": rows})
    assert (
        numbers == json.loads(json.dumps(numbers))
        and numbers["rows"] == {"train": len(rows)}
        and not numbers["unreadable"]
    )
    assert (numbers["classes"] is not None) == ("label" in "".join(rows.features))
    assert (numbers["objects"] is not None) == ("objects" in rows.features)
    assert len(write_report(tmp_path / "look", numbers, sheet, {"train": rows}, kind)) == 3


def planted():
    """Train and test of natural pictures, all different, with duplicates at known rows."""
    train, test = [natural(seed) for seed in range(40)], [natural(seed, 64, 64) for seed in range(100, 120)]
    bright = np.asarray(train[3]).astype(int)
    # Rows 40, 41 and 42.
    train += [train[0], train[5].resize((86, 58)), PIL.Image.fromarray((bright + 3).clip(0, 255).astype(np.uint8))]
    test += [train[7], train[9].resize((106, 70)), test[2]]  # 20 21 22
    label = datasets.ClassLabel(num_classes=2)
    rows = {
        split: [{"image": image, "label": 0} for image in images]
        for split, images in (("train", train), ("test", test))
    }
    rows["train"][40]["label"] = 1  # row 0 has 0
    rows["test"].append({"image": encoded(train[11], "JPEG", quality=75), "label": 0})  # 23
    rows["test"].append({"image": encoded(train[0], "BMP"), "label": 0})  # 24: equal pixels in another format
    rows["test"].append({"image": {"bytes": b"broken", "path": "x.jpg"}, "label": 0})  # 25
    for number in range(2):  # a single tone, equal to nothing
        rows["test"].append({"image": PIL.Image.new("RGB", (9, 9), (number, 0, 0)), "label": 0})
    return {split: dataset(each, label=label) for split, each in rows.items()}


def test_planted_duplicates_are_found_and_nothing_else():
    numbers = report(planted())
    exact = [{"train": [0, 40], "test": [24]}, {"train": [7], "test": [20]}, {"test": [2, 22]}]
    near = [{"train": [3, 42]}, {"train": [5, 41]}, {"train": [9], "test": [21]}, {"train": [11], "test": [23]}]
    assert numbers["duplicates"] == {"exact": exact, "near": near, "distance": 6}
    assert numbers["overlaps"] == {"exact": exact[:2], "near": near[2:]}
    assert numbers["conflicts"] == exact[:1]
    assert numbers["unreadable"] == [
        {
            "split": "test",
            "row": 25,
            "error": "unreadable image test row 25 (x.jpg): not an image: its 6 bytes start with b'broken'",
        }
    ]


def test_the_numbers_do_not_depend_on_processes():
    splits = planted()
    assert report(splits) == report(splits, num_proc=2)


@pytest.mark.parametrize("contrast", [15, 40, 80])
def test_changed_pictures_are_near_and_others_far(contrast):
    def change(image):
        yield PIL.Image.open(io.BytesIO(encoded(image, "JPEG", quality=75)["bytes"]))
        yield image.resize((round(image.width * 0.9), round(image.height * 0.9)))
        yield image.resize((round(image.width * 1.1), round(image.height * 1.1)))
        yield PIL.Image.fromarray((np.asarray(image).astype(int) + 3).clip(0, 255).astype(np.uint8))

    groups = [[image, *change(image)] for image in (natural(seed, 128, 96, contrast) for seed in range(60))]
    prints = [perceptual_hash(image) for group in groups for image in group]
    hashes = np.array([bits for bits, _ in prints], np.uint64)
    label = near_groups(hashes, np.stack([np.frombuffer(grey, np.uint8) for _, grey in prints])).reshape(60, 5)
    assert len(set(label[:, 0].tolist())) == 60  # unrelated pictures are separate
    assert (label == label[:, :1]).mean() > 0.99


def test_groups_are_those_of_all_pairs():
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 2**64, 300, np.uint64)
    hashes = np.repeat(centres, 5)
    for _ in range(5):  # up to 10 bits apart
        hashes ^= np.uint64(1) << rng.integers(0, 64, len(hashes)).astype(np.uint64)
    alike = np.tile(rng.integers(0, 256, 256, np.uint8), (len(hashes), 1))
    for distance in (0, 3, 6):
        near = np.bitwise_count(hashes[:, None] ^ hashes) <= distance
        expected = np.arange(len(hashes))
        while True:  # the smallest index within reach
            reached = np.where(near, expected, len(hashes)).min(1)
            if (reached == expected).all():
                break
            expected = reached
        assert (near_groups(hashes, alike, distance) == expected).all()
    unlike = rng.integers(0, 256, (len(hashes), 256), np.uint8)
    assert (near_groups(hashes, unlike) == np.arange(len(hashes))).all()  # similar hashes alone are not enough


def test_duplicates_among_100_000():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 100_000, np.uint64)
    pictures = rng.integers(0, 256, (100_000, 256), np.uint8)
    copies = rng.permutation(50_000)[:1000]
    hashes[50_000:51_000] = hashes[copies] ^ np.uint64(1 << 63 | 1 << 50 | 1 << 40 | 1 << 21 | 1 << 9 | 1)
    pictures[50_000:51_000] = pictures[copies]
    label = near_groups(hashes, pictures)
    assert (label[50_000:51_000] == copies).all() and (label != np.arange(100_000)).sum() == 1000


def test_equal_indices_of_other_palettes_are_no_duplicates():
    red, green = (PIL.Image.new("P", (4, 4)) for _ in range(2))
    red.putpalette([255, 0, 0])
    green.putpalette([0, 255, 0])
    assert digest(red) != digest(green) and digest(red) == digest(red.copy())
    assert (
        digest(PIL.Image.new("L", (2, 8))) != digest(PIL.Image.new("L", (8, 2))) != digest(PIL.Image.new("P", (8, 2)))
    )


def test_counts_are_those_of_numpy():
    rng = np.random.default_rng(0)
    sizes, labels = rng.integers(1, 60, (70, 2)), rng.integers(0, 3, 70)
    images = [noise(seed, tuple(size), ("L", "RGB", "RGBA")[seed % 3]) for seed, size in enumerate(sizes.tolist())]
    categories = [rng.integers(0, 4, rng.integers(0, 5)).tolist() for _ in range(70)]
    rows = dataset(
        [
            {"image": image, "label": int(label), "objects": {"bbox": [[0, 0, 1, 1]] * len(each), "category": each}}
            for image, label, each in zip(images, labels, categories)
        ],
        label=datasets.ClassLabel(names=["a", "b", "c", "never"]),
        objects=object_features(["p", "q", "r", "s", "none"]),
    )
    parts = {"train": rows.select(range(50)), "test": rows.select(range(50, 70))}
    numbers = report(parts)
    counts = {split: np.bincount(part, minlength=4).tolist() for split, part in zip(parts, np.split(labels, [50]))}
    assert numbers["classes"] == {
        "column": "label",
        "names": ["a", "b", "c", "never"],
        "unlabelled": {"train": 0, "test": 0},
        "counts": counts,
    }
    in_train = np.concatenate(categories[:50]).astype(int)
    assert numbers["objects"]["boxes"]["train"] == np.bincount(in_train, minlength=5).tolist()
    assert numbers["objects"]["images_without"] == {
        "train": sum(not each for each in categories[:50]),
        "test": sum(not each for each in categories[50:]),
    }
    stored = [len(row["bytes"]) for row in rows.with_format("arrow")[:]["image"].to_pylist()]
    width, height = sizes.T
    for key, values in {"width": width, "height": height, "aspect": width / height, "bytes": np.array(stored)}.items():
        found = numbers[key]
        assert [found["min"], found["median"], found["max"]] == [values.min(), np.median(values), values.max()]
        counts, edges = np.histogram(values, len(found["counts"]))
        assert counts.tolist() == found["counts"] and edges.tolist() == found["edges"]
    assert numbers["total_bytes"] == sum(stored)
    assert numbers["modes"] == {
        mode: {"train": len(range(start, 50, 3)), "test": len([n for n in range(50, 70) if n % 3 == start])}
        for start, mode in enumerate(("L", "RGB", "RGBA"))
    }
    assert sum(sum(counts.values()) for counts in numbers["sizes"].values()) <= 70
    assert numbers["different_sizes"] == len(np.unique(sizes, axis=0))


class Page(HTMLParser):
    """The text of a page, and its references."""

    def __init__(self, text):
        super().__init__()
        self.text, self.references, self.open = "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if tag != "p":  # which browsers close
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        self.text += data + "\n"


def test_the_page_stands_alone_and_tells_the_numbers(tmp_path):
    splits = planted()
    numbers = report(splits)
    sheet = contact_sheet(splits, rows=3)
    paths = write_report(tmp_path / "look", numbers, sheet, splits, "<script>alert(1)</script>")
    assert [path.name for path in paths] == ["sheet.png", "report.html", "report.json"]
    content = paths[1].read_text()
    page = Page(content)
    assert not page.open and len(page.references) == 2
    assert all(each.startswith("data:image/png;base64,") for each in page.references)
    assert not re.search(r"<script|https?:|@import|url\(", content) and "<script>alert(1)</script>" in page.text
    for text in (
        "1 image cannot be read.",
        "Several splits (train, test) share equal images (2 groups)",
        "nearly equal images (2 groups)",
        "Equal images have different labels: 1 group.",
        "Equal images are in several rows: 4 rows more",
        "test has no rows of 1.",
        "not an image: its 6 bytes start with b'broken'",
    ):
        assert text in page.text, text
    assert json.loads(paths[2].read_text()) == numbers
    assert (np.asarray(PIL.Image.open(paths[0])) == np.asarray(sheet)).all()
    assert sorted(path.name for path in (tmp_path / "look").iterdir()) == ["report.html", "report.json", "sheet.png"]


def test_a_page_of_many_classes_shows_the_most_and_the_least_frequent(tmp_path):
    labels = [0] * 20 + list(range(60))
    label = datasets.ClassLabel(num_classes=61)
    rows = dataset([{"image": noise(seed, (2, 2)), "label": number} for seed, number in enumerate(labels)], label=label)
    write_report(tmp_path / "x.html", report({"train": rows}), contact_sheet(rows), {"train": rows}, "many")
    page = Page((tmp_path / "x.html").read_text())
    for text in (
        "The most frequent of 61",
        "all 61",
        "train is uneven: 21 rows of the largest class, 1 of the smallest",
        "train has no rows of 60.",
    ):
        assert text in page.text


def test_preview_of_a_folder(tmp_path, save_image):
    for split, count in (("train", 4), ("test", 2)):
        for name in ("cat", "dog"):
            for number in range(count):
                save_image(tmp_path / "data" / split / name / f"{number}.png")
    (tmp_path / "data" / "test" / "dog" / "0.png").write_bytes(
        (tmp_path / "data" / "train" / "cat" / "1.png").read_bytes()
    )
    data = str(tmp_path / "data")
    assert preview(data, tmp_path / "a" / "sheet.png", rows=1, columns=2) == [tmp_path / "a" / "sheet.png"]
    assert PIL.Image.open(tmp_path / "a" / "sheet.png").width == 2 * MARGIN + 2 * 114 + SPACE
    assert preview(data, tmp_path / "look.html") == [tmp_path / "look.html"]
    assert "Several splits (train, test) share equal images (1 group)" in (tmp_path / "look.html").read_text()
    files = preview(data, str(tmp_path / "out.d") + "/", num_proc=2)
    numbers = json.loads(files[2].read_text())
    assert numbers["classes"]["counts"] == {"train": [4, 4], "test": [2, 2]}
    assert numbers["overlaps"]["exact"] == [{"train": [1], "test": [2]}]
    preview(data, tmp_path / "one", split="test")
    assert json.loads((tmp_path / "one" / "report.json").read_text())["rows"] == {"test": 4}


@pytest.mark.parametrize("out", ["cat/1.png", "sheet.png", "preview", "", "cat"])
@pytest.mark.parametrize("way", ["folder", "layout", "script", "link"])
def test_nothing_is_written_into_the_data(tmp_path, save_image, monkeypatch, out, way):
    """A photo was replaced by the sheet, and a folder of previews became a class of its own."""
    for name in ("cat", "dog"):
        save_image(tmp_path / "data" / name / "1.png")
    path, data_dir = "data", None
    if way == "layout":
        path, data_dir = "image_folder", "data"
    elif way == "script":
        new_script(tmp_path / "pets", tmp_path / "data")
        path = "pets"
    elif way == "link":
        (tmp_path / "link").symlink_to("data")
        path = "link"
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.png")}
    monkeypatch.chdir(tmp_path)
    for write in (preview, export):
        with pytest.raises(DataError, match=r"^out='.*data.*' is in the data, .*: name a place outside of them$"):
            write(path, f"data/{out}", data_dir=data_dir)
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == before
    monkeypatch.chdir(tmp_path / "data")
    with pytest.raises(DataError, match=r"^out='preview' is in the data, \.,"):
        preview(".", "preview")
    assert preview(".", "../sheet.png") and preview(".", ".look")


def test_errors_are_one_line(tmp_path, save_image):
    save_image(tmp_path / "data" / "cat" / "1.png")
    data = str(tmp_path / "data")
    with pytest.raises(
        DataError, match=r"should end in \.png \(the contact sheet\) or \.html \(the report\), or be a folder"
    ):
        preview(data, tmp_path / "x.jpg")
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "x.png", tmp_path / "file"):
        with pytest.raises(DataError, match="file.* cannot be written: (File exists|Not a directory)"):
            preview(data, out)
    (tmp_path / "taken.png").mkdir()
    (tmp_path / "taken.png" / "sheet.png").mkdir()
    with pytest.raises(DataError, match=r"sheet\.png cannot be written"):
        preview(data, tmp_path / "taken.png")
    assert [path.name for path in (tmp_path / "taken.png").iterdir()] == ["sheet.png"]
    for name in ("transform", "streaming"):
        with pytest.raises(DataError, match=f"{name}=… has no place in a preview"):
            preview(data, tmp_path / "x.png", **{name: None})
    words = datasets.Dataset.from_dict({"text": ["a"], "number": [1]})
    for look in (contact_sheet, lambda rows: report({"train": rows})):
        with pytest.raises(DataError, match="no column of images, only text, number"):
            look(words)
        with pytest.raises(DataError, match="not IterableDataset: load without streaming"):
            look(words.to_iterable_dataset())
    (tmp_path / "words.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column of images, only a, b"):
        preview("csv", tmp_path / "x.png", data_files=str(tmp_path / "words.csv"))
    with pytest.raises(DataError, match="rows=0"):
        contact_sheet(everything()["label"], rows=0)
    for look in (contact_sheet, report):
        with pytest.raises(DataError, match="no split"):
            look({})
    with pytest.raises(DataError, match="the split test has different columns than the first one: image$"):
        report({"train": everything()["label"], "test": everything()["no label"]})
