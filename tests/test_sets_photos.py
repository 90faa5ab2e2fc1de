"""Named sets of photos: small files in the published form, packed and unpacked, against torchvision's readers."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import scipy.io
import torch
import torchvision
from torchvision.datasets.folder import default_loader

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.load.script import find_script

RNG = np.random.default_rng(23)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def pack(source, target, name=None, mode="w:gz"):
    """A tar of a folder, under its name or another."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, mode) as archive:
        archive.add(source, source.name if name is None else name)


def to_tensor(image):
    return torchvision.transforms.functional.to_tensor(image.convert("RGB"))


def assert_equal(ours, theirs, name_of=None, column="label"):
    """Our rows against (image, label) of another reader, in any order: the same pixels with the same name of the class."""
    expected = {to_tensor(image).numpy().tobytes(): label for image, label in theirs}
    assert len(ours) == len(theirs) == len(expected)
    for row in ours:
        label = expected[row["image"].numpy().tobytes()]
        assert ours.features[column].int2str(row[column]) == (name_of(label) if name_of else label)


def unchecked(reader, **changes):
    """A reader of torchvision without its comparison of digests: the content here is random."""
    return type(reader.__name__, (reader,), {"_check_integrity": lambda self: True} | changes)


def test_food101(tmp_path, save_image):
    base = tmp_path / "torch/food-101"
    classes = ["cheesecake", "cheese_plate", "apple_pie", "hot_dog"]  # of an order of their own, as published
    lists = {"train": {}, "test": {}}
    for number in RNG.permutation(24):
        name, split = classes[number % 4], "test" if number < 8 else "train"
        save_image(base / f"images/{name}/{1000 + number}.jpg", (30 + number % 5, 22))
        lists[split].setdefault(name, []).append(f"{name}/{1000 + number}")
    for split, names in lists.items():
        write(base / f"meta/{split}.json", json.dumps(names))
        write(base / f"meta/{split}.txt", "\n".join(image for images in names.values() for image in images) + "\n")
    write(base / "meta/classes.txt", "\n".join(classes) + "\n")
    write(base / "license_agreement.txt", "…")
    pack(base, tmp_path / "packed/food-101.tar.gz")
    for folder in (tmp_path / "packed", tmp_path / "packed/food-101.tar.gz", base, base.parent):
        sets = load_dataset("food101", data_dir=str(folder))
        assert list(sets) == ["train", "test"] and sets["train"].features["label"].names == classes
        for split, rows in sets.items():
            theirs = torchvision.datasets.Food101(tmp_path / "torch", split)
            assert_equal(rows, theirs, theirs.classes.__getitem__)
    write(base / "meta/test.txt", f"{lists['train']['apple_pie'][0]}\nhot_dog/9\n")
    with pytest.raises(DataError, match="meta/test.txt, row 2: there is no image hot_dog/9.jpg"):
        load_dataset("food101", data_dir=str(base))


def test_food101_of_a_class_that_is_not_listed(tmp_path, save_image):
    save_image(tmp_path / "images/pho/1.jpg")
    for split in ("train", "test"):
        write(tmp_path / f"meta/{split}.txt", "pho/1\n")
    write(tmp_path / "meta/classes.txt", "pizza\n")
    with pytest.raises(DataError, match="meta/train.txt: pho/1 belongs to no class in meta/classes.txt"):
        load_dataset("food101", data_dir=str(tmp_path))
    (tmp_path / "meta/classes.txt").unlink()
    with pytest.raises(DataError, match="meta/classes.txt cannot be read: .*No such file"):
        load_dataset("food101", data_dir=str(tmp_path))


