"""Named sets of small images, of leaves, flowers and easy classes of ImageNet; and what every set has to declare."""

import gzip
import pickle
import re
import struct

import numpy as np
import pytest
import scipy.io
import torchvision
from published_set import PublishedSetCase, named, pack, unchecked, write_file, write_image

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.builders.published import PublishedSet
from dataset_scripts.core.load.script import bundled_names, find_script

FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar
cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl
hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road
rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank
telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split()
COARSE = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture insects
large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals
non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2""".split()
SCRIPT = """\
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.layouts.cifar.cifar import Cifar

class Local(PublishedSet, Cifar):
    SOURCES = (Source("cifar-10-python.tar.gz", ({url!r},), {size}, "{digest}"),)
    ROWS = {{"train": 60, "test": 20}}
"""


class MnistCase(PublishedSetCase):
    """MNIST and the sets in its form, whose files torchvision reads unpacked."""

    forms = ("published", "raw")
    parts = {"train": ["train-*"], "test": ["t10k-*"]}

    @property
    def reader(self):
        return getattr(torchvision.datasets, type(self).__name__.removeprefix("Test"))

    def write(self, folder, rng):
        for prefix, rows in (("train", 40), ("t10k", 20)):
            images = struct.pack(">HBBIII", 0, 8, 3, rows, 28, 28) + rng.bytes(rows * 784)
            labels = struct.pack(">HBBI", 0, 8, 1, rows) + bytes((rng.permutation(rows) % 10).tolist())
            for file, content in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
                write_file(folder / "published" / f"{file}.gz", gzip.compress(content))
                write_file(folder / self.reader.__name__ / "raw" / file, content)
        (folder / "raw").symlink_to(folder / self.reader.__name__ / "raw")

    def expected(self, folder, part):
        return unchecked(self.reader)(folder, train=part == "train")

    def classes(self, folder):
        return [name.split(" - ")[0] for name in self.reader.classes]


class TestMNIST(MnistCase):
    name = "mnist"


class TestFashionMNIST(MnistCase):
    name = "fashion_mnist"


class TestKMNIST(MnistCase):
    name = "kmnist"


class CifarCase(PublishedSetCase):
    """Pickles, packed as published, beside the folder that torchvision reads."""

    def write(self, folder, rng):
        for file, content in self.pickles(rng).items():
            write_file(folder / self.base / file, pickle.dumps(content, protocol=2))
        pack(folder / f"published/{self.archive}", folder, self.base)

    def batch(self, rng, rows, **classes):
        labels = {name: (rng.permutation(rows) % count).tolist() for name, count in classes.items()}
        return labels | {"data": rng.integers(0, 256, (rows, 3072), np.uint8)}


class TestCifar10(CifarCase):
    name = "cifar10"
    base, archive = "cifar-10-batches-py", "cifar-10-python.tar.gz"
    forms = ("published", base)
    parts, loose = {"train": ["data_batch_*"], "test": ["test_batch"]}, base

    def pickles(self, rng):
        files = {f"data_batch_{number}": self.batch(rng, 12, labels=10) for number in range(1, 6)}
        files["test_batch"] = self.batch(rng, 20, labels=10)
        names = "airplane automobile bird cat deer dog frog horse ship truck".split()
        return files | {"batches.meta": {"label_names": names}}

    def expected(self, folder, part):
        return unchecked(torchvision.datasets.CIFAR10)(folder, train=part == "train")

    def classes(self, folder):
        return self.expected(folder, "train").classes

    @pytest.mark.parametrize("streaming", [False, True])
    def test_a_script_of_ones_own_downloads_once(self, folder, requests, streaming):
        (source,) = self.builder().sources()
        fields = {"url": source.urls[0], "size": source.size, "digest": source.digest}
        write_file(folder / "local.py", SCRIPT.format(**fields))
        for _ in range(2):
            rows = load_dataset(
                str(folder / "local.py"), split="train", cache_dir=str(folder / "cache"), streaming=streaming
            )
            self.assert_rows(rows, self.expected(folder, "train"))
        assert requests == [self.archive]
        write_file(folder / "local.py", SCRIPT.format(**fields | {"digest": "sha256:" + "0" * 64}))
        with pytest.raises(
            DataError, match=r"cifar-10-python.tar.gz could not be downloaded .*its sha256 is .*pass data_dir="
        ):
            load_dataset(str(folder / "local.py"), cache_dir=str(folder / "other"))


class TestCifar100(CifarCase):
    name = "cifar100"
    base, archive = "cifar-100-python", "cifar-100-python.tar.gz"
    forms = ("published", base)
    parts, loose = {"train": ["train"], "test": ["test"]}, base

    def pickles(self, rng):
        files = {
            split: self.batch(rng, rows, fine_labels=100, coarse_labels=20)
            for split, rows in (("train", 120), ("test", 100))
        }
        return files | {"meta": {"fine_label_names": FINE, "coarse_label_names": COARSE}}

    def expected(self, folder, part):
        coarse = pickle.loads((folder / self.base / part).read_bytes())["coarse_labels"]
        theirs = unchecked(torchvision.datasets.CIFAR100)(folder, train=part == "train")
        return [dict(image=image, label=label, coarse_label=coarse[n]) for n, (image, label) in enumerate(theirs)]

    def classes(self, folder):
        return unchecked(torchvision.datasets.CIFAR100)(folder).classes

    def test_coarse_classes(self, folder):
        assert self.load(folder / "published")["train"].features["coarse_label"].names == COARSE

    def test_without_the_names(self, folder):
        (folder / self.base / "meta").unlink()
        self.assert_refused(folder / self.base, "holds no meta, the file of CIFAR-100 that names the classes")


class TestSvhn(PublishedSetCase):
    name = "svhn"
    splits = {"train": "train", "test": "test", "extra": "extra"}
    parts = {split: [f"{split}_32x32.mat"] for split in splits}

    def write(self, folder, rng):
        (folder / "published").mkdir()
        for split, rows in (("train", 30), ("test", 20), ("extra", 25)):
            labels = (rng.permutation(rows) % 10 + 1)[:, None].astype(np.uint8)
            images = rng.integers(0, 256, (32, 32, 3, rows), np.uint8)
            scipy.io.savemat(folder / f"published/{split}_32x32.mat", {"X": images, "y": labels})

    def expected(self, folder, part):
        return unchecked(torchvision.datasets.SVHN)(folder / "published", split=part)


class TestStl10(PublishedSetCase):
    name = "stl10"
    splits = {"train": "train", "test": "test", "unlabeled": "unlabeled"}
    forms = ("published", "unpacked", "unpacked/stl10_binary")
    parts, loose = {split: [f"{split}_*.bin"] for split in splits}, "unpacked"

    def write(self, folder, rng):
        base = folder / "unpacked/stl10_binary"
        for split, rows in (("train", 20), ("test", 12), ("unlabeled", 7)):
            write_file(base / f"{split}_X.bin", rng.bytes(rows * 3 * 96 * 96))
            if split != "unlabeled":
                write_file(base / f"{split}_y.bin", bytes((rng.permutation(rows) % 10 + 1).tolist()))
        names = "airplane bird car cat deer dog horse monkey ship truck".split()
        write_file(base / "class_names.txt", "\n".join(names) + "\n")
        folds = [" ".join(map(str, rng.permutation(20)[:5])) for _ in range(10)]
        write_file(base / "fold_indices.txt", "\n".join(folds) + "\n")
        pack(folder / "published/stl10_binary.tar.gz", base.parent, base.name)

    def reader(self, folder, part):
        return unchecked(torchvision.datasets.STL10)(folder / "unpacked", split=part)

    def expected(self, folder, part):
        return [(image, None if label == -1 else int(label)) for image, label in self.reader(folder, part)]

    def classes(self, folder):
        return self.reader(folder, "train").classes


class TestImagenette(PublishedSetCase):
    """Three of the ten classes: they keep their numbers, though seven are not here."""

    name = "imagenette"
    configs = ("160px", "320px", "full")
    downloads = configs
    splits = {"train": "train", "validation": "val"}
    forms = ("published", "unpacked", "unpacked/imagenette2")
    parts, loose = {"train": ["train"], "validation": ["val"]}, "unpacked"
    numbers = {"n01440764": 0, "n03000684": 3, "n03888257": 9}

    def write(self, folder, rng):
        top = folder / "unpacked/imagenette2"
        for split in ("train", "val"):
            for number, wnid in enumerate(self.numbers):
                write_image(top / split / wnid / f"{wnid}_{number}.JPEG", rng, 20 + number, 16)
        write_file(top / "noisy_imagenette.csv", "path,noisy_labels_0\n")
        suffix = {"full": ""}.get(self.config, f"-{self.config.removesuffix('px')}")
        pack(folder / f"published/imagenette2{suffix}.tgz", folder / "unpacked", top.name)

    def expected(self, folder, part):
        theirs = torchvision.datasets.ImageFolder(folder / "unpacked/imagenette2" / part)
        return named(theirs, [self.numbers[wnid] for wnid in theirs.classes])

    def classes(self, folder):
        return """tench;English springer;cassette player;chain saw;church;French horn;garbage truck;gas pump;golf ball;
            parachute""".replace("\n            ", "").split(";")


class TestEurosat(PublishedSetCase):
    name = "eurosat"
    splits = {"train": "train"}
    forms = ("published", "2750")

    def write(self, folder, rng):
        for name in """AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River
            SeaLake""".split():
            for number in range(3):
                write_image(folder / f"2750/{name}/{name}_{number}.jpg", rng, 64, 64)
        pack(folder / "published/EuroSAT.zip", folder, "2750")

    def expected(self, folder, part):
        return torchvision.datasets.ImageFolder(folder / "2750")

    def classes(self, folder):
        return self.expected(folder, "train").classes


class TestBeans(PublishedSetCase):
    name = "beans"
    splits = {"train": "train", "validation": "validation", "test": "test"}
    forms = ("published", "leaves")
    parts = {split: [f"{split}.zip"] for split in splits}

    def write(self, folder, rng):
        for split in self.splits:
            for name in ("healthy", "bean_rust", "angular_leaf_spot"):
                write_image(folder / f"leaves/{split}/{name}/{split}.{name}.0.jpg", rng, 50, 50)
            pack(folder / f"published/{split}.zip", folder / "leaves", split)

    def expected(self, folder, part):
        return torchvision.datasets.ImageFolder(folder / "leaves" / part)

    def classes(self, folder):
        return self.expected(folder, "train").classes

    @pytest.mark.parametrize("place", ["leaves/{}", "published/{}.zip"])
    def test_the_folder_or_archive_of_a_split(self, folder, caplog, place):
        """It is that split, not the training one."""
        for split in self.splits:
            data = folder / place.format(split)
            sets = self.load(data)
            assert list(sets) == [split]
            self.assert_rows(sets[split], self.expected(folder, split))
        assert f"{data} holds no files of the split train: it is left out" in caplog.text
        with pytest.raises(DataError, match=f"{data} holds no files of the split train: it needs train.zip"):
            self.load(data, split="train")


class TestFlowers102(PublishedSetCase):
    name = "flowers102"
    splits = {"train": "train", "validation": "val", "test": "test"}
    inseparable = "one file, setid.mat, lists all splits"
    forms = ("published", "flowers-102")
    ordered = False

    def write(self, folder, rng):
        base = folder / "flowers-102"
        for number in range(1, 13):
            write_image(base / f"jpg/image_{number:05}.jpg", rng, 20 + number, 15)
        pack(folder / "published/102flowers.tgz", base, "jpg")
        order = rng.permutation(12) + 1
        labels = {"labels": rng.integers(1, 103, (1, 12)).astype(np.uint8)}
        splits = {"trnid": order[None, :3], "valid": order[None, 3:6], "tstid": order[None, 6:]}
        for name, content in (("imagelabels", labels), ("setid", splits)):
            for place in (base, folder / "published"):
                scipy.io.savemat(place / f"{name}.mat", content)

    def expected(self, folder, part):
        return unchecked(torchvision.datasets.Flowers102)(folder, part)


SETS = [name for name in bundled_names() if issubclass(find_script(name).builder_class(), PublishedSet)]


@pytest.mark.parametrize("name", SETS)
def test_every_declaration_is_sound(name):
    """What can be said without the files: digests, sizes, rows and licences have the right form."""
    builder = find_script(name).builder_class()
    assert builder.ROWS and builder.CITATION.startswith("@") and builder.HOMEPAGE.startswith("http") and builder.LICENSE
    for source in builder.SOURCES:
        kind, digits = source.digest.split(":")
        assert (kind, len(digits)) in {("sha256", 64), ("md5", 32)} and int(digits, 16) and source.size > 100
        assert all(url.startswith("http") for url in source.urls)
    assert not builder.PARTS or builder.PARTS.keys() >= builder.ROWS.keys()
    assert builder.CLASSES is None or len(set(builder.CLASSES)) == len(builder.CLASSES)


def test_every_set_has_a_case(root):
    """Which checks rows, card, verification and download."""
    texts = [path.read_text(encoding="utf-8") for path in root.glob("tests/test_sets*.py")]
    assert {name for text in texts for name in re.findall(r'^    name = "(\w+)"', text, re.MULTILINE)} == set(SETS)
