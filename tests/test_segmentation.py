"""Segmentation: pixels counted against a plain count of the predictions, on any number of processes and in any windows."""

import json

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
import torchvision
from sklearn.metrics import confusion_matrix
from workers.scenes import Shades

from recipes.core.config.scenes import Segmenter
from recipes.core.data.light import PrepareScenes
from recipes.core.errors import UserError
from recipes.core.models.local import load_local
from recipes.core.models.segmenters import build_segmenter, logits_of
from recipes.core.tasks.segmentation import borders, dice_loss, predict_ids, starts

CLASSES = 4


def write_masks(folder, count, seed=0):
    """Grey images and masks of ids that follow their brightness, but for a tenth of the pixels; some have no class."""
    random = np.random.default_rng(seed)
    for number in range(count):
        height, width = random.integers(10, 60, 2)
        ids = random.integers(0, CLASSES, (height, width))
        pixels = (ids * 85).clip(0, 255).astype(np.uint8)
        wrong = random.random(ids.shape) < 0.1
        ids[wrong] = random.integers(0, CLASSES, wrong.sum())
        ids[random.random(ids.shape) < 0.05] = 255
        for name, array in (("images", pixels), ("masks", ids.astype(np.uint8))):
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(array).save(path)


def count_by_hand(folder, size):
    """The confusion matrix of scikit-learn, each image by itself."""
    total = np.zeros((CLASSES, CLASSES), np.int64)
    for path in sorted((folder / "images").iterdir()):
        image, mask = PIL.Image.open(path), np.asarray(PIL.Image.open(folder / "masks" / path.name))
        wide, high = (max(1, round(length * size / max(image.size))) for length in image.size)
        pixels = np.asarray(image.resize((wide, high), PIL.Image.Resampling.BILINEAR), np.float32)
        logits = Shades()(torch.from_numpy((pixels / 255 - 0.5) / 0.25)[None, None])
        found = F.interpolate(logits, mask.shape, mode="bilinear", align_corners=False)[0].argmax(0).numpy()
        total += confusion_matrix(mask[mask != 255], found[mask != 255], labels=range(CLASSES))
    return total


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    write_masks(folder / "train", 5, seed=1)
    write_masks(folder / "test", 7)
    return folder


def evaluate(root, run_processes, processes, data, *options):
    words = ("masks", data, "data.size=32", *options)
    return json.loads(run_processes(processes, root / "tests/workers/scenes.py", *words).stdout.splitlines()[-1])


def test_pixels_are_counted_once_on_any_number_of_processes(root, run_processes, data):
    said = [evaluate(root, run_processes, processes, data) for processes in (1, 2, 3)]
    assert said[0] == said[1] == said[2] and said[0]["count"] == 7
    confusion = count_by_hand(data / "test", 32)
    assert said[0]["confusion"] == confusion.tolist()
    right = confusion.diagonal()
    iou = right / (confusion.sum(0) + confusion.sum(1) - right)
    assert said[0]["numbers"]["mean_iou"] == pytest.approx(iou.mean())
    assert said[0]["numbers"]["pixel_accuracy"] == pytest.approx(right.sum() / confusion.sum())


def test_windows_of_any_size_and_overlap_count_each_pixel_once(root, run_processes, data):
    """A network that looks at each pixel alone finds the same in any windows, and at the scale of the images."""
    whole = np.zeros((CLASSES, CLASSES), np.int64)
    for path in sorted((data / "test/images").iterdir()):
        pixels = np.asarray(PIL.Image.open(path), np.float32)
        mask = np.asarray(PIL.Image.open(data / "test/masks" / path.name))
        found = Shades()(torch.from_numpy((pixels / 255 - 0.5) / 0.25)[None, None])[0].argmax(0).numpy()
        whole += confusion_matrix(mask[mask != 255], found[mask != 255], labels=range(CLASSES))
    for options in (("tile=16", "overlap=0"), ("tile=23", "overlap=0.7"), ("tile=64",)):
        assert evaluate(root, run_processes, 1, data, *options)["confusion"] == whole.tolist(), options


@pytest.mark.parametrize(
    "length, tile, overlap", [(5, 8, 0.5), (8, 8, 0.5), (9, 8, 0.0), (100, 16, 0.5), (1000, 64, 0.9)]
)
def test_windows_cover_a_length(length, tile, overlap):
    begins = starts(length, tile, overlap)
    assert begins[0] == 0 and begins[-1] == max(0, length - tile)
    assert all(after - before <= max(1, tile * (1 - overlap)) for before, after in zip(begins, begins[1:]))
    owners = [n for n, (first, last) in enumerate(borders(begins, tile, length)) for _ in range(first, last)]
    assert len(owners) == length
    for place, owner in enumerate(owners):
        distances = [abs(place + 0.5 - (begin + tile / 2)) for begin in begins]
        assert begins[owner] <= place < begins[owner] + tile and distances[owner] <= min(distances) + 0.5


def test_an_image_smaller_than_a_window_is_padded():
    class Where:
        def autocast(self):
            import contextlib

            return contextlib.nullcontext()

    prepare = PrepareScenes([0.5], [0.25], torch.device("cpu"))
    pixels = np.full((5, 3), 250, np.uint8)
    assert (predict_ids(Where(), Shades(), pixels, prepare, 16, 0.5) == 3).all()


def test_dice_against_its_definition():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 6, 5, generator=generator)
    masks = torch.randint(0, 3, (3, 6, 5), generator=generator)
    masks[0, :3] = 255
    expected = []
    for image, ids in zip(logits.softmax(1).numpy(), masks.numpy()):
        valid, scores = ids != 255, []
        for number in range(4):
            truth, guess = (ids == number) & valid, image[number] * valid
            if truth.any():
                scores.append(2 * (guess * truth).sum() / (guess.sum() + truth.sum()))
        expected.append(1 - np.mean(scores))
    assert dice_loss(logits, masks).tolist() == pytest.approx(expected, rel=1e-5)


def test_torchvision_networks_and_weights(tmp_path):
    """Weights of the classifier below, and of the same network with other classes."""
    name = "lraspp_mobilenet_v3_large"
    classifier = torchvision.models.mobilenet_v3_large(weights=None).state_dict()
    torch.save(classifier, tmp_path / "classifier.pth")
    model = build_segmenter(Segmenter(name=name, weights=str(tmp_path / "classifier.pth")), 3, 5)
    assert torch.equal(model.state_dict()["backbone.0.0.weight"], classifier["features.0.0.weight"])
    assert logits_of(model.eval()(torch.rand(1, 3, 64, 64))).shape == (1, 5, 64, 64)
    theirs = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=5)
    theirs.load_state_dict(model.state_dict())  # torchvision's names
    torch.save(model.state_dict(), tmp_path / "segmenter.pth")
    other = build_segmenter(Segmenter(name=name), 3, 2)
    load_local(other, str(tmp_path / "segmenter.pth"), "backbone.")
    own, given = other.state_dict(), model.state_dict()
    assert [key for key in own if not torch.equal(own[key], given[key]) if own[key].shape == given[key].shape] == []
    with pytest.raises(UserError, match="takes 3 channels"):
        build_segmenter(Segmenter(name=name), 1, 5)
    with pytest.raises(UserError, match="neither the weights of this network"):
        load_local(other, str(tmp_path / "classifier.pth"), "body.")
    with pytest.raises(UserError, match="choose unet, deeplabv3"):
        build_segmenter(Segmenter(name="resnet18"), 3, 5)
