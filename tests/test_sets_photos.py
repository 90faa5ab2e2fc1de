"""Named sets of photos: small files in the published form, packed and unpacked, against torchvision's readers."""

import io
import json
import shutil
import tarfile
from pathlib import Path
from unittest import mock

import numpy as np
import PIL.Image
import pytest
import scipy.io
import torchvision
from published_set import PublishedSetCase, named, pack, pixels, unchecked, write_file, write_image
from torchvision.datasets.folder import default_loader
from torchvision.transforms.functional import to_tensor

from dataset_scripts.core.load.script import find_script

BREEDS = """
Abyssinian american_bulldog american_pit_bull_terrier basset_hound beagle Bengal Birman Bombay boxer British_Shorthair
chihuahua Egyptian_Mau english_cocker_spaniel english_setter german_shorthaired great_pyrenees havanese japanese_chin
keeshond leonberger Maine_Coon miniature_pinscher newfoundland Persian pomeranian pug Ragdoll Russian_Blue saint_bernard
samoyed scottish_terrier shiba_inu Siamese Sphynx staffordshire_bull_terrier wheaten_terrier yorkshire_terrier""".split()
TEXTURES = """
banded blotchy braided bubbly bumpy chequered cobwebbed cracked crosshatched crystalline dotted fibrous flecked freckled
frilly gauzy grid grooved honeycombed interlaced knitted lacelike lined marbled matted meshed paisley perforated pitted
pleated polka-dotted porous potholed scaly smeared spiralled sprinkled stained stratified striped studded swirly veined
waffled woven wrinkled zigzagged""".split()
ATTRIBUTES = """
5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair Blurry
Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male
Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns
Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie
Young""".split()
THREE = {"train": "train", "validation": "val", "test": "test"}


class TestFood101(PublishedSetCase):
    """Classes are of an order of their own, as published."""

    name = "food101"
    forms = ("published", "published/food-101.tar.gz", "unpacked/food-101", "unpacked")
    parts, loose = {"train": ["meta/train.txt"], "test": ["meta/test.txt"]}, "unpacked"
    ordered = False
    names = ["cheesecake", "cheese_plate", "apple_pie", "hot_dog"]

    def write(self, folder, rng):
        base, lists = folder / "unpacked/food-101", {"train": {}, "test": {}}
        for number in rng.permutation(24):
            name, split = self.names[number % 4], "test" if number < 8 else "train"
            write_image(base / f"images/{name}/{1000 + number}.jpg", rng, 30 + number % 5, 22)
            lists[split].setdefault(name, []).append(f"{name}/{1000 + number}")
        for split, names in lists.items():
            write_file(base / f"meta/{split}.json", json.dumps(names))
            write_file(base / f"meta/{split}.txt", "".join(f"{image}\n" for part in names.values() for image in part))
        write_file(base / "meta/classes.txt", "\n".join(self.names) + "\n")
        write_file(base / "license_agreement.txt", "…")
        pack(folder / "published/food-101.tar.gz", base.parent, base.name)

    def expected(self, folder, part):
        theirs = torchvision.datasets.Food101(folder / "unpacked", part)
        return named(theirs, theirs.classes)

    def classes(self, folder):
        return self.names

    def test_an_image_that_is_not_there(self, folder):
        first = (folder / "unpacked/food-101/meta/train.txt").read_text().split()[0]
        write_file(folder / "unpacked/food-101/meta/test.txt", f"{first}\nhot_dog/9\n")
        self.assert_refused(folder / "unpacked/food-101", "meta/test.txt, row 2: there is no image hot_dog/9.jpg")

    def test_a_class_that_is_not_listed(self, tmp_path, rng):
        write_image(tmp_path / "images/pho/1.jpg", rng)
        for split in ("train", "test"):
            write_file(tmp_path / f"meta/{split}.txt", "pho/1\n")
        write_file(tmp_path / "meta/classes.txt", "pizza\n")
        self.assert_refused(tmp_path, "meta/train.txt: pho/1 belongs to no class in meta/classes.txt")
        (tmp_path / "meta/classes.txt").unlink()
        self.assert_refused(tmp_path, "meta/classes.txt cannot be read: .*No such file")


