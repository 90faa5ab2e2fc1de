"""Characters, signs, patches, cats and dogs: files in the published form, packed and unpacked, against independent readers."""

import bz2
import gzip
import lzma
import shutil
import struct
import tarfile

import h5py
import numpy as np
import PIL.Image
import pytest
import sklearn.datasets
import torch
import torchvision
import torchvision.datasets as theirs_of

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.load.loading import make_builder
from dataset_scripts.core.load.script import find_script

RNG = np.random.default_rng(23)
CODES = {"u1": 8, ">i4": 12}


def to_tensor(image):
    return torchvision.transforms.functional.to_tensor(image)


def unchecked(reader):
    """A reader of torchvision without its comparison of digests: the content here is random."""
    return type(reader.__name__, (reader,), dict.fromkeys(("_check_integrity", "_check_exists"), lambda self: True))


def assert_equal(ours, theirs, first=0):
    assert len(ours) == len(theirs) > 0
    for row, (image, label) in zip(ours, theirs):
        assert torch.equal(row["image"], to_tensor(image)) and row["label"] == label - first


def idx(array):
    code = next(code for kind, code in CODES.items() if array.dtype == np.dtype(kind))
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def pack(folder, name, inner, kind="zip"):
    """Packs `inner`, a path below `folder`, into an archive in a folder of its own, which it returns."""
    target = folder / "packed"
    shutil.make_archive(str(target / name), kind, folder, inner)
    return target


def builder_of(name, config):
    return make_builder(find_script(name), config)


EMNIST = {"balanced": 47, "byclass": 62, "bymerge": 47, "letters": 26, "digits": 10, "mnist": 10}


@pytest.fixture(scope="module")
def emnist(tmp_path_factory):
    """gzip.zip of gzip files, and torchvision's folder of what is in them."""
    top = tmp_path_factory.mktemp("emnist")
    for folder in ("gzip", "EMNIST/raw"):
        (top / folder).mkdir(parents=True)
    for name, classes in EMNIST.items():
        first = 1 if name == "letters" else 0
        for split, rows in (("train", 2 * classes), ("test", classes)):
            images = RNG.integers(0, 256, (rows, 28, 28), np.uint8)
            labels = (RNG.permutation(rows) % classes + first).astype(np.uint8)
            for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
                file = f"emnist-{name}-{split}-{kind}-ubyte"
                (top / "EMNIST/raw" / file).write_bytes(idx(array))
                (top / "gzip" / f"{file}.gz").write_bytes(gzip.compress(idx(array)))
        (top / f"gzip/emnist-{name}-mapping.txt").write_text("0 48\n")
    pack(top, "gzip", "gzip")
    return top


@pytest.mark.parametrize("name", EMNIST)
def test_emnist(emnist, assert_as_on_card, name):
    first = 1 if name == "letters" else 0
    for folder in (emnist / "packed", emnist / "gzip", emnist / "EMNIST"):
        sets = load_dataset("emnist", name, data_dir=str(folder))
        assert list(sets) == ["train", "test"]
        for split, rows in sets.items():
            theirs = theirs_of.EMNIST(emnist, name, train=split == "train")
            upright = [(image.transpose(PIL.Image.Transpose.TRANSPOSE), label) for image, label in theirs]
            assert_equal(rows, upright, first)
            classes = theirs.classes[first:]
            assert rows.features["label"].names == ([letter.upper() for letter in classes] if first else classes)
    assert_as_on_card("emnist", sets["train"], name)
    builder = builder_of("emnist", name)
    assert builder.CLASSES == sets["train"].features["label"].names and builder.ROWS["train"] > builder.ROWS["test"]


