"""Networks as ONNX."""

import io
import json
import logging
import re
import tempfile
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch
from torch import nn

from recipes.core.errors import UserError
from recipes.core.models.detectors import OfTorchvision
from recipes.core.models.pyramid import Pyramid
from recipes.core.models.saved import Info
from recipes.core.models.segmenters import logits_of


class Outputs(nn.Module):
    """A network, with its outputs as a tuple of tensors."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.names = ["boxes", "scores"] if isinstance(network, Pyramid) else ["outputs"]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.network.dense(images) if isinstance(self.network, Pyramid) else (logits_of(self.network(images)),)


def encode(model: nn.Module, info: Info, images: torch.Tensor) -> bytes:
    """The content of an ONNX file, for any number of images at a time.

    Args:
        model, info: from `load_model`.
        images: some of its input, float32 (B, C, S, S), two or more.

    Raises:
        UserError: the extra `onnx` is not installed, or the network cannot be written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError("ONNX needs an extra: pip install 'dataset-scripts[onnx]'") from error
    if isinstance(model, OfTorchvision):
        raise UserError(
            f"{info['architecture']} chooses its boxes in ways that ONNX files of one shape do not hold: use torchvision's own "
            "instructions for export"
        )
    outputs = Outputs(model).eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        try:
            program = torch.onnx.export(
                outputs,
                (images[:2] if len(images) > 1 else images.repeat(2, 1, 1, 1),),
                dynamo=True,
                input_names=["images"],
                output_names=outputs.names,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
            program.save(path)
        except Exception as error:
            cause = error.__cause__ or error
            reason = re.sub(r"\x1b\[[0-9;]*m", "", str(cause)).strip().splitlines()[0][:300]
            raise UserError(f"{info['architecture']} cannot be written as ONNX: {reason}") from error
        written = onnx.load(path)
    written.metadata_props.add(key="config", value=json.dumps(info, ensure_ascii=False))
    return written.SerializeToString()


@torch.no_grad()
def compare(content: bytes, model: nn.Module, images: torch.Tensor) -> float:
    """The largest difference between ONNX and torch, as a share of the largest output, over all outputs for these images.

    Raises:
        UserError: the extra `onnx` is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("the comparison needs an extra: pip install 'dataset-scripts[onnx]'") from error
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": images.numpy()})
    expected = [output.numpy() for output in Outputs(model).eval()(images)]
    return max(
        float(np.abs(one - other).max() / max(1.0, float(np.abs(other).max()))) for one, other in zip(found, expected)
    )