def test_oxford_iiit_pet(tmp_path, save_image, assert_as_on_card):
    base = tmp_path / "torch/oxford-iiit-pet"
    breeds = """
    Abyssinian american_bulldog american_pit_bull_terrier basset_hound beagle Bengal Birman Bombay boxer British_Shorthair
    chihuahua Egyptian_Mau english_cocker_spaniel english_setter german_shorthaired great_pyrenees havanese japanese_chin
    keeshond leonberger Maine_Coon miniature_pinscher newfoundland Persian pomeranian pug Ragdoll Russian_Blue saint_bernard
    samoyed scottish_terrier shiba_inu Siamese Sphynx staffordshire_bull_terrier wheaten_terrier yorkshire_terrier""".split()
    lists = {"trainval": [], "test": []}
    for number in RNG.permutation(2 * len(breeds)):
        label = number % len(breeds)
        name = f"{breeds[label]}_{number + 1}"
        save_image(base / f"images/{name}.jpg", (24, 17 + number % 4))
        trimap = RNG.integers(1, 4, (17 + number % 4, 24)).astype(np.uint8)
        (base / "annotations/trimaps").mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(trimap).save(base / f"annotations/trimaps/{name}.png")
        species = 1 if name[0].isupper() else 2
        lists["test" if number < len(breeds) else "trainval"].append(f"{name} {label + 1} {species} {number % 3 + 1}\n")
    for name, lines in lists.items():
        write(base / f"annotations/{name}.txt", "".join(lines))
    write(base / "annotations/list.txt", "#Image CLASS-ID SPECIES BREED ID\n")
    write(base / "annotations/trimaps/._Abyssinian_1.png", "what macOS leaves")
    write(base / "images/Abyssinian_101.mat", "what MATLAB leaves")
    packed = tmp_path / "packed"
    for name in ("images", "annotations"):
        pack(base / name, packed / f"{name}.tar.gz")
    types = ["category", "binary-category", "segmentation"]
    for folder in (base, packed, base.parent):
        sets = load_dataset("oxford_iiit_pet", data_dir=str(folder))
        assert sets["train"].features["label"].names == breeds
        assert_as_on_card("oxford_iiit_pet", sets["train"])
        for split, name in (("train", "trainval"), ("test", "test")):
            theirs = torchvision.datasets.OxfordIIITPet(tmp_path / "torch", name, types)
            expected = {to_tensor(image).numpy().tobytes(): targets for image, targets in theirs}
            assert len(sets[split]) == len(expected)
            for row in sets[split]:
                label, species, mask = expected[row["image"].numpy().tobytes()]
                assert breeds[row["label"]].replace("_", " ").title() == theirs.classes[label]
                assert row["species"] == species and torch.equal(row["mask"], torch.from_numpy(np.array(mask)).long())
    write(base / "annotations/test.txt", "Abyssinian_1 2 1 1\n")
    with pytest.raises(DataError, match="test.txt, row 1: 'Abyssinian_1 2 1 1': class 2 is american_bulldog elsewhere"):
        load_dataset("oxford_iiit_pet", data_dir=str(base))


def test_dtd(tmp_path, save_image, assert_as_on_card):
    base = tmp_path / "torch/dtd/dtd"
    textures = """
    banded blotchy braided bubbly bumpy chequered cobwebbed cracked crosshatched crystalline dotted fibrous flecked freckled
    frilly gauzy grid grooved honeycombed interlaced knitted lacelike lined marbled matted meshed paisley perforated pitted
    pleated polka-dotted porous potholed scaly smeared spiralled sprinkled stained stratified striped studded swirly veined
    waffled woven wrinkled zigzagged""".split()
    names = [f"{name}/{name}_{number:04}.jpg" for name in textures for number in range(1, 7)]
    for name in names:
        save_image(base / "images" / name, (31, 20))
    for partition in range(1, 11):
        order = np.concatenate([RNG.permutation(names[start : start + 6]) for start in range(0, len(names), 6)])
        for place, split in enumerate(("train", "val", "test")):
            write(base / f"labels/{split}{partition}.txt", "\n".join(sorted(order[place::3])) + "\n")
    write(base / "labels/labels_joint_anno.txt", "".join(f"{name} banded lined \n" for name in names))
    write(base / "imdb/imdb.mat", "…")
    pack(base, tmp_path / "packed/dtd-r1.0.1.tar.gz")
    for folder, partition in (
        (base, None),
        (tmp_path / "packed", "1"),
        (tmp_path / "packed", "10"),
        (base.parent, "7"),
    ):
        sets = load_dataset("dtd", partition, data_dir=str(folder))
        assert_as_on_card("dtd", sets["train"], partition or "1")
        for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
            theirs = torchvision.datasets.DTD(tmp_path / "torch", name, int(partition or 1))
            assert_equal(sets[split], theirs, theirs.classes.__getitem__)