class TestOxfordIiitPet(PublishedSetCase):
    name = "oxford_iiit_pet"
    splits = {"train": "trainval", "test": "test"}
    forms = ("published", "unpacked/oxford-iiit-pet", "unpacked")
    parts, loose = {"train": ["annotations/trainval.txt"], "test": ["annotations/test.txt"]}, "unpacked"
    ordered = False

    def write(self, folder, rng):
        base, lists = folder / "unpacked/oxford-iiit-pet", {"trainval": [], "test": []}
        (base / "annotations/trimaps").mkdir(parents=True)
        for number in rng.permutation(2 * len(BREEDS)):
            label = number % len(BREEDS)
            name, height = f"{BREEDS[label]}_{number + 1}", 17 + number % 4
            write_image(base / f"images/{name}.jpg", rng, 24, height)
            trimap = rng.integers(1, 4, (height, 24)).astype(np.uint8)
            PIL.Image.fromarray(trimap).save(base / f"annotations/trimaps/{name}.png")
            species = 1 if name[0].isupper() else 2
            line = f"{name} {label + 1} {species} {number % 3 + 1}\n"
            lists["test" if number < len(BREEDS) else "trainval"].append(line)
        for name, lines in lists.items():
            write_file(base / f"annotations/{name}.txt", "".join(lines))
        write_file(base / "annotations/list.txt", "#Image CLASS-ID SPECIES BREED ID\n")
        write_file(base / "annotations/trimaps/._Abyssinian_1.png", "what macOS leaves")
        write_file(base / "images/Abyssinian_101.mat", "what MATLAB leaves")
        for name in ("images", "annotations"):
            pack(folder / f"published/{name}.tar.gz", base, name)

    def expected(self, folder, part):
        types = ["category", "binary-category", "segmentation"]
        theirs = torchvision.datasets.OxfordIIITPet(folder / "unpacked", part, types)
        breeds = {breed.replace("_", " ").title(): breed for breed in BREEDS}
        return [
            {"image": image, "label": breeds[theirs.classes[label]], "species": species, "mask": np.array(mask)}
            for image, (label, species, mask) in theirs
        ]

    def classes(self, folder):
        return BREEDS

    def test_a_class_with_two_breeds(self, folder):
        write_file(folder / "unpacked/oxford-iiit-pet/annotations/test.txt", "Abyssinian_1 2 1 1\n")
        message = "test.txt, row 1: 'Abyssinian_1 2 1 1': class 2 is american_bulldog elsewhere"
        self.assert_refused(folder / "unpacked/oxford-iiit-pet", message)


class TestDtd(PublishedSetCase):
    name = "dtd"
    configs = ("1", "7", "10")
    splits = THREE
    forms = ("published", "unpacked/dtd/dtd", "unpacked/dtd")
    parts, loose = {split: [f"labels/{name}*.txt"] for split, name in THREE.items()}, "unpacked/dtd"
    ordered = False

    def write(self, folder, rng):
        base = folder / "unpacked/dtd/dtd"
        names = [f"{name}/{name}_{number:04}.jpg" for name in TEXTURES for number in range(1, 4)]
        for name in names:
            write_image(base / "images" / name, rng, 31, 20)
        for partition in range(1, 11):
            order = np.concatenate([rng.permutation(names[start : start + 3]) for start in range(0, len(names), 3)])
            for place, split in enumerate(THREE.values()):
                write_file(base / f"labels/{split}{partition}.txt", "\n".join(sorted(order[place::3])) + "\n")
        write_file(base / "labels/labels_joint_anno.txt", "".join(f"{name} banded lined \n" for name in names))
        write_file(base / "imdb/imdb.mat", "…")
        pack(folder / "published/dtd-r1.0.1.tar.gz", base.parent, "dtd")

    def expected(self, folder, part):
        theirs = torchvision.datasets.DTD(folder / "unpacked", part, int(self.config))
        return named(theirs, theirs.classes)

    def test_the_default_is_the_first_partition(self, folder):
        self.config = None
        train = self.load(folder / "published", split="train")
        self.config = "1"
        self.assert_rows(train, self.expected(folder, "train"))


