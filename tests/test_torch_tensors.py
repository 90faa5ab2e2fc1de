"""Files of torch.save, in the forms of torchvision's MNIST and of papers, against the tensors that were saved."""

import zipfile

import numpy as np
import pytest
import torch

from dataset_scripts import DataError, ToTensor, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.layouts.torch_tensors.torch_tensors import matches


def make(count=20, shape=(12, 9), seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    return images, torch.randperm(count, generator=generator) % 5


def check(rows, images, labels):
    assert len(rows) == len(images) and rows.features["label"].names == list("01234")
    for row, image, label in zip(rows, images, labels.tolist(), strict=True):
        assert torch.equal(row["image"], ToTensor()(image.numpy())) and row["label"] == label


def save(path, content, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path, **options)


@pytest.mark.parametrize("zipped", [True, False])
def test_processed_folder_of_torchvision(tmp_path, caplog, zipped):
    train, test = make(30), make(10, seed=1)
    save(tmp_path / "processed/training.pt", train, _use_new_zipfile_serialization=zipped)
    save(tmp_path / "processed/test.pt", test, _use_new_zipfile_serialization=zipped)
    sets = load_dataset(str(tmp_path))
    assert (
        list(sets) == ["train", "test"]
        and "read as torch_tensors (4 tensors, images in processed/test.pt" in caplog.text
    )
    check(sets["train"], *train)
    check(sets["test"], *test)


@pytest.mark.parametrize(
    "form",
    [
        lambda images, labels: {"images": images, "labels": labels},
        lambda images, labels: {"data": images, "targets": labels.tolist(), "version": 3, "names": ["a"]},
        lambda images, labels: [images, labels],
        lambda images, labels: {"x": images.requires_grad_(False), "y": labels[:, None]},
    ],
)
def test_forms_of_a_file(tmp_path, form):
    parts = {"train": make(30), "val": make(8, seed=2), "test": make(10, seed=1)}
    for split, part in parts.items():
        save(tmp_path / f"{split}.pt", form(*part))
    for sets in (load_dataset(str(tmp_path)), load_dataset("torch_tensors", data_dir=str(tmp_path), num_proc=2)):
        assert list(sets) == ["train", "validation", "test"]
        for split, part in zip(sets, parts.values()):
            check(sets[split], *part)


@pytest.mark.parametrize(
    "form",
    [
        lambda train, test: {"x_train": train[0], "y_train": train[1], "x_test": test[0], "y_test": test[1]},
        lambda train, test: {"train": train, "test": test},
        lambda train, test: {
            "train": {"images": train[0], "labels": train[1]},
            "test": {"images": test[0], "labels": test[1]},
        },
    ],
)
def test_all_splits_in_a_file(tmp_path, form):
    train, test = make(30, (3, 8, 10)), make(10, (3, 8, 10), seed=1)
    save(tmp_path / "data.pt", form(train, test))
    for path in (tmp_path, tmp_path / "data.pt"):
        sets = load_dataset(str(path))
        assert list(sets) == ["train", "test"]
        for rows, (images, labels) in zip(sets.values(), (train, test)):
            check(rows, images.permute(0, 2, 3, 1), labels)


def test_a_tensor_alone_or_in_files_of_their_own(tmp_path):
    images, labels = make()
    save(tmp_path / "one/faces.pt", images)
    row = load_dataset(str(tmp_path / "one"), split="train")[3]
    assert list(row) == ["image"] and torch.equal(row["image"], ToTensor()(images[3].numpy()))
    save(tmp_path / "two/train_images.pt", images)
    save(tmp_path / "two/train_labels.pt", labels)
    check(load_dataset(str(tmp_path / "two"), split="train"), images, labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_floats_need_a_scale(tmp_path, dtype):
    images = torch.rand(6, 3, 8, 10).to(dtype)
    save(tmp_path / "train.pt", {"images": images})
    with pytest.raises(DataError, match=r"no image format keeps float\d+ with channels: pass scale=…"):
        load_dataset(str(tmp_path))
    rows = load_dataset("torch_tensors", data_dir=str(tmp_path), split="train", scale=255)
    expected = torch.round(images.double() * 255).to(torch.uint8)
    for row, image in zip(rows, expected, strict=True):
        assert torch.equal((row["image"] * 255).round().to(torch.uint8), image)


def test_zips_and_streams(tmp_path):
    images, labels = make()
    save(tmp_path / "data/train.pt", (images, labels))
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.write(tmp_path / "data/train.pt", "data/train.pt")
    check(load_dataset(str(tmp_path / "data.zip"), split="train"), images, labels)
    stream = load_dataset(str(tmp_path / "data"), split="train", streaming=True)
    assert torch.equal(next(iter(stream))["image"], ToTensor()(images[0].numpy()))


class Danger:
    def __reduce__(self):
        return print, ("run",)


def test_what_is_not_read(tmp_path, capsys):
    images, labels = make()
    path = tmp_path / "train.pt"

    def refuse(message):
        with pytest.raises(DataError, match=message):
            load_dataset(str(tmp_path))

    save(path, torch.utils.data.TensorDataset(images, labels))
    refuse(r"train.pt: no tensors of torch.save \(it names torch.utils.data.dataset.TensorDataset, which is code\)")
    save(path, {"images": images, "x": Danger()})
    refuse(r"train.pt: no tensors of torch.save \(it names .*print, which is code\)")
    assert "run" not in capsys.readouterr().out
    save(path, {"images": images[:1].expand(1 << 20, 12, 9), "labels": labels})
    refuse("train.pt: images does not hold its own values: save tensor.clone()")
    save(path, (images, labels[:7]))
    refuse("holds 20 images, but .*labels.* 7 values of label")
    save(path, (images, labels))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refuse(r"train.pt: no tensors of torch.save \(it is cut, damaged or something else\)")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/data.pkl", b"\x80\x02N.")
    (tmp_path / "packed.zip").rename(path)
    refuse("its parts are packed, which torch.save does not do")


def test_a_damaged_file_is_left_out(tmp_path):
    images, labels = make()
    save(tmp_path / "train.pt", (images, labels))
    (tmp_path / "test.pt").write_bytes(b"PK")
    sets = load_dataset("torch_tensors", data_dir=str(tmp_path), on_error="skip")
    check(sets["train"], images, labels)
    assert list(sets) == ["train"]


def test_weights_and_photos_are_not_taken(tmp_path, save_image):
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 2, 3))
    save(tmp_path / "weights/model.pt", layers.state_dict())
    assert matches(Files.of(tmp_path / "weights")) is None
    save(tmp_path / "photos/train.pt", make())
    save_image(tmp_path / "photos/1.png")
    assert matches(Files.of(tmp_path / "photos")) is None
    with pytest.raises(DataError, match="no array has a usual name for images, choose one with image_key="):
        load_dataset("torch_tensors", data_dir=str(tmp_path / "weights"))


def test_equal_to_arrays_of_numpy(tmp_path):
    images, labels = make()
    save(tmp_path / "torch/data.pt", {"x_train": images, "y_train": labels.float() / 2})
    (tmp_path / "numpy").mkdir()
    np.savez(tmp_path / "numpy/data.npz", x_train=images.numpy(), y_train=(labels.float() / 2).numpy())
    ours, theirs = (load_dataset(str(tmp_path / name), split="train") for name in ("torch", "numpy"))
    assert ours.features == theirs.features and ours["label"] == theirs["label"]