def test_fgvc_aircraft(tmp_path, save_image):
    base = tmp_path / "torch/fgvc-aircraft-2013b"
    levels = {
        "variant": ["707-320", "727-200", "F/A-18", "ATR-42", "An-12"],
        "family": ["Boeing 707", "Boeing 727", "F/A-18", "ATR-42"],
        "manufacturer": ["Boeing", "McDonnell Douglas", "ATR"],
    }
    names = {"variant": "variants", "family": "families", "manufacturer": "manufacturers"}
    order = [f"{number:07}" for number in RNG.integers(30_000, 2_000_000, 30)]
    for image in order:
        save_image(base / f"data/images/{image}.jpg", (40, 28))
    for level, classes in levels.items():
        write(base / f"data/{names[level]}.txt", "\n".join(classes) + "\n")
        for place, split in enumerate(("train", "val", "test")):
            lines = [f"{image} {classes[int(image) % len(classes)]}\n" for image in order[place::3]]
            write(base / f"data/images_{level}_{split}.txt", "".join(lines))
        write(base / f"data/images_{level}_trainval.txt", "1 nothing of this is read\n")
    write(base / "data/images_box.txt", f"{order[0]} 3 4 20 22\n")
    pack(base, tmp_path / "packed/fgvc-aircraft-2013b.tar.gz")
    packed = tmp_path / "packed"
    for folder, level in ((base, "variant"), (base / "data", "family"), (packed, "manufacturer"), (base.parent, None)):
        sets = load_dataset("fgvc_aircraft", level, data_dir=str(folder))
        for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
            theirs = torchvision.datasets.FGVCAircraft(tmp_path / "torch", name, level or "variant")
            assert_equal(sets[split], theirs, theirs.classes.__getitem__)
            assert sets[split].features["label"].names == theirs.classes
    write(base / "data/images_family_val.txt", f"{order[1]} Airbus A380\n")
    with pytest.raises(DataError, match="family_val.txt, row 1: 'Airbus A380' of image .* is not in data/families.txt"):
        load_dataset("fgvc_aircraft", "family", data_dir=str(base))


def test_caltech101(tmp_path, save_image):
    base = tmp_path / "torch/caltech101/101_ObjectCategories"
    for name, count in (("Faces_easy", 4), ("accordion", 3), ("BACKGROUND_Google", 5), ("yin_yang", 2)):
        for number in range(1, count + 1):
            save_image(base / name / f"image_{number:04}.jpg", (30, 20 + number))
    write(base / "BACKGROUND_Google/tmp", "…")
    annotations = base.parent / "Annotations"
    write(annotations / "accordion/annotation_0001.mat", "…")
    outer = tmp_path / "outer/caltech-101"
    pack(base, outer / "101_ObjectCategories.tar.gz")
    pack(annotations, outer / "Annotations.tar", mode="w")
    write(outer / "show_annotation.m", "…")
    shutil.make_archive(str(tmp_path / "packed/caltech-101"), "zip", outer.parent, "caltech-101")
    theirs = torchvision.datasets.Caltech101(tmp_path / "torch")
    cache = tmp_path / "cache"
    for folder in (tmp_path / "packed", tmp_path / "packed/caltech-101.zip", outer, base, base.parent):
        rows = load_dataset("caltech101", data_dir=str(folder), split="train", cache_dir=str(cache))
        assert rows.features["label"].names == ["Faces_easy", "accordion", "yin_yang"]
        assert_equal(rows, theirs, theirs.categories.__getitem__)