class TestFgvcAircraft(PublishedSetCase):
    name = "fgvc_aircraft"
    configs = ("variant", "family", "manufacturer")
    splits = THREE
    forms = ("published", "unpacked/fgvc-aircraft-2013b", "unpacked/fgvc-aircraft-2013b/data", "unpacked")
    parts, loose = {split: [f"images_*_{name}.txt"] for split, name in THREE.items()}, "unpacked"
    ordered = False
    levels = {
        "variant": ("variants", ["707-320", "727-200", "F/A-18", "ATR-42", "An-12"]),
        "family": ("families", ["Boeing 707", "Boeing 727", "F/A-18", "ATR-42"]),
        "manufacturer": ("manufacturers", ["Boeing", "McDonnell Douglas", "ATR"]),
    }

    def write(self, folder, rng):
        base = folder / "unpacked/fgvc-aircraft-2013b"
        order = [f"{number:07}" for number in rng.integers(30_000, 2_000_000, 30)]
        for image in order:
            write_image(base / f"data/images/{image}.jpg", rng, 40, 28)
        for level, (file, classes) in self.levels.items():
            write_file(base / f"data/{file}.txt", "\n".join(classes) + "\n")
            for place, split in enumerate(THREE.values()):
                lines = [f"{image} {classes[int(image) % len(classes)]}\n" for image in order[place::3]]
                write_file(base / f"data/images_{level}_{split}.txt", "".join(lines))
            write_file(base / f"data/images_{level}_trainval.txt", "1 nothing of this is read\n")
        write_file(base / "data/images_box.txt", f"{order[0]} 3 4 20 22\n")
        pack(folder / "published/fgvc-aircraft-2013b.tar.gz", base.parent, base.name)

    def expected(self, folder, part):
        theirs = torchvision.datasets.FGVCAircraft(folder / "unpacked", part, self.config)
        assert theirs.classes == self.classes(folder)
        return named(theirs, theirs.classes)

    def classes(self, folder):
        return self.levels[self.config][1]

    def test_the_default_is_variant(self, folder):
        self.config = None
        assert self.load(folder / "unpacked")["train"].features["label"].names == self.levels["variant"][1]

    def test_a_class_that_is_not_listed(self, folder):
        self.config, data = "family", folder / "unpacked/fgvc-aircraft-2013b/data"
        image = (data / "images_family_val.txt").read_text().split()[0]
        write_file(data / "images_family_val.txt", f"{image} Airbus A380\n")
        message = "family_val.txt, row 1: 'Airbus A380' of image .* is not in data/families.txt"
        self.assert_refused(data.parent, message)


class TestCaltech101(PublishedSetCase):
    """A folder that is no class, and an archive in the archive."""

    name = "caltech101"
    splits = {"train": "train"}
    forms = (
        "published",
        "published/caltech-101.zip",
        "outer/caltech-101",
        "caltech101/101_ObjectCategories",
        "caltech101",
    )
    ordered = False

    def write(self, folder, rng):
        base, outer = folder / "caltech101/101_ObjectCategories", folder / "outer/caltech-101"
        for name, count in (("Faces_easy", 4), ("accordion", 3), ("BACKGROUND_Google", 5), ("yin_yang", 2)):
            for number in range(1, count + 1):
                write_image(base / name / f"image_{number:04}.jpg", rng, 30, 20 + number)
        write_file(base / "BACKGROUND_Google/tmp", "…")
        write_file(base.parent / "Annotations/accordion/annotation_0001.mat", "…")
        pack(outer / "101_ObjectCategories.tar.gz", base.parent, base.name)
        pack(outer / "Annotations.tar", base.parent, "Annotations")
        write_file(outer / "show_annotation.m", "…")
        pack(folder / "published/caltech-101.zip", outer.parent, outer.name)

    def expected(self, folder, part):
        theirs = torchvision.datasets.Caltech101(folder)
        return named(theirs, theirs.categories)

    def classes(self, folder):
        return ["Faces_easy", "accordion", "yin_yang"]


