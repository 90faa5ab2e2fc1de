"""Trained networks as ONNX: what onnxruntime says is what torch says, for any number of images."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from dataset_scripts import load_dataset
from recipes import load_model
from recipes.core.config.scenes import Detector, Segmenter
from recipes.core.config.tasks import Model
from recipes.core.models.detectors import build_detector
from recipes.core.models.models import build_model
from recipes.core.models.saved import weights_of
from recipes.core.models.segmenters import build_segmenter

LABELS = [str(digit) for digit in range(10)]
IMAGES = {"channels": 1, "size": 64, "mean": [0.3], "std": [0.2], "labels": LABELS}
MODELS = {
    "classifier": (
        lambda: build_model(Model(name="resnet8", width=8), 1, 10),
        {"architecture": "resnet8", "width": 8, "resize": "whole"},
    ),
    "detector": (
        lambda: build_detector(Detector(width=8, levels=2), 1, 10),
        {"task": "detection", "architecture": "pyramid", "width": 8, "blocks": 1, "levels": 2, "resize": "padded"},
    ),
    "segmenter": (
        lambda: build_segmenter(Segmenter(width=8, depth=2), 1, 10),
        {
            "task": "segmentation",
            "architecture": "unet",
            "patch": 2,
            "width": 8,
            "depth": 2,
            "blocks": 1,
            "resize": "padded",
        },
    ),
}


@pytest.fixture(params=MODELS)
def run(request, tmp_path):
    """A folder with a network, and its kind."""
    build, info = MODELS[request.param]
    torch.manual_seed(0)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights_of(build()))
    (folder / "config.json").write_text(json.dumps(info | IMAGES))
    return request.param, folder


def test_onnx_says_what_torch_says(root, run_processes, run):
    kind, folder = run
    said = run_processes(1, root / "recipes/export.py", folder, "digit_scenes", "count=5").stdout
    assert "on 5 images, inputs [1, 64, 64]" in said
    model, info = load_model(folder)
    rows = load_dataset("digit_scenes", split="test")[:3]
    x = (torch.stack(rows["image"]) - 0.3) / 0.2
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    found = session.run(None, {"images": x.numpy()})
    with torch.no_grad():
        expected = model.dense(x) if kind == "detector" else (model(x),)
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one, other.numpy(), atol=1e-3) and len(one) == 3
    stored = {entry.key: entry.value for entry in onnx.load(folder / "model.onnx").metadata_props}
    assert json.loads(stored["config"])["labels"] == LABELS


def test_what_differs_is_not_written(root, run_processes, tmp_path):
    build, info = MODELS["classifier"]
    (tmp_path / "model.safetensors").write_bytes(weights_of(build()))
    (tmp_path / "config.json").write_text(json.dumps(info | IMAGES))
    script = root / "recipes/export.py"
    for words, message in (
        ([tmp_path, "tolerance=1e-30"], "ONNX and torch differ by"),
        ([tmp_path, tmp_path / "nowhere"], "there is no file or folder"),
        ([], "export.py takes a run folder"),
    ):
        result = run_processes(1, script, *words, check=False)
        assert result.returncode == 1 and message in result.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "model.onnx").exists()