def test_caltech256(tmp_path, save_image):
    base = tmp_path / "torch/caltech256/256_ObjectCategories"
    for number, name in enumerate(("ak47", "american-flag", "t-shirt", "clutter"), 1):
        for image in range(1, 4 + number):
            save_image(base / f"{number:03}.{name}/{number:03}_{image:04}.jpg", (25, 16 + image))
    theirs = torchvision.datasets.Caltech256(tmp_path / "torch")
    pixels = list(theirs)
    save_image(base / "002.american-flag/greg/vision309/002_0001.jpg")
    write(base / "003.t-shirt/RENAME2", "…")
    pack(base, tmp_path / "packed/256_ObjectCategories.tar", mode="w")
    for folder in (base, base.parent, tmp_path / "packed"):
        rows = load_dataset("caltech256", data_dir=str(folder), split="train")
        assert rows.features["label"].names == ["ak47", "american-flag", "t-shirt", "clutter"]
        assert_equal(rows, pixels, lambda label: theirs.categories[label].partition(".")[2])


def write_celeba(base, save_image, count=30):
    names = [f"{number:06}.jpg" for number in range(1, count + 1)]
    for name in names:
        save_image(base / "img_align_celeba" / name, (20, 24))
    attributes = """
    5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair Blurry
    Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male
    Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns
    Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie
    Young""".split()
    values = RNG.choice([-1, 1], (count, len(attributes)))
    lines = [f"{name} " + " ".join(f"{value:2d}" for value in row) for name, row in zip(names, values)]
    write(base / "list_attr_celeba.txt", f"{count}\n{' '.join(attributes)} \n" + "\n".join(lines) + "\n")
    parts = RNG.permutation(count) % 3
    write(base / "list_eval_partition.txt", "".join(f"{name} {part}\n" for name, part in zip(names, parts)))
    write(base / "identity_CelebA.txt", "".join(f"{name} {RNG.integers(1, 10178)}\n" for name in names))
    points = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    lines = [f"{name} " + " ".join(f"{value:4d}" for value in RNG.integers(0, 200, 10)) for name in names]
    write(base / "list_landmarks_align_celeba.txt", f"{count}\n{points}\n" + "\n".join(lines) + "\n")
    boxes = "".join(f"{name}    95  71 226 313\n" for name in names)
    write(base / "list_bbox_celeba.txt", f"{count}\nimage_id x_1 y_1 width height\n{boxes}")
    return attributes


def test_celeba(tmp_path, save_image, assert_as_on_card):
    base = tmp_path / "torch/celeba"
    attributes = write_celeba(base, save_image)
    packed = tmp_path / "packed"
    for path in base.glob("*.txt"):  # as in the folders of Google Drive
        folder = packed / ("Eval" if "partition" in path.name else "Anno")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    shutil.make_archive(str(packed / "Img/img_align_celeba"), "zip", base, "img_align_celeba")
    types = ["attr", "identity", "landmarks"]
    reader = unchecked(torchvision.datasets.CelebA)
    for folder in (base, packed, base.parent):
        sets = load_dataset("celeba", data_dir=str(folder))
        assert list(sets["train"].features) == ["image", *attributes, "identity", "landmarks"]
        assert_as_on_card("celeba", sets["train"])
        for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
            expected = reader(tmp_path / "torch", name, types)
            assert len(sets[split]) == len(expected)
            for row, (image, (attr, identity, landmarks)) in zip(sets[split], expected):
                assert torch.equal(row["image"], to_tensor(image)) and row["identity"] == identity
                assert [row[column] for column in attributes] == attr.tolist()
                assert np.array_equal(np.array(row["landmarks"]).ravel(), landmarks)
    assert sets["test"].features["Bald"].int2str(1) == "yes"


