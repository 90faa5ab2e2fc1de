"""Several labels of an image, and numbers: found in the data, trained like classes, and measured as scikit-learn does."""

import json

import datasets
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import sklearn.metrics
import torch

from dataset_scripts import load_dataset
from recipes import load_model
from recipes.core.config.data import Data
from recipes.core.data.data import find_data, load_test
from recipes.core.errors import UserError
from recipes.core.tasks.outputs import ManyLabels, Numbers, average_precision

FLAGS = {"even": (0, 2, 4, 6, 8), "large": (5, 6, 7, 8, 9), "round": (0, 6, 8, 9)}
TINY = [
    "model.name=resnet8",
    "model.width=8",
    "batch=32",
    "epochs=6",
    "evaluate_every=3",
    "optim.warmup=0",
    "cpu=true",
    "threads=1",
]


def save(folder, columns, features):
    """A folder of Parquet files: digits with these columns, which are functions of the digit."""
    for split, count in (("train", 320), ("test", 75)):
        rows = load_dataset("digits", split=split, transform=None).select(range(count))
        table = {"image": [image for image in rows["image"]]}
        table |= {name: [function(label) for label in rows["label"]] for name, function in columns.items()}
        data = datasets.Dataset.from_dict(table, features=datasets.Features({"image": datasets.Image()} | features))
        folder.mkdir(parents=True, exist_ok=True)
        data.to_parquet(folder / f"{split}.parquet")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    base = tmp_path_factory.mktemp("data")
    yes = datasets.ClassLabel(names=["no", "yes"])
    save(base / "flags", {name: (lambda d, s=s: int(d in s)) for name, s in FLAGS.items()}, dict.fromkeys(FLAGS, yes))
    names = {"label": lambda digit: [name for name, digits in FLAGS.items() if digit in digits]}
    save(base / "lists", names, {"label": datasets.List(datasets.Value("string"))})
    save(base / "numbers", {"label": lambda digit: 3.5 * digit - 7}, {"label": datasets.Value("float32")})
    return base


def test_what_the_data_hold(data, tmp_path):
    flags, lists, numbers = (find_data(Data(path=str(data / name))) for name in ("flags", "lists", "numbers"))
    assert flags.classes == list(FLAGS) and flags.data.label == "[even,large,round]"
    assert lists.classes == sorted(FLAGS) == list(FLAGS) and lists.data.label == "label"
    assert (flags.train.values == lists.train.values).all() and flags.train.values.shape == (320, 3)
    assert numbers.classes == ["label"] and numbers.train.values.dtype == np.float32
    chosen = find_data(Data(path=str(data / "flags"), label="[round,even]"))
    assert (chosen.train.values == flags.train.values[:, [2, 0]]).all() and chosen.classes == ["round", "even"]
    one = find_data(Data(path=str(data / "flags"), label="round"))
    assert one.classes == ["no", "yes"] and one.train.values is None
    held = find_data(Data(path=str(data / "numbers"), holdout=0.25))
    assert len(held.validation) == 80 and held.validation.values.shape == (80,)


def test_data_that_do_not_fit(data, tmp_path):
    with pytest.raises(UserError, match="data.label=square: there is no such column, only image, even"):
        find_data(Data(path=str(data / "flags"), label="[even,square]"))
    odd = {"a": lambda digit: digit, "b": lambda digit: digit % 2}
    save(tmp_path / "odd", odd, dict.fromkeys(odd, datasets.Value("int64")))
    with pytest.raises(UserError, match="column a of data.label holds .*, not no and yes"):
        find_data(Data(path=str(tmp_path / "odd"), label="[a,b]"))
    save(tmp_path / "gaps", {"label": lambda d: None if d == 3 else float(d)}, {"label": datasets.Value("float64")})
    with pytest.raises(UserError, match=r"row 3 has no label in column label"):
        find_data(Data(path=str(tmp_path / "gaps")))
    changed = save(
        tmp_path / "new", {"label": lambda d: ["a"] if d else ["b"]}, {"label": datasets.List(datasets.Value("string"))}
    )
    rows = load_dataset(str(changed), split="test", transform=None)
    rows = rows.map(lambda row: {"label": ["c"]})
    rows.to_parquet(changed / "test.parquet")
    with pytest.raises(UserError, match="row 0 has the label 'c', which the training split lacks"):
        find_data(Data(path=str(changed)))