class TestCaltech256(PublishedSetCase):
    """Between the images lie files that are none of the set."""

    name = "caltech256"
    splits = {"train": "train"}
    forms = ("published", "caltech256/256_ObjectCategories", "caltech256")
    ordered = False

    def write(self, folder, rng):
        base = folder / "caltech256/256_ObjectCategories"
        for number, name in enumerate(self.classes(folder), 1):
            for image in range(1, 4 + number):
                write_image(base / f"{number:03}.{name}/{number:03}_{image:04}.jpg", rng, 25, 16 + image)
        write_image(base / "002.american-flag/greg/vision309/002_0001.jpg", rng)
        write_file(base / "003.t-shirt/RENAME2", "…")
        pack(folder / "published/256_ObjectCategories.tar", base.parent, base.name)

    def expected(self, folder, part):
        theirs = torchvision.datasets.Caltech256(folder)
        return named(theirs, [name.partition(".")[2] for name in theirs.categories])

    def classes(self, folder):
        return ["ak47", "american-flag", "t-shirt", "clutter"]


class TestCeleba(PublishedSetCase):
    name = "celeba"
    splits = {"train": "train", "validation": "valid", "test": "test"}
    inseparable = "one list, list_eval_partition.txt, is for all splits, and the images are in one archive"
    forms = ("published", "unpacked/celeba", "unpacked")
    by_hand = "the folders of Google Drive cannot be fetched without a browser"

    def write(self, folder, rng):
        base, published = folder / "unpacked/celeba", folder / "published"
        self.write_lists(base, rng, 30)
        for path in base.glob("*.txt"):  # as in the folders of Google Drive
            write_file(published / ("Eval" if "partition" in path.name else "Anno") / path.name, path.read_text())
        pack(published / "Img/img_align_celeba.zip", base, "img_align_celeba")

    def write_lists(self, base, rng, count):
        names = [f"{number:06}.jpg" for number in range(1, count + 1)]
        for name in names:
            write_image(base / "img_align_celeba" / name, rng, 20, 24)

        def listed(file, values, width, *head):
            lines = [f"{name} " + " ".join(f"{value:{width}d}" for value in row) for name, row in zip(names, values)]
            write_file(base / file, "\n".join([*head, *lines]) + "\n")

        attributes = rng.choice([-1, 1], (count, len(ATTRIBUTES)))
        listed("list_attr_celeba.txt", attributes, 2, str(count), f"{' '.join(ATTRIBUTES)} ")
        listed("list_eval_partition.txt", rng.permutation(count)[:, None] % 3, 0)
        listed("identity_CelebA.txt", rng.integers(1, 10178, (count, 1)), 0)
        points = [f"{place}_{axis}" for place in "lefteye righteye nose leftmouth rightmouth".split() for axis in "xy"]
        places = rng.integers(0, 200, (count, 10))
        listed("list_landmarks_align_celeba.txt", places, 4, str(count), " ".join(points))
        boxes = [(95, 71, 226, 313)] * count
        listed("list_bbox_celeba.txt", boxes, 5, str(count), "image_id x_1 y_1 width height")

    def expected(self, folder, part):
        types = ["attr", "identity", "landmarks"]
        return [
            {"image": image}
            | dict(zip(ATTRIBUTES, (("no", "yes")[value] for value in attributes)))
            | {"identity": identity, "landmarks": points.reshape(5, 2)}
            for image, (attributes, identity, points) in unchecked(torchvision.datasets.CelebA)(
                folder / "unpacked", part, types
            )
        ]

    @pytest.fixture
    def small(self, tmp_path, rng):
        """Six images, without the lists that may be missing."""
        self.write_lists(tmp_path, rng, 6)
        for name in ("identity_CelebA.txt", "list_landmarks_align_celeba.txt"):
            (tmp_path / name).unlink()
        return tmp_path

    def test_without_some_lists(self, small):
        assert list(self.load(small, split="test").features)[-1] == "Young"

    def test_lists_in_another_order(self, small):
        before = self.load(small, split="test")["Smiling"]
        path = small / "list_attr_celeba.txt"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:2], *lines[:1:-1]]))
        assert self.load(small, split="test")["Smiling"] == before

    @pytest.mark.parametrize(
        "damage, message",
        [
            (lambda lines: lines[:-1], "lists 5 images, its first line says 6"),
            (
                lambda lines: [*lines[:3], "000002.jpg 1 1", *lines[4:]],
                "line 4: '000002.jpg 1 1' is not the name of an image and numbers",
            ),
            (
                lambda lines: [*lines[:3], lines[3].replace("-1", " 0").replace(" 1", " 0"), *lines[4:]],
                "line 4: the numbers are -1 or 1",
            ),
            (
                lambda lines: [*lines[:3], lines[3].replace("000002", "000009"), *lines[4:]],
                "has no line of image 000002.jpg",
            ),
        ],
    )
    def test_a_list_that_is_damaged(self, small, damage, message):
        path = small / "list_attr_celeba.txt"
        path.write_text("\n".join(damage(path.read_text().splitlines())))
        self.assert_refused(small, message)


