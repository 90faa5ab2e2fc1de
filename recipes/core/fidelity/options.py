"""The options: torch-fidelity's, with its names and defaults, and additional ones."""

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch_fidelity.defaults import DEFAULTS as THEIRS
from torch_fidelity.registry import INTERPOLATION_REGISTRY, NOISE_SOURCE_REGISTRY

from dataset_scripts.core.files.listing import IMAGE_SUFFIXES
from recipes.core.errors import UserError

METRICS = ("isc", "fid", "kid", "prc", "ppl")

OURS = {
    "samples_find_ext": ",".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES)),
    "samples_ext_lossy": "jpg,jpeg,jpe,jfif",
    "prc_batch_size": 1000,
    "input1_name": None,
    "input1_split": None,
    "input1_column": None,
    "input2_name": None,
    "input2_split": None,
    "input2_column": None,
    "resize": 0,
    "weights": {},
    "workers": None,
    "uncertainty": False,
}
DEFAULTS = THEIRS | OURS

HELP = {
    "input1": "the generated images: an image folder, what load_dataset takes, cifar10-train and the like, features or "
    "statistics (.safetensors, .npz), a generator (.pth of TorchScript, .onnx)",
    "input2": "the real images: as input1",
    "batch_size": "images that go through the extractor together, on one process",
    "isc": "Inception Score",
    "fid": "Fréchet Inception Distance",
    "kid": "Kernel Inception Distance",
    "prc": "precision and recall",
    "ppl": "Perceptual Path Length, of a generator as input1",
    "weights": "NAME=PATH: the weights file of an extractor or of lpips-vgg16, instead of a download; may be repeated",
    "feature_extractor_weights_path": "the weights file of the only extractor",
    "resize": "scale every image to a square of this many pixels (Pillow, bicubic)",
    "samples_resize_and_crop": "scale the shorter side to this many pixels and cut out the centre (Pillow, bilinear)",
    "samples_find_deep": "look for images in subfolders too",
    "samples_find_ext": "suffixes of the images of a folder",
    "prc_batch_size": "rows and columns of distances that are computed at once",
    "workers": "processes that read images, for each process that computes",
    "cache_root": "where features are kept, separately for each input, extractor and transform",
    "datasets_root": "the folder that holds the published files of a registered set",
    "uncertainty": "no standard errors, bias-corrected Fréchet distance and exact KID",
}
INTEGERS = {"workers", "input1_model_z_size", "input2_model_z_size"}
INTEGERS |= {"input1_model_num_samples", "input2_model_num_samples"}
CHOICES = {
    "feature_extractor_internal_dtype": ("float32", "float64"),
    "kid_kernel": ("poly", "rbf"),
    "ppl_reduction": ("mean", "none"),
    "ppl_sample_similarity_dtype": ("uint8", "float32"),
    "ppl_z_interp_mode": tuple(INTERPOLATION_REGISTRY),
    "input1_model_z_type": tuple(NOISE_SOURCE_REGISTRY),
    "input2_model_z_type": tuple(NOISE_SOURCE_REGISTRY),
}
FLAGS = DEFAULTS | {"uncertainty": True}  # defaults of the command line
SHORT = {"isc": "-i", "fid": "-f", "kid": "-k", "prc": "-r", "ppl": "-p", "batch_size": "-b"}