def test_numbers_are_those_of_scikit_learn(rng):
    truth = (rng.random((200, 6)) < [0.5, 0.1, 0.9, 0.02, 0, 1]).astype(np.uint8)
    logits = (rng.normal(size=truth.shape) + truth).round(1).astype(np.float32)  # with ties
    result = ManyLabels.of(logits, truth)
    with np.errstate(invalid="ignore"):
        scores = [
            sklearn.metrics.average_precision_score(truth[:, k], logits[:, k]) for k in range(6) if truth[:, k].any()
        ]
    said = logits >= 0
    numbers = result.numbers()
    assert numbers["map"] == pytest.approx(np.mean(scores))
    assert numbers["f1"] == pytest.approx(sklearn.metrics.f1_score(truth, said, average="micro"))
    assert numbers["exact_match"] == pytest.approx(sklearn.metrics.accuracy_score(truth, said))
    single = [
        sklearn.metrics.f1_score(truth[:, k], said[:, k]) for k in range(6) if truth[:, k].any() or said[:, k].any()
    ]
    assert numbers["mean_f1"] == pytest.approx(np.mean(single))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(truth).float())
    assert result.loss == pytest.approx(expected.item(), rel=1e-4)
    assert average_precision(np.zeros(0), np.zeros(0)) is None and average_precision(np.ones(3), np.zeros(3)) is None
    truth, found = rng.normal(size=50).astype(np.float32), rng.normal(size=50).astype(np.float32)
    numbers = Numbers(found, truth, 2.0, False).numbers()
    assert numbers["r2"] == pytest.approx(sklearn.metrics.r2_score(truth, found), rel=1e-5)
    assert numbers["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(truth, found), rel=1e-5)
    assert numbers["loss"] == pytest.approx(sklearn.metrics.mean_squared_error(truth, found) / 4, rel=1e-5)


def read_log(folder):
    clock = ("seconds", "images_per_second", "data_wait", "memory_gb")
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in clock} for line in log]


@pytest.mark.parametrize("name, score", [("lists", "map"), ("numbers", "r2")])
def test_trained_like_classes(root, run_processes, data, tmp_path, name, score):
    """Exact on one and two processes; evaluated and predicted from its files."""
    words = [f"data.path={data / name}", *TINY, "exact=true"]
    for processes, folder in ((1, "one"), (2, "two")):
        run_processes(processes, root / "recipes/train.py", *words, f"out={tmp_path / folder}")
    assert read_log(tmp_path / "one") == read_log(tmp_path / "two")
    metrics = json.loads((tmp_path / "one/metrics.json").read_text())
    assert metrics[score] > (0.5 if name == "lists" else 0.2)
    run_processes(3, root / "recipes/evaluate.py", tmp_path / "one", "cpu=true", f"out={tmp_path / 'said'}")
    found = json.loads((tmp_path / "said/metrics.json").read_text())
    assert found[score] == pytest.approx(metrics[score], rel=1e-5) and found["images"] == 75
    run_processes(
        2,
        root / "recipes/predict.py",
        tmp_path / "one",
        data / name,
        "split=test",
        "cpu=true",
        f"out={tmp_path / 'all'}",
    )
    table = pq.read_table(tmp_path / "all/predictions.parquet").to_pydict()
    model, info = load_model(tmp_path / "one")
    rows = load_dataset(str(data / name), split="test")
    with torch.no_grad():
        output = model((torch.stack(rows[:]["image"]) - info["mean"][0]) / info["std"][0])
    if name == "numbers":
        expected = output[:, 0] * info["scale"] + info["offset"]
        assert np.allclose(table["label"], expected, atol=1e-4)
        truth = np.array(rows[:]["label"])
        assert sklearn.metrics.r2_score(truth, expected) == pytest.approx(metrics["r2"], abs=1e-4)
    else:
        assert table["labels"] == [[n for n, p in zip(info["labels"], row) if p >= 0] for row in output.tolist()]


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("lists", ["augment.mixup=0.4"], "mix classes, but data.label=label holds several labels"),
        ("lists", ["optim.absolute=true"], "optim.absolute=True has no effect on labels"),
        ("numbers", ["optim.label_smoothing=0.1"], "optim.label_smoothing=0.1 has no effect on number"),
        ("numbers", ["optim.class_weights=true"], "optim.class_weights=true has no effect on numbers"),
    ],
)
def test_options_without_a_meaning_are_refused(root, run_processes, data, tmp_path, name, options, message):
    words = [f"data.path={data / name}", *TINY, *options, f"out={tmp_path / 'run'}"]
    result = run_processes(1, root / "recipes/train.py", *words, check=False)
    assert result.returncode == 1 and message in result.stderr.strip().splitlines()[-1]