class TestTinyImagenet(PublishedSetCase):
    """Two classes have one name; photos of the test split have no class."""

    name = "tiny_imagenet"
    splits = THREE
    forms = ("published", "published/tiny-imagenet-200.zip", "tiny-imagenet-200")
    parts, loose = {"train": ["train"], "validation": ["val"], "test": ["test"]}, "tiny-imagenet-200"
    ordered = False
    words = {
        "n02124075": "Egyptian cat",
        "n01443537": "goldfish, Carassius auratus",
        "n03126707": "crane",
        "n02012849": "crane",
    }

    def write(self, folder, rng):
        base, lines = folder / "tiny-imagenet-200", []
        for wnid in self.words:
            for number in range(3):
                write_image(base / f"train/{wnid}/images/{wnid}_{number}.JPEG", rng, 64, 64)
            write_file(base / f"train/{wnid}/{wnid}_boxes.txt", f"{wnid}_0.JPEG\t0\t0\t62\t63\n")
        for number, wnid in enumerate(rng.choice(list(self.words), 12)):
            lines.append(f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n")
            for split in ("val", "test"):
                write_image(base / f"{split}/images/{split}_{number}.JPEG", rng, 64, 64)
        write_file(base / "val/val_annotations.txt", "".join(lines))
        write_file(base / "wnids.txt", "\n".join(self.words) + "\n")
        words = "".join(f"{wnid}\t{name}\n" for wnid, name in self.words.items())
        write_file(base / "words.txt", words + "n00001740\tentity\n")
        pack(folder / "published/tiny-imagenet-200.zip", folder, base.name)

    def expected(self, folder, part):
        base = folder / "tiny-imagenet-200"
        train = torchvision.datasets.ImageFolder(base / "train")
        if part == "train":
            return train
        lines = [line.split("\t") for line in (base / "val/val_annotations.txt").read_text().splitlines()]
        labels = {file: train.class_to_idx[wnid] for file, wnid, *_ in lines}
        return [(default_loader(path), labels.get(path.name)) for path in (base / part / "images").iterdir()]

    def classes(self, folder):
        return ["goldfish, Carassius auratus", "crane (n02012849)", "Egyptian cat", "crane (n03126707)"]


def jpeg(rng):
    content = io.BytesIO()
    PIL.Image.fromarray(rng.integers(0, 256, (18, 23, 3), np.uint8)).save(content, "JPEG")
    return content.getvalue()


def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


class TestImagenet1k(PublishedSetCase):
    """Training images in a tar of tars, validation images without classes; torchvision's reader unpacks both."""

    name = "imagenet_1k"
    splits = {"train": "train", "validation": "val"}
    forms = ("published", "unpacked")
    ordered = False
    by_hand = "the authors give the files to registered users only"
    parts = {"train": ["ILSVRC2012_img_train.tar"], "validation": ["ILSVRC2012_img_val.tar"]}
    words = {
        "n01440764": "tench, Tinca tinca",
        "n02012849": "crane",
        "n03126707": "crane",
        "n03888257": "parachute, chute",
    }
    names = ["tench, Tinca tinca", "crane (n02012849)", "crane (n03126707)", "parachute, chute"]

    def write(self, folder, rng):
        published = folder / "published"
        published.mkdir()
        with tarfile.open(published / "ILSVRC2012_img_train.tar", "w") as outer:
            for wnid in self.words:
                content = io.BytesIO()
                with tarfile.open(fileobj=content, mode="w") as inner:
                    for number in rng.permutation(5000)[:5]:
                        add(inner, f"{wnid}_{number}.JPEG", jpeg(rng))
                add(outer, f"{wnid}.tar", content.getvalue())
        with tarfile.open(published / "ILSVRC2012_img_val.tar", "w") as archive:
            for number in range(1, 13):
                add(archive, f"ILSVRC2012_val_{number:08}.JPEG", jpeg(rng))
        self.write_kit(folder, rng)
        shutil.copytree(published, folder / "unpacked")
        for split in self.splits.values():
            self.expected(folder, split)

    def write_kit(self, folder, rng):
        ids = rng.permutation(4) + 1  # numbers of the development kit are in no order of the WordNet ids
        columns = "ILSVRC2012_ID WNID words gloss num_children children wordnet_height num_train_images".split()
        rows = [
            (number, wnid, self.words[wnid], "what it is", 0, np.zeros(0), 0, 5)
            for number, wnid in zip(ids.tolist(), self.words)
        ]
        rows.insert(2, (5, "n00001740", "entity", "all", 4, np.array([1, 2, 3, 4]), 3, 0))
        synsets = np.array(rows, [(name, object) for name in columns])[:, None]
        kit = folder / "kit/ILSVRC2012_devkit_t12"
        truth = "".join(f"{number}\n" for number in rng.permutation(np.tile(ids, 3)))
        write_file(kit / "data/ILSVRC2012_validation_ground_truth.txt", truth)
        scipy.io.savemat(kit / "data/meta.mat", {"synsets": synsets})
        write_file(kit / "readme.txt", "…")
        pack(folder / "published/ILSVRC2012_devkit_t12.tar.gz", kit.parent, kit.name)

    def expected(self, folder, part):
        module = torchvision.datasets.imagenet
        archives = {key: (name, None) for key, (name, _) in module.ARCHIVE_META.items()}
        with mock.patch.object(module, "ARCHIVE_META", archives):
            return torchvision.datasets.ImageNet(folder / "unpacked", part)

    def classes(self, folder):
        return self.names

    def test_as_many_rows_as_written(self, folder):
        assert [len(self.expected(folder, part)) for part in ("train", "val")] == [20, 12]

    def test_without_the_kit_classes_have_their_ids(self, folder):
        val = [*self.expected(folder, "val")]
        for archive in (*(folder / "unpacked").glob("ILSVRC*"), folder / "unpacked/meta.bin"):
            archive.unlink()
        sets = self.load(folder / "unpacked")
        assert sets["train"].features["label"].names == sorted(self.words)
        self.assert_rows(sets["validation"], val)

    def test_an_archive_read_by_two_processes(self, folder):
        rows = self.load(folder / "published/ILSVRC2012_img_train.tar", split="train", num_proc=2)
        assert rows.features["label"].names == sorted(self.words)
        self.assert_rows(rows, self.expected(folder, "train"))

    def test_streaming(self, folder):
        stream = self.load(folder / "published", split="train", streaming=True)
        expected = {pixels(to_tensor(image)) for image, _ in self.expected(folder, "train")}
        assert {pixels(row["image"]) for row in stream} == expected

    def test_as_on_kaggle(self, folder, rng):
        data, theirs = folder / "kaggle/ILSVRC/Data/CLS-LOC", self.expected(folder, "val")
        shutil.copytree(folder / "unpacked/train", data / "train")
        (data / "val").mkdir()
        lines = []
        for path, label in theirs.samples:
            shutil.copy(path, data / "val")
            wnid = theirs.wnids[label]
            lines.append(f"{Path(path).stem},{wnid} 85 1 499 272 {wnid} 3 4 5 6 \n")
        for number in range(1, 4):
            write_file(data / f"test/ILSVRC2012_test_{number:08}.JPEG", jpeg(rng))
        solution = "ImageId,PredictionString\n" + "".join(rng.permutation(lines))
        write_file(folder / "kaggle/LOC_val_solution.csv", solution)
        mapping = "".join(f"{wnid} {name}\n" for wnid, name in self.words.items())
        write_file(folder / "kaggle/LOC_synset_mapping.txt", mapping)
        write_file(folder / "kaggle/ILSVRC/ImageSets/CLS-LOC/test.txt", "ILSVRC2012_test_00000001 1\n")
        sets = self.load(folder / "kaggle")
        for split, part in self.splits.items():
            assert sets[split].features["label"].names == self.names
            self.assert_rows(sets[split], self.expected(folder, part))
        assert [row["label"] for row in sets["test"]] == [None, None, None]

    def test_test_images_need_the_kit(self, folder, rng):
        """They are in no class folder, which would tell the classes."""
        data = folder / "tests"
        write_file(data / "ILSVRC2012_test_00000001.JPEG", jpeg(rng))
        self.assert_refused(data, "does not say what the classes are: put ILSVRC2012_devkit_t12.tar.gz beside the test")
        shutil.copy(folder / "published/ILSVRC2012_devkit_t12.tar.gz", data)
        sets = self.load(data)
        assert list(sets) == ["test"] and sets["test"].features["label"].names == self.names

    def test_validation_images_need_the_kit(self, folder):
        (folder / "published/ILSVRC2012_devkit_t12.tar.gz").unlink()
        message = "val_00000001.JPEG is in no class folder: put ILSVRC2012_devkit_t12.tar.gz"
        self.assert_refused(folder / "published", message)

    def test_an_inner_tar_that_is_damaged(self, folder):
        train, message = folder / "published/ILSVRC2012_img_train.tar", "train.tar.n02012849.tar cannot be read: "
        with tarfile.open(train) as outer:
            inner = outer.extractfile("n02012849.tar").read()
        whole = train.read_bytes()
        place = whole.index(inner)
        train.write_bytes(whole[:place] + b"\xff" * 512 + whole[place + 512 :])
        self.assert_refused(folder / "published", f"ILSVRC2012_img_{message}")
        with tarfile.open(train, "w") as outer:  # the last image of the inner tar runs on into the next one
            add(outer, "n02012849.tar", inner[: 512 + 100].ljust(1024, b"\0"))
            add(outer, "n03126707.tar", inner)
        self.assert_refused(folder / "published", f"ILSVRC2012_img_{message}")

    def test_a_class_that_is_not_of_the_kit(self, folder, rng):
        with tarfile.open(folder / "published/ILSVRC2012_img_train.tar", "w") as outer, io.BytesIO() as content:
            with tarfile.open(fileobj=content, mode="w") as inner:
                add(inner, "n09999999_1.JPEG", jpeg(rng))
            add(outer, "n09999999.tar", content.getvalue())
        self.assert_refused(folder / "published", "n09999999 is not a class of the development kit")

    def test_images_that_are_there_twice(self, folder, rng):
        beside = folder / "beside"
        write_file(beside / "train/n02012849/n02012849_1.JPEG", jpeg(rng))
        shutil.copy(folder / "published/ILSVRC2012_img_val.tar", beside)
        self.assert_refused(beside, "ILSVRC2012_img_val.tar is not read beside unpacked images")
        (beside / "ILSVRC2012_img_val.tar").unlink()
        shutil.copytree(beside / "train", beside / "copy")
        self.assert_refused(beside, "n02012849_1.JPEG are the same image: remove one")


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
