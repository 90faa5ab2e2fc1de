"""NumPy files, in the forms of keras's MNIST, MedMNIST and KMNIST, against the arrays that were saved."""

import io
import re
import shutil
import zipfile

import datasets
import numpy as np
import PIL.Image
import pytest
import torch

from dataset_scripts import DataError, ToTensor, load_dataset
from dataset_scripts.core.image.decode import encode_image


def make(count=20, shape=(12, 9), classes=5, seed=0, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape)).astype(dtype), rng.permutation(np.arange(count) % classes)


def check(rows, images, labels):
    assert len(rows) == len(images)
    for row, image, label in zip(rows, images, labels.tolist(), strict=True):
        assert torch.equal(row["image"], ToTensor()(image)) and row["label"] == label


def test_keras(tmp_path, caplog):
    train, test = make(30), make(10, seed=1)
    np.savez_compressed(tmp_path / "mnist.npz", x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    for path in (tmp_path / "mnist.npz", tmp_path):
        sets = load_dataset(str(path))
        assert list(sets) == ["train", "test"] and sets["train"].features["label"].names == list("01234")
        check(sets["train"], *train)
        check(sets["test"], *test)
    assert "read as arrays (4 NumPy arrays, images in mnist.npz['x_test'], mnist.npz['x_train'])" in caplog.text


def test_medmnist(tmp_path):
    parts = {split: make(n, (8, 10, 3), seed=n) for split, n in (("train", 12), ("val", 7), ("test", 6))}
    arrays = {f"{split}_images": images for split, (images, _) in parts.items()}
    one = {f"{split}_labels": labels[:, None].astype(np.uint8) for split, (_, labels) in parts.items()}
    several = {
        f"{split}_labels": np.random.default_rng(n).integers(0, 2, (len(p[1]), 14))
        for n, (split, p) in enumerate(parts.items())
    }
    np.savez_compressed(tmp_path / "pathmnist.npz", **arrays, **one)
    np.savez(tmp_path / "chestmnist.npz", **arrays, **several)
    sets = load_dataset(str(tmp_path / "pathmnist.npz"))
    assert list(sets) == ["train", "validation", "test"]
    check(sets["validation"], *parts["val"])
    sets = load_dataset(str(tmp_path / "chestmnist.npz"))
    assert sets["train"].features["label"] == datasets.List(datasets.Value("int64"), length=14)
    assert list(sets["test"]["label"]) == several["test_labels"].tolist()
    with pytest.raises(
        DataError, match="chestmnist.npz.* and pathmnist.npz.* both hold images of the split test: give the path of one"
    ):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize("form", ["{split}_{role}.npy", "{role}_{split}.npy", "{split}/{role}.npy"])
@pytest.mark.parametrize("roles", [("images", "labels"), ("X", "y")])
def test_npy(tmp_path, form, roles):
    parts = {split: make(n, seed=n) for split, n in (("train", 12), ("val", 7))}
    for split, arrays in parts.items():
        for role, array in zip(roles, arrays):
            path = tmp_path / form.format(split=split, role=role)
            path.parent.mkdir(exist_ok=True)
            np.save(path, array)
    sets = load_dataset(str(tmp_path))
    check(sets["train"], *parts["train"])
    check(sets["validation"], *parts["val"])


def test_kmnist_shards_and_single_arrays(tmp_path):
    images, labels = make(23)
    for role, array in (("imgs", images), ("labels", labels)):
        (tmp_path / "k").mkdir(exist_ok=True)
        np.savez_compressed(tmp_path / "k" / f"k49-test-{role}.npz", array)
    check(load_dataset(str(tmp_path / "k"), split="test"), images, labels)
    (tmp_path / "shards").mkdir()
    for number in range(12):  # 10 comes after 9
        np.savez(
            tmp_path / "shards" / f"part_{number}.npz", images=images[2 * number :][:2], labels=labels[2 * number :][:2]
        )
    check(load_dataset(str(tmp_path / "shards"), split="train"), images, labels)
    np.savez(tmp_path / "plain.npz", images, labels)
    check(load_dataset(str(tmp_path / "plain.npz"), split="train"), images, labels)
    np.save(tmp_path / "alone.npy", images)
    rows = load_dataset(str(tmp_path / "alone.npy"), split="train")
    assert list(rows.features) == ["image"] and torch.equal(rows[22]["image"], ToTensor()(images[22]))


def test_orders_of_the_axes(tmp_path):
    images, labels = make(9, (7, 11, 3))
    save = lambda array: np.savez(tmp_path / "a.npz", images=array, labels=labels)  # noqa: E731
    first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    for array, options in (
        (images, {}),
        (first, {}),
        (np.asfortranarray(images), {}),
        (images, {"channels": "last"}),
        (first, {"channels": "first"}),
    ):
        save(array)
        check(load_dataset(str(tmp_path), split="train", **options), images, labels)
    save(images[..., :1])
    check(load_dataset(str(tmp_path), split="train"), images[..., 0], labels)
    both = images[:, :, :4, :].transpose(0, 2, 1, 3)  # (9, 4, 7, 3)
    save(both)
    with pytest.raises(
        DataError, match=r"a.npz\['images'\]: the images have the shape \(9, 4, 7, 3\); both orders of the axes fit"
    ):
        load_dataset(str(tmp_path))
    check(load_dataset(str(tmp_path), split="train", channels="last"), both, labels)
    check(load_dataset(str(tmp_path), split="train", channels="first"), both.transpose(0, 2, 3, 1), labels)
    save(np.concatenate([images, images[..., :2]], 3))
    with pytest.raises(DataError, match=r"the images have the shape \(9, 7, 11, 5\); images are \(N, H, W\)"):
        load_dataset(str(tmp_path))
    with pytest.raises(DataError, match="channels='middle' is neither"):
        load_dataset(str(tmp_path), channels="middle")


def test_dtypes(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(6)
    grey = rng.random((6, 5, 4))
    for array, pixels in (
        (grey, grey.astype(np.float32)),
        (grey.astype(np.float16), grey.astype(np.float16).astype(np.float32)),
        (rng.integers(0, 65536, (6, 5, 4)).astype(np.uint16), None),
        (rng.integers(0, 65536, (6, 5, 4)).astype(">u2"), None),
        (grey > 0.5, None),
    ):
        np.savez(tmp_path / "a.npz", x=array, y=labels)
        rows = load_dataset(str(tmp_path), split="train")
        assert np.array_equal(np.stack(rows["image"])[:, 0], (array if pixels is None else pixels).astype(np.float32))
    for dtype in (np.int64, np.int8, ">i4"):
        images = rng.integers(0, 128, (6, 5, 4, 3)).astype(dtype)
        np.savez(tmp_path / "a.npz", x=images, y=labels)
        check(load_dataset(str(tmp_path), split="train"), images.astype(np.uint8), labels)
    np.savez(tmp_path / "a.npz", x=images - 1, y=labels)
    with pytest.raises(DataError, match=r"a.npz, image \d: the values, int32, range from -1 to \d+, not 0..255"):
        load_dataset(str(tmp_path))
    colour = rng.random((6, 5, 4, 3)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=colour, y=labels)
    with pytest.raises(
        DataError,
        match="a.npz, image 0: no image format keeps float32 with channels: pass scale=…, 255 for values in 0..1",
    ):
        load_dataset(str(tmp_path))
    check(
        load_dataset(str(tmp_path), split="train", scale=255),
        np.rint(colour.astype(np.float64) * 255).astype(np.uint8),
        labels,
    )
    colour[4, 0, 0, 0] = np.nan
    np.savez(tmp_path / "a.npz", x=colour, y=labels)
    with pytest.raises(DataError, match="image 4: after scale=255 the values range from nan to nan, not 0..255"):
        load_dataset(str(tmp_path), scale=255)
    rows = load_dataset(str(tmp_path), split="train", scale=255, on_error="skip")
    assert list(rows["label"]) == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_stored_is_a_png_of_these_pixels(channels):
    """For any size and memory order, as Pillow reads it; not larger than what Pillow writes."""
    rng = np.random.default_rng(channels)
    sizes = [(1, 1), (1, 9), (9, 1), (28, 28), (33, 47), (160, 200)]
    for height, width in sizes:
        waves = np.sin(np.add.outer(np.arange(height) / 9, np.arange(width) / 7))[:, :, None] * np.linspace(
            60, 120, channels
        )
        flat = np.repeat(np.repeat(rng.integers(0, 5, (height // 8 + 1, width // 8 + 1, channels)), 8, 0), 8, 1)[
            :height, :width
        ]
        for kind, array in {
            "photo": np.clip(128 + waves + rng.normal(0, 6, (height, width, channels)), 0, 255),
            "noise": rng.integers(0, 256, (height, width, channels)),
            "mask": flat,
        }.items():
            array = array.astype(np.uint8)
            for view in (array, array[::-1], np.asfortranarray(array), array[:, ::-1]):
                image = PIL.Image.open(io.BytesIO(encode_image(view)))
                assert image.format == "PNG" and image.mode == ("L", "LA", "RGB", "RGBA")[channels - 1]
                assert np.array_equal(np.asarray(image).reshape(view.shape), view)
            buffer = io.BytesIO()
            PIL.Image.fromarray(array.squeeze(-1) if channels == 1 else array).save(buffer, "PNG", compress_level=1)
            assert len(encode_image(array)) <= 1.1 * len(buffer.getvalue()) + 20, (kind, height, width)


def test_kinds_of_labels(tmp_path):
    images, _ = make(4)
    for labels, feature, stored in (
        (np.array(["b", "a", "é", "a"]), datasets.ClassLabel(names=["a", "b", "é"]), [1, 0, 2, 0]),
        (np.array([b"b", b"a", b"c", b"a"]), datasets.ClassLabel(names=["a", "b", "c"]), [1, 0, 2, 0]),
        (np.array([0.1, 2, 3, 4]), datasets.Value("float64"), [0.1, 2, 3, 4]),
        (np.array([-1, 2, 3, 4]), datasets.Value("int64"), [-1, 2, 3, 4]),
        (np.array([7, 10**12, 3, 4]), datasets.Value("int64"), [7, 10**12, 3, 4]),
        (np.array([True, False, True, True]), datasets.ClassLabel(names=["0", "1"]), [1, 0, 1, 1]),
        (np.eye(4, 3, dtype=np.float32), datasets.List(datasets.Value("float32"), length=3), np.eye(4, 3).tolist()),
    ):
        np.savez(tmp_path / "a.npz", images=images, labels=labels)
        rows = load_dataset(str(tmp_path), split="train")
        assert rows.features["label"] == feature and list(rows["label"]) == stored
    with pytest.raises(
        DataError, match=r"a.npz\['labels'\]: classes=\['a'\] name whole numbers, but the labels are float32"
    ):
        load_dataset(str(tmp_path), classes=["a"])
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(4))
    assert load_dataset(str(tmp_path), split="train", classes=list("abcd")).features["label"].names == list("abcd")


def test_other_names_and_arrays(tmp_path, caplog):
    images, labels = make()
    np.savez(tmp_path / "a.npz", faces=images, who=labels, masks=images, age=labels * 1.0)
    with pytest.raises(
        DataError, match=r"no array has a usual name for images, choose one with image_key=…: a.npz\['age'\] \(20,\), "
    ):
        load_dataset("arrays", data_dir=str(tmp_path))
    rows = load_dataset(str(tmp_path / "a.npz"), split="train", image_key="faces", label_key="who")
    check(rows, images, labels)
    assert "2 arrays are left out, such as a.npz['age']" in caplog.text


def test_processes_streams_and_zips(tmp_path):
    images, labels = make(700)
    (tmp_path / "data").mkdir()
    np.savez_compressed(tmp_path / "data/a.npz", images=images, labels=labels)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "data")
    two = load_dataset("arrays", data_dir=str(tmp_path / "data"), split="train", num_proc=2)
    assert len(two.cache_files) == 2
    stream = load_dataset(str(tmp_path / "data/a.npz"), split="train", streaming=True)
    for rows in (two, stream, load_dataset(str(tmp_path / "packed.zip"), split="train")):
        check(list(rows), images, labels)
    batches = list(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2))
    assert sorted(row["label"] for row in batches) == sorted(labels.tolist())


def test_arrays_beside_photos_are_something_else(tmp_path, save_image):
    save_image(tmp_path / "cat/1.png")
    np.savez(tmp_path / "images.npz", images=make()[0])
    np.save(tmp_path / "labels.npy", np.arange(3))
    with pytest.raises(DataError, match=r"read as image_folder, .* 1 .npy files \(labels.npy\); 1 .npz files"):
        load_dataset(str(tmp_path))
    assert len(load_dataset(str(tmp_path), split="train", ignore=["*.np?"])) == 1


def test_features_are_no_images(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((5, 784)), y=np.arange(5))
    with pytest.raises(DataError, match=r"a.npz\['x'\]: the images have the shape \(5, 784\); images are \(N, H, W\)"):
        load_dataset("arrays", data_dir=str(tmp_path))


class Runs:
    def __reduce__(self):
        return open, ("RAN", "w")


def rewrite(path, change):
    """Changes the bytes of the members of an npz."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(content) if name == "images.npy" else content)


def test_hostile_and_damaged_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, labels = make()
    path = tmp_path / "a.npz"
    np.savez(path, images=images, labels=np.array([Runs()] * 20, object))
    with pytest.raises(DataError, match=r"a.npz\['labels'\]: labels holds Python objects, which are not unpickled"):
        load_dataset(str(tmp_path))
    np.savez(path, images=np.full((20, 2, 2), Runs(), object), labels=labels)
    with pytest.raises(DataError, match=r"a.npz\['images'\]: images holds Python objects"):
        load_dataset(str(tmp_path))
    assert not (tmp_path / "RAN").exists()
    for change, message in (
        (
            lambda c: c[:-1],
            r"a.npz\['images'\]: the header gives 2288 bytes, \(20, 12, 9\) of uint8, but the file has 2287",
        ),
        (lambda c: c.replace(b"(20,", b"(29,"), "the header gives 3260 bytes"),
        (lambda c: c.replace(b"NUMPY", b"NUMPI"), "a.npz: the magic string is not correct"),
        (lambda c: c[:6] + b"\x09" + c[7:], r"a.npz: it has version \(9, 0\) of the format"),
    ):
        np.savez(path, images=images, labels=labels)
        rewrite(path, change)
        with pytest.raises(DataError, match=message):
            load_dataset("arrays", data_dir=str(tmp_path))
    np.savez_compressed(path, images=make(1000)[0], labels=make(1000)[1])
    whole = path.read_bytes()
    path.write_bytes(whole[:90_000] + b"\xff" * 40 + whole[90_040:])
    with pytest.raises(DataError, match=r"a.npz\['images'\]: (Bad CRC-32|Error -3)"):
        load_dataset("arrays", data_dir=str(tmp_path))
    path.write_bytes(whole[:1000])
    with pytest.raises(DataError, match="a.npz: File is not a zip file"):
        load_dataset("arrays", data_dir=str(tmp_path))
    path.unlink()
    np.savez(path, images=images, labels=labels[:-2])
    with pytest.raises(DataError, match=r"a.npz holds 20 images, but a.npz\['labels'\] has 18 values of label"):
        load_dataset(str(tmp_path))
    np.savez(path, images_test=images, labels_train=labels)
    with pytest.raises(DataError, match=r"a.npz\['labels_train'\] has labels of the split train, which has no images"):
        load_dataset(str(tmp_path))
    np.savez(path, images=images, labels=labels, y=labels)
    with pytest.raises(DataError, match="1 arrays of images but 2 of labels for the split train"):
        load_dataset(str(tmp_path))


def test_skipping_labels_that_are_no_class(tmp_path, caplog):
    images, labels = make()
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    rows = load_dataset(str(tmp_path), split="train", classes=list("abcd"), on_error="skip")
    check(rows, images[labels < 4], labels[labels < 4])
    listed = re.search(r"4 skipped, .* listed in (\S+\.skipped\.txt)", caplog.text)[1]
    assert open(listed).read().count("is not one of the 4 classes, 0..3") == 4


def test_the_card(tmp_path, root, monkeypatch):
    (tmp_path / "path/to").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    images, labels = make(9, (8, 8, 3))
    np.savez("path/to/data.npz", x_train=images / 255, y_train=labels)
    code = re.search(
        r"```python\n(.*?)```", (root / "dataset_scripts/layouts/arrays/README.md").read_text(), re.DOTALL
    )[1]
    exec(code, scope := {})
    check(scope["ds"]["train"], images, labels)
