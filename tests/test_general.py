"""The recipe for data without a CONFIG, and options that would have no effect."""

import json
import re

import numpy as np
import PIL.Image
import pytest
import sklearn.datasets
import yaml

from recipes.core.config.reading import CONFIGS, name_of, read_config
from recipes.core.config.scenes import Detect, Segment
from recipes.core.config.tasks import Generate, Train
from recipes.core.data.data import find_data
from recipes.core.data.targets import Boxes, Labels, Masks
from recipes.core.errors import UserError
from recipes.core.run.effects import check_effects
from recipes.core.run.general import general_recipe


@pytest.fixture
def settle(tmp_path, save_image):
    """The general recipe for images of a size, as the command line gives it."""

    def run(*words, schema=Train, size=(40, 30), count=12, mode="RGB", processes=1):
        for label in ("ant", "bee"):
            for number in range(count):
                save_image(tmp_path / "my photos" / label / f"{number}.png", size, mode)
        asked = read_config(schema, [f"data.path={tmp_path / 'my photos'}", *words], "digits")
        parts = find_data(asked.config.data, Labels(is_required=schema is Train))
        config = general_recipe(asked.config, asked.words, parts, processes)
        check_effects(config, parts, asked)
        return config, asked.name, parts

    return run


def test_a_config_is_taken_by_the_name_of_the_data():
    def taken(schema, *words, default="digits", suffix=""):
        asked = read_config(schema, list(words), default, suffix)
        return asked.name, asked.is_general

    assert taken(Train, "data.path=fashion_mnist") == ("fashion_mnist", False)
    assert taken(Generate, "data.path=digits", default="digits_flow", suffix="_flow") == ("digits_flow", False)
    assert taken(Train) == ("digits", False) and taken(Train, "seed=1") == ("digits", False)
    assert taken(Train, "cifar10_fast", "data.path=other") == ("cifar10_fast", False)
    assert taken(Train, "data.path=some/My photos/", "seed=3") == ("My-photos", True)


@pytest.mark.parametrize(
    "path, name", [("user/set", "set"), ("~/a b/c:d", "c-d"), ("/", "data"), ("x/y.zip", "y.zip"), ("…", "…")]
)
def test_the_run_folder_is_named_after_the_data(path, name):
    assert re.fullmatch(r"[\w.…-]+", name_of(path)) and name_of(path) in (name, "data")


def test_defaults_follow_the_images(settle):
    photos, name, parts = settle(size=(300, 200))
    assert (name, photos.model.name, parts.data.size, parts.data.resize) == ("my-photos", "resnet18", 128, "crop")
    assert photos.augment.auto == "trivial" and photos.augment.pad == 0
    assert parts.notes[-1] == (
        "no CONFIG was given: the general recipe for photos, 100 epochs in batches of 4; "
        "model.weights=DEFAULT would start from pretrained weights"
    )


def test_small_images_stay_whole(settle):
    small, _, parts = settle(size=(28, 28), mode="L", count=30)
    assert (small.model.name, parts.data.size, parts.data.resize, parts.data.channels) == ("resnet20", 28, "whole", 1)
    assert (small.augment.pad, small.augment.flip, small.epochs) == (3, 0.0, 100)


def test_what_is_given_wins_and_batches_divide(settle):
    config, _, parts = settle("model.name=resnet14", "epochs=7", "data.size=64", "batch=9", count=40)
    assert (config.model.name, config.epochs, config.batch, parts.data.size) == ("resnet14", 7, 9, 64)
    for processes in (1, 2, 3, 8):
        assert settle("accumulate=2", count=40, processes=processes)[0].batch % (2 * processes) == 0
    assert settle("exact=true", count=40, processes=2)[0].batch % 8 == 0


def test_nothing_of_the_general_recipe_is_refused(settle):
    # Its own values are not the user's: those without effect are left out.
    assert settle("model.name=resnet18", size=(28, 28))[0].model.width == 16
    assert settle("data.resize=whole", size=(300, 200))[0].augment.scale == 0.25
    assert settle("augment.mixup=0.2", size=(28, 28), count=40)[0].batch % 16 == 0
    assert settle(size=(300, 200), count=40, processes=4)[0].batch >= 8
    config, _, parts = settle("epochs=1", count=40, size=(28, 28))
    assert config.optim.warmup == len(parts.train) // 20