def complete(given: dict[str, Any]) -> dict[str, Any]:
    """All options: those that are given, and the defaults of the others.

    Raises:
        UserError: an unknown option, or one with an invalid value.
    """
    for name in given:
        if name not in DEFAULTS:
            near = difflib.get_close_matches(name, DEFAULTS, 1)
            raise UserError(f"there is no option {name}{f': did you mean {near[0]}?' if near else ''}")
    options = DEFAULTS | given
    for name, allowed in CHOICES.items():
        if options[name] is not None and options[name] not in allowed:
            raise UserError(f"{name}={options[name]}: choose {' or '.join(allowed)}")
    if not any(options[metric] for metric in METRICS):
        raise UserError("no metric is selected: choose from " + ", ".join(METRICS))
    for slot, needed in ((1, True), (2, options["fid"] or options["kid"] or options["prc"])):
        if needed and options[f"input{slot}"] is None:
            raise UserError(f"input{slot} is missing")
    for name in ("batch_size", "prc_batch_size"):
        if options[name] < 1:
            raise UserError(f"{name}={options[name]} must be at least 1")
    if options["resize"] and options["samples_resize_and_crop"]:
        raise UserError("resize scales whole images, and samples_resize_and_crop cuts out the centre: choose one")
    lower, higher = options["ppl_discard_percentile_lower"], options["ppl_discard_percentile_higher"]
    if not 0 <= (lower or 0) < (100 if higher is None else higher) <= 100:
        raise UserError(f"ppl_discard_percentile_lower={lower} must be below ppl_discard_percentile_higher={higher}")
    return options


def theirs(options: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The options that torch-fidelity's own functions take."""
    return {name: value for name, value in options.items() if name in THEIRS} | changed


def as_flags(word: str) -> list[str]:
    """The word itself, or the flag that means the same as `key=value`."""
    key, equals, value = word.partition("=")
    flag = f"--{key.replace('_', '-')}"
    if not equals or key not in FLAGS and key not in ("out", "threads"):
        return [word]
    default = FLAGS.get(key)
    if not isinstance(default, bool):
        return [f"{flag}={value}"]
    if value not in ("true", "false"):
        raise UserError(f"{word} must be true or false")
    return [] if (value == "true") == default else [f"--no-{flag[2:]}" if default else flag]


def parse(argv: Sequence[str], description: str) -> tuple[dict[str, Any], argparse.Namespace]:
    """Reads the command line: flags, where `--no-…` turns a default off, or `key=value` as elsewhere.

    Returns:
        The options that were given, and `out`, `json` and `threads`.
    """
    parser = argparse.ArgumentParser(
        "fidelity.py", description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--out", help="folder of the results; default: the next free runs/fidelity-1, runs/fidelity-2, …"
    )
    parser.add_argument("--json", "-j", action="store_true", help="print JSON, not a table")
    parser.add_argument("--threads", type=int, help="CPU threads of each process; default: an equal share of the cores")
    parser.add_argument("--cpu", "-c", action="store_true", help="do not use an accelerator")
    parser.add_argument("--silent", action="store_true", help="no progress bars")
    for name, default in FLAGS.items():
        if name in ("cuda", "verbose"):
            continue
        flag, kind = f"--{name.replace('_', '-')}", "store_true"
        keywords = {"dest": name, "default": argparse.SUPPRESS, "help": HELP.get(name)}
        if default is True:
            flag, kind = f"--no-{flag[2:]}", "store_false"
        if isinstance(default, bool):
            parser.add_argument(flag, *filter(None, [SHORT.get(name)]), action=kind, **keywords)
        elif name == "weights":
            parser.add_argument(flag, action="append", metavar="NAME=PATH", **keywords)
        else:
            value = int if name in INTEGERS else float if name == "kid_kernel_poly_gamma" else type(default)
            value = str if default is None and value is type(None) else value
            parser.add_argument(
                flag, *filter(None, [SHORT.get(name)]), type=value, choices=CHOICES.get(name), **keywords
            )
    given = vars(parser.parse_args([flag for word in argv for flag in as_flags(word)]))
    own = argparse.Namespace(**{name: given.pop(name) for name in ("out", "json", "threads", "cpu", "silent")})
    given = {"uncertainty": True, "cuda": not own.cpu, "verbose": not own.silent} | given
    if "weights" in given:
        pairs = [text.partition("=") for text in given["weights"]]
        if wrong := [name for name, _, path in pairs if not path]:
            raise UserError(f"--weights {wrong[0]}: write NAME=PATH")
        given["weights"] = {name: Path(path) for name, _, path in pairs}
    return given, own
