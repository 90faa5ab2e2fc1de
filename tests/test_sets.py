"""Named sets: files in the published form against torchvision's readers, and from a real HTTP server."""

import gzip
import hashlib
import http.server
import pickle
import shutil
import struct
import tarfile
import threading
from functools import partial

import numpy as np
import pytest
import scipy.io
import torch
import torchvision

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.builders.published import PublishedSet
from dataset_scripts.core.load.script import bundled_names, find_script

RNG = np.random.default_rng(11)
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


def to_tensor(image):
    return torchvision.transforms.functional.to_tensor(image)


def write_idx(folder, count):
    """The four files of MNIST and of the sets in its form."""
    for prefix, rows in (("train", count), ("t10k", count // 2)):
        with gzip.open(folder / f"{prefix}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">HBBIII", 0, 8, 3, rows, 28, 28) + RNG.bytes(rows * 784))
        with gzip.open(folder / f"{prefix}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">HBBI", 0, 8, 1, rows) + bytes((RNG.permutation(rows) % 10).tolist()))


def write_cifar(folder, hundred):
    """The pickles of CIFAR, packed as published; returns the archive."""
    base = folder / ("cifar-100-python" if hundred else "cifar-10-batches-py")
    base.mkdir()

    def batch(name, rows):
        labels = (
            {"fine_labels": RNG.permutation(rows) % 100, "coarse_labels": RNG.permutation(rows) % 20}
            if hundred
            else {"labels": RNG.permutation(rows) % 10}
        )
        content = {key: value.tolist() for key, value in labels.items()}
        content["data"] = RNG.integers(0, 256, (rows, 3072), np.uint8)
        (base / name).write_bytes(pickle.dumps(content, protocol=2))

    if hundred:
        batch("train", 120)
        batch("test", 100)
        meta = {"fine_label_names": FINE, "coarse_label_names": COARSE}
        (base / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    else:
        for number in range(1, 6):
            batch(f"data_batch_{number}", 12)
        batch("test_batch", 20)
        names = "airplane automobile bird cat deer dog frog horse ship truck".split()
        (base / "batches.meta").write_bytes(pickle.dumps({"label_names": names}, protocol=2))
    path = folder / ("cifar-100-python.tar.gz" if hundred else "cifar-10-python.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(base, base.name)
    return path


def unchecked(reader):
    """A reader of torchvision without its comparison of digests: the content here is random."""
    changes = {"_check_integrity": lambda self: True, "_check_exists": lambda self: True}
    if hasattr(reader, "meta"):
        changes["meta"] = reader.meta | {"md5": None}
    return type(reader.__name__, (reader,), changes)


def assert_equal(ours, theirs):
    assert len(ours) == len(theirs)
    for row, (image, label) in zip(ours, theirs):
        assert torch.equal(row["image"], to_tensor(image)) and row["label"] == label


@pytest.mark.parametrize("name, reader", [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")])
def test_sets_in_the_form_of_mnist(tmp_path, assert_as_on_card, name, reader):
    raw = tmp_path / reader / "raw"
    raw.mkdir(parents=True)
    write_idx(raw, 40)
    sets = load_dataset(name, data_dir=str(raw))
    assert_as_on_card(name, sets["train"])
    for path in raw.glob("*.gz"):  # torchvision reads the unpacked files
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    for split in ("train", "test"):
        assert_equal(sets[split], unchecked(getattr(torchvision.datasets, reader))(tmp_path, train=split == "train"))
    classes = getattr(torchvision.datasets, reader).classes
    assert sets["train"].features["label"].names == [name.split(" - ")[0] for name in classes]


@pytest.mark.parametrize("name, reader", [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_cifar(tmp_path, assert_as_on_card, name, reader):
    archive = write_cifar(tmp_path, name == "cifar100")
    folder = tmp_path / "download"
    folder.mkdir()
    archive.rename(folder / archive.name)
    packed = load_dataset(name, data_dir=str(folder))
    assert_as_on_card(name, packed["train"])
    theirs = unchecked(getattr(torchvision.datasets, reader))
    for split in ("train", "test"):
        expected = theirs(tmp_path, train=split == "train")
        assert_equal(packed[split], expected)
        assert packed[split].features["label"].names == expected.classes
        unpacked = load_dataset(name, data_dir=str(tmp_path), split=split)
        assert_equal(unpacked, expected)
    if name == "cifar100":
        assert packed["train"].features["coarse_label"].names == COARSE


def test_svhn(tmp_path, assert_as_on_card):
    for split, rows in (("train", 30), ("test", 20), ("extra", 25)):
        labels = RNG.permutation(rows) % 10 + 1
        images = RNG.integers(0, 256, (32, 32, 3, rows), np.uint8)
        scipy.io.savemat(tmp_path / f"{split}_32x32.mat", {"X": images, "y": labels[:, None].astype(np.uint8)})
    sets = load_dataset("svhn", data_dir=str(tmp_path))
    assert set(sets) == {"train", "test", "extra"}
    assert_as_on_card("svhn", sets["train"])
    for split in sets:
        assert_equal(sets[split], unchecked(torchvision.datasets.SVHN)(tmp_path, split=split))


def test_stl10(tmp_path, assert_as_on_card):
    base = tmp_path / "stl10_binary"
    base.mkdir()
    for split, rows in (("train", 20), ("test", 12), ("unlabeled", 7)):
        (base / f"{split}_X.bin").write_bytes(RNG.bytes(rows * 3 * 96 * 96))
        if split != "unlabeled":
            (base / f"{split}_y.bin").write_bytes(bytes((RNG.permutation(rows) % 10 + 1).tolist()))
    (base / "class_names.txt").write_text(
        "\n".join("airplane bird car cat deer dog horse monkey ship truck".split()) + "\n"
    )
    (base / "fold_indices.txt").write_text(
        "\n".join(" ".join(map(str, RNG.permutation(20)[:5])) for _ in range(10)) + "\n"
    )
    sets = load_dataset("stl10", data_dir=str(tmp_path))
    for split in ("train", "test", "unlabeled"):
        expected = unchecked(torchvision.datasets.STL10)(tmp_path, split=split)
        assert len(sets[split]) == len(expected)
        for row, (image, label) in zip(sets[split], expected):
            assert torch.equal(row["image"], to_tensor(image)) and row["label"] == (None if label == -1 else label)
    assert sets["train"].features["label"].names == expected.classes
    assert_as_on_card("stl10", sets["unlabeled"])


def test_imagenette(tmp_path, save_image, assert_as_on_card):
    top = tmp_path / "imagenette2-160"
    for split in ("train", "val"):
        for number, wnid in enumerate(("n03888257", "n01440764", "n03000684")):
            save_image(top / split / wnid / f"{wnid}_{number}.JPEG", (20 + number, 16))
    (top / "noisy_imagenette.csv").write_text("path,noisy_labels_0\n")
    of_ten = {0: 0, 1: 3, 2: 9}.get  # tench, chain saw and parachute keep their numbers, though seven are not here
    theirs = {
        split: torchvision.datasets.ImageFolder(top / folder, target_transform=of_ten)
        for split, folder in (("train", "train"), ("validation", "val"))
    }
    with tarfile.open(tmp_path / "imagenette2-160.tgz", "w:gz") as archive:
        archive.add(top, top.name)
    (tmp_path / "packed").mkdir()
    (tmp_path / "imagenette2-160.tgz").rename(tmp_path / "packed/imagenette2-160.tgz")
    for folder in (tmp_path / "packed", top, tmp_path):
        sets = load_dataset("imagenette", data_dir=str(folder))
        names = sets["train"].features["label"].names
        assert_as_on_card("imagenette", sets["train"], "160px")
        assert len(names) == 10 and [names[label] for label in (0, 3, 9)] == ["tench", "chain saw", "parachute"]
        for split, expected in theirs.items():
            assert_equal(sets[split], expected)


def test_eurosat_and_beans(tmp_path, save_image, assert_as_on_card):
    kinds = "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
    for name in kinds.split():
        for number in range(3):
            save_image(tmp_path / "2750" / name / f"{name}_{number}.jpg", (64, 64))
    shutil.make_archive(str(tmp_path / "euro/EuroSAT"), "zip", tmp_path, "2750")
    theirs = torchvision.datasets.ImageFolder(tmp_path / "2750")
    rows = load_dataset("eurosat", data_dir=str(tmp_path / "euro"), split="train")
    assert_equal(rows, theirs)
    assert rows.features["label"].names == theirs.classes
    assert_as_on_card("eurosat", rows)
    for split in ("train", "validation", "test"):
        for name in ("healthy", "bean_rust", "angular_leaf_spot"):
            save_image(tmp_path / "leaves" / split / name / f"{split}.{name}.0.jpg", (50, 50))
        shutil.make_archive(str(tmp_path / "beans" / split), "zip", tmp_path / "leaves", split)
    sets = load_dataset("beans", data_dir=str(tmp_path / "beans"))
    for split, rows in sets.items():
        assert_equal(rows, torchvision.datasets.ImageFolder(tmp_path / "leaves" / split))
    assert list(sets) == ["train", "validation", "test"]
    assert_as_on_card("beans", sets["train"])


def test_flowers102(tmp_path, save_image, assert_as_on_card):
    base = tmp_path / "flowers-102"
    for number in range(1, 13):
        save_image(base / "jpg" / f"image_{number:05}.jpg", (20 + number, 15))
    order = RNG.permutation(12) + 1
    scipy.io.savemat(base / "imagelabels.mat", {"labels": RNG.integers(1, 103, (1, 12)).astype(np.uint8)})
    scipy.io.savemat(
        base / "setid.mat", {"trnid": order[None, :3], "valid": order[None, 3:6], "tstid": order[None, 6:]}
    )
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "102flowers.tgz", "w:gz") as archive:
        archive.add(base / "jpg", "jpg")
    for name in ("imagelabels.mat", "setid.mat"):
        shutil.copy(base / name, packed)
    for folder in (base, packed):
        sets = load_dataset("flowers102", data_dir=str(folder))
        assert_as_on_card("flowers102", sets["train"])
        for ours, theirs in (("train", "train"), ("validation", "val"), ("test", "test")):
            expected = unchecked(torchvision.datasets.Flowers102)(tmp_path, split=theirs)
            by_image = {to_tensor(image).numpy().tobytes(): label for image, label in expected}
            assert len(sets[ours]) == len(by_image)
            for row in sets[ours]:
                assert by_image[row["image"].numpy().tobytes()] == row["label"]


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
    assert builder.CLASSES is None or len(set(builder.CLASSES)) == len(builder.CLASSES)


SCRIPT = """\
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.layouts.cifar.cifar import Cifar

class Local(PublishedSet, Cifar):
    SOURCES = (Source("cifar-10-python.tar.gz", ({url!r},), {size}, "sha256:{digest}"),)
    ROWS = {{"train": 60, "test": 20}}
"""


@pytest.mark.parametrize("streaming", [False, True])
def test_downloaded_verified_and_read(tmp_path, streaming):
    archive = write_cifar(tmp_path, False)
    content = archive.read_bytes()
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            requests.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        digest = hashlib.sha256(content).hexdigest()
        (tmp_path / "local.py").write_text(SCRIPT.format(url=url, size=len(content), digest=digest))
        cache = str(tmp_path / "cache")
        for _ in range(2):
            rows = load_dataset(str(tmp_path / "local.py"), split="train", cache_dir=cache, streaming=streaming)
            assert_equal(list(rows), list(unchecked(torchvision.datasets.CIFAR10)(tmp_path)))
        assert len(requests) == 1
        (tmp_path / "local.py").write_text(SCRIPT.format(url=url, size=len(content), digest="0" * 64))
        with pytest.raises(
            DataError, match=r"cifar-10-python.tar.gz could not be downloaded .*its sha256 is .*pass data_dir="
        ):
            load_dataset(str(tmp_path / "local.py"), cache_dir=str(tmp_path / "other"))
    finally:
        server.shutdown()