def test_celeba_without_some_lists_and_with_damaged_ones(tmp_path, save_image):
    write_celeba(tmp_path, save_image, 6)
    for name in ("identity_CelebA.txt", "list_landmarks_align_celeba.txt"):
        (tmp_path / name).unlink()
    rows = load_dataset("celeba", data_dir=str(tmp_path), split="test")
    assert list(rows.features)[-1] == "Young"
    path = tmp_path / "list_attr_celeba.txt"
    lines = path.read_text().splitlines()
    shuffled = [*lines[:2], *lines[:1:-1]]
    path.write_text("\n".join(shuffled))
    again = load_dataset("celeba", data_dir=str(tmp_path), split="test")
    assert [row["Smiling"] for row in again] == [row["Smiling"] for row in rows]
    for damaged, message in [
        (lines[:-1], "lists 5 images, but its first line says 6"),
        (
            [*lines[:3], "000002.jpg 1 1", *lines[4:]],
            "line 4: '000002.jpg 1 1' is not the name of an image and numbers",
        ),
        ([*lines[:3], lines[3].replace("-1", " 0").replace(" 1", " 0"), *lines[4:]], "attributes are -1 or 1"),
        ([*lines[:3], lines[3].replace("000002", "000009"), *lines[4:]], "has no line for image 000002.jpg"),
    ]:
        path.write_text("\n".join(damaged))
        with pytest.raises(DataError, match=message):
            load_dataset("celeba", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    "name, file", [("celeba", "img_align_celeba.zip"), ("imagenet_1k", "ILSVRC2012_img_train.tar")]
)
def test_what_has_to_be_fetched_by_hand(tmp_path, name, file):
    with pytest.raises(DataError, match=f"{file} has to be fetched by hand.*data_dir="):
        load_dataset(name, cache_dir=str(tmp_path))


