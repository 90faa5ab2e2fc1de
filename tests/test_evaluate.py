"""Evaluation against scikit-learn, and `recipes/evaluate.py` on several processes."""

import json

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import sklearn.metrics
import torch
import torchvision

from dataset_scripts import load_dataset
from recipes import load_model

SHORT = ["model.name=resnet8", "model.width=8", "epochs=1.5", "batch=48", "optim.ema=500"]


@pytest.fixture(scope="module")
def run(root, run_processes, tmp_path_factory):
    """A finished run on the digits."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    run_processes(1, root / "recipes/train.py", *SHORT, f"out={folder}")
    return folder


@pytest.fixture
def evaluate(root, run_processes):
    def start(*options, processes=1, check=True):
        return run_processes(processes, root / "recipes/evaluate.py", *options, check=check)

    return start


@pytest.mark.slow
def test_equal_on_any_number_of_processes_and_to_scikit_learn(run, evaluate, tmp_path):
    for processes in (1, 2, 3):
        evaluate(str(run), f"out={tmp_path / str(processes)}", "batch=50", processes=processes)
    tables = [pq.read_table(tmp_path / str(processes) / "predictions.parquet") for processes in (1, 2, 3)]
    assert tables[0].equals(tables[1]) and tables[0].equals(tables[2])
    metrics = [json.loads((tmp_path / str(processes) / "metrics.json").read_text()) for processes in (1, 2, 3)]
    trained = json.loads((run / "metrics.json").read_text())
    for key in ("loss", "accuracy", "top5", "ece"):
        assert metrics[0][key] == pytest.approx(metrics[1][key], rel=1e-12) == pytest.approx(metrics[2][key], rel=1e-12)
        assert metrics[0][key] == pytest.approx(trained[key], rel=1e-5)  # the training tested with another batch size
    assert metrics[0]["by_class"] == metrics[1]["by_class"] == metrics[2]["by_class"] == trained["by_class"]

    table = tables[0].to_pydict()
    labels, probabilities = np.array(table["label"]), np.array(table["probabilities"])
    assert table["row"] == list(range(359)) and len(set(labels)) == 10
    assert metrics[0]["accuracy"] == sklearn.metrics.accuracy_score(labels, table["prediction"])
    assert metrics[0]["top5"] == sklearn.metrics.top_k_accuracy_score(labels, probabilities, k=5)
    exact = probabilities / probabilities.sum(1, keepdims=True)
    assert metrics[0]["loss"] == pytest.approx(sklearn.metrics.log_loss(labels, exact), rel=1e-5)
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(labels, table["prediction"])
    for index, row in enumerate(metrics[0]["by_class"]):
        assert row["images"] == support[index] and row["recall"] == pytest.approx(recall[index])
        assert (row["precision"] or 0) == pytest.approx(precision[index]) and (row["f1"] or 0) == pytest.approx(
            f1[index]
        )
    # Guo et al. 2017, equation 3, by hand
    sure, right = probabilities.max(1), labels == np.array(table["prediction"])
    gaps = [
        abs(right[inside].mean() - sure[inside].mean()) * inside.mean()
        for b in range(15)
        if (inside := (sure > b / 15) & (sure <= (b + 1) / 15)).any()
    ]
    assert metrics[0]["ece"] == pytest.approx(sum(gaps), abs=1e-6)
    assert (tmp_path / "1/confusion.png").stat().st_size > 5000


def test_the_export_loads_anywhere(run, tmp_path):
    model, info = load_model(run)
    assert not model.training and info["labels"] == [str(n) for n in range(10)] and info["size"] == 8
    x = torch.randn(3, 1, 8, 8)
    weights = safetensors.torch.load_file(run / "model.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert model(x).shape == (3, 10)
    # weights of torchvision's architectures are torchvision's
    network = torchvision.models.get_model("mobilenet_v3_small", num_classes=4)
    (tmp_path / "config.json").write_text(
        json.dumps(info | {"architecture": "mobilenet_v3_small", "labels": list("abcd"), "channels": 3})
    )
    safetensors.torch.save_file(network.state_dict(), tmp_path / "model.safetensors")
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path)[0](x), network.eval()(x))


def test_flips_other_data_and_mistakes(run, evaluate, tmp_path, save_image):
    whole = evaluate(str(run), "flips=true", f"out={tmp_path / 'flips'}")
    assert "359 images" in whole.stdout
    for name in "39":
        for number in range(3):
            save_image(tmp_path / "data" / name / f"{number}.png", size=(12, 12))
    other = evaluate(str(run), f"data.path={tmp_path / 'data'}", f"out={tmp_path / 'other'}")
    assert "split train is the only one: all of its images are evaluated" in other.stdout
    table = pq.read_table(tmp_path / "other/predictions.parquet").to_pydict()
    assert table["label"] == [3, 3, 3, 9, 9, 9]  # by name, not by number
    save_image(tmp_path / "data" / "x" / "0.png", size=(12, 12))
    for options, message in (
        ([str(run), f"data.path={tmp_path / 'data'}", "data.test_split=train"], "has the class 'x'"),
        ([str(tmp_path)], "is neither a run folder"),
        ([], "takes one run folder"),
        ([str(run), "flip=true"], "there is no option flip: flips=…?"),
        ([str(run), "data.mean=[0.5]"], "there is no option data.mean"),
    ):
        failed = evaluate(*options, check=False)
        assert failed.returncode == 1 and message in failed.stderr and "Traceback" not in failed.stderr


def test_another_size_than_in_training(run, evaluate, tmp_path):
    evaluate(str(run), "data.size=13", f"out={tmp_path / 'larger'}")
    model, info = load_model(run)
    rows = load_dataset("digits", split="test", transform=None)
    pixels = np.stack([np.asarray(image.resize((13, 13), PIL.Image.Resampling.BILINEAR)) for image in rows["image"]])
    x = (torch.from_numpy(pixels)[:, None] / 255 - info["mean"][0]) / info["std"][0]
    with torch.no_grad():
        logits = model(x)
    metrics = json.loads((tmp_path / "larger/metrics.json").read_text())
    labels = torch.tensor(rows["label"][:])
    assert metrics["size"] == 13 and metrics["accuracy"] == (logits.argmax(1) == labels).double().mean().item()
    assert metrics["loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), abs=1e-5)
    assert metrics["accuracy"] != json.loads((run / "metrics.json").read_text())["accuracy"]
