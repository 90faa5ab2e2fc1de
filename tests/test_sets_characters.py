"""Characters, signs, patches, cats and dogs: files in the published form, packed and unpacked, against independent readers."""

import bz2
import gzip
import lzma
import shutil
import struct
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
import pytest
import sklearn.datasets
import torch
import torchvision.datasets as theirs_of
from published_set import PublishedSetCase, pack, unchecked, write_file, write_image
from torchvision.transforms.functional import to_tensor

CODES = {"u1": 8, ">i4": 12}
WOOF = "n02086240 n02087394 n02088364 n02089973 n02093754 n02096294 n02099601 n02105641 n02111889 n02115641".split()


def idx(array):
    code = next(code for kind, code in CODES.items() if array.dtype == np.dtype(kind))
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


class TestEmnist(PublishedSetCase):
    """gzip.zip of gzip files, and torchvision's folder of what is in them; all pictures lie on their side."""

    name = "emnist"
    sizes = {"balanced": 47, "byclass": 62, "bymerge": 47, "letters": 26, "digits": 10, "mnist": 10}
    configs = tuple(sizes)
    forms = ("published", "gzip", "EMNIST")
    parts, loose = {"train": ["emnist-*-train-*"], "test": ["emnist-*-test-*"]}, "gzip"

    @property
    def first(self):
        return int(self.config == "letters")

    def write(self, folder, rng):
        for name, classes in self.sizes.items():
            for split, rows in (("train", 2 * classes), ("test", classes)):
                images = rng.integers(0, 256, (rows, 28, 28), np.uint8)
                labels = (rng.permutation(rows) % classes + (name == "letters")).astype(np.uint8)
                for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
                    file = f"emnist-{name}-{split}-{kind}-ubyte"
                    write_file(folder / "EMNIST/raw" / file, idx(array))
                    write_file(folder / "gzip" / f"{file}.gz", gzip.compress(idx(array)))
            write_file(folder / f"gzip/emnist-{name}-mapping.txt", "0 48\n")
        pack(folder / "published/gzip.zip", folder, "gzip")

    def reader(self, folder, part="train"):
        return theirs_of.EMNIST(folder, self.config, train=part == "train")

    def expected(self, folder, part):
        theirs, side = self.reader(folder, part), PIL.Image.Transpose.TRANSPOSE
        return [(image.transpose(side), label - self.first) for image, label in theirs]

    def classes(self, folder):
        classes = self.reader(folder).classes[self.first :]
        return [letter.upper() for letter in classes] if self.first else classes

    def test_the_default_is_balanced(self, folder):
        self.config = None
        assert len(self.load(folder / "published")["test"]) == 47

    def test_more_rows_are_published_for_training(self):
        for config in self.configs:
            rows = self.builder(config).ROWS
            assert rows["train"] > rows["test"]

    def test_says_what_is_missing(self, tmp_path):
        self.config, images = "digits", idx(np.zeros((1, 28, 28), np.uint8))
        write_file(tmp_path / "emnist-digits-train-images-idx3-ubyte.gz", gzip.compress(images))
        labels = tmp_path / "emnist-digits-train-labels-idx1-ubyte.gz"
        self.assert_refused(
            tmp_path, f"holds no {labels.name}, neither as a file nor in an archive: the split train needs"
        )
        write_file(labels, b"\x1f\x8b\x08")
        self.assert_refused(tmp_path, labels.name)