def test_emnist_says_what_is_missing(emnist, tmp_path):
    assert len(load_dataset("emnist", data_dir=str(emnist / "packed"))["test"]) == 47  # balanced
    (tmp_path / "emnist-digits-train-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(idx(np.zeros((1, 28, 28), np.uint8)))
    )
    with pytest.raises(
        DataError, match="holds no emnist-digits-train-labels-idx1-ubyte.gz, neither as a file nor in an archive"
    ):
        load_dataset("emnist", "digits", data_dir=str(tmp_path))
    (tmp_path / "emnist-digits-train-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(DataError, match="emnist-digits-train-labels-idx1-ubyte.gz"):
        load_dataset("emnist", "digits", data_dir=str(tmp_path))


@pytest.fixture(scope="module")
def qmnist(tmp_path_factory):
    """The six files of QMNIST as published, and unpacked; the test set is a little longer than MNIST's."""
    top = tmp_path_factory.mktemp("qmnist")
    for folder in ("packed", "QMNIST/raw"):
        (top / folder).mkdir(parents=True)
    for prefix, rows, side, compress, suffix in (
        ("qmnist-train", 60, 28, gzip.compress, "gz"),
        ("qmnist-test", 10_030, 3, gzip.compress, "gz"),
        ("xnist", 45, 28, lzma.compress, "xz"),
    ):
        labels = RNG.integers(0, 400_000, (rows, 8)).astype(">i4")
        labels[:, 0] = RNG.permutation(rows) % 10
        images = RNG.integers(0, 256, (rows, side, side), np.uint8)
        for kind, array in (("images-idx3-ubyte", images), ("labels-idx2-int", labels)):
            (top / "QMNIST/raw" / f"{prefix}-{kind}").write_bytes(idx(array))
            (top / "packed" / f"{prefix}-{kind}.{suffix}").write_bytes(compress(idx(array)))
    return top


@pytest.mark.parametrize(
    "name, folders",
    [
        ("qmnist", ["packed"]),
        ("test10k", ["QMNIST"]),
        ("test50k", ["packed", "QMNIST"]),
        ("nist", ["packed", "QMNIST"]),
    ],
)
def test_qmnist(qmnist, assert_as_on_card, name, folders):
    whats = {"qmnist": {"train": "train", "test": "test"}, "nist": {"train": "nist"}}.get(name, {"test": name})
    for folder in folders:
        sets = load_dataset("qmnist", name, data_dir=str(qmnist / folder))
        assert set(sets) == set(whats) == set(builder_of("qmnist", name).ROWS)
        for split, rows in sets.items():
            theirs = theirs_of.QMNIST(qmnist, what=whats[split], compat=False)
            assert rows.features["label"].names == [name.split(" - ")[0] for name in theirs.classes]
            numbers = np.stack([rows.data[column].to_numpy() for column in rows.column_names[1:]], 1)
            assert np.array_equal(numbers, theirs.targets[:, :7].numpy())
            step = max(1, len(rows) // 60)
            images = [to_tensor(theirs[row][0]) for row in range(0, len(theirs), step)]
            assert torch.equal(torch.stack(rows[::step]["image"]), torch.stack(images))
    assert_as_on_card("qmnist", rows, name)
    assert rows.column_names == [
        "image",
        "label",
        "series",
        "writer",
        "writer_digit",
        "nist_class",
        "nist_index",
        "duplicate_of",
    ]


def test_qmnist_downloads_what_a_configuration_needs():
    names = {
        name: [source.name for source in builder_of("qmnist", name).sources()] for name in ("qmnist", "test10k", "nist")
    }
    assert len(names["qmnist"]) == 4 and all(name.startswith("qmnist-test-") for name in names["test10k"])
    assert names["nist"] == ["xnist-images-idx3-ubyte.xz", "xnist-labels-idx2-int.xz"]


def test_qmnist_left_out_rows_keep_their_columns(qmnist, tmp_path):
    for kind in ("images-idx3-ubyte", "labels-idx2-int"):
        shutil.copy(qmnist / "QMNIST/raw" / f"xnist-{kind}", tmp_path)
    with open(tmp_path / "xnist-labels-idx2-int", "r+b") as file:
        file.seek(12 + 3 * 32)  # the class of row 3
        file.write(struct.pack(">I", 11))
    with pytest.raises(DataError, match=r"xnist-labels-idx2-int: label 11 of image 3 is not one of the 10 classes"):
        load_dataset("qmnist", "nist", data_dir=str(tmp_path))
    rows = load_dataset("qmnist", "nist", data_dir=str(tmp_path), split="train", on_error="skip")
    writers = theirs_of.QMNIST(qmnist, what="nist", compat=False).targets[:, 2].tolist()
    assert list(rows["writer"]) == writers[:3] + writers[4:]


def write_usps(folder):
    for name, rows in (("usps", 40), ("usps.t", 25)):
        values = RNG.integers(-1000, 1001, (rows, 256)) / 1000
        labels = RNG.permutation(rows) % 10 + 1
        lines = [
            f"{label} " + " ".join(f"{n}:{value:g}" for n, value in enumerate(row, 1)) + " \n"
            for label, row in zip(labels, values)
        ]
        (folder / f"{name}.bz2").write_bytes(bz2.compress("".join(lines).encode()))


def test_usps(tmp_path, assert_as_on_card):
    write_usps(tmp_path)
    (tmp_path / "unpacked").mkdir()
    for name in ("usps", "usps.t"):
        (tmp_path / "unpacked" / name).write_bytes(bz2.decompress((tmp_path / f"{name}.bz2").read_bytes()))
    for folder in (tmp_path, tmp_path / "unpacked"):
        sets = load_dataset("usps", data_dir=str(folder))
        for split, rows in sets.items():
            assert_equal(rows, theirs_of.USPS(tmp_path, train=split == "train"))
    assert_as_on_card("usps", sets["train"])
    values, labels = sklearn.datasets.load_svmlight_file(str(tmp_path / "unpacked/usps.t"))
    pixels = torch.stack(sets["test"][:]["image"]).reshape(-1, 256).numpy() * 2 - 1
    assert np.abs(pixels - values.toarray()).max() <= 2 / 255 + 1e-6
    assert [sets["test"].features["label"].names[n] for n in sets["test"]["label"]] == [str(int(n) - 1) for n in labels]


@pytest.mark.parametrize(
    "line, message",
    [
        ("3 " + " ".join(f"{n}:0" for n in range(1, 256)), "line 2 is not a label and the pixels"),
        ("3 " + " ".join(f"{n}:0" for n in range(2, 258)), "line 2 is not a label and the pixels"),
        ("3 " + " ".join(f"{n}:nan" for n in range(1, 257)), "line 2 has values from nan"),
        ("3 " + " ".join(f"{n}:1.5" for n in range(1, 257)), "line 2 has values from 1.5 to 1.5, not -1..1"),
        ("11 " + " ".join(f"{n}:0" for n in range(1, 257)), "label 11 of image 1 is not one of the 10 classes, 1..10"),
        ("3" * 40_000, "line 2 is not a label"),
    ],
)
def test_usps_names_the_line(tmp_path, line, message):
    good = "1 " + " ".join(f"{n}:-1" for n in range(1, 257))
    (tmp_path / "usps").write_text(f"{good}\n{line}\n")
    (tmp_path / "usps.t").write_text(f"{good}\n")
    with pytest.raises(DataError, match=f"usps: {message}"):
        load_dataset("usps", data_dir=str(tmp_path))


def test_omniglot(tmp_path, assert_as_on_card):
    base = tmp_path / "omniglot-py"
    images = {"background": ("Tifinagh", "Greek", "N_Ko"), "evaluation": ("ULOG", "Angelic")}
    for split, alphabets in images.items():
        for number, alphabet in enumerate(alphabets):
            for character in (1, 2, 17):
                for drawer in (1, 2, 20):
                    path = base / f"images_{split}/{alphabet}/character{character:02}/{number:04}_{drawer:02}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    PIL.Image.fromarray(RNG.integers(0, 2, (105, 105)) > 0).save(path)
        packed = pack(base, f"images_{split}", f"images_{split}")
    shutil.copytree(base / "images_background/Greek", base / "images_background_small1/Greek")
    for folder in (packed, base):
        sets = load_dataset("omniglot", data_dir=str(folder))
        for split, rows in sets.items():
            names, alphabets = rows.features["label"].names, rows.features["alphabet"].names
            theirs = unchecked(theirs_of.Omniglot)(tmp_path, background=split == "background")  # in no order
            found = {
                (theirs._characters[label], file): row
                for row, (file, label) in enumerate(theirs._flat_character_images)
            }
            assert len(rows) == len(theirs) == 9 * len(images[split])
            for row, ((character, file), place) in zip(rows, sorted(found.items())):
                assert torch.equal(row["image"], to_tensor(theirs[place][0]))
                assert names[row["label"]] == character and alphabets[row["alphabet"]] == character.split("/")[0]
                assert file.endswith(f"_{row['drawer']:02}.png")
            assert set(rows[0]["image"].unique().tolist()) == {0, 1}
    assert_as_on_card("omniglot", sets["background"])
    only = load_dataset("omniglot", data_dir=str(base / "images_evaluation"))
    assert list(only) == ["evaluation"] and only["evaluation"]["label"] == sets["evaluation"]["label"]
    (base / "images_evaluation/ULOG/character17").rename(base / "images_evaluation/ULOG/character27")
    with pytest.raises(DataError, match="ULOG/character27 is not a character of Omniglot"):
        load_dataset("omniglot", data_dir=str(base))


def test_omniglot_has_the_published_number_of_characters():
    builder = builder_of("omniglot", None)
    counts = [
        sum(builder.ROWS.values()),
        len(set(builder.CLASSES)),
        len({name.split("/")[0] for name in builder.CLASSES}),
    ]
    assert counts == [32_460, 1_623, 50] and builder.ROWS["background"] == 20 * builder.CLASSES.index(
        "Angelic/character01"
    )


def write_signs(base, training):
    """The folders of GTSRB; returns file name -> box (x, y, width, height)."""
    boxes, head = {}, "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2"

    def sign(path):
        width, height = RNG.integers(20, 60, 2).tolist()
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(RNG.integers(0, 256, (height, width, 3), np.uint8)).save(path)
        boxes[str(path.relative_to(base))] = [5, 6, width - 11, height - 13]
        return f"{path.name};{width};{height};5;6;{width - 6};{height - 7}"

    for kind in range(43):
        folder = base / "GTSRB" / training / f"{kind:05}"
        lines = [f"{sign(folder / f'0000{track}_{image:05}.ppm')};{kind}" for track in range(2) for image in range(2)]
        (folder / f"GT-{kind:05}.csv").write_text("\r\n".join([f"{head};ClassId", *lines]) + "\r\n")
    lines = [sign(base / f"GTSRB/Final_Test/Images/{image:05}.ppm") for image in range(50)]
    kinds = RNG.permutation(50) % 43
    (base / "GTSRB/Final_Test/Images/GT-final_test.test.csv").write_text(
        "\n".join([head, *lines]) + "\n"
    )  # has no classes
    lines = [f"{line};{kind}" for line, kind in zip(lines, kinds)]
    (base / "GT-final_test.csv").write_text("\n".join([f"{head};ClassId", *lines]) + "\n")
    (base / "GTSRB/Readme-Images.txt").write_text("about the images\n")
    return boxes


@pytest.mark.parametrize(
    "name, training, archive",
    [
        ("final", "Final_Training/Images", "GTSRB_Final_Training_Images"),
        ("ijcnn2011", "Training", "GTSRB-Training_fixed"),
    ],
)
def test_gtsrb(tmp_path, assert_as_on_card, name, training, archive):
    base = tmp_path / "gtsrb"
    boxes = write_signs(base, training)
    pack(base, archive, f"GTSRB/{training.split('/')[0]}")
    pack(base, "GTSRB_Final_Test_Images", "GTSRB/Final_Test")
    packed = pack(base, "GTSRB_Final_Test_GT", "GT-final_test.csv").rename(tmp_path / "packed")
    if name == "final":  # torchvision knows the other training part only
        shutil.copytree(base / "GTSRB" / training, tmp_path / "again/gtsrb/GTSRB/Training")
    for folder in (packed, base):
        sets = load_dataset("gtsrb", name, data_dir=str(folder))
        for split, rows in sets.items():
            root = tmp_path / "again" if (name, split) == ("final", "train") else tmp_path
            theirs = theirs_of.GTSRB(root, split)
            assert_equal(rows, theirs)
            for row, (path, _) in zip(rows, theirs._samples):
                path = path[path.index("gtsrb/") + 6 :].replace("GTSRB/Training", f"GTSRB/{training}")
                assert row["bbox"] == boxes[path]
        assert sets["train"]["track"][:5] == ["00000_00000"] * 2 + ["00000_00001"] * 2 + ["00001_00000"]
        assert sets["test"]["track"][0] is None and set(sets) == set(builder_of("gtsrb", name).ROWS)
    assert_as_on_card("gtsrb", sets["train"], name)
    assert builder_of("gtsrb", name).sources()[0].name == f"{archive}.zip"


def test_gtsrb_names_what_does_not_fit(tmp_path):
    base = tmp_path / "gtsrb"
    write_signs(base, "Final_Training/Images")

    def refused(message):
        with pytest.raises(DataError, match=message):
            load_dataset("gtsrb", data_dir=str(base))

    table = base / "GTSRB/Final_Training/Images/00007/GT-00007.csv"
    text = table.read_text()
    table.write_text(text.replace(";7\n", ";8\n", 1))
    refused("GT-00007.csv: line 2: ClassId 8 is not that of the folder")
    table.write_text(text.replace("00000_00001.ppm", "../00006/00000_00001.ppm"))
    refused("GT-00007.csv: line 3: ../00006/00000_00001.ppm does not exist")
    table.write_text(text.rpartition("00001_00001")[0])
    refused("GT-00007.csv lists 3 images, but GTSRB/Final_Training/Images/00007 holds 4")
    table.write_text(text.replace(";5;6;", ";5;600;", 1))
    refused("GT-00007.csv, line 2: .* is not a box|reaches out")
    table.write_text(text)
    (base / "GT-final_test.csv").unlink()
    refused(
        "1 folders Final_Test/Images and 0 files GT-final_test.csv, not one each; the table is in GTSRB_Final_Test_GT.zip"
    )
    shutil.rmtree(base / "GTSRB/Final_Test")
    assert list(load_dataset("gtsrb", data_dir=str(base))) == ["train"]
    with pytest.raises(DataError, match="holds neither Training nor Final_Test/Images"):
        load_dataset("gtsrb", "ijcnn2011", data_dir=str(base))


@pytest.fixture(scope="module")
def pcam(tmp_path_factory):
    top = tmp_path_factory.mktemp("pcam")
    for folder in ("packed", "pcam"):
        (top / folder).mkdir()
    for split, rows in (("train", 18), ("valid", 6), ("test", 8)):
        arrays = {
            "x": RNG.integers(0, 256, (rows, 96, 96, 3), np.uint8),
            "y": (RNG.permutation(rows) % 2).astype(np.uint8).reshape(rows, 1, 1, 1),
        }
        for key, array in arrays.items():
            path = top / f"pcam/camelyonpatch_level_2_split_{split}_{key}.h5"
            with h5py.File(path, "w") as file:
                file.create_dataset(key, data=array, chunks=(4, *array.shape[1:]))
            (top / f"packed/{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    return top


def test_pcam(pcam, tmp_path, assert_as_on_card):
    mixed = tmp_path / "mixed"
    shutil.copytree(pcam / "packed", mixed)
    shutil.copy(pcam / "pcam/camelyonpatch_level_2_split_valid_x.h5", mixed)
    for folder in (pcam / "packed", pcam / "pcam", mixed):
        sets = load_dataset("pcam", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
        assert list(sets) == ["train", "validation", "test"]
        for split, rows in sets.items():
            assert_equal(rows, theirs_of.PCAM(pcam, {"validation": "val"}.get(split, split)))
            assert rows.features["label"].names == ["normal", "tumor"]
    assert_as_on_card("pcam", sets["train"])
    two = load_dataset(
        "pcam", data_dir=str(pcam / "packed"), cache_dir=str(tmp_path / "other"), split="train", num_proc=2
    )
    assert two["label"] == load_dataset("pcam", data_dir=str(pcam / "pcam"), split="train")["label"]


def test_pcam_cut_off(pcam, tmp_path):
    shutil.copytree(pcam / "packed", tmp_path / "cut")
    path = tmp_path / "cut/camelyonpatch_level_2_split_test_x.h5.gz"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match="camelyonpatch_level_2_split_test_x.h5.gz: .*end-of-stream"):
        load_dataset("pcam", data_dir=str(tmp_path / "cut"))
    path.unlink()
    with pytest.raises(DataError, match="holds no camelyonpatch_level_2_split_test_x.h5.gz"):
        load_dataset("pcam", data_dir=str(tmp_path / "cut"))


WOOF = "n02086240 n02087394 n02088364 n02089973 n02093754 n02096294 n02099601 n02105641 n02111889 n02115641".split()


def test_imagewoof(tmp_path, save_image, assert_as_on_card):
    top = tmp_path / "imagewoof2-160"
    for split in ("train", "val"):
        for number, wnid in enumerate(WOOF):
            save_image(top / split / wnid / f"{wnid}_{number}.JPEG", (20 + number, 16))
    (top / "noisy_imagewoof.csv").write_text("path,noisy_labels_0\n")
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed/imagewoof2-160.tgz", "w:gz") as archive:
        archive.add(top, top.name)
    for folder in (tmp_path / "packed", top):
        sets = load_dataset("imagewoof", data_dir=str(folder))
        for split, theirs in (("train", "train"), ("validation", "val")):
            assert_equal(sets[split], theirs_of.ImageFolder(top / theirs))
    assert_as_on_card("imagewoof", sets["train"], "160px")
    names = sets["train"].features["label"].names
    assert (names[2], names[-1], len(names)) == ("beagle", "dingo", 10)
    for split in ("train", "val"):
        shutil.rmtree(top / split / WOOF[0])
    assert load_dataset("imagewoof", data_dir=str(top), split="train")["label"] == list(range(1, 10))
    (top / "train" / WOOF[1]).rename(top / "train/n01440764")
    with pytest.raises(DataError, match="n01440764 is not a folder of Imagewoof"):
        load_dataset("imagewoof", data_dir=str(top))
    names = [builder_of("imagewoof", size).sources()[0].name for size in ("160px", "320px", "full")]
    assert names == ["imagewoof2-160.tgz", "imagewoof2-320.tgz", "imagewoof2.tgz"]


def test_cats_vs_dogs(tmp_path, save_image, assert_as_on_card):
    base = tmp_path / "PetImages"
    for kind, empty in (("Cat", 666), ("Dog", 11702)):
        for number in (0, 1, 10, 11703):
            save_image(base / kind / f"{number}.jpg", (30 + number % 9, 20))
        (base / kind / f"{empty}.jpg").write_bytes(b"")
        (base / kind / "Thumbs.db").write_bytes(RNG.bytes(100))
    for name in ("readme[1].txt", "MSR-LA - 3467.docx"):
        (tmp_path / name).write_bytes(RNG.bytes(50))
    packed = pack(tmp_path, "kagglecatsanddogs_5340", "PetImages")
    filled = theirs_of.ImageFolder(
        base, is_valid_file=lambda path: path.endswith(".jpg") and bool(open(path, "rb").read(1))
    )
    theirs = list(filled)
    for folder in (base, tmp_path, packed):
        rows = load_dataset("cats_vs_dogs", data_dir=str(folder), split="train")
        assert_equal(rows, theirs)
        assert_as_on_card("cats_vs_dogs", rows)
        assert rows.features["label"].names == filled.classes == builder_of("cats_vs_dogs", None).CLASSES
        if folder is tmp_path:
            shutil.rmtree(base)
