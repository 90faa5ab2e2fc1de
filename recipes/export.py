"""Writes a trained network as ONNX, and compares what it says with torch on images.

    python recipes/export.py runs/digits-1                                # runs/digits-1/model.onnx
    python recipes/export.py user/model path/to/photos out=model.onnx     # compared on your own images
    python recipes/export.py --help                                       # all options

Takes a run of `train.py`, `detect.py` or `segment.py`, or a model on the Hub. The file takes `images`, float32 (B, C, S, S), any
number at a time, scaled as config.json says, which is in its metadata under `config`; it returns `outputs` as the network does, or of
a detector `boxes` (B, L, 4) and `scores` (B, L, K), before boxes that repeat each other are left out. Without images, random ones are
compared. Needs the extra `onnx`.
"""

from recipes.core.config.commands import Export
from recipes.core.help import print_help

if __name__ == "__main__":  # before the imports below, which take seconds
    print_help(__doc__, Export)

import sys
from pathlib import Path

import numpy as np
import torch

from dataset_scripts.core.errors import printable
from dataset_scripts.core.files.replace import write_file
from recipes.core.config.data import Data, SceneData
from recipes.core.data.light import PrepareScenes
from recipes.core.data.pictures import Pictures, load_pictures
from recipes.core.errors import UserError
from recipes.core.models.onnx import compare, encode
from recipes.core.models.saved import DETECTION, SEGMENTATION, Info, load_model
from recipes.core.options import merge, split_words
from recipes.core.ranks.runtime import one_line_errors


def images_of(info: Info, path: str | None, count: int) -> torch.Tensor:
    """Images as the network takes them, float32 (B, C, S, S): the first that can be read, or random ones."""
    if path is None:
        shape = (count, info["channels"], info["size"], info["size"])
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))
    inputs = {name: info[name] for name in ("size", "channels", "mean")}
    is_scene = info.get("task") in (DETECTION, SEGMENTATION)
    seen = SceneData(path=path, **inputs) if is_scene else Data(path=path, **inputs, resize=info["resize"])
    _, rows, column = load_pictures(seen, None)[0]
    item = Pictures(rows, column, seen)[range(min(count, len(rows)))]
    good = [place for place, fault in enumerate(item["faults"]) if fault is None]
    if not good:
        raise UserError(f"{path}: none of the first {len(item['faults'])} images can be read")
    return PrepareScenes(info["mean"], info["std"], torch.device("cpu"))({"pixels": item["pixels"][good]})[0]


def main() -> None:
    with one_line_errors("export.py"):
        words, given = split_words(sys.argv[1:])
        if len(words) not in (1, 2):
            raise UserError("export.py takes a run folder, images to compare, and options as key=value")
        config = merge(Export, {}, given)
        model, info = load_model(words[0])
        images = images_of(info, words[1] if len(words) > 1 else None, config.count)
        out = Path(config.out or Path(words[0]) / "model.onnx")
        if config.out is None and not Path(words[0]).is_dir():
            raise UserError(f"{words[0]} is not a folder to write into: set out=model.onnx")
        content = encode(model, info, images)
        error = compare(content, model, images)
        if not error <= config.tolerance:
            raise UserError(
                f"ONNX and torch differ by {error:.2g} on {len(images)} images, more than tolerance={config.tolerance:g}: nothing was "
                "written"
            )
        write_file(out, content)
        kind = "images" if len(words) > 1 else "random images"
        print(
            f"{printable(out)}: {len(content) / 1e6:.1f} MB, equal to torch within {error:.1g} on {len(images)} {kind}, inputs "
            f"{list(np.shape(images)[1:])}"
        )


if __name__ == "__main__":
    main()