class TestQmnist(PublishedSetCase):
    """The six files as published, and unpacked; the test set is a little longer than MNIST's."""

    name = "qmnist"
    configs = ("qmnist", "test10k", "test50k", "nist")
    downloads = ("qmnist", "test10k", "nist")
    forms = ("published", "QMNIST")
    parts = {"train": ["qmnist-train-*"], "test": ["qmnist-test-*"]}
    columns = ["label", "series", "writer", "writer_digit", "nist_class", "nist_index", "duplicate_of"]

    @property
    def splits(self):
        wholes = {"qmnist": {"train": "train", "test": "test"}, "nist": {"train": "nist"}}
        return wholes.get(self.config, {"test": self.config})

    def write(self, folder, rng):
        for prefix, rows, side, compress, suffix in (
            ("qmnist-train", 60, 28, gzip.compress, "gz"),
            ("qmnist-test", 10_030, 3, gzip.compress, "gz"),
            ("xnist", 45, 28, lzma.compress, "xz"),
        ):
            labels = rng.integers(0, 400_000, (rows, 8)).astype(">i4")
            labels[:, 0] = rng.permutation(rows) % 10
            images = rng.integers(0, 256, (rows, side, side), np.uint8)
            for kind, array in (("images-idx3-ubyte", images), ("labels-idx2-int", labels)):
                write_file(folder / "QMNIST/raw" / f"{prefix}-{kind}", idx(array))
                write_file(folder / "published" / f"{prefix}-{kind}.{suffix}", compress(idx(array)))

    def expected(self, folder, part):
        return theirs_of.QMNIST(folder, what=part, compat=False)

    def assert_rows(self, rows, expected):
        """Numbers of all rows, and every so many images of 10,000."""
        assert rows.column_names == ["image", *self.columns]
        numbers = np.stack([rows.data[column].to_numpy() for column in self.columns], 1)
        assert np.array_equal(numbers, expected.targets[:, :7].numpy())
        step = max(1, len(rows) // 60)
        images = [to_tensor(expected[row][0]) for row in range(0, len(expected), step)]
        assert torch.equal(torch.stack(rows[::step]["image"]), torch.stack(images))

    def classes(self, folder):
        return [name.split(" - ")[0] for name in theirs_of.QMNIST.classes]

    def test_a_configuration_needs_some_of_the_files(self):
        names = {config: [source.name for source in self.builder(config).sources()] for config in self.configs}
        assert len(names["qmnist"]) == 4
        assert all(name.startswith("qmnist-test-") for name in names["test10k"])
        assert names["nist"] == ["xnist-images-idx3-ubyte.xz", "xnist-labels-idx2-int.xz"]

    def test_left_out_rows_keep_their_columns(self, folder, tmp_path):
        self.config, data = "nist", folder / "nist"
        data.mkdir()
        for kind in ("images-idx3-ubyte", "labels-idx2-int"):
            shutil.copy(folder / f"QMNIST/raw/xnist-{kind}", data)
        with open(data / "xnist-labels-idx2-int", "r+b") as file:
            file.seek(12 + 3 * 32)  # the class of row 3
            file.write(struct.pack(">I", 11))
        self.assert_refused(data, r"xnist-labels-idx2-int: label 11 of image 3 is not one of the 10 classes")
        rows = self.load(data, split="train", on_error="skip")
        writers = self.expected(folder, "nist").targets[:, 2].tolist()
        assert list(rows["writer"]) == writers[:3] + writers[4:]


class TestUsps(PublishedSetCase):
    name = "usps"
    parts = {"train": ["usps.bz2"], "test": ["usps.t.bz2"]}
    forms = ("published", "unpacked")

    def write(self, folder, rng):
        for name, rows in (("usps", 40), ("usps.t", 25)):
            values = rng.integers(-1000, 1001, (rows, 256)) / 1000
            labels = rng.permutation(rows) % 10 + 1
            lines = [
                f"{label} " + " ".join(f"{n}:{value:g}" for n, value in enumerate(row, 1)) + " \n"
                for label, row in zip(labels, values)
            ]
            write_file(folder / "unpacked" / name, "".join(lines))
            write_file(folder / f"published/{name}.bz2", bz2.compress("".join(lines).encode()))

    def expected(self, folder, part):
        return theirs_of.USPS(folder / "published", train=part == "train")

    def test_the_values_are_those_of_the_lines(self, folder):
        values, labels = sklearn.datasets.load_svmlight_file(str(folder / "unpacked/usps.t"))
        rows = self.load(folder / "published", split="test")
        images = torch.stack(rows[:]["image"]).reshape(-1, 256).numpy() * 2 - 1
        assert np.abs(images - values.toarray()).max() <= 2 / 255 + 1e-6
        assert [rows.features["label"].names[n] for n in rows["label"]] == [str(int(n) - 1) for n in labels]

    @pytest.mark.parametrize(
        "line, message",
        [
            ("3 " + " ".join(f"{n}:0" for n in range(1, 256)), "line 2 is not a label and the pixels"),
            ("3 " + " ".join(f"{n}:0" for n in range(2, 258)), "line 2 is not a label and the pixels"),
            ("3 " + " ".join(f"{n}:nan" for n in range(1, 257)), "line 2 has values from nan"),
            ("3 " + " ".join(f"{n}:1.5" for n in range(1, 257)), "line 2 has values from 1.5 to 1.5, not -1..1"),
            (
                "11 " + " ".join(f"{n}:0" for n in range(1, 257)),
                "label 11 of image 1 is not one of the 10 classes, 1..10",
            ),
            ("3" * 40_000, "line 2 is not a label"),
        ],
    )
    def test_names_the_line(self, tmp_path, line, message):
        good = "1 " + " ".join(f"{n}:-1" for n in range(1, 257))
        (tmp_path / "usps").write_text(f"{good}\n{line}\n")
        (tmp_path / "usps.t").write_text(f"{good}\n")
        self.assert_refused(tmp_path, f"usps: {message}")


class TestOmniglot(PublishedSetCase):
    """Strokes, which are black or white; torchvision has them in no order."""

    name = "omniglot"
    splits = {"background": "background", "evaluation": "evaluation"}
    forms = ("published", "omniglot-py")
    parts = {split: [f"images_{split}.zip"] for split in splits}
    alphabets = {"background": ("Tifinagh", "Greek", "N_Ko"), "evaluation": ("ULOG", "Angelic")}

    def write(self, folder, rng):
        base = folder / "omniglot-py"
        for split, alphabets in self.alphabets.items():
            for number, alphabet in enumerate(alphabets):
                for character in (1, 2, 17):
                    for drawer in (1, 2, 20):
                        path = base / f"images_{split}/{alphabet}/character{character:02}/{number:04}_{drawer:02}.png"
                        path.parent.mkdir(parents=True, exist_ok=True)
                        PIL.Image.fromarray(rng.integers(0, 2, (105, 105)) > 0).save(path)
            pack(folder / f"published/images_{split}.zip", base, f"images_{split}")
        shutil.copytree(base / "images_background/Greek", base / "images_background_small1/Greek")

    def expected(self, folder, part):
        theirs = unchecked(theirs_of.Omniglot)(folder, background=part == "background")
        files = [(theirs._characters[label], file) for file, label in theirs._flat_character_images]
        assert len(theirs) == len(files) == 9 * len(self.alphabets[part])
        return [
            {
                "image": theirs[place][0],
                "label": character,
                "alphabet": character.split("/")[0],
                "drawer": int(Path(file).stem[-2:]),
            }
            for (character, file), place in sorted(zip(files, range(len(files))))
        ]

    def test_pixels_are_black_or_white(self, folder):
        assert set(self.load(folder / "published")["background"][0]["image"].unique().tolist()) == {0, 1}

    def test_one_part_alone(self, folder):
        only = self.load(folder / "omniglot-py/images_evaluation")
        assert list(only) == ["evaluation"]
        self.assert_rows(only["evaluation"], self.expected(folder, "evaluation"))

    def test_a_character_that_is_none(self, folder):
        alphabet = folder / "omniglot-py/images_evaluation/ULOG"
        (alphabet / "character17").rename(alphabet / "character27")
        self.assert_refused(folder / "omniglot-py", "ULOG/character27 is not a character of Omniglot")

    def test_published_number_of_characters(self):
        rows, classes = self.builder().ROWS, self.builder().CLASSES
        alphabets = {name.split("/")[0] for name in classes}
        assert [sum(rows.values()), len(set(classes)), len(alphabets)] == [32_460, 1_623, 50]
        assert rows["background"] == 20 * classes.index("Angelic/character01")


class TestGtsrb(PublishedSetCase):
    """The images and tables of both training parts have one form; torchvision knows one of them only."""

    name = "gtsrb"
    configs = ("final", "ijcnn2011")
    downloads = configs
    forms = ("published", "gtsrb")
    parts = {"train": ["GTSRB*_Training_*.zip", "GTSRB-Training*.zip"], "test": ["GTSRB_Final_Test_Images.zip"]}
    training = {"final": "Final_Training/Images", "ijcnn2011": "Training"}
    head = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2"

    def sign(self, path, rng):
        width, height = rng.integers(20, 60, 2).tolist()
        write_image(path, rng, width, height)
        return f"{path.name};{width};{height};5;6;{width - 6};{height - 7}"

    def write(self, folder, rng):
        base, training = folder / "gtsrb", f"GTSRB/{self.training[self.config]}"
        for kind in range(43):
            names = [f"0000{track}_{image:05}.ppm" for track in range(2) for image in range(2)]
            lines = [f"{self.sign(base / training / f'{kind:05}' / name, rng)};{kind}" for name in names]
            table = "\r\n".join([f"{self.head};ClassId", *lines]) + "\r\n"
            write_file(base / training / f"{kind:05}/GT-{kind:05}.csv", table)
        images = base / "GTSRB/Final_Test/Images"
        lines = [self.sign(images / f"{image:05}.ppm", rng) for image in range(50)]
        write_file(images / "GT-final_test.test.csv", "\n".join([self.head, *lines]) + "\n")  # has no classes
        lines = [f"{line};{kind}" for line, kind in zip(lines, rng.permutation(50) % 43)]
        write_file(base / "GT-final_test.csv", "\n".join([f"{self.head};ClassId", *lines]) + "\n")
        write_file(base / "GTSRB/Readme-Images.txt", "about the images\n")
        archive = {"final": "GTSRB_Final_Training_Images", "ijcnn2011": "GTSRB-Training_fixed"}[self.config]
        pack(folder / f"published/{archive}.zip", base, "/".join(training.split("/")[:2]))
        pack(folder / "published/GTSRB_Final_Test_Images.zip", base, "GTSRB/Final_Test")
        pack(folder / "published/GTSRB_Final_Test_GT.zip", base, "GT-final_test.csv")
        if self.config == "final":
            shutil.copytree(base / training, folder / "again/gtsrb/GTSRB/Training")

    def expected(self, folder, part):
        again = (self.config, part) == ("final", "train")
        theirs = theirs_of.GTSRB(folder / "again" if again else folder, part)
        rows = []
        for (image, label), (path, _) in zip(theirs, theirs._samples):
            track = f"{label:05}_{Path(path).name[:5]}" if part == "train" else None
            box = torch.tensor([5, 6, image.width - 11, image.height - 13])
            rows.append({"image": image, "label": label, "bbox": box, "track": track})
        return rows

    def test_tracks_are_of_a_class(self, folder):
        tracks = list(self.load(folder / "published", split="train")["track"])
        assert tracks[:5] == ["00000_00000"] * 2 + ["00000_00001"] * 2 + ["00001_00000"]

    @pytest.mark.parametrize(
        "old, new, message",
        [
            (";7\n", ";8\n", ", line 2: ClassId 8 is not that of the folder"),
            (
                "00000_00001.ppm",
                "../00006/00000_00001.ppm",
                ", line 3: ../00006/00000_00001.ppm is not there, or listed before",
            ),
            (";5;6;", ";5;600;", ", line 2: .* is not a box|reaches out"),
        ],
    )
    def test_a_table_that_does_not_fit(self, folder, old, new, message):
        table = folder / "gtsrb/GTSRB/Final_Training/Images/00007/GT-00007.csv"
        text = table.read_text()
        table.write_text(text.replace(old, new, 1))
        self.assert_refused(folder / "gtsrb", f"GT-00007.csv{message}")

    def test_a_table_without_an_image(self, folder):
        table = folder / "gtsrb/GTSRB/Final_Training/Images/00007/GT-00007.csv"
        table.write_text(table.read_text().rpartition("00001_00001")[0])
        message = "GT-00007.csv lists 3 images, but GTSRB/Final_Training/Images/00007 holds 4"
        self.assert_refused(folder / "gtsrb", message)

    def test_a_part_that_is_missing(self, folder):
        (folder / "gtsrb/GT-final_test.csv").unlink()
        message = "1 folders Final_Test/Images and 0 files GT-final_test.csv, not one each"
        self.assert_refused(folder / "gtsrb", f"{message}; the table is in GTSRB_Final_Test_GT.zip")
        shutil.rmtree(folder / "gtsrb/GTSRB/Final_Test")
        assert list(self.load(folder / "gtsrb")) == ["train"]
        self.config = "ijcnn2011"
        self.assert_refused(
            folder / "gtsrb", "holds no GTSRB-Training_fixed.zip, neither as a file nor in an archive: the split train"
        )


class TestPcam(PublishedSetCase):
    name = "pcam"
    splits = {"train": "train", "validation": "val", "test": "test"}
    parts = {"train": ["*_train_?.h5.gz"], "validation": ["*_valid_?.h5.gz"], "test": ["*_test_?.h5.gz"]}
    forms = ("published", "pcam", "mixed")

    def write(self, folder, rng):
        (folder / "pcam").mkdir()
        for split, rows in (("train", 18), ("valid", 6), ("test", 8)):
            arrays = {
                "x": rng.integers(0, 256, (rows, 96, 96, 3), np.uint8),
                "y": (rng.permutation(rows) % 2).astype(np.uint8).reshape(rows, 1, 1, 1),
            }
            for key, array in arrays.items():
                path = folder / f"pcam/camelyonpatch_level_2_split_{split}_{key}.h5"
                with h5py.File(path, "w") as file:
                    file.create_dataset(key, data=array, chunks=(4, *array.shape[1:]))
                write_file(folder / f"published/{path.name}.gz", gzip.compress(path.read_bytes(), 1))
        shutil.copytree(folder / "published", folder / "mixed")
        shutil.copy(folder / "pcam/camelyonpatch_level_2_split_valid_x.h5", folder / "mixed")

    def expected(self, folder, part):
        return theirs_of.PCAM(folder, part)

    def classes(self, folder):
        return ["normal", "tumor"]

    def test_two_processes(self, folder):
        two = self.load(folder / "published", split="train", num_proc=2, cache_dir=str(folder / "cache"))
        self.assert_rows(two, self.expected(folder, "train"))

    def test_a_file_that_is_cut_off_or_missing(self, folder):
        path = folder / "published/camelyonpatch_level_2_split_test_x.h5.gz"
        path.write_bytes(path.read_bytes()[:-5000])
        self.assert_refused(folder / "published", "camelyonpatch_level_2_split_test_x.h5.gz: .*end-of-stream")
        path.unlink()
        message = (
            "holds no camelyonpatch_level_2_split_test_x.h5.gz, .*: the split test needs it beside its other files"
        )
        self.assert_refused(folder / "published", message)
        assert list(self.load(folder / "published", on_error="skip")) == ["train", "validation"]


class TestImagewoof(PublishedSetCase):
    name = "imagewoof"
    configs = ("160px", "320px", "full")
    downloads = configs
    splits = {"train": "train", "validation": "val"}
    forms = ("published", "imagewoof2")
    parts, loose = {"train": ["train"], "validation": ["val"]}, "imagewoof2"

    def write(self, folder, rng):
        for split in ("train", "val"):
            for number, wnid in enumerate(WOOF):
                write_image(folder / f"imagewoof2/{split}/{wnid}/{wnid}_{number}.JPEG", rng, 20 + number, 16)
        write_file(folder / "imagewoof2/noisy_imagewoof.csv", "path,noisy_labels_0\n")
        archive = {"160px": "imagewoof2-160", "320px": "imagewoof2-320", "full": "imagewoof2"}[self.config]
        pack(folder / f"published/{archive}.tgz", folder, "imagewoof2")

    def expected(self, folder, part):
        return theirs_of.ImageFolder(folder / "imagewoof2" / part)

    def test_names_of_the_dogs(self, folder):
        names = self.load(folder / "published", split="train").features["label"].names
        assert (names[2], names[-1], len(names)) == ("beagle", "dingo", 10)

    def test_folders_that_are_missing_or_strange(self, folder):
        top = folder / "imagewoof2"
        for split in ("train", "val"):
            shutil.rmtree(top / split / WOOF[0])
        assert self.load(top, split="train")["label"] == list(range(1, 10))
        (top / "train" / WOOF[1]).rename(top / "train/n01440764")
        self.assert_refused(top, "n01440764 is not a folder of Imagewoof")


class TestCatsVsDogs(PublishedSetCase):
    """Two of the published images are empty."""

    name = "cats_vs_dogs"
    splits = {"train": "train"}
    forms = ("published", "unpacked", "unpacked/PetImages")

    def write(self, folder, rng):
        base = folder / "unpacked/PetImages"
        for kind, empty in (("Cat", 666), ("Dog", 11702)):
            for number in (0, 1, 10, 11703):
                write_image(base / kind / f"{number}.jpg", rng, 30 + number % 9, 20)
            write_file(base / kind / f"{empty}.jpg", b"")
            write_file(base / kind / "Thumbs.db", rng.bytes(100))
        others = ("readme[1].txt", "MSR-LA - 3467.docx")
        for name in others:
            write_file(folder / "unpacked" / name, rng.bytes(50))
        pack(folder / "published/kagglecatsanddogs_5340.zip", folder / "unpacked", "PetImages", *others)

    def expected(self, folder, part):
        def is_photo(path):
            return path.endswith(".jpg") and Path(path).stat().st_size > 0

        return theirs_of.ImageFolder(folder / "unpacked/PetImages", is_valid_file=is_photo)

    def classes(self, folder):
        return self.expected(folder, "train").classes