@pytest.mark.parametrize("path", ["./digits", "../x/digits", "/x/photos", "cifar10_fast/"])
def test_no_file_beside_the_data_is_a_config(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.yaml").write_text("out: /somewhere\n")
    for given in (path, str(tmp_path / "photos")):
        assert read_config(Train, [f"data.path={given}"], "digits").is_general


def test_fine_tuning(settle):
    tuned, _, parts = settle("model.weights=some.pth", mode="L", size=(32, 32))
    assert (tuned.model.name, tuned.optim.lr, parts.data.channels, parts.data.resize) == ("resnet18", 3e-4, 3, "crop")
    assert tuned.epochs == 30 and "general recipe for fine-tuning" in parts.notes[-1]


def test_generators_halve_their_images(settle):
    config, _, parts = settle(schema=Generate, size=(300, 200))
    assert parts.data.size == 32 and config.model.depth == 3 and parts.data.size % 4 == 0
    config, _, parts = settle("data.size=28", schema=Generate, size=(300, 200))
    assert parts.data.size == 28


@pytest.mark.slow
def test_a_folder_of_digits_is_learned(run_processes, root, tmp_path):
    """Real digits as a folder of class folders: the path, and fewer epochs than the recipe takes."""
    digits = sklearn.datasets.load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target)):
        path = tmp_path / "my digits" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray((pixels * 15).astype(np.uint8)).save(path)
    run_processes(
        1, root / "recipes/train.py", f"data.path={tmp_path / 'my digits'}", "epochs=6", f"out={tmp_path / 'run'}"
    )
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["test_images"] == sum(round(0.2 * count) for count in np.bincount(digits.target))
    assert metrics["accuracy"] > 0.9


@pytest.mark.parametrize(
    "words, option",
    [
        (["data.resize=crop", "augment.pad=2"], "augment.pad=2 has no effect: .*data.resize=crop.*set augment.pad=0"),
        (["augment.scale=0.5"], "augment.scale=0.5 has no effect: images are not cropped"),
        (["augment.alternate=true"], "augment.alternate=True has no effect: augment.flip=0"),
        (
            ["augment.auto=trivial", "augment.auto_ops=3"],
            "augment.auto_ops=3 has no effect: it is for augment.auto=rand",
        ),
        (["augment.auto_magnitude=3"], "augment.auto_magnitude=3 has no effect"),
        (["optim.muon_lr=0.1"], "optim.muon_lr=0.1 has no effect: optim.name=adamw is not muon"),
        (["optim.momentum=0.5"], "optim.momentum=0.5 has no effect: optim.name=adamw has its own"),
        (["shards=4"], "shards=4 has no effect: it is for exact=true, mixup and cutmix"),
        (["model.name=resnet18", "model.width=32"], "model.width=32 has no effect: model.name=resnet18 has a width"),
    ],
)
def test_an_option_without_effect_is_refused(words, option):
    asked = read_config(Train, ["digits", *words], "digits")
    with pytest.raises(UserError, match=option):
        check_effects(asked.config, find_data(asked.config.data), asked)


def test_what_a_shipped_recipe_sets_in_vain_is_said(tmp_path):
    asked = read_config(Train, ["digits", "data.resize=crop", "model.name=resnet18"], "digits")
    parts = find_data(asked.config.data)
    check_effects(asked.config, parts, asked)
    assert [note.partition(":")[0] for note in parts.notes] == [
        "augment.pad=1 of the recipe digits has no effect here",
        "model.width=32 of the recipe digits has no effect here",
    ]
    (tmp_path / "mine.yaml").write_text("augment:\n  pad: 3\ndata:\n  resize: crop\n")
    asked = read_config(Train, [str(tmp_path / "mine.yaml")], "digits")
    with pytest.raises(UserError, match="augment.pad=3 has no effect"):
        check_effects(asked.config, find_data(asked.config.data), asked)


@pytest.mark.parametrize(
    "words",
    [
        ["augment.flip=0.5", "augment.alternate=true"],
        ["augment.auto=rand", "augment.auto_ops=3"],
        ["optim.name=muon", "optim.muon_lr=0.1"],
        ["exact=true", "shards=4"],
        ["augment.mixup=0.2", "shards=4"],
        ["data.resize=crop", "augment.scale=0.5", "augment.pad=0"],
    ],
)
def test_an_option_with_effect_is_not(words):
    asked = read_config(Train, ["digits", *words], "digits")
    check_effects(asked.config, find_data(asked.config.data), asked)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_shipped_recipe_has_options_without_effect(path):
    """Each runs on data of its kind: cropped if it crops."""
    given = yaml.safe_load(path.read_text())
    kinds = {"_flow": (Generate, Labels(False)), "_detect": (Detect, Boxes()), "_segment": (Segment, Masks())}
    schema, target = next((kind for end, kind in kinds.items() if path.stem.endswith(end)), (Train, Labels()))
    words = [
        f"data.path={'digits' if schema in (Train, Generate) else 'digit_scenes'}",
        *(["model.weights=some.pth"] if "weights" in given.get("model", {}) else []),
    ]
    asked = read_config(schema, [path.stem, *words], "digits")
    parts = find_data(asked.config.data, target)
    check_effects(asked.config, parts, asked)
    assert not any("has no effect" in note for note in parts.notes)