def test_tiny_imagenet(tmp_path, save_image):
    base = tmp_path / "tiny-imagenet-200"
    words = {"n02124075": "Egyptian cat", "n01443537": "goldfish, Carassius auratus"}
    words |= {"n03126707": "crane", "n02012849": "crane"}
    expected = {split: {} for split in ("train", "validation", "test")}
    for wnid in words:
        for number in range(3):
            path = base / f"train/{wnid}/images/{wnid}_{number}.JPEG"
            save_image(path, (64, 64))
            expected["train"][path] = wnid
        write(base / f"train/{wnid}/{wnid}_boxes.txt", f"{wnid}_0.JPEG\t0\t0\t62\t63\n")
    lines = []
    for number, wnid in enumerate(RNG.choice(list(words), 12)):
        path = base / f"val/images/val_{number}.JPEG"
        save_image(path, (64, 64))
        expected["validation"][path] = wnid
        lines.append(f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n")
        save_image(base / f"test/images/test_{number}.JPEG", (64, 64))
        expected["test"][base / f"test/images/test_{number}.JPEG"] = None
    write(base / "val/val_annotations.txt", "".join(lines))
    write(base / "wnids.txt", "\n".join(words) + "\n")
    write(base / "words.txt", "".join(f"{wnid}\t{name}\n" for wnid, name in words.items()) + "n00001740\tentity\n")
    shutil.make_archive(str(tmp_path / "packed/tiny-imagenet-200"), "zip", tmp_path, "tiny-imagenet-200")
    names = ["goldfish, Carassius auratus", "crane (n02012849)", "Egyptian cat", "crane (n03126707)"]
    order = torchvision.datasets.ImageFolder(base / "train").classes
    for folder in (base, tmp_path / "packed", tmp_path / "packed/tiny-imagenet-200.zip"):
        sets = load_dataset("tiny_imagenet", data_dir=str(folder))
        assert sets["train"].features["label"].names == names
        for split, labels in expected.items():
            by_pixels = {to_tensor(default_loader(path)).numpy().tobytes(): wnid for path, wnid in labels.items()}
            assert len(sets[split]) == len(by_pixels)
            for row in sets[split]:
                wnid = by_pixels[row["image"].numpy().tobytes()]
                assert row["label"] == (None if wnid is None else order.index(wnid))


WORDS = {"n01440764": "tench, Tinca tinca", "n02012849": "crane", "n03126707": "crane", "n03888257": "parachute, chute"}
NAMES = ["tench, Tinca tinca", "crane (n02012849)", "crane (n03126707)", "parachute, chute"]


def jpeg():
    content = io.BytesIO()
    PIL.Image.fromarray(RNG.integers(0, 256, (18, 23, 3), np.uint8)).save(content, "JPEG")
    return content.getvalue()


def write_imagenet(root):
    """The three archives, as published: training images in a tar of tars, validation images without classes."""
    with tarfile.open(root / "ILSVRC2012_img_train.tar", "w") as outer:
        for wnid in WORDS:
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w") as inner:
                for number in RNG.permutation(5000)[:5]:
                    add(inner, f"{wnid}_{number}.JPEG", jpeg())
            add(outer, f"{wnid}.tar", content.getvalue())
    ids = RNG.permutation(4) + 1  # numbers of the development kit are in no order of the WordNet ids
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in range(1, 13):
            add(archive, f"ILSVRC2012_val_{number:08}.JPEG", jpeg())
    truth = RNG.permutation(np.tile(ids, 3))
    kinds = [
        (name, object)
        for name in (
            "ILSVRC2012_ID",
            "WNID",
            "words",
            "gloss",
            "num_children",
            "children",
            "wordnet_height",
            "num_train_images",
        )
    ]
    rows = [
        (number, wnid, WORDS[wnid], "what it is", 0, np.zeros(0), 0, 5) for number, wnid in zip(ids.tolist(), WORDS)
    ]
    rows.insert(2, (5, "n00001740", "entity", "all", 4, np.array([1, 2, 3, 4]), 3, 0))
    synsets = np.array(rows, kinds)[:, None]
    folder = root / "kit/ILSVRC2012_devkit_t12"
    write(folder / "data/ILSVRC2012_validation_ground_truth.txt", "".join(f"{number}\n" for number in truth))
    scipy.io.savemat(folder / "data/meta.mat", {"synsets": synsets})
    write(folder / "readme.txt", "…")
    pack(folder, root / "ILSVRC2012_devkit_t12.tar.gz")
    shutil.rmtree(folder.parent)


def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def torchvision_imagenet(root, monkeypatch):
    """torchvision's reader, which unpacks the archives into `root`."""
    module = torchvision.datasets.imagenet
    monkeypatch.setattr(module, "ARCHIVE_META", {key: (name, None) for key, (name, _) in module.ARCHIVE_META.items()})
    return {split: torchvision.datasets.ImageNet(root, split) for split in ("train", "val")}


def test_imagenet(tmp_path, monkeypatch):
    packed, unpacked = tmp_path / "packed", tmp_path / "unpacked"
    packed.mkdir()
    write_imagenet(packed)
    shutil.copytree(packed, unpacked)
    theirs = torchvision_imagenet(unpacked, monkeypatch)
    assert len(theirs["train"]) == 20 and len(theirs["val"]) == 12
    for folder in (packed, unpacked):
        sets = load_dataset("imagenet_1k", data_dir=str(folder))
        assert list(sets) == ["train", "validation"] and sets["train"].features["label"].names == NAMES
        for split, name in (("train", "train"), ("validation", "val")):
            assert_equal(sets[split], theirs[name], NAMES.__getitem__)
    for archive in (*unpacked.glob("ILSVRC*"), unpacked / "meta.bin"):
        archive.unlink()
    plain = load_dataset("imagenet_1k", data_dir=str(unpacked))
    assert plain["train"].features["label"].names == sorted(WORDS)
    assert_equal(plain["validation"], theirs["val"], sorted(WORDS).__getitem__)
    rows = load_dataset("imagenet_1k", data_dir=str(packed / "ILSVRC2012_img_train.tar"), split="train", num_proc=2)
    assert_equal(rows, theirs["train"], sorted(WORDS).__getitem__)
    stream = load_dataset("imagenet_1k", data_dir=str(packed), split="train", streaming=True)
    pixels = {to_tensor(image).numpy().tobytes() for image, _ in theirs["train"]}
    assert {row["image"].numpy().tobytes() for row in stream} == pixels


def test_imagenet_as_on_kaggle(tmp_path, monkeypatch):
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    write_imagenet(unpacked)
    theirs = torchvision_imagenet(unpacked, monkeypatch)
    data = tmp_path / "kaggle/ILSVRC/Data/CLS-LOC"
    shutil.copytree(unpacked / "train", data / "train")
    (data / "val").mkdir()
    lines = []
    for path, label in theirs["val"].samples:
        shutil.copy(path, data / "val")
        lines.append(
            f"{Path(path).stem},{theirs['val'].wnids[label]} 85 1 499 272 {theirs['val'].wnids[label]} 3 4 5 6 \n"
        )
    (data / "test").mkdir()
    for number in range(1, 4):
        (data / f"test/ILSVRC2012_test_{number:08}.JPEG").write_bytes(jpeg())
    write(tmp_path / "kaggle/LOC_val_solution.csv", "ImageId,PredictionString\n" + "".join(RNG.permutation(lines)))
    write(tmp_path / "kaggle/LOC_synset_mapping.txt", "".join(f"{wnid} {name}\n" for wnid, name in WORDS.items()))
    write(tmp_path / "kaggle/ILSVRC/ImageSets/CLS-LOC/test.txt", "ILSVRC2012_test_00000001 1\n")
    sets = load_dataset("imagenet_1k", data_dir=str(tmp_path / "kaggle"))
    assert_equal(sets["train"], theirs["train"], NAMES.__getitem__)
    assert_equal(sets["validation"], theirs["val"], NAMES.__getitem__)
    assert [row["label"] for row in sets["test"]] == [None, None, None]


def test_imagenet_that_cannot_be_right(tmp_path):
    write_imagenet(tmp_path)
    devkit = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
    devkit.rename(tmp_path / "kit")
    with pytest.raises(DataError, match="val_00000001.JPEG is in no class folder: put ILSVRC2012_devkit_t12.tar.gz"):
        load_dataset("imagenet_1k", data_dir=str(tmp_path))
    (tmp_path / "kit").rename(devkit)
    train = tmp_path / "ILSVRC2012_img_train.tar"
    with tarfile.open(train) as outer:
        outer.extract("n02012849.tar", tmp_path, filter="data")
    inner = (tmp_path / "n02012849.tar").read_bytes()
    (tmp_path / "n02012849.tar").unlink()
    whole = train.read_bytes()
    place = whole.index(inner)
    train.write_bytes(whole[:place] + b"\xff" * 512 + whole[place + 512 :])
    with pytest.raises(DataError, match="ILSVRC2012_img_train.tar.n02012849.tar cannot be read: "):
        load_dataset("imagenet_1k", data_dir=str(tmp_path))
    with tarfile.open(train, "w") as outer:  # the last image of the inner tar runs on into the next one
        add(outer, "n02012849.tar", inner[: 512 + 100].ljust(1024, b"\0"))
        add(outer, "n03126707.tar", inner)
    with pytest.raises(DataError, match="ILSVRC2012_img_train.tar.n02012849.tar cannot be read: "):
        load_dataset("imagenet_1k", data_dir=str(tmp_path))
    with tarfile.open(train, "w") as outer, io.BytesIO() as content:
        with tarfile.open(fileobj=content, mode="w") as inner:
            add(inner, "n09999999_1.JPEG", jpeg())
        add(outer, "n09999999.tar", content.getvalue())
    with pytest.raises(DataError, match="n09999999 is not a class of the development kit"):
        load_dataset("imagenet_1k", data_dir=str(tmp_path))
    folder = tmp_path / "beside"
    (folder / "train/n02012849").mkdir(parents=True)
    (folder / "train/n02012849/n02012849_1.JPEG").write_bytes(jpeg())
    shutil.copy(tmp_path / "ILSVRC2012_img_val.tar", folder)
    with pytest.raises(DataError, match="ILSVRC2012_img_val.tar is not read beside unpacked images"):
        load_dataset("imagenet_1k", data_dir=str(folder))
    (folder / "ILSVRC2012_img_val.tar").unlink()
    shutil.copytree(folder / "train", folder / "copy")
    with pytest.raises(DataError, match="n02012849_1.JPEG are the same image: remove one"):
        load_dataset("imagenet_1k", data_dir=str(folder))


ROWS = {  # of all splits, as the papers state them
    "food101": 101_000,
    "oxford_iiit_pet": 7_349,
    "dtd": 5_640,
    "caltech256": 30_607,
    "fgvc_aircraft": 10_000,
    "celeba": 202_599,
    "tiny_imagenet": 120_000,
    "imagenet_1k": 1_331_167,
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_add_up_to_what_the_papers_say(name):
    assert sum(find_script(name).builder_class().ROWS.values()) == ROWS[name]