def table(folder, columns, features, splits=("train", "test")):
    """Parquet files of 12 random images with these values."""
    rng = np.random.default_rng(0)
    for split in splits:
        images = [PIL.Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)) for _ in range(12)]
        rows = {"image": images} | {name: (values * 12)[:12] for name, values in columns.items()}
        data = datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image()} | features))
        folder.mkdir(parents=True, exist_ok=True)
        data.to_parquet(folder / f"{split}.parquet")
    return str(folder)


TEXTS, WHOLE = datasets.List(datasets.Value("string")), datasets.List(datasets.Value("int64"))
KINDS = datasets.List(datasets.ClassLabel(names=["a", "b"]))
REVERSED, YES = datasets.ClassLabel(names=["yes", "no"]), datasets.ClassLabel(names=["no", "yes"])


@pytest.mark.parametrize(
    "columns, features, label, message",
    [
        ({"label": [["a"], [None]]}, {"label": TEXTS}, None, "row 1 of column label has a label that is missing"),
        (
            {"label": [[0], [-1, 1]]},
            {"label": KINDS},
            None,
            "row 1 of column label has a label that is missing or beyond",
        ),
        ({"label": [[0, 1, 0], [1, 0, 0]]}, {"label": WHOLE}, None, "holds a 0 or 1 for each label"),
        (
            {"p": [0, 1], "q": [1, 0]},
            {"p": REVERSED, "q": YES},
            "[p,q]",
            "column p of data.label holds .*not no and yes",
        ),
        (
            {"p": [0, 1], "q": [["x"], []]},
            {"p": YES, "q": TEXTS},
            "[p,q]",
            "column q of data.label holds .*not no and yes",
        ),
        ({"p": [0, 1], "q": [1, 0]}, {"p": YES, "q": YES}, "[p,p]", "names a column twice"),
        ({"p": [0, 1], "q": [1, 0]}, {"p": YES, "q": YES}, "[p,]", "data.label=: there is no such column"),
        (
            {"label": [1.0, float("inf")]},
            {"label": datasets.Value("float32")},
            None,
            "row 1 of column label is infinite",
        ),
        (
            {"label": [1.7e9, 1.7e9 + 1]},
            {"label": datasets.Value("float64")},
            None,
            "so large that float32 cannot tell",
        ),
    ],
)
def test_labels_that_would_be_misread(tmp_path, columns, features, label, message):
    with pytest.raises(UserError, match=message):
        find_data(Data(path=table(tmp_path / "t", columns, features), label=label))


def test_columns_in_another_order_are_the_same_labels(tmp_path):
    columns = {"p": [0, 1], "q": [1, 1], "r": [0, 0]}
    path = table(tmp_path / "t", columns, dict.fromkeys(columns, YES))
    _, part, _, _ = load_test(Data(path=path, label="[q,p]", size=8, channels=1, mean=[0.5], std=[0.5]), ["p", "q"])
    assert part.values[:2].tolist() == [[0, 1], [1, 1]]
    with pytest.raises(UserError, match="has the labels r, p, but the training rows p, q"):
        load_test(Data(path=path, label="[r,p]", size=8, channels=1, mean=[0.5], std=[0.5]), ["p", "q"])
