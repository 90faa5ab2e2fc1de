"""ToTensor against torchvision, and what `datasets` operations leave of it."""

import io
import pickle

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
import torchvision.transforms as tv

from dataset_scripts import ToTensor, load_dataset


def image(mode: str, rng: np.random.Generator) -> PIL.Image.Image:
    """7 x 5 random pixels of the mode."""
    rgba = PIL.Image.fromarray(rng.integers(0, 256, (5, 7, 4), dtype=np.uint8))
    if mode == "I;16":
        return PIL.Image.fromarray(rng.integers(0, 2**15, (5, 7), dtype=np.uint16))
    if mode == "I":
        return PIL.Image.fromarray(rng.integers(-(2**31), 2**31, (5, 7), dtype=np.int32))
    if mode == "F":
        return PIL.Image.fromarray(rng.normal(size=(5, 7)).astype(np.float32))
    if mode == "PA":
        picture = PIL.Image.new("PA", (7, 5))
        picture.putdata([(int(a), int(b)) for a, b in rng.integers(0, 256, (35, 2))])
        return picture
    return (
        rgba.convert("RGB").convert(mode) if mode in ("P", "CMYK", "1", "YCbCr", "HSV", "LAB") else rgba.convert(mode)
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "I", "F"])
def test_every_mode_equals_torchvision(mode, rng):
    picture = image(mode, rng)
    ours, theirs = ToTensor()(picture), tv.ToTensor()(picture)
    assert ours.dtype == torch.float32 and ours.is_contiguous()
    assert torch.equal(ours, theirs.float())


def test_16_bit_grey_above_32767_keeps_its_value(rng):
    # torchvision reads I;16 as signed numbers; the truth here are the pixels that were written.
    pixels = rng.integers(2**15, 2**16, (5, 7), dtype=np.uint16)
    assert torch.equal(ToTensor()(PIL.Image.fromarray(pixels))[0], torch.from_numpy(pixels.astype(np.float32)))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.bool_, np.int64])
def test_every_array_equals_torchvision(shape, dtype, rng):
    array = rng.integers(0, 2, shape).astype(dtype) if dtype == np.bool_ else rng.integers(0, 256, shape).astype(dtype)
    assert torch.equal(ToTensor()(array), tv.ToTensor()(array).float())


def test_without_normalisation_values_stay_0_to_255(rng):
    picture = image("RGB", rng)
    assert torch.equal(ToTensor(normalize=False)(picture), tv.PILToTensor()(picture).float())


def test_exif_rotation_is_applied(rng):
    picture, buffer = image("RGB", rng), io.BytesIO()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to display
    picture.save(buffer, "JPEG", exif=exif, quality=95)
    rows = datasets.Dataset.from_dict({"image": [{"bytes": buffer.getvalue()}]}).cast_column("image", datasets.Image())
    tensor = rows.with_transform(ToTensor())[0]["image"]
    upright = PIL.Image.open(buffer).transpose(PIL.Image.Transpose.ROTATE_270)
    assert tensor.shape == (3, 7, 5) and torch.equal(tensor, tv.ToTensor()(upright))


@pytest.mark.parametrize(
    "bad", ["a string", 3, [1, 2], np.zeros(4), np.zeros((1, 2, 3, 4)), np.array([["a"]]), torch.zeros(3, 2, 2)]
)
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(TypeError, match="ToTensor takes"):
        ToTensor()(bad)


def test_row_batch_and_pickle(rng):
    transform = pickle.loads(pickle.dumps(ToTensor()))
    picture = image("RGB", rng)
    row = transform({"image": picture, "label": 3, "text": "a", "boxes": [[1, 2], [3, 4]], "none": None})
    assert torch.equal(row["image"], tv.ToTensor()(picture))
    assert (row["label"], row["text"], row["boxes"], row["none"]) == (3, "a", [[1, 2], [3, 4]], None)
    batch = transform({"image": [picture, None], "pair": [[picture, picture], []]})
    assert torch.equal(batch["image"][0], row["image"]) and batch["image"][1] is None
    assert torch.equal(batch["pair"][0][1], row["image"])


@pytest.fixture
def digits():
    return load_dataset("digits", split="test")


def test_operations_that_keep_tensors(digits):
    expected = digits[3]["image"]
    assert expected.shape == (1, 8, 8) and expected.dtype == torch.float32 and 0.5 < expected.max() <= 1
    same = [
        digits.select(range(3, 9))[0],
        digits.filter(lambda label: True, input_columns="label")[3],
        digits.add_column("n", list(range(len(digits))))[3],
        pickle.loads(pickle.dumps(digits))[3],
        datasets.concatenate_datasets([digits, digits])[3],
        digits.map(lambda row: {"twice": row["label"] * 2})[3],
        digits[[3]] | {"image": digits[[3]]["image"][0]},
    ]
    for row in same:
        assert torch.equal(row["image"], expected)


def test_renamed_column_still_gives_tensors(digits):
    assert torch.equal(digits.rename_column("image", "picture")[3]["picture"], digits[3]["image"])


@pytest.mark.parametrize(
    "operation",
    [
        lambda ds: ds.map(lambda row: {"image": row["image"]}),
        lambda ds: ds.map(lambda row: row),
        lambda ds: ds.select(range(20)).shuffle(seed=0).flatten_indices(),
    ],
)
def test_double_transformation_is_refused_and_the_advice_works(digits, operation):
    with pytest.raises(TypeError, match=r"no longer an Image.*with_format\(None\)"):
        operation(digits)[3]
    plain = digits.with_format(None)
    assert torch.equal(
        operation(plain).with_transform(ToTensor())[3]["image"], ToTensor()(operation(plain)[3]["image"])
    )


def test_undecoded_and_twice_transformed_columns_are_refused(digits):
    with pytest.raises(TypeError, match="not decoded"):
        digits.cast_column("image", datasets.Image(decode=False))[0]
    stream = load_dataset("digits", split="test", streaming=True)
    with pytest.raises(TypeError, match="tensors already"):
        next(iter(stream.map(ToTensor())))


def test_saving_to_disk_as_documented(digits, tmp_path):
    digits.with_format(None).save_to_disk(tmp_path / "saved")
    loaded = datasets.load_from_disk(tmp_path / "saved").with_transform(ToTensor())
    assert torch.equal(loaded[3]["image"], digits[3]["image"])


def test_an_image_edited_in_place_needs_a_copy(tmp_path):
    # datasets stores an opened image by its file name, so an edit in place is lost; a copy has no file name.
    path = tmp_path / "a.png"
    PIL.Image.new("L", (8, 8), 200).save(path)

    def edited(copy):
        picture = PIL.Image.open(path)
        picture = picture.copy() if copy else picture
        picture.paste(0, (0, 0, 8, 8))
        features = datasets.Features({"image": datasets.Image()})
        return datasets.Dataset.from_dict({"image": [picture]}, features=features).with_transform(ToTensor())[0][
            "image"
        ]

    assert edited(copy=False).max() > 0  # the trap, as it is
    assert edited(copy=True).max() == 0
